"""The density of the next points over a line."""

import keras
import numpy as np
import pytest

from rnnzoo.errors import InputError
from rnnzoo.handwriting import (
    HandwritingConfig,
    HandwritingPreprocessor,
    HandwritingWriter,
    PreprocessorConfig,
    Style,
)
from rnnzoo.handwriting.preprocess import begun
from rnnzoo.inspect import pen_density
from rnnzoo.layers import log_density, mixture_of

RNG = np.random.default_rng(0)
POINTS = np.concatenate([RNG.normal(0.1, 0.3, (12, 2)), RNG.random((12, 1)) < 0.2], 1).astype("f4")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    config = HandwritingConfig(hidden_dim=8, num_components=3, num_windows=2)
    return HandwritingWriter(config, HandwritingPreprocessor(PreprocessorConfig()))


def test_each_point_adds_a_density_of_one(model):
    found = pen_density(model, Style("hey", POINTS), step=0.05)
    # untaught Gaussians are some 0.4 x-heights wide, and the margin is 1: nearly all is seen
    assert 0.75 * 12 < found.density.sum() * 0.05**2 < 12.01
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
    assert ((found.lift > 0) & (found.lift < 1)).all() and found.lift.shape == (12,)


def test_a_cell_is_the_sum_of_the_densities_there(model):
    found = pen_density(model, POINTS, "hey", step=0.25)
    inputs = {"points": begun(POINTS)[None, :-1],
              "characters": model.preprocessor.pad(["hey"])[0]}  # fmt: skip
    mixture = mixture_of(model.network(inputs)["y"][0])
    before = np.concatenate([np.zeros((1, 2)), np.cumsum(POINTS[:-1, :2], 0)])
    for row, column in ((2, 3), (5, 4), (7, 9)):
        place = np.array([found.left + 0.25 * column, found.bottom + 0.25 * row])
        scale = model.config.offset_scale
        expected = np.exp(log_density(mixture, (place - before) / scale)) / scale**2
        assert found.density[row, column] == pytest.approx(expected.sum(), rel=1e-3)


def test_it_is_drawn_and_told(model):
    found = pen_density(model, POINTS, "hey")
    over, below = found.plot().axes
    assert len(over.lines) == len(found.strokes)
    assert below.images[0].get_array().shape == (3, 12)
    assert np.shape(found.to_dict()["density"]) == found.density.shape


def test_wrong_input_is_named(model):
    with pytest.raises(InputError, match="give it as text="):
        pen_density(model, POINTS)
    with pytest.raises(InputError, match="step must be above 0"):
        pen_density(model, POINTS, "a", step=0)
    with pytest.raises(InputError, match="'@'"):
        pen_density(model, POINTS, "@")
