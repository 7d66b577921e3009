"""The benchmark's own arithmetic, its floor and its table, and a quick run of rnnzoo's rows of one
entry."""

import doctest
import json
import math
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bench import children, inputs, record, timing
from bench import train as bench_train
from bench.families import difference, family_of
from bench.floor import floor, products
from bench.peaks import CACHE, MEMORY, OPERATIONS, measured_peaks, rate
from bench.peers import Engine, engine_of, graph_of, keras_engine
from bench.picture import draw
from bench.record import behind, merged, table
from bench.rows import Measurement, decode, growth, latency, mixed
from bench.train import train
from conftest import loaded_once

import rnnzoo
from rnnzoo.config import read_config
from rnnzoo.ctc import Combined, Grammar, HotWords, PrefixBeamSearch
from rnnzoo.deeploc import DeepLocConfig
from rnnzoo.deepspeech import DeepSpeechConfig
from rnnzoo.handwriting import HandwritingConfig
from rnnzoo.manifest import package_manifest
from rnnzoo.registry import family_class

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "benchmark.py"
CHECKPOINTS = Path(rnnzoo.__file__).parent / "checkpoints"
PEAKS = {OPERATIONS: 200.0, CACHE: 100.0, MEMORY: 20.0}


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


def short(raw):
    """An input that is quick to run."""
    if isinstance(raw, tuple):
        samples, rate = raw
        return samples[: rate // 2 + len(samples) % 99], rate
    return raw[:50] if isinstance(raw, str) else [stroke[:20] for stroke in raw[:3]]


def test_sizes_of_growth_are_compared_one_by_one():
    points = {"rnnzoo": [[8, 1.0], [16, 3.0]], "PyTorch": [[8, 1.0], [16, 2.0]]}
    figures = {name: {"median": 1.0} for name in points}
    row = record.Row("net", "growth", "network, length", figures, "exponent", points=points)
    assert behind([row]) == ["net, growth, network, length 16: PyTorch 1.50 times; ours 3 s"]
    row.floors = [[8, 0.25], [16, 0.5]]
    assert behind([row])[0].endswith("PyTorch 1.50 times; ours 3 s, floor 500 ms")


def test_the_floor_of_predict_is_that_of_its_batches(localizer, monkeypatch):
    m = Measurement(localizer, [], {}, rounds=1, quick=True, peaks=PEAKS)
    raws = ["MKV" * 20, "MKVLAAG", "MKV" * 30, "MKVL"]
    padded = m._floor("network", localizer.tensors(raws))
    assert m._floor("predict", raws) == padded
    monkeypatch.setattr(localizer, "batch_size", 2)
    short, long = (m._floor("network", localizer.tensors(raws[n::2])) for n in (1, 0))
    assert m._floor("predict", raws)["operations"] == short["operations"] + long["operations"]
    monkeypatch.setattr(localizer, "loops", True)
    assert m._floor("predict", raws) == {}


@pytest.mark.parametrize(
    ("name", "count"),
    [("deeploc-multiloc", 70), ("deepspeech-digits", 20), ("graves-handwriting-reader", 40)],
)
def test_peers_get_the_batches_that_predict_makes(name, count, monkeypatch):
    task = loaded_once(name)
    family = family_of(task, name)
    assert not family.loops
    raws = [short(raw) for raw in family.raws(count)]
    expected = [tensors for _, tensors in family.batched(raws)]
    assert len(expected) > 1
    given, outputs_of = [], task._outputs
    monkeypatch.setattr(task, "_outputs", lambda **x: given.append(x) or outputs_of(**x))
    family.ask(task, raws)
    for own, theirs in zip(given, expected, strict=True):
        for key, tensor in theirs.items():
            np.testing.assert_array_equal(own[key], tensor)


def test_bare_imports_are_nobodys_rivals():
    figures = {"rnnzoo": {"median": 2.0}, "import torch": {"median": 1.0}}
    assert behind([record.Row("net", "cold", "import", figures)]) == []


def test_the_better_of_two_of_ours_is_compared():
    row = record.Row("net", "batch", "predict", {n: figure(m) for n, m in (
        ("rnnzoo", 2.0), ("rnnzoo onnx", 1.0), ("PyTorch", 1.5),
    )})  # fmt: skip
    assert row.ratios() == {"PyTorch": pytest.approx(1.5)}


def test_the_floor_stands_under_the_engines_of_its_row():
    whole = report(rnnzoo=2.0, PyTorch=0.5)
    whole["rows"][0]["floor"] = {"operations": 1.8e8, "bytes": 3.7e6, "seconds": 9e-4}
    lines = record.table(record.merged([whole])).splitlines()
    (place,) = [n for n, line in enumerate(lines) if "| floor |" in line]
    assert lines[place] == "| | | floor | 0.9 ms | | 0.18 GFLOP, 3.7 MB | | |"
    assert "PyTorch" in lines[place - 1]


def test_reports_from_before_the_floor_can_be_merged():
    old, new = report(rnnzoo=2.0), report(rnnzoo=1.0)
    del old["rows"][0]["floor"]
    old["rows"][0]["entry"] = "old"
    new["rows"][0]["floor"] = {"operations": 1.0, "bytes": 1.0, "seconds": 1.0}
    found = record.merged([old, new])
    assert found["rows"][1]["floor"] == new["rows"][0]["floor"]
    assert record.table(found).count("| floor |") == 1


def test_merging_keeps_the_later_of_one_row():
    first, second = report(rnnzoo=2.0), report(threads=4, rnnzoo=1.0)
    second["rows"].append({**second["rows"][0], "entry": "other"})
    found = record.merged([first, second])
    assert [row["entry"] for row in found["rows"]] == ["net", "other"]
    assert found["rows"][0]["figures"]["rnnzoo"]["median"] == 1.0
    assert found["about"]["threads"] == "2; 4"


def test_a_rate_is_that_of_all_threads_together():
    found = rate(lambda _: time.sleep(0.01), [None] * 3, amount=1.0, seconds=0.05)
    assert 30 < found <= 300


def test_the_machine_has_peaks():
    found = measured_peaks(2)
    assert list(found) == [OPERATIONS, CACHE, MEMORY] and min(found.values()) > 0


def described(family, config):
    shapes = family_class(family).weight_shapes
    return SimpleNamespace(family=family, config=config, weight_shapes=shapes)


def counted(task, tensors):
    return products(task.family, task.config, task.weight_shapes(task.config), tensors)


def test_products_of_a_localizer_by_hand():
    config = DeepLocConfig(
        num_locations=3, filter_widths=(1, 3), num_filters=2, conv_dim=4, hidden_dim=5,
        attention_dim=6, attention_steps=2, decoder_dim=7, dense_dim=8, num_members=2,
    )  # fmt: skip
    operations, read = counted(
        described("deeploc", config), {"residues": np.ones((3, 11), np.int32)}
    )
    convolutions = (1 + 3) * 20 * 2 + 3 * (2 * 2) * 4
    inputs, recurrent = 2 * 4 * (4 * 5), 2 * 5 * (4 * 5)  # of both directions
    key, query, step = 10 * 6, 7 * 6, (10 + 7) * (4 * 7)
    last = 10 * 8 + 8 * 3 + 8 * 1
    chain = 11 * (convolutions + inputs + recurrent + key)
    looks = 2 * (query + 11 * (6 + 10))  # each place: v, and its share of the sum
    assert operations == 2 * 2 * 3 * (chain + looks + step + last)
    assert read == 2 * 4 * (
        convolutions + inputs + 11 * recurrent + key + 2 * (query + 6) + step + last
    )


def test_products_of_an_lstm_and_a_dense_layer_by_hand():
    config = HandwritingConfig(num_symbols=0, num_layers=1, hidden_dim=5, num_components=2)
    task = described("handwriting_prediction", config)
    tensors = {"points": np.zeros((2, 7, 3), np.float32)}
    operations, read = counted(task, tensors)
    kernel, recurrent, output = 3 * (4 * 5), 5 * (4 * 5), 5 * (1 + 6 * 2)
    assert operations == 2 * (2 * 7) * (kernel + recurrent + output)
    assert read == 4 * (kernel + 7 * recurrent + output)
    found = floor(task, tensors, {OPERATIONS: 1e-9, CACHE: 1e9})  # one operation a second
    assert found == {"operations": operations, "bytes": read, "seconds": operations}
    found = floor(task, tensors, {OPERATIONS: 1e9, CACHE: 1e-9})
    assert found["seconds"] == read
    assert floor(task, tensors, PEAKS, training=True)["operations"] == 3 * operations


def test_products_of_a_recognizer_by_hand():
    config = DeepSpeechConfig(
        num_mels=64, frame_length=400, frame_step=160, conv_channels=(2, 4),
        conv_times=(11, 7), conv_frequencies=(11, 5), time_strides=(3, 1),
        frequency_strides=(4, 2), num_layers=1, hidden_dim=8, num_symbols=29,
    )  # fmt: skip
    tensors = {"samples": np.zeros((2, 16000), np.float32), "lengths": np.array([16000, 9000])}
    frames = 33  # of 98 of the spectrogram
    first, second = 11 * 11 * 1 * 2, 7 * 5 * 2 * 4
    recurrent = 2 * (8 * 4 + 8) * (4 * 8)  # both directions see 8 bands of 4 channels
    assert counted(described("deepspeech", config), tensors)[0] == 2 * 2 * frames * (
        16 * first + 8 * second + recurrent + 8 * 29
    )


def entry_of(name):
    whole = json.loads((CHECKPOINTS / name / "config.json").read_text(encoding="utf-8"))
    config = read_config(family_class(whole["family"]).config_type, whole["network"], name)
    return described(whole["family"], config)


TENSORS = {
    "residues": np.ones((2, 9), np.int32),
    "samples": np.zeros((2, 8000), np.float32),
    "points": np.zeros((2, 9, 3), np.float32),
    "source_tokens": np.ones((2, 9), np.int32),
    "target_tokens": np.ones((2, 8), np.int32),
}


@pytest.mark.parametrize("name", rnnzoo.list_models())
def test_every_kernel_of_an_entry_is_in_its_floor(name):
    task = entry_of(name)
    shapes = task.weight_shapes(task.config)
    found = floor(task, TENSORS, PEAKS)
    kernels = {path: math.prod(shape) for path, shape in shapes.items() if len(shape) > 1}
    assert found["bytes"] > 4 * sum(kernels.values())  # what recurs is read again
    assert found["operations"] > found["bytes"]  # two rows or more to each weight that is read
    for path in kernels:
        if path.endswith("attention/key/kernel"):
            continue  # the attention's sum is counted by its width
        without = {other: shape for other, shape in shapes.items() if other != path}
        fewer, read = products(task.family, task.config, without, TENSORS)
        assert fewer <= found["operations"] - 2 * kernels[path]
        assert read <= found["bytes"] - 4 * kernels[path]
    with pytest.raises(LookupError, match="new/kernel"):
        products(task.family, task.config, {**shapes, "new/kernel": (2, 3)}, TENSORS)


def test_differences_of_texts_and_arrays():
    assert difference(["a", "b"], ["a", "c"]) == 0.5
    assert difference([np.full(3, 0.5)], [np.array([0.5, 0.5, 1.0])]) == 0.5
    assert difference([np.ones(3)], [np.array([1, 1, 4.0])]) == 0.75
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


def test_a_step_in_torch_takes_the_loss_of_the_likelihoods(torch, localizer):
    from bench.torch_losses import stepper

    x, y, weight = localizer.task.training_batch(*localizer.pairs(2))
    step = stepper("deeploc", build_torch(localizer), {"residues": x}, y, weight, 1e-5, 1.0)
    likelihoods = graph_of(localizer.task.network)({"residues": x})["location"]
    wanted = -np.log(likelihoods[[0, 1], np.ravel(y["location"])])
    assert step() == pytest.approx(wanted.mean(), rel=1e-4)


def engine_and_golden(name, folder, engine="PyTorch"):
    family = family_of(rnnzoo.load(name, dtype="float32"), name)
    golden = package_manifest().entries[name].golden
    return engine_of(engine, family, 2, folder), family, golden


@pytest.mark.parametrize("name", ["seq2seq-en-fr", "seq2seq-en-fr-sutskever"])
def test_a_search_in_torch_finds_the_golden_translations(torch, name, tmp_path):
    engine, _, golden = engine_and_golden(name, tmp_path)
    found = engine.predict([one.input for one in golden])
    assert found == [one.output["text"] for one in golden]


@pytest.mark.parametrize("engine", ["PyTorch", "ONNX Runtime"])
def test_a_pen_of_a_peer_draws_the_golden_ink(torch, tmp_path, engine):
    engine, _, golden = engine_and_golden("graves-handwriting", tmp_path, engine)
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


def test_a_stream_of_exported_steps_hears_what_the_whole_says(torch, tmp_path):
    engine, family, _ = engine_and_golden("deepspeech-streaming", tmp_path, "ONNX Runtime")
    tensors = family.tensors(family.raws(1))
    (wanted,) = family.real(engine.network(tensors), tensors)
    opened, samples = engine.stream(), tensors["samples"][0]
    for begin in range(0, len(samples), 1600):
        opened.feed(samples[begin : begin + 1600])
    text = opened.finish()
    assert text == family.read({"log_probs": wanted[None], "frames": [len(wanted)]}, 1)[0]
    nothing = engine.stream()
    nothing.feed(samples[:10])
    assert nothing.finish() == ""


@pytest.mark.parametrize("beam_size", [3, 40])
@pytest.mark.parametrize("least", [-np.inf, -1.5])
def test_a_prefix_search_in_torch_finds_what_rnnzoos_does(torch, beam_size, least):
    from bench.torch_ctc import Tables, prefix_search

    rng, lengths = np.random.default_rng(0), np.array([30, 14, 1, 30])
    logits = rng.normal(0, 2, (4, 30, 4))
    log_probs = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
    grammar, hot = Grammar(["abc", "aab", "caab", "cab"], "abc"), HotWords({"ab": 2.0}, "abc")
    for scorer in (None, Combined([(grammar, 1.0)]), Combined([(hot, 0.7), (hot, 1.0)])):
        search = PrefixBeamSearch(4, beam_size, scorer, min_symbol_log_prob=least)
        own = [p[:length] for p, length in zip(log_probs, lengths, strict=True)]
        wanted = [list(found[0].symbols) if found else [] for found in search.search(own)]
        assert prefix_search(log_probs, lengths, Tables(scorer), beam_size, least) == wanted


def build_torch(family):
    from bench.torch_networks import build_network

    return build_network(family.task.family, family.config(), family.arrays())


def test_rows_leave_nobody_out_in_silence(localizer, tmp_path):
    engines = [engine_of("rnnzoo", localizer, 2, tmp_path)]
    wrong = engine_of("rnnzoo", localizer, 2, tmp_path)
    wrong.name, wrong.predict = "PyTorch", lambda raws: [np.zeros(11) for _ in raws]
    wrong.network, wrong.left_out = None, {"network": "it has none"}
    missing = {"ONNX Runtime": "it is not installed"}
    m = Measurement(localizer, [*engines, wrong], missing, rounds=1, quick=True, peaks=PEAKS)
    m.seconds = 0.01
    asked, network = latency(m)
    assert list(asked.figures) == list(network.figures) == ["rnnzoo"]
    assert "its results differ by 0.9" in asked.left_out["PyTorch"]
    assert network.left_out == {"PyTorch": "it has none", **missing}
    assert asked.amounts == {"proteins": 1, "residues": 110}
    assert asked.floor == network.floor
    assert 0 < network.floor["seconds"] < network.figures["rnnzoo"]["median"]
    by_length, by_batch = growth(m)
    assert len(by_length.points["rnnzoo"]) == len(by_batch.points["rnnzoo"]) == 3
    assert np.isfinite(by_length.figures["rnnzoo"]["median"])
    lengths, floors = np.transpose(by_length.floors)
    assert [size for size, _ in by_length.points["rnnzoo"]] == lengths.tolist()
    assert floors / floors[0] == pytest.approx(lengths / lengths[0], rel=0.1)
    rows = [vars(row) for row in (asked, network, by_length, by_batch)]
    draw({"about": {}, "rows": rows}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("loss", [1.0, 9.0])
def test_a_step_of_training_is_timed_on_the_same_loss(localizer, monkeypatch, loss):
    """Steps are made up: that networks give the same is tested above."""
    monkeypatch.setattr(bench_train, "_rebuilt", lambda task: None)
    steps = lambda task, *_: lambda: loss if task is None else 1.0  # noqa: E731
    monkeypatch.setattr(bench_train, "_keras_step", steps)
    missing = {"PyTorch": "it is not installed"}
    m = Measurement(localizer, [], missing, rounds=1, quick=True, peaks=PEAKS)
    m.seconds = 1e-4
    (row,) = train(m, 2)
    assert row.left_out["PyTorch"] == "it is not installed" and row.amounts == {"samples": 4}
    assert row.floor["operations"] > 0
    if loss == 1.0:
        assert list(row.figures) == ["rnnzoo", "Keras"] and row.differences["Keras"] == 0
    else:
        assert list(row.figures) == ["rnnzoo"] and "its loss is 9" in row.left_out["Keras"]


def test_a_proteome_is_decoded(localizer, tmp_path):
    m = Measurement(
        localizer, [engine_of("rnnzoo", localizer, 2, tmp_path)], {}, rounds=1, quick=True
    )
    m.seconds = 0.01
    (row,) = decode(m)
    assert row.case == "16 proteins, lognormal lengths" and row.amounts["proteins"] == 16
    assert row.figures["rnnzoo"]["median"] > 0


def test_memory_and_cold_start_are_of_processes_with_and_without_a_kept_graph(
    localizer, tmp_path, monkeypatch
):
    asked = []

    def run_child(engine, m, threads, folder, cache=""):
        if engine == "PyTorch":
            raise LookupError("no such module")
        asked.append((engine, cache))
        kept = asked.count((engine, cache)) > 1
        parts = {"import": 1.0, "load": 2.0, "first": 0.5 if kept else 4.0, "batch": 1.0}
        return {**parts, "megabytes": 100.0 if kept else 900.0}

    monkeypatch.setattr(children, "run_child", run_child)
    engines = [engine_of(name, localizer, 2, tmp_path) for name in ("rnnzoo", "rnnzoo onnx")]
    torch = engine_of("rnnzoo", localizer, 2, tmp_path)
    torch.name = "PyTorch"
    m = Measurement(localizer, [*engines, torch], {}, rounds=2, quick=True)
    rows = list(children.processes(m, 2, tmp_path, {"memory", "cold"}))
    found = {row.case: row.figures for row in rows}
    assert found["most memory, with converting graphs"]["rnnzoo onnx"]["median"] == 900
    assert found["most memory, one input and a batch of 32"]["rnnzoo onnx"]["median"] == 100
    assert found["all three"]["rnnzoo onnx"]["median"] == 3.5
    assert found["all three"]["import torch"]["count"] == 2
    assert "import tensorflow" in found["most memory, one input and a batch of 32"]
    assert all(row.left_out["PyTorch"] == "no such module" for row in rows)
    assert len({cache for engine, cache in asked if engine == "rnnzoo onnx"}) == 2


def test_a_wrong_network_has_no_curve(localizer, tmp_path):
    own, wrong = (engine_of("rnnzoo", localizer, 2, tmp_path) for _ in range(2))
    wrong.name = "PyTorch"
    right = wrong.network
    wrong.network = lambda tensors: {
        name: value * (1 + (tensors["residues"].shape[1] == 256))
        for name, value in right(tensors).items()
    }
    m = Measurement(localizer, [own, wrong], {}, rounds=1, quick=True)
    m.seconds = 0.01
    by_length, by_batch = growth(m)
    for row in (by_length, by_batch):  # batches are of length 256
        assert list(row.figures) == list(row.points) == ["rnnzoo"]
        assert "its results differ by" in row.left_out["PyTorch"]
        assert row.differences["rnnzoo"] == 0


@pytest.mark.parametrize(("rounds", "calls"), [(1, [8, 16]), (3, [8, *[16] * 5])])
def test_a_mixed_set_is_compared_in_its_first_turn(localizer, monkeypatch, rounds, calls):
    monkeypatch.setattr("bench.rows.QUICK_MIXED", 16)
    own, rounded, failing, xla = (
        Engine(name, None, localizer_answers(), left_out={"network": "none"})
        for name in ("rnnzoo", "rnnzoo bfloat16", "PyTorch", "XLA")
    )
    rounded.predict = localizer_answers(np.full(11, 0.1))
    failing.predict = lambda raws: {}["nothing"]
    m = Measurement(localizer, [own, rounded, failing, xla], {}, rounds, quick=True)
    m.seconds = 0.0
    (row,) = mixed(m)
    assert row.case == "predict, 16 inputs of mixed length"
    assert own.predict.sizes == rounded.predict.sizes == calls
    assert row.figures["rnnzoo"]["count"] == row.figures["rnnzoo bfloat16"]["count"] == rounds
    assert row.differences["rnnzoo bfloat16"] == pytest.approx(0.1)
    assert row.left_out["PyTorch"] == "it failed: 'nothing'"
    assert "compile" in row.left_out["XLA"]
    assert behind([row]) == []
    shown = table({"about": {}, "rows": [vars(row)]})
    assert (" to " in shown.split("| rnnzoo |")[1].splitlines()[0]) == (rounds > 2)


def localizer_answers(answer=None):
    def predict(raws):
        predict.sizes.append(len(raws))
        return [np.zeros(11) if answer is None else answer for _ in raws]

    predict.sizes = []
    return predict


def test_a_line_that_ends_elsewhere_is_a_near_tie():
    writer = SimpleNamespace(task=SimpleNamespace(family="handwriting"), tolerance=1e-3)
    m = Measurement(writer, [], {}, rounds=1, quick=True)
    lines = [np.full((9, 3), 0.5)] * 100
    for others, alike in ((2, True), (3, False)):
        differences, left_out = {}, {}
        found = [line[:8] for line in lines[:others]] + lines[others:]
        assert m._alike("PyTorch", found, lines, differences, left_out) == alike
        assert differences == ({"PyTorch": 0.0} if alike else {})
        assert left_out == ({} if alike else {"PyTorch": "3 of 100 lines are of other lengths"})
        assert m._alike("rnnzoo onnx int8", found, lines, {}, {})


def test_xla_and_bfloat16_are_engines(localizer, tmp_path):
    tensors = localizer.grown(40, 2)
    wanted = engine_of("rnnzoo", localizer, 2, tmp_path).network(tensors)
    for name, most in (("XLA", 1e-5), ("rnnzoo bfloat16", 0.05)):
        found = engine_of(name, localizer, 2, tmp_path).network(tensors)
        apart = difference([found["location"]], [wanted["location"]])
        assert (0 < apart < most) or (name == "XLA" and apart == 0)


def test_a_process_of_rnnzoo_does_not_load_pytorch(tmp_path):
    child = TOOL.parent / "bench" / "child.py"
    code = (
        f"import sys; sys.path.insert(0, {str(child.parent)!r}); import child; "
        f"child.main(['rnnzoo', 'deeploc-multiloc', '2', {str(tmp_path)!r}]); "
        "assert 'torch' not in sys.modules"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    figures = json.loads(told.stdout.splitlines()[-1])
    assert set(figures) == {"import", "load", "prepare", "first", "batch", "megabytes"}
    assert figures["megabytes"] > 100


def test_engines_that_came_later_are_named_in_what_is_merged():
    older = report(2, rnnzoo=2.0, Keras=3.0)
    (row,) = merged([older])["rows"]
    assert row["left_out"]["XLA"] == "it was not measured then"
    told = [{"about": {"rounds": rounds}, "rows": []} for rounds in (3, "3; 2", "2; 1")]
    assert merged(told)["about"] == {"rounds": "3; 2; 1"}


def test_the_readme_says_what_the_report_says():
    """Its tables are the commands' output that it names."""
    measured = json.loads((ROOT / "tools" / "benchmarks" / "benchmark.json").read_text())
    text = (ROOT / "README.md").read_text()
    found = re.findall(r"--(brief|rates)\s+((?:\"[^\"]*\"\s+)+)--engines\s+([a-z0-9\s-]+?)`", text)
    assert {name for name, *_ in found} == {"brief", "rates"}
    for name, cases, engines in found:
        names = [record.ENGINES[engine] for engine in engines.split()]
        cases = [" ".join(case.split()) for case in re.findall(r'"([^"]*)"', cases)]
        assert getattr(record, name)(measured, cases, names) in text
    whole = (ROOT / "tools" / "benchmarks" / "benchmark.md").read_text()
    assert whole == record.table(measured) + "\n"


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
