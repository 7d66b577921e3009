"""Decoding inside one graph: greedy, beam search, sampling.

The source is encoded once for all hypotheses, which share annotations and keys. A hypothesis
ends at EOS or at its sentence's own limit, so neither padding nor the other sentences of a batch
change a result, and a sentence that is done leaves the batch. Alignments are not carried through
the search: the found hypotheses are run once more by teacher forcing, all steps at once. Each kind
of search is a `Graph` with its loop within, which TensorFlow compiles and onnxruntime runs too;
what else is asked for, the width of the beam among it, goes in as a number.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.config import check_range, check_types
from rnnzoo.export import Axes, Graph, tensor_function
from rnnzoo.layers.int8 import expand_once

if TYPE_CHECKING:
    from rnnzoo.engine import OnnxEngine

_NEVER = -1e9
Tensors = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DecodingOptions:
    """How a translation is searched for.

    Attributes
    ----------
    beam_size : int
        Hypotheses kept at each step; 1 is greedy search.
    num_hypotheses : int
        How many are returned, best first; at most `beam_size` in beam search.
    length_penalty : float
        alpha of GNMT (Wu et al. 2016, equation 14): log P is divided by ((5 + |Y|) / 6) ** alpha.
    coverage_penalty : float
        beta of the same equation: rewards hypotheses whose attention covers every source piece.
        Does nothing in a network without attention.
    max_length_factor, max_length_extra : float, int
        A target has at most factor * (source pieces) + extra pieces, EOS included.
    temperature : float
        0 searches; above it, pieces are sampled from softmax(logits / temperature).
    top_p : float
        Nucleus sampling (Holtzman et al. 2020): only the likeliest pieces that together reach
        `top_p` are sampled from.
    seed : int
        Sampling with the same seed gives the same text for the same input, in any batch.

    Examples
    --------
    >>> from rnnzoo.seq2seq import DecodingOptions
    >>> DecodingOptions(beam_size=10).length_penalty
    0.6
    """

    beam_size: int = 5
    num_hypotheses: int = 1
    length_penalty: float = 0.6
    coverage_penalty: float = 0.0
    max_length_factor: float = 2.0
    max_length_extra: int = 10
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            beam_size=(1, 64),
            num_hypotheses=(1, 64),
            length_penalty=(0, 10),
            coverage_penalty=(0, 10),
            max_length_factor=(0, 10),
            max_length_extra=(1, 1000),
            temperature=(0, 10),
            top_p=(0, 1),
            seed=(0, 2**63 - 1),
        )
        if self.top_p == 0:
            raise ValueError("top_p must be above 0 and at most 1, got 0")
        if 0 < self.temperature < 1e-3:
            raise ValueError(f"temperature must be 0 or at least 0.001, got {self.temperature!r}")
        if self.temperature == 0 and self.num_hypotheses > self.beam_size:
            raise ValueError(
                f"num_hypotheses ({self.num_hypotheses}) must not exceed beam_size "
                f"({self.beam_size}); raise beam_size, or sample with temperature > 0"
            )


class SequenceGenerator:
    """Searches the target sequences of one network; compiled once for each form of search.

    Parameters
    ----------
    network : keras.Model
        What `build_network` returns.
    bos_id, eos_id : int
        Tokens that begin and end a target.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.seq2seq import DecodingOptions, Seq2SeqConfig, SequenceGenerator, build_network
    >>> config = Seq2SeqConfig(vocab_size=9, embedding_dim=4, encoder_dim=4, decoder_dim=4)
    >>> generate = SequenceGenerator(build_network(config), bos_id=2, eos_id=3)
    >>> found = generate(np.array([[4, 5, 3]]), DecodingOptions(num_hypotheses=2))
    >>> found["scores"].shape
    (1, 2)
    """

    def __init__(self, network: keras.Model, bos_id: int, eos_id: int) -> None:
        self.network, self.bos_id, self.eos_id = network, bos_id, eos_id
        names = {layer.name for layer in network.layers}
        self._target_embedding = network.get_layer("target_embedding")
        tied = "source_embedding" not in names
        self._source_embedding = (
            self._target_embedding if tied else network.get_layer("source_embedding")
        )
        self._encoder = network.get_layer("encoder")
        self._decoder = network.get_layer("decoder")
        self._pad_id = self._decoder.config.pad_id
        self._vocab = self._target_embedding.input_dim
        self.graphs = self._describe()
        self._compiled: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(
        self, source: np.ndarray, options: DecodingOptions, engine: OnnxEngine | None = None
    ) -> dict[str, np.ndarray]:
        """Hypotheses of source tokens [batch, source], best first; computed by an engine that holds
        `graphs`, or else by TensorFlow.

        Returns
        -------
        dict
            tokens : [batch, num_hypotheses, target], EOS included, padded;
            log_probs : [batch, num_hypotheses], the sum over the hypothesis' pieces;
            scores : [batch, num_hypotheses], what they are ranked by;
            alignment : [batch, num_hypotheses, target, source], float32.
        """
        limits = self._limits(source, options)
        tensors = {"source_tokens": source, "limits": limits, **dataclasses.asdict(options)}
        if options.temperature > 0:
            tensors["draws"] = self._draws(source, limits, options)
        name = self._graph_of(options)
        if engine is not None:
            return engine.run(name, tensors)
        inputs = self.graphs[name].inputs
        given = (np.asarray(tensors[name], axes.dtype) for name, axes in inputs.items())
        found = self._search_for(options)(*map(tf.convert_to_tensor, given))
        return {name: tensor.numpy() for name, tensor in found.items()}

    def _graph_of(self, options: DecodingOptions) -> str:
        """The name of the graph that searches so."""
        if options.temperature > 0:
            return "sampling"
        if options.beam_size == 1:
            return "greedy_search"
        covers = options.coverage_penalty > 0 and self._decoder.attention is not None
        return "coverage_search" if covers else "beam_search"

    def _search_for(self, options: DecodingOptions) -> Any:
        """The compiled graph of a search; all other options are its inputs."""
        name = self._graph_of(options)
        with self._lock:  # one trace, however many threads ask
            if name not in self._compiled:
                function = tensor_function(self.graphs[name])
                self._compiled[name] = function.get_concrete_function()
            return self._compiled[name]

    def _limits(self, source: np.ndarray, options: DecodingOptions) -> np.ndarray:
        lengths = (source != self._pad_id).sum(1)
        limits = np.floor(options.max_length_factor * lengths) + options.max_length_extra
        return limits.astype(np.int32)

    def _draws(
        self, source: np.ndarray, limits: np.ndarray, options: DecodingOptions
    ) -> np.ndarray:
        """Uniform numbers [batch, hypotheses, steps]; a row's depend on its tokens alone."""
        draws = np.zeros((len(source), options.num_hypotheses, int(limits.max())), np.float32)
        for row, tokens, limit in zip(draws, source, limits, strict=True):
            words = [int(token) for token in tokens[tokens != self._pad_id]]
            rng = np.random.default_rng([options.seed, *words])
            row[:, :limit] = rng.random((limit, options.num_hypotheses), np.float32).T
        return draws

    def _describe(self) -> dict[str, Graph]:
        """A graph for each kind of search."""

        def graph(search: Callable[[Tensors, Tensors], Tensors], **besides: Axes) -> Graph:
            def call(tensors: Tensors) -> Tensors:
                with expand_once():
                    start = self._encode(tensors["source_tokens"])
                    found = search(start, tensors)
                    return {**found, "alignment": self._align(start, found["tokens"])}

            return Graph(call, {**inputs, **besides}, outputs)

        count, number = Axes("int32", ()), Axes("float32", ())
        inputs = {
            "source_tokens": Axes("int32", ("batch", "source")),
            "limits": Axes("int32", ("batch",)),
            "length_penalty": number,
        }
        each = ("batch", "hypotheses")
        outputs = {
            "tokens": Axes("int32", (*each, "target")),
            "log_probs": Axes("float32", each),
            "scores": Axes("float32", each),
            "alignment": Axes("float32", (*each, "target", "source")),
        }
        draws = Axes("float32", (*each, "steps"))
        sizes = {"beam_size": count, "num_hypotheses": count}
        return {
            "greedy_search": graph(self._sample),
            "sampling": graph(self._sample, draws=draws, temperature=number, top_p=number),
            "beam_search": graph(self._beam_search, **sizes),
            "coverage_search": graph(self._beam_search, **sizes, coverage_penalty=number),
        }

    # --- the network, step by step ---------------------------------------------------------

    def _encode(self, source: Any) -> Tensors:
        mask = tf.not_equal(source, self._pad_id)
        annotations, states = self._encoder(self._source_embedding(source), mask=mask)
        return {
            "annotations": annotations,
            "keys": self._decoder.keys(annotations),
            "mask": mask,
            "state": self._decoder.initial_state(states),
        }

    def _seen(self, start: Tensors) -> Tensors:
        """What every step looks at, a row for each sentence."""
        seen = {name: start[name] for name in ("annotations", "keys", "mask")}
        if self._decoder.attention is None:  # only the shape is looked at
            seen["annotations"] = seen["annotations"][:, :, :1]
        return seen

    def _step(self, tokens: Any, state: list[Any], seen: Tensors) -> tuple[Any, Any, list[Any]]:
        """Logits [batch * hypotheses, vocab] in float32, alignment, next state."""
        readout, alignment, state = self._decoder.step(
            self._target_embedding(tokens), state, seen["annotations"], seen["keys"], seen["mask"]
        )
        flat = tf.reshape(readout, [-1, readout.shape[-1]])  # one product for the whole batch
        logits = tf.cast(self._target_embedding(flat, reverse=True), tf.float32)
        banned = np.zeros(self._vocab, np.float32)
        banned[[self._pad_id, self.bos_id]] = _NEVER
        return tf.nn.bias_add(logits, banned), alignment, state

    def _align(self, start: Tensors, tokens: Any) -> Any:
        """Alignments of hypotheses [batch, hypotheses, target] by teacher forcing."""
        hypotheses = tf.shape(tokens)[1]
        flat = tf.reshape(tokens, [-1, tf.shape(tokens)[2]])
        begin = tf.fill([tf.shape(flat)[0], 1], self.bos_id)
        shifted = tf.concat([begin, flat[:, :-1]], 1)
        repeated = {
            name: tf.repeat(start[name], hypotheses, axis=0) for name in ("annotations", "mask")
        }
        states = [tf.repeat(part, hypotheses, axis=0) for part in start["state"]]
        _, alignment = self._decoder.teacher_forcing(
            self._target_embedding(shifted), repeated["annotations"], repeated["mask"], states
        )
        real = tf.cast(tf.not_equal(flat, self._pad_id), tf.float32)
        alignment *= real[:, :, None]
        shape = tf.shape(alignment)
        return tf.reshape(alignment, [-1, hypotheses, shape[1], shape[2]])

    # --- greedy search and sampling --------------------------------------------------------

    def _sample(self, start: Tensors, asked: Tensors) -> Tensors:
        """One path for each hypothesis: the likeliest piece, or one drawn by inverse CDF."""
        draws, limits = asked.get("draws"), asked["limits"]
        count = 1 if draws is None else tf.shape(draws)[1]
        batch, longest = tf.shape(limits)[0], tf.reduce_max(limits)
        others = np.full(self._vocab, _NEVER, np.float32)
        others[self.eos_id] = 0.0

        def choose(log_probs: Any, step: Any, rows: Any, at_limit: Any) -> Any:
            if draws is None:
                chosen = tf.argmax(log_probs, -1, output_type=tf.int32)
                return tf.where(at_limit[:, None], self.eos_id, chosen)
            log_probs += tf.cast(at_limit, tf.float32)[:, None, None] * others
            probs = tf.nn.softmax(log_probs / asked["temperature"])
            ordered, ids = tf.math.top_k(probs, probs.shape[-1])
            before = tf.cumsum(ordered, axis=-1, exclusive=True)
            kept = tf.where(before < asked["top_p"], ordered, 0.0)
            reached = tf.cumsum(kept, axis=-1)
            mark = tf.gather(draws[:, :, step], rows)[..., None] * reached[..., -1:]
            place = tf.reduce_sum(tf.cast(reached <= mark, tf.int32), -1)
            last = tf.reduce_sum(tf.cast(kept > 0, tf.int32), -1) - 1
            return tf.gather(ids, tf.minimum(place, last), batch_dims=2)

        def body(
            step: Any,
            rows: Any,
            last: Any,
            done: Any,
            state: Any,
            seen: Any,
            total: Any,
            tokens: Any,
        ) -> tuple[Any, ...]:
            logits, _, state = self._step(last, state, seen)
            log_probs = tf.reshape(tf.nn.log_softmax(logits), [-1, count, self._vocab])
            chosen = choose(log_probs, step, rows, step + 1 >= tf.gather(limits, rows))
            gained = tf.gather(log_probs, chosen, batch_dims=2)
            gained = tf.gather(total, rows) + tf.where(done, 0.0, gained)
            total = tf.tensor_scatter_nd_update(total, rows[:, None], gained)
            chosen = tf.where(done, self._pad_id, chosen)
            column = tf.fill([batch, count], self._pad_id)
            column = tf.tensor_scatter_nd_update(column, rows[:, None], chosen)
            tokens = tf.concat([tokens, column[:, :, None]], 2)
            done = tf.logical_or(done, chosen == self.eos_id)
            left = _indices(tf.logical_not(tf.reduce_all(done, 1)))
            rows, chosen, done, state, seen = tf.nest.map_structure(
                lambda part: tf.gather(part, left), (rows, chosen, done, state, seen)
            )
            return step + 1, rows, chosen, done, state, seen, total, tokens

        begin = (
            0,
            tf.range(batch),
            tf.fill([batch, count], self.bos_id),
            tf.zeros([batch, count], tf.bool),
            [tf.repeat(part[:, None], count, axis=1) for part in start["state"]],
            self._seen(start),
            tf.zeros([batch, count]),
            tf.zeros([batch, count, 0], tf.int32),
        )
        *_, total, tokens = tf.while_loop(
            lambda step, rows, *_: tf.logical_and(step < longest, tf.size(rows) > 0),
            body,
            begin,
            shape_invariants=_open(begin),
        )
        lengths = tf.reduce_sum(tf.cast(tokens != self._pad_id, tf.float32), -1)
        scores = total / _length_penalty(lengths, asked)
        _, order = tf.math.top_k(scores, tf.shape(scores)[1])
        ranked = [tf.gather(part, order, batch_dims=1) for part in (tokens, total, scores)]
        return dict(zip(("tokens", "log_probs", "scores"), ranked, strict=True))

    # --- beam search -----------------------------------------------------------------------

    def _beam_search(self, start: Tensors, asked: Tensors) -> Tensors:
        """GNMT's beam search (Wu et al. 2016, section 7).

        Alive and finished hypotheses are kept apart: `beam_size` and `num_hypotheses` of them. A
        sentence is done when no alive one, however it goes on, can beat the worst finished one; the
        steps that follow are made without it.
        """
        limits, beam, keep = asked["limits"], asked["beam_size"], asked["num_hypotheses"]
        batch, longest = tf.shape(limits)[0], tf.reduce_max(limits)
        covers = "coverage_penalty" in asked
        # of each hypothesis: one of them may be EOS
        width = tf.minimum(beam + 1, self._vocab)

        def penalised(total: Any, length: Any, coverage: Any, mask: Any) -> Any:
            score = total / _length_penalty(length, asked)
            if covers:
                covered = tf.math.log(tf.clip_by_value(coverage, 1e-9, 1.0))
                covered = tf.where(mask[:, None, :], covered, 0.0)
                score += asked["coverage_penalty"] * tf.reduce_sum(covered, -1)
            return score

        def body(
            step: Any, rows: Any, alive: Any, state: Any, seen: Any, finished: Any
        ) -> tuple[Any, ...]:
            history, count = alive["tokens"], tf.size(rows)
            logits, alignment, state = self._step(history[:, :, -1], state, seen)
            log_probs = tf.nn.log_softmax(logits)
            coverage = alive["coverage"] + alignment if covers else None
            at_limit = step + 1 >= alive["limits"]

            ended = alive["log_probs"] + tf.reshape(log_probs[:, self.eos_id], [-1, beam])
            score = penalised(ended, step + 1, coverage, seen["mask"])
            candidates = {
                "tokens": tf.concat([history, tf.fill([count, beam, 1], self.eos_id)], 2),
                "log_probs": ended,
                "scores": tf.where(ended > _NEVER / 2, score, _NEVER),
            }
            pad = tf.fill([batch, keep, 1], self._pad_id)
            finished = {**finished, "tokens": tf.concat([finished["tokens"], pad], 2)}
            merged = {
                name: tf.concat([tf.gather(finished[name], rows), candidates[name]], 1)
                for name in candidates
            }
            scores, order = tf.math.top_k(merged["scores"], keep)
            best = {name: tf.gather(merged[name], order, batch_dims=1) for name in merged}
            finished = {
                name: tf.tensor_scatter_nd_update(finished[name], rows[:, None], best[name])
                for name in best
            }

            gained, ids = tf.math.top_k(log_probs, width)
            totals = tf.reshape(alive["log_probs"], [-1, 1]) + gained
            ids, totals = (tf.reshape(part, [-1, beam * width]) for part in (ids, totals))
            stuck = tf.logical_or(ids == self.eos_id, at_limit[:, None])
            going, place = tf.math.top_k(totals + tf.where(stuck, _NEVER, 0.0), beam)
            going = tf.maximum(going, _NEVER)
            parent, token = place // width, tf.gather(ids, place, batch_dims=1)

            beaten = tf.reduce_max(going / alive["best_penalty"], 1) <= scores[:, -1]
            left = _indices(tf.logical_not(tf.logical_or(beaten, at_limit)))
            parent = tf.gather(parent + beam * tf.range(count)[:, None], left)

            def of_parents(part: Any) -> Any:
                """The rows that are left, each hypothesis that of its parent."""
                size = part.shape[-1] or tf.shape(part)[-1]
                chosen = tf.gather(tf.reshape(part, [-1, size]), tf.reshape(parent, [-1]))
                return tf.reshape(chosen, [-1, beam, size])

            token = tf.gather(token, left)[:, :, None]
            after = {
                "tokens": tf.concat([of_parents(history), token], 2),
                "log_probs": tf.gather(going, left),
                "limits": tf.gather(alive["limits"], left),
                "best_penalty": tf.gather(alive["best_penalty"], left),
            }
            if covers:
                after["coverage"] = of_parents(coverage)
            state = [of_parents(part) for part in state]
            seen = {name: tf.gather(part, left) for name, part in seen.items()}
            return step + 1, tf.gather(rows, left), after, state, seen, finished

        first = tf.one_hot(0, beam, on_value=0.0, off_value=_NEVER)
        alive = {
            "tokens": tf.fill([batch, beam, 1], self.bos_id),
            "log_probs": tf.repeat(first[None], batch, axis=0),
            "limits": limits,
            "best_penalty": _length_penalty(limits, asked)[:, None],
        }
        if covers:
            alive["coverage"] = tf.zeros([batch, beam, tf.shape(start["mask"])[1]])
        finished = {
            "tokens": tf.fill([batch, keep, 1], self.bos_id),
            "log_probs": tf.fill([batch, keep], _NEVER),
            "scores": tf.fill([batch, keep], _NEVER),
        }
        state = [tf.repeat(part[:, None], beam, axis=1) for part in start["state"]]
        begin = (0, tf.range(batch), alive, state, self._seen(start), finished)
        *_, finished = tf.while_loop(
            lambda step, rows, *_: tf.logical_and(step < longest, tf.size(rows) > 0),
            body,
            begin,
            shape_invariants=_open(begin),
        )
        return {**finished, "tokens": finished["tokens"][:, :, 1:]}


def _length_penalty(length: Any, asked: Tensors) -> Any:
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** asked["length_penalty"]


def _indices(chosen: Any) -> Any:
    """Numbers of the rows that are chosen, of [rows], bool."""
    return tf.cast(tf.where(chosen)[:, 0], tf.int32)


def _open(begin: Any) -> Any:
    """Shapes of a loop's tensors that leave all sizes open but that of the features."""

    def shape(part: Any) -> Any:
        rank = len(part.shape) if hasattr(part, "shape") else 0
        features = part.shape[-1] if rank == 3 and part.dtype.is_floating else None
        return tf.TensorShape([None] * (rank - 1) + [features] * (rank > 0))

    return tf.nest.map_structure(shape, begin)
