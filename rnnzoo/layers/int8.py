"""Weights that a network keeps in int8, with a float32 scale for each output channel.

The layers know nothing of it: where a layer had its variable it has an `Int8Weight`, which becomes
a tensor of the layer's precision, cast and scaled, wherever it is used. So it works alike for every
layer, cuDNN's among them, and gives the same results, to the bit, as an int8 checkpoint that is
read as float32. Scaling the product x q instead was left out: TensorFlow has no product of float
and int8, q would be cast all the same, and sums of float16 times 127 overflow. What counts for
speed is that no loop expands a kernel at every step (`expand_once`).
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.layers.portable import has_constant_weights
from rnnzoo.weights import SCALE


class _Once(NamedTuple):
    """Where weights are expanded, None for eagerly, and those that are."""

    graph: Any
    known: dict[Int8Weight, tf.Tensor]

    def is_here(self) -> bool:
        return (self.graph is None) == tf.executing_eagerly()


_once: contextvars.ContextVar[_Once | None] = contextvars.ContextVar("expand_once", default=None)


@contextlib.contextmanager
def expand_once() -> Iterator[None]:
    """Within it, an int8 weight is expanded at most once, outside of all loops that stand within.

    For what uses a kernel at every step. The expanded kernels live as long as the call does.

    Examples
    --------
    >>> import keras
    >>> import tensorflow as tf
    >>> from rnnzoo.layers.int8 import Int8Weight, expand_once
    >>> two = Int8Weight(keras.Variable([4], dtype="int8"), keras.Variable([0.5]), "float32")
    >>> @tf.function
    ... def doubled(x):
    ...     with expand_once():
    ...         return tf.while_loop(lambda x: x[0] < 9.0, lambda x: [tf.multiply(x, two)], [x])
    >>> [x.numpy().tolist() for x in doubled(tf.constant([1.0]))]
    [[16.0]]
    """
    outer = _once.get()
    if outer is not None and outer.is_here():
        yield
        return
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    token = _once.set(_Once(graph, {}))
    try:
        yield
    finally:
        _once.reset(token)


class Int8Weight:
    """A weight in int8, which becomes a tensor where one is needed.

    Parameters
    ----------
    integers : keras.Variable
        int8, of the weight's shape.
    scale : keras.Variable
        float32; the weight is `integers * scale`.
    dtype : str
        Of the tensor.

    Examples
    --------
    >>> import keras
    >>> import tensorflow as tf
    >>> from rnnzoo.layers.int8 import Int8Weight
    >>> integers = keras.Variable([[-127, 64]], dtype="int8", trainable=False)
    >>> weight = Int8Weight(integers, keras.Variable([[0.5, 2.0]]), "float32")
    >>> tf.convert_to_tensor(weight).numpy().tolist()
    [[-63.5, 128.0]]
    """

    def __init__(self, integers: keras.Variable, scale: keras.Variable, dtype: str) -> None:
        self.integers, self.scale, self.dtype = integers, scale, dtype

    @property
    def shape(self) -> Any:
        return self.integers.shape

    def _expanded(self) -> tf.Tensor:
        if has_constant_weights():
            with tf.init_scope():
                value = np.asarray(self)
            # a name that no node of a loop's own graph has
            return tf.constant(value, self.dtype, name=self.integers.path.replace("/", "_"))
        wide = tf.cast(self.integers.value, tf.float32) * tf.convert_to_tensor(self.scale.value)
        return tf.cast(wide, self.dtype)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        once = _once.get()
        if once is None or not once.is_here():
            found = self._expanded()
        elif self in once.known:
            found = once.known[self]
        else:
            outside = contextlib.nullcontext() if once.graph is None else once.graph.as_default()
            with outside, tf.control_dependencies(None):
                found = once.known[self] = self._expanded()
        return tf.cast(found, dtype or found.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        wide = np.asarray(self.integers, np.float32) * np.asarray(self.scale, np.float32)
        return wide.astype(dtype or np.float32)


def keep_in_int8(network: keras.Model, values: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Keep weights of a network in int8 from now on.

    Of each, its variable goes, and two that do not train take its place: the integers under its
    name, and their scale under its name with ".scale" behind. Graphs that were made before still
    hold the old ones.

    Parameters
    ----------
    network : keras.Model
    values : mapping
        Integers and scale by the weight's path.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from rnnzoo.layers.int8 import keep_in_int8
    >>> inputs = keras.Input((2,))
    >>> network = keras.Model(inputs, keras.layers.Dense(1, name="dense")(inputs))
    >>> keep_in_int8(network, {"dense/kernel": (np.int8([[3], [4]]), np.float32([[0.5]]))})
    >>> [(weight.path, weight.dtype) for weight in network.weights]
    [('dense/bias', 'float32'), ('dense/kernel', 'int8'), ('dense/kernel.scale', 'float32')]
    >>> network(np.float32([[1, 1]])).numpy().tolist()
    [[3.5]]
    """
    for layer in network._flatten_layers():
        held = {
            name: value
            for name, value in vars(layer).items()
            if isinstance(value, keras.Variable) and value.path in values
        }
        layer._tracker.unlock()
        for name, variable in held.items():
            integers, scale = values[variable.path]
            kept = _variable(variable.path, integers), _variable(variable.path + SCALE, scale)
            layer._untrack_variable(variable)
            setattr(layer, name, kept[0])  # tracked, by Keras and for what TensorFlow saves
            setattr(layer, f"{name}_scale", kept[1])
            setattr(layer, name, Int8Weight(*kept, layer.compute_dtype))
        layer._tracker.lock()


def _variable(path: str, value: np.ndarray) -> keras.Variable:
    """A variable of that path, which neither trains nor follows the precision."""
    *parents, scope, name = path.split("/")
    with keras.name_scope(scope, override_parent="/".join(parents)):
        return keras.Variable(
            value, dtype=value.dtype.name, trainable=False, autocast=False, name=name
        )
