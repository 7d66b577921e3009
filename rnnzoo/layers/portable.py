"""Graphs for other runtimes, which lack some of TensorFlow's operations, and have others."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

_PORTABLE = contextvars.ContextVar("portable", default=False)
_NATIVE = contextvars.ContextVar("native", default=False)
_CONSTANT = contextvars.ContextVar("constant", default=False)


@contextlib.contextmanager
def portable(native_lstm: bool = False, constant_weights: bool = False) -> Iterator[None]:
    """Within it layers are traced without cuDNN and Fourier transforms, to the same results.

    With `native_lstm` a recurrence is traced as one operation that only `rnnzoo.export` can read,
    not run here: ONNX has an LSTM of its own, which runtimes are fast at. With `constant_weights`
    what is kept in int8 is traced as the numbers that it stands for.
    """
    flags = {_PORTABLE: True, _NATIVE: native_lstm, _CONSTANT: constant_weights}
    tokens = {flag: flag.set(value) for flag, value in flags.items()}
    try:
        yield
    finally:
        for flag, token in tokens.items():
            flag.reset(token)


def is_portable() -> bool:
    """Whether the graph that is being traced is for another runtime.

    Examples
    --------
    >>> from rnnzoo.layers.portable import is_portable, portable
    >>> with portable():
    ...     is_portable()
    True
    """
    return _PORTABLE.get()


def has_native_lstm() -> bool:
    """Whether the graph that is being traced is for a runtime with an LSTM of its own.

    Examples
    --------
    >>> from rnnzoo.layers.portable import has_native_lstm, portable
    >>> with portable(native_lstm=True):
    ...     has_native_lstm()
    True
    """
    return _NATIVE.get()


def has_constant_weights() -> bool:
    """Whether the graph that is being traced takes weights as constants, however they are kept.

    Examples
    --------
    >>> from rnnzoo.layers.portable import has_constant_weights, portable
    >>> with portable(constant_weights=True):
    ...     has_constant_weights()
    True
    """
    return _CONSTANT.get()


def native_lstm(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    h0: Any,
    c0: Any,
    mask: Any,
    backwards: bool,
) -> tuple[Any, Any, Any]:
    """An LSTM as one operation, its arrays laid out as ONNX has them.

    x is [time, batch, features]; `mask` [batch, time], False for padding on the right, or None.
    Gives the outputs [time, batch, units], for `backwards` too in x's order and zero in the
    padding, and the last h and c [batch, units].

    TensorFlow's operation for cuDNN carries it, as a graph needs one that it knows the shapes of:
    `params` holds W, R and B as `onnx_lstm` of `rnnzoo.export` takes them apart, `seed` is 1 if
    there is a mask, `seed2` is 1 for backwards.
    """

    def in_onnx_order(weights: Any) -> np.ndarray:  # Keras' i, f, g, o; ONNX' i, o, f, g
        i, f, g, o = np.split(np.asarray(weights, np.float32), 4, -1)
        return np.concatenate([i, o, f, g], -1).T.ravel()

    with tf.init_scope():  # the values, whatever keeps them: a constant of the graph
        parts = [in_onnx_order(weights) for weights in (kernel, recurrent_kernel, bias)]
    if mask is None:
        lengths = tf.zeros(tf.shape(x)[1:2], tf.int32)
    else:
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), 1)
    outputs, h, c, _, _ = tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=h0[None],
        input_c=c0[None],
        params=tf.constant(np.concatenate(parts)),
        sequence_lengths=lengths,
        seed=int(mask is not None),
        seed2=int(backwards),
        is_training=False,
        time_major=True,
    )
    return outputs, h[0], c[0]
