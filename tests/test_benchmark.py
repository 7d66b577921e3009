"""The benchmark's own arithmetic, its table, and a quick run of rnnzoo's rows of one entry."""

import doctest
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from bench import inputs, record, timing
from bench.families import difference, family_of
from bench.peers import engine_of, graph_of, keras_engine
from bench.picture import draw
from bench.rows import Measurement, growth, latency

import rnnzoo
from rnnzoo.manifest import package_manifest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "benchmark.py"


@pytest.mark.parametrize("module", [record, timing], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def figure(median):
    return timing.summary([0.9 * median, median, 1.2 * median])


def report(threads=2, **medians):
    row = record.Row("net", "batch", "predict", {n: figure(m) for n, m in medians.items()})
    row.amounts, row.left_out = {"lines": 10}, {"ONNX Runtime": "it is not installed"}
    return {"about": {"threads": threads}, "rows": [vars(row)]}


def test_turns_are_taken_by_all_and_timed_alike():
    asked = []
    calls = {name: lambda name=name: (asked.append(name), time.sleep(0.004)) for name in "ab"}
    found = timing.interleaved(calls, rounds=3, seconds=0.012)
    turns = [name for n, name in enumerate(asked) if n == 0 or asked[n - 1] != name]
    assert turns == list("ababab")  # each once, then ab, ba, ab
    assert all(0.004 <= value < 0.5 for samples in found.values() for value in samples)
    assert all(len(samples) >= 3 for samples in found.values())


def test_exponent_is_that_of_a_power():
    sizes = np.array([8, 16, 64, 100])
    assert timing.exponent(sizes, 3e-4 * sizes**1.37) == pytest.approx(1.37)


def test_summary_of_a_spread():
    found = timing.summary(range(101))
    assert (found["p5"], found["q1"], found["median"], found["p95"]) == (5, 25, 50, 95)
    assert found["count"] == 101


def test_table_has_rates_ratios_reasons_and_who_is_ahead():
    text = record.table(report(rnnzoo=2.0, PyTorch=0.5, Keras=3.0))
    assert "| batch | predict | rnnzoo | 2 s | 1.82 s to 2.36 s | 5 lines/s | | |" in text
    assert "| | | PyTorch | 500 ms |" in text and " 0.25 |" in text and " 1.50 |" in text
    assert "- without ONNX Runtime: it is not installed (batch, predict)" in text
    assert "net, batch, predict: PyTorch 4.00 times" in text
    assert "more than 1.1" not in record.table(report(rnnzoo=2.0, PyTorch=1.9))


def test_the_better_of_two_of_ours_is_compared():
    row = record.Row("net", "batch", "predict", {n: figure(m) for n, m in (
        ("rnnzoo", 2.0), ("rnnzoo onnx", 1.0), ("PyTorch", 1.5),
    )})  # fmt: skip
    assert row.ratios() == {"PyTorch": pytest.approx(1.5)}


def test_merging_keeps_the_later_of_one_row():
    first, second = report(rnnzoo=2.0), report(threads=4, rnnzoo=1.0)
    second["rows"].append({**second["rows"][0], "entry": "other"})
    found = record.merged([first, second])
    assert [row["entry"] for row in found["rows"]] == ["net", "other"]
    assert found["rows"][0]["figures"]["rnnzoo"]["median"] == 1.0
    assert found["about"]["threads"] == "2; 4"


def test_differences_of_texts_and_arrays():
    assert difference(["a", "b"], ["a", "c"]) == 0.5
    assert difference([np.ones(3)], [np.array([1, 1, 1.5])]) == 0.5
    with pytest.raises(ValueError, match="shapes"):
        difference([np.ones(3)], [np.ones(2)])


def test_inputs_that_are_made_up_differ_and_stay():
    lines = inputs.sentences(1000)
    assert len(set(lines)) == 1000 and lines == inputs.sentences(1000)
    lengths = [len(chain) for chain in inputs.proteins(500)]
    assert 340 < np.median(lengths) < 500 and max(lengths) <= 2000


@pytest.fixture(scope="module")
def localizer():
    return family_of(rnnzoo.load("deeploc-multiloc", dtype="float32"), "deeploc-multiloc")


def test_keras_own_layers_give_the_same(localizer, tmp_path):
    engine = keras_engine(localizer)
    raws = localizer.raws(3)
    wanted = engine_of("rnnzoo", localizer, 2, tmp_path).predict(raws)
    assert difference(engine.predict(raws), wanted) < 1e-5
    given = localizer.tensors(raws)
    outs = engine.network(given), graph_of(localizer.task.network)(given)
    assert difference(*(localizer.real(out, given) for out in outs)) < 1e-5


@pytest.fixture
def torch():
    """PyTorch is an extra of the benchmark alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch")


def test_torch_gives_the_same(torch, localizer, tmp_path):
    raws = localizer.raws(3)
    wanted = engine_of("rnnzoo", localizer, 2, tmp_path).predict(raws)
    assert difference(engine_of("PyTorch", localizer, 2, tmp_path).predict(raws), wanted) < 1e-5


def engine_and_golden(name, folder):
    family = family_of(rnnzoo.load(name, dtype="float32"), name)
    golden = package_manifest().entries[name].golden
    return engine_of("PyTorch", family, 2, folder), family, golden


@pytest.mark.parametrize("name", ["seq2seq-en-fr", "seq2seq-en-fr-sutskever"])
def test_a_search_in_torch_finds_the_golden_translations(torch, name, tmp_path):
    engine, _, golden = engine_and_golden(name, tmp_path)
    found = engine.predict([one.input for one in golden])
    assert found == [one.output["text"] for one in golden]


def test_a_pen_in_torch_draws_the_golden_ink(torch, tmp_path):
    engine, _, golden = engine_and_golden("graves-handwriting", tmp_path)
    (points,) = engine.predict([golden[0].input])
    strokes = golden[0].output["lines"][0]["strokes"]
    assert np.cumsum(points[:, :2], 0) == pytest.approx(np.concatenate(strokes), abs=0.02)


def test_a_stream_in_torch_hears_what_the_whole_says(torch, tmp_path):
    from bench.torch_stream import Stream

    engine, family, _ = engine_and_golden("deepspeech-streaming", tmp_path)
    tensors = family.tensors(family.raws(1))
    (wanted,) = family.real(engine.network(tensors), tensors)
    stream, samples = Stream(build_torch(family)), tensors["samples"][0]
    found = [stream.feed(samples[begin : begin + 1600]) for begin in range(0, len(samples), 1600)]
    assert difference([np.concatenate([*found, stream.finish()])], [wanted]) < 1e-3


def build_torch(family):
    from bench.torch_networks import build_network

    return build_network(family.task.family, family.config(), family.arrays())


def test_rows_leave_nobody_out_in_silence(localizer, tmp_path):
    engines = [engine_of("rnnzoo", localizer, 2, tmp_path)]
    wrong = engine_of("rnnzoo", localizer, 2, tmp_path)
    wrong.name, wrong.predict = "PyTorch", lambda raws: [np.zeros(11) for _ in raws]
    wrong.network, wrong.left_out = None, {"network": "it has none"}
    missing = {"ONNX Runtime": "it is not installed"}
    m = Measurement(localizer, [*engines, wrong], missing, rounds=1, quick=True)
    m.seconds = 0.01
    asked, network = latency(m)
    assert list(asked.figures) == list(network.figures) == ["rnnzoo"]
    assert "its results differ by 0.9" in asked.left_out["PyTorch"]
    assert network.left_out == {"PyTorch": "it has none", **missing}
    assert asked.amounts == {"proteins": 1, "residues": 110}
    by_length, by_batch = growth(m)
    assert len(by_length.points["rnnzoo"]) == len(by_batch.points["rnnzoo"]) == 3
    assert 0 < by_length.figures["rnnzoo"]["median"] < 2
    rows = [vars(row) for row in (asked, network, by_length, by_batch)]
    draw({"about": {}, "rows": rows}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_reports_are_merged_by_the_command(tmp_path):
    for name, threads in (("a", 2), ("b", 2)):
        content = report(threads, rnnzoo=2.0, Keras=3.0)
        content["rows"][0]["entry"] = name
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    given = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    command = [sys.executable, str(TOOL), "--merge", *given, "-o", str(tmp_path / "all")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "## a" in told and "## b" in told
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "benchmark.json", "benchmark.md", "benchmark.png",
    ]  # fmt: skip
