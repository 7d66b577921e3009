"""The localisation networks, on random weights and against plain statements of them."""

import dataclasses

import keras
import numpy as np
import pytest

from rnnzoo.deeploc import DeepLocConfig, build_network
from rnnzoo.deeploc.network import AttentionDecoder, weight_shapes
from rnnzoo.deeploc.residues import TABLES

SMALL = DeepLocConfig(
    num_filters=3, conv_dim=6, hidden_dim=5, attention_dim=4, decoder_dim=7, dense_dim=6,
    attention_steps=3,
)  # fmt: skip
CONFIGS = {
    "deeploc": SMALL,
    "sonderby": dataclasses.replace(SMALL, num_locations=11, membrane=False, attention_steps=0),
    "ensemble": dataclasses.replace(SMALL, encoding="one-hot", num_members=2),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request):
    keras.utils.set_random_seed(3)
    return request.param


def residues(*lengths):
    rng = np.random.default_rng(0)
    out = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in zip(out, lengths, strict=True):
        row[:length] = rng.integers(1, 25, length)
    return out


def test_outputs_are_probabilities_and_padding_changes_nothing(config):
    network, x = build_network(config), residues(30, 7, 1)
    out = {name: np.array(value) for name, value in network(x).items()}
    assert set(out) == {"location", "importance"} | ({"membrane"} if config.membrane else set())
    np.testing.assert_allclose(out["location"].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(out["importance"].sum(1), 1, rtol=1e-5)
    assert not out["importance"][x == 0].any()
    if config.membrane:
        assert ((out["membrane"] > 0) & (out["membrane"] < 1)).all()
    alone = network(x[1:2, :7])
    for name, value in out.items():
        expected = value[1:2, :7] if name == "importance" else value[1:2]
        np.testing.assert_allclose(alone[name], expected, atol=1e-6)


def test_weight_shapes_are_the_networks(config):
    network = build_network(config)
    assert {w.path: tuple(w.shape) for w in network.weights} == weight_shapes(config)


def test_members_are_averaged():
    network, x = build_network(CONFIGS["ensemble"]), residues(20, 9)
    found = network(x)
    members = [network.get_layer(f"member_{n}")(x) for n in range(2)]
    for name, value in found.items():
        np.testing.assert_allclose(value, (members[0][name] + members[1][name]) / 2, rtol=1e-5)


def test_the_decoder_is_an_lstm_over_what_attention_saw():
    """The three steps written out in numpy."""
    rng = np.random.default_rng(1)
    h_seq, mask = rng.normal(size=(2, 6, 5)).astype("float32"), np.ones((2, 6), bool)
    mask[1, 4:] = False
    decoder = AttentionDecoder(units=7, attention_dim=4, steps=3)
    found, weights = decoder(h_seq, mask=mask)
    w = {v.path.split("/", 1)[1]: np.array(v) for v in decoder.weights}

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    h = c = np.zeros((2, 7))
    for _ in range(3):
        key = h_seq @ w["attention/key/kernel"] + w["attention/key/bias"]
        energy = np.tanh(key + (h @ w["attention/query/kernel"])[:, None]) @ w["attention/v"]
        energy = np.where(mask, energy, -np.inf)
        alpha = np.exp(energy) / np.exp(energy).sum(1, keepdims=True)
        context = (alpha[..., None] * h_seq).sum(1)
        z = context @ w["cell/kernel"] + h @ w["cell/recurrent_kernel"]
        i, f, g, o = np.split(z + w["cell/bias"], 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    np.testing.assert_allclose(found, context, atol=1e-5)
    np.testing.assert_allclose(weights, alpha, atol=1e-5)


def test_a_convolution_sees_what_its_table_says():
    network = build_network(SMALL).get_layer("member_0")
    x = residues(12)
    kernel, bias = (np.array(v) for v in network.convolutions[1].weights)
    padded = np.pad(TABLES["blosum62"][x[0]], ((1, 1), (0, 0)))
    expected = [
        np.maximum(0, np.einsum("wi,wio->o", padded[n : n + 3], kernel) + bias) for n in range(12)
    ]
    found = network.convolutions[1](network.encoding(x))[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_training_follows_the_seed():
    x = residues(20, 12)

    def outputs():
        keras.utils.set_random_seed(5)
        network = build_network(SMALL)
        return [np.array(network(x, training=True)["location"]) for _ in range(2)]

    one, two = outputs(), outputs()
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one[0], one[1])  # the dropout masks go on


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": "pssm"},
        {"filter_widths": (2,)},
        {"filter_widths": ()},
        {"filter_widths": (3, 3)},
        {"filter_widths": (3.0,)},
        {"num_locations": 1},
        {"num_members": 0},
        {"dropout": 1.0},
        {"hidden_dim": 10**400},
        {"membrane": "yes"},
    ],
)
def test_impossible_configs_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(SMALL, **change)


def test_a_keras_file_of_many_members_opens(tmp_path):
    """Keras tells what it reads by addresses, which freed layers leave to others."""
    config = dataclasses.replace(
        SMALL, num_members=12, num_filters=1, conv_dim=2, hidden_dim=2, attention_steps=0
    )
    network = build_network(config)
    network.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    residues = np.arange(1, 13)[None]
    np.testing.assert_array_equal(again(residues)["location"], network(residues)["location"])
    layers = [layer.lstm for layer in again.layers if hasattr(layer, "lstm")]
    directions = {id(way) for both in layers for way in (both.forward_layer, both.backward_layer)}
    assert len(directions) == 24
