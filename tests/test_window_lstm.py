"""The layer that looks at a text, beside the paper's equations in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import WindowLSTM
from rnnzoo.layers.window_lstm import WindowState

BATCH, TIME, WIDTH, SYMBOLS, UNITS, K = 3, 7, 5, 4, 6, 2
RNG = np.random.default_rng(0)
POINTS = RNG.normal(0, 1, (BATCH, TIME, 3)).astype("f4")
TEXT = np.eye(SYMBOLS, dtype="f4")[RNG.integers(0, SYMBOLS, (BATCH, WIDTH))]
TEXT[0, 3:] = 0  # shorter


@pytest.fixture
def layer():
    keras.utils.set_random_seed(0)
    layer = WindowLSTM(UNITS, K, advance=0.5)
    layer(POINTS, TEXT)
    for weight in layer.weights:  # so that the window moves, and every weight matters
        weight.assign(weight + RNG.normal(0, 0.3, weight.shape))
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_the_paper(layer, points, text):
    w_x, w_h, w_w, b, w_p, b_p = (weight.numpy().astype("f8") for weight in layer.weights)
    outputs = []
    for row in range(len(points)):
        h, c, kappa, w = np.zeros(UNITS), np.zeros(UNITS), np.zeros(K), np.zeros(SYMBOLS)
        for x in points[row]:
            i, f, g, o = np.split(x @ w_x + h @ w_h + w @ w_w + b, 4)  # (52), (7) to (11)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            alpha, beta, step = np.split(np.exp(h @ w_p + b_p), 3)  # (48) to (50)
            kappa = kappa + step  # (51)
            phi = [np.sum(alpha * np.exp(-beta * (kappa - u) ** 2)) for u in range(1, WIDTH + 1)]
            w = phi @ text[row]  # (46), (47)
            outputs.append(np.concatenate([h, w, phi]))
    return np.array(outputs).reshape(len(points), TIME, -1)


@pytest.mark.parametrize("training", [False, True])
def test_it_does_what_the_paper_says(layer, training):
    h, w, phi, _ = layer(POINTS, TEXT, training=training)
    expected = by_the_paper(layer, POINTS, TEXT)
    np.testing.assert_allclose(np.concatenate([h, w, phi], -1), expected, atol=1e-5)


def test_the_gradient_that_is_written_out_is_tensorflow_s(layer):
    weigh = [RNG.normal(0, 1, (BATCH, TIME, n)).astype("f4") for n in (UNITS, SYMBOLS)]
    found = []
    for training in (False, True):
        points = tf.constant(POINTS)
        state = WindowState(*(tf.ones(s.shape) * 0.1 for s in layer.initial_state(BATCH, SYMBOLS)))
        watched = [points, *state, *(weight.value for weight in layer.weights)]
        with tf.GradientTape() as tape:
            tape.watch([points, *state])
            h, w, *_ = layer(points, TEXT, state, training=training)
            loss = sum(tf.reduce_sum(a * b) for a, b in zip((h, w), weigh, strict=True))
        found.append(tape.gradient(loss, watched))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-4)


def test_steps_and_pieces_go_on_where_they_stopped(layer):
    whole = layer(POINTS, TEXT)
    first = layer(POINTS[:, :3], TEXT)
    second = layer(POINTS[:, 3:], TEXT, first[-1])
    for n in range(3):
        joined = np.concatenate([first[n], second[n]], 1)
        np.testing.assert_allclose(joined, whole[n], atol=1e-5)
    state = layer.initial_state(BATCH, SYMBOLS)
    for t in range(TIME):
        state, phi = layer.step(POINTS[:, t], TEXT, state)
        np.testing.assert_allclose(state.h, whole[0][:, t], atol=1e-5)
        np.testing.assert_allclose(phi, whole[2][:, t], atol=1e-5)
    for ours, theirs in zip(state, whole[-1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_longer_padding_changes_nothing(layer):
    wide = np.concatenate([TEXT, np.zeros((BATCH, 2, SYMBOLS), "f4")], 1)
    for ours, theirs in zip(layer(POINTS, wide)[:2], layer(POINTS, TEXT)[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_it_works_in_mixed_precision_and_in_a_model(layer):
    points, text = keras.Input((None, 3)), keras.Input((None, SYMBOLS))
    h, w, phi, _ = WindowLSTM(UNITS, K, dtype="mixed_bfloat16")(points, text)
    model = keras.Model([points, text], [h, w, phi])
    model.layers[-1].set_weights(layer.get_weights())
    expected = layer(POINTS, TEXT)
    for ours, theirs in zip(model([POINTS, TEXT]), expected[:3], strict=True):
        np.testing.assert_allclose(tf.cast(ours, tf.float32), theirs, atol=0.1)
    with tf.GradientTape() as tape:
        h, *_ = model([POINTS, TEXT], training=True)
        loss = tf.reduce_sum(tf.cast(h, tf.float32))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(np.isfinite(g).all() for g in gradients)
    again = WindowLSTM.from_config(layer.get_config())
    assert (again.units, again.num_windows, again.advance) == (UNITS, K, 0.5)
