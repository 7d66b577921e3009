"""The prediction network's task: ink of nothing, ink that goes on."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tqdm

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.handwriting import (
    HandwritingConfig,
    InkPredictor,
    PredictorConfig,
    PredictorPreprocessor,
    Style,
)
from rnnzoo.inspect import pen_density

CONFIG = HandwritingConfig(num_symbols=0, hidden_dim=12, num_components=3)
RNG = np.random.default_rng(7)


def ink(count, seed=0):
    rng = np.random.default_rng(seed)
    lifted = rng.random((count, 1)) < 0.2
    return np.concatenate([rng.normal(0.2, 0.3, (count, 2)), lifted], 1).astype("f4")


def untaught(config=CONFIG):
    keras.utils.set_random_seed(1)
    return InkPredictor(config, PredictorPreprocessor(PredictorConfig()))


@pytest.fixture(scope="module")
def model():
    model = untaught()
    model.decoding = dataclasses.replace(model.decoding, num_points=25)
    return model


def points_of(found):
    return [one.lines[0].points for one in found]


def test_a_number_gives_lines_that_differ_and_a_seed_the_same(model):
    lines = points_of(model.predict(3))
    assert [len(line) for line in lines] == [25] * 3
    assert not np.allclose(lines[0], lines[1])
    for one, other in zip(points_of(model.predict(3, batch_size=2)), lines, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert not np.allclose(points_of(model.predict(1, seed=1))[0], lines[0])
    assert model.predict(0) == []
    assert len(model.predict(1, num_points=7)[0].lines[0].points) == 7


def test_a_bar_shows_how_many_lines_are_done(model, monkeypatch, capsys):
    class AtOnce(tqdm.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **{**options, "delay": 0, "mininterval": 0})

    monkeypatch.setattr(tqdm, "tqdm", AtOnce)
    for verbose in (0, "auto", 1):  # no terminal is here
        model.predict(3, batch_size=2, num_points=2, verbose=verbose)
        told = capsys.readouterr().err
        assert ("0/3" in told and "2/3" in told) if verbose == 1 else told == ""


def test_ink_goes_on(model):
    begin = ink(20, 3)
    one = model.predict(begin)
    points = one.lines[0].points
    assert len(points) == 45
    np.testing.assert_array_equal(points[:20], begin)
    (listed, other) = model.predict([Style("", begin), ink(9, 4)])
    np.testing.assert_allclose(listed.lines[0].points, points, atol=1e-5)
    assert len(other.lines[0].points) == 34
    # what was made goes on as it would have
    more = model.predict(one.lines[0], bias=20.0, num_points=1).lines[0].points[-1]
    y = model.network({"points": np.concatenate([[[0, 0, 1]], points])[None].astype("f4")})["y"]
    means = CONFIG.offset_scale * np.array(y[0, -1, 4:10]).reshape(2, 3).T  # of the components
    assert np.abs(means - more[:2]).max(1).min() < 1e-3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [(-1, "how many lines"), (True, "must be"), ("x", "must be"), ([ink(3), 5], "input 1")],
)
def test_what_is_no_ink_is_named(model, inputs, message):
    with pytest.raises(InputError, match=message):
        model.predict(inputs)


def test_it_learns_and_is_kept(tmp_path):
    model = untaught()
    model.compile(keras.optimizers.Adam(0.01))
    lines = [ink(n, n) for n in (20, 31, 7)]
    losses = model.fit([None] * 3, lines, epochs=8, batch_size=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.1
    expected = points_of(model.predict(2, num_points=9))
    model.save(tmp_path / "a")
    model.save(tmp_path / "a.keras")
    for path in ("a", "a.keras"):
        found = points_of(rnnzoo.load(tmp_path / path).predict(2, num_points=9))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(InputError, match="target 0"):
        model.fit([None], [7])
    with pytest.raises(ConfigError, match="HandwritingWriter"):
        untaught(dataclasses.replace(CONFIG, num_symbols=3))


def test_its_expectations_are_drawn(model):
    assert pen_density(model, ink(8)).weights.shape == (8, 3)


def test_the_command_line_makes_ink(model, tmp_path, capsys):
    model.save(tmp_path / "a")
    main(["predict", str(tmp_path / "a"), "3", "--json", "--num-points", "11"])
    page = json.loads(capsys.readouterr().out)
    assert [sum(map(len, line["strokes"])) for line in page["lines"]] == [11] * 3
    main(["predict", str(tmp_path / "a"), "-o", str(tmp_path / "x.svg")])
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    for words in (["x"], ["0"], ["1", "2"]):
        assert main(["predict", str(tmp_path / "a"), *words]) == 2
        assert "rnnzoo: " in capsys.readouterr().err
