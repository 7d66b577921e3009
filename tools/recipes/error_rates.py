"""Word and character error rates (jiwer) of what was recognised, and the ways it is decoded in."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

import numpy as np

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam": {"lm_weight": 0.0, "word_bonus": 0.0},
    "beam with language model": {},
}
_DRAWS = 10_000

Record = dict[str, Any]


def errors(truth: str, said: str) -> np.ndarray:
    """Wrong and all words, wrong and all characters of one transcript."""
    import jiwer

    words, letters = jiwer.process_words(truth, said), jiwer.process_characters(truth, said)
    return np.array(
        [
            count
            for found in (words, letters)
            for count in (
                found.substitutions + found.deletions + found.insertions,
                found.hits + found.substitutions + found.deletions,
            )
        ]
    )


def interval(counts: np.ndarray, seed: int = 1) -> tuple[float, float]:
    """95 % interval of the word error rate in percent, by bootstrap over rows."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(counts), (_DRAWS, len(counts)))
    wrong, words = counts[:, 0][draws].sum(1), counts[:, 1][draws].sum(1)
    low, high = np.percentile(100 * wrong / words, [2.5, 97.5])
    return round(float(low), 1), round(float(high), 1)


def rates(counts: np.ndarray) -> tuple[float, float]:
    """Word and character error rate in percent."""
    wrong_words, words, wrong_letters, letters = counts.sum(0)
    return 100 * wrong_words / words, 100 * wrong_letters / letters


def metrics(counts: np.ndarray) -> Iterator[Record]:
    """Records of counts' word and character error rates."""
    signature = f"jiwer {importlib.metadata.version('jiwer')}, percent"
    for metric, value in zip(("WER", "CER"), rates(counts), strict=True):
        yield {
            "metric": metric,
            "value": round(float(value), 2),
            "rows": len(counts),
            "signature": signature,
        }


def table(title: str, kind: str, counts: dict[str, np.ndarray], rows: str = "clips") -> Record:
    """Error rates of several `kind`s, each of so many `rows`."""
    cells: list[list[Any]] = []
    for name, own in counts.items():
        low, high = interval(own)
        wer, cer = rates(own)
        cells.append([name, len(own), round(wer, 1), f"{low} to {high}", round(cer, 1)])
    return {"title": title, "columns": [kind, rows, "WER", "95 % interval", "CER"],
            "cells": cells}  # fmt: skip
