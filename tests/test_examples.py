"""The examples run, on a few lines in the shape of the data that they are for."""

import csv
import gzip
import itertools
import math
import runpy
import zipfile

import numpy as np
import pytest
from conftest import ROOT, loaded_once

import rnnzoo

CLIPS = ROOT / "tests" / "data" / "speech"
EVERYDAY = [
    ("Where is the station?", "Où est la gare ?"),
    ("I am very happy today.", "Je suis très heureux aujourd'hui."),
]
SHARED = ("Wash your hands.", "Lavez-vous les mains.")


def example(name):
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as lines:
        csv.writer(lines, delimiter="\t", lineterminator="\n").writerows(rows)


def test_medical_translation(tmp_path, capsys):
    script = example("medical_translation")
    rows = [
        (f"Patient {n} has a fever.", f"Le patient {n} a de la fièvre.", "tico19-all")
        for n in range(3071)
    ]
    rows[3] = rows[1750] = (*SHARED, "tico19-all")
    training, medical = script["split"](rows)
    assert len(training) == 3071 - (159 + 231) - 1 and len(medical) == 159 + 231
    assert not {english for english, _ in training} & {english for english, _ in medical}
    with pytest.raises(SystemExit, match="3,071"):
        script["split"](rows[1:])

    write_table(tmp_path / "ood" / "tico19-all.tsv.gz", rows)
    others = [("Mr President, I agree.", "Monsieur le Président, j'approuve.", "europarl")]
    write_table(tmp_path / "valid.tsv.gz", others + [(*pair, "tatoeba") for pair in EVERYDAY])
    before, tuned, scratch = script["main"](
        ["--data", str(tmp_path), "--limit", "2", "--ways", "lora"]
    )
    assert [row["way"] for row in (before, tuned, scratch)] == [
        "as released",
        "lora",
        "from scratch",
    ]
    translator = loaded_once("seq2seq-en-fr")
    assert before["everyday"] == script["bleu"](translator, EVERYDAY)
    assert before["everyday"] > 20 > scratch["everyday"]
    assert 0 < tuned["trained"] < scratch["trained"] == translator.count_params()
    said = capsys.readouterr().out
    beats = "lora beats training from scratch" in said
    assert beats == (tuned["medical"] > scratch["medical"])
    assert beats != ("lora DOES NOT beat training from scratch" in said)


def test_protein_classes(tmp_path, capsys):
    script = example("protein_classes")
    rng = np.random.default_rng(1)
    classes, partitions = list(script["CLASSES"]), "01234"

    def chain():
        return "M" + "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 40))

    unread_pairs = iter(script["UNREAD_PAIRS"].read_text(encoding="utf-8").split())
    deeploc1, deeploc2, unread = [["accession", "sequence", "split"]], [], {}
    for number, (labels, partition) in enumerate(itertools.product(classes, partitions)):
        one_place = "|" not in labels
        for kind in ("unread", "read", "long"):
            accession, sequence = f"{kind}{number}", chain() * (20 if kind == "long" else 1)
            if one_place:
                deeploc1.append([accession, sequence, "train" if kind == "read" else "test"])
            elif kind != "read":
                accession = next(unread_pairs)
            deeploc2.append([accession, sequence, labels, partition])
            if kind == "unread":
                unread[sequence] = partition
    write_table(tmp_path / "deeploc1" / "deeploc1.tsv.gz", deeploc1)
    columns = ["accession", "sequence", "labels", "partition"]
    write_table(tmp_path / "deeploc2" / "swissprot_multilabel.tsv.gz", [columns, *deeploc2])

    splits = script["read_proteins"](str(tmp_path), None)
    for split, own in (("training", "01"), ("validation", "2"), ("test", "34")):
        chosen = {sequence for sequence, _ in splits[split]}
        assert chosen == {sequence for sequence, number in unread.items() if number in own}

    before, tuned, scratch = script["main"](
        ["--data", str(tmp_path), "--limit", "1", "--ways", "new-head"]
    )
    localizer = rnnzoo.load("deeploc-attn", num_members=1)
    test = script["read_proteins"](str(tmp_path), 1)["test"]
    assert (before["accuracy"], before["balanced"]) == script["figures"](localizer, test)
    assert before["balanced"] <= 75  # three of four have a name
    head = 256 * 128 + 128 + 128 * 4 + 4 + 128 + 1
    assert tuned["trained"] == head < scratch["trained"]
    beats = "new-head beats training from scratch" in capsys.readouterr().out
    assert beats == (tuned["balanced"] > scratch["balanced"])


@pytest.fixture
def spoken(tmp_path):
    """One real digit under the names of several speakers, and two real sentences."""
    digit, table = (CLIPS / "fsdd-yweweler-7-05.opus").read_bytes(), []
    with zipfile.ZipFile(tmp_path / "digits_fsdd_train.zip", "w") as archive:
        for speaker in ("george", "yweweler"):
            for number in ("00", "09", "10", "40", "49"):
                path = f"digits_fsdd_train/fsdd-{speaker}-7-{number}.opus"
                archive.writestr(path, digit)
                table.append((path, f"fsdd-{speaker}", "seven"))
    with zipfile.ZipFile(tmp_path / "librispeech_valid.zip", "w") as archive:
        for name, said in (
            ("2277-149874-0011.mp3", "he seemed to be thinking of something else"),
            ("2902-9008-0008.mp3", "what do i care for food"),
        ):
            archive.write(CLIPS / name, f"librispeech_valid/{name}")
            table.append((f"librispeech_valid/{name}", f"ls-{name[:4]}", said))
    with (tmp_path / "metadata.tsv").open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines, delimiter="\t").writerows([("path", "speaker", "transcript"), *table])
    return tmp_path


def test_new_speakers(spoken, capsys):
    script = example("new_speakers")
    sets = script["read_sets"](str(spoken), None)
    assert [len(pairs) for pairs in sets.values()] == [2, 2, 2, 2]
    before, tuned, scratch = script["main"](
        ["--data", str(spoken), "--limit", "2", "--ways", "whole"]
    )
    assert all(math.isfinite(value) for row in (before, tuned, scratch) for value in row.values()
               if not isinstance(value, str))  # fmt: skip
    assert before["LibriSpeech"] < 50 < scratch["LibriSpeech"]
    assert before["trained"] == 0 < tuned["trained"] == scratch["trained"]
    said = capsys.readouterr().out
    for kind in ("same speakers", "a stranger"):
        beats = f"whole, {kind}: beats training from scratch" in said
        assert beats == (tuned[kind] < scratch[kind])


def test_word_errors_are_those_of_jiwer():
    import jiwer

    word_errors = example("new_speakers")["word_errors"]
    rng = np.random.default_rng(1)
    for _ in range(200):
        truth = rng.choice(["a", "b", "c"], rng.integers(1, 7)).tolist()
        said = rng.choice(["a", "b", "c"], rng.integers(0, 7)).tolist()
        found = jiwer.process_words(" ".join(truth), " ".join(said))
        assert word_errors(truth, said) == (
            found.substitutions + found.deletions + found.insertions
        )
