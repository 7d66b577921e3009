"""Digits in a row, as numbers are read out: the grammar, lines to be spoken, and strings of real
digits (FSDD, CC BY-SA) joined from single ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.speech_data import RATE, Clip, Corpus

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONGEST = 10
SLOTS: dict[str, tuple[str, ...]] = {"digit": DIGITS}
GRAMMAR: tuple[str, ...] = tuple(" ".join(["{digit}"] * n) for n in range(1, LONGEST + 1))
VALID_SPEAKER = "fsdd-yweweler"  # of FSDD's training part, kept out of training to tune on


def strings(seed: int = 1) -> Iterator[str]:
    """Endless strings of one to ten digits, the short ones more often."""
    rng = np.random.default_rng(seed)
    while True:
        count = 1 + int(LONGEST * rng.random() ** 2)
        yield " ".join(rng.choice(DIGITS, count))


def joined(
    clips: list[tuple[str, np.ndarray]], rng: np.random.Generator, longest: int = 7
) -> tuple[str, np.ndarray]:
    """Two to `longest` digits of a speaker, drawn of (digit, samples), with pauses between."""
    parts, said = [_pause(rng)], []
    for n in rng.integers(0, len(clips), int(rng.integers(2, longest + 1))):
        digit, samples = clips[n]
        parts += [samples, _pause(rng)]
        said.append(digit)
    return " ".join(said), np.concatenate(parts)


def _pause(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(rng.uniform(0.02, 0.3) * RATE), np.float32)


def real_strings(real: Corpus, folder: Path, source: str, count: int, seed: int = 1) -> Corpus:
    """`count` strings of the digits that FSDD's training speakers said; those that `folder` has
    are taken from there."""
    corpus = Corpus(folder / f"{seed}-without-{VALID_SPEAKER}")
    spoken: dict[str, list[Clip]] = {}
    for clip in real.clips:
        if clip.source == "fsdd" and clip.split == "train" and clip.speaker != VALID_SPEAKER:
            spoken.setdefault(clip.speaker, []).append(clip)
    for number in range(len(corpus.clips), count):
        rng: Any = np.random.default_rng([seed, number])
        speaker = str(rng.choice(sorted(spoken)))
        own = [(clip.transcript, real.samples(clip)) for clip in spoken[speaker]]
        said, samples = joined(own, rng)
        corpus.append(samples, speaker, source, "train", f"{source}-{seed}-{number}", said)
    corpus.clips = corpus.clips[:count]
    return corpus
