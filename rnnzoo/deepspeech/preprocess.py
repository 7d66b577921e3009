"""Sound to padded samples, and text to the numbers of an alphabet.

The spectrogram is part of the network (`rnnzoo.deepspeech.network`), so that samples are all that
any export needs. Recordings that are longer than the network reads at once are cut where they are
quietest.
"""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.ctc import Grammar, NGram
from rnnzoo.deepspeech.audio import Recording
from rnnzoo.errors import ConfigError, InputError

_QUIET_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class PreprocessorConfig:
    """What a network hears and writes.

    Attributes
    ----------
    alphabet : str
        The characters that the network's symbols 1, 2, ... stand for; symbol 0 is CTC's blank.
    sampling_rate : int
        Samples a second, in hertz.
    max_seconds : float
        What is read at once; longer recordings are cut at silence, unless the network streams.
    language_model : str, optional
        The checkpoint's file that holds a character n-gram (`rnnzoo.ctc.NGram`).
    grammar : tuple of str
        The only sentences there are, with slots in braces, unless a caller names others; none
        for an open vocabulary.
    slots : dict
        What may stand in each slot; those whose name begins with _ are not told in a transcript.

    Examples
    --------
    >>> from rnnzoo.deepspeech import PreprocessorConfig
    >>> len(PreprocessorConfig().alphabet)
    28
    """

    alphabet: str = " 'abcdefghijklmnopqrstuvwxyz"
    sampling_rate: int = 16000
    max_seconds: float = 20.0
    language_model: str | None = None
    grammar: tuple[str, ...] = ()
    slots: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, sampling_rate=(1000, 768_000), max_seconds=(1, 600))
        if not self.alphabet or len(set(self.alphabet)) != len(self.alphabet):
            raise ValueError(f"alphabet must have characters that differ, got {self.alphabet!r}")


class SpeechPreprocessor:
    """Cuts and pads recordings, numbers the characters of transcripts.

    Parameters
    ----------
    config : PreprocessorConfig
    language_model : NGram, optional
        If `config` names one.

    Raises
    ------
    ConfigError
        If the language model is missing, not named, or of another alphabet, or if the grammar
        does not fit its slots or the alphabet.

    Examples
    --------
    >>> from rnnzoo.deepspeech import PreprocessorConfig, SpeechPreprocessor
    >>> preprocessor = SpeechPreprocessor(PreprocessorConfig())
    >>> preprocessor.text(preprocessor.numbers("Good day"))
    'good day'
    """

    def __init__(self, config: PreprocessorConfig, language_model: NGram | None = None) -> None:
        if (config.language_model is None) != (language_model is None):
            raise ConfigError(
                f"the config names the language model {config.language_model!r}, and "
                f"{'none' if language_model is None else 'one'} came: give both or neither"
            )
        if language_model is not None and language_model.alphabet != config.alphabet:
            raise ConfigError(
                f"the language model knows {language_model.alphabet!r}, the network writes "
                f"{config.alphabet!r}: they belong to different checkpoints"
            )
        self.config, self.language_model = config, language_model
        self.grammar: Grammar | None = None
        if config.grammar:
            try:
                self.grammar = Grammar(config.grammar, config.alphabet, config.slots)
            except InputError as error:
                raise ConfigError(f"the config's grammar: {error}") from error
        self._numbers = {character: n for n, character in enumerate(config.alphabet, 1)}

    # --- sound -----------------------------------------------------------------------------

    def pieces(self, recording: Recording) -> list[tuple[int, int]]:
        """First and last sample (excluded) of what is read at once, in order, without gaps.

        Pieces are about as long as each other: one ends at the quietest fifth of a second within a
        quarter of where it would.
        """
        length, rate = len(recording.samples), recording.sampling_rate
        longest = int(self.config.max_seconds * rate)
        if length <= longest:
            return [(0, length)]
        width = max(1, int(_QUIET_SECONDS * rate))
        energy = np.concatenate([[0.0], np.cumsum(np.square(recording.samples, dtype=np.float64))])
        cuts = [0]
        while length - cuts[-1] > longest:
            rest = length - cuts[-1]
            aim = rest / math.ceil(rest / longest)
            first, last = cuts[-1] + int(0.75 * aim), cuts[-1] + min(longest, int(1.25 * aim))
            loudness = energy[first + width : last + 1] - energy[first : last + 1 - width]
            cuts.append(first + int(loudness.argmin()) + width // 2)
        return list(zip(cuts, [*cuts[1:], length], strict=True))

    def pad(self, chunks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Samples side by side [batch, samples], float32, padded with 0 on the right, and their
        lengths [batch], int32."""
        lengths = np.array([len(chunk) for chunk in chunks], np.int32)
        out = np.zeros((len(chunks), max(1, int(lengths.max(initial=0)))), np.float32)
        for line, chunk in zip(out, chunks, strict=True):
            line[: len(chunk)] = chunk
        return out, lengths

    # --- text ------------------------------------------------------------------------------

    def normalized(self, text: str) -> str:
        """Text as the alphabet writes it: lower case, accents left out, typographic apostrophes
        straight, one space between words."""
        return " ".join(self.plain(text).split())

    def plain(self, text: str) -> str:
        """As `normalized`, with spaces as they are."""
        plain = unicodedata.normalize("NFKD", text.replace("\u2019", "'").lower())
        return "".join(c for c in plain if not unicodedata.combining(c))

    def numbers(self, text: Any) -> list[int]:
        """Symbols of a transcript's characters.

        Raises
        ------
        InputError
            Names the characters that the alphabet lacks.
        """
        if not isinstance(text, str):
            raise InputError(f"expected a transcript, got {type(text).__name__}")
        plain = self.normalized(text)
        unknown = sorted(set(plain) - set(self._numbers))
        if unknown:
            raise InputError(
                f"the transcript {text!r:.60} has characters that the network does not write: "
                f"{' '.join(unknown[:10])}. It writes {self.config.alphabet!r}: spell numbers out, "
                "leave punctuation out"
            )
        return [self._numbers[character] for character in plain]

    def pad_text(self, transcripts: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Symbols of transcripts side by side [batch, width], int32, padded with 0 on the right,
        and their lengths [batch], int32."""
        rows = [self.numbers(transcript) for transcript in transcripts]
        lengths = np.array([len(row) for row in rows], np.int32)
        out = np.zeros((len(rows), max(1, int(lengths.max(initial=0)))), np.int32)
        for line, row in zip(out, rows, strict=True):
            line[: len(row)] = row
        return out, lengths

    def text(self, symbols: Sequence[int]) -> str:
        """The characters of symbols."""
        return "".join(self.config.alphabet[symbol - 1] for symbol in symbols)
