"""Several devices: `tf.distribute` around `load`, `compile` and `fit`.

Keras gives each replica its rows of a batch, means the replicas' mean losses, clips the gradient of
each replica and sums them. Where rows or weights differ in number (a ragged last batch, padding,
labels that are not known) the mean of means is not the batch's, and a norm that was clipped before
the sum is not the sum's. Here a loss is the sum over all replicas by the count over all replicas,
and a gradient is clipped after it was summed, so that two devices take the steps that one would.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def num_replicas() -> int:
    """Replicas that train together; 1 where no strategy is at work."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def sum_over_replicas(*values: Any) -> list[Any]:
    """Sums of tensors over all replicas, through which gradients pass; the tensors themselves
    where there is one.

    Examples
    --------
    >>> import tensorflow as tf
    >>> from rnnzoo.distribution import sum_over_replicas
    >>> [float(total) for total in sum_over_replicas(tf.constant(3.0), tf.constant(2.0))]
    [3.0, 2.0]
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return list(values)
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))


def mean_over_replicas(total: Any, count: Any) -> Any:
    """A batch's mean loss, of each replica's `total` and `count` (scalars), as Keras expects it.

    On each of n replicas it is an n-th of the batch's mean, as the sum over replicas is what Keras
    takes; its gradient is that of the replica's own part of the mean.

    Examples
    --------
    >>> import tensorflow as tf
    >>> from rnnzoo.distribution import mean_over_replicas
    >>> float(mean_over_replicas(tf.constant(3.0), tf.constant(2.0)))
    1.5
    """
    (count,) = sum_over_replicas(tf.stop_gradient(count))
    return _shared(total / tf.maximum(count, 1e-6))


def _shared(own: Any) -> Any:
    """An n-th of the sum of what each of n replicas has, with the gradient of its own."""
    if num_replicas() == 1:
        return own
    (whole,) = sum_over_replicas(tf.stop_gradient(own))
    return own + tf.stop_gradient(whole / num_replicas() - own)


@keras.saving.register_keras_serializable(package="rnnzoo")
class LossOverReplicas(keras.losses.Loss):
    """A loss whose mean is that of all replicas together.

    Parameters
    ----------
    loss : keras.losses.Loss
        What it is on one device; there it stays as it is.

    Examples
    --------
    >>> import keras
    >>> from rnnzoo.distribution import LossOverReplicas
    >>> loss = LossOverReplicas(keras.losses.MeanSquaredError())
    >>> float(loss([[1.0], [2.0]], [[1.0], [4.0]]))
    2.0
    """

    def __init__(self, loss: keras.losses.Loss, name: str | None = None) -> None:
        super().__init__(name=name or loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self.loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.loss.call(y_true, y_pred)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        value = self.loss(y_true, y_pred, sample_weight)
        replicas = num_replicas()
        if replicas == 1 or self.reduction not in (*_MEANS, "sum"):
            return value
        if self.reduction == "sum":
            return _shared(value)
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            count = tf.reduce_sum(tf.cast(sample_weight, value.dtype))
        else:
            count = tf.cast(tf.shape(y_pred)[0], value.dtype)
        return mean_over_replicas(value * replicas * count, count)  # Keras took an n-th of the mean

    def get_config(self) -> dict[str, Any]:
        return {"loss": keras.saving.serialize_keras_object(self.loss), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LossOverReplicas:
        return cls(keras.saving.deserialize_keras_object(config["loss"]), config["name"])


def losses_over_replicas(losses: Any) -> Any:
    """Losses as `keras.Model.compile` takes them, each `keras.losses.Loss` over all replicas."""

    def over_replicas(loss: Any) -> Any:
        plain = isinstance(loss, keras.losses.Loss) and not isinstance(loss, LossOverReplicas)
        return LossOverReplicas(loss) if plain else loss

    return keras.tree.map_structure(over_replicas, losses)


def clip_over_replicas(
    optimizer: keras.optimizers.Optimizer, pairs: Iterable[tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """Gradients with their variables, clipped as the optimizer says, but of their sum.

    Each replica gets an n-th of the clipped sum, which the optimizer sums again and is too small
    to be clipped twice. Where it sums gradients of several steps before it clips, they stay as they
    are.
    """
    pairs = list(pairs)
    context = tf.distribute.get_replica_context()
    own = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    clips = own.clipnorm or own.global_clipnorm or own.clipvalue
    if not clips or own.gradient_accumulation_steps or context.num_replicas_in_sync == 1:
        return pairs
    known = [(slope, variable) for slope, variable in pairs if slope is not None]
    slopes = context.all_reduce(tf.distribute.ReduceOp.SUM, [slope for slope, _ in known])
    limit = optimizer.scale_loss(tf.constant(clips, tf.float32))
    if own.clipnorm:
        slopes = [tf.clip_by_norm(slope, limit) for slope in slopes]
    elif own.global_clipnorm:
        slopes, _ = tf.clip_by_global_norm(slopes, limit)
    else:
        slopes = [tf.clip_by_value(slope, -limit, limit) for slope in slopes]
    share = 1.0 / context.num_replicas_in_sync
    clipped = [tf.math.scalar_mul(share, slope) for slope in slopes]
    unknown = [pair for pair in pairs if pair[0] is None]
    return [*zip(clipped, (variable for _, variable in known), strict=True), *unknown]


def rows_that_count(x: Any, sample_weight: Any) -> Any:
    """How many rows of a replica's inputs have a weight other than 0, or all if none has a weight.

    The copies that `rows_for_replicas` asks for have none.

    Examples
    --------
    >>> import tensorflow as tf
    >>> from rnnzoo.distribution import rows_that_count
    >>> int(rows_that_count(tf.zeros((3, 5)), tf.constant([[1.0, 1.0], [0.5, 0.0], [0.0, 0.0]])))
    2
    """
    weights = [weight for weight in keras.tree.flatten(sample_weight) if weight is not None]
    if not weights:
        return tf.shape(keras.tree.flatten(x)[0])[0]
    counts = [
        tf.reduce_any(tf.not_equal(weight, 0), list(range(1, len(weight.shape))))
        for weight in weights
    ]
    return tf.math.count_nonzero(tf.reduce_any(tf.stack(counts), 0))


def rows_for_replicas(rows: int, replicas: int) -> int:
    """How many rows a batch has to have, at least `rows`, so that no replica goes without.

    TensorFlow gives each ceil(rows / replicas) until there are no more.

    Examples
    --------
    >>> from rnnzoo.distribution import rows_for_replicas
    >>> rows_for_replicas(1, 2), rows_for_replicas(3, 2), rows_for_replicas(5, 4)
    (2, 3, 7)
    """
    while -(-rows // replicas) * (replicas - 1) >= rows:
        rows += 1
    return rows
