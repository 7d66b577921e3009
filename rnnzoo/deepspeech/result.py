"""What a speech network gives back."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnzoo.figures import new_figure

_CUE_CHARACTERS = 84  # two lines of subtitles
_CUE_SECONDS = 7.0
_CUE_PAUSE = 1.0


@dataclasses.dataclass(frozen=True)
class Word:
    """A word that was heard.

    Attributes
    ----------
    text : str
    start, end : float
        Seconds from the recording's begin.
    confidence : float
        Geometric mean of the probabilities that the network gave its characters, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "text": self.text,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "confidence": round(self.confidence, 4),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Transcript:
    """What was said in a recording; prints as its text.

    Attributes
    ----------
    text : str
    name : str
        The recording's.
    words : tuple of Word
    alternatives : tuple of (str, float)
        Texts with their scores (natural logarithms; with a language model, its weighted share is
        in them), the best first, which is `text`; of a recording that was cut, those of its parts
        that differ are not put together, and there is the best alone.
    slots : dict
        What a grammar's slots were filled with, by name; a slot that comes again in a sentence
        has a number, as in "digit_2". Empty without a grammar, and where a recording was cut and
        several of its parts say a sentence.
    confidence : float
        The network's probability of the whole sound being said so, characters and what is between
        them, for each character: P(likeliest alignment) ** (1 / characters), 0 to 1. Parts of a
        long recording and of a stream in which nothing is said are left out of it. Of what was
        no sentence of a grammar (`min_confidence`) that of the sentence that came nearest.
    seconds : float
        The recording's length.
    alphabet : str
        What the columns of `log_probs` stand for, after CTC's blank.
    log_probs : np.ndarray
        [frames, symbols], float16: the network's output; nothing of a long stream.
    spectrogram : np.ndarray
        [frames, mels], float16: what the network saw, before normalisation; nothing of a long
        stream.
    """

    text: str
    name: str
    words: tuple[Word, ...]
    alternatives: tuple[tuple[str, float], ...]
    slots: dict[str, str]
    confidence: float
    seconds: float
    alphabet: str
    log_probs: np.ndarray
    spectrogram: np.ndarray

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Transcript({self.text!r})"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for `json.dumps`."""
        return {
            "name": self.name,
            "text": self.text,
            "seconds": round(self.seconds, 3),
            "confidence": round(self.confidence, 4),
            "words": [word.to_dict() for word in self.words],
            "alternatives": [
                {"text": text, "score": round(score, 4)} for text, score in self.alternatives
            ],
            **({"slots": self.slots} if self.slots else {}),
        }

    def to_srt(self) -> str:
        """Subtitles in SubRip's form."""
        return "\n".join(
            f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
            for number, (start, end, text) in enumerate(self._cues(), 1)
        )

    def to_vtt(self) -> str:
        """Subtitles in WebVTT's form."""
        cues = [
            f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n"
            for start, end, text in self._cues()
        ]
        return "\n".join(["WEBVTT\n", *cues])

    def _cues(self) -> Iterator[tuple[float, float, str]]:
        """Begin, end and text of what is shown at once: it ends at a pause, or when it is full."""
        cue: list[Word] = []
        for word in self.words:
            if cue and (
                word.start - cue[-1].end > _CUE_PAUSE
                or word.end - cue[0].start > _CUE_SECONDS
                or len(" ".join(w.text for w in (*cue, word))) > _CUE_CHARACTERS
            ):
                yield cue[0].start, cue[-1].end, " ".join(w.text for w in cue)
                cue = []
            cue.append(word)
        if cue:
            yield cue[0].start, cue[-1].end, " ".join(w.text for w in cue)

    def plot(self, ax: Any = None) -> Any:
        """Draw the spectrogram with the words over it, and the characters' probabilities.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Draw the spectrogram with the words alone, there; a new figure with both by default.

        Returns
        -------
        matplotlib.axes.Axes
            The spectrogram's; `.figure` is the whole.

        Raises
        ------
        MissingDependencyError
            Without matplotlib.
        """
        below = None
        if ax is None:
            figure = new_figure(min(40.0, max(7.0, 2.2 * self.seconds)), 5.5)
            ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
        span = (0, self.seconds)
        ax.imshow(
            self.spectrogram.T.astype(float),
            origin="lower",
            aspect="auto",
            extent=(*span, 0, self.spectrogram.shape[1]),
            cmap="magma",
        )
        ax.set_ylabel("mel band")
        top = self.spectrogram.shape[1]
        for word in self.words:
            ax.axvspan(word.start, word.end, ymin=0.9, color="white", alpha=0.8)
            middle = (word.start + word.end) / 2
            ax.text(middle, 0.95 * top, word.text, ha="center", va="center", fontsize=8)
        ax.set_xlim(*span)
        if below is None:
            ax.set_xlabel("seconds")
        else:
            self._draw_probabilities(below)
        return ax

    def _draw_probabilities(self, ax: Any) -> None:
        probabilities = np.exp(self.log_probs.astype(float))
        times = (np.arange(len(probabilities)) + 0.5) * self.seconds / max(1, len(probabilities))
        ax.plot(times, probabilities[:, 0], color="0.85", label="blank")
        for column, character in enumerate(self.alphabet, 1):
            if (peak := probabilities[:, column]).max(initial=0) < 0.3:
                continue
            (line,) = ax.plot(times, peak, linewidth=1)
            tops = (peak > 0.3) & (peak >= np.roll(peak, 1)) & (peak > np.roll(peak, -1))
            for at in np.flatnonzero(tops):
                label = "\u2423" if character == " " else character
                ax.text(times[at], peak[at], label, color=line.get_color(), ha="center", fontsize=8)
        ax.set_ylim(0, 1.1)
        ax.set_ylabel("probability")
        ax.set_xlabel("seconds")
        ax.spines[["top", "right"]].set_visible(False)

    def _repr_html_(self) -> str:
        words = " ".join(
            f'<span title="{w.start:.2f} to {w.end:.2f} s, {w.confidence:.2f}" '
            f'style="opacity:{0.4 + 0.6 * w.confidence:.2f}">{html.escape(w.text)}</span>'
            for w in self.words
        )
        return f"<p><b>{html.escape(self.name)}</b> ({self.seconds:.1f} s)<br>{words}</p>"


def _clock(seconds: float, mark: str) -> str:
    """Hours, minutes, seconds and milliseconds, as subtitles have them."""
    total = round(1000 * seconds)
    hours, rest = divmod(total, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
