"""Localising: what a biologist gives, and gets."""

import csv
import gzip
import io
import itertools
import json
import math
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from conftest import INSULIN, loaded_once

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.deeploc import (
    DeepLocConfig,
    PreprocessorConfig,
    ProteinLocalizer,
    ProteinPreprocessor,
    likelihood_tree,
)
from rnnzoo.deeploc.decode import leaves
from rnnzoo.deeploc.table import CSVFormat, ResultTable
from rnnzoo.errors import ConfigError, InputError

NAME = "deeploc-attn"
pytestmark = pytest.mark.usefixtures("shared_by_commands")
HEADER = (
    "Protein_ID,Localizations,Signals,Cytoplasm,Nucleus,Extracellular,Cell membrane,Mitochondrion,"
    "Plastid,Endoplasmic reticulum,Lysosome/Vacuole,Golgi apparatus,Peroxisome"
)
PROTEINS = {"insulin": INSULIN, "short": "MSKL", "long": INSULIN * 11, "back": INSULIN[::-1]}


@pytest.fixture(scope="module")
def localizer():
    return loaded_once(NAME)


@pytest.fixture
def small():
    keras.utils.set_random_seed(2)
    return ProteinLocalizer(
        DeepLocConfig(
            num_locations=3, num_filters=4, conv_dim=8, hidden_dim=8, attention_dim=8,
            decoder_dim=8, dense_dim=8, attention_steps=2, dropout=0.0, input_dropout=0.0,
        ),
        ProteinPreprocessor(PreprocessorConfig(("Nucleus", "Cytoplasm", "Plastid"))),
    )  # fmt: skip


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">{name} remark\n{chain}\n" for name, chain in PROTEINS.items()))
    return path


def test_insulin_is_secreted_by_its_signal_peptide(localizer):
    found = localizer.predict(INSULIN)
    assert found.location == "Extracellular"
    assert not found.membrane_bound
    assert found.importance.shape == (110,)
    assert found.importance.sum() == pytest.approx(1, abs=1e-4)
    assert found.importance[:30].sum() > 30 / 110  # more than its share


def test_fasta_gives_a_list_in_order(localizer, fasta):
    found = localizer.predict(str(fasta))
    assert [result.name for result in found] == list(PROTEINS)
    packed = fasta.with_suffix(".gz")
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    for one, other in zip(localizer.predict(packed), found, strict=True):
        assert one.to_dict() == other.to_dict()
    streamed = list(localizer.stream(fasta))
    assert [result.name for result in streamed] == list(PROTEINS)


def test_pairs_of_every_kind_keep_their_ids(localizer):
    dataset = tf.data.Dataset.from_tensor_slices((["a", "b"], ["MKV", "MSD"]))
    for inputs in (
        [("a", "MKV"), ("b", "MSD")],
        [["a", "MKV"], ["b", "MSD"]],
        np.array([["a", "MKV"], ["b", "MSD"]]),
        [("a", b"MKV"), (b"b", "MSD")],
        dataset,
        dataset.batch(2),
    ):
        found = localizer.predict(inputs)
        assert [(r.name, r.sequence) for r in found] == [("a", "MKV"), ("b", "MSD")]
    with pytest.raises(InputError, match="item 1"):
        localizer.predict([["a", "b", "c"]])
    with pytest.raises(InputError, match="before"):
        localizer.predict([("a", "MKV"), ("a", "MSD")])
    for one in (np.array("MKV"), b"MKV", tf.constant("MKV")):
        assert localizer.predict(one).sequence == "MKV"


def test_what_biopython_reads_is_taken_as_it_is(localizer, fasta):
    with fasta.open() as lines:
        records = list(SeqIO.parse(lines, "fasta"))
    for inputs in (records, [(record.id, record.seq) for record in records]):
        found = localizer.predict(inputs)
        assert {result.name: result.sequence for result in found} == PROTEINS
    one = records[0]
    assert localizer.predict(one).name == "insulin"
    assert localizer.predict(one.seq).sequence == INSULIN
    assert localizer.predict(("gaps", Seq("MKV.FAS"))).sequence == "MKVFAS"
    unnamed = localizer.predict([SeqRecord(Seq("MKV")), SeqRecord(Seq("MSD"))])
    assert [result.name for result in unnamed] == ["sequence_1", "sequence_2"]
    for bad, message in (
        (("insulin", Seq("")), "record 'insulin': the sequence is empty"),
        (("insulin", Seq("MKV?")), r"record 'insulin': '\?' at residue 4"),
        (Seq("MKV?"), "record 'sequence_1'"),
        (SeqRecord(None, id="x"), "record 'x': the sequence is empty"),
        (SeqRecord(Seq(None, length=10), id="x"), "record 'x': the sequence is empty"),
    ):
        with pytest.raises(InputError, match=message):
            localizer.predict([bad])
        skipped = []
        assert localizer.predict([bad, ("a", "MKV")], skipped=skipped)[0].name == "a"
        assert len(skipped) == 1


def test_open_files_are_read(localizer, fasta, tmp_path):
    packed = tmp_path / "proteins.gz"
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    for opened in (
        fasta.open(),
        fasta.open("rb"),
        packed.open("rb"),
        gzip.GzipFile(packed),
        io.TextIOWrapper(gzip.GzipFile(packed)),
        io.StringIO(fasta.read_text()),
        io.BytesIO(fasta.read_bytes()),
    ):
        with opened:
            assert [result.name for result in localizer.predict(opened)] == list(PROTEINS)
            assert not opened.closed
        with pytest.raises(InputError, match=r"cannot read .*closed"):
            localizer.predict(opened)
    packed.write_bytes(packed.read_bytes()[:-9])
    with gzip.open(packed) as opened, pytest.raises(InputError, match="broken gzip"):
        localizer.predict(opened)
    with gzip.open(packed, "rt") as opened, pytest.raises(InputError, match="broken gzip"):
        localizer.predict(opened)


class Table:
    """What a data frame looks like."""

    columns = id = seq = read = upper = ("id", "seq")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (Table(), r"got a table: give its columns as \(id, sequence\) pairs"),
        (("a.fasta", "b.fasta"), "both name files: give several files in a list"),
        ("P12345", "an accession: these are not looked up"),
        ("P12345-2", "an accession: these are not looked up"),
        ("1 MKVLA 6 AGIVG", "numbers of positions have to be taken out"),
        ("MK1", "expected one-letter codes$"),
        ([(1, "MKV")], r"item 1 of the list: expected a sequence or an \(id, sequence\) pair"),
        (SimpleNamespace(read=3), "expected a protein sequence"),
        (SimpleNamespace(read=len), "expected a file as Python's open gives it"),
        (3, "expected a protein sequence"),
    ],
)
def test_what_is_no_protein_is_told(localizer, inputs, message):
    with pytest.raises(InputError, match=message):
        localizer.predict(inputs)


def test_a_data_set_is_read_as_it_comes(localizer):
    endless = tf.data.Dataset.from_tensors("MKV").repeat()
    for dataset in (endless, endless.batch(3)):
        assert next(localizer.stream(dataset)).sequence == "MKV"
    with pytest.raises(InputError, match=r"data\.Dataset of strings"):
        localizer.predict(tf.data.Dataset.range(3))


def test_a_batch_to_train_on_may_hold_an_id_twice(small):
    residues, _, _ = small.training_batch([("a", "MKV"), ("a", "MKV")], ["Nucleus"] * 2)
    assert residues.shape == (2, 3)
    with pytest.raises(InputError, match="record 'sequence_3'"):
        small.training_batch(["MKV", "MKV", "M1"], ["Nucleus"] * 3)


def test_an_id_may_hold_anything(localizer, tmp_path):
    localizer.predict(("a$_$b<", "MKV")).plot().figure.savefig(tmp_path / "a.png")


def test_stream_takes_no_more_than_it_needs(localizer):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield (f"p{number}", "MSKL")

    stream = localizer.stream(endless())
    assert [next(stream).name for _ in range(2)] == ["p0", "p1"]
    assert len(taken) < 2000


def test_the_tree_follows_from_its_leaves(localizer):
    found = localizer.predict(INSULIN)
    tree = found.tree
    assert set(leaves()) == set(found.likelihoods)
    assert tree.likelihood == pytest.approx(1, abs=1e-5)
    for node in tree:
        if node.children:
            total = sum(child.likelihood for child in node.children)
            assert node.likelihood == pytest.approx(total)
        else:
            assert node.likelihood == found.likelihoods[node.name]
    secreted = ["Extracellular", "Cell membrane", "Lysosome/Vacuole", "Endoplasmic reticulum"]
    secreted.append("Golgi apparatus")
    assert tree["Secretory pathway"].likelihood == pytest.approx(
        sum(found.likelihoods[name] for name in secreted)
    )
    assert sum(bool(node.children) for node in tree) == 9  # DeepLoc's nine decisions
    with pytest.raises(KeyError):
        tree["Nowhere"]
    assert likelihood_tree({"Nucleus": 1.0}) is None


def test_importance_of_a_long_chain_lies_at_its_own_residues(localizer):
    chain = PROTEINS["long"]
    found = localizer.predict(chain)
    assert found.importance.shape == (len(chain),)
    assert not found.importance[500:-500].any()
    assert found.read == 1000
    assert found.importance.sum() == pytest.approx(1, abs=1e-4)
    read = localizer.predict(chain[:500] + chain[-500:])
    np.testing.assert_allclose(found.importance[:500], read.importance[:500], atol=1e-6)
    np.testing.assert_allclose(found.importance[-500:], read.importance[-500:], atol=1e-6)


def test_the_threshold_decides_on_membranes(localizer):
    low = localizer.predict(INSULIN, membrane_threshold=0.0)
    high = localizer.predict(INSULIN, membrane_threshold=1.0)
    assert (low.membrane_bound, high.membrane_bound) == (True, False)
    assert low.membrane == high.membrane


def test_plot_csv_and_html(localizer, tmp_path):
    for name in ("insulin", "long"):
        found = localizer.predict((name, PROTEINS[name]))
        figure = found.plot().figure
        figure.savefig(tmp_path / "a.png")
        assert len(figure.axes) == 3
        drawn = {text.get_text() for text in figure.axes[1].texts}
        assert any(text.startswith(found.location) for text in drawn)
        table = list(csv.reader(io.StringIO(found.importance_csv(tmp_path / "a.csv"))))
        assert table[0] == ["position", "residue", "importance"]
        assert "".join(row[1] for row in table[1:]) == PROTEINS[name]
        assert (tmp_path / "a.csv").read_text() == found.importance_csv()
        assert found.location in found._repr_html_()
        assert "not shown" not in found._repr_html_()
    with pytest.raises(InputError, match="cannot write"):
        found.importance_csv("/none/a.csv")
    both_ends = localizer.predict("MKV" * 1000)._repr_html_()
    assert "… 1,000 residues not shown …" in both_ends and 'title="V3000: ' in both_ends


def test_a_bad_record_is_named_or_left_out(localizer):
    with pytest.raises(InputError, match="record 'b'"):
        localizer.predict([("a", "MKV"), ("b", "M1")])
    skipped = []
    found = localizer.predict([("a", "MKV"), ("b", "M1")], skipped=skipped)
    assert [result.name for result in found] == ["a"]
    assert len(skipped) == 1
    with pytest.raises(InputError, match="DNA"):
        localizer.predict("ACGT" * 20, skipped=[])
    assert localizer.predict(["A" * 25, "GAGAGA" * 5])  # silk's, say


def test_fit_learns_labels_where_they_are_known(small, tmp_path):
    proteins = ["MKKRKVEDP" * 3, "MALLLLAAV" * 3, "MASSMLSSA" * 3] * 4
    targets = [("Nucleus", False), ("Cytoplasm", None), "Plastid"] * 4
    small.compile(optimizer=keras.optimizers.Adam(0.02))
    history = small.fit(
        proteins, targets, validation_data=(proteins, targets), epochs=12, verbose=0
    )
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert [str(found) for found in small.predict(proteins[:3])] == [
        "Nucleus", "Cytoplasm", "Plastid"
    ]  # fmt: skip
    assert not small.predict(proteins[0]).membrane_bound
    small.save(tmp_path / "mine")
    again = rnnzoo.load(tmp_path / "mine", dropout=0.3)
    assert again.predict(proteins[0]).to_dict() == small.predict(proteins[0]).to_dict()
    with pytest.raises(InputError, match="what can be changed"):
        rnnzoo.load(tmp_path / "mine", hidden_dim=4)


def test_unknown_membrane_labels_teach_nothing(small):
    """The membrane's loss is the same whatever stands where the label is unknown."""
    x, labels, weights = small.training_batch(
        ["MKV", "MSD"], [("Nucleus", True), ("Nucleus", None)]
    )
    assert weights["membrane"].tolist() == [1, 0]
    small.compile()
    losses = []
    for value in (0.0, 1.0):
        labels["membrane"][1] = value
        losses.append(small.evaluate(x, labels, sample_weight=weights, verbose=0))
    np.testing.assert_allclose(losses[0], losses[1])


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (["MKV"], ["Mars"], "unknown location 'Mars'"),
        (["MKV"], [("Nucleus", "yes")], "target 0"),
        (["M1"], ["Nucleus"], "stand for an amino acid"),
        (["MKV", "MSD"], ["Nucleus"], "2 inputs and 1 targets"),
        ([">a\nMKV\n>b\nMSD"], ["Nucleus"], "2 proteins"),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_named(small, inputs, targets, message):
    with pytest.raises(InputError, match=message):
        small.fit(inputs, targets, verbose=0)


def test_names_and_network_have_to_fit(small):
    other = ProteinPreprocessor(PreprocessorConfig(("a", "b")))
    with pytest.raises(ConfigError, match="different checkpoints"):
        ProteinLocalizer(small.config, other)


# --- the command line ------------------------------------------------------------------------


def test_rows_and_json_on_standard_output(localizer, fasta, capsys, monkeypatch):
    assert main(["predict", NAME, str(fasta)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == list(PROTEINS)
    assert rows[0][1] == "Extracellular"
    assert rows[0][3] in ("soluble", "membrane-bound")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(fasta.read_bytes())))
    assert main(["predict", NAME, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in found] == list(PROTEINS)
    assert main(["predict", NAME, INSULIN]) == 0
    assert capsys.readouterr().out.startswith("sequence_1\tExtracellular\t")


def table(folder):
    return (folder / "results.csv").read_text().splitlines()


def test_the_table_is_deeploc_2s(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", NAME, str(fasta), "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "results.csv")
    lines = table(out)
    assert lines[0] == f"{HEADER},Membrane-bound,Soluble"
    rows = list(csv.DictReader(lines))
    assert [row["Protein_ID"] for row in rows] == list(PROTEINS)
    for row in rows:
        assert row["Signals"] == ""
        shares = [float(row[name]) for name in HEADER.split(",")[3:]]
        assert math.isclose(sum(shares), 1, abs_tol=1e-3)
        assert row["Localizations"] == HEADER.split(",")[3:][int(np.argmax(shares))]


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_table_goes_on(fasta, tmp_path, capsys, as_json):
    whole, out = tmp_path / "whole", tmp_path / "out"
    arguments = ["predict", NAME, str(fasta), *(["--json"] if as_json else [])]
    name = "results.jsonl" if as_json else "results.csv"
    assert main([*arguments, "-o", str(whole)]) == 0
    expected = (whole / name).read_text()
    # as a stop in the middle of the third row leaves it
    lines = expected.splitlines(keepends=True)
    out.mkdir()
    record = f"{name}.run.json"
    (out / f"{name}.partial.run.json").write_text((whole / record).read_text())
    (out / f"{name}.partial").write_text("".join(lines[:3]) + lines[3][:20])
    assert main([*arguments, "-o", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "-o", str(out), "--resume"]) == 0
    close_tables((out / name).read_text(), expected)
    assert {path.name for path in out.iterdir()} == {name, record, f"{name}.sums"}
    before = (out / name).read_bytes()
    assert main([*arguments, "-o", str(out), "--resume"]) == 0  # complete: nothing is done again
    assert "complete" in capsys.readouterr().err
    assert (out / name).read_bytes() == before
    with fasta.open("a") as more:
        more.write(">new\nMKVLLA\n")
    assert main([*arguments, "-o", str(out), "--resume"]) == 0  # the input has grown
    assert (out / name).read_text().startswith(before.decode())
    assert (out / name).read_text().count("\n") == before.count(b"\n") + 1
    other = fasta.with_name("other.fasta")
    other.write_text(">else\nMKV\n")
    before = (out / name).read_bytes()
    assert main(["predict", NAME, str(other), *arguments[3:], "-o", str(out), "--resume"]) == 2
    assert "another input" in capsys.readouterr().err
    assert (out / name).read_bytes() == before
    assert not (out / f"{name}.partial").exists()


def test_a_stopped_process_goes_on(tmp_path):
    """Ctrl-C while it writes; nothing is lost, nothing comes twice."""
    fasta, out = tmp_path / "many.fasta", tmp_path / "out"
    rng = np.random.default_rng(0)
    names = [f"p{n}" for n in range(3000)]
    fasta.write_text(
        "".join(f">{name}\n{''.join(rng.permutation(list(INSULIN[:30])))}\n" for name in names)
    )
    command = [sys.executable, "-m", "rnnzoo", "predict", NAME, str(fasta), "-o", str(out)]
    partial = out / "results.csv.partial"
    # a shell's background jobs, such as a CI's under nohup, and their children ignore Ctrl-C
    listen = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    listening = [sys.executable, "-c", listen, *command[1:]]
    with subprocess.Popen(listening, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (partial.exists() and partial.stat().st_size > 1000):
            time.sleep(0.01)
        assert process.poll() is None, "it was done before it could be stopped"
        process.send_signal(signal.SIGINT)
        assert "--resume" in process.communicate()[1]
    assert process.returncode == 130
    rows = partial.read_text().count("\n") - 1
    assert 0 < rows < len(names)
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert [line.split(",")[0] for line in table(out)[1:]] == names


def close_tables(found, expected):
    """Equal but for the last digits of numbers, which the batch may change."""
    import re

    number = r"-?\d+\.\d+(?:e-?\d+)?"
    assert re.sub(number, "#", found) == re.sub(number, "#", expected)
    values = [np.array(re.findall(number, text), float) for text in (found, expected)]
    np.testing.assert_allclose(values[0], values[1], atol=2e-4)


def test_tables_of_two_models_or_inputs_never_mix(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", NAME, str(fasta), "-o", str(out)]) == 0
    lines = (out / "results.csv").read_text().splitlines(keepends=True)
    (out / "results.csv").unlink()
    (out / "results.csv.partial").write_text("".join(lines[:2]))
    made_by = out / "results.csv.run.json"
    record = json.loads(made_by.read_text())
    made_by.write_text(json.dumps({**record, "fingerprint": "another"}))
    resume = ["predict", NAME, "-o", str(out), "--resume"]
    assert main([*resume, str(fasta)]) == 2
    assert "fingerprint" in capsys.readouterr().err
    made_by.write_text(json.dumps(record))
    other = tmp_path / "other.fasta"
    other.write_text(">else\nMKV\n")
    assert main([*resume, str(other)]) == 2
    assert "another input" in capsys.readouterr().err
    assert (out / "results.csv.partial").read_text() == "".join(lines[:2])
    made_by.write_text("{")
    assert main([*resume, str(fasta)]) == 2


def test_an_unfinished_table_beside_a_complete_one_is_kept(fasta, tmp_path, capsys):
    out, other = tmp_path / "out", tmp_path / "other.fasta"
    other.write_text(">else\nMKV\n")
    lines = "".join(f">{n}\nMKVLAAG\n" for n in range(600)) + ">bad\nM1\n"
    (tmp_path / "long.fasta").write_text(lines)
    assert main(["predict", NAME, str(fasta), "-o", str(out)]) == 0
    whole = (out / "results.csv").read_text()
    assert main(["predict", NAME, str(tmp_path / "long.fasta"), "-o", str(out)]) == 2
    assert "the rows so far are kept" in capsys.readouterr().err
    begun = (out / "results.csv.partial").read_text()
    assert begun.count("\n") == 1 + 512
    assert main(["predict", NAME, str(other), "-o", str(out), "--resume"]) == 2
    assert (out / "results.csv").read_text() == whole
    assert (out / "results.csv.partial").read_text() == begun


def test_a_changed_sequence_is_not_taken_for_the_old_one(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["predict", NAME, str(fasta), "-o", str(out)]
    assert main(arguments) == 0
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    lines = (out / "results.csv").read_text().splitlines(keepends=True)
    text = fasta.read_text()
    fasta.write_text(text.replace("MSKL", "MSKM"))
    assert main([*arguments, "--resume"]) == 2
    assert "'short' with another sequence than the input" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    # unfinished, and stopped between a checksum and its row, or without any checksums
    for sums in (4, 2, 0):
        for name, end in (("results.csv", 3), ("results.csv.sums", sums)):
            kept = whole[name].splitlines(keepends=True)[:end]
            (out / name.replace("csv", "csv.partial")).write_bytes(b"".join(kept))
        (out / "results.csv.partial.run.json").write_bytes(whole["results.csv.run.json"])
        fasta.write_text(text.replace("MSKL", "MSKM"))
        assert main([*arguments, "--resume"]) == (2 if sums > 1 else 0)
        fasta.write_text(text)
        assert main([*arguments, "--resume"]) == 0
        assert [line.split(",")[0] for line in table(out)[1:]] == list(PROTEINS)
        known = (out / "results.csv.sums").read_text().split()
        assert known[2:] == whole["results.csv.sums"].decode().split()[2:]
        assert known.count("--------") == 2 - min(sums, 2)
    # what is no row is told by its line
    fault = "line 3 of the table"
    for row, message in (
        ("\n", fault),
        ("x" * 200_000 + "\n", fault),
        ("\udcff\n", "has '\\udcff'"),
    ):
        text = "".join([*lines[:2], row, *lines[2:]])
        (out / "results.csv").write_text(text, errors="surrogateescape")
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        assert main([*arguments, "--resume"]) == 2
        assert message in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_checksums_outlive_a_stop_at_the_very_end(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["predict", NAME, str(fasta), "-o", str(out), "--resume"]
    assert main(arguments) == 0
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    changed = fasta.read_text().replace("MSKL", "MSKM")
    known = whole["results.csv.sums"]
    for sums, record in (  # the record has its last name, the sums too, or half a line of them
        ("results.csv.partial.sums", "results.csv.run.json"),
        ("results.csv.sums", "results.csv.run.json"),
    ):
        for path in out.iterdir():
            path.unlink()
        (out / "results.csv.partial").write_bytes(whole["results.csv"])
        (out / record).write_bytes(whole["results.csv.run.json"])
        (out / sums).write_bytes(known[:-4])
        text = fasta.read_text()
        fasta.write_text(changed)
        assert main(arguments) == 2
        assert "'short' with another sequence" in capsys.readouterr().err
        fasta.write_text(text)
        assert main(arguments) == 0
        kept = (out / "results.csv.sums").read_text().split()
        assert kept == [*known.decode().split()[:-1], "--------"]


def test_two_runs_never_write_one_table(fasta, tmp_path, capsys):
    out, form = tmp_path / "out", CSVFormat(("here",), False)
    arguments = ["predict", NAME, str(fasta), "-o", str(out)]
    with ResultTable(out, form, {"model": "another"}):
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        for resume in ([], ["--resume"]):
            assert main([*arguments, *resume]) == 2
            assert "another run is writing" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_that_fails_leaves_the_record_of_the_table_before(fasta, tmp_path):
    out = tmp_path / "out"
    assert main(["predict", NAME, str(fasta), "-o", str(out)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = ["predict", "deeploc-multiloc-clean", "-o", str(out)]
    assert main([*other, "M1"]) == 2
    form = CSVFormat(("here",), False)
    with pytest.raises(InputError, match="first"), ResultTable(out, form, {"model": "another"}):
        raise InputError("the first protein cannot be read")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_table_without_membrane_has_its_own_locations(tmp_path):
    out = tmp_path / "out"
    assert main(["predict", "deeploc-multiloc", "MKV", "MSDEE", "-o", str(out)]) == 0
    lines = table(out)
    places = rnnzoo.load("deeploc-multiloc").preprocessor.config.locations
    assert lines[0].split(",") == ["Protein_ID", "Localizations", "Signals", *places]
    assert len(lines) == 3


def test_tables_of_two_adapters_never_mix(small, tmp_path, capsys):
    small.save(tmp_path / "base")
    for name in ("first", "second"):
        model = rnnzoo.load(tmp_path / "base")
        model.enable_lora(rank=1)
        model.save_adapter(tmp_path / name)
    arguments = ["predict", str(tmp_path / "base"), "MKV", "-o", str(tmp_path / "out"), "--adapter"]
    assert main([*arguments, str(tmp_path / "first")]) == 0
    assert main([*arguments, str(tmp_path / "first"), "--resume"]) == 0
    assert main([*arguments, str(tmp_path / "second"), "--resume"]) == 2
    assert "was made with adapter" in capsys.readouterr().err


def test_a_table_is_made_by_a_keras_file_too(small, tmp_path, capsys):
    file, out = str(tmp_path / "small.keras"), tmp_path / "out"
    small.save(file)
    assert main(["predict", file, "MKV", "MSDEE", "-o", str(out)]) == 0
    assert len(table(out)) == 3
    assert main(["predict", file, "MKV", "MSDEE", "-o", str(out), "--resume"]) == 0
    weight = small.network.trainable_weights[0]
    weight.assign(np.asarray(weight) + 1)
    small.save(file)
    assert main(["predict", file, "MKV", "MSDEE", "-o", str(out), "--resume"]) == 2
    assert "was made with fingerprint" in capsys.readouterr().err


def test_invalid_records_are_reported_at_the_end(tmp_path, capsys):
    path = tmp_path / "some.fasta"
    path.write_text(">a\nMKVLA\n>bad\nM1\n>b\nMSDEE\n")
    assert main(["predict", NAME, str(path), "-o", str(tmp_path / "out")]) == 2
    assert f"record 'bad' ({path}, line 3)" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []  # so it can be tried again
    arguments = ["predict", NAME, str(path), "-o", str(tmp_path / "skip"), "--skip-invalid"]
    assert main(arguments) == 0
    assert "left out: record 'bad'" in capsys.readouterr().err
    assert [line.split(",")[0] for line in table(tmp_path / "skip")[1:]] == ["a", "b"]
    # all are named in a file, some of them too where the run fails at the end
    path.write_text(">a\nMKVLA\n" + "".join(f">bad{n}\nM1\n" for n in range(30)))
    folder = tmp_path / "many"
    arguments = ["predict", NAME, str(path), "-o", str(folder), "--skip-invalid"]
    assert main(arguments) == 0
    told, listed = capsys.readouterr().err, folder / "results.left_out.txt"
    assert told.count("left out: record") == 20 and f"all 30 that were left out: {listed}" in told
    assert listed.read_text().count("record 'bad") == 30
    broken = tmp_path / "broken.fa"
    broken.write_text("no header\n")
    other = ["predict", NAME, str(path), str(broken), "-o", str(tmp_path / "broken")]
    assert main([*other, "--skip-invalid"]) == 2
    told = capsys.readouterr().err
    assert "left out: 10 more" in told and f"rnnzoo: {broken}, line 1: expected FASTA" in told
    # a refused run leaves the list as it is, a whole one without such records has none
    (folder / "results.csv.partial").write_text("begun")
    again = ["predict", NAME, "MKV", "-o", str(folder)]
    assert main(again) == 2
    assert listed.read_text().count("record 'bad") == 30
    (folder / "results.csv.partial").unlink()
    assert main(again) == 0
    assert not listed.exists()
    path.write_text("".join(f">bad{n}\nM1\n" for n in range(30)))
    assert main(["predict", NAME, str(path), "--skip-invalid"]) == 2
    assert "left out: 10 more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MKV", "--resume"], "-o"),
        (["missing.fasta"], "cannot read missing.fasta"),
        (["MKV", "-o", "/proc/none/x"], "cannot write"),
        (["MKV", "--membrane-threshold", "2"], "membrane_threshold"),
        (["data.pep"], "cannot read data.pep"),
        (["proteins"], "no file 'proteins'"),
        (["Human"], "no file 'Human'"),
        (["MK1"], "'1' at residue 3"),
        (["MKV", "-o", "found.csv"], "-o names the folder of the table; found.csv names a file"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message, capsys):
    assert main(["predict", NAME, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_usage_error_leaves_no_table(tmp_path, capsys):
    out = tmp_path / "out"
    for wrong in (["--membrane-threshold", "2"], ["--skip-invalid"]):
        assert main(["predict", NAME, "MK1", "-o", str(out), *wrong]) == 2
    assert not out.exists()
    assert main(["predict", NAME, "MKV", "MK1", "-o", str(out)]) == 2
    assert list(out.iterdir()) == []


def test_lines_models_take_no_protein_options(capsys):
    assert main(["predict", "seq2seq-en-fr", "x", "--resume"]) == 2
    assert "proteins" in capsys.readouterr().err
