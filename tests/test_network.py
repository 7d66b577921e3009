"""The encoder-decoder networks: configurations, shapes, padding, gradients."""

import dataclasses

import keras
import numpy as np
import pytest

from rnnzoo import precision
from rnnzoo.seq2seq import Seq2SeqConfig, build_network
from rnnzoo.seq2seq.network import weight_shapes

SMALL = Seq2SeqConfig(vocab_size=30, embedding_dim=6, encoder_dim=8, decoder_dim=8, attention_dim=5)
CONFIGS = {
    "bahdanau": SMALL,
    "maxout": dataclasses.replace(SMALL, readout="maxout", tied_embeddings=False),
    "sutskever": dataclasses.replace(
        SMALL, attention=None, num_encoder_layers=2, num_bidirectional_layers=0
    ),
    "gnmt": dataclasses.replace(
        SMALL, num_encoder_layers=4, num_decoder_layers=4, residual=True, decoder_dim=10
    ),
}
SOURCE = np.array([[4, 5, 6, 3], [7, 3, 0, 0]])
TARGET = np.array([[2, 8, 9], [2, 10, 0]])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_weight_shapes_are_those_of_the_built_network(config):
    network = build_network(config)
    built = {weight.path: tuple(weight.shape) for weight in network.weights}
    assert weight_shapes(config) == built


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_padding_and_neighbours_do_not_change_a_row(config):
    network = build_network(config)
    both = network({"source_tokens": SOURCE, "target_tokens": TARGET})
    alone = network({"source_tokens": SOURCE[1:, :2], "target_tokens": TARGET[1:, :2]})
    np.testing.assert_allclose(both["logits"][1, :2], alone["logits"][0], atol=1e-5)
    if config.attention:
        np.testing.assert_allclose(both["alignment"][1, :2, :2], alone["alignment"][0], atol=1e-5)
        np.testing.assert_allclose(np.sum(both["alignment"], -1), 1, atol=1e-5)
        assert not np.asarray(both["alignment"])[1, :, 2:].any()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_weight_gets_a_gradient(config):
    import tensorflow as tf

    network = build_network(config)
    with tf.GradientTape() as tape:
        out = network({"source_tokens": SOURCE, "target_tokens": TARGET}, training=True)
        loss = tf.reduce_mean(out["logits"] ** 2)
    gradients = tape.gradient(loss, [w.value for w in network.trainable_variables])
    silent = [
        weight.path
        for weight, gradient in zip(network.trainable_variables, gradients, strict=True)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient))
    ]
    assert silent == []


@pytest.mark.parametrize("policy", precision.POLICIES[1:])
def test_outputs_are_float32_in_every_policy(policy):
    network = build_network(SMALL, policy)
    out = network({"source_tokens": SOURCE, "target_tokens": TARGET})
    assert {name: tensor.dtype.name for name, tensor in out.items()} == {
        "logits": "float32",
        "alignment": "float32",
    }


def test_keras_file_round_trip(tmp_path):
    network = build_network(SMALL)
    inputs = {"source_tokens": SOURCE, "target_tokens": TARGET}
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(again(inputs)["logits"], network(inputs)["logits"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 12.5}, "vocab_size"),
        ({"embedding_dim": 10**9}, "embedding_dim"),
        ({"dropout": 1.0}, "dropout"),
        ({"attention": "dot"}, "attention"),
        ({"readout": "linear"}, "readout"),
        ({"residual": 1}, "residual"),
        ({"encoder_dim": 9}, "even"),
        ({"num_bidirectional_layers": 2}, "num_bidirectional_layers"),
        ({"attention": None, "num_encoder_layers": 1}, "without attention"),
    ],
)
def test_impossible_configurations_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
