"""The writing networks: what goes in and out, steps beside teacher forcing, precision."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo.handwriting import HandwritingConfig, build_network
from rnnzoo.handwriting.network import weight_shapes
from rnnzoo.layers import log_density, log_lift, mixture_of

WRITES = HandwritingConfig(num_symbols=6, hidden_dim=8, num_components=3, num_windows=2)
KINDS = {"synthesis": WRITES, "prediction": dataclasses.replace(WRITES, num_symbols=0)}
RNG = np.random.default_rng(0)
POINTS = np.concatenate([RNG.normal(0, 0.4, (2, 9, 2)), RNG.integers(0, 2, (2, 9, 1))], -1).astype(
    "f4"
)
CHARACTERS = np.array([[1, 2, 6, 0, 0], [5, 4, 3, 3, 0]])


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def network(request):
    keras.utils.set_random_seed(0)
    return build_network(request.param)


def inputs_of(network, points=POINTS):
    inputs = {"points": points, "characters": CHARACTERS}
    return {name: inputs[name] for name in network.input}


def test_outputs_have_the_stated_shapes(network):
    out = network(inputs_of(network))
    assert out["y"].shape == (2, 9, 19) and out["y"].dtype == tf.float32
    if "phi" in out:
        assert out["phi"].shape == (2, 9, 5)
    config = network.get_layer("writer").config
    shapes = {weight.path: tuple(weight.shape) for weight in network.weights}
    assert shapes == weight_shapes(config)


def test_the_paper_s_network_has_its_size():
    # 3 layers of 400 units, 20 components, 10 windows; the paper's 3.7 M with 57 characters
    assert build_network(HandwritingConfig()).count_params() == pytest.approx(3.7e6, rel=0.02)


def test_steps_and_pieces_are_teacher_forcing(network):
    writer = network.get_layer("writer")
    characters = CHARACTERS if writer.config.writes else None
    whole, phi, _ = writer.run(POINTS, characters)
    np.testing.assert_allclose(network(inputs_of(network))["y"], whole, atol=1e-6)
    first, _, state = writer.run(POINTS[:, :4], characters)
    second, *_ = writer.run(POINTS[:, 4:], characters, state)
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-5)
    state = writer.initial_state(2)
    text = writer.text(characters) if writer.config.writes else None
    for t in range(9):
        y, looked, state = writer.step(POINTS[:, t], text, state)
        np.testing.assert_allclose(y, whole[:, t], atol=1e-5)
        if phi is not None:
            np.testing.assert_allclose(looked, phi[:, t], atol=1e-5)


def test_the_future_is_not_seen(network):
    changed = POINTS.copy()
    changed[:, 6:] += 1
    before, after = (network(inputs_of(network, points))["y"] for points in (POINTS, changed))
    np.testing.assert_allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert np.abs(before[:, 6:] - after[:, 6:]).max() > 1e-3


def test_every_layer_reaches_the_output_and_sees_the_input(network):
    """Skip connections: with the recurrent layers' products cut, input still matters."""
    writer = network.get_layer("writer")
    last = writer.others[-1]
    kernel = np.array(last.cell.kernel)
    kernel[3 : 3 + 8 + writer.config.num_symbols] = 0  # all but the pen's offsets
    last.cell.kernel.assign(kernel)
    output = np.array(writer.output_layer.kernel)
    output[:16] = 0  # of the layers below
    writer.output_layer.kernel.assign(output)
    moved = POINTS.copy()
    moved[:, 3, 0] += 1
    before, after = (network(inputs_of(network, points))["y"] for points in (POINTS, moved))
    assert np.abs(before[:, 3:] - after[:, 3:]).max() > 1e-4


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_agrees_and_learns(network, dtype):
    config = network.get_layer("writer").config
    mixed = build_network(config, dtype)
    mixed.set_weights(network.get_weights())
    np.testing.assert_allclose(
        mixed(inputs_of(network))["y"], network(inputs_of(network))["y"], atol=0.05
    )
    with tf.GradientTape() as tape:
        mixture = mixture_of(mixed(inputs_of(network, POINTS[:, :-1]), training=True)["y"])
        nats = log_density(mixture, POINTS[:, 1:, :2]) + log_lift(mixture, POINTS[:, 1:, 2])
        loss = -tf.reduce_mean(nats)
    gradients = tape.gradient(loss, [weight.value for weight in mixed.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_it_is_kept_by_keras(network, tmp_path):
    network.save(tmp_path / "writer.keras")
    again = keras.saving.load_model(tmp_path / "writer.keras")
    np.testing.assert_allclose(
        again(inputs_of(network))["y"], network(inputs_of(network))["y"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("field", "value"), [("hidden_dim", 0), ("num_components", 0), ("dropout", 1.0),
                         ("offset_scale", 0.0), ("num_symbols", -1), ("num_layers", "3")],
)  # fmt: skip
def test_a_config_says_what_is_wrong(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(WRITES, **{field: value})
