"""Sampling ink inside one compiled graph, many lines at once.

Points come one by one: a component of the mixture, an offset of its Gaussian, and whether the pen
is lifted. A line ends where the pen is lifted, the window has gone past the text, and the next
stroke would not go back over what is written, as a t's cross does: by section 5.3 it ends at once,
which cuts the last letter, whose end the window does not wait for. A line is primed by real ink
(section 5.5): its points are put in first, its text before the text to write.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.config import check_range, check_types
from rnnzoo.export import Axes, Graph, tensor_function
from rnnzoo.layers.int8 import expand_once
from rnnzoo.layers.mixture_density import mixture_of

if TYPE_CHECKING:
    from rnnzoo.engine import OnnxEngine

_DRAWS = 4  # of a point: component, pen, and two normal numbers
# behind the window's end: no stroke goes back over the text after so many, no line has more
_LATE_POINTS, _LAST_POINTS = 20, 60


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


@dataclasses.dataclass(frozen=True)
class PredictionOptions:
    """How ink is sampled without a text.

    Attributes
    ----------
    bias : float
        b of section 5.4: 0 samples what the network believes, more is neater.
    seed : int
        The same seed gives the same ink.
    num_points : int
        How many points a line gets.

    Examples
    --------
    >>> from rnnzoo.handwriting import PredictionOptions
    >>> PredictionOptions(num_points=300).bias
    0.0
    """

    bias: float = 0.0
    seed: int = 0
    num_points: int = 700

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, bias=(0, 20), seed=(0, 2**63 - 1), num_points=(1, 100_000))


class Prime(NamedTuple):
    """Ink that leads a line: points [time, 3] in x-heights, and their characters' numbers."""

    points: np.ndarray
    characters: tuple[int, ...]


NO_PRIME = Prime(np.zeros((0, 3), np.float32), ())


class Sampled(NamedTuple):
    """A line of ink: points [time, 3], in x-heights; phi [time, characters], float32, how much
    each character was looked at, those of the prime first; and whether the line ended behind its
    text, not at its bound."""

    points: np.ndarray
    phi: np.ndarray
    finished: bool


class _Asked(NamedTuple):
    """What is asked of the graph, as arrays; `steps` is enough for all lines."""

    characters: np.ndarray
    lengths: np.ndarray
    forced: np.ndarray
    leads: np.ndarray
    draws: np.ndarray
    bounds: np.ndarray
    bias: np.float32
    steps: int

    def of(self, rows: np.ndarray) -> _Asked:
        """Of some lines."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields[:-2]})


class _Loop(NamedTuple):
    """Where the graph is: the number of the point, and of each line the point, whether it is done,
    its counts of new points and of those behind the window's end, how far left of its right edge
    the pen is, whether it ended behind its text, and the network's state, flat."""

    t: Any
    point: Any
    done: Any
    counts: Any
    behind: Any
    room: Any
    finished: Any
    state: tuple[Any, ...]

    def of(self, rows: np.ndarray) -> _Loop:
        """Of some lines."""
        parts = (part[rows] for part in self[1:-1])
        return _Loop._make([self.t, *parts, tuple(part[rows] for part in self.state)])


_FIXED = len(_Loop._fields) - 1  # parts of the loop besides the state
_GRAPH = "sampling"


def _asked(
    texts: Sequence[Sequence[int]],
    options: SamplingOptions | PredictionOptions,
    primes: Sequence[Prime],
    seeds: Sequence[Sequence[int]],
) -> _Asked:
    """Texts, primes and draws of lines, padded."""
    if isinstance(options, PredictionOptions):
        bounds = [options.num_points] * len(texts)
    else:
        bounds = [int(options.max_points_per_character * len(text)) + 50 for text in texts]
    leads = [len(prime.points) for prime in primes]
    whole = [(*prime.characters, *text) for prime, text in zip(primes, texts, strict=True)]
    characters = np.zeros((len(texts), 1 + max(map(len, whole))), np.int32)
    forced = np.zeros((len(texts), 1 + max(leads), 3), np.float32)
    forced[:, 0, 2] = 1.0  # before a line the pen is up
    draws = np.zeros((len(texts), max(bounds), _DRAWS), np.float32)
    for row, (text, prime) in enumerate(zip(whole, primes, strict=True)):
        characters[row, : len(text)] = text
        forced[row, 1 : 1 + len(prime.points)] = prime.points
        # two generators: a line's draws are the same whatever its bound
        even, normal = (np.random.default_rng([kind, options.seed, *seeds[row]]) for kind in (0, 1))
        draws[row, : bounds[row], :2] = even.random((bounds[row], 2), np.float32)
        draws[row, : bounds[row], 2:] = normal.standard_normal((bounds[row], 2), np.float32)
    return _Asked(
        characters,
        np.array([len(text) for text in whole], np.int32),
        forced,
        np.array(leads, np.int32),
        draws,
        np.array(bounds, np.int32),
        np.float32(options.bias),
        max(lead + bound for lead, bound in zip(leads, bounds, strict=True)),
    )


class InkSampler:
    """Samples lines with one network; compiled once.

    Parameters
    ----------
    network : keras.Model
        What `build_network` returns. Of one without text, texts are empty, and a line ends at its
        bound alone.

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
        self.graphs = {_GRAPH: self._describe()}
        self._graph: Any = None
        self._lock = threading.Lock()

    def __call__(
        self,
        texts: Sequence[Sequence[int]],
        options: SamplingOptions | PredictionOptions,
        primes: Sequence[Prime] | None = None,
        seeds: Sequence[Sequence[int]] | None = None,
        engine: OnnxEngine | None = None,
    ) -> list[Sampled]:
        """Ink for each text.

        Parameters
        ----------
        texts : sequences of the numbers of characters
        options : SamplingOptions or PredictionOptions
        primes : sequence of Prime, optional
            Of each line.
        seeds : sequences of int, optional
            What the draws of each line depend on, besides `options.seed`.
        engine : OnnxEngine, optional
            Of one that holds `graphs`; TensorFlow by default.
        """
        if not texts:
            return []
        primes = primes or [NO_PRIME] * len(texts)
        seeds = seeds or [()] * len(texts)
        asked = _asked(texts, options, primes, seeds)
        found: dict[int, Sampled] = {}
        loop, rows = self._begin(asked), np.arange(len(texts))
        points = np.zeros((len(rows), asked.steps, 3), np.float32)
        phi = np.zeros((len(rows), asked.steps, asked.characters.shape[1]), np.float32)
        while len(rows):
            begin = int(loop.t)
            loop, *made = self._go_on(asked, asked.steps, loop, engine, fewest=len(rows) // 2)
            points[rows, begin : loop.t], phi[rows, begin : loop.t] = made
            for place in np.flatnonzero(loop.done):
                row, lead = int(rows[place]), asked.leads[place]
                own = slice(lead, lead + loop.counts[place])
                looked = phi[row, own, : asked.lengths[place]]
                found[row] = Sampled(points[row, own], looked, bool(loop.finished[place]))
            left = np.flatnonzero(~loop.done)
            rows, asked, loop = rows[left], asked.of(left), loop.of(left)
        return [found[row] for row in range(len(texts))]

    def stream(
        self,
        text: Sequence[int],
        options: SamplingOptions,
        prime: Prime = NO_PRIME,
        seed: Sequence[int] = (),
        at_once: int = 16,
        engine: OnnxEngine | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """A point [3] and phi [characters] after the other as they come, `at_once` computed at a
        time; the same as those of a call."""
        asked = _asked([text], options, [prime], [seed])
        loop, lead = self._begin(asked), len(prime.points)
        if lead:
            loop, *_ = self._go_on(asked, lead, loop, engine)
        told = 0
        while not loop.done.all():
            loop, points, phi = self._go_on(asked, int(loop.t) + at_once, loop, engine)
            new = int(loop.counts[0]) - told
            told += new
            yield from zip(points[0, :new], phi[0, :new, : asked.lengths[0]], strict=True)

    def _begin(self, asked: _Asked) -> _Loop:
        batch = len(asked.characters)
        nothing, counts = np.zeros(batch, bool), np.zeros(batch, np.int32)
        room, begin = np.zeros(batch, np.float32), asked.forced[:, 0]
        state = tuple(part.numpy() for part in tf.nest.flatten(self._writer.initial_state(batch)))
        return _Loop(np.int32(0), begin, nothing, counts, counts, room, nothing, state)

    def _go_on(
        self, asked: _Asked, until: int, loop: _Loop, engine: OnnxEngine | None, fewest: int = 0
    ) -> tuple[_Loop, np.ndarray, np.ndarray]:
        """The loop at point `until`, or where only the `fewest` lines are not done; points and phi
        since `loop`."""
        graph = self.graphs[_GRAPH]
        given = (*asked[:-1], np.int32(until), np.int32(fewest), *loop[:-1], *loop.state)
        tensors = dict(zip(graph.inputs, given, strict=True))
        if engine is not None:
            found = engine.run(_GRAPH, tensors)
        else:
            out = self._compiled()(*map(tf.convert_to_tensor, given))
            found = {name: tensor.numpy() for name, tensor in out.items()}
        points, phi, *after = (found[name] for name in graph.outputs)
        return _Loop._make([*after[:_FIXED], tuple(after[_FIXED:])]), points, phi

    def _compiled(self) -> Any:
        with self._lock:
            if self._graph is None:
                self._graph = tensor_function(self.graphs[_GRAPH]).get_concrete_function()
            return self._graph

    def _describe(self) -> Graph:
        """The graph that samples, from a loop to the loop."""
        lines, truths = Axes("int32", ("batch",)), Axes("bool", ("batch",))
        whole = Axes("int32", ())
        state = {
            f"state_{n}": Axes(part.dtype.name, ("batch", part.shape[1]))
            for n, part in enumerate(tf.nest.flatten(self._writer.initial_state(1)))
        }
        asked = {
            "characters": Axes("int32", ("batch", "width")),
            "lengths": lines,
            "forced": Axes("float32", ("batch", "lead", 3)),
            "leads": lines,
            "draws": Axes("float32", ("batch", "bound", _DRAWS)),
            "bounds": lines,
            "bias": Axes("float32", ()),
            "until": whole,
            "fewest": whole,
        }
        found = {
            "points": Axes("float32", ("batch", "time", 3)),
            "phi": Axes("float32", ("batch", "time", "width")),
        }
        loop = {
            "t": whole,
            "point": Axes("float32", ("batch", 3)),
            "done": truths,
            "counts": lines,
            "behind": lines,
            "room": Axes("float32", ("batch",)),
            "finished": truths,
            **state,
        }

        def call(tensors: dict[str, Any]) -> dict[str, Any]:
            with expand_once():
                points, phi, *after = self._run(
                    *(tensors[name] for name in asked), *(tensors[name] for name in loop)
                )
            names = (f"next_{name}" for name in loop)
            return {"points": points, "phi": phi, **dict(zip(names, after, strict=True))}

        return Graph(call, asked, found).with_state(loop)

    def _run(
        self,
        characters: Any,
        lengths: Any,
        forced: Any,
        leads: Any,
        draws: Any,
        bounds: Any,
        bias: Any,
        until: Any,
        fewest: Any,
        *loop: Any,
    ) -> tuple[Any, ...]:
        writes, width = self._writer.config.writes, tf.shape(characters)[1]
        text = self._writer.text(characters) if writes else None
        kernels = self._writer.kernels()
        last, rows = tf.shape(forced)[1] - 1, tf.range(tf.shape(characters)[0])
        end = tf.one_hot(lengths, width)  # the place behind each text
        within = tf.sequence_mask(lengths, width, tf.float32)
        shape = self._writer.initial_state(1)  # of the state
        steps = until - loop[0]

        def body(step: Any, points: Any, phis: Any, *loop: Any) -> tuple[Any, ...]:
            now = _Loop._make([*loop[:_FIXED], loop[_FIXED:]])
            state = tf.nest.pack_sequence_as(shape, now.state)
            y, phi, after = self._writer.step(now.point, text, state, kernels)
            new = tf.clip_by_value(now.t - leads, 0, tf.shape(draws)[1] - 1)
            drawn = self._point(y, tf.gather_nd(draws, tf.stack([rows, new], -1)), bias)
            primed = now.t < leads
            point = tf.where(primed[:, None], forced[:, tf.minimum(now.t + 1, last)], drawn)
            goes_on = ~primed & ~now.done
            behind, finished = now.behind, now.finished
            if phi is None:
                phi = tf.zeros_like(within)
            else:
                past = tf.reduce_sum(phi * end, -1) > tf.reduce_max(phi * within, -1)
                behind += tf.cast(goes_on & (past | (behind > 0)), tf.int32)
                lifted = (now.counts > 0) & (now.point[:, 2] > 0.5)
                goes_back = (point[:, 0] < now.room) & (behind < _LATE_POINTS)
                # before the point that was drawn
                ended = goes_on & (behind > 0) & lifted & ~goes_back
                goes_on, finished = goes_on & ~ended, finished | ended
            counts = now.counts + tf.cast(goes_on, tf.int32)
            room = tf.maximum(now.room - point[:, 0], 0.0)
            full = (counts >= bounds) | (behind >= _LAST_POINTS)
            done = now.done | finished | (goes_on & full)
            return (
                step + 1,
                points.write(step, point),
                phis.write(step, phi),
                now.t + 1,
                point,
                done,
                counts,
                behind,
                room,
                finished,
                *tf.nest.flatten(after),
            )

        def goes_on(step: Any, points: Any, phis: Any, *loop: Any) -> Any:
            left = tf.reduce_sum(tf.cast(~loop[_Loop._fields.index("done")], tf.int32))
            return (step < steps) & (left > fewest)

        made, points, phis, *found = tf.while_loop(
            goes_on,
            body,
            (
                0,
                tf.TensorArray(tf.float32, steps, element_shape=[None, 3]),
                tf.TensorArray(tf.float32, steps, element_shape=[None, None]),
                *loop,
            ),
        )
        sampled = (tf.transpose(x.stack()[:made], [1, 0, 2]) for x in (points, phis))
        return (*sampled, *found)

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
