"""From frames of log-probabilities to words with their times."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.deepspeech.result import Word


@dataclasses.dataclass(frozen=True)
class DecodingOptions:
    """How a transcript is searched for.

    Attributes
    ----------
    beam_size : int
        Prefixes kept at each frame; 1 takes the likeliest symbol of every frame (greedy), without
        the language model.
    num_hypotheses : int
        How many texts `Transcript.alternatives` holds, at most `beam_size`.
    lm_weight : float
        alpha of Hannun et al. 2014 (arXiv 1412.5567, section 2.2): the language model's share.
    word_bonus : float
        beta of the same equation: what every word adds to the score, in nats.
    min_symbol_log_prob : float
        Symbols less likely than this in a frame (natural logarithm) are not tried there.

    Examples
    --------
    >>> from rnnzoo.deepspeech import DecodingOptions
    >>> DecodingOptions(beam_size=1).num_hypotheses
    1
    """

    beam_size: int = 32
    num_hypotheses: int = 1
    lm_weight: float = 0.8
    word_bonus: float = 1.0
    min_symbol_log_prob: float = -8.0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            beam_size=(1, 1000),
            num_hypotheses=(1, 1000),
            lm_weight=(0, 100),
            word_bonus=(-100, 100),
            min_symbol_log_prob=(-1000, 0),
        )
        if self.num_hypotheses > self.beam_size:
            raise ValueError(
                f"num_hypotheses ({self.num_hypotheses}) must not exceed beam_size "
                f"({self.beam_size}); raise beam_size"
            )


def words_of(
    text: str,
    first_frames: Sequence[int],
    last_frames: Sequence[int],
    log_probs: np.ndarray,
    symbols: Sequence[int],
    seconds_per_frame: float,
    offset: float = 0.0,
) -> tuple[Word, ...]:
    """The words of a text, timed by the frames in which their characters stand.

    Parameters
    ----------
    text : str
        One character for each symbol.
    first_frames, last_frames : sequence of int
        Of each character: where it first came, and where it was last repeated.
    log_probs : np.ndarray
        [frames, symbols].
    symbols : sequence of int
    seconds_per_frame : float
    offset : float
        Seconds before the first frame.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech.decode import words_of
    >>> sure = np.zeros((9, 3))
    >>> for word in words_of("a ba", [1, 3, 5, 6], [1, 3, 5, 7], sure, [2, 1, 2, 2], 0.1):
    ...     print(word.text, round(word.start, 2), round(word.end, 2), word.confidence)
    a 0.1 0.2 1.0
    ba 0.5 0.8 1.0
    """
    words: list[Word] = []
    begin = 0
    for part in text.split(" "):
        end = begin + len(part)
        if part:
            spoken: Any = [
                log_probs[first_frames[n] : last_frames[n] + 1, symbols[n]].max()
                for n in range(begin, end)
            ]
            words.append(
                Word(
                    part,
                    offset + first_frames[begin] * seconds_per_frame,
                    offset + (last_frames[end - 1] + 1) * seconds_per_frame,
                    float(np.exp(np.mean(spoken))),
                )
            )
        begin = end + 1
    return tuple(words)
