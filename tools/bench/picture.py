"""The report as a picture: ratios as points, growth as curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.record import (
    CLOSE,
    KERAS,
    ONNX,
    OURS,
    RNNZOO,
    RNNZOO_BFLOAT16,
    RNNZOO_INT8,
    RNNZOO_ONNX,
    TORCH,
    XLA,
    Row,
)

_COLOURS = {
    RNNZOO: "black",
    RNNZOO_ONNX: "dimgray",
    RNNZOO_INT8: "tab:green",
    RNNZOO_BFLOAT16: "yellowgreen",
    XLA: "tab:purple",
    KERAS: "tab:red",
    ONNX: "tab:blue",
    TORCH: "tab:orange",
}


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the picture.

    Raises
    ------
    ImportError
        Without matplotlib, the extra `plot`.
    """
    from matplotlib.figure import Figure

    rows = [Row(**row) for row in report["rows"]]
    compared = [row for row in rows if row.ratios()]
    grown = [row for row in rows if row.points]
    height = 1.5 + 0.24 * max(1, len(compared))
    columns = 3
    lines = -(-len(grown) // columns)
    figure = Figure(figsize=(12, height + 3.2 * lines), layout="constrained")
    upper, *lower = figure.subfigures(
        1 + bool(lines), 1, height_ratios=[height, 3.2 * lines][: 1 + bool(lines)], squeeze=False
    ).ravel()
    _ratios(upper.subplots(), compared)
    if lower:
        axes = lower[0].subplots(lines, columns, squeeze=False).ravel()
        for axis, row in zip(axes, grown, strict=False):
            _growth(axis, row)
        for axis in axes[len(grown) :]:
            axis.set_axis_off()
    figure.savefig(path, dpi=110)


def _ratios(axis: Any, rows: list[Row]) -> None:
    told = set()
    for place, row in enumerate(rows):
        best = min(row.figures[name]["median"] for name in OURS if name in row.figures)
        ours = {n: row.figures[n]["median"] / best for n in OURS if n in row.figures}
        for name, ratio in {**ours, **row.ratios()}.items():
            label = None if name in told else name
            told.add(name)
            colour = _COLOURS.get(name, "gray")
            axis.plot(ratio, place, "o", color=colour, markersize=5, label=label)
    axis.axvline(1.0, color="black", linewidth=1)
    axis.axvspan(1 / CLOSE, CLOSE, color="black", alpha=0.08)
    axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), [f"{r.entry}: {r.row}, {r.case}" for r in rows], fontsize=7)
    axis.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlabel("time (or memory) over the better of rnnzoo's two; to the right that is faster")
    if told:
        axis.legend(loc="upper right", fontsize=8)


def _growth(axis: Any, row: Row) -> None:
    for name, points in row.points.items():
        sizes, seconds = zip(*points, strict=True)
        label = f"{name} ({row.figures[name]['median']:.2f})"
        axis.loglog(sizes, [1000 * s for s in seconds], "o-", color=_COLOURS.get(name), label=label)
    if row.floors:
        sizes, seconds = zip(*row.floors, strict=True)
        axis.loglog(sizes, [1000 * s for s in seconds], ":", color="gray", label="floor")
    axis.set_title(f"{row.entry}: {row.case}", fontsize=8)
    axis.set_ylabel("ms", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=6)
