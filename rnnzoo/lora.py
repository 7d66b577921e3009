"""Low-rank updates of kernels: LoRA (Hu et al. 2021, arXiv 2106.09685, section 4.1).

A kernel W [in, out] is trained as W + (alpha / rank) A B with A [in, rank] and B [rank, out]. The
layers know nothing of it: the kernel's variable holds the sum, the gradient that it gets is carried
on to A and B by the chain rule, and the sum is taken anew after each step. So it works alike for
every layer that has a kernel, cuDNN's and those whose gradient is written out among them, no graph
that was made before goes stale, and inference is as fast as without. The price is a copy of the
kernels that are updated, kept while they train.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.errors import InputError
from rnnzoo.parts import Parts, choose_weights

_MATRICES = ("kernel", "recurrent_kernel", "text_kernel", "window_kernel", "embeddings")


def is_kernel(path: str, shape: tuple[int, ...]) -> bool:
    """Whether a weight is a matrix of a dense or recurrent layer, or an embedding."""
    return len(shape) == 2 and path.rsplit("/", 1)[-1] in _MATRICES


def choose_kernels(
    shapes: Mapping[str, tuple[int, ...]], parts: Parts, targets: Iterable[str] | None
) -> list[str]:
    """The kernels that get low-rank updates.

    Parameters
    ----------
    shapes : mapping
        Shape of each weight by its path.
    parts : mapping
        The family's parts.
    targets : iterable of str, optional
        Parts or patterns; by default every dense and recurrent kernel, without embeddings.

    Raises
    ------
    InputError
        If there is no kernel among them.

    Examples
    --------
    >>> from rnnzoo.lora import choose_kernels
    >>> shapes = {"lstm/kernel": (3, 8), "lstm/recurrent_kernel": (2, 8), "lstm/bias": (8,)}
    >>> choose_kernels(shapes, {}, ["*/recurrent_kernel"])
    ['lstm/recurrent_kernel']
    """
    if isinstance(targets, str):
        targets = (targets,)
    chosen = list(shapes) if targets is None else choose_weights(shapes, parts, targets)
    found = [path for path in chosen if is_kernel(path, tuple(shapes[path]))]
    if targets is None:
        found = [path for path in found if not path.endswith("/embeddings")]
    if not found:
        raise InputError(
            f"there is no kernel among {', '.join(chosen[:5]) or 'no weights'}: low-rank updates "
            f"are for the matrices {', '.join(_MATRICES)} of dense and recurrent layers; name "
            "parts or patterns that have some, or none for all"
        )
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Update:
    """A kernel's variable, what it was, and the factors of its update."""

    kernel: Any
    base: Any
    a: Any
    b: Any


class LowRank(keras.layers.Layer):
    """The updates of a network's kernels while they train.

    A is drawn from a normal distribution of variance 1 / in, B is zero, so that nothing changes
    at first; both are float32 under every policy.

    Parameters
    ----------
    kernels : mapping
        Variables [in, out] by their paths.
    rank : int
        r of the paper.
    alpha : float, optional
        Updates are scaled by alpha / rank; `rank` by default.
    whole : sequence of str
        Paths of weights that change besides, in full.
    frozen : sequence of str
        Paths of weights that were frozen before and will be again.

    Raises
    ------
    InputError
        For a rank or an alpha that is no number above 0.

    Examples
    --------
    >>> import keras
    >>> from rnnzoo.lora import LowRank
    >>> dense = keras.layers.Dense(4)
    >>> dense.build((None, 3))
    >>> updates = LowRank({"dense/kernel": dense.kernel}, rank=2)
    >>> [tuple(weight.shape) for weight in updates.trainable_weights]
    [(3, 2), (2, 4)]
    """

    def __init__(
        self,
        kernels: Mapping[str, Any],
        rank: int = 4,
        alpha: float | None = None,
        whole: Iterable[str] = (),
        frozen: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "lora", **kwargs, "dtype": "float32"})
        self.rank, self.alpha = check_rank(rank, alpha)
        self._settings = _Settings(tuple(kernels), tuple(whole), frozenset(frozen), {})
        for path, kernel in kernels.items():
            name, (rows, columns) = path.replace("/", "."), kernel.shape
            self._settings.updates[path] = _Update(
                kernel,
                self.add_weight(
                    name=f"{name}.base",
                    shape=(rows, columns),
                    dtype=kernel.value.dtype.name,
                    initializer=lambda *_, value=kernel.value, **__: tf.identity(value),
                    trainable=False,
                ),
                self.add_weight(
                    name=f"{name}.a",
                    shape=(rows, rank),
                    initializer=keras.initializers.VarianceScaling(1.0, "fan_in"),
                ),
                self.add_weight(name=f"{name}.b", shape=(rank, columns), initializer="zeros"),
            )
        self.built = True

    @property
    def targets(self) -> tuple[str, ...]:
        """Paths of the kernels that are updated."""
        return self._settings.targets

    @property
    def whole(self) -> tuple[str, ...]:
        """Paths of the weights that change besides, in full: those that train, and averages."""
        return self._settings.whole

    @property
    def frozen(self) -> frozenset[str]:
        """Paths of the weights that were frozen before."""
        return self._settings.frozen

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    def base(self, path: str) -> np.ndarray:
        """A kernel without its update."""
        return np.asarray(self._settings.updates[path].base)

    def factors(self) -> dict[str, np.ndarray]:
        """A and B of each kernel, by its path with ".a" and ".b" behind."""
        found = {}
        for path, update in self._settings.updates.items():
            found[f"{path}.a"] = np.asarray(update.a)
            found[f"{path}.b"] = np.asarray(update.b)
        return found

    def assign_factors(self, values: Mapping[str, np.ndarray]) -> None:
        """Set what `factors` gives, and the kernels with it."""
        for path, update in self._settings.updates.items():
            update.a.assign(values[f"{path}.a"])
            update.b.assign(values[f"{path}.b"])
        self.update_kernels()

    def update_kernels(self) -> None:
        """Take each kernel's sum anew: W + (alpha / rank) A B."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            for update in self._settings.updates.values():
                update.kernel.assign(self._sum(update.base, update.a, update.b))
        else:
            context.merge_call(self._update_replicas)

    def _sum(self, base: Any, a: Any, b: Any) -> Any:
        base = tf.cast(tf.convert_to_tensor(base), tf.float32)
        return base + self.scale * tf.matmul(tf.convert_to_tensor(a), tf.convert_to_tensor(b))

    def _update_replicas(self, strategy: tf.distribute.Strategy) -> None:
        """Take the sums on every device."""
        for update in self._settings.updates.values():
            strategy.extended.update(
                update.kernel.value,
                lambda kernel, *parts: kernel.assign(tf.cast(self._sum(*parts), kernel.dtype)),
                args=(update.base.value, update.a.value, update.b.value),
                group=False,
            )

    def gradients(
        self, tape: tf.GradientTape, loss: Any, others: Iterable[Any]
    ) -> list[tuple[Any, Any]]:
        """Gradients of A, B and of the other variables that train, each with its variable.

        Of the kernel's gradient G, A gets (alpha / rank) G B^T and B (alpha / rank) A^T G.
        """
        updates, others = list(self._settings.updates.values()), list(others)
        found = tape.gradient(loss, [*(update.kernel for update in updates), *others])
        pairs = list(zip(found[len(updates) :], others, strict=True))
        for slope, update in zip(found, updates, strict=False):
            if slope is None:
                pairs += [(None, update.a), (None, update.b)]
                continue
            slope = self.scale * tf.cast(tf.convert_to_tensor(slope), tf.float32)
            a, b = tf.convert_to_tensor(update.a), tf.convert_to_tensor(update.b)
            pairs.append((tf.matmul(slope, b, transpose_b=True), update.a))
            pairs.append((tf.matmul(a, slope, transpose_a=True), update.b))
        return pairs


@dataclasses.dataclass(frozen=True, eq=False)
class _Settings:
    """What Keras shall not track: the kernels are the network's."""

    targets: tuple[str, ...]
    whole: tuple[str, ...]
    frozen: frozenset[str]
    updates: dict[str, _Update]


def check_rank(rank: Any, alpha: Any) -> tuple[int, float]:
    """Rank and alpha; alpha is the rank where there is none.

    Raises
    ------
    InputError
        If one is no number above 0.
    """
    whole = isinstance(rank, (int, np.integer)) and not isinstance(rank, bool)
    if not whole or not 0 < rank <= 65_536:
        raise InputError(f"rank must be a whole number from 1 to 65,536, got {rank!r:.40}")
    alpha = rank if alpha is None else alpha
    number = isinstance(alpha, (int, float, np.number)) and not isinstance(alpha, bool)
    if not number or not 0 < alpha < float("inf"):
        raise InputError(f"alpha must be a number above 0, got {alpha!r:.40}")
    return int(rank), float(alpha)
