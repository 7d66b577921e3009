"""`rnnzoo.layers.LSTM` against `keras.layers.LSTM`, whose results it must give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.layers import LSTM


def _pair(**options):
    ours, theirs = LSTM(7, **options), keras.layers.LSTM(7, **options)
    ours.build((None, None, 5))
    theirs.build((None, None, 5))
    ours.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def _run(layer, inputs, **arguments):
    """Outputs, and gradients of a function of all of them."""
    with tf.GradientTape() as tape:
        watched = [inputs, *arguments.get("initial_state", [])]
        tape.watch(watched)
        outputs = tf.nest.flatten(layer(inputs, **arguments))
        loss = sum(tf.reduce_sum(tf.sin(3 * out)) for out in outputs)
    variables = [w.value for w in layer.trainable_variables]
    return outputs, tape.gradient(loss, watched + variables)


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("lengths", [None, (6, 3, 1), (6, 6, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_those_of_keras(go_backwards, lengths, training):
    ours, theirs = _pair(return_sequences=True, return_state=True, go_backwards=go_backwards)
    rng = np.random.default_rng(1)
    inputs = tf.constant(rng.normal(size=(3, 6, 5)).astype("float32"))
    arguments = {"training": training}
    if lengths is not None:
        arguments["mask"] = tf.sequence_mask(lengths, 6)
    if lengths is None or not go_backwards:
        state = rng.normal(size=(2, 3, 7)).astype("float32")
        arguments["initial_state"] = [tf.constant(part) for part in state]
    for found, expected in zip(
        _run(ours, inputs, **arguments), _run(theirs, inputs, **arguments), strict=False
    ):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_bidirectional_wrapper_gives_the_results_of_keras():
    ours, theirs = (
        keras.layers.Bidirectional(kind(4, return_sequences=True))
        for kind in (LSTM, keras.layers.LSTM)
    )
    inputs = np.random.default_rng(2).normal(size=(2, 5, 3)).astype("float32")
    mask = tf.sequence_mask([5, 2], 5)
    ours.build(inputs.shape)
    theirs.build(inputs.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(inputs, mask=mask), theirs(inputs, mask=mask), atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_half_precision_stays_near_float32(dtype):
    exact, half = (LSTM(7, return_sequences=True, dtype=policy) for policy in ("float32", dtype))
    exact.build((None, None, 5))
    half.build((None, None, 5))
    half.set_weights(exact.get_weights())
    inputs = tf.constant(np.random.default_rng(4).normal(size=(3, 6, 5)).astype("float32"))
    for found, expected in zip(
        _run(half, inputs, training=True), _run(exact, inputs, training=True), strict=True
    ):
        for a, b in zip(found, expected, strict=True):
            scale = np.abs(b).max()
            np.testing.assert_allclose(tf.cast(a, "float32") / scale, b / scale, atol=0.06)


def test_last_output_and_configuration_survive():
    layer = LSTM(4)
    inputs = np.ones((2, 3, 5), "float32")
    expected = layer(inputs)
    again = LSTM.from_config(layer.get_config())
    again.build(inputs.shape)
    again.set_weights(layer.get_weights())
    assert expected.shape == (2, 4)
    np.testing.assert_allclose(again(inputs), expected)


def test_options_it_does_not_rearrange_are_left_to_keras():
    ours, theirs = _pair(activation="relu", return_sequences=True)
    inputs = np.random.default_rng(3).normal(size=(2, 4, 5)).astype("float32")
    np.testing.assert_allclose(ours(inputs), theirs(inputs), rtol=1e-5)
