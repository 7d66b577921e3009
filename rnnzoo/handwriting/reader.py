"""The reader: ink in, text out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tqdm

from rnnzoo.config import check_types, choose_options
from rnnzoo.ctc import (
    DecodingOptions,
    Grammar,
    Hypothesis,
    NGram,
    align,
    grammar_for,
    hypotheses,
    path_log_prob,
    search_for,
)
from rnnzoo.ctc.decode import confidence_of, nothing_said
from rnnzoo.ctc.task import CTCTask, check_fits
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.export import Graph, network_graph
from rnnzoo.figures import new_figure
from rnnzoo.handwriting.ink import evenly, lines_of, normalized
from rnnzoo.handwriting.preprocess import HandwritingPreprocessor, PreprocessorConfig, Style
from rnnzoo.handwriting.reader_network import ReaderConfig, build_reader, reader_weight_shapes
from rnnzoo.handwriting.result import Handwriting, InkLine
from rnnzoo.inputs import batches_by_length, check_batch_size, raw_inputs
from rnnzoo.parts import Parts

_POINTS_AT_ONCE = 40_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """What stands in ink; prints as its text.

    Attributes
    ----------
    text : str
        A line for each line of ink.
    confidence : float
        The network's probability of the whole ink being read so, characters and what is between
        them, for each character: P(likeliest alignment) ** (1 / characters), 0 to 1.
    alternatives : tuple of (str, float)
        Texts with their scores (natural logarithms), the best first; of ink of several lines the
        best alone.
    strokes : list of np.ndarray
        [points, 2] of each stroke, as it was seen: in x-heights, y up; of the first line.
    """

    text: str
    confidence: float
    alternatives: tuple[tuple[str, float], ...]
    strokes: list[np.ndarray]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Reading({self.text!r:.80}, confidence={self.confidence:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "alternatives": [
                {"text": text, "score": round(score, 3)} for text, score in self.alternatives
            ],
        }

    def plot(self) -> Any:
        """The first line's ink under its text; `matplotlib.axes.Axes`."""
        axes = new_figure(10, 2.2).subplots()
        for stroke in self.strokes:
            axes.plot(*stroke.T, color="#1a237e", linewidth=1.5, solid_capstyle="round")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_axis_off()
        axes.set_title(self.text.split("\n")[0], loc="left", parse_math=False)
        return axes


@dataclasses.dataclass(frozen=True)
class ReaderPreprocessorConfig:
    """What can be read.

    Attributes
    ----------
    alphabet : str
        The characters that the network's symbols 1, 2, ... stand for; symbol 0 is CTC's blank.
    language_model : str or None
        The checkpoint's file that holds a character n-gram (`rnnzoo.ctc.NGram`).

    Examples
    --------
    >>> from rnnzoo.handwriting import ReaderPreprocessorConfig
    >>> len(ReaderPreprocessorConfig().alphabet)
    74
    """

    alphabet: str = PreprocessorConfig.alphabet
    language_model: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        PreprocessorConfig(self.alphabet)


class ReaderPreprocessor:
    """Ink to points, text to symbols.

    Parameters
    ----------
    config : ReaderPreprocessorConfig
    language_model : NGram, optional
        If `config` names one.

    Raises
    ------
    ConfigError
        If the language model is missing, not named, or of another alphabet.

    Examples
    --------
    >>> from rnnzoo.handwriting import ReaderPreprocessor, ReaderPreprocessorConfig
    >>> preprocessor = ReaderPreprocessor(ReaderPreprocessorConfig())
    >>> preprocessor.text(preprocessor.numbers("Déjà"))
    'Deja'
    """

    grammar: Grammar | None = None

    def __init__(
        self, config: ReaderPreprocessorConfig, language_model: NGram | None = None
    ) -> None:
        if (config.language_model is None) != (language_model is None):
            raise ConfigError(
                f"the config names the language model {config.language_model!r}, and "
                f"{'none' if language_model is None else 'one'} came: give both or neither"
            )
        if language_model is not None and language_model.alphabet != config.alphabet:
            raise ConfigError(
                f"the language model knows {language_model.alphabet!r}, the network reads "
                f"{config.alphabet!r}: they belong to different checkpoints"
            )
        self.config, self.language_model = config, language_model
        self._writing = HandwritingPreprocessor(PreprocessorConfig(config.alphabet))

    def plain(self, text: str) -> str:
        """Text in characters of the alphabet, spaces as they are."""
        return self._writing.written(text)

    def normalized(self, text: str) -> str:
        """As `plain`, with one space between words."""
        return " ".join(self.plain(text).split())

    def numbers(self, text: str) -> list[int]:
        """Symbols of a line's characters."""
        return self._writing.numbers(self.normalized(text))

    def text(self, symbols: Sequence[int]) -> str:
        """The text of symbols."""
        return "".join(self.config.alphabet[symbol - 1] for symbol in symbols)

    def pad(self, lines: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Points side by side [batch, time, 3], padded with 0 on the right, and their counts."""
        counts = np.array([len(line) for line in lines], np.int32)
        points = np.zeros((len(lines), max(1, int(counts.max(initial=0))), 3), np.float32)
        for row, line in zip(points, lines, strict=True):
            row[: len(line)] = line
        return points, counts

    def pad_text(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Labels [batch, characters], int32, and their counts [batch]."""
        numbers = [self.numbers(text) for text in texts]
        counts = np.array([len(own) for own in numbers], np.int32)
        labels = np.zeros((len(texts), max(1, int(counts.max(initial=0)))), np.int32)
        for row, own in zip(labels, numbers, strict=True):
            row[: len(own)] = own
        return labels, counts


@keras.saving.register_keras_serializable(package="rnnzoo")
class InkReader(CTCTask):
    """A network that reads ink as it was written.

    Parameters
    ----------
    config : ReaderConfig
    preprocessor : ReaderPreprocessor
    decoding : DecodingOptions
        Defaults of what `predict` takes by keyword.
    dtype : str
        A dtype policy, or "auto" (see `rnnzoo.precision`).

    Raises
    ------
    ConfigError
        If network and alphabet do not belong together.

    Examples
    --------
    >>> from rnnzoo.handwriting import InkReader, ReaderConfig, ReaderPreprocessor
    >>> from rnnzoo.handwriting import ReaderPreprocessorConfig
    >>> config = ReaderConfig(num_layers=1, hidden_dim=8)
    >>> reader = InkReader(config, ReaderPreprocessor(ReaderPreprocessorConfig()))
    >>> isinstance(reader.predict([[(0, 0), (9, 5), (12, 0)]]).text, str)  # untaught
    True
    """

    family = "handwriting_reader"
    raw_kind = "strokes"
    config_type = ReaderConfig
    preprocessor_config_type = ReaderPreprocessorConfig
    decoding_type = DecodingOptions
    changeable = ("dropout",)
    symbols = "reader/symbols"
    parts: ClassVar[Parts] = {
        "encoder": ("reader/conv/*", "reader/lstm_*"),
        "convolution": ("reader/conv/*",),
        "recurrent": ("reader/lstm_*",),
        "head": ("reader/symbols/*",),
    }
    build_network = staticmethod(build_reader)
    weight_shapes = staticmethod(reader_weight_shapes)

    def __init__(
        self,
        config: ReaderConfig,
        preprocessor: ReaderPreprocessor,
        decoding: DecodingOptions | None = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        symbols = len(preprocessor.config.alphabet) + 1
        if config.num_symbols != symbols:
            raise ConfigError(
                f"the alphabet and the blank are {symbols} symbols, the network tells "
                f"{config.num_symbols} apart: they belong to different checkpoints"
            )
        super().__init__(config, preprocessor, decoding, dtype, **kwargs)

    @staticmethod
    def open_preprocessor(
        config: ReaderPreprocessorConfig, asset: Callable[[str], bytes]
    ) -> ReaderPreprocessor:
        name = config.language_model
        return ReaderPreprocessor(config, NGram.from_bytes(asset(name)) if name else None)

    def graphs(self) -> dict[str, Graph]:
        axes = {"log_probs": "batch frames", "frames": "batch"}
        whole = network_graph(self.network, points="batch time", counts="batch", **axes)
        return {"network": whole}

    # --- training --------------------------------------------------------------------------

    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        for number, (ink, text) in enumerate(pairs):
            try:
                symbols = self.preprocessor.numbers(text)
            except InputError as error:
                raise InputError(f"target {number}: {error}") from error
            try:
                points = self._line(ink)
            except InputError as error:
                raise InputError(f"input {number}: {error}") from error
            frames = -(-len(points) // self.config.conv_stride)
            check_fits(number, symbols, frames, f"the {len(points):,} points of this ink")

    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        """Points and counts, labels and their counts, and a weight for each row. An input is a line
        of ink as `predict` takes it (y up), a target its text."""
        points, counts = self.preprocessor.pad([self._line(ink) for ink in inputs])
        labels, label_lengths = self.preprocessor.pad_text(targets)
        return (
            {"points": points, "counts": counts},
            {"labels": labels, "label_lengths": label_lengths},
            np.ones(len(inputs), np.float32),
        )

    def _line(self, ink: Any) -> np.ndarray:
        lines = lines_of(ink)
        if len(lines) != 1:
            raise InputError(f"train on lines: this ink has {len(lines)}")
        return self.points(lines[0])

    def points(self, strokes: list[np.ndarray]) -> np.ndarray:
        """A line's strokes as the network takes them: [time, 3]."""
        return evenly(normalized(strokes), self.config.spacing)

    # --- prediction ------------------------------------------------------------------------

    def example(self) -> Any:
        return [[(0.0, 0.0), (0.5, 1.0), (1.0, 0.0)]]

    def predict(
        self,
        inputs: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        y_down: bool = False,
        hot_words: Mapping[str, float] | None = None,
        grammar: str | Sequence[str] | None = None,
        slots: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> Any:
        """Read ink.

        Parameters
        ----------
        inputs : ink, or a list of inks
            An ink is a list of strokes [points, 2]; an array of offsets [time, 3], as
            `InkLine.points`; the path or text of InkML; or a `Handwriting`. Each is a line, but
            for `Handwriting`, which has its own. Several may come as any iterable, paths and
            texts as an array or a `tf.data.Dataset` of strings too.
        batch_size : int, optional
            Lines at once, at most (32). Does not change the result.
        verbose : "auto", 0 or 1
            A progress bar on standard error; "auto" shows it on a terminal for many lines.
        y_down : bool
            The arrays' y grows downwards, as on a screen.
        hot_words, grammar, slots : optional
            As in speech: what is likely here, or all there is.
        **options
            Fields of `DecodingOptions`.

        Returns
        -------
        Reading, or a list of them for several inks

        Raises
        ------
        InputError
            For what is no ink, and for unknown options.
        """
        chosen = choose_options(self.decoding, options)
        batch_size = check_batch_size(batch_size, 32)
        language = grammar_for(self.preprocessor, grammar, slots)
        search = search_for(self.preprocessor, chosen, hot_words, language)
        single = is_single(inputs)
        pages = []
        for number, ink in enumerate([inputs] if single else raw_inputs(inputs)[0]):
            try:
                pages.append(lines_of(ink, y_down))
            except InputError as error:
                raise error if single else InputError(f"input {number}: {error}") from error
        strokes = [normalized(line) for page in pages for line in page]
        points = [evenly(line, self.config.spacing) for line in strokes]
        outputs = self._run(points, batch_size, verbose)
        texts = hypotheses(outputs, search, chosen.num_hypotheses)
        found = [self._read(*line) for line in zip(outputs, texts, strict=True)]
        if language is not None:
            least = chosen.min_confidence
            found = [line if line.confidence >= least else line.nothing() for line in found]
        readings, begin = [], 0
        for page in pages:
            own = slice(begin, begin + len(page))
            begin += len(page)
            readings.append(_together(found[own], strokes[own]))
        return readings[0] if single else readings

    def _run(self, lines: list[np.ndarray], batch_size: int, verbose: Any) -> list[np.ndarray]:
        """Log-probabilities [frames, symbols] of each line."""
        outputs: list[Any] = [None] * len(lines)
        hidden = None if verbose == "auto" else not verbose
        with tqdm.tqdm(total=len(lines), unit="line", disable=hidden, leave=False, delay=2) as bar:
            lengths = [len(line) for line in lines]
            for rows in batches_by_length(lengths, batch_size, _POINTS_AT_ONCE):
                points, counts = self.preprocessor.pad([lines[n] for n in rows])
                out = self._outputs(points=points, counts=counts)
                for n, own, count in zip(rows, out["log_probs"], out["frames"], strict=True):
                    outputs[n] = own[:count]
                bar.update(len(rows))
        return outputs

    def _read(self, log_probs: np.ndarray, found: list[Hypothesis]) -> _Line:
        found = found if len(log_probs) else []
        symbols = found[0].symbols if found else ()
        path = path_log_prob(log_probs, symbols, *align(log_probs, symbols))
        texts = [(self.preprocessor.text(one.symbols).strip(), one.score) for one in found]
        nothing = nothing_said(log_probs)
        return _Line(texts or [("", nothing)], path, len(symbols), nothing)


class _Line(NamedTuple):
    """Texts of a line with their scores, the best first; of the best the logarithm of the
    probability of its alignment and its count of symbols; and the score of no text."""

    texts: list[tuple[str, float]]
    path_log_prob: float
    num_symbols: int
    nothing_score: float
    accepted: bool = True

    @property
    def confidence(self) -> float:
        return confidence_of(self.path_log_prob, self.num_symbols)

    def nothing(self) -> _Line:
        """As no sentence."""
        return self._replace(texts=[("", self.nothing_score)], accepted=False)


def _together(lines: list[_Line], strokes: list[list[np.ndarray]]) -> Reading:
    """The reading of ink, of that of its lines."""
    text = "\n".join(line.texts[0][0] for line in lines)
    score = sum(line.texts[0][1] for line in lines)
    alternatives: dict[str, float] = {}
    for other, value in lines[0].texts if len(lines) == 1 else []:
        alternatives.setdefault(other, value)
    asked = [line for line in lines if line.accepted and line.num_symbols] or lines
    path = sum(line.path_log_prob for line in asked)
    return Reading(
        text,
        confidence_of(path, sum(line.num_symbols for line in asked)),
        tuple(alternatives.items()) or ((text, score),),
        strokes[0] if strokes else [],
    )


def is_single(inputs: Any) -> bool:
    """Whether these are one ink, not several."""
    if isinstance(inputs, np.ndarray):
        return inputs.dtype.kind not in "SUO"  # an array of paths or InkML
    if tf.is_tensor(inputs):
        return inputs.dtype != tf.string
    if not isinstance(inputs, (list, tuple)):
        one = (str, os.PathLike, Handwriting, InkLine, Style)
        return isinstance(inputs, one) or not isinstance(inputs, Iterable)
    try:
        first = np.asarray(inputs[0], float).shape if inputs else ()
    except (TypeError, ValueError):
        return False
    return first[1:] == (2,) or first == (3,)  # its first stroke, its first offset
