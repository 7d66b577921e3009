"""What the tasks of all networks share that write by CTC: loss, language model, what fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from rnnzoo.config import choose_options
from rnnzoo.ctc.alignment import frames_needed
from rnnzoo.ctc.language import Grammar
from rnnzoo.ctc.loss import mean_ctc_loss
from rnnzoo.errors import InputError
from rnnzoo.head import Described, Rows, alphabet_rows
from rnnzoo.task import Task


class CTCTask(Task):
    """A task whose network writes text by connectionist temporal classification; `symbols` is the
    path of the layer that tells its symbols apart."""

    symbols: ClassVar[str]
    heads = ("alphabet",)

    @classmethod
    def new_head(
        cls, old: Described, changes: Mapping[str, Any], asset: Callable[[str], bytes]
    ) -> Described:
        """Another alphabet: the blank and the characters that both have keep their rows. A language
        model, and a grammar that is not of this alphabet, are left out."""
        alphabet = changes["alphabet"]
        sources = alphabet_rows(old.preprocessor.alphabet, alphabet, before=1)
        if alphabet == old.preprocessor.alphabet:
            return old
        dropped = []
        chosen: dict[str, Any] = {"alphabet": alphabet}
        if old.preprocessor.language_model is not None:
            chosen["language_model"] = None
            dropped.append("the language model")
        if getattr(old.preprocessor, "grammar", ()):
            try:
                Grammar(old.preprocessor.grammar, alphabet, old.preprocessor.slots)
            except InputError:
                chosen.update(grammar=(), slots={})
                dropped.append("the grammar")
        return Described(
            choose_options(old.network, {"num_symbols": len(sources)}),
            choose_options(old.preprocessor, chosen),
            rows={
                f"{cls.symbols}/kernel": Rows(1, sources),
                f"{cls.symbols}/bias": Rows(0, sources),
            },
            dropped=tuple(dropped),
        )

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
