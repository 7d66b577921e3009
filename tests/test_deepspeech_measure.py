"""How recognizers are measured: on a few real clips, and beside counts made by hand."""

import csv
import dataclasses
import gzip
import itertools
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from recipes import coffee, deepspeech_measure, digits, error_rates, speech_data
from recipes.deepspeech_measure import Live, Measure, Spoken

import rnnzoo
from rnnzoo.ctc import Grammar
from rnnzoo.deepspeech import PreprocessorConfig

CLIPS = ROOT / "tests" / "data" / "speech"
ORDER = "i want a iced coffee with brown sugar"
THINKING = "he seemed to be thinking of something else"
SLOTS = {"coffeeDrink": "iced coffee", "sugarAmount": "brown sugar"}
NOTE = (
    'transcript-from-slot-labels;slots={"coffeeDrink": "iced coffee", "sugarAmount": "brown sugar"}'
)
ROWS = [
    ("librispeech_valid", "2277-149874-0011.mp3", "one", THINKING, ""),
    ("librispeech_valid", "2902-9008-0008.mp3", "two", "what do i care for food", ""),
    ("speechocean_valid", "so-024380247.opus", "three", "at the cost of what", ""),
    ("commands_valid", "pv-08b22cb8.opus", "four", ORDER, NOTE),
]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """The committed clips in the form of the data set."""
    with (tmp_path / "metadata.tsv").open("w", newline="") as file:
        out = csv.writer(file, delimiter="\t")
        out.writerow(["path", "source", "speaker", "transcript", "split", "note"])
        for archive, name, speaker, transcript, note in ROWS:
            source = SOURCES[archive.split("_")[0]]
            with zipfile.ZipFile(tmp_path / f"{archive}.zip", "a") as file_of_clips:
                file_of_clips.write(CLIPS / name, f"{archive}/{name}")
            out.writerow([f"{archive}/{name}", source, speaker, transcript, "valid", note])
    return tmp_path


SOURCES = {
    "librispeech": "librispeech-dev-clean",
    "speechocean": "speechocean762",
    "commands": "picovoice-s2i",
}
NETWORK = {
    "num_mels": 8, "conv_channels": [3], "conv_times": [5], "conv_frequencies": [3],
    "time_strides": [3], "frequency_strides": [2], "num_layers": 1, "hidden_dim": 6,
}  # fmt: skip


class Parrot:
    """Says what it was told, clip by clip; remembers how it was asked."""

    def __init__(self, texts, language_model=None):
        self.texts, self.asked = texts, []
        self.preprocessor = SimpleNamespace(language_model=language_model)

    def predict(self, clips, **options):
        self.asked.append(options)
        grammar = options.get("grammar")
        language = (
            Grammar(grammar, PreprocessorConfig().alphabet, options["slots"]) if grammar else None
        )
        return [
            SimpleNamespace(text=text, slots=language.fillings(text) if language else {})
            for text in self.texts[: len(clips)]
        ]


def test_train_release_and_evaluate_fit_together(data, tmp_path, capsys, monkeypatch):
    """A run of the command line becomes checkpoints, with a language model or a grammar, that load
    and are measured."""
    import evaluate
    import train
    from recipes import deepspeech, deepspeech_card

    with gzip.open(data / "lm_text.txt.gz", "wt") as file:
        file.write("one two three\nfour five\n")
    with (data / "segments.tsv").open("w") as file:
        file.write("path\tstart\tend\ttranscript\tsplit\n")
    table = (data / "metadata.tsv").read_text()
    _, name, _, transcript, _ = ROWS[1]
    with zipfile.ZipFile(data / "librispeech_train.zip", "w") as clips:
        clips.write(CLIPS / name, f"librispeech_train/{name}")
    table += f"librispeech_train/{name}\tlibrispeech-dev-clean\tfive\t{transcript}\ttrain\t\n"
    (data / "metadata.tsv").write_text(table)
    recipe = deepspeech.Recipe(
        network=NETWORK, steps=2, piper_hours=0, flite_hours=0, clips_per_pass=4, lm_order=3
    )
    kinds = (("small", "speech"), ("commands", "commands"), ("digits", "digits"))
    for entry, kind in ((f"deepspeech-{name}", kind) for name, kind in kinds):
        made = dataclasses.replace(recipe, data=kind)
        monkeypatch.setitem(deepspeech.RECIPES, entry, made)
        run = tmp_path / "runs" / entry
        train.main([entry, "--data", str(data), "--run", str(run)])
        assert "valid librispeech WER" in capsys.readouterr().out
        task, records = deepspeech_card.task_of_runs([run])
        (curve,) = deepspeech_card.tables(entry, [run])
        assert curve.columns[:3] == ("step", "minutes", "librispeech WER")
        assert curve.cells[0][0] == 2
        assert deepspeech_card.recipe_record(entry, records)["steps"] == 2
        task.save(tmp_path / entry, storage="int8")
        again = rnnzoo.load(tmp_path / entry)
        assert (again.preprocessor.language_model is None) == (kind != "speech")
        assert (again.preprocessor.grammar is None) == (kind == "speech")
        evaluate.main([str(tmp_path / entry), "--data", str(data), "--set", "valid", "--set",
                       "commands-valid"])  # fmt: skip
        records = json.loads(capsys.readouterr().out)
        found = {(r["data"], r["metric"]): r["rows"] for r in records if "metric" in r}
        assert found["LibriSpeech", "WER"] == 2
        assert found["coffee commands", "slots right"] == 2


def test_sets_are_read_by_source(data):
    parts = deepspeech_measure.read_set(data, "valid", None)
    assert [(source, split, len(clips)) for source, split, clips in parts] == [
        ("LibriSpeech", "valid", 2),
        ("speechocean762", "valid", 1),
    ]
    assert [len(clips) for *_, clips in deepspeech_measure.read_set(data, "valid", 1)] == [1, 1]
    ((source, _, (clip,)),) = deepspeech_measure.read_set(data, "commands-valid", None)
    assert (source, clip.transcript, clip.slots, clip.speaker) == (
        "coffee commands", ORDER, SLOTS, "four",
    )  # fmt: skip
    assert len(clip.samples) / speech_data.RATE == pytest.approx(2.5, abs=0.1)
    assert np.abs(clip.samples).max() > 0.1


def test_made_up_commands_are_let_through_by_the_grammar():
    language = Grammar(coffee.GRAMMAR, PreprocessorConfig().alphabet, coffee.SLOTS)
    made = list(itertools.islice(coffee.commands(1), 200))
    assert all(language.fillings(text) for text in made)
    assert len(set(made)) > 190
    assert not any(" a e" in text or " a i" in text or " an l" in text for text in made)
    assert language.fillings(ORDER) == SLOTS
    assert made[:5] == list(itertools.islice(coffee.commands(1), 5))


def test_errors_are_counted_over_all_words():
    assert error_rates.errors("a b c", "a x c d").tolist() == [2, 3, 3, 5]
    assert error_rates.errors("ab", "").tolist() == [1, 1, 2, 2]
    counts = np.array([[2, 3, 3, 5], [1, 1, 2, 2]])
    assert error_rates.rates(counts) == (75.0, pytest.approx(500 / 7))


def test_intervals_hold_the_rate_and_narrow_with_clips():
    rng = np.random.default_rng(0)

    def width(count):
        wrong = rng.binomial(10, 0.4, count)
        counts = np.stack([wrong, np.full(count, 10)], 1)
        low, high = error_rates.interval(counts)
        assert low < 100 * wrong.sum() / (10 * count) < high
        return high - low

    # a mean of n binomials of 10: 1.96 * 2 * sqrt(0.24 / 10 / n)
    assert width(400) == pytest.approx(100 * 3.92 * np.sqrt(0.024 / 400), rel=0.15)
    assert width(25) > 3 * width(400)


def test_an_open_vocabulary_is_measured_in_each_way_of_decoding(data):
    said = ["he seemed to be thinking of nothing else", "what do i care for food"]
    parrot = Parrot(said, language_model="some")
    found = list(Measure(parrot, "x", 4, {"beam_size": 9})(data, "valid", None, 1))
    assert [options.get("lm_weight") for options in parrot.asked[:3]] == [None, 0.0, None]
    assert [options["beam_size"] for options in parrot.asked[:3]] == [1, 9, 9]
    (wer, lines), (cer, _), (table, _), (speakers, _) = found[:4]
    assert (wer["data"], wer["metric"], wer["value"], wer["rows"]) == (
        "LibriSpeech", "WER", round(100 / 14, 2), 2,
    )  # fmt: skip
    assert wer["signature"].startswith("jiwer ")
    assert cer["metric"] == "CER" and 0 < cer["value"] < wer["value"]
    assert lines == [f"  {ROWS[0][3]}\n  > {said[0]}"]
    assert [row[0] for row in table["cells"]] == list(deepspeech_measure.WAYS)
    assert [row[:3] for row in speakers["cells"]] == [["one", 1, 12.5], ["two", 1, 0.0]]
    parrot = Parrot(said)
    found = list(Measure(parrot, "x", 4, {})(data, "valid", None, 0))
    assert [row[0] for row in found[2][0]["cells"]] == ["greedy", "beam"]


def test_commands_are_measured_by_their_slots(data):
    def measured(text):
        found = Measure(Parrot([text]), "x", 4, {})(data, "commands-valid", None, 0)
        return {r["metric"]: (r["value"], r["rows"]) for r, _ in found if "metric" in r}

    right = measured(ORDER.replace("i want a", "get me an"))
    assert right["slots right"] == (100.0, 2) and right["commands right"] == (100.0, 1)
    assert right["WER"][0] == round(100 * 3 / 8, 2)
    half = measured(ORDER.replace("brown sugar", "sugar"))
    assert half["slots right"] == (50.0, 2) and half["commands right"] == (0.0, 1)
    more = measured(ORDER.replace("iced", "small iced"))
    assert more["slots right"] == (100.0, 2) and more["commands right"] == (0.0, 1)


def test_single_digits_and_joined_ones_are_measured_with_the_grammar_that_ships(data):
    table = (data / "metadata.tsv").read_text()
    for number, (name, digit) in enumerate((("7-05", "seven"), ("3-1-4", "three"))):
        with zipfile.ZipFile(data / "digits_fsdd_train.zip", "a") as clips:
            clips.write(CLIPS / f"fsdd-yweweler-{name}.opus", f"digits_fsdd_train/{number}.opus")
        table += (
            f"digits_fsdd_train/{number}.opus\tfsdd\t{digits.VALID_SPEAKER}\t{digit}\ttrain\t\n"
        )
    (data / "metadata.tsv").write_text(table)
    single, strings = deepspeech_measure.read_set(data, "digits-valid", None)
    assert (single[0], len(single[2])) == ("FSDD", 2)
    assert {clip.transcript for clip in single[2]} == {"seven", "three"}
    assert len(strings[2]) == 200
    assert {len(clip.transcript.split()) for clip in strings[2]} == set(range(2, 8))
    parrot = Parrot(["seven"] * 200)
    found = list(Measure(parrot, "x", 4, {})(data, "digits-valid", None, 0))
    assert [options["grammar"] for options in parrot.asked] == [
        digits.GRAMMAR, (), digits.GRAMMAR, (),
    ]  # fmt: skip
    assert (found[0][0]["metric"], found[0][0]["value"], found[0][0]["rows"]) == ("WER", 50, 2)


def test_idle_time_is_as_loud_as_the_clip_is_quiet(data):
    ((_, _, (clip,)),) = deepspeech_measure.read_set(data, "commands-valid", None)
    ((source, split, (idle,)),) = deepspeech_measure.read_set(data, "commands-valid-idle", None)
    assert (source, split) == ("coffee commands", "valid, idle before")
    np.testing.assert_array_equal(idle.samples[6 * 16000 :], clip.samples)
    level = idle.samples[: 6 * 16000].std()
    assert 0 < level < 0.5 * clip.samples.std()
    assert idle.transcript == clip.transcript
    (found, *_), *_ = Measure(Parrot([idle.transcript]), "x", 4, {})(
        data, "commands-valid-idle", None, 0
    )
    assert (found["split"], found["metric"], found["value"]) == (split, "WER", 0)


def test_other_speech_is_to_be_left_out(data):
    with zipfile.ZipFile(data / "librispeech_test.zip", "w") as clips:
        clips.write(CLIPS / ROWS[0][1], "librispeech_test/1.mp3")
        clips.write(CLIPS / ROWS[1][1], "librispeech_test/2.mp3")
    with zipfile.ZipFile(data / "speechocean_test.zip", "w") as clips:
        clips.write(CLIPS / ROWS[2][1], "speechocean_test/3.opus")
    with (data / "metadata.tsv").open("a") as table:
        for path in ("librispeech_test/1.mp3", "librispeech_test/2.mp3", "speechocean_test/3.opus"):
            table.write(f"{path}\tsome\tone\ta word\ttest\t\n")
    found = list(Measure(Parrot(["", "a mocha"]), "x", 4, {})(data, "other-speech", None, 0))
    assert [(r["data"], r["value"], r["rows"]) for r, _ in found] == [
        ("LibriSpeech", 50, 2), ("speechocean762", 100, 1),
    ]  # fmt: skip


def test_a_word_s_delay_ends_where_it_is_told():
    clip = Spoken(np.zeros(9, "f4"), "what do i care", "me", {}, (0.3, 0.5, 0.6, 1.0))
    told = [
        (0.4, []),
        (0.8, ["what", "two"]),
        (1.2, ["what", "do", "eye"]),
        (1.6, ["hot", "do", "i", "care"]),
        (2.0, ["what", "do", "eye", "care"]),
    ]
    live = Live("what do eye care", np.zeros(4), told)
    np.testing.assert_allclose(
        deepspeech_measure.word_delays(clip, live),
        [[0.5, 1.7], [0.7, 0.7], [0.6, 0.6]],  # what, do, care; "i" was never right
    )
    assert deepspeech_measure.word_delays(clip, Live("", np.zeros(0), [(1.0, [])])).shape == (0, 2)


def test_latency_is_measured_on_a_stream(data):
    with gzip.open(data / "word_times.tsv.gz", "wt") as file:
        times = " ".join(f"{word} {n}.0 {n}.5" for n, word in enumerate(THINKING.split()))
        file.write(f"path\twords\nlibrispeech_test/{ROWS[0][1]}\t{times}\n")
    with zipfile.ZipFile(data / "librispeech_test.zip", "w") as clips:
        clips.write(CLIPS / ROWS[0][1], f"librispeech_test/{ROWS[0][1]}")
    with (data / "metadata.tsv").open("a") as table:
        table.write(
            f"librispeech_test/{ROWS[0][1]}\tlibrispeech-dev-clean\tone\t{THINKING}\ttest\t\n"
        )

    class Streaming(Parrot):
        """Tells the first word after each piece and all at the end."""

        def stream(self, **options):
            found = SimpleNamespace(text=THINKING)
            return SimpleNamespace(
                feed=lambda samples: None, partial=lambda: "he", finish=lambda: found
            )

    (word, _), (same, _), (table, _) = Measure(Streaming([THINKING]), "x", 4, {})(
        data, "latency", None, 0
    )
    assert word["rows"] == 8 and same["value"] == 100
    pieces, first, stays = table["cells"]
    assert pieces[1] == 25 and 0 <= pieces[2] < 50  # 2.4 s in pieces of 100 ms
    assert first[1] == stays[1] == 8
    assert first[2] == word["value"]


def test_others_stand_beside_with_their_speed(monkeypatch):
    clips = [Spoken(np.zeros(16000, "f4"), "mister one twenty two don't", "me", {})] * 3
    monkeypatch.setattr(
        deepspeech_measure, "OTHERS", {"other": lambda: lambda some: ["Mr. 122, do!"] * len(some)}
    )
    table = deepspeech_measure.beside_others(
        clips, lambda some: ["mister one twenty two don't"] * len(some)
    )
    assert [row[1] for row in table["cells"]] == [0.0, 0.0, 25.0]  # "do not" are two words
    assert [row[0] for row in table["cells"]][-1] == "other"
    assert all(row[-1] < 0.1 for row in table["cells"])
