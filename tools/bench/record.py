"""What was measured, as JSON, and the table that is made of it.

A figure is a summary of seconds (`timing.summary`) for each engine, or plain numbers where it is no
time; ratios are of medians, of another engine to the better of rnnzoo's two with equal results:
below 1 the other is faster. Int8 and bfloat16 round: what that costs is in `differs by`, and for
int8 in figures of whole sets by `tools/quantized.py`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

RNNZOO, RNNZOO_ONNX = "rnnzoo", "rnnzoo onnx"
RNNZOO_INT8, RNNZOO_BFLOAT16 = "rnnzoo onnx int8", "rnnzoo bfloat16"
XLA, KERAS, ONNX, TORCH = "XLA", "Keras", "ONNX Runtime", "PyTorch"
OURS = (RNNZOO, RNNZOO_ONNX)  # with equal results
ROUNDED = (RNNZOO_INT8, RNNZOO_BFLOAT16)  # with other results
ORDER = (*OURS, *ROUNDED, XLA, KERAS, ONNX, TORCH)
ENGINES = {
    "rnnzoo": RNNZOO,
    "rnnzoo-onnx": RNNZOO_ONNX,
    "rnnzoo-int8": RNNZOO_INT8,
    "rnnzoo-bfloat16": RNNZOO_BFLOAT16,
    "xla": XLA,
    "keras": KERAS,
    "onnx": ONNX,
    "torch": TORCH,
}
_SPREAD_OF = 3  # fewer samples than this have none
BARE_IMPORT = "import "
CLOSE = 1.1  # a peer that is faster by more than this has to be explained
_LEGEND = """\
rnnzoo is what `load(name)` gives, rnnzoo onnx what `load(name, engine="onnx")`, int8 and bfloat16
what `quantize="int8"` with that and `dtype="mixed_bfloat16"` without it. Keras, XLA, ONNX Runtime
and PyTorch are what one would take instead, with the same weights and inputs. The ratio is of
medians, to the better of rnnzoo and rnnzoo onnx: below 1 the other is faster, or takes less.
"differs by" is how far results are from rnnzoo's. The floor is what the arithmetic alone takes at
the machine's peaks (`tools/bench/floor.py`). Figures of growth are exponents: 1 is in proportion to
the size."""


@dataclasses.dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    entry, row, case : str
        The model, the kind of row, and what was done.
    figures : dict
        By engine: a summary, whose "median" is compared.
    unit : str
        Of the figures: "s", "MB" or "exponent".
    amounts : dict
        What one call works off, by unit: {"sentences": 32}; rates are made of it.
    differences : dict
        By engine, how far its results are from rnnzoo's.
    left_out : dict
        By engine, why it has no figure.
    points : dict
        By engine, pairs of size and seconds.
    floors : list
        Of a row with points, pairs of size and the floor's seconds.
    note : str
    floor : dict
        What the arithmetic of the network, or of the batches that `predict` makes, takes at the
        least: "operations", "bytes", "seconds" (`floor.floor`).
    own_amounts : dict
        `amounts` by engine, of those whose results are others.
    measured : str
        On which day, with how many rounds, on which processor.
    """

    entry: str
    row: str
    case: str
    figures: dict[str, dict[str, float]]
    unit: str = "s"
    amounts: dict[str, float] = dataclasses.field(default_factory=dict)
    differences: dict[str, float] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    points: dict[str, list[list[float]]] = dataclasses.field(default_factory=dict)
    floors: list[list[float]] = dataclasses.field(default_factory=list)
    note: str = ""
    floor: dict[str, float] = dataclasses.field(default_factory=dict)
    own_amounts: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    measured: str = ""

    def ratios(self, ours: Collection[str] = OURS) -> dict[str, float]:
        """The median of each other engine over that of the better of `ours`: below 1 it is
        faster, or takes less. None of exponents, of engines whose results differ too much, and of
        bare imports, which are what an engine's own takes at the least.

        Examples
        --------
        >>> Row("e", "latency", "predict", {"rnnzoo": {"median": 2.0}, "Keras": {"median": 3.0}}
        ...     ).ratios()
        {'Keras': 1.5}
        """
        own = [self.figures[name]["median"] for name in ours if name in self.figures]
        if not own or self.unit == "exponent":
            return {}
        others = (n for n in self.figures if n not in OURS and not n.startswith(BARE_IMPORT))
        return {name: self.figures[name]["median"] / min(own) for name in others}


def order_of(row: Row) -> list[str]:
    """The engines that a row has figures for, in the table's order."""
    known = [name for name in ORDER if name in row.figures]
    return known + [name for name in row.figures if name not in known]


def shown(value: float, unit: str) -> str:
    """A figure for a table.

    Examples
    --------
    >>> shown(0.00123, "s"), shown(2.5, "s"), shown(812.4, "MB")
    ('1.23 ms', '2.5 s', '812 MB')
    """
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.2f}" if unit == "exponent" else f"{value:.0f} {unit}"


def table(report: Mapping[str, Any]) -> str:
    """A report as Markdown.

    Examples
    --------
    >>> row = Row("net", "batch", "predict", {"rnnzoo": {"median": 2.0, "p5": 1.0, "p95": 3.0}})
    >>> text = table({"about": {"date": "today"}, "rows": [dataclasses.asdict(row)]})
    >>> text.splitlines()[0]
    'date: today'
    >>> print(text[text.index("## net") :])
    ## net
    <BLANKLINE>
    | row | what | engine | median | p5 to p95 | rate | ratio | differs by |
    |---|---|---|--:|--:|--:|--:|--:|
    | batch | predict | rnnzoo | 2 s | 1 s to 3 s | | | |
    """
    lines = [f"{name}: {_said(value)}" for name, value in report["about"].items()]
    lines += ["", _LEGEND]
    rows = [Row(**row) for row in report["rows"]]
    for entry in dict.fromkeys(row.entry for row in rows):
        head = ["row", "what", "engine", "median", "p5 to p95", "rate", "ratio", "differs by"]
        lines += ["", f"## {entry}", "", f"| {' | '.join(head)} |"]
        lines.append("|---|---|---|--:|--:|--:|--:|--:|")
        own = [row for row in rows if row.entry == entry]
        for row in own:
            lines += _lines(row)
        notes = [f"- {row.row}, {row.case}: {row.note}" for row in own if row.note]
        reasons: dict[str, list[str]] = {}
        for row in own:
            for name, why in row.left_out.items():
                reasons.setdefault(f"{name}: {why}", []).append(f"{row.row}, {row.case}")
        notes += [f"- without {why} ({'; '.join(where)})" for why, where in reasons.items()]
        days: dict[str, list[str]] = {}
        for row in own:
            days.setdefault(row.measured, []).append(f"{row.row}, {row.case}")
        notes += [f"- measured {day}: {'; '.join(where)}" for day, where in days.items() if day]
        lines += ["", *notes] if notes else []
    for title, own in (("rnnzoo", OURS), ("rnnzoo's default, TensorFlow", (RNNZOO,))):
        if slower := behind(rows, own):
            lines += ["", f"## Where another is more than {CLOSE} times faster than {title}", ""]
            lines += [f"- {line}" for line in slower]
    return "\n".join(lines)


def brief(report: Mapping[str, Any], cases: Iterable[str], engines: Collection[str] = ORDER) -> str:
    """Medians of some cases as a short table, a line for each entry and case.

    Examples
    --------
    >>> row = Row("net", "batch", "predict", {"rnnzoo": {"median": 2.0}, "Keras": {"median": 3.0}})
    >>> print(brief({"rows": [dataclasses.asdict(row)]}, ["predict"]))
    | entry | what | rnnzoo | Keras |
    |---|---|--:|--:|
    | `net` | predict | 2 s | 3 s |
    """
    rows, engines = _chosen(report, cases, engines)
    lines = [f"| entry | what | {' | '.join(engines)} |", "|---|---|" + "--:|" * len(engines)]
    for row in rows:
        cells = [
            shown(row.figures[name]["median"], row.unit) if name in row.figures else ""
            for name in engines
        ]
        lines.append(f"| `{row.entry}` | {row.case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _chosen(
    report: Mapping[str, Any], cases: Iterable[str], engines: Collection[str]
) -> tuple[list[Row], list[str]]:
    """The rows of some cases, or of a kind ("train"), by entry and in the order asked for; and the
    engines that have a figure in them."""
    wanted = list(cases)

    def place(row: Row) -> int:
        return wanted.index(row.case if row.case in wanted else row.row)

    rows = [Row(**row) for row in report["rows"] if {row["case"], row["row"]}.intersection(wanted)]
    rows.sort(key=lambda row: (row.entry, place(row)))
    return rows, [n for n in ORDER if n in engines and any(n in row.figures for row in rows)]


def rates(report: Mapping[str, Any], cases: Iterable[str], engines: Collection[str] = ORDER) -> str:
    """How much of each unit some cases work off in a second, as a short table.

    Examples
    --------
    >>> row = Row("net", "batch", "predict", {"rnnzoo": {"median": 2.0}}, amounts={"lines": 32})
    >>> print(rates({"rows": [dataclasses.asdict(row)]}, ["predict"]))
    | entry | what | a second | rnnzoo |
    |---|---|---|--:|
    | `net` | predict | lines | 16 |
    """
    rows, engines = _chosen(report, cases, engines)
    lines = [f"| entry | what | a second | {' | '.join(engines)} |"]
    lines.append("|---|---|---|" + "--:|" * len(engines))
    for row in rows:
        for unit in row.amounts:
            cells = [
                _rate(row.own_amounts.get(name, row.amounts)[unit] / row.figures[name]["median"])
                if name in row.figures
                else ""
                for name in engines
            ]
            lines.append(f"| `{row.entry}` | {row.case} | {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def beside_floors(report: Mapping[str, Any]) -> str:
    """The floors of a report's networks, batches and training steps beside the better of rnnzoo's
    two, and how many times the floor that is, as a short table.

    Examples
    --------
    >>> row = Row("net", "latency", "network, one input", {"rnnzoo": {"median": 0.003}})
    >>> row.floor = {"operations": 1e6, "bytes": 1e6, "seconds": 0.002}
    >>> print(beside_floors({"rows": [dataclasses.asdict(row)]}))
    | entry | what | floor | rnnzoo |
    |---|---|--:|--:|
    | `net` | network, one input | 2 ms | 3 ms (1.5) |
    """
    lines = ["| entry | what | floor | rnnzoo |", "|---|---|--:|--:|"]
    for row in sorted((Row(**row) for row in report["rows"]), key=lambda row: row.entry):
        medians = [row.figures[name]["median"] for name in OURS if name in row.figures]
        if row.floor and medians:
            floor, own = row.floor["seconds"], min(medians)
            cells = f"{shown(floor, 's')} | {shown(own, 's')} ({own / floor:.1f})"
            lines.append(f"| `{row.entry}` | {row.case} | {cells} |")
    return "\n".join(lines)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value)


def _lines(row: Row) -> Iterable[str]:
    ratios = row.ratios()
    for place, name in enumerate(order_of(row)):
        figure = row.figures[name]
        spread = ""
        if "p5" in figure and figure.get("count", _SPREAD_OF) >= _SPREAD_OF:
            spread = f"{shown(figure['p5'], row.unit)} to {shown(figure['p95'], row.unit)}"
        rate = ""
        if row.unit == "s":
            amounts = row.own_amounts.get(name, row.amounts)
            rates = [f"{n / figure['median']:,.3g} {unit}/s" for unit, n in amounts.items()]
            rate = ", ".join(rates)
        cells = [
            row.row if place == 0 else "",
            row.case if place == 0 else "",
            name,
            shown(figure["median"], row.unit),
            spread,
            rate,
            f"{ratios[name]:.2f}" if name in ratios else "",
            f"{row.differences[name]:.1g}" if row.differences.get(name) else "",
        ]
        yield _line(cells)
    if row.floor:
        counted = f"{row.floor['operations'] / 1e9:.3g} GFLOP, {row.floor['bytes'] / 1e6:.3g} MB"
        yield _line(["", "", "floor", shown(row.floor["seconds"], "s"), "", counted, "", ""])


def _line(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def behind(rows: Iterable[Row], ours: Collection[str] = OURS) -> list[str]:
    """Rows, and sizes of a row that has several, in which another engine is faster than the better
    of `ours` by more than `CLOSE`, each with the floor, if it has one.

    Examples
    --------
    >>> figures = {"rnnzoo": {"median": 2.0}, "PyTorch": {"median": 1.0}}
    >>> behind([Row("net", "latency", "predict", figures, floor={"seconds": 0.5})])
    ['net, latency, predict: PyTorch 2.00 times; ours 2 s, floor 500 ms']
    """
    found = []
    for row in rows:
        for size, one in _sizes(row):
            faster = {
                name: 1 / ratio
                for name, ratio in one.ratios(ours).items()
                if name not in ROUNDED and ratio * CLOSE < 1
            }
            if faster:
                said = ", ".join(f"{name} {times:.2f} times" for name, times in faster.items())
                best = min(one.figures[name]["median"] for name in ours if name in one.figures)
                said += f"; ours {shown(best, one.unit)}"
                if one.floor:
                    said += f", floor {shown(one.floor['seconds'], 's')}"
                found.append(f"{row.entry}, {row.row}, {row.case}{size}: {said}")
    return found


def _sizes(row: Row) -> Iterator[tuple[str, Row]]:
    """A row as it is, or for each size of its points one of their seconds."""
    if not row.points:
        yield "", row
        return
    for size in dict.fromkeys(size for points in row.points.values() for size, _ in points):
        seconds = {name: dict(points)[size] for name, points in row.points.items()}
        figures = {name: {"median": value} for name, value in seconds.items()}
        floor = {"seconds": dict(row.floors)[size]} if row.floors else {}
        yield f" {size:g}", Row(row.entry, row.row, row.case, figures, floor=floor)


def merged(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several reports as one: of rows that two have, the later one's; what their `about` differ in
    is told side by side.

    Examples
    --------
    >>> a = {"about": {"threads": 2, "date": "1"}, "rows": []}
    >>> merged([a, {"about": {"threads": 2, "date": "2"}, "rows": []}])["about"]
    {'threads': 2, 'date': '1; 2'}
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    told: dict[str, list[Any]] = {}
    for report in reports:
        for name, value in report["about"].items():
            if value not in told.setdefault(name, []):
                told[name].append(value)
        for row in report["rows"]:
            rows[row["entry"], row["row"], row["case"]] = row
    for row in rows.values():
        unnamed = [name for name in ORDER if name not in {**row["figures"], **row["left_out"]}]
        row["left_out"] = {**row["left_out"], **dict.fromkeys(unnamed, "it was not measured then")}
    about = {
        name: values[0] if len(values) == 1 else "; ".join(_parts(values))
        for name, values in told.items()
    }
    return {"about": about, "rows": list(rows.values())}


def _parts(values: Iterable[Any]) -> list[str]:
    """What several reports say, some of them merged before, each once."""
    return list(dict.fromkeys(part for value in values for part in _said(value).split("; ")))


def write(report: Mapping[str, Any], folder: Path) -> None:
    """benchmark.json and benchmark.md."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(report, indent=1, ensure_ascii=False)
    (folder / "benchmark.json").write_text(content + "\n", encoding="utf-8")
    (folder / "benchmark.md").write_text(table(report) + "\n", encoding="utf-8")
