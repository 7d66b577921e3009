"""Lines of pen movements (the format of `compose_lines.py` beside the data), and what changes a
line in training."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "valid", "test")
FILES = {
    "lines": "unipen_lines.npz",
    "joined": "unipen_joined_words.npz",
    "fonts": "font_lines.npz",
    "letters": "omniglot_lines.npz",
}


class Line(NamedTuple):
    """A line of writing: points [T, 3] (dx, dy in x-heights, y up; 1 where the pen is lifted behind
    the point), what is written, by whom, the contributor, and whether its text is in training
    too."""

    points: np.ndarray
    text: str
    writer: int
    source: str
    seen_text: bool


def read_lines(data: Path, kind: str, split: str) -> list[Line]:
    """The lines of one of `FILES` and a split."""
    with np.load(data / FILES[kind]) as stored:
        arrays = {name: stored[name] for name in stored.files}
    lifted = np.unpackbits(arrays["eos"])[: len(arrays["dx"])]
    offsets = np.stack([arrays["dx"], arrays["dy"]], 1) / float(arrays["unit"])
    points = np.concatenate([offsets, lifted[:, None]], 1).astype(np.float32)
    texts = bytes(arrays["text"]).decode("ascii").split("\n")
    begins = arrays["start"]
    seen = arrays.get("seen_text", np.zeros(len(begins) - 1, bool))
    return [
        Line(
            points[begins[n] : begins[n + 1]],
            texts[n],
            int(arrays["writer"][n]),
            str(arrays["source_names"][arrays["source"][n]]),
            bool(seen[n]),
        )
        for n in range(len(begins) - 1)
        if arrays["split"][n] == SPLITS.index(split)
    ]


def changed(
    points: np.ndarray, rng: np.random.Generator, slant: float, stretch: float
) -> np.ndarray:
    """A line as it could have been written: leaning more or less, wider or narrower. Offsets are
    stored in hundredths of an x-height; noise of that width makes them continuous."""
    lean, wide, tall = rng.normal(0, (slant, stretch, stretch / 2))
    dx, dy, lifted = points.T
    dx = (dx + lean * dy) * np.exp(wide)
    dy = dy * np.exp(tall)
    return continuous(np.stack([dx, dy, lifted], 1), rng)


def continuous(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points with noise of the width of a stored unit, whose density a network can be asked for."""
    noise = rng.uniform(-0.005, 0.005, (len(points), 2))
    return np.concatenate([points[:, :2] + noise, points[:, 2:]], 1).astype(np.float32)
