"""Raw pairs of input and target as `fit` and `evaluate` take them, and batches of them.

A finite source is read whole, checked before anything trains, and comes in a new order in each
epoch. The order depends on the number of the epoch alone, so that a training that was interrupted
goes on with the order that it would have had, where an epoch is a whole pass. A source without an
end, or of unknown length, is read as training goes where the number of batches is named.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.distribution import rows_for_replicas
from rnnzoo.errors import InputError
from rnnzoo.inputs import plain

if TYPE_CHECKING:
    from rnnzoo.training import Trainable

_RAW = (str, bytes, os.PathLike)


def is_raw(x: Any) -> bool:
    """Whether these are raw inputs, or pairs, and no tensors."""
    if isinstance(x, tf.data.Dataset):
        return isinstance(x.element_spec, tuple) and bool(_texts(x))
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "OSU"
    if tf.is_tensor(x):
        return x.dtype == tf.string
    if isinstance(x, Peeked):
        return x.raw
    return isinstance(x, (str, list, tuple)) and not any(tf.is_tensor(part) for part in x)


def _texts(x: tf.data.Dataset) -> list[Any]:
    """The specs of what is text in a dataset's elements, which no batch of tensors has."""
    specs = tf.nest.flatten(x.element_spec)
    return [spec for spec in specs if getattr(spec, "dtype", None) == tf.string]


def _one_by_one(x: Iterable[Any]) -> Iterable[Any]:
    """Pairs of a source, those of a batched dataset taken apart."""
    if not isinstance(x, tf.data.Dataset):
        return x
    ranks = {spec.shape.rank for spec in _texts(x)}
    if None in ranks:
        raise InputError(
            "a dataset of pairs has to say whether it is batched; found texts of unknown rank in "
            f"{x.element_spec}: give them a shape, as with output_signature or tf.ensure_shape"
        )
    return x.unbatch() if any(ranks) else x


class Peeked:
    """A generator, looked at to see whether it gives raw pairs; what was seen comes first."""

    def __init__(self, source: Iterator[Any]) -> None:
        first = list(itertools.islice(source, 1))
        self.raw = not first or _is_raw_pair(first[0])
        self.whole = itertools.chain(first, source)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.whole)


def peeked(x: Any) -> Any:
    """Generators and other iterators `Peeked`, or as they were if they give no raw pairs."""
    if not isinstance(x, Iterator) or tf.is_tensor(x):
        return x
    found = Peeked(x)
    return found if found.raw else (element for element in found)


def _is_raw_pair(element: Any) -> bool:
    """Whether an element of a generator is a raw pair and no batch of tensors."""
    if not isinstance(element, (tuple, list)) or len(element) not in (2, 3):
        return True  # read as one, it is named in an error
    x, y = element[0], element[1]
    if isinstance(x, Mapping):
        return False
    arrays = all(isinstance(part, np.ndarray) or tf.is_tensor(part) for part in (x, y))
    return isinstance(x, _RAW) or isinstance(y, _RAW) or not arrays


def _pair(element: Any) -> tuple[Any, Any, float]:
    """Input, target and weight of an element."""
    if not isinstance(element, (tuple, list)) or len(element) not in (2, 3):
        raise InputError(
            f"without y, x has to hold (input, target) pairs, or triples with a weight; found "
            f"{element!r:.60}: give the targets as y"
        )
    weight = plain(element[2]) if len(element) == 3 else 1.0
    return _plain(element[0]), _plain(element[1]), _weight(weight)


def _plain(value: Any) -> Any:
    """A value out of its tensor, and so in each part of a tuple."""
    return tuple(map(_plain, value)) if type(value) is tuple else plain(value)


def _weight(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = np.nan
    if not np.isfinite(found):
        raise InputError(f"a sample's weight must be a number, got {value!r:.60}")
    return found


def weighted_pairs(
    x: Any, y: Any = None, sample_weight: Any = None
) -> tuple[list[tuple[Any, Any]], np.ndarray]:
    """Inputs and targets as one list of pairs, and the weight of each.

    Parameters
    ----------
    x, y : sequences of one length; or `x` a list, a generator or a `tf.data.Dataset`, batched or
        not, of pairs, or of triples with a weight
    sample_weight : sequence of float, optional
        A weight for each pair; 1 by default.

    Raises
    ------
    InputError
        If inputs, targets and weights differ in number, or there are none.

    Examples
    --------
    >>> from rnnzoo.pairs import weighted_pairs
    >>> weighted_pairs(["Yes.", "No."], ["Oui.", "Non."], [1, 0.5])
    ([('Yes.', 'Oui.'), ('No.', 'Non.')], array([1. , 0.5], dtype=float32))
    """
    if isinstance(x, str) or isinstance(y, str):
        raise InputError("inputs and targets must be lists, also of one: fit([input], [target])")
    if y is None:
        triples = [_pair(element) for element in _one_by_one(x)]
    else:
        sources, targets = list(x), list(y)
        if len(sources) != len(targets):
            raise InputError(
                f"{len(sources)} inputs and {len(targets)} targets: give one target for each input"
            )
        triples = [(plain(s), plain(t), 1.0) for s, t in zip(sources, targets, strict=True)]
    if not triples:
        raise InputError("there are no pairs of input and target: x is empty")
    weights = [weight for *_, weight in triples]
    if sample_weight is not None:
        weights = [_weight(weight) for weight in np.ravel(sample_weight).tolist()]
        if len(weights) != len(triples):
            raise InputError(
                f"sample_weight has {len(weights)} weights for {len(triples)} pairs: give one for "
                "each"
            )
    return [(source, target) for source, target, _ in triples], np.array(weights, np.float32)


def raw_pairs(x: Any, y: Any) -> list[tuple[Any, Any]]:
    """The pairs of `weighted_pairs`, and its errors.

    Examples
    --------
    >>> from rnnzoo.pairs import raw_pairs
    >>> raw_pairs(["Yes.", "No."], ["Oui.", "Non."])
    [('Yes.', 'Oui.'), ('No.', 'Non.')]
    """
    return weighted_pairs(x, y)[0]


class RawBatches(keras.callbacks.Callback):
    """Batches of raw pairs for a task's training; a callback, so that it knows the epoch.

    Parameters
    ----------
    task : Trainable
        Checks pairs and makes tensors of them.
    batch_size : int
    shuffle : bool
        A new order in each epoch.
    """

    def __init__(self, task: Trainable, batch_size: int, shuffle: bool = False) -> None:
        super().__init__()
        self.batch_size, self.shuffle = batch_size, shuffle
        self.error: Exception | None = None
        self._task = task
        self._epoch, self._passes = 0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Take the order of this epoch."""
        self._epoch, self._passes = epoch, 0

    def of(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        steps: int | None = None,
        named: str = "steps_per_epoch",
    ) -> tf.data.Dataset:
        """All pairs of a source, as `weighted_pairs` takes them, once in each epoch; with `steps`
        those of its first so many batches, of a source without an end too.

        `named` is what `steps` is called where one asks for it.

        Raises
        ------
        InputError
            For a source without an end where there are no `steps`, and for what `weighted_pairs`
            and the task refuse.
        """
        count = None if steps is None else steps * self.batch_size
        if y is None and sample_weight is None and count is not None:
            x = list(itertools.islice(_one_by_one(x), count))
        elif isinstance(x, tf.data.Dataset) and x.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise InputError(f"the pairs have no end: say with {named} how many batches to take")
        pairs, weights = weighted_pairs(x, y, sample_weight)
        pairs, weights = pairs[:count], weights[:count]
        self._task.check_pairs(pairs)

        def epoch() -> Iterator[Any]:
            order = np.arange(len(pairs))
            if self.shuffle:
                np.random.default_rng([self._epoch, self._passes]).shuffle(order)
            self._passes += 1
            for begin in range(0, len(pairs), self.batch_size):
                rows = order[begin : begin + self.batch_size]
                yield self._batch([pairs[row] for row in rows], weights[rows])

        dataset = self._dataset(epoch, self._batch(pairs[:1], weights[:1]))
        batches = -(-len(pairs) // self.batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(batches))

    def stream(self, x: Iterable[Any]) -> tf.data.Dataset:
        """Pairs of a source that may have no end, in its own order, each checked when its turn
        comes.

        Raises
        ------
        InputError
            For a first pair that the task refuses.
        """
        source = iter(_one_by_one(x))
        first = next(source, None)
        if first is None:
            raise InputError("there are no pairs of input and target: x is empty")
        rest = itertools.chain([first], source)

        def checked(elements: list[Any]) -> Any:
            pairs, weights = weighted_pairs(elements)
            self._task.check_pairs(pairs)
            return self._batch(pairs, weights)

        def batches() -> Iterator[Any]:
            while some := list(itertools.islice(rest, self.batch_size)):
                yield checked(some)

        return self._dataset(batches, checked([first]))

    def _batch(self, pairs: list[tuple[Any, Any]], weights: np.ndarray) -> tuple[Any, Any, Any]:
        replicas = self._task.distribute_strategy.num_replicas_in_sync
        missing = rows_for_replicas(len(pairs), replicas) - len(pairs)
        pairs = [*pairs, *[pairs[-1]] * missing]  # copies that do not count
        weights = np.pad(weights, (0, missing))
        inputs, targets = zip(*pairs, strict=True)
        x, y, own = self._task.training_batch(list(inputs), list(targets))

        def weighted(of_labels: np.ndarray) -> np.ndarray:
            return of_labels * weights.reshape(-1, *[1] * (of_labels.ndim - 1))

        return x, y, tf.nest.map_structure(weighted, own)

    def _dataset(self, batches: Any, example: Any) -> tf.data.Dataset:
        """Batches as a dataset; `error` has what one of them raised."""

        def guarded() -> Iterator[Any]:
            try:
                yield from batches()
            except Exception as error:
                self.error = error
                raise

        signature = tf.nest.map_structure(
            lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), example
        )
        return tf.data.Dataset.from_generator(guarded, output_signature=signature)
