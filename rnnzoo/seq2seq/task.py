"""The translator: text in, `Translation` out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tqdm

from rnnzoo.config import choose_options
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.export import Graph
from rnnzoo.head import Described, Rows, check_names
from rnnzoo.inputs import check_batch_size, raw_inputs
from rnnzoo.parts import Parts
from rnnzoo.seq2seq.decode import DecodingOptions, SequenceGenerator
from rnnzoo.seq2seq.graphs import graphs_of
from rnnzoo.seq2seq.network import Seq2SeqConfig, build_network, weight_shapes
from rnnzoo.seq2seq.preprocess import (
    VOCABULARY,
    Encoded,
    PreprocessorConfig,
    Seq2SeqPreprocessor,
    extended_vocabulary,
)
from rnnzoo.seq2seq.result import Hypothesis, Translation
from rnnzoo.task import Task

_IMPOSSIBLE = -1e8  # the score of a place that no hypothesis filled


@dataclasses.dataclass(frozen=True)
class _Found:
    """The hypotheses of one segment, best first."""

    encoded: Encoded
    tokens: list[tuple[str, ...]]
    texts: list[str]
    scores: list[float]
    log_probs: list[float]
    alignment: np.ndarray


@keras.saving.register_keras_serializable(package="rnnzoo")
class Seq2SeqTranslator(Task):
    """An encoder-decoder network that translates text.

    Parameters
    ----------
    config : Seq2SeqConfig
    preprocessor : Seq2SeqPreprocessor
    decoding : DecodingOptions
        Defaults of what `predict` takes by keyword.
    dtype : str
        A dtype policy, or "auto" (see `rnnzoo.precision`).

    Examples
    --------
    >>> import rnnzoo
    >>> translator = rnnzoo.load("seq2seq-en-fr")
    >>> print(translator.predict("I love you."))
    Je t'aime.
    """

    family = "seq2seq"
    config_type = Seq2SeqConfig
    preprocessor_config_type = PreprocessorConfig
    decoding_type = DecodingOptions
    changeable = ("dropout",)
    heads = ("new_pieces",)
    parts: ClassVar[Parts] = {
        "embedding": ("source_embedding/*", "target_embedding/*"),
        "encoder": ("encoder/*",),
        "decoder": ("decoder/*",),
        "attention": ("decoder/attention/*",),
        "readout": ("decoder/readout/*",),
    }
    build_network = staticmethod(build_network)
    weight_shapes = staticmethod(weight_shapes)

    def __init__(
        self,
        config: Seq2SeqConfig,
        preprocessor: Seq2SeqPreprocessor,
        decoding: DecodingOptions | None = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        if preprocessor.vocab_size != config.vocab_size or preprocessor.pad_id != config.pad_id:
            raise ConfigError(
                f"the vocabulary has {preprocessor.vocab_size:,} pieces and pads with "
                f"{preprocessor.pad_id}, the network expects {config.vocab_size:,} and "
                f"{config.pad_id}: they belong to different checkpoints"
            )
        super().__init__(config, preprocessor, decoding, dtype, **kwargs)

    def _forget_graphs(self) -> None:
        super()._forget_graphs()
        bos_id, eos_id = self.preprocessor.bos_id, self.preprocessor.eos_id
        self.generate = SequenceGenerator(self.network, bos_id, eos_id)

    @staticmethod
    def open_preprocessor(
        config: PreprocessorConfig, asset: Callable[[str], bytes]
    ) -> Seq2SeqPreprocessor:
        return Seq2SeqPreprocessor(config, asset(VOCABULARY))

    @classmethod
    def new_head(
        cls, old: Described, changes: Mapping[str, Any], asset: Callable[[str], bytes]
    ) -> Described:
        """A larger vocabulary: `new_pieces` stand behind the others and begin as their mean, in
        embeddings and logits."""
        pieces = check_names("new_pieces", changes["new_pieces"])
        size = old.network.vocab_size
        rows = Rows(0, (*range(size), *(None for _ in pieces)), mean=True)
        paths = [path for path in weight_shapes(old.network) if path.endswith("/embeddings")]
        return Described(
            choose_options(old.network, {"vocab_size": size + len(pieces)}),
            old.preprocessor,
            {VOCABULARY: extended_vocabulary(asset(VOCABULARY), pieces)},
            dict.fromkeys(paths, rows),
        )

    def assets(self) -> dict[str, bytes]:
        return {VOCABULARY: self.preprocessor.vocabulary}

    def graphs(self) -> dict[str, Graph]:
        return graphs_of(self.network)

    def prediction_graphs(self) -> dict[str, Graph]:
        """With the searches besides."""
        return {**self.graphs(), **self.generate.graphs}

    # --- training --------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Logits [batch, target, vocab_size] of `source_tokens` and `target_tokens`."""
        return self.network(inputs, training=training)["logits"]

    def compile(self, optimizer: Any = None, loss: Any = "auto", **kwargs: Any) -> None:
        """As `keras.Model.compile`; by default Adam at 3e-4 with clipped gradients, and
        cross-entropy per target piece, padding left out."""
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        for number, pair in enumerate(pairs):
            for kind, text in zip(("input", "target"), pair, strict=True):
                if not isinstance(text, str):
                    raise InputError(
                        f"{kind} {number} must be a text (str), got {type(text).__name__}"
                    )

    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        arrays = self.preprocessor.training_pairs(inputs, targets)
        labels = arrays.pop("labels")
        return arrays, labels, (labels != self.preprocessor.pad_id).astype(np.float32)

    # --- prediction ------------------------------------------------------------------------

    def predict(
        self, inputs: Any, batch_size: int | None = None, verbose: Any = "auto", **options: Any
    ) -> Any:
        """Translate text.

        Parameters
        ----------
        inputs : str, list of str, string array, iterable or tf.data.Dataset of strings
            Texts of any length: long lines are split into sentences, lines stay lines.
        batch_size : int, optional
            Segments decoded at once (32). Does not change the result.
        verbose : "auto", 0 or 1
            A progress bar on standard error; "auto" shows it on a terminal for many inputs.
        **options
            Fields of `DecodingOptions`: beam_size, num_hypotheses, length_penalty, ...

        Returns
        -------
        Translation, or a list of them for several inputs

        Raises
        ------
        InputError
            For inputs that are not text, and for unknown or impossible options.

        Examples
        --------
        >>> import rnnzoo
        >>> translator = rnnzoo.load("seq2seq-en-fr")
        >>> result = translator.predict("Thank you very much.", num_hypotheses=2)
        >>> len(result.hypotheses), result.alignment.shape[0] == len(result.tokens)
        (2, True)
        """
        texts, single = raw_inputs(inputs)
        chosen = choose_options(self.decoding, options)
        batch_size = check_batch_size(batch_size, 32)
        lines = [self.preprocessor.segments(text) for text in texts]
        segments = list(dict.fromkeys(s for text in lines for line in text for s in line))
        batch_size = max(1, batch_size // chosen.num_hypotheses)  # alignments take the memory
        found = self._translate(segments, batch_size, verbose, chosen)
        results = [
            self._assemble(text, [[found[s] for s in line] for line in parts])
            for text, parts in zip(texts, lines, strict=True)
        ]
        return results[0] if single else results

    def _translate(
        self, segments: list[str], batch_size: int, verbose: Any, options: DecodingOptions
    ) -> dict[str, _Found]:
        encoded = {segment: self.preprocessor.encode(segment) for segment in segments}
        order = sorted(segments, key=lambda segment: len(encoded[segment].ids))
        batches = [order[n : n + batch_size] for n in range(0, len(order), batch_size)]
        hidden = (None if len(batches) > 4 else True) if verbose == "auto" else not verbose
        found: dict[str, _Found] = {}
        with tqdm.tqdm(total=len(order), unit="segment", disable=hidden, leave=False) as bar:
            for batch in batches:
                inputs = [encoded[segment] for segment in batch]
                out = self.generate(self.preprocessor.source(inputs), options, self.onnx_engine())
                found.update(zip(batch, self._read(inputs, out), strict=True))
                bar.update(len(batch))
        return found

    def _read(self, inputs: list[Encoded], out: dict[str, np.ndarray]) -> Iterator[_Found]:
        """Hypotheses of a batch as text."""
        for row, source in enumerate(inputs):
            tokens, texts, alignments = [], [], []
            for number, ids in enumerate(out["tokens"][row]):
                ids = ids[: int((ids != self.preprocessor.pad_id).sum())]
                alignment = self.preprocessor.reading_order(
                    out["alignment"][row, number, : len(ids)], len(source.ids)
                )
                pieces, kept = self.preprocessor.copy_unknown(ids.tolist(), alignment, source)
                tokens.append(tuple(pieces))
                texts.append(self.preprocessor.join(pieces))
                alignments.append(alignment[kept])
            yield _Found(
                source,
                tokens,
                texts,
                out["scores"][row].tolist(),
                out["log_probs"][row].tolist(),
                alignments[0],
            )

    def _assemble(self, source: str, lines: list[list[_Found]]) -> Translation:
        """The translation of a text from its segments'."""
        parts = [part for line in lines for part in line]
        count = min((sum(s > _IMPOSSIBLE for s in part.scores) for part in parts), default=0)
        hypotheses = tuple(
            Hypothesis(
                "\n".join(" ".join(part.texts[n] for part in line) for line in lines),
                sum(part.scores[n] for part in parts),
                sum(part.log_probs[n] for part in parts),
            )
            for n in range(count)
        )
        best = hypotheses[0] if hypotheses else Hypothesis(source.strip(), 0.0, 0.0)
        return Translation(
            text=best.text,
            source=source,
            score=best.score,
            log_prob=best.log_prob,
            tokens=tuple(t for part in parts for t in part.tokens[0]),
            source_tokens=tuple(s for part in parts for s in part.encoded.surfaces),
            alignments=tuple(part.alignment for part in parts) if self.config.attention else (),
            hypotheses=hypotheses,
            unknown=tuple(u for part in parts for u in self.preprocessor.unknown(part.encoded)),
        )
