"""Recordings of every kind, cuts at silence, transcripts as numbers."""

import io
import itertools
import sys

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from conftest import EXAMPLES

from rnnzoo.deepspeech import PreprocessorConfig, Recording, SpeechPreprocessor
from rnnzoo.deepspeech.audio import checked, is_single, read_recordings, resample
from rnnzoo.errors import InputError, MissingDependencyError

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)).astype("f4")


def written(name, samples, rate, **kind):
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=name, **kind)
    return out.getvalue()


def one(inputs, **options):
    (found,) = read_recordings(inputs, **options)
    return found


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.1)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_every_kind(tmp_path, kind, tolerance, channels):
    content = written(kind, np.stack([TONE] * channels, 1), RATE)
    path = tmp_path / f"tone.{kind.lower()}"
    path.write_bytes(content)
    for source in (path, str(path), content, io.BytesIO(content), [path]):
        found = one(source)
        assert found.sampling_rate == RATE
        assert found.samples.dtype == np.float32
        assert found.name in (path.name, "recording_1")
        length = min(len(TONE), len(found.samples))
        assert abs(len(found.samples) - len(TONE)) < 2000  # MP3 pads
        spectrum = np.abs(np.fft.rfft(found.samples[:length]))
        assert abs(spectrum.argmax() - 300) < 4
        assert abs(np.abs(found.samples).max() - 0.5) < tolerance + 0.01


def test_opus_and_other_rates():
    content = written("OGG", TONE, RATE, subtype="OPUS")
    found = resample(one(content), 8000)
    assert found.sampling_rate == 8000
    assert abs(found.seconds - 1) < 0.01
    again = resample(Recording("x", TONE[::2].copy(), 8000), RATE)
    assert abs(np.abs(np.fft.rfft(again.samples)).argmax() - 300) < 2
    assert resample(found, 8000) is found


@pytest.mark.parametrize(
    ("dtype", "full"), [("i2", 32768), ("i4", 2**31), ("f4", 1), ("f8", 1), ("u1", 128)]
)
def test_arrays_of_every_type(dtype, full):
    samples = TONE * (full if dtype != "u1" else 128) + (128 if dtype == "u1" else 0)
    samples = samples.astype(dtype)
    for source in ((samples, RATE), {"array": samples, "sampling_rate": RATE},
                   (np.stack([samples, samples], 1), RATE)):  # fmt: skip
        np.testing.assert_allclose(one(source).samples, TONE, atol=0.01)
    np.testing.assert_allclose(one(samples, sampling_rate=RATE).samples, TONE, atol=0.01)
    np.testing.assert_allclose(one((samples, np.int64(RATE))).samples, TONE, atol=0.01)


def test_paths_in_arrays_tensors_and_datasets_are_several():
    paths = EXAMPLES["deepspeech"][1:3]
    expected = [recording.seconds for recording in read_recordings(paths)]
    for inputs in (
        np.array(paths),
        tf.constant(paths),
        tf.data.Dataset.from_tensor_slices(paths).batch(2),
    ):
        assert not is_single(inputs)
        assert [recording.seconds for recording in read_recordings(inputs)] == expected
    assert is_single(tf.zeros(100))
    (found,) = read_recordings(tf.ones(100), 16000)
    assert found.samples.shape == (100,)


def test_several_are_told_from_one():
    pair = (TONE, RATE)
    assert is_single(pair)
    assert is_single("a.wav")
    assert not is_single([pair, pair])
    assert not is_single(["a.wav", "b.wav"])
    assert not is_single(("a.wav", "b.wav"))
    assert [r.name for r in read_recordings([pair, pair])] == ["recording_1", "recording_2"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.wav", "there is no file nothing.wav"),
        ("a\0b.wav", "there is no file"),
        (".", "is a folder"),
        ("", "recording_1: the name of a sound file is empty"),
        (__file__, "cannot be read as sound"),
        (b"RIFF....", "8 bytes"),
        (b"", "cannot be read as sound"),
        (TONE, "sampling_rate=16000"),
        ((TONE, 16000.5), "whole hertz"),
        (((1000 * TONE).astype(int), RATE), "64 bits have no full scale"),
        ((TONE, 10), "from 1,000"),
        ((TONE, True), "whole hertz"),
        ((TONE[:0], RATE), "no samples"),
        ((np.zeros((2, 16000), "f4"), RATE), "transpose"),
        ((np.zeros((2, 2, 2), "f4"), RATE), r"\[samples, channels\]"),
        ((np.array([0.1, np.nan], "f4"), RATE), "1 samples are NaN"),
        ((np.array(["a"]), RATE), "expected numbers"),
        ({"array": TONE}, "sampling_rate"),
        ([3], "item 1"),
        (3, "got int"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_sound_is_told(source, message):
    with pytest.raises(InputError, match=message):
        list(read_recordings(source))


@pytest.mark.parametrize("module", ["soundfile", "soxr"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"rnnzoo\[audio\]"):
        if module == "soundfile":
            one(b"RIFF")
        else:
            resample(checked(TONE, 8000, "x"), RATE)


def test_long_recordings_are_cut_where_they_are_quiet():
    preprocessor = SpeechPreprocessor(PreprocessorConfig(max_seconds=2.0))
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.3, 7 * RATE).astype("f4")
    for second in (1.4, 3.1, 4.9, 6.0):
        samples[int(second * RATE) : int((second + 0.3) * RATE)] = 0
    pieces = preprocessor.pieces(Recording("x", samples, RATE))
    ends = [end / RATE for _, end in pieces]
    np.testing.assert_allclose(ends, [1.55, 3.25, 5.05, 7.0 if len(ends) == 4 else 6.15], atol=0.11)
    assert pieces[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert all(0 < end - begin <= 2 * RATE for begin, end in pieces)


def test_short_recordings_and_silence_are_one_piece_or_more():
    preprocessor = SpeechPreprocessor(PreprocessorConfig(max_seconds=2.0))
    assert preprocessor.pieces(Recording("x", TONE, RATE)) == [(0, RATE)]
    silence = preprocessor.pieces(Recording("x", np.zeros(9 * RATE, "f4"), RATE))
    assert silence[-1][1] == 9 * RATE
    assert all(0 < end - begin <= 2 * RATE for begin, end in silence)


def test_pieces_are_of_like_length():
    preprocessor = SpeechPreprocessor(PreprocessorConfig(max_seconds=20.0))
    samples = np.random.default_rng(0).normal(0, 0.3, int(20.3 * RATE)).astype("f4")
    samples[int(19.7 * RATE) :] = 0  # silence at the end is no piece of its own
    (_, end), _ = preprocessor.pieces(Recording("x", samples, RATE))
    assert 7 < end / RATE < 13


def test_padding():
    samples, lengths = SpeechPreprocessor(PreprocessorConfig()).pad([TONE[:5], TONE[:3]])
    assert samples.shape == (2, 5)
    assert lengths.tolist() == [5, 3]
    np.testing.assert_array_equal(samples[1], [*TONE[:3], 0, 0])


def test_text_and_numbers():
    preprocessor = SpeechPreprocessor(PreprocessorConfig())
    assert preprocessor.text(preprocessor.numbers("  Don’t  say\tcafé ")) == "don't say cafe"
    assert max(preprocessor.numbers("zz a'")) == 28
    with pytest.raises(InputError, match=r"does not write: ! 3"):
        preprocessor.numbers("3 men!")
    with pytest.raises(InputError, match="got int"):
        preprocessor.numbers(3)
    with pytest.raises(ValueError, match="differ"):
        PreprocessorConfig(alphabet="aab")
