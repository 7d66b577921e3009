"""Lines of UNIPEN, and how many nats a writing network needs for each of their points.

`valid` and `test` are the lines of writers who are not in training (of the test, 209 of 734 are of
short rows of a page laid side by side), all, and those alone that no training line is equal to;
beside two baselines: a mixture for all points alike, and one around where the pen would be at the
last point's velocity, with the pen down and lifted.
`legibility` is of a network that writes: what readers make of its ink of 100 texts of the test of
which little is in training, at several biases, beside the real ink of the same texts;
`legibility-valid` is the same of the writers for tuning. `styles` is how far a simple classifier
can tell its styles apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes import legibility
from recipes.handwriting import nats, nats_of_lines
from recipes.pen_data import Line, continuous, read_lines

SETS = ("valid", "test", "legibility", "legibility-valid", "styles")
_COMPONENTS = 20  # of a baseline's mixture, as many as the networks have
_FITTED_LINES = 2000

Record = dict[str, Any]


class Measure:
    """Measures one writing network."""

    def __init__(self, task: Any, name: str, batch_size: int, options: Record) -> None:
        self.task, self.name = task, name
        self.batch_size, self.options = batch_size, options

    def __call__(
        self, data: Path, name: str, limit: int | None, show: int
    ) -> Iterator[tuple[Record, list[str]]]:
        """Records of a set, and lines to show beside each."""
        if name in ("valid", "test"):
            yield from self._nats(data, name, limit)
            return
        if not self.task.config.writes:
            raise SystemExit(f"--set {name} is for networks that write text, {self.name} does not")
        split = "test" if name == "legibility" else "valid"
        limit = limit or (legibility.STYLE_TEXTS if name == "styles" else None)
        training = read_lines(data, "lines", "train")
        lines = legibility.chosen(read_lines(data, "lines", split), training, limit)
        if name == "styles":
            yield self._styles(lines), []
        else:
            for kind, record in self._legibility(lines):
                where = {"data": "ink of new texts", "split": f"{split}{kind}"}
                yield {**where, **record}, []

    def _write(self, texts: list[str], **options: Any) -> list[Any]:
        chosen = {"line_characters": 100, "batch_size": self.batch_size, **self.options}
        return self.task.predict(texts, verbose=0, **{**chosen, **options})

    def _legibility(self, lines: list[Line]) -> Iterator[tuple[str, Record]]:
        import rnnzoo

        reader = rnnzoo.load(legibility.READER, dtype="float32")
        texts = [line.text for line in lines]
        inks = {"real ink": [legibility.ink_of(line.text, line.points) for line in lines]}
        inks |= {f"bias {bias:g}": self._write(texts, bias=bias) for bias in legibility.BIASES}
        signature = f"{legibility.READER}, Tesseract {legibility.tesseract_version()}; percent"
        cells = []
        for kind, pages in inks.items():
            row, figures = legibility.measured(kind, pages, reader)
            cells.append(row)
            for metric, value in figures.items() if kind in ("real ink", "bias 1") else ():
                record = {"metric": metric, "value": value, "rows": len(lines)}
                yield f", {kind}", {**record, "signature": signature}
        title = "legibility, percent"
        yield "", {"title": title, "columns": legibility.COLUMNS, "cells": cells}

    def _styles(self, lines: list[Line]) -> Record:
        styles = self.task.preprocessor.styles
        texts = [line.text for line in lines]
        pages = [
            [page.lines[0] for page in self._write(texts, style=number)]
            for number in range(len(styles))
        ]
        return {
            "data": "the styles' ink of new texts",
            "split": "valid",
            "metric": "styles told apart",
            "value": round(legibility.style_accuracy(pages), 1),
            "rows": len(styles) * len(texts),
            "signature": f"percent; chance {100 / len(styles):.1f}; bias "
            f"{self.options.get('bias', self.task.decoding.bias):g}; linear discriminants of "
            "slant, height, speed, turns and lifts of the pen",
        }

    def _nats(self, data: Path, name: str, limit: int | None) -> Iterator[tuple[Record, list[str]]]:
        import tensorflow as tf

        lines = read_lines(data, "lines", name)[:limit]
        measure = tf.function(lambda *batch: nats(self.task.network, *batch), reduce_retracing=True)
        found = {"the network": nats_of_lines(measure, lines)}
        new = np.array([not line.seen_text for line in lines])
        for split, rows in ((name, new | True), (f"{name}, new texts", new)):
            for record in _metrics(found["the network"][rows]):
                yield {"data": "UNIPEN lines", "split": split, **record}, []
        training = read_lines(data, "lines", "train")
        for velocity, kind in ((False, "all points alike"), (True, "constant velocity")):
            found[kind] = baseline(training, lines, velocity)
        cells = [
            [kind, *(round(float(x), 3) for x in _per_point(own))] for kind, own in found.items()
        ]
        columns = ["", "nats/point", "position", "pen"]
        table = {"title": "beside baselines", "columns": columns, "cells": cells}
        yield {"data": "UNIPEN lines", "split": name, **table}, []


def _per_point(found: np.ndarray) -> tuple[float, float, float]:
    position, lift, count = found.sum(0)
    return (position + lift) / count, position / count, lift / count


def _metrics(found: np.ndarray) -> Iterator[Record]:
    signature = "natural logarithm, offsets in x-heights"
    for metric, value in zip(("nats/point", "position", "pen"), _per_point(found), strict=True):
        yield {
            "metric": metric,
            "value": round(float(value), 4),
            "rows": len(found),
            "signature": signature,
        }


def baseline(training: list[Line], lines: list[Line], velocity: bool) -> np.ndarray:
    """[lines, 3] Nats of position and pen, and points, of each line, by mixtures of Gaussians
    (scikit-learn) and frequencies of training lines: one for all points, or one for those behind
    a lifted pen and one for the others, whose offset is told from the last."""
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(0)
    some = [training[n] for n in rng.permutation(len(training))[:_FITTED_LINES]]
    fitted = np.concatenate([_rows(line, velocity, rng) for line in some])
    found = np.zeros((len(lines), 3))
    own = [_rows(line, velocity, rng) for line in lines]
    for state in (0, 1):
        use = fitted[fitted[:, 3] == state]
        if not len(use):
            continue
        mixture = GaussianMixture(_COMPONENTS, random_state=0, reg_covar=1e-5).fit(use[:, :2])
        share = np.array([1 - use[:, 2].mean(), use[:, 2].mean()])
        for n, rows in enumerate(own):
            here = rows[rows[:, 3] == state]
            if len(here):
                found[n, 0] -= mixture.score_samples(here[:, :2]).sum()
                found[n, 1] -= np.log(share[here[:, 2].astype(int)]).sum()
    found[:, 2] = [len(rows) for rows in own]
    return found


def _rows(line: Line, velocity: bool, rng: np.random.Generator) -> np.ndarray:
    """[time, 4] What is told of each point: its offset, or what it differs by from the last; the
    pen; and whether the pen was lifted before, where that is known."""
    points = continuous(line.points, rng)
    last = np.concatenate([[[0.0, 0.0, 1.0]], points[:-1]])
    if not velocity:
        return np.concatenate([points, np.zeros((len(points), 1))], 1)
    down = last[:, 2:] < 0.5
    return np.concatenate([points[:, :2] - down * last[:, :2], points[:, 2:], last[:, 2:]], 1)
