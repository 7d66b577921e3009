"""What a writing network gives back: ink, and the pictures and files that are made of it."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from rnnzoo.errors import InputError, MissingDependencyError
from rnnzoo.figures import new_figure

_ABOVE, _BELOW, _MARGIN = 2.4, 1.6, 0.8  # of a line's baseline and of the page, in x-heights
_LEAST_WIDTH = 4.0
_FRAMES, _FRAME_MILLISECONDS = 60, 50
_OVERSAMPLED = 4
_SECONDS_PER_POINT = 0.012


@dataclasses.dataclass(frozen=True, eq=False)
class InkLine:
    """A line of ink.

    Attributes
    ----------
    text : str
    points : np.ndarray
        [time, 3], float32: the pen's offset from the point before in x-heights, x to the right and
        y up, and 1 where the pen is lifted behind the point. The first offset is from the
        baseline.
    attention : np.ndarray
        [time, characters], float32: phi (equation 46), how much each character was looked at.
    finished : bool
        Whether the pen was lifted once the window had gone past the text; otherwise the line hit
        its bound, or the pen went on behind the text.
    """

    text: str
    points: np.ndarray
    attention: np.ndarray
    finished: bool

    @property
    def strokes(self) -> list[np.ndarray]:
        """[points, 2] of each stroke: x and y in x-heights from the begin of the baseline."""
        places = np.cumsum(self.points[:, :2], axis=0, dtype=np.float64).astype(np.float32)
        ends = np.flatnonzero(self.points[:-1, 2] > 0.5) + 1
        return [stroke for stroke in np.split(places, ends) if len(stroke)]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Handwriting:
    """A text as ink; prints as the text, shows itself as a picture in a notebook.

    Attributes
    ----------
    text : str
        As it was written.
    lines : tuple of InkLine
    line_spacing : float
        From a baseline to the next, in x-heights.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting import Handwriting, InkLine
    >>> points = np.array([[0, 1, 0], [1, -1, 1], [1, 0, 1]], "float32")
    >>> ink = Handwriting("v.", (InkLine("v.", points, np.ones((3, 2), "float32"), True),))
    >>> [stroke.tolist() for stroke in ink.strokes]
    [[[0.0, 1.0], [1.0, 0.0]], [[2.0, 0.0]]]
    >>> ink.stroke3().tolist()
    [[0.0, -1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
    """

    text: str
    lines: tuple[InkLine, ...]
    line_spacing: float = 4.0

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        points = sum(len(line.points) for line in self.lines)
        return f"Handwriting({self.text!r:.80}, {len(self.lines)} lines, {points:,} points)"

    @property
    def strokes(self) -> list[np.ndarray]:
        """[points, 2] of each stroke of the page: x and y in x-heights, y up, from the begin of
        the first line's baseline."""
        return [
            stroke - np.array([0.0, number * self.line_spacing], np.float32)
            for number, line in enumerate(self.lines)
            for stroke in line.strokes
        ]

    def stroke3(self) -> np.ndarray:
        """[points, 3]: dx, dy and 1 where the pen is lifted behind the point, as sketch-rnn (Ha and
        Eck 2017) has them: y goes down, the first offset is from the first baseline's begin."""
        strokes = self.strokes
        if not strokes:
            return np.zeros((0, 3), np.float32)
        lifted = np.concatenate([np.eye(1, len(s), len(s) - 1)[0] for s in strokes])
        places = np.concatenate([[[0.0, 0.0]], *strokes])
        offsets = np.diff(places, axis=0) * [1.0, -1.0] + 0.0
        return np.concatenate([offsets, lifted[:, None]], 1).astype(np.float32)

    def stroke5(self) -> np.ndarray:
        """[points + 1, 5]: dx, dy, and one of pen down, pen lifted, end, as sketch-rnn has them."""
        three = self.stroke3()
        lifted = three[:, 2:]
        five = np.concatenate([three[:, :2], 1 - lifted, lifted, 0 * lifted], 1)
        end = np.array([[0, 0, 0, 0, 1]], np.float32)
        return np.concatenate([five.astype(np.float32), end])

    def to_dict(self) -> dict[str, Any]:
        """As plain values: the strokes of each line in x-heights, from its baseline's begin."""
        return {
            "text": self.text,
            "line_spacing": self.line_spacing,
            "lines": [
                {
                    "text": line.text,
                    "finished": line.finished,
                    "strokes": [np.round(s.astype(float), 3).tolist() for s in line.strokes],
                }
                for line in self.lines
            ],
        }

    # --- pictures --------------------------------------------------------------------------

    def _frame(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the page in x-heights; y down."""
        strokes = self.strokes
        places = np.concatenate([*strokes, np.zeros((1, 2), np.float32)])
        (left, low), (right, high) = places.min(0), places.max(0)
        bottom = max(-low, self.line_spacing * (max(1, len(self.lines)) - 1) + _BELOW) + _MARGIN
        top = -max(high, _ABOVE) - _MARGIN
        left, right = left - _MARGIN, max(right, _LEAST_WIDTH) + _MARGIN
        return float(left), float(top), float(right - left), float(bottom - top)

    def to_svg(
        self, animated: bool = False, color: str = "#1a237e", width: float = 0.12, scale: float = 20
    ) -> str:
        """A picture as SVG.

        Parameters
        ----------
        animated : bool
            Drawn stroke by stroke.
        color : str
            Of the ink, as SVG has it.
        width : float
            Of the pen, in x-heights.
        scale : float
            Pixels for an x-height.

        Raises
        ------
        InputError
            For a width or scale that is not above 0.
        """
        for name, value in (("width", width), ("scale", scale)):
            if not value > 0:
                raise InputError(f"{name} must be above 0, got {value!r}")
        left, top, wide, tall = self._frame()
        paths, begin = [], 0.0
        for stroke in self.strokes:
            seconds = _SECONDS_PER_POINT * (len(stroke) + 4)
            moves = ""
            if animated:
                moves = ' pathLength="1" stroke-dasharray="1 1" style="animation:'
                moves += f'rnnzoo-writes {seconds:.2f}s {begin:.2f}s both"'
            paths.append(f'<path d="{_path(stroke)}"{moves}/>')
            begin += seconds
        style = "@keyframes rnnzoo-writes{from{stroke-dashoffset:1}to{stroke-dashoffset:0}}"
        style = f"<style>{style}</style>" if animated else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide * scale:.0f}" '
            f'height="{tall * scale:.0f}" viewBox="{left:.2f} {top:.2f} {wide:.2f} {tall:.2f}">'
            f"<title>{escape(self.text)}</title>{style}"
            f'<g fill="none" stroke="{escape(color, {chr(34): "&quot;"})}" '
            f'stroke-width="{width:g}" stroke-linecap="round" stroke-linejoin="round">'
            f"{''.join(paths)}</g></svg>"
        )

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def to_image(self, scale: float = 20, width: float = 0.12) -> Any:
        """A picture as `PIL.Image.Image`, black on white; `scale` pixels for an x-height.

        Raises
        ------
        MissingDependencyError
            Without Pillow.
        """
        return next(iter(self._images([None], scale, width)))

    def _images(self, counts: list[int | None], scale: float, width: float) -> list[Any]:
        """Pictures of the first `count` points of each, all for None."""
        try:
            from PIL import Image, ImageDraw
        except ImportError as error:
            raise MissingDependencyError("A picture of ink", "pillow", "plot") from error
        left, top, wide, tall = self._frame()
        size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
        fine = _OVERSAMPLED * scale
        pen = max(1, round(width * fine))
        images = []
        for count in counts:
            image = Image.new("L", (size[0] * _OVERSAMPLED, size[1] * _OVERSAMPLED), 255)
            draw, left_over = ImageDraw.Draw(image), count
            for stroke in self.strokes:
                shown = stroke if left_over is None else stroke[: max(0, left_over)]
                left_over = None if left_over is None else left_over - len(stroke)
                if not len(shown):
                    break
                places = [((x - left) * fine, (-y - top) * fine) for x, y in shown.tolist()]
                if len(places) > 1:
                    draw.line(places, 0, pen, joint="curve")
                for x, y in (places[0], places[-1]):
                    draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 0)
            images.append(image.resize(size, Image.Resampling.LANCZOS))
        return images

    def plot(self) -> Any:
        """Each line with what was looked at while it was written (figure 13 of the paper); an array
        of `matplotlib.axes.Axes`."""
        count = max(1, len(self.lines))
        figure = new_figure(10, 3.6 * count)
        grid = figure.subplots(2 * count, 1, squeeze=False)[:, 0]
        for n, line in enumerate(self.lines):
            ink, window = grid[2 * n], grid[2 * n + 1]
            for stroke in line.strokes:
                ink.plot(*stroke.T, color="#1a237e", linewidth=1.5, solid_capstyle="round")
            ink.set_aspect("equal", adjustable="datalim")
            ink.set_axis_off()
            window.imshow(line.attention.T, aspect="auto", cmap="magma", vmin=0)
            window.set_yticks(range(len(line.text)), list(line.text), fontsize=7)
            window.set_xlabel("point")
        return grid

    # --- files -----------------------------------------------------------------------------

    def to_inkml(self) -> str:
        """The page as InkML (W3C 2011), a group of traces for each line: x to the right and y down,
        in hundredths of an x-height, the first baseline at 0."""
        groups = []
        for number, line in enumerate(self.lines):
            traces = []
            for stroke in line.strokes:
                places = stroke - [0.0, number * self.line_spacing]
                points = (f"{round(100 * x)} {round(-100 * y)}" for x, y in places.tolist())
                traces.append(f"<trace>{', '.join(points)}</trace>")
            groups.append(f"<traceGroup>{''.join(traces)}</traceGroup>" if traces else "")
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ink xmlns="http://www.w3.org/2003/InkML">'
            f'<annotation type="truth">{escape(self.text)}</annotation>'
            '<traceFormat><channel name="X" type="integer"/><channel name="Y" type="integer"/>'
            f"</traceFormat>{''.join(groups)}</ink>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file of the kind that its ending names: .svg, .png, .gif (drawn point by point),
        .inkml or .json.

        Raises
        ------
        InputError
            For another ending, and where the file cannot be written.
        MissingDependencyError
            For .png and .gif without Pillow.
        """
        kinds: dict[str, Callable[[], bytes]] = {
            ".svg": lambda: self.to_svg().encode(),
            ".png": self._png,
            ".gif": self._gif,
            ".inkml": lambda: self.to_inkml().encode(),
            ".json": lambda: (json.dumps(self.to_dict(), ensure_ascii=False) + "\n").encode(),
        }
        target = Path(path)
        kind = kinds.get(target.suffix.lower())
        if kind is None:
            raise InputError(
                f"{target.name} has to end in {', '.join(kinds)}: the ending says what is written"
            )
        _write(target, kind())

    def _png(self) -> bytes:
        buffer = io.BytesIO()
        self.to_image().save(buffer, "PNG")
        return buffer.getvalue()

    def _gif(self) -> bytes:
        total = sum(map(len, self.strokes))
        counts: list[int | None] = [round(total * n / _FRAMES) for n in range(1, _FRAMES)]
        first, *rest = self._images([*counts, None], 12, 0.14)
        buffer = io.BytesIO()
        durations = [*[_FRAME_MILLISECONDS] * len(counts), 2000]
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
        return buffer.getvalue()


def _path(stroke: np.ndarray) -> str:
    """A stroke as SVG's path: curves that go through the middles between points."""
    places = [(x, -y) for x, y in np.round(stroke.astype(float), 2).tolist()]
    (x, y), last = places[0], places[-1]
    parts = [f"M{x:g} {y:g}"]
    for (x, y), (u, v) in itertools.pairwise(places[1:]):
        parts.append(f"Q{x:g} {y:g} {(x + u) / 2:.5g} {(y + v) / 2:.5g}")
    return "".join([*parts, f"L{last[0]:g} {last[1]:g}"])


def _write(target: Path, content: bytes) -> None:
    """A whole file or none."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        try:
            partial.write_bytes(content)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error}") from error
