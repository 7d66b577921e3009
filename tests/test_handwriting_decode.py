"""Sampling: the graph beside the paper's recipe step by step, stopping, priming, seeds."""

import dataclasses

import keras
import numpy as np
import pytest

from rnnzoo.errors import InputError
from rnnzoo.handwriting import HandwritingConfig, InkSampler, SamplingOptions, build_network
from rnnzoo.handwriting.decode import Prime

CONFIG = HandwritingConfig(num_symbols=6, hidden_dim=12, num_components=3, num_windows=2)
OPTIONS = SamplingOptions(max_points_per_character=6)
TEXTS = [(1, 2, 3), (4,), (5, 6, 1, 2, 3, 4, 5)]
RNG = np.random.default_rng(5)
PRIME = Prime(
    np.concatenate([RNG.normal(0, 0.3, (20, 2)), RNG.integers(0, 2, (20, 1))], 1).astype("f4"),
    (2, 2, 4),
)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    network = build_network(CONFIG)
    for weight in network.weights:
        weight.assign(weight + 0.1 * np.random.default_rng(2).normal(size=weight.shape))
    return network


@pytest.fixture(scope="module")
def sample(network):
    return InkSampler(network)


def by_hand(network, text, options, prime=None, seed=()):
    """The same line, point by point in Python."""
    writer = network.get_layer("writer")
    prime = prime or Prime(np.zeros((0, 3), "f4"), ())
    whole = (*prime.characters, *text)
    characters = writer.text(np.array([[*whole, 0]]))
    bound = int(options.max_points_per_character * len(text)) + 50
    uniform = np.random.default_rng([0, options.seed, *seed]).random((bound, 2), np.float32)
    normal = np.random.default_rng([1, options.seed, *seed]).standard_normal((bound, 2), np.float32)
    state, point = writer.initial_state(1), np.array([[0, 0, 1.0]], "f4")
    points, past, finished, x, edge = [], 0, False, 0.0, 0.0
    for forced in prime.points:
        _, _, state = writer.step(point, characters, state)
        point = forced[None]
        x += forced[0]
        edge = max(edge, x)
    while len(points) < bound:
        y, phi, state = writer.step(point, characters, state)
        y, n = np.array(y[0], "f8"), len(points)
        pi, mu_1, mu_2, sigma_1, sigma_2, rho = np.split(y[1:], 6)
        pi = np.exp(pi * (1 + options.bias))  # (62)
        k = int(np.searchsorted(np.cumsum(pi / pi.sum()), uniform[n, 0]))
        s, t, r = (
            np.exp(sigma_1[k] - options.bias),
            np.exp(sigma_2[k] - options.bias),
            np.tanh(rho[k]),
        )
        covariance = np.array([[s * s, r * s * t], [r * s * t, t * t]])  # (61)
        offset = [mu_1[k], mu_2[k]] + np.linalg.cholesky(covariance) @ normal[n]
        lifted = uniform[n, 1] < 1 / (1 + np.exp(-y[0]))
        offset = CONFIG.offset_scale * offset
        phi = np.array(phi[0])
        past += past > 0 or phi[len(whole)] > phi[: len(whole)].max()  # section 5.3
        goes_back = x + offset[0] < edge and past < 20
        if past and points and points[-1][2] and not goes_back:
            finished = True
            break
        points.append([*offset, lifted])
        point = np.array([points[-1]], "f4")
        x += offset[0]
        edge = max(edge, x)
        if past == 60:
            break
    return np.array(points), finished


@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("prime", [None, PRIME], ids=["alone", "primed"])
def test_lines_are_what_the_paper_s_steps_give(network, sample, bias, prime):
    options = dataclasses.replace(OPTIONS, bias=bias, seed=3)
    primes = [prime, prime, prime] if prime else None
    for text, line in zip(TEXTS, sample(TEXTS, options, primes), strict=True):
        points, finished = by_hand(network, text, options, prime)
        assert line.finished == finished
        np.testing.assert_allclose(line.points, points, atol=2e-4)
        lead = len(prime.characters) if prime else 0
        assert line.phi.shape == (len(points), lead + len(text))


def test_lines_stop_by_the_window_or_by_the_bound(sample):
    found = sample(TEXTS, OPTIONS)
    assert any(line.finished for line in found)
    for text, line in zip(TEXTS, found, strict=True):
        assert line.finished or len(line.points) == 6 * len(text) + 50
    short = dataclasses.replace(OPTIONS, max_points_per_character=1)
    assert [len(line.points) <= 50 + len(text) for line, text in zip(
        sample(TEXTS, short), TEXTS, strict=True)] == [True] * 3  # fmt: skip


def test_company_and_order_change_nothing(sample):
    primes = [PRIME, Prime(PRIME.points[:7], (1,)), Prime(np.zeros((0, 3), "f4"), ())]
    seeds = [(1,), (2,), (3,)]
    together = sample(TEXTS, OPTIONS, primes, seeds)
    for n in range(3):
        (alone,) = sample([TEXTS[n]], OPTIONS, [primes[n]], [seeds[n]])
        np.testing.assert_allclose(alone.points, together[n].points, atol=1e-5)
        np.testing.assert_allclose(alone.phi, together[n].phi, atol=1e-5)
    back = sample(TEXTS[::-1], OPTIONS, primes[::-1], seeds[::-1])
    np.testing.assert_allclose(back[2].points, together[0].points, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_stream_gives_the_same_ink(sample, at_once):
    for text, prime in zip(TEXTS, [PRIME, Prime(np.zeros((0, 3), "f4"), ()), PRIME], strict=True):
        (line,) = sample([text], OPTIONS, [prime], [(4,)])
        points, phi = zip(*sample.stream(text, OPTIONS, prime, (4,), at_once), strict=True)
        np.testing.assert_allclose(np.array(points), line.points, atol=1e-5)
        np.testing.assert_allclose(np.array(phi), line.phi, atol=1e-5)


def test_a_seed_gives_the_same_ink_and_another_another(sample):
    one, same, other = (
        sample([TEXTS[0]], dataclasses.replace(OPTIONS, seed=seed))[0].points for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert len(one) != len(other) or not np.allclose(one, other)
    (line,) = sample([TEXTS[0]], OPTIONS, seeds=[(9,)])
    (again,) = sample([TEXTS[0]], OPTIONS, seeds=[(8,)])
    assert len(line.points) != len(again.points) or not np.allclose(line.points, again.points)


def test_much_bias_leaves_the_component_alone_to_chance(sample):
    calm = dataclasses.replace(OPTIONS, bias=20.0)
    firsts = np.array(
        [sample([TEXTS[2]], dataclasses.replace(calm, seed=n))[0].points[0, :2] for n in range(12)]
    )
    assert len(np.unique(np.round(firsts, 4), axis=0)) <= CONFIG.num_components


def test_nothing_gives_nothing_and_an_empty_text_ends(sample):
    assert sample([], OPTIONS) == []
    (line,) = sample([()], OPTIONS)
    assert len(line.points) <= 50 and line.phi.shape[1] == 0


def test_options_have_ranges():
    with pytest.raises(ValueError, match="bias must be from 0"):
        SamplingOptions(bias=-1)
    from rnnzoo.config import choose_options

    with pytest.raises(InputError, match="Did you mean 'bias'"):
        choose_options(OPTIONS, {"bais": 1})
