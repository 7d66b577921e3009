"""Text to the numbers of characters, and lines of a page."""

from __future__ import annotations

import dataclasses
import textwrap
import unicodedata
from collections.abc import Sequence

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.errors import InputError

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

    Examples
    --------
    >>> from rnnzoo.handwriting import PreprocessorConfig
    >>> len(PreprocessorConfig().alphabet)
    74
    """

    alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,'\"?!-;:()"
    line_characters: int = 40

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, line_characters=(1, 1000))
        if not self.alphabet or len(set(self.alphabet)) < len(self.alphabet):
            raise ValueError(f"alphabet must be characters, each once, got {self.alphabet!r:.80}")


class HandwritingPreprocessor:
    """Text to numbers, and back.

    Accents are folded (é is written as e), and what looks alike is written as what the alphabet
    has (typographic quotes, dashes, ...).

    Parameters
    ----------
    config : PreprocessorConfig

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingPreprocessor, PreprocessorConfig
    >>> write = HandwritingPreprocessor(PreprocessorConfig())
    >>> write.written("“Déjà vu…”")
    '"Deja vu..."'
    >>> write.lines("one two three", width=8)
    ['one two', 'three']
    """

    def __init__(self, config: PreprocessorConfig) -> None:
        self.config = config
        self._numbers = {character: n for n, character in enumerate(config.alphabet, 1)}

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
        alike = "".join(_ALIKE.get(character, character) for character in text)
        folded = "".join(
            character
            for character in unicodedata.normalize("NFKD", alike)
            if not unicodedata.combining(character)
        )
        folded = "".join(_ALIKE.get(character, character) for character in folded)
        unknown = sorted({c for c in folded if c not in self._numbers and c not in "\r\n"})
        if unknown and not skip_unknown:
            raise InputError(
                f"{text!r:.60} has {', '.join(map(repr, unknown[:8]))}, which cannot be written: "
                f"the alphabet is {self.config.alphabet!r}. Leave that out, or let it be skipped "
                "(skip_unknown=True)"
            )
        return "".join(c for c in folded if c in self._numbers or c in "\r\n")

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
            broken += textwrap.wrap(whole, width or self.config.line_characters) or [""]
        return broken

    def numbers(self, text: str) -> list[int]:
        """The numbers of the characters of a line."""
        return [self._numbers[character] for character in text]

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
