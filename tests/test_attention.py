"""`AdditiveAttention` against the paper's equations, written with NumPy."""

import numpy as np

from rnnzoo.layers import AdditiveAttention


def test_weights_and_context_follow_the_equations():
    rng = np.random.default_rng(0)
    query = rng.normal(size=(2, 3, 5)).astype("float32")
    annotations = rng.normal(size=(2, 4, 6)).astype("float32")
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    layer = AdditiveAttention(8)
    context, alignment = layer(query, annotations, mask=mask)
    w_a, u_a = layer.query_projection.kernel.numpy(), layer.key_projection.kernel.numpy()
    bias, v_a = layer.key_projection.bias.numpy(), layer.v.numpy()
    for b in range(2):
        for i in range(3):
            e = [v_a @ np.tanh(query[b, i] @ w_a + h @ u_a + bias) for h in annotations[b][mask[b]]]
            weights = np.exp(e) / np.exp(e).sum()
            np.testing.assert_allclose(alignment[b, i][mask[b]], weights, rtol=1e-4)
            expected = weights @ annotations[b][mask[b]]
            np.testing.assert_allclose(context[b, i], expected, rtol=1e-4, atol=1e-5)
    assert not np.asarray(alignment)[1, :, 2:].any()


def test_alignment_is_float32_under_mixed_precision():
    layer = AdditiveAttention(8, dtype="mixed_bfloat16")
    ones = np.ones((1, 2, 4), "float32")
    context, alignment = layer(ones, ones, mask=np.ones((1, 2), bool))
    assert (context.dtype, alignment.dtype) == ("bfloat16", "float32")


def test_configuration_survives():
    layer = AdditiveAttention.from_config(AdditiveAttention(8, name="a").get_config())
    assert (layer.attention_dim, layer.name) == (8, "a")
