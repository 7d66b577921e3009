"""The mixture density output beside other statements of it."""

import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rnnzoo.layers.mixture_density import log_density, log_lift, mixture_of, output_dim

RNG = np.random.default_rng(3)


def outputs(rows, components, scale=1.0):
    return RNG.normal(0, scale, (rows, output_dim(components))).astype("f4")


def by_scipy(y, offset, bias):
    pi, mu_1, mu_2, sigma_1, sigma_2, rho = np.split(y[1:].astype("f8"), 6)
    pi = np.exp(pi * (1 + bias))
    sigma_1, sigma_2, rho = np.exp(sigma_1 - bias), np.exp(sigma_2 - bias), np.tanh(rho)
    return sum(
        p * scipy.stats.multivariate_normal([m, n], [[s * s, r * s * t], [r * s * t, t * t]]).pdf(
            offset
        )
        for p, m, n, s, t, r in zip(pi / pi.sum(), mu_1, mu_2, sigma_1, sigma_2, rho, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_densities_are_those_of_scipy(bias):
    y, offsets = outputs(20, 4), RNG.normal(0, 1, (20, 2)).astype("f4")
    found = log_density(mixture_of(y, bias), offsets)
    expected = [np.log(by_scipy(a, b, bias)) for a, b in zip(y, offsets, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_densities_integrate_to_one():
    y = outputs(3, 5, 0.5)
    places = np.linspace(-14, 14, 561)
    grid = np.array(list(itertools.product(places, places)), "f4")
    for row in y:
        density = np.exp(log_density(mixture_of(np.tile(row, (len(grid), 1))), grid))
        assert density.sum() * (places[1] - places[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_a_bias_narrows_and_prefers_the_likeliest():
    y = outputs(1, 6)
    plain, neat = mixture_of(y), mixture_of(y, np.array([[1.5]], "f4"))
    np.testing.assert_allclose(neat.log_sigma_1, plain.log_sigma_1 - 1.5, rtol=1e-5)
    assert np.max(neat.log_pi) > np.max(plain.log_pi)
    assert np.argmax(neat.log_pi) == np.argmax(plain.log_pi)
    np.testing.assert_allclose(neat.rho, plain.rho)


def test_the_pen_is_lifted_or_not():
    mixture = mixture_of(outputs(50, 1, 3.0))
    up, down = (np.exp(log_lift(mixture, np.full(50, lifted))) for lifted in (1.0, 0.0))
    np.testing.assert_allclose(up + down, 1, rtol=1e-5)
    np.testing.assert_allclose(up, 1 / (1 + np.exp(-mixture.lift)), rtol=1e-5)  # (18)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_loss_and_gradient_stay_finite(dtype):
    y = tf.constant(outputs(200, 20, 4.0), dtype)
    offsets = RNG.normal(0, 30, (200, 2)).astype("f4")
    with tf.GradientTape() as tape:
        tape.watch(y)
        mixture = mixture_of(y)
        found = log_density(mixture, offsets) + log_lift(mixture, np.zeros(200))
    assert found.dtype == tf.float32
    assert np.isfinite(found).all()
    assert np.isfinite(tf.cast(tape.gradient(found, y), tf.float32)).all()


@pytest.mark.parametrize("rho", [-7.5, 7.0, 8.0, 12.0, -50.0])
def test_a_pen_that_moves_along_a_line_has_its_density(rho):
    y = outputs(40, 1)
    y[:, 6] = rho
    held = y.astype("f8")
    held[:, 6] = np.clip(rho, -8, 8)
    spread = RNG.normal(0, 1, 40)
    sigma = np.exp(held[:, 4:6])
    along = np.stack([spread, np.sign(rho) * (spread + RNG.normal(0, 5e-4, 40))], 1)
    offsets = tf.constant(held[:, 2:4] + along * sigma, tf.float32)
    a, b = ((offsets.numpy().astype("f8") - held[:, 2:4]) / sigma).T
    r = np.tanh(held[:, 6])
    below_one = 1 - np.abs(r)
    room = below_one * (1 + np.abs(r))
    z = b**2 + ((a - np.sign(r) * b) + np.sign(r) * below_one * b) ** 2 / room
    expected = -(z / 2 + np.log(room) / 2 + held[:, 4:6].sum(1) + np.log(2 * np.pi))
    y = tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch(y)
        found = log_density(mixture_of(y), offsets)
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.05)
    assert np.isfinite(tape.gradient(found, y)).all()


@pytest.mark.parametrize("rho", [0.0, 9.0, -30.0])
def test_rho_is_always_moved(rho):
    """By the derivative where it is free, and back where it is held."""
    y = tf.constant([[0.0, 0, 0, 0, 0, 0, rho]])
    offset = np.array([[1.0, -0.5 * np.sign(rho) or 0.5]], "f4")
    with tf.GradientTape() as tape:
        tape.watch(y)
        found = log_density(mixture_of(y), offset)
    slope = tape.gradient(found, y).numpy()[0, 6]
    if rho:
        assert slope * rho < 0  # the offset says otherwise
    else:
        assert slope == pytest.approx(0.5)  # a b
