"""The prediction network's task (Graves 2013, section 4): ink that goes on, without a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tqdm

from rnnzoo.config import choose_options
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.handwriting.decode import NO_PRIME, PredictionOptions, Prime
from rnnzoo.handwriting.network import HandwritingConfig
from rnnzoo.handwriting.result import Handwriting, InkLine
from rnnzoo.handwriting.task import PenTask, check_points, points_and_weights
from rnnzoo.inputs import check_batch_size

_MOST_LINES = 10_000


@dataclasses.dataclass(frozen=True)
class PredictorConfig:
    """Nothing: points go in as they are."""


class PredictorPreprocessor:
    """Points as they are; what every task has.

    Parameters
    ----------
    config : PredictorConfig
    """

    def __init__(self, config: PredictorConfig) -> None:
        self.config = config


@keras.saving.register_keras_serializable(package="rnnzoo")
class InkPredictor(PenTask):
    """A network that has learned how pens move, and nothing of what they write.

    Parameters
    ----------
    config : HandwritingConfig
        Of a network without text (`num_symbols` 0).
    preprocessor : PredictorPreprocessor
    decoding : PredictionOptions
        Defaults of what `predict` takes by keyword.
    dtype : str
        A dtype policy, or "auto" (see `rnnzoo.precision`).

    Raises
    ------
    ConfigError
        For a network that writes a text.

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingConfig, InkPredictor
    >>> from rnnzoo.handwriting import PredictorConfig, PredictorPreprocessor
    >>> config = HandwritingConfig(num_symbols=0, hidden_dim=8)
    >>> model = InkPredictor(config, PredictorPreprocessor(PredictorConfig()))
    >>> [len(ink.lines[0].points) for ink in model.predict(2, num_points=9)]  # untaught
    [9, 9]
    """

    family = "handwriting_prediction"
    raw_kind = "count"
    preprocessor_config_type = PredictorConfig
    decoding_type = PredictionOptions

    def __init__(
        self,
        config: HandwritingConfig,
        preprocessor: PredictorPreprocessor,
        decoding: PredictionOptions | None = None,
        dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        if config.writes:
            raise ConfigError(
                f"the network writes a text of {config.num_symbols} characters: it belongs to a "
                "HandwritingWriter"
            )
        super().__init__(config, preprocessor, decoding, dtype, **kwargs)

    @staticmethod
    def open_preprocessor(
        config: PredictorConfig, asset: Callable[[str], bytes]
    ) -> PredictorPreprocessor:
        return PredictorPreprocessor(config)

    def check_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        for number, (_, ink) in enumerate(pairs):
            check_points(ink, f"target {number}")

    def training_batch(self, inputs: list[Any], targets: list[Any]) -> tuple[Any, Any, Any]:
        """Points, the points that follow, and a weight for each; a target is a line's points
        [time, 3] as `Style` has them, an input is not looked at."""
        before, after, weights = points_and_weights(targets)
        return {"points": before}, after, weights

    def example(self) -> Any:
        return 1

    def predict(
        self, inputs: Any = 1, batch_size: int | None = None, verbose: Any = "auto", **options: Any
    ) -> Any:
        """Go on with ink, or begin.

        Parameters
        ----------
        inputs : int, or ink, or a list of inks
            How many lines to make of nothing, or ink to go on with: an `InkLine`, a `Style`, or
            points [time, 3] as they have them.
        batch_size : int, optional
            Lines at once (32). Does not change the result.
        verbose : "auto", 0 or 1
            A progress bar on standard error; "auto" shows it on a terminal for many lines.
        **options
            Fields of `PredictionOptions`.

        Returns
        -------
        Handwriting, or a list of them for a number or a list
            Of one line each, that of given ink first.

        Raises
        ------
        InputError
            For what is neither a number nor ink, and unknown options.
        """
        chosen = choose_options(self.decoding, options)
        batch_size = check_batch_size(batch_size, 32)
        whole = isinstance(inputs, (int, np.integer)) and not isinstance(inputs, bool)
        if whole and not 0 <= inputs <= _MOST_LINES:
            raise InputError(f"how many lines? expected 0 to {_MOST_LINES:,}, got {inputs}")
        single = not whole and (not isinstance(inputs, (list, tuple)) or _are_points(inputs))
        if whole:
            primes = [NO_PRIME] * int(inputs)
        else:
            inks = [inputs] if single else inputs
            primes = [Prime(check_points(ink, f"input {n}"), ()) for n, ink in enumerate(inks)]
        found: list[Handwriting] = []
        hidden = None if verbose == "auto" else not verbose
        with tqdm.tqdm(total=len(primes), unit="line", disable=hidden, leave=False, delay=2) as bar:
            for begin in range(0, len(primes), batch_size):
                some = primes[begin : begin + batch_size]
                seeds = [(number,) if whole else (0,) for number in range(begin, begin + len(some))]
                lines = self.sample([()] * len(some), chosen, some, seeds, self.onnx_engine())
                for prime, line in zip(some, lines, strict=True):
                    points = np.concatenate([prime.points, line.points])
                    nothing = np.zeros((len(points), 0), np.float32)
                    found.append(Handwriting("", (InkLine("", points, nothing, True),)))
                bar.update(len(some))
        return found[0] if single else found


def _are_points(values: Any) -> bool:
    """Whether a list is of points, not of inks."""
    try:
        return np.asarray(values, float).shape[1:] == (3,)
    except (TypeError, ValueError):
        return False
