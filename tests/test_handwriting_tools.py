"""The writers' recipe, on made-up lines in the data's format."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from recipes import handwriting, handwriting_reader
from recipes.pen_data import FILES, changed, continuous, read_lines

from rnnzoo.ctc import NGram
from rnnzoo.handwriting import PreprocessorConfig

RECIPE = handwriting.Recipe(
    network={"hidden_dim": 8, "num_components": 2, "num_windows": 2, "num_layers": 2},
    steps=20, lines_per_pass=12, points_per_batch=90, warmup_steps=2, average_every=1,
    dtype="float32", max_learning_rate=1e-2,
)  # fmt: skip
TEXTS = ["ab", "hello", "It's 5 o'clock", "Zebra", "x"]


def write(path, count, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 30, count)
    total = lengths.sum()
    lifted = (rng.random(total) < 0.2).astype("u1")
    np.savez(
        path,
        dx=rng.normal(30, 30, total).astype("i2"),
        dy=rng.normal(0, 30, total).astype("i2"),
        eos=np.packbits(lifted),
        start=np.concatenate([[0], np.cumsum(lengths)]).astype("i4"),
        text=np.frombuffer("\n".join(TEXTS[n % 5] for n in range(count)).encode(), "u1"),
        writer=np.arange(count, dtype="i2") % 3,
        source=np.zeros(count, "u1"),
        source_names=np.array(["aga"]),
        split=np.array([n % 3 if n < 9 else 0 for n in range(count)], "u1"),
        seen_text=np.arange(count) % 2 == 0,
        unit=np.int64(100),
    )
    return lengths, lifted


@pytest.fixture
def data(tmp_path):
    write(tmp_path / FILES["lines"], 24, 1)
    write(tmp_path / FILES["joined"], 15, 2)
    return tmp_path


def test_lines_are_read_as_they_were_stored(tmp_path):
    lengths, lifted = write(tmp_path / FILES["lines"], 24, 1)
    lines = read_lines(tmp_path, "lines", "train")
    assert len(lines) == 18
    assert [len(line.points) for line in lines[:2]] == [lengths[0], lengths[3]]
    np.testing.assert_array_equal(lines[0].points[:, 2], lifted[: lengths[0]])
    assert (lines[0].text, lines[1].text, lines[1].writer) == ("ab", "Zebra", 0)
    assert lines[0].seen_text and not lines[1].seen_text
    assert 0.1 < np.mean([line.points[:, 0].mean() for line in lines]) < 0.5


def test_changes_lean_and_stretch_and_keep_the_pen(data):
    (line, *_) = read_lines(data, "lines", "train")
    rng = np.random.default_rng(0)
    noise = continuous(line.points, rng)
    assert 0 < np.abs(noise - line.points).max() <= 0.0051
    found = changed(line.points, rng, 0.2, 0.1)
    np.testing.assert_array_equal(found[:, 2], line.points[:, 2])
    (a, b), *_ = np.linalg.lstsq(line.points[:, :2], found[:, 0], rcond=None)
    assert np.abs(found[:, 0] - line.points[:, :2] @ [a, b]).max() < 0.02
    assert a == pytest.approx(1, abs=0.4) and 0 < abs(b) < 0.8


def test_batches_are_bounded_and_go_on_where_they_stopped(data):
    real, joined = (read_lines(data, kind, "train") for kind in ("lines", "joined"))
    whole = list(itertools.islice(handwriting.plan(real, joined, RECIPE, 0), 20))
    assert [step for _, step in whole] == list(range(20))
    for lines, _ in whole:
        assert len(lines) * max(len(line.points) for line in lines) <= RECIPE.points_per_batch
    again = list(itertools.islice(handwriting.plan(real, joined, RECIPE, 7), 13))
    texts = [[line.text for line in lines] for lines, _ in whole[7:]]
    assert [[line.text for line in lines] for lines, _ in again] == texts
    first = [line for lines, _ in whole[:4] for line in lines]
    of_joined = sum(any(line is other for other in joined) for line in first)
    assert of_joined > 0
    late = dataclasses.replace(RECIPE, joined_share=0.0)
    drawn = [line for lines, _ in itertools.islice(
        handwriting.plan(real, joined, late, 0), 9) for line in lines]  # fmt: skip
    assert not any(line is other for line in drawn for other in joined)


@pytest.mark.parametrize("name", ["graves-handwriting", "graves-prediction"])
def test_a_run_learns_and_a_stop_changes_nothing(data, tmp_path, name, capsys, monkeypatch):
    network = {**RECIPE.network, **({"num_symbols": 0} if "prediction" in name else {})}
    recipe = dataclasses.replace(RECIPE, network=network)
    monkeypatch.setitem(handwriting.RECIPES, name, recipe)
    monkeypatch.setattr("recipes.run.SAVE_SECONDS", 0)
    handwriting.train(name, data, tmp_path / "whole", {})
    stopped = 0

    def stop(self, batch):
        nonlocal stopped
        stopped += 1
        if stopped == 9:
            raise KeyboardInterrupt
        return train_on(self, batch)

    train_on = handwriting.Run.train_on
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(handwriting.Run, "train_on", stop)
        handwriting.train(name, data, tmp_path / "parts", {})
    handwriting.train(name, data, tmp_path / "parts", {})
    assert "going on from step 8" in capsys.readouterr().out
    figures = [
        json.loads((tmp_path / run / "validation.jsonl").read_text().splitlines()[-1])
        for run in ("whole", "parts")
    ]
    assert figures[0]["nats/point"] == pytest.approx(figures[1]["nats/point"], rel=1e-4)
    assert figures[0]["nats/point"] == pytest.approx(
        figures[0]["position"] + figures[0]["pen"], rel=1e-6
    )
    run = handwriting.Run(recipe, tmp_path / "new")
    untaught = run.validate(read_lines(data, "lines", "valid"))
    assert figures[0]["nats/point"] < untaught["nats/point"] - 0.2


def test_nats_are_those_of_the_equation(data, tmp_path):
    """(26), in units of x-heights, with padding left out."""
    from rnnzoo.layers import log_density, log_lift, mixture_of

    run = handwriting.Run(RECIPE, tmp_path / "run")
    lines = sorted(read_lines(data, "lines", "valid"), key=lambda line: len(line.points))
    batch = handwriting.make_batch(lines, [line.points for line in lines])
    position, lift = run._measure(*batch)
    points, characters = batch[0][:1, : 1 + len(lines[0].points)], batch[2][:1]
    y = run.network({"points": points[:, :-1], "characters": characters})["y"]
    scale = run.network.get_layer("writer").config.offset_scale
    density = log_density(mixture_of(y), points[:, 1:, :2] / scale) - 2 * np.log(scale)
    assert float(position[0]) == pytest.approx(-np.sum(density), rel=1e-4)
    assert float(lift[0]) == pytest.approx(
        -np.sum(log_lift(mixture_of(y), points[:, 1:, 2])), rel=1e-4
    )


def test_the_reader_s_run_learns_and_keeps_its_language_model(data, tmp_path, monkeypatch):
    recipe = handwriting_reader.Recipe(
        network={"num_layers": 1, "hidden_dim": 8, "conv_stride": 1, "spacing": 0.1},
        steps=12, lines_per_pass=12, points_per_batch=300, warmup_steps=2, average_every=1,
        dtype="float32", lm_order=3, lm_min_counts=(1, 1, 1),
    )  # fmt: skip
    monkeypatch.setitem(handwriting_reader.RECIPES, "graves-handwriting-reader", recipe)
    folder = tmp_path / "run"
    handwriting_reader.train("graves-handwriting-reader", data, folder, {})
    (line,) = (folder / "validation.jsonl").read_text().splitlines()
    assert {"CER", "WER", "step"} <= set(json.loads(line))
    run = handwriting_reader.Run(recipe, folder)
    assert run.restore() and run.step == 12
    lines = read_lines(data, "lines", "train")
    batch = handwriting_reader.make_batch(lines[:3], [one.points for one in lines[:3]], 0.1)
    losses = [run.train_on(batch)[-1] for _ in range(20)]
    assert losses[-1] < losses[0]
    model = NGram.from_bytes((folder / handwriting_reader.LANGUAGE_MODEL).read_bytes())
    assert model.alphabet == PreprocessorConfig().alphabet


def test_nats_are_measured_beside_baselines(tmp_path, monkeypatch):
    from recipes import handwriting_measure

    rng = np.random.default_rng(0)
    # steady lines of one velocity each: the last offset tells the next, the mean of all does not
    counts = np.full(60, 40)
    velocity = np.repeat(rng.uniform(-40, 40, (60, 2)), 40, 0)
    offsets = np.round(velocity + rng.normal(0, 3, (2400, 2))).astype("i2")
    np.savez(
        tmp_path / FILES["lines"],
        dx=offsets[:, 0], dy=offsets[:, 1], eos=np.packbits(np.arange(2400) % 10 == 9),
        start=np.concatenate([[0], np.cumsum(counts)]).astype("i4"),
        text=np.frombuffer("\n".join(["ab"] * 60).encode(), "u1"),
        writer=np.arange(60, dtype="i2"), source=np.zeros(60, "u1"),
        source_names=np.array(["aga"]), split=np.array([0] * 50 + [1] * 5 + [2] * 5, "u1"),
        seen_text=np.arange(60) % 2 == 0, unit=np.int64(100),
    )  # fmt: skip
    monkeypatch.setattr(handwriting_measure, "_COMPONENTS", 3)
    task = SimpleNamespace(network=handwriting.Run(RECIPE, tmp_path).network)
    records = [record for record, _ in handwriting_measure.Measure(task, "x", 4, {})(
        tmp_path, "valid", None, 0)]  # fmt: skip
    whole, new, (table,) = records[:3], records[3:6], records[6:]
    assert [record["rows"] for record in (*whole, *new)] == [5] * 3 + [2] * 3
    values = {record["metric"]: record["value"] for record in whole}
    assert values["nats/point"] == pytest.approx(values["position"] + values["pen"], abs=1e-3)
    network, alike, steady = table["cells"]
    assert network[1] == pytest.approx(values["nats/point"], abs=1e-3)
    assert steady[2] < alike[2] - 1
    # 3 hundredths of noise in each of two offsets: the entropy of their difference
    expected = np.log(2 * np.pi * np.e * 2 * 0.03**2)
    assert steady[2] == pytest.approx(expected, abs=0.5)
    assert alike[3] == pytest.approx(-(0.1 * np.log(0.1) + 0.9 * np.log(0.9)), abs=0.02)
