"""What the tasks of all networks share that write by CTC: loss, language model, what fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnnzoo.ctc.beam_search import frames_needed
from rnnzoo.ctc.loss import mean_ctc_loss
from rnnzoo.errors import InputError
from rnnzoo.task import Task


class CTCTask(Task):
    """A task whose network writes text by connectionist temporal classification."""

    def assets(self) -> dict[str, bytes]:
        name, model = self.preprocessor.config.language_model, self.preprocessor.language_model
        return {} if name is None else {name: model.to_bytes()}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """CTC's loss of labels `y` ("labels" and "label_lengths") in nats for each character,
        weighted by row."""
        return mean_ctc_loss(y_pred, y, sample_weight)


def check_fits(number: int, symbols: Sequence[int], frames: int, what: str) -> None:
    """Raises InputError if the symbols of a pair do not fit into the frames of its input."""
    if (needed := frames_needed(symbols)) > frames:
        raise InputError(
            f"pair {number}: {len(symbols):,} characters, which need {needed:,} frames, do not fit "
            f"into {what}, which are {frames:,}"
        )
