"""The loss of connectionist temporal classification (Graves et al. 2006, ICML)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rnnzoo.distribution import mean_over_replicas

_WIDEST = 80.0  # nats in a frame: the kernel's softmax in float32 has nothing below e^-87


def ctc_loss(log_probs: Any, frames: Any, labels: Any, label_lengths: Any) -> tf.Tensor:
    """- ln p(labels | frames), summed over all paths (equations 8 and 14), in float32.

    Parameters
    ----------
    log_probs : [batch, frames, symbols]
        Natural logarithms up to a constant in each frame: logits do as well. Symbol 0 is the
        blank.
    frames : [batch], int
        Real frames of each row.
    labels : [batch, width], int
        Symbols from 1 on, padded on the right with anything.
    label_lengths : [batch], int
        Real symbols of each row.

    Returns
    -------
    [batch]
        In nats. A row whose labels do not fit into its frames has loss 0 and no gradient, so that
        one bad pair does not end a training. A symbol less likely than e^-80 times a frame's
        likeliest counts as that: TensorFlow's kernel would have a loss of infinity. The gradient
        passes, so that the network can mend it.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import ctc_loss
    >>> even = np.zeros((1, 2, 3), "float32")  # 2 frames of 3 symbols, all alike
    >>> float(ctc_loss(even, [2], [[1]], [1])[0])  # 3 of the 9 paths: 1 1, 1 -, - 1
    1.098...
    """
    log_probs = _bounded(tf.cast(log_probs, tf.float32))
    frames, labels, lengths = (tf.cast(x, tf.int32) for x in (frames, labels, label_lengths))
    labels = tf.pad(labels, [[0, 0], [0, 1]])  # a place for the stand-in below
    real = tf.sequence_mask(lengths, tf.shape(labels)[1])
    repeats = tf.logical_and(labels[:, 1:] == labels[:, :-1], real[:, 1:])
    needed = lengths + tf.math.count_nonzero(repeats, 1, dtype=tf.int32)
    # the kernel takes neither rows without labels nor such as do not fit: they get a stand-in
    usual = tf.logical_and(lengths > 0, frames >= needed)
    first = tf.sequence_mask(tf.ones_like(lengths), tf.shape(labels)[1])
    places = tf.where(tf.where(usual[:, None], real, first))
    chosen = tf.gather_nd(tf.where(usual[:, None], labels, 1), places)
    # and it has the blank last and time first
    inputs = tf.transpose(tf.concat([log_probs[..., 1:], log_probs[..., :1]], -1), [1, 0, 2])
    loss = tf.raw_ops.CTCLoss(
        inputs=inputs,
        labels_indices=places,
        labels_values=chosen - 1,
        sequence_length=tf.maximum(frames, 1),
    )[0]
    silent = tf.nn.log_softmax(log_probs)[..., 0] * tf.sequence_mask(
        frames, tf.shape(log_probs)[1], tf.float32
    )
    empty = tf.where(lengths == 0, -tf.reduce_sum(silent, 1), 0.0)
    return tf.where(usual, loss, empty)


@tf.custom_gradient
def _bounded(log_probs: tf.Tensor) -> Any:
    least = tf.reduce_max(log_probs, -1, keepdims=True) - _WIDEST
    return tf.maximum(log_probs, least), lambda slope: slope


def mean_ctc_loss(outputs: Any, y: Any, sample_weight: Any = None) -> Any:
    """CTC's loss in nats for each character.

    Parameters
    ----------
    outputs : dict
        A network's `log_probs` [batch, frames, symbols] and `frames` [batch].
    y : dict
        `labels` [batch, characters] and `label_lengths` [batch].
    sample_weight : [batch], optional

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import mean_ctc_loss
    >>> sure = np.log([[[0.5, 0.5], [0.5, 0.5]]]).astype("float32")
    >>> outputs = {"log_probs": sure, "frames": np.array([2])}
    >>> y = {"labels": np.array([[1]]), "label_lengths": np.array([1])}
    >>> round(float(np.exp(-mean_ctc_loss(outputs, y))), 3)  # 11, 01 and 10 of four paths
    0.75
    """
    nats = ctc_loss(outputs["log_probs"], outputs["frames"], y["labels"], y["label_lengths"])
    characters = tf.cast(tf.maximum(y["label_lengths"], 1), tf.float32)
    weight = tf.ones_like(nats) if sample_weight is None else tf.cast(sample_weight, nats.dtype)
    return mean_over_replicas(tf.reduce_sum(weight * nats), tf.reduce_sum(weight * characters))
