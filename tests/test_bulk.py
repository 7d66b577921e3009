"""Bulk prediction: batches of columns, and workers on Ray, one of them killed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import INSULIN, ROOT

from rnnzoo.bulk import BatchPredictor, map_in_order
from rnnzoo.cli import main
from rnnzoo.errors import InputError, MissingDependencyError

NAME = "deeploc-multiloc"
COUNT, WINDOW = 40, 4

# What the command does, with one worker killed in mid-run; its windows are short, and each that is
# begun is written down. A table that was stopped after three windows is gone on with.
KILLED = f"""
import os, signal, sys
import rnnzoo.cli.proteins as proteins
import rnnzoo.deeploc.task as task
from rnnzoo.cli import main

folder, fasta = sys.argv[1:]
task.WINDOW = {WINDOW}

class Killed(proteins.TableLines):
    def __call__(self, batch):
        with open(folder + "/begun", "a") as file:
            print(batch["name"][0], os.getpid(), file=file)
        if "protein_20" in batch["name"] and not os.path.exists(folder + "/killed"):
            open(folder + "/killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

def run(*options):
    code = main(["predict", "{NAME}", fasta, *options])
    assert code == 0, code

run("-o", folder + "/plain")
os.mkdir(folder + "/bulk")
for name in ("results.csv", "results.csv.run.json"):
    lines = open(folder + "/plain/" + name).readlines()
    stopped = name == "results.csv"
    with open(folder + "/bulk/" + name + ".partial" * stopped, "w") as file:
        file.writelines(lines[: 1 + 3 * {WINDOW}] if stopped else lines)
begin = proteins.map_in_order
proteins.map_in_order = lambda blocks, _, *others: begin(blocks, Killed, *others)
run("-o", folder + "/bulk", "--resume", "--workers", "2")
import ray
assert not ray.is_initialized()
"""


# Blocks of numbers, of which the second fails: once, always, or with its worker. The tries are
# written down, and what came back.
FAILING = """
import json, os, signal, sys
from rnnzoo.bulk import map_in_order
from rnnzoo.errors import WorkerError

folder = sys.argv[1]

class Failing:
    def __init__(self, how):
        self.how = how

    def __call__(self, batch):
        number = int(batch["n"][0])
        log = f"{folder}/{self.how}-{number}"
        tries = os.path.getsize(log) if os.path.exists(log) else 0
        with open(log, "a") as file:
            file.write("x")
        if number == 1 and self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 1 and (self.how == "always" or not tries):
            raise OSError("the disk is full")
        return {"n": [number]}

for how in ("once", "always", "killed"):
    given, said = [], ""
    try:
        for block in map_in_order([{"n": [n]} for n in range(3)], Failing, {"how": how}, workers=1):
            given += block["n"]
    except WorkerError as error:
        said = str(error)
    print(json.dumps([how, given, said, os.path.getsize(f"{folder}/{how}-1")]))
"""


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """Short proteins of many lengths: pieces of insulin's precursor."""
    path = tmp_path_factory.mktemp("bulk") / "proteins.fasta"
    pieces = [INSULIN[n % 60 : n % 60 + 12 + n % 7 * 5] for n in range(COUNT)]
    path.write_text("".join(f">protein_{n}\n{piece}\n" for n, piece in enumerate(pieces)))
    return path


def test_nothing_is_lost_with_a_worker_that_is_killed(fasta, tmp_path):
    pytest.importorskip("ray.data", reason="needs the extra ray")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(fasta)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | {"RAY_ADDRESS": ""},
    )
    try:
        said = process.communicate(timeout=300)[0]
    finally:
        process.kill()
    assert process.returncode == 0, said
    plain = (tmp_path / "plain" / "results.csv").read_bytes()
    assert (tmp_path / "bulk" / "results.csv").read_bytes() == plain
    assert len(plain.splitlines()) == 1 + COUNT
    done, again = ((tmp_path / n / "results.csv.sums").read_text() for n in ("plain", "bulk"))
    assert again.split()[3 * WINDOW :] == done.split()[3 * WINDOW :]  # those of the workers
    begun = [line.split() for line in (tmp_path / "begun").read_text().splitlines()]
    firsts = [f"protein_{n}" for n in range(3 * WINDOW, COUNT, WINDOW)]
    assert sorted(first for first, _ in begun) == sorted([*firsts, "protein_20"])
    killed, again = [worker for first, worker in begun if first == "protein_20"]
    assert killed != again
    assert len({worker for _, worker in begun}) >= 2


def test_a_block_that_failed_is_done_again_and_one_that_always_fails_ends_the_run(tmp_path):
    pytest.importorskip("ray.data", reason="needs the extra ray")
    process = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | {"RAY_ADDRESS": ""},
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()  # Ray tells there what it does again
    once, always, killed = [json.loads(line) for line in lines if line.startswith('["')]
    assert once == ["once", [0, 1, 2], "", 2]
    for how, given, said, tries in (always, killed):
        assert given in ([], [0]) and "could not be done" in said, how
        assert tries == 4
    assert "disk is full" in always[2]


def test_batches_of_columns_keep_their_rows():
    predictor = BatchPredictor(NAME, inputs=["name", "sequence"])
    batch = {
        "sequence": np.array([INSULIN, "MKVLAAG"], object),
        "name": np.array(["insulin", "short"], object),
        "taxon": np.array([9606, 10090]),
    }
    found = predictor(batch)
    alone = predictor.model.predict([("insulin", INSULIN), ("short", "MKVLAAG")])
    assert list(found["name"]) == ["insulin", "short"] and found["taxon"].tolist() == [9606, 10090]
    assert found["location"] == [one.location for one in alone]
    assert json.loads(found["likelihoods"][1]) == alone[1].to_dict()["likelihoods"]
    assert all(len(column) == 2 for column in found.values())
    with pytest.raises(InputError, match=r"no column 'name'.*sequence"):
        predictor({"sequence": [INSULIN]})


def test_what_cannot_be_used_is_named(fasta, tmp_path, capsys, monkeypatch):
    for settings, message in (
        ({"inputs": "text"}, "list of column names"),
        ({"inputs": []}, "list of column names"),
        ({"threads": 0}, "threads must be"),
    ):
        with pytest.raises(InputError, match=message):
            BatchPredictor(NAME, **settings)
    with pytest.raises(InputError, match="workers must be"):
        map_in_order([], BatchPredictor, {"name": NAME}, workers=0)
    out, command = tmp_path / "out", ["predict", NAME, str(fasta)]
    for arguments, message in (
        ([*command, "--workers", "2"], "-o"),
        ([*command, "-o", str(out), "--workers", "0"], "workers must be"),
        ([*command, "-o", str(out), "--workers", "2", "--plot", "a.png"], "--plot"),
        (["predict", "seq2seq-en-fr", "Yes.", "--workers", "2"], "read proteins"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.csv*"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"rnnzoo\[ray\]"):
        map_in_order([], BatchPredictor, {"name": NAME}, workers=2)
