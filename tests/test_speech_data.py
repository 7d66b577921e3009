"""Corpora of speech on disk, made-up speech, and what changes a clip."""

import csv
import gzip
import io
import itertools
import shutil
import zipfile

import numpy as np
import pytest
import soundfile
from recipes import speech_data
from recipes.speech_data import RATE, Corpus

TONE = (0.4 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)).astype("f4")
LABELS = ("me", "here", "train", "one", "a word")


def frequency(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)


@pytest.fixture
def data(tmp_path):
    """A made-up data set in the form of the real one."""
    folder = tmp_path / "data"
    folder.mkdir()
    table = [["path", "speaker", "seconds", "transcript", "split", "source"]]
    for archive, split in (("librispeech_train", "train"), ("librispeech_valid", "valid")):
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as out:
            for name in ("a", "b"):
                sound = io.BytesIO()
                soundfile.write(sound, np.tile(TONE, 3), RATE, format="OGG", subtype="OPUS")
                out.writestr(f"{archive}/{name}.opus", sound.getvalue())
                path = f"{archive}/{name}.opus"
                table.append([path, name, "3.0", f"all of {name}", split, "librispeech-dev-clean"])
    cuts = [["path", "start", "end", "transcript", "split"]]
    cuts += [
        ["librispeech_train/a.opus", str(n), str(n + 0.5), f"part {n}", "train"] for n in (0, 2)
    ]
    cuts.append(["librispeech_valid/a.opus", "0", "1", "never used", "valid"])
    for name, rows in (("metadata.tsv", table), ("segments.tsv", cuts)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file, delimiter="\t").writerows(rows)
    with gzip.open(folder / "lm_text.txt.gz", "wt") as file:
        file.write("one two three four five six\nred green blue\nyes\n")
    return folder


def test_a_corpus_keeps_its_clips(tmp_path):
    corpus = Corpus(tmp_path / "corpus")
    corpus.append(TONE[:100], *LABELS)
    corpus.append(TONE[100:300], *LABELS)
    for again in (corpus, Corpus(tmp_path / "corpus")):
        first, second = again.clips
        np.testing.assert_allclose(again.samples(first), TONE[:100], atol=1e-4)
        np.testing.assert_allclose(again.samples(second), TONE[100:300], atol=1e-4)
        assert tuple(second[2:]) == LABELS


def test_a_stop_in_the_middle_of_a_clip_leaves_nothing_behind(tmp_path):
    corpus = Corpus(tmp_path)
    corpus.append(TONE[:100], *LABELS)
    with (tmp_path / "samples.int16").open("ab") as file:
        file.write(b"half a clip")
    with (tmp_path / "clips.tsv").open("a") as file:
        file.write("100\t20")
    again = Corpus(tmp_path)
    assert len(again.clips) == 1
    again.append(TONE[200:300], *LABELS)
    (_, last) = Corpus(tmp_path).clips
    np.testing.assert_allclose(again.samples(last), TONE[200:300], atol=1e-4)


def test_real_clips_are_cut_at_pauses_to_train_on_alone(data, tmp_path):
    corpus = speech_data.read_real(data, tmp_path / "corpus")
    found = {clip.name: (clip.length / RATE, clip.split, clip.transcript) for clip in corpus.clips}
    assert found == {
        "librispeech_train/a.opus#0": (0.5, "train", "part 0"),
        "librispeech_train/a.opus#1": (0.5, "train", "part 2"),
        "librispeech_train/b.opus": (3.0, "train", "all of b"),
        "librispeech_valid/a.opus": (3.0, "valid", "all of a"),
        "librispeech_valid/b.opus": (3.0, "valid", "all of b"),
    }
    assert abs(frequency(corpus.samples(corpus.clips[2])) - 500) < 2
    again = speech_data.read_real(data, tmp_path / "corpus")
    assert again.clips == corpus.clips


def test_sentences_are_stretches_of_the_text(data):
    text = gzip.decompress((data / "lm_text.txt.gz").read_bytes()).decode()
    found = list(itertools.islice(speech_data.sentences(data, longest=4), 60))
    assert all(any(line in whole for whole in text.splitlines()) for line in found)
    assert max(len(line.split()) for line in found) == 4
    assert found == list(itertools.islice(speech_data.sentences(data, longest=4), 60))
    assert all("yes" in found[n : n + 3] for n in range(0, 60, 3))


def test_made_up_speech_goes_on_where_it_stopped(data, tmp_path, monkeypatch):
    def voice(text, rng):
        return "robot", np.full(1000 * len(text), rng.uniform(0, 0.9), "f4")

    monkeypatch.setitem(speech_data.ENGINES, "made-up", lambda: voice)

    def synthesize(name, hours):
        lines = speech_data.sentences(data)
        return speech_data.synthesize(lines, tmp_path / name, hours, "made-up", "made-up tales")

    at_once = synthesize("a", 0.02)
    assert sum(clip.length for clip in at_once.clips) >= 0.02 * 3600 * RATE
    synthesize("b", 0.01)
    in_two = synthesize("b", 0.02)
    assert in_two.clips == at_once.clips
    for clip in at_once.clips:
        np.testing.assert_array_equal(at_once.samples(clip), in_two.samples(clip))
    assert {(clip.speaker, clip.source) for clip in at_once.clips} == {("robot", "made-up tales")}
    monkeypatch.delitem(speech_data.ENGINES, "made-up")  # nothing is left to be said
    assert synthesize("a", 0.02).clips == at_once.clips


@pytest.mark.skipif(shutil.which("flite") is None, reason="needs Debian's flite")
def test_flite_speaks_with_several_voices():
    speak = speech_data.flite_voice()
    said = [speak("good day", np.random.default_rng(n)) for n in range(8)]
    assert len({name for name, _ in said}) > 1
    for _, samples in said:
        assert 0.4 < len(samples) / RATE < 2 and np.abs(samples).max() > 0.05
    np.testing.assert_array_equal(speak("good day", np.random.default_rng(0))[1], said[0][1])


def test_without_flite_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt-get install flite"):
        speech_data.flite_voice()


def test_speed_changes_length_and_pitch_alike():
    found = speech_data.change_speed(TONE, 1.25)
    assert abs(len(found) - RATE / 1.25) < 10
    assert abs(frequency(found) - 625) < 5


def test_noise_is_as_far_below_as_asked():
    rng = np.random.default_rng(0)
    noise = speech_data.coloured_noise(RATE, rng)
    for ratio in (0.0, 20.0):
        added = speech_data.add_noise(TONE, noise, ratio) - TONE
        found = 10 * np.log10(np.square(TONE).mean() / np.square(added).mean())
        assert found == pytest.approx(ratio, abs=0.1)


def test_a_room_echoes_and_keeps_the_length():
    click = np.zeros(RATE, "f4")
    click[100] = 1
    found = speech_data.add_echo(click, np.random.default_rng(0))
    assert len(found) == RATE
    assert found[100] == pytest.approx(1, abs=1e-3)
    assert np.abs(found[:100]).max() < 1e-3
    early, late = np.square(found[101:1000]).sum(), np.square(found[9000:]).sum()
    assert early > 20 * late


def test_changes_follow_the_generator():
    one, two = (speech_data.changed(TONE, np.random.default_rng(3), 0.2, TONE) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32
    other = speech_data.changed(TONE, np.random.default_rng(4), 0.2)
    assert len(one) != len(other)
