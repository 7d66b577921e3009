"""Additive attention, the soft alignment of Bahdanau, Cho and Bengio (2014, arXiv 1409.0473)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

_MASKED = -1e9


@keras.saving.register_keras_serializable(package="rnnzoo")
class AdditiveAttention(keras.layers.Layer):
    """Weighs annotations h_j by how well they match a query s_i.

    Equations of the paper's appendix A.1.2, whose letters the code keeps::

        e_ij     = v_a^T tanh(W_a s_i + U_a h_j)
        alpha_ij = softmax_j(e_ij)                     (6)
        c_i      = sum_j alpha_ij h_j                  (5)

    The keys U_a h_j do not depend on the query: make them once with `keys`. Energies and softmax
    are computed in float32 under every dtype policy. Built without a query's shape, the layer
    weighs by the annotations alone, e_j = v_a^T tanh(U_a h_j), and `attend` takes None for it.

    Parameters
    ----------
    attention_dim : int
        Width of the energies' hidden layer.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers import AdditiveAttention
    >>> attention = AdditiveAttention(4)
    >>> annotations = np.ones((2, 6, 8), "float32")  # [batch, source, features]
    >>> queries = np.ones((2, 3, 5), "float32")  # [batch, target, features]
    >>> context, alignment = attention(queries, annotations, mask=np.ones((2, 6), bool))
    >>> context.shape, alignment.shape
    (TensorShape([2, 3, 8]), TensorShape([2, 3, 6]))
    """

    def __init__(self, attention_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention_dim = attention_dim
        self.query_projection = keras.layers.Dense(
            attention_dim, use_bias=False, dtype=self.dtype_policy, name="query"
        )
        self.key_projection = keras.layers.Dense(attention_dim, dtype=self.dtype_policy, name="key")

    def build(self, query_shape: Any, annotations_shape: Any = None, **_: Any) -> None:
        if query_shape is not None:
            self.query_projection.build(query_shape)
        self.key_projection.build(annotations_shape)
        self.v = self.add_weight(
            name="v",
            shape=(self.attention_dim,),
            initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),
        )
        self.built = True

    def keys(self, annotations: Any) -> Any:
        """U_a h_j: [batch, source, attention_dim], float32."""
        return ops.cast(self.key_projection(annotations), "float32")

    def attend(self, query: Any, keys: Any, annotations: Any, mask: Any) -> tuple[Any, Any]:
        """Context [batch, target, features] and alignment [batch, target, source] (float32)."""
        z = ops.expand_dims(keys, 1)  # an index with None would copy it, and its gradient too
        if query is not None:
            z += ops.expand_dims(ops.cast(self._projected(query), "float32"), 2)
        # flat, as a product of more axes is traced as twenty operations
        flat = ops.matmul(
            ops.reshape(ops.tanh(z), (-1, self.attention_dim)),
            ops.expand_dims(ops.cast(self.v, "float32"), 1),
        )
        energies = ops.reshape(flat, ops.shape(z)[:-1])
        energies = ops.where(ops.cast(mask, "bool")[:, None, :], energies, _MASKED)
        alignment = ops.softmax(energies, axis=-1)
        context = ops.matmul(ops.cast(alignment, annotations.dtype), annotations)
        return context, alignment

    def _projected(self, query: Any) -> Any:
        if query.shape[1] != 1:
            return self.query_projection(query)
        # of one step alone it is a product of two matrices, traced in fewer operations
        return ops.expand_dims(self.query_projection(query[:, 0]), 1)

    def call(self, query: Any, annotations: Any, mask: Any) -> tuple[Any, Any]:
        return self.attend(query, self.keys(annotations), annotations, mask)

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """None: contexts and alignments carry no mask on."""

    def compute_output_shape(
        self, query_shape: Any, annotations_shape: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        batch, target, _ = query_shape
        _, source, features = annotations_shape
        return (batch, target, features), (batch, target, source)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "attention_dim": self.attention_dim}
