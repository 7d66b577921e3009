"""The writer: text in, ink out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
import tqdm

from rnnzoo.config import choose_options
from rnnzoo.distribution import mean_over_replicas
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.export import Graph
from rnnzoo.handwriting.decode import (
    NO_PRIME,
    InkSampler,
    Prime,
    Sampled,
    SamplingOptions,
)
from rnnzoo.handwriting.graphs import graphs_of
from rnnzoo.handwriting.network import HandwritingConfig, build_network, weight_shapes
from rnnzoo.handwriting.preprocess import (
    HandwritingPreprocessor,
    PreprocessorConfig,
    Style,
    begun,
    read_styles,
    write_styles,
)
from rnnzoo.handwriting.result import Handwriting, InkLine
from rnnzoo.head import Described, Rows, alphabet_rows
from rnnzoo.inputs import check_batch_size, raw_inputs
from rnnzoo.layers.mixture_density import log_density, log_lift, mixture_of
from rnnzoo.parts import Parts
from rnnzoo.task import Task

_MEASURED_AT_ONCE = 32  # lines
_LEAD_POINTS = 60  # a line that has not reached its text by then is taken as it is


class PenTask(Task):
    """What the tasks of both networks share: their loss."""

    config_type = HandwritingConfig
    changeable = ("dropout",)
    parts: ClassVar[Parts] = {
        "recurrent": ("writer/lstm_*",),
        "window": ("writer/lstm_1/window_*", "writer/lstm_1/text_kernel"),
        "head": ("writer/output/*",),
    }
    config: HandwritingConfig
    build_network = staticmethod(build_network)
    weight_shapes = staticmethod(weight_shapes)

    def _forget_graphs(self) -> None:
        super()._forget_graphs()
        self.sample = InkSampler(self.network)

    def graphs(self) -> dict[str, Graph]:
        return graphs_of(self.network)

    def prediction_graphs(self) -> dict[str, Graph]:
        """With the sampling besides."""
        return {**self.graphs(), **self.sample.graphs}

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """y hat [batch, time, 1 + 6 M] of `points` and `characters`."""
        return self.network(inputs, training=training)["y"]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Nats for each point (equation 26) of `y` [batch, time, 3], offsets in x-heights,
        weighted by `sample_weight` [batch, time]."""
        nats = self._nats(y, y_pred)
        weight = tf.ones_like(nats) if sample_weight is None else tf.cast(sample_weight, nats.dtype)
        return mean_over_replicas(tf.reduce_sum(weight * nats), tf.reduce_sum(weight))

    def _nats(self, y: Any, y_pred: Any) -> Any:
        """[batch, time] Of equation 26."""
        mixture, scale = mixture_of(y_pred), self.config.offset_scale
        nats = 2 * np.log(scale) - log_density(mixture, y[..., :2] / scale)
        return nats - log_lift(mixture, y[..., 2])

    def nats_per_point(self, inputs: Sequence[Any], targets: Sequence[Any]) -> np.ndarray:
        """How surprised the network is by ink: nats for each point (equation 26), offsets in
        x-heights; the less, the likelier.

        Parameters
        ----------
        inputs, targets : sequences
            As `fit` takes them: of each line the text, and its ink.

        Returns
        -------
        np.ndarray
            [lines], float32.

        Raises
        ------
        InputError
            Names what is no text or no ink.
        """
        inputs, targets = list(inputs), list(targets)
        if len(inputs) != len(targets) or not inputs:
            raise InputError(
                f"expected a text for each ink, got {len(inputs):,} and {len(targets):,}"
            )
        self.check_pairs(list(zip(inputs, targets, strict=True)))
        found = np.zeros(len(inputs), np.float32)
        order = sorted(range(len(inputs)), key=lambda n: len(check_points(targets[n], "ink")))
        for begin in range(0, len(order), _MEASURED_AT_ONCE):
            rows = order[begin : begin + _MEASURED_AT_ONCE]
            before, after, weights = self.training_batch(
                [inputs[n] for n in rows], [targets[n] for n in rows]
            )
            nats = self._nats(tf.constant(after), self(before, training=False)).numpy()
            found[rows] = (nats * weights).sum(1) / weights.sum(1)
        return found


def check_points(ink: Any, name: str) -> np.ndarray:
    """The points [time, 3] of a line of ink.

    Raises
    ------
    InputError
        Names the ink.
    """
    try:
        return Style("", getattr(ink, "points", ink)).points
    except InputError as error:
        raise InputError(f"{name}: {str(error).replace('of a style ', '')}") from error


def points_and_weights(inks: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points that go in [batch, time, 3], those that follow each, and 1 where there is one
    [batch, time]."""
    lines = [check_points(ink, "ink") for ink in inks]
    counts = np.array([len(line) for line in lines])
    points = np.zeros((len(lines), 1 + counts.max(), 3), np.float32)
    for row, line in zip(points, lines, strict=True):
        row[: 1 + len(line)] = begun(line)
    weights = np.arange(counts.max())[None] < counts[:, None]
    return points[:, :-1], points[:, 1:], weights.astype(np.float32)


@keras.saving.register_keras_serializable(package="rnnzoo")
class HandwritingWriter(PenTask):
    """A network that writes text with a pen.

    Parameters
    ----------
    config : HandwritingConfig
        Of a network that writes (`num_symbols` above 0).
    preprocessor : HandwritingPreprocessor
    decoding : SamplingOptions
        Defaults of what `predict` takes by keyword.
    dtype : str
        A dtype policy, or "auto" (see `rnnzoo.precision`).

    Raises
    ------
    ConfigError
        If network and alphabet do not belong together.

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingConfig, HandwritingPreprocessor
    >>> from rnnzoo.handwriting import HandwritingWriter, PreprocessorConfig
    >>> config = HandwritingConfig(hidden_dim=8)
    >>> writer = HandwritingWriter(config, HandwritingPreprocessor(PreprocessorConfig()))
    >>> ink = writer.predict("hi", max_points_per_character=3)  # untaught: a scribble
    >>> len(ink.lines)
    1
    >>> writer.nats_per_point(["hi"], [ink.lines[0]]).shape
    (1,)
    """

    family = "handwriting"
    raw_kind = "ink"
    preprocessor_config_type = PreprocessorConfig
    decoding_type = SamplingOptions
    heads = ("alphabet",)

    def __init__(
        self,
        config: HandwritingConfig,
        preprocessor: HandwritingPreprocessor,
        decoding: SamplingOptions | None = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        symbols = len(preprocessor.config.alphabet)
        if config.num_symbols != symbols:
            raise ConfigError(
                f"the alphabet has {symbols} characters, the network writes "
                f"{config.num_symbols}: they belong to different checkpoints"
            )
        super().__init__(config, preprocessor, decoding, dtype, **kwargs)

    @staticmethod
    def open_preprocessor(
        config: PreprocessorConfig, asset: Callable[[str], bytes]
    ) -> HandwritingPreprocessor:
        name = config.styles
        return HandwritingPreprocessor(config, read_styles(asset(name), name) if name else ())

    @classmethod
    def new_head(
        cls, old: Described, changes: Mapping[str, Any], asset: Callable[[str], bytes]
    ) -> Described:
        """Another alphabet: characters that both have keep what the layers know of them. Styles are
        left out, if the text of one is not of this alphabet."""
        alphabet, c = changes["alphabet"], old.network
        sources = alphabet_rows(old.preprocessor.alphabet, alphabet)
        if alphabet == old.preprocessor.alphabet:
            return old
        rows = {"writer/lstm_1/text_kernel": Rows(0, sources)}
        behind = range(3 + c.num_symbols, 3 + c.num_symbols + c.hidden_dim)
        windows = (None if source is None else 3 + source for source in sources)
        above = Rows(0, (*range(3), *windows, *behind))  # the point, the window, the layer below
        for number in range(2, c.num_layers + 1):
            rows[f"writer/lstm_{number}/lstm_cell/kernel"] = above
        chosen: dict[str, Any] = {"alphabet": alphabet}
        name = old.preprocessor.styles
        if name and not all(set(s.text) <= set(alphabet) for s in read_styles(asset(name), name)):
            chosen["styles"] = None
        return Described(
            choose_options(c, {"num_symbols": len(sources)}),
            choose_options(old.preprocessor, chosen),
            rows=rows,
            dropped=("the styles",) if "styles" in chosen else (),
        )

    def assets(self) -> dict[str, bytes]:
        name = self.preprocessor.config.styles
        return {} if name is None else {name: write_styles(self.preprocessor.styles)}

    # --- training --------------------------------------------------------------------------

    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        for number, (text, ink) in enumerate(pairs):
            try:
                self.preprocessor.numbers(self.preprocessor.written(text))
            except InputError as error:
                raise InputError(f"input {number}: {error}") from error
            check_points(ink, f"target {number}")

    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        """Points and characters, the points that follow, and a weight for each. An input is a
        line's text, a target its points [time, 3] as `Style` has them."""
        lines = [self.preprocessor.written(text) for text in inputs]
        characters, _ = self.preprocessor.pad(lines)
        before, after, weights = points_and_weights(targets)
        return {"points": before, "characters": characters}, after, weights

    # --- prediction ------------------------------------------------------------------------

    def example(self) -> Any:
        return next(c for c in self.preprocessor.config.alphabet if not c.isspace())

    def predict(
        self,
        inputs: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        style: int | Style | None = None,
        line_characters: int | None = None,
        line_spacing: float = 4.0,
        skip_unknown: bool = False,
        **options: Any,
    ) -> Any:
        """Write text.

        Parameters
        ----------
        inputs : str, list of str, string array, iterable or tf.data.Dataset of strings
            Texts of any length: long lines are broken at spaces, lines stay lines.
        batch_size : int, optional
            Lines written at once (32). Does not change the result.
        verbose : "auto", 0 or 1
            A progress bar on standard error; "auto" shows it on a terminal for many lines.
        style : int or Style, optional
            The number of one of the checkpoint's styles, or a style of your own (section 5.5).
        line_characters : int, optional
            The longest line.
        line_spacing : float
            From a baseline to the next, in x-heights.
        skip_unknown : bool
            Leave out characters that cannot be written.
        **options
            Fields of `SamplingOptions`.

        Returns
        -------
        Handwriting, or a list of them for several texts

        Raises
        ------
        InputError
            For characters that cannot be written, an unknown style, and unknown options.
        """
        chosen = choose_options(self.decoding, options)
        batch_size = check_batch_size(batch_size, 32)
        if not isinstance(line_spacing, (int, float, np.number)) or not line_spacing > 0:
            raise InputError(f"line_spacing must be a number above 0, got {line_spacing!r:.40}")
        texts, single = raw_inputs(inputs)
        prime, space = self._prime(style)
        pages = [self._lines(text, line_characters, skip_unknown) for text in texts]
        lines = [(number, line) for page in pages for number, line in enumerate(page) if line]
        order = sorted(range(len(lines)), key=lambda n: len(lines[n][1]))
        written: dict[int, InkLine] = {}
        hidden = None if verbose == "auto" else not verbose
        with tqdm.tqdm(total=len(lines), unit="line", disable=hidden, leave=False, delay=2) as bar:
            for begin in range(0, len(order), batch_size):
                rows = order[begin : begin + batch_size]
                found = self.sample(
                    [[*space, *self.preprocessor.numbers(lines[n][1])] for n in rows],
                    chosen,
                    [prime] * len(rows),
                    [_seed(*lines[n]) for n in rows],
                    self.onnx_engine(),
                )
                for n, one in zip(rows, found, strict=True):
                    written[n] = _line(lines[n][1], one, prime)
                bar.update(len(rows))
        ready = iter(written[n] for n in range(len(lines)))
        results = [
            Handwriting(
                "\n".join(page),
                tuple(next(ready) if line else _EMPTY for line in page),
                float(line_spacing),
            )
            for page in pages
        ]
        return results[0] if single else results

    def stream(
        self,
        text: str,
        style: int | Style | None = None,
        line_characters: int | None = None,
        skip_unknown: bool = False,
        **options: Any,
    ) -> Iterator[np.ndarray]:
        """A line's points one by one as they are written, for a plotter or a canvas: [3], as
        `InkLine.points` has them, the same as `predict` gives.

        Parameters
        ----------
        text : str
            One line, no longer than `line_characters`.
        style, line_characters, skip_unknown, **options
            As of `predict`.

        Raises
        ------
        InputError
            As `predict`, and for a text that `predict` breaks into several lines.
        """
        chosen = choose_options(self.decoding, options)
        prime, space = self._prime(style)
        (line, *more) = self._lines(text, line_characters, skip_unknown)
        if more:
            width = line_characters or self.preprocessor.config.line_characters
            raise InputError(
                f"a stream is one line, got {1 + len(more):,} of at most {width:,} characters: "
                "open one for each, or let lines be longer (line_characters=)"
            )
        numbers = [*space, *self.preprocessor.numbers(line)]
        sampled = self.sample.stream(
            numbers, chosen, prime, _seed(0, line), engine=self.onnx_engine()
        )
        return (point for point, _ in _own_ink(sampled, prime)) if line else iter(())

    def _lines(self, text: str, width: int | None, skip_unknown: bool) -> list[str]:
        whole = isinstance(width, (int, np.integer)) and width > 0
        if width is not None and not whole:
            raise InputError(f"line_characters must be a whole number above 0, got {width!r:.40}")
        return self.preprocessor.lines(text, width, skip_unknown)

    def _prime(self, style: int | Style | None) -> tuple[Prime, list[int]]:
        """The ink that leads each line, and the space behind its text."""
        if style is None:
            return NO_PRIME, []
        chosen = self.preprocessor.style(style)
        space = self.preprocessor.numbers(" ") if " " in self.preprocessor.config.alphabet else []
        return Prime(chosen.points, tuple(self.preprocessor.numbers(chosen.text))), space


def _seed(page: int, line: str) -> tuple[int, int]:
    """What the draws of a line depend on besides the seed: others for each text."""
    return page, zlib.crc32(line.encode())


def _own_ink(
    sampled: Iterable[tuple[np.ndarray, np.ndarray]], prime: Prime
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points [3] and phi [characters] of a line as one of its own, which begins at its baseline:
    behind a prime the pen may still be at the prime's last letters, and those strokes are left
    out."""
    if not len(prime.points):
        yield from sampled
        return
    begin = len(prime.characters) + 1  # behind the space
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    height, waits = prime.points[:, 1].sum(), True
    for point, phi in sampled:
        if not waits:
            yield point, phi[begin:]
            continue
        waiting.append((point, phi))
        arrived = phi.argmax() >= begin
        if not arrived and len(waiting) < _LEAD_POINTS:
            continue
        lifts = [n for n, (before, _) in enumerate(waiting[:-1], 1) if before[2] > 0.5]
        yield from _begun_at(lifts[-1] if arrived and lifts else 0, waiting, height, begin)
        waits = False
    if waits and waiting:  # ended before it reached its text
        yield from _begun_at(0, waiting, height, begin)


def _begun_at(
    first: int, sampled: list[tuple[np.ndarray, np.ndarray]], height: float, begin: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points from the first one on, which begins at the baseline."""
    height += sum(before[1] for before, _ in sampled[: first + 1])
    (opening, looked), *rest = sampled[first:]
    yield np.array([0.0, height, opening[2]], np.float32), looked[begin:]
    yield from ((later, seen[begin:]) for later, seen in rest)


def _line(text: str, sampled: Sampled, prime: Prime) -> InkLine:
    """What was sampled behind a prime, as a line of its own."""
    own = list(_own_ink(zip(sampled.points, sampled.phi, strict=True), prime))
    points = np.array([point for point, _ in own], np.float32).reshape(-1, 3)
    looked = np.array([phi for _, phi in own], np.float32).reshape(len(own), len(text))
    return InkLine(text, points, looked, sampled.finished)


_EMPTY = InkLine("", np.zeros((0, 3), np.float32), np.zeros((0, 0), np.float32), True)
