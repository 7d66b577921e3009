"""From frames of log-probabilities to words with their times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnzoo.ctc import Grammar, Hypothesis, align, path_log_prob, symbol_log_probs
from rnnzoo.ctc.decode import confidence_of, nothing_said
from rnnzoo.deepspeech.preprocess import SpeechPreprocessor
from rnnzoo.deepspeech.result import Transcript, Word


def words_of(
    text: str,
    first_frames: Sequence[int] | np.ndarray,
    last_frames: Sequence[int] | np.ndarray,
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
    likeliest: Any = symbol_log_probs(log_probs, symbols, first_frames, last_frames)
    begin = 0
    for part in text.split(" "):
        end = begin + len(part)
        if part:
            words.append(
                Word(
                    part,
                    offset + int(first_frames[begin]) * seconds_per_frame,
                    offset + (int(last_frames[end - 1]) + 1) * seconds_per_frame,
                    float(np.exp(likeliest[begin:end].mean())),
                )
            )
        begin = end + 1
    return tuple(words)


def transcript_of(
    name: str,
    seconds: float,
    parts: Sequence[tuple[float, np.ndarray, np.ndarray, list[Hypothesis]]],
    preprocessor: SpeechPreprocessor,
    seconds_per_frame: float,
    grammar: Grammar | None = None,
    min_confidence: float = 0.0,
) -> Transcript:
    """The transcript of a recording, of its parts: of each the second where it begins, the
    log-probabilities [frames, symbols], the spectrogram [frames, mels] and what was found; with
    the fillings of the grammar's slots. A part that is less sure than `min_confidence` of being a
    sentence of the grammar is none: it counts as silence, and for the confidence only where no
    part is a sentence; parts where nothing is said never do."""
    words: list[Word] = []
    told: list[list[Hypothesis]] = []
    sums: dict[bool, tuple[float, int]] = {True: (0.0, 0), False: (0.0, 0)}
    score = 0.0
    for begin, log_probs, _, found in parts:
        symbols = found[0].symbols if found else ()
        first, last = align(log_probs, symbols)
        text = preprocessor.text(symbols)
        path = path_log_prob(log_probs, symbols, first, last)
        sure = grammar is None or confidence_of(path, len(symbols)) >= min_confidence
        if symbols:
            sums[sure] = (sums[sure][0] + path, sums[sure][1] + len(symbols))
        if sure:
            words += words_of(text, first, last, log_probs, symbols, seconds_per_frame, begin)
        told.append(found if sure else [])
        score += told[-1][0].score if told[-1] else nothing_said(log_probs)
    text = " ".join(word.text for word in words)
    alternatives: dict[str, float] = {}
    for one in told[0] if len(parts) == 1 else []:
        plain = " ".join(preprocessor.text(one.symbols).split())
        alternatives.setdefault(plain, one.score)
    said = [" ".join(preprocessor.text(f[0].symbols).split()) for f in told if f]
    filled = [grammar.fillings(one) for one in said if one] if grammar is not None else []
    slots = (
        filled[0] if len(filled) == 1 else {}
    )  # a sentence for each part: they do not go together
    return Transcript(
        text=text,
        name=name,
        words=tuple(words),
        alternatives=tuple(alternatives.items()) or ((text, score),),
        slots=slots,
        confidence=confidence_of(*sums[sums[True][1] > 0]),
        seconds=seconds,
        alphabet=preprocessor.config.alphabet,
        log_probs=np.concatenate([log_probs for _, log_probs, _, _ in parts]).astype(np.float16),
        spectrogram=np.concatenate([mels for _, _, mels, _ in parts]),
    )
