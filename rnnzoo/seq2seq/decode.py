"""Decoding inside one compiled graph: greedy, beam search, sampling.

The source is encoded once for all hypotheses, which share annotations and keys. A hypothesis
ends at EOS or at its sentence's own limit, so neither padding nor the other sentences of a batch
change a result. Alignments are not carried through the search: the found hypotheses are run once
more by teacher forcing, all steps at once.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.config import check_range, check_types
from rnnzoo.layers.int8 import expand_once

_NEVER = -1e9
_MAX_COMPILED = 16
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


class _Form(NamedTuple):
    """What the graph of a search is made for."""

    samples: bool
    beam: int
    keep: int
    covers: bool

    @classmethod
    def of(cls, options: DecodingOptions) -> Self:
        samples = options.temperature > 0
        return cls(
            samples,
            1 if samples else options.beam_size,
            options.num_hypotheses,
            options.coverage_penalty > 0,
        )


class _Numbers(NamedTuple):
    """What goes into the graph as numbers."""

    temperature: Any
    top_p: Any
    length_penalty: Any
    coverage_penalty: Any

    @classmethod
    def of(cls, options: DecodingOptions) -> np.ndarray:
        return np.array([getattr(options, name) for name in cls._fields], np.float32)


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
        self._compiled: dict[_Form, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, source: np.ndarray, options: DecodingOptions) -> dict[str, np.ndarray]:
        """Hypotheses of source tokens [batch, source], best first.

        Returns
        -------
        dict
            tokens : [batch, num_hypotheses, target], EOS included, padded;
            log_probs : [batch, num_hypotheses], the sum over the hypothesis' pieces;
            scores : [batch, num_hypotheses], what they are ranked by;
            alignment : [batch, num_hypotheses, target, source], float32.
        """
        limits = self._limits(source, options)
        arguments = [source.astype(np.int32), limits, _Numbers.of(options)]
        if options.temperature > 0:
            arguments.append(self._draws(source, limits, options))
        found = self._search_for(options)(*map(tf.convert_to_tensor, arguments))
        return {name: tensor.numpy() for name, tensor in found.items()}

    def _search_for(self, options: DecodingOptions) -> Any:
        """The compiled search of a form; all other options are inputs of its graph."""
        form = _Form.of(options)
        with self._lock:  # one trace, however many threads ask
            if form not in self._compiled:
                if len(self._compiled) >= _MAX_COMPILED:
                    self._compiled.pop(next(iter(self._compiled)))
                self._compiled[form] = self._compile(form)
            return self._compiled[form]

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

    def _compile(self, form: _Form) -> Any:
        signature = [
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([len(_Numbers._fields)], tf.float32),
        ]
        if form.samples:
            signature.append(tf.TensorSpec([None, form.keep, None], tf.float32))

        def run(source: Any, limits: Any, numbers: Any, draws: Any = None) -> Tensors:
            with expand_once():
                start, values = self._encode(source), _Numbers(*tf.unstack(numbers))
                if form.samples or form.beam == 1:
                    found = self._sample(start, limits, draws, form, values)
                else:
                    found = self._beam_search(start, limits, form, values)
                return {**found, "alignment": self._align(start, found["tokens"])}

        function = tf.function(run, input_signature=signature, autograph=False)
        return function.get_concrete_function()

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

    def _step(self, tokens: Any, state: list[Any], start: Tensors) -> tuple[Any, Any, list[Any]]:
        """Logits [batch, hypotheses, vocab] in float32, alignment, next state."""
        readout, alignment, state = self._decoder.step(
            self._target_embedding(tokens),
            state,
            start["annotations"],
            start["keys"],
            start["mask"],
        )
        logits = tf.cast(self._target_embedding(readout, reverse=True), tf.float32)
        return self._without_pad(logits), alignment, state

    def _without_pad(self, logits: Any) -> Any:
        """Logits that can choose neither padding nor BOS."""
        vocab = logits.shape[-1]
        banned = tf.one_hot([self._pad_id, self.bos_id], vocab, on_value=_NEVER)
        return logits + tf.reduce_sum(banned, 0)

    def _only_eos(self, scores: Any, step: Any, limits: Any) -> Any:
        """Scores in which a hypothesis at its last allowed step can only end."""
        vocab = scores.shape[-1]
        others = tf.one_hot(self.eos_id, vocab, on_value=0.0, off_value=_NEVER)
        at_limit = tf.cast(step + 1 >= limits, tf.float32)
        return scores + at_limit[:, None, None] * others

    def _align(self, start: Tensors, tokens: Any) -> Any:
        """Alignments of hypotheses [batch, hypotheses, target] by teacher forcing."""
        hypotheses = tokens.shape[1]
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

    def _sample(
        self, start: Tensors, limits: Any, draws: Any, form: _Form, numbers: _Numbers
    ) -> Tensors:
        """One path for each hypothesis: the likeliest piece, or one drawn by inverse CDF."""
        count = form.keep if form.samples else 1
        batch, longest = tf.shape(limits)[0], tf.reduce_max(limits)

        def choose(log_probs: Any, step: Any) -> Any:
            if draws is None:
                return tf.argmax(log_probs, -1, output_type=tf.int32)
            probs = tf.nn.softmax(log_probs / numbers.temperature)
            ordered, ids = tf.math.top_k(probs, probs.shape[-1])
            before = tf.cumsum(ordered, axis=-1, exclusive=True)
            kept = tf.where(before < numbers.top_p, ordered, 0.0)
            reached = tf.cumsum(kept, axis=-1)
            mark = draws[:, :, step, None] * reached[..., -1:]
            place = tf.reduce_sum(tf.cast(reached <= mark, tf.int32), -1)
            last = tf.reduce_sum(tf.cast(kept > 0, tf.int32), -1) - 1
            return tf.gather(ids, tf.minimum(place, last), batch_dims=2)

        def body(
            step: Any, last: Any, state: Any, total: Any, done: Any, written: Any
        ) -> tuple[Any, ...]:
            logits, _, state = self._step(last, state, start)
            log_probs = tf.nn.log_softmax(logits)
            chosen = choose(self._only_eos(log_probs, step, limits), step)
            gained = tf.gather(log_probs, chosen, batch_dims=2)
            total += tf.where(done, 0.0, gained)
            chosen = tf.where(done, self._pad_id, chosen)
            written = written.write(step, chosen)
            done = tf.logical_or(done, chosen == self.eos_id)
            return step + 1, chosen, state, total, done, written

        state = [tf.repeat(part[:, None], count, axis=1) for part in start["state"]]
        steps, _, _, total, _, written = tf.while_loop(
            lambda step, last, state, total, done, written: tf.logical_and(
                step < longest, tf.logical_not(tf.reduce_all(done))
            ),
            body,
            (
                0,
                tf.fill([batch, count], self.bos_id),
                state,
                tf.zeros([batch, count]),
                tf.zeros([batch, count], tf.bool),
                tf.TensorArray(tf.int32, longest, element_shape=[None, count]),
            ),
        )
        tokens = tf.transpose(written.stack()[:steps], [1, 2, 0])
        lengths = tf.reduce_sum(tf.cast(tokens != self._pad_id, tf.float32), -1)
        scores = total / self._length_penalty(lengths, numbers)
        order = tf.argsort(scores, direction="DESCENDING", stable=True)
        ranked = [tf.gather(part, order, batch_dims=1) for part in (tokens, total, scores)]
        return dict(zip(("tokens", "log_probs", "scores"), ranked, strict=True))

    @staticmethod
    def _length_penalty(length: Any, numbers: _Numbers) -> Any:
        return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** numbers.length_penalty

    # --- beam search -----------------------------------------------------------------------

    def _beam_search(self, start: Tensors, limits: Any, form: _Form, numbers: _Numbers) -> Tensors:
        """GNMT's beam search (Wu et al. 2016, section 7).

        Alive and finished hypotheses are kept apart: `beam_size` and `num_hypotheses` of them. A
        sentence is done when no alive one, however it goes on, can beat the worst finished one.
        """
        beam, keep = form.beam, form.keep
        batch, longest = tf.shape(limits)[0], tf.reduce_max(limits)
        vocab = self._target_embedding.input_dim
        best_penalty = self._length_penalty(limits, numbers)[:, None]

        def penalised(total: Any, length: Any, coverage: Any) -> Any:
            score = total / self._length_penalty(length, numbers)
            if form.covers and self._decoder.attention is not None:
                covered = tf.math.log(tf.clip_by_value(coverage, 1e-9, 1.0))
                covered = tf.where(start["mask"][:, None, :], covered, 0.0)
                score += numbers.coverage_penalty * tf.reduce_sum(covered, -1)
            return score

        def body(step: Any, alive: Any, state: Any, finished: Any) -> tuple[Any, ...]:
            last = alive["tokens"][:, :, -1]
            logits, alignment, state = self._step(last, state, start)
            log_probs = self._only_eos(tf.nn.log_softmax(logits), step, limits)
            coverage = alive["coverage"] + alignment
            totals = alive["log_probs"][:, :, None] + log_probs

            ended = totals[:, :, self.eos_id]
            score = penalised(ended, step + 1, coverage)
            score = tf.where(ended > _NEVER / 2, score, _NEVER)
            eos = tf.fill([batch, beam, 1], self.eos_id)
            candidates = {
                "tokens": tf.concat([alive["tokens"], eos], 2),
                "log_probs": ended,
                "scores": score,
            }
            pad = tf.fill([batch, keep, 1], self._pad_id)
            padded = {**finished, "tokens": tf.concat([finished["tokens"], pad], 2)}
            merged = {n: tf.concat([padded[n], candidates[n]], 1) for n in candidates}
            scores, order = tf.math.top_k(merged["scores"], keep)
            finished = {n: tf.gather(merged[n], order, batch_dims=1) for n in merged}
            finished["scores"] = scores

            going = totals + tf.one_hot(self.eos_id, vocab, on_value=_NEVER)
            log_probs, flat = tf.math.top_k(tf.reshape(going, [batch, beam * vocab]), beam)
            parent, token = flat // vocab, flat % vocab
            history = tf.gather(alive["tokens"], parent, batch_dims=1)
            alive = {
                "tokens": tf.concat([history, token[:, :, None]], 2),
                "log_probs": tf.maximum(log_probs, _NEVER),
                "coverage": tf.gather(coverage, parent, batch_dims=1),
            }
            state = [tf.gather(part, parent, batch_dims=1) for part in state]
            return step + 1, alive, state, finished

        def goes_on(step: Any, alive: Any, state: Any, finished: Any) -> Any:
            reachable = alive["log_probs"] / best_penalty
            beaten = tf.reduce_max(reachable, 1) <= tf.reduce_min(finished["scores"], 1)
            over = tf.logical_or(beaten, step >= limits)
            return tf.logical_and(step < longest, tf.logical_not(tf.reduce_all(over)))

        first = tf.one_hot(0, beam, on_value=0.0, off_value=_NEVER)
        alive = {
            "tokens": tf.fill([batch, beam, 1], self.bos_id),
            "log_probs": tf.repeat(first[None], batch, axis=0),
            "coverage": tf.zeros([batch, beam, tf.shape(start["mask"])[1]]),
        }
        finished = {
            "tokens": tf.fill([batch, keep, 1], self.bos_id),
            "log_probs": tf.fill([batch, keep], _NEVER),
            "scores": tf.fill([batch, keep], _NEVER),
        }
        state = [tf.repeat(part[:, None], beam, axis=1) for part in start["state"]]
        widths = [None, None]
        invariants = (
            tf.TensorShape([]),
            {
                "tokens": tf.TensorShape([None, beam, None]),
                "log_probs": tf.TensorShape([None, beam]),
                "coverage": tf.TensorShape([None, beam, None]),
            },
            [tf.TensorShape([*widths, part.shape[-1]]) for part in state],
            {
                "tokens": tf.TensorShape([None, keep, None]),
                "log_probs": tf.TensorShape([None, keep]),
                "scores": tf.TensorShape([None, keep]),
            },
        )
        _, _, _, finished = tf.while_loop(
            goes_on, body, (0, alive, state, finished), shape_invariants=invariants
        )
        return {**finished, "tokens": finished["tokens"][:, :, 1:]}
