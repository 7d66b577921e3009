"""Text to the numbers of characters, and lines of a page."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.handwriting.ink import in_pen_time, lines_of, normalized, points_of

_HUNDREDTHS = 100.0
_ALIKE = {
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u00ab": '"', "\u00bb": '"', "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": "-",
    "\u2212": "-", "\u2026": "...", "\u00df": "ss", "\u00e6": "ae", "\u00c6": "AE", "\u00f8": "o",
    "\u00d8": "O", "\u0153": "oe", "\u0152": "OE", "\u0142": "l", "\u0141": "L", "\t": " ",
    "\u00a0": " ",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PreprocessorConfig:
    """What can be written.

    Attributes
    ----------
    alphabet : str
        The characters in the order of their numbers, which begin with 1.
    line_characters : int
        Longer text is broken into lines of at most so many characters.
    styles : str or None
        The file of the checkpoint that holds its styles.

    Examples
    --------
    >>> from rnnzoo.handwriting import PreprocessorConfig
    >>> len(PreprocessorConfig().alphabet)
    74
    """

    alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,'\"?!-;:()"
    line_characters: int = 40
    styles: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, line_characters=(1, 1000))
        if not self.alphabet or len(set(self.alphabet)) < len(self.alphabet):
            raise ValueError(f"alphabet must be characters, each once, got {self.alphabet!r:.80}")


@dataclasses.dataclass(frozen=True, eq=False)
class Style:
    """Ink that shows how a line shall look (section 5.5 of the paper: priming).

    Attributes
    ----------
    text : str
        What is written there, in characters of the alphabet.
    points : np.ndarray
        [time, 3], float32: offsets in x-heights, y up, the first from the baseline, and 1 where the
        pen is lifted behind the point; about 13 points for a character.
    name : str

    Raises
    ------
    InputError
        If the points are none.
    """

    text: str
    points: np.ndarray
    name: str = ""

    def __post_init__(self) -> None:
        try:
            points = np.asarray(self.points, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"the points of a style must be numbers: {error}") from error
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise InputError(f"the points of a style must be [time, 3], got {points.shape}")
        if not np.isfinite(points).all() or np.abs(points[:, :2]).max() > 100:
            raise InputError("the offsets of a style must be in x-heights, some -5 to 5")
        object.__setattr__(self, "points", points)

    @classmethod
    def from_ink(cls, text: str, ink: Any, name: str = "", y_down: bool = False) -> Style:
        """A person's own strokes as a style: brought to x-heights by what they look like, and
        sampled as the pens that the networks learnt from.

        Parameters
        ----------
        text : str
            What the ink says: one line, 20 to 40 characters do well.
        ink
            A line as `rnnzoo.handwriting.ink.lines_of` takes it: strokes [points, 2], InkML, ...
        name : str
        y_down : bool
            The arrays' y grows downwards, as on a screen.

        Raises
        ------
        InputError
            For what is no ink, or not one line.

        Examples
        --------
        >>> import numpy as np
        >>> from rnnzoo.handwriting import Style
        >>> wave = np.stack([np.arange(90.0), 30 * np.sin(np.arange(90.0) / 4)], 1)
        >>> Style.from_ink("www", [wave], "mine").points.shape[1]
        3
        """
        lines = lines_of(ink, y_down)
        if len(lines) != 1 or not lines[0]:
            raise InputError(f"a style is one line of ink, got {len(lines)} with strokes in it")
        return cls(text, points_of([in_pen_time(s) for s in normalized(lines[0])]), name)


def read_styles(content: bytes, where: str) -> tuple[Style, ...]:
    """The styles of a checkpoint's file.

    Raises
    ------
    ConfigError
        If it is no such file.
    """
    try:
        found = []
        for one in json.loads(content):
            dx, dy, lifted = np.array(one["points"], float).T
            points = np.stack([dx / _HUNDREDTHS, dy / _HUNDREDTHS, lifted], 1)
            found.append(Style(one["text"], points, one["name"]))
        return tuple(found)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{where} does not hold styles of handwriting: {error!r:.200}") from error


def write_styles(styles: Sequence[Style]) -> bytes:
    """What `read_styles` reads: points in whole hundredths of an x-height, so that nothing adds
    up."""
    whole = []
    for style in styles:
        places = np.round(np.cumsum(style.points[:, :2], 0, dtype=float) * _HUNDREDTHS)
        offsets = np.diff(places, axis=0, prepend=0)
        points = np.concatenate([offsets, style.points[:, 2:]], 1).astype(int).tolist()
        whole.append({"name": style.name, "text": style.text, "points": points})
    return (json.dumps(whole, separators=(",", ":")) + "\n").encode()


class HandwritingPreprocessor:
    """Text to numbers, and back.

    Accents are folded (é is written as e), and what looks alike is written as what the alphabet
    has (typographic quotes, dashes, ...).

    Parameters
    ----------
    config : PreprocessorConfig
    styles : sequence of Style, optional
        Those that `predict` knows by their number.

    Raises
    ------
    ConfigError
        If a style's text cannot be written.

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingPreprocessor, PreprocessorConfig
    >>> write = HandwritingPreprocessor(PreprocessorConfig())
    >>> write.written("“Déjà vu…”")
    '"Deja vu..."'
    >>> write.lines("one two three", width=8)
    ['one two', 'three']
    """

    def __init__(self, config: PreprocessorConfig, styles: Sequence[Style] = ()) -> None:
        self.config, self.styles = config, tuple(styles)
        self._numbers = {character: n for n, character in enumerate(config.alphabet, 1)}
        for style in self.styles:
            if not set(style.text) <= set(config.alphabet):
                raise ConfigError(f"a style's text is not of the alphabet: {style.text!r:.60}")

    def written(self, text: str, skip_unknown: bool = False) -> str:
        """The text as it will be written, line breaks kept.

        Parameters
        ----------
        text : str
        skip_unknown : bool
            Leave out what cannot be written.

        Raises
        ------
        InputError
            Names the characters that cannot be written.
        """
        if not isinstance(text, str):
            raise InputError(f"expected text to write, got {type(text).__name__}: {text!r:.40}")
        folded = "".join(map(self._folded, unicodedata.normalize("NFC", text)))
        unknown = sorted({c for c in folded if c not in self._numbers and c not in "\r\n"})
        if unknown and not skip_unknown:
            raise InputError(
                f"{text!r:.60} has {', '.join(map(repr, unknown[:8]))}, which cannot be written: "
                f"the alphabet is {self.config.alphabet!r}. Leave that out, or let it be skipped "
                "(skip_unknown=True)"
            )
        return "".join(c for c in folded if c in self._numbers or c in "\r\n")

    def _folded(self, character: str) -> str:
        """A character of the alphabet as it is, others by what they look like."""
        if character in self._numbers:
            return character
        parts = unicodedata.normalize("NFKD", _ALIKE.get(character, character))
        plain = "".join(part for part in parts if not unicodedata.combining(part))
        return "".join(_ALIKE.get(part, part) for part in plain)

    def lines(self, text: str, width: int | None = None, skip_unknown: bool = False) -> list[str]:
        """The text as lines of at most `width` characters (`line_characters` by default), broken
        at spaces where there are any; its own line breaks are kept.

        Raises
        ------
        InputError
            As `written`.
        """
        broken: list[str] = []
        for line in self.written(text, skip_unknown).splitlines() or [""]:
            whole = " ".join(line.split())
            width = width or self.config.line_characters
            broken += textwrap.wrap(whole, width, break_on_hyphens=False) or [""]
        return broken

    def style(self, choice: int | Style) -> Style:
        """A style by its number, or one of a person's own.

        Raises
        ------
        InputError
            For a number that there is not, and a text that cannot be written.
        """
        if isinstance(choice, Style):
            written = self.written(choice.text)
            self.numbers(written)
            return dataclasses.replace(choice, text=written)
        whole = isinstance(choice, (int, np.integer)) and not isinstance(choice, bool)
        if not whole or not 0 <= choice < len(self.styles):
            raise InputError(
                f"style must be a number from 0 to {len(self.styles) - 1}, or a Style of your own, "
                f"got {choice!r:.40}"
                if self.styles
                else f"this checkpoint has no styles: give a Style of your own, got {choice!r:.40}"
            )
        return self.styles[int(choice)]

    def numbers(self, text: str) -> list[int]:
        """The numbers of the characters of a line.

        Raises
        ------
        InputError
            For what is not of the alphabet, line breaks among it.
        """
        try:
            return [self._numbers[character] for character in text]
        except KeyError as error:
            raise InputError(
                f"expected one line in characters of the alphabet, got {text!r:.60} with {error}"
            ) from error

    def pad(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Characters [batch, width], int32, one wider than the longest text, and their counts
        [batch]: the window stops where it has gone past the last one."""
        counts = np.array([len(text) for text in texts], np.int32)
        characters = np.zeros((len(texts), 1 + max(counts, default=0)), np.int32)
        for row, text in enumerate(texts):
            characters[row, : len(text)] = self.numbers(text)
        return characters, counts


def begun(points: np.ndarray) -> np.ndarray:
    """Points [time, 3] with the one that stands before a line, (0, 0, 1): the pen is up."""
    return np.concatenate([np.array([[0.0, 0.0, 1.0]], np.float32), points.astype(np.float32)])
