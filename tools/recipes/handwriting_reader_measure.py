"""Lines of UNIPEN, and a reader's character and word error rates on them (jiwer).

`valid` and `test` are the lines of writers who are not in training (of the test, 209 of 734 are of
short rows of a page laid side by side), each decoded in three ways; those that no training line is
equal to are listed apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.error_rates import WAYS, Record, errors, interval, metrics, rates
from recipes.pen_data import Line, read_lines

SETS = ("valid", "test")


def counts_of(texts: list[str], said: list[str]) -> np.ndarray:
    """[lines, 4] Errors of each line."""
    return np.array([errors(text, own) for text, own in zip(texts, said, strict=True)])


class Measure:
    """Measures one reader."""

    def __init__(self, task: Any, name: str, batch_size: int, options: Record) -> None:
        self.task, self.name = task, name
        self.batch_size, self.options = batch_size, options

    def __call__(
        self, data: Path, name: str, limit: int | None, show: int
    ) -> Iterator[tuple[Record, list[str]]]:
        """Records of a set, and lines to show beside each."""
        lines = read_lines(data, "lines", name)[:limit]
        texts = [line.text for line in lines]
        new = np.array([not line.seen_text for line in lines])
        found = {way: self.read(lines, **options) for way, options in WAYS.items()}
        counts = {way: counts_of(texts, said) for way, said in found.items()}
        used = list(WAYS)[-1]
        shown = [f"  {a}\n  > {b}" for a, b in zip(texts[:show], found[used], strict=False)]
        for split, rows in ((name, new | True), (f"{name}, new texts", new)):
            for record in metrics(counts[used][rows]):
                yield {"data": "UNIPEN lines", "split": split, **record}, shown
                shown = []
            title = "error rates in percent, by decoding"
            cells = [_row(way, own[rows]) for way, own in counts.items()]
            table = {"title": title, "columns": _COLUMNS, "cells": cells}
            yield {"data": "UNIPEN lines", "split": split, **table}, []
        sources = sorted({line.source for line in lines})
        own = np.array([line.source for line in lines])
        cells = [_row(source, counts[used][own == source]) for source in sources]
        table = {"title": "error rates in percent, by contributor (UNIPEN's codes)", "cells": cells}
        columns = ["contributor", *_COLUMNS[1:]]
        yield {"data": "UNIPEN lines", "split": name, **table, "columns": columns}, []

    def read(self, lines: list[Line], **options: Any) -> list[str]:
        """What stands in lines."""
        inks = [line.points for line in lines]
        chosen = {**self.options, **options}
        readings = self.task.predict(inks, batch_size=self.batch_size, verbose=0, **chosen)
        return [reading.text for reading in readings]


_COLUMNS = ["decoding", "lines", "CER", "95 % interval", "WER"]


def _row(kind: str, counts: np.ndarray) -> list[Any]:
    wer, cer = rates(counts)
    low, high = interval(counts[:, 2:])
    return [kind, len(counts), round(cer, 1), f"{low} to {high}", round(wer, 1)]
