"""What a translator gives back."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import numpy as np

from rnnzoo.errors import InputError, MissingDependencyError


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One of the translations that were found.

    Attributes
    ----------
    text : str
    score : float
        What hypotheses are ranked by: log-probability over length penalty, plus coverage penalty.
    log_prob : float
        Natural logarithm of the network's probability of the tokens.
    """

    text: str
    score: float
    log_prob: float

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True, eq=False)
class Translation:
    """A translated text; prints as the text itself.

    Attributes
    ----------
    text : str
    source : str
        The input, as given.
    score, log_prob : float
        As of `Hypothesis`; sums over the segments of a long text.
    tokens, source_tokens : tuple of str
        Pieces of both sides; `▁` begins a word, `</s>` ends a segment.
    alignment : np.ndarray or None
        [target tokens, source tokens], float32: how much attention each target piece paid to
        each source piece; rows sum to 1. None for a network without attention.
    hypotheses : tuple of Hypothesis
        The best ones, this translation first.
    unknown : tuple of str
        Characters of the source that the vocabulary lacks: copied where the network says so.
    """

    text: str
    source: str
    score: float
    log_prob: float
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    alignment: np.ndarray | None
    hypotheses: tuple[Hypothesis, ...]
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for `json.dumps`."""
        alignment = None if self.alignment is None else np.round(self.alignment, 4).tolist()
        return {
            "text": self.text,
            "source": self.source,
            "score": round(self.score, 4),
            "log_prob": round(self.log_prob, 4),
            "tokens": list(self.tokens),
            "source_tokens": list(self.source_tokens),
            "alignment": alignment,
            "hypotheses": [
                {"text": h.text, "score": round(h.score, 4), "log_prob": round(h.log_prob, 4)}
                for h in self.hypotheses
            ],
            "unknown": list(self.unknown),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the alignment, source across and target down (Bahdanau et al. 2014, figure 3).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        MissingDependencyError
            Without matplotlib.
        InputError
            If there is no alignment: a network without attention, or an empty text.

        Examples
        --------
        >>> import rnnzoo
        >>> ax = rnnzoo.load("seq2seq-en-fr").predict("Thank you!").plot()
        >>> ax.get_xticklabels()[0].get_text()
        'Thank'
        """
        if self.alignment is None or not self.tokens:
            raise InputError(
                "there is no alignment to draw: the text is empty or the network has no attention"
            )
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingDependencyError("plot()", "matplotlib", "plot") from error
        rows, columns = self.alignment.shape
        if ax is None:
            figure = Figure(figsize=(1.5 + 0.42 * columns, 1.2 + 0.36 * rows), layout="constrained")
            ax = figure.subplots()
        ax.imshow(self.alignment, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(
            range(columns), [_shown(t) for t in self.source_tokens], rotation=60, ha="left"
        )
        ax.set_yticks(range(rows), [_shown(t) for t in self.tokens])
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        return ax

    def _repr_html_(self) -> str:
        text = f"<p>{html.escape(self.text)}</p>"
        if self.alignment is None or not self.tokens or len(self.tokens) > 60:
            return text
        head = "".join(
            f'<th style="font-weight:normal;writing-mode:vertical-rl">{html.escape(_shown(t))}</th>'
            for t in self.source_tokens
        )
        rows = "".join(
            f'<tr><td style="text-align:right">{html.escape(_shown(token))}</td>'
            + "".join(
                f'<td style="width:1.4em;background:rgba(0,0,0,{weight:.2f})" '
                f'title="{weight:.2f}"></td>'
                for weight in weights
            )
            + "</tr>"
            for token, weights in zip(self.tokens, self.alignment, strict=True)
        )
        return f"{text}<table><tr><th></th>{head}</tr>{rows}</table>"


def _shown(token: str) -> str:
    return token.replace("▁", "") or "▁"
