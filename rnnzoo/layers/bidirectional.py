"""Both directions of a recurrent layer, safe to read from `.keras` files."""

from __future__ import annotations

from typing import Any

import keras


def bidirectional(layer: keras.layers.Layer, **options: Any) -> keras.layers.Bidirectional:
    """`keras.layers.Bidirectional` of a layer, which keeps that layer for as long as it lives.

    Keras copies the layer for each direction through its config, and while a file is read it knows
    objects by their addresses. Were the layer freed, the next network's layer might lie at the same
    address and be taken for it: then "Forward layer and backward layer should have different
    `go_backwards` value", now and then (Keras 3.15).

    Parameters
    ----------
    layer : keras.layers.Layer
        Recurrent; its copies run forward and backward.
    **options
        Of `keras.layers.Bidirectional`.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.layers import LSTM, bidirectional
    >>> bidirectional(LSTM(4, return_sequences=True))(np.ones((2, 5, 3), "float32")).shape
    TensorShape([2, 5, 8])
    """
    both = keras.layers.Bidirectional(layer, **options)
    both.copied_layer = lambda: layer  # a function, as Keras would track a layer
    return both
