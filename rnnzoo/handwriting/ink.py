"""Ink of any origin as points of one size: a tablet's strokes, InkML, or what a network wrote."""

from __future__ import annotations

import itertools
import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.errors import InputError
from rnnzoo.handwriting.result import Handwriting, InkLine

# of the ink's length over height on UNIPEN's training lines, whose x-height is known: the standard
# deviation (its logarithm varies by 0.13 from line to line), and the baseline's place below the
# lower quartile (which varies by 0.07 x-heights)
_DEVIATION, _QUARTILE = 0.624, 0.103
_LEAST_DOT, _LONGEST_DOT = 0.04, 0.1
_PEN_STEP = 0.36  # x-heights from a point to the next where the pen goes straight
_TRACES = ".//{*}trace"
_FINE, _SMOOTH = 0.025, 0.05  # x-heights


def lines_of(ink: Any, y_down: bool = False) -> list[list[np.ndarray]]:
    """The strokes of each line, [points, 2] each, y up.

    Parameters
    ----------
    ink : Handwriting, InkLine, Style, array, list of arrays, path or text
        An array [time, 3] is of offsets with 1 where the pen is lifted, as `InkLine.points`; a list
        of arrays [points, 2] is of places, one for each stroke; a path or a text is of InkML, whose
        outermost groups of traces are lines, if it has any. All others but `Handwriting` are one
        line.
    y_down : bool
        For arrays: y grows downwards, as on a screen. InkML's always does.

    Raises
    ------
    InputError
        Says what came instead.

    Examples
    --------
    >>> from rnnzoo.handwriting.ink import lines_of
    >>> (line,) = lines_of([[(0, 0), (1, 2)], [(3, 0)]], y_down=True)
    >>> [stroke.tolist() for stroke in line]
    [[[0.0, 0.0], [1.0, -2.0]], [[3.0, 0.0]]]
    """
    if isinstance(ink, Handwriting):
        return [line.strokes for line in ink.lines]
    if isinstance(ink, InkLine):
        return [ink.strokes]
    if isinstance(ink, (str, os.PathLike)):
        return _inkml(ink)
    ink = getattr(ink, "points", ink)  # of a style
    flip = np.array([1.0, -1.0 if y_down else 1.0])
    array = _array(ink)
    if array is not None and array.ndim == 2 and array.shape[1] == 3:
        with np.errstate(over="ignore"):
            points = np.asarray(array, np.float32) * [*flip, 1.0]
        if not np.isfinite(points).all():
            raise InputError("the offsets [time, 3] of the ink have numbers that are not finite")
        return [InkLine("", points, np.zeros((len(points), 0), np.float32), True).strokes]
    if not isinstance(ink, (list, tuple, np.ndarray)):
        raise InputError(
            "expected ink: a list of strokes [points, 2], offsets [time, 3], InkML or Handwriting; "
            f"got {type(ink).__name__}"
        )
    strokes = []
    for number, stroke in enumerate(ink):
        places = _array(stroke)
        if places is None or places.ndim != 2 or places.shape[1] != 2:
            shape = "no numbers" if places is None else f"an array of shape {places.shape}"
            raise InputError(f"stroke {number} must be places [points, 2], got {shape}")
        if not np.isfinite(places).all():
            raise InputError(f"stroke {number} has places that are no finite numbers")
        if len(places):
            strokes.append(places * flip + 0.0)
    return [strokes]


def _array(values: Any) -> np.ndarray | None:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return None


def _inkml(source: str | os.PathLike[str]) -> list[list[np.ndarray]]:
    """The traces of each line of InkML (W3C 2011), x and y of each point."""
    text = isinstance(source, str) and source.lstrip().startswith("<")
    try:
        root = ET.fromstring(str(source)) if text else ET.parse(Path(source)).getroot()
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    except ET.ParseError as error:
        name = "the text" if text else str(source)
        raise InputError(f"{name} is not InkML: {error}") from error
    columns = _columns(root)
    groups = [group.findall(_TRACES) for group in root.findall("{*}traceGroup")]
    grouped = set(itertools.chain(*groups))
    loose = [trace for trace in root.findall(_TRACES) if trace not in grouped]
    found = [[_places(trace, columns) for trace in traces] for traces in (*groups, loose)]
    lines = [[places for places in line if len(places)] for line in found]
    if not any(lines):
        raise InputError("the InkML has no trace with points in it")
    return [line for line in lines if line]


def _columns(root: ET.Element) -> list[int]:
    """Where x and y stand in a point: first, unless a trace format says otherwise."""
    channels = root.findall(".//{*}traceFormat[1]//{*}channel")
    names = [channel.get("name") for channel in channels]
    if not names:
        return [0, 1]
    if not {"X", "Y"} <= set(names):
        raise InputError(f"the InkML's trace format has no channels X and Y, but {names}")
    return [names.index("X"), names.index("Y")]


def _places(trace: ET.Element, columns: list[int]) -> np.ndarray:
    """[points, 2] of a trace, y up."""
    try:
        points = [point.split() for point in (trace.text or "").split(",") if point.strip()]
        places = np.array([[float(point[n]) for n in columns] for point in points], float)
        if not np.isfinite(places).all():
            raise ValueError("no finite numbers")
    except (ValueError, IndexError) as error:
        raise InputError(
            "InkML is read where a trace has plain numbers, x and y for each point; found "
            f"{trace.text!r:.60}"
        ) from error
    return places.reshape(-1, 2) * [1.0, -1.0]


def normalized(strokes: list[np.ndarray]) -> list[np.ndarray]:
    """Strokes in x-heights from the begin of the baseline, by what their ink looks like: no text
    is needed.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting.ink import normalized
    >>> wave = np.stack([np.arange(90.0), 30 * np.sin(np.arange(90.0))], 1)
    >>> twice = normalized([7 + 2 * wave])
    >>> np.allclose(twice[0], normalized([wave])[0])
    True
    """
    if not strokes:
        return []
    # the ink as short pieces: their height and their length
    heights, lengths = [], []
    for stroke in strokes:
        step = np.diff(stroke, axis=0, append=stroke[-1:])
        heights.append(stroke[:, 1] + 0.5 * step[:, 1])
        lengths.append(np.hypot(*step.T))
    height, length = np.concatenate(heights), np.concatenate(lengths)
    if length.sum() > 0:
        mean = np.average(height, weights=length)
        deviation = np.sqrt(np.average(np.square(height - mean), weights=length))
        order = np.argsort(height)
        reached = np.cumsum(length[order]) / length.sum()
        quartile = float(np.interp(0.25, reached, height[order]))
    else:
        deviation, quartile = 0.0, float(height.mean())
    extent = np.ptp(np.concatenate(strokes), axis=0).max()
    size = deviation / _DEVIATION if deviation > 1e-3 * extent else (extent or 1.0)
    left = float(strokes[0][0, 0])
    begin = np.array([left, quartile - _QUARTILE * size])
    return [(stroke - begin) / size for stroke in strokes]


def evenly(strokes: list[np.ndarray], spacing: float) -> np.ndarray:
    """Points [time, 3] as `InkLine.points` has them, `spacing` apart along each stroke; a dot is
    two points.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting.ink import evenly
    >>> points = evenly([np.array([[0.0, 0.0], [0.0, 1.0]])], 0.5)
    >>> points[:, 1].tolist(), points[:, 2].tolist()
    ([0.0, 0.5, 0.5], [0.0, 0.0, 1.0])
    """
    places = []
    for stroke in strokes:
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))])
        if along[-1] < 2 * _LEAST_DOT:
            own = _dot(stroke)
        else:
            count = max(2, 1 + round(along[-1] / spacing))
            at = np.linspace(0.0, along[-1], count)
            own = np.stack([np.interp(at, along, axis) for axis in stroke.T], 1)
        places.append(own)
    return points_of(places)


def in_pen_time(stroke: np.ndarray, step: float = _PEN_STEP) -> np.ndarray:
    """A stroke [points, 2] in x-heights as the pens move that the writing networks learnt from:
    evenly in time at a speed that falls with the cube root of the curvature (Lacquaniti, Terzuolo
    and Viviani 1983). A dot is two points.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting.ink import in_pen_time
    >>> len(in_pen_time(np.array([[0.0, 0.0], [0.0, 3.6]])))  # a straight line is quick
    11
    """
    stroke = stroke[np.append(True, np.abs(np.diff(stroke, axis=0)).max(1) > 1e-6)]
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(stroke, axis=0).T)))
    if along[-1] < _LONGEST_DOT:
        return _dot(stroke)
    count = max(8, int(along[-1] / _FINE))
    at = np.linspace(0.0, along[-1], count + 1)
    fine = np.stack([np.interp(at, along, axis) for axis in stroke.T], 1)
    fine = _smoothed(fine, min(_SMOOTH, 0.12 * along[-1]) * count / along[-1])
    tangent = np.gradient(fine, axis=0)
    turned = np.abs(np.gradient(np.unwrap(np.arctan2(*tangent.T[::-1]))))
    curvature = turned / (np.hypot(*tangent.T) + 1e-9)
    mean = np.convolve(np.pad(curvature, 5, mode="edge"), np.full(11, 1 / 11), "valid")
    slowness = (1 + np.square(np.minimum(mean, 14.0) / 1.2)) ** (1 / 6)
    lengths = np.hypot(*np.diff(fine, axis=0).T)
    time = np.append(0.0, np.cumsum(lengths * (slowness[1:] + slowness[:-1]) / 2))
    found = np.linspace(0.0, time[-1], max(3, 1 + round(time[-1] / step)))
    return np.stack([np.interp(found, time, axis) for axis in fine.T], 1)


def _dot(stroke: np.ndarray) -> np.ndarray:
    half = np.array([_LEAST_DOT, -_LEAST_DOT])
    return np.stack([stroke.mean(0) - half, stroke.mean(0) + half])


def _smoothed(places: np.ndarray, sigma: float) -> np.ndarray:
    """Places with a Gaussian of `sigma` places laid over them; the ends stay."""
    radius = min(int(np.ceil(3 * sigma)), len(places) - 1)
    window = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    before = 2 * places[0] - places[radius:0:-1]
    behind = 2 * places[-1] - places[-2 : -radius - 2 : -1]
    whole = np.concatenate([before, places, behind])
    found = [np.convolve(axis, window / window.sum(), "valid") for axis in whole.T]
    return np.concatenate([places[:1], np.stack(found, 1)[1:-1], places[-1:]])


def points_of(strokes: Sequence[Any]) -> np.ndarray:
    """Points [time, 3] as `InkLine.points` has them, of strokes [points, 2]: the inverse of
    `InkLine.strokes`.

    Examples
    --------
    >>> from rnnzoo.handwriting.ink import points_of
    >>> points_of([[(0, 1), (1, 0)], [(3, 0)]]).tolist()
    [[0.0, 1.0, 0.0], [1.0, -1.0, 1.0], [2.0, 0.0, 1.0]]
    """
    if not len(strokes):
        return np.zeros((0, 3), np.float32)
    lifted = [np.eye(1, len(stroke), len(stroke) - 1)[0] for stroke in strokes]
    offsets = np.diff(np.concatenate([[[0.0, 0.0]], *strokes]), axis=0)
    return np.concatenate([offsets, np.concatenate(lifted)[:, None]], 1).astype(np.float32)
