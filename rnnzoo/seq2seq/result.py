"""What a translator gives back."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import numpy as np

from rnnzoo.errors import InputError
from rnnzoo.figures import new_figure

_MAX_DENSE = 10_000_000


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
    alignments : tuple of np.ndarray
        For each segment of a long text in turn [target tokens, source tokens], float32: how much
        attention each target piece paid to each source piece; rows sum to 1. Empty for a network
        without attention.
    hypotheses : tuple of Hypothesis
        The best ones, this translation first.
    unknown : tuple of str
        Characters of the source that the vocabulary lacks: copied where the network says so.

    Examples
    --------
    >>> import rnnzoo
    >>> found = rnnzoo.load("seq2seq-en-fr").predict("Where is the station?")
    >>> found
    Translation('Où est la gare ?', source='Where is the station?', score=...)
    """

    text: str
    source: str
    score: float
    log_prob: float
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    alignments: tuple[np.ndarray, ...]
    hypotheses: tuple[Hypothesis, ...]
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Translation({self.text!r}, source={self.source!r}, score={self.score:.4f})"

    @property
    def alignment(self) -> np.ndarray | None:
        """The alignment of the whole text, [target tokens, source tokens]: the segments' along
        the diagonal. None without attention, and for a text of so many tokens that it would have
        over 10 million entries: take `alignments` then."""
        shapes = np.array([part.shape for part in self.alignments], int).reshape(-1, 2)
        rows, columns = shapes.sum(0)
        if not self.alignments or rows * columns > _MAX_DENSE:
            return None
        whole = np.zeros((rows, columns), np.float32)
        row = column = 0
        for part in self.alignments:
            rows, columns = part.shape
            whole[row : row + rows, column : column + columns] = part
            row, column = row + rows, column + columns
        return whole

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for `json.dumps`."""
        alignment = self.alignment
        if alignment is not None:
            alignment = np.round(alignment.astype(float), 4).tolist()
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
            If there is no alignment: a network without attention, an empty text, or one that is
            too long to draw.

        Examples
        --------
        >>> import rnnzoo
        >>> ax = rnnzoo.load("seq2seq-en-fr").predict("Thank you!").plot()
        >>> ax.get_xticklabels()[0].get_text()
        'Thank'
        """
        alignment = self.alignment
        if alignment is None or not self.tokens:
            reason = (
                "the text is empty"
                if not self.tokens
                else f"{len(self.tokens):,} tokens are too many"
                if self.alignments
                else "this network has no attention"
            )
            raise InputError(f"there is no alignment to draw: {reason}")
        rows, columns = alignment.shape
        if ax is None:
            figure = new_figure(1.5 + 0.42 * columns, 1.2 + 0.36 * rows)
            ax = figure.subplots()
        ax.imshow(alignment, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(
            range(columns), [_shown(t) for t in self.source_tokens], rotation=60, ha="left"
        )
        ax.set_yticks(range(rows), [_shown(t) for t in self.tokens])
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        return ax

    def _repr_html_(self) -> str:
        text = f"<p>{html.escape(self.text)}</p>"
        if not self.alignments or not 0 < len(self.tokens) <= 60:
            return text
        alignment = self.alignment
        assert alignment is not None
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
            for token, weights in zip(self.tokens, alignment, strict=True)
        )
        return f"{text}<table><tr><th></th>{head}</tr>{rows}</table>"


def _shown(token: str) -> str:
    return token.replace("▁", "") or "▁"
