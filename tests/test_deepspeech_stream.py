"""The released networks that stream, on real speech: the same text whatever the pieces."""

import difflib
import io
import json
import sys

import numpy as np
import pytest
import soundfile
from conftest import CLIPS, ROOT, loaded_once
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.errors import InputError

FOLDER = ROOT / "tests" / "data" / "speech"
RATE = 16000
READ = [name for name in CLIPS if not name.startswith(("fsdd", "pv"))]
ORDER = FOLDER / "pv-08b22cb8.opus"


def samples_of(name):
    samples, rate = soundfile.read(FOLDER / name, dtype="float32")
    assert rate == RATE
    return samples


ALL = np.concatenate([samples_of(name) for name in READ])  # some seven seconds


@pytest.fixture(scope="module")
def streaming():
    return loaded_once("deepspeech-streaming")


@pytest.fixture(scope="module")
def offline(streaming):
    return streaming.predict((ALL, RATE))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, len(ALL) - 1), max_size=40, unique=True))
def test_any_pieces_give_the_text_of_the_whole(streaming, offline, cuts):
    with streaming.stream() as stream:
        for piece in np.split(ALL, sorted(cuts)):
            stream.feed(piece)
    found = stream.finish()
    assert found.text == offline.text != ""
    assert [w.start for w in found.words] == pytest.approx([w.start for w in offline.words])


def test_partial_texts_grow_into_the_whole(streaming, offline):
    said = []
    with streaming.stream() as stream:
        for begin in range(0, len(ALL), RATE // 10):
            stream.feed(ALL[begin : begin + RATE // 10])
            said.append(stream.partial())
    assert said[0] == ""
    lengths = [len(text.split()) for text in said]
    assert lengths[-1] >= len(offline.text.split()) - 2
    half = lengths[len(lengths) // 2]
    assert 0.25 * lengths[-1] < half < 0.8 * lengths[-1]


@pytest.mark.parametrize("name", ["deepspeech-commands", "deepspeech-digits"])
def test_a_closed_vocabulary_is_told_while_it_is_spoken(name):
    model = loaded_once(name)
    clip = {"deepspeech-commands": ORDER.name, "deepspeech-digits": "fsdd-yweweler-3-1-4.opus"}
    samples = samples_of(clip[name])
    partial = []
    with model.stream() as stream:
        for begin in range(0, len(samples), RATE // 10):
            stream.feed(samples[begin : begin + RATE // 10])
            partial.append(stream.partial())
    found, whole = stream.finish(), model.predict((samples, RATE))
    assert found.text == whole.text == CLIPS[clip[name]]
    assert found.slots == whole.slots != {}
    assert len(set(partial)) > 3
    with pytest.raises(InputError, match="grammar"):
        model.predict((samples, RATE), beam_size=1)


def test_the_order_is_understood():
    heard = loaded_once("deepspeech-commands").predict(ORDER)
    assert heard.slots == {"coffeeDrink": "iced coffee", "sugarAmount": "brown sugar"}


@pytest.mark.usefixtures("shared_by_commands")
def test_listen_writes_what_predict_says(monkeypatch, capsys, offline):
    def heard(*arguments):
        whole = np.round(32767 * ALL).astype("<i2").tobytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(whole)))
        assert main(["listen", "deepspeech-streaming", *arguments]) in (None, 0)
        return capsys.readouterr().out

    assert heard() == f"{offline.text}\n"
    assert json.loads(heard("--json"))["text"] == offline.text


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_onnxruntime_hears_the_same(quantize):
    samples = samples_of("fsdd-yweweler-3-1-4.opus")
    model = rnnzoo.load("deepspeech-digits", quantize=quantize)
    found = []
    for engine in ("tensorflow", "onnx"):
        model.engine = engine
        with model.stream() as stream:
            for piece in np.array_split(samples, 17):
                stream.feed(piece)
        found.append(stream.finish())
    ours, theirs = found
    assert theirs.text == ours.text == "three one four"
    assert theirs.log_probs.shape == ours.log_probs.shape
    np.testing.assert_allclose(theirs.spectrogram, ours.spectrogram, atol=0.02)
    if quantize is None:
        np.testing.assert_allclose(theirs.log_probs, ours.log_probs, atol=1e-3)
        assert "step" in model.onnx_engine()._sessions
        whole = model.predict((np.tile(samples, 20), RATE))  # too long for one piece
        model.engine = "tensorflow"
        assert model.predict((np.tile(samples, 20), RATE)).text == whole.text


def idled(seconds, level, samples):
    noise = np.random.default_rng(0).normal(0, 1, int(seconds * RATE)).astype("f4")
    return np.concatenate([level * noise, samples])


def heard_in(stream, samples):
    """The transcript, and how many seconds waited at most."""
    most = 0
    with stream:
        for begin in range(0, len(samples), RATE // 2):
            stream.feed(samples[begin : begin + RATE // 2])
            most = max(most, sum(map(len, stream._log_probs)))
    return stream.finish(), most * stream._seconds_per_frame


@pytest.mark.parametrize(("seconds", "level"), [(29.4, 0), (9, 4e-5), (28.4, 1e-3), (64, 1e-3)])
def test_an_order_is_understood_after_an_idle_time(seconds, level):
    model = loaded_once("deepspeech-commands")
    found, waited = heard_in(model.stream(), idled(seconds, level, samples_of(ORDER.name)))
    assert found.slots["sugarAmount"] == "brown sugar"
    assert found.slots["coffeeDrink"].endswith("coffee")
    assert seconds < found.words[0].start < seconds + 1
    assert waited < 31


@pytest.mark.parametrize(("seconds", "level"), [(2, 0), (9, 4e-5), (12, 1e-3), (33, 3e-4)])
def test_digits_are_told_after_an_idle_time(seconds, level):
    model = loaded_once("deepspeech-digits")
    samples = idled(seconds, level, samples_of("fsdd-yweweler-3-1-4.opus"))
    found, _ = heard_in(model.stream(), samples)
    first, *others = found.text.split()
    assert others == ["one", "four"]
    assert first == "three" or seconds > 30  # nothing stands before it, and nothing is made up
    assert seconds < found.words[0].start < seconds + 1


@pytest.mark.parametrize("options", [{}, {"beam_size": 1}])
def test_silence_and_noise_do_not_pile_up(streaming, options):
    whole = heard_in(streaming.stream(**options), ALL)[0]
    for seconds, level in ((29.4, 0), (64, 3e-3)):
        samples = idled(seconds, level, ALL)
        found, waited = heard_in(streaming.stream(**options), samples)
        alike = difflib.SequenceMatcher(None, found.text, whole.text, autojunk=False)
        assert alike.ratio() > 0.7
        assert found.words[0].start > seconds
        assert waited < 31


def test_a_hypothesis_without_frames_is_none(streaming):
    stream = streaming.stream()
    stream.feed(ALL)
    settled = stream._together()[:2]
    stream._log_probs = [settled]  # all the others as if they were settled
    assert stream.partial() == ""
    assert stream.finish().words == ()
