"""Sampling ink inside one compiled graph, many lines at once.

Points come one by one: a component of the mixture, an offset of its Gaussian, and whether the pen
is lifted. A line ends where the window has gone past its text (section 5.3). A line is primed by
real ink (section 5.5): its points are put in first, its text before the text to write.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.config import check_range, check_types
from rnnzoo.handwriting.network import WriterState
from rnnzoo.layers.mixture_density import mixture_of

_DRAWS = 4  # of a point: component, pen, and two normal numbers


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """How ink is sampled.

    Attributes
    ----------
    bias : float
        b of section 5.4: 0 samples what the network believes, more is neater.
    seed : int
        The same seed gives the same ink for the same text.
    max_points_per_character : float
        A line ends after so many points for each of its characters, and 50 more.

    Examples
    --------
    >>> from rnnzoo.handwriting import SamplingOptions
    >>> SamplingOptions(bias=2.0).seed
    0
    """

    bias: float = 0.5
    seed: int = 0
    max_points_per_character: float = 40.0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, bias=(0, 20), seed=(0, 2**63 - 1), max_points_per_character=(1, 10_000))


class Prime(NamedTuple):
    """Ink that leads a line: points [time, 3] in x-heights, and their characters' numbers."""

    points: np.ndarray
    characters: tuple[int, ...]


NO_PRIME = Prime(np.zeros((0, 3), np.float32), ())


class Sampled(NamedTuple):
    """A line of ink: points [time, 3], in x-heights; phi [time, characters], float32, how much
    each character was looked at; and whether the window ended the line, not the bound."""

    points: np.ndarray
    phi: np.ndarray
    finished: bool


class InkSampler:
    """Samples lines with one network; compiled once.

    Parameters
    ----------
    network : keras.Model
        What `build_network` returns, for a network that writes.

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingConfig, InkSampler, SamplingOptions, build_network
    >>> network = build_network(HandwritingConfig(num_symbols=5, hidden_dim=8, num_components=2))
    >>> (line,) = InkSampler(network)([(1, 2, 3)], SamplingOptions(max_points_per_character=5))
    >>> line.points.shape[1], line.phi.shape[1]
    (3, 3)
    """

    def __init__(self, network: keras.Model) -> None:
        self._writer = network.get_layer("writer")
        self._graph: Any = None
        self._lock = threading.Lock()

    def __call__(
        self,
        texts: Sequence[Sequence[int]],
        options: SamplingOptions,
        primes: Sequence[Prime] | None = None,
        seeds: Sequence[Sequence[int]] | None = None,
    ) -> list[Sampled]:
        """Ink for each text.

        Parameters
        ----------
        texts : sequences of the numbers of characters
        options : SamplingOptions
        primes : sequence of Prime, optional
            Of each line.
        seeds : sequences of int, optional
            What the draws of each line depend on, besides `options.seed`.
        """
        if not texts:
            return []
        primes = primes or [NO_PRIME] * len(texts)
        seeds = seeds or [()] * len(texts)
        bounds = [int(options.max_points_per_character * len(text)) + 50 for text in texts]
        leads = [len(prime.points) for prime in primes]
        whole = [(*p.characters, *text) for p, text in zip(primes, texts, strict=True)]
        characters = np.zeros((len(texts), 1 + max(map(len, whole))), np.int32)
        forced = np.zeros((len(texts), 1 + max(leads), 3), np.float32)
        forced[:, 0, 2] = 1.0  # before a line the pen is up
        draws = np.zeros((len(texts), max(bounds), _DRAWS), np.float32)
        for row, (text, prime) in enumerate(zip(whole, primes, strict=True)):
            characters[row, : len(text)] = text
            forced[row, 1 : 1 + len(prime.points)] = prime.points
            rng = np.random.default_rng([options.seed, *seeds[row]])
            draws[row, : bounds[row], :2] = rng.random((bounds[row], 2), np.float32)
            draws[row, : bounds[row], 2:] = rng.standard_normal((bounds[row], 2), np.float32)
        found = self._compiled()(
            *map(
                tf.constant,
                (
                    characters,
                    np.array([len(text) for text in whole], np.int32),
                    forced,
                    np.array(leads, np.int32),
                    draws,
                    np.array(bounds, np.int32),
                    np.float32(options.bias),
                ),
            )
        )
        points, phi, counts, finished = (tensor.numpy() for tensor in found)
        return [
            Sampled(
                points[row, leads[row] : leads[row] + counts[row]],
                phi[
                    row,
                    leads[row] : leads[row] + counts[row],
                    len(primes[row].characters) : len(whole[row]),
                ],
                bool(finished[row]),
            )
            for row in range(len(texts))
        ]

    def _compiled(self) -> Any:
        with self._lock:
            if self._graph is None:
                whole, numbers = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.float32)
                signature = [
                    tf.TensorSpec([None, None], tf.int32),
                    whole,
                    tf.TensorSpec([None, None, 3], tf.float32),
                    whole,
                    tf.TensorSpec([None, None, _DRAWS], tf.float32),
                    whole,
                    numbers,
                ]
                function = tf.function(self._sample, input_signature=signature, autograph=False)
                self._graph = function.get_concrete_function()
            return self._graph

    def _sample(
        self,
        characters: Any,
        lengths: Any,
        forced: Any,
        leads: Any,
        draws: Any,
        bounds: Any,
        bias: Any,
    ) -> tuple[Any, ...]:
        """Points [batch, time, 3] with the primes', phi, the counts of new points, and whether the
        window ended each line."""
        text, width = self._writer.text(characters), tf.shape(characters)[1]
        batch, lead = tf.shape(characters)[0], tf.shape(forced)[1] - 1
        last = tf.reduce_max(leads + bounds)
        behind = tf.one_hot(lengths, width)  # the place behind each text
        within = tf.sequence_mask(lengths, width, tf.float32)
        rows = tf.range(batch)

        def body(
            t: Any, point: Any, done: Any, counts: Any, finished: Any, points: Any, phis: Any,
            *state: Any,
        ) -> tuple[Any, ...]:  # fmt: skip
            y, phi, after = self._writer.step(point, text, tf.nest.pack_sequence_as(start, state))
            new = tf.maximum(0, t - leads)  # the number of the new point of each row
            place = tf.stack([rows, tf.minimum(new, tf.shape(draws)[1] - 1)], -1)
            drawn = self._point(y, tf.gather_nd(draws, place), bias)
            primed = t < leads
            point = tf.where(primed[:, None], forced[:, tf.minimum(t + 1, lead)], drawn)
            past = tf.reduce_sum(phi * behind, -1) > tf.reduce_max(phi * within, -1)
            writes = ~primed & ~done
            counts += tf.cast(writes, tf.int32)
            over = writes & past  # section 5.3
            finished = finished | over
            done = done | over | (writes & (counts >= bounds))
            points, phis = points.write(t, point), phis.write(t, phi)
            return (t + 1, point, done, counts, finished, points, phis,
                    *tf.nest.flatten(after))  # fmt: skip

        start: WriterState = self._writer.initial_state(batch)
        nothing = tf.zeros([batch], tf.bool)
        _, _, _, counts, finished, points, phis, *_ = tf.while_loop(
            lambda t, point, done, *_: (t < last) & ~tf.reduce_all(done),
            body,
            (
                0,
                forced[:, 0],
                nothing,
                tf.zeros([batch], tf.int32),
                nothing,
                tf.TensorArray(tf.float32, last, element_shape=[None, 3]),
                tf.TensorArray(tf.float32, last, element_shape=[None, None]),
                *tf.nest.flatten(start),
            ),
        )
        longest = tf.reduce_max(leads + counts)
        return (
            tf.transpose(points.stack()[:longest], [1, 0, 2]),
            tf.transpose(phis.stack()[:longest], [1, 0, 2]),
            counts,
            finished,
        )

    def _point(self, y: Any, draws: Any, bias: Any) -> Any:
        """A point [batch, 3] in x-heights, of y hat and draws [batch, 4]."""
        mixture = mixture_of(y, bias)
        reached = tf.cumsum(tf.exp(mixture.log_pi), axis=-1)
        chosen = tf.reduce_sum(tf.cast(reached < draws[:, :1] * reached[:, -1:], tf.int32), -1)
        chosen = tf.minimum(chosen, tf.shape(reached)[1] - 1)

        def of_chosen(values: Any) -> Any:
            return tf.gather(values, chosen, batch_dims=1)

        rho = of_chosen(mixture.rho)
        rest = tf.exp(0.5 * of_chosen(mixture.log_one_minus_rho_squared))
        a, b = draws[:, 2], draws[:, 3]
        x = of_chosen(mixture.mu_1) + tf.exp(of_chosen(mixture.log_sigma_1)) * a
        y_ = of_chosen(mixture.mu_2) + tf.exp(of_chosen(mixture.log_sigma_2)) * (rho * a + rest * b)
        lifted = tf.cast(draws[:, 1] < tf.sigmoid(mixture.lift), tf.float32)
        scale = self._writer.config.offset_scale
        return tf.stack([scale * x, scale * y_, lifted], -1)
