"""Time rnnzoo beside what a user would take instead: the same weights, inputs and results, in turn.

    python tools/benchmark.py [NAME ...] [--rows ROW ...] [--threads 2] [--rounds 5] [--quick]
                              [--engines ENGINE ...] [--data DIR] [-o FOLDER]
    python tools/benchmark.py --merge FOLDER/benchmark.json ... -o FOLDER
                              [--brief CASE ... | --rates CASE ... [--engines ENGINE ...]]
                              [--floors]

writes benchmark.json, benchmark.md and benchmark.png. Engines are plain Keras on its own layers
(`keras.Model.predict`), PyTorch (`torch.nn`, weights carried over), ONNX Runtime (the exported
graph), XLA (rnnzoo's network, compiled for each shape) and rnnzoo's own; one is timed only once its
results are found to be rnnzoo's, those that round (int8, bfloat16) aside. Networks, the batches
that `predict` makes and training steps have their arithmetic's floor beside, growth has it in the
picture and where another is ahead (`bench/floor.py`). The search on PyTorch keeps sentences that
are done to the end of their batch. Needs the extra `bench`; an engine that is not installed is left
out, and the table says so. Each entry is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench import record  # noqa: E402
from processor import processor  # noqa: E402

ROWS = ("latency", "batch", "mixed", "growth", "decode", "train", "memory", "cold")
_PACKAGES = ("rnnzoo", "tensorflow", "keras", "torch", "onnxruntime", "numpy")


def about(
    threads: int, rounds: int, quick: bool, data: Path | None, peaks: dict[str, float]
) -> dict[str, Any]:
    """Machine, versions, and how it was measured."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "peaks": peaks,
        "threads": threads,
        "rounds": rounds,
        "sizes": "quick" if quick else "full",
        "inputs": "data sets and bundled fixtures" if data else "bundled and made up",
        "versions": versions,
    }


def measure(
    name: str,
    rows: list[str],
    engines: list[str],
    threads: int,
    rounds: int,
    quick: bool,
    data: Path | None,
    peaks: dict[str, float],
) -> list[record.Row]:
    """The rows of one entry, in this process."""
    from bench.children import processes
    from bench.families import family_of
    from bench.peers import set_threads
    from bench.rows import ROWS as TIMED
    from bench.rows import Measurement
    from bench.train import train

    import rnnzoo

    set_threads(threads)
    task = rnnzoo.load(name, dtype="float32")
    found: list[record.Row] = []

    def kept(some: Any) -> None:
        for row in some:
            if row is not None:
                found.append(row)
                print(f"{name}: {row.row}, {row.case}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        asked = [record.ENGINES[engine] for engine in engines]
        family = family_of(task, name, data)
        m = Measurement.of(family, threads, Path(folder), rounds, quick, asked, peaks)
        for row in rows:
            if row in TIMED:
                kept(TIMED[row](m))
        if "train" in rows:
            kept(train(m, threads))
        if own := {"memory", "cold"} & set(rows):
            kept(processes(m, threads, Path(folder), own))
    return found


def each_alone(names: list[str], arguments: list[str]) -> list[dict[str, Any]]:
    """Reports of several entries, each measured in a process of its own."""
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            command = [sys.executable, __file__, name, *arguments, "-o", folder, "--no-picture"]
            subprocess.run(command, check=True)
            reports.append(json.loads(Path(folder, "benchmark.json").read_text(encoding="utf-8")))
    return reports


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("names", nargs="*", metavar="NAME", help="entries (all)")
    found.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    engines = list(record.ENGINES)
    found.add_argument("--engines", nargs="+", choices=engines, default=engines)
    found.add_argument("--threads", type=int, default=2, help="of every engine (2)")
    found.add_argument("--rounds", type=int, help="turns of each engine (5; quick: 2)")
    found.add_argument("--quick", action="store_true", help="small sets and short turns: a try")
    found.add_argument("--data", type=Path, help="folder of data sets, with en-fr and protein")
    found.add_argument("-o", "--output", type=Path, default=Path("benchmark"), metavar="FOLDER")
    found.add_argument("--merge", nargs="+", type=Path, metavar="JSON", help="put reports together")
    found.add_argument(
        "--brief", nargs="+", metavar="CASE", help="print these cases or rows alone, in short"
    )
    found.add_argument("--rates", nargs="+", metavar="CASE", help="print these cases' rates alone")
    found.add_argument("--floors", action="store_true", help="print what has a floor alone")
    found.add_argument("--no-picture", action="store_true")
    found.add_argument(
        "--peaks", type=json.loads, metavar="JSON", help="of the machine (measured at the start)"
    )
    return found


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    rounds = options.rounds or (2 if options.quick else 5)
    if options.threads < 1 or rounds < 1:
        parser().error("--threads and --rounds must be at least 1")
    if options.merge:
        reports = [json.loads(path.read_text(encoding="utf-8")) for path in options.merge]
    else:
        from bench.peaks import measured_peaks

        import rnnzoo

        names = options.names or rnnzoo.list_models()
        peaks = options.peaks or measured_peaks(options.threads)
        if len(names) == 1:
            rows = [row for row in ROWS if row in options.rows]
            data = options.data
            found = measure(
                names[0],
                rows,
                options.engines,
                options.threads,
                rounds,
                options.quick,
                data,
                peaks,
            )
            told = about(options.threads, rounds, options.quick, data, peaks)
            measured = f"{told['date']}, {rounds} round{'s' * (rounds > 1)}, {processor()}"
            rows_found = [vars(row) | {"measured": measured} for row in found]
            reports = [{"about": told, "rows": rows_found}]
        else:
            given = ["--threads", str(options.threads), "--rounds", str(rounds)]
            given += ["--rows", *options.rows, "--engines", *options.engines]
            given += ["--quick"] * options.quick
            given += ["--peaks", json.dumps(peaks)]
            given += ["--data", str(options.data)] if options.data else []
            reports = each_alone(names, given)
    report = record.merged(reports)
    record.write(report, options.output)
    if not options.no_picture:
        from bench.picture import draw

        draw(report, options.output / "benchmark.png")
    if options.floors:
        print(record.beside_floors(report))
    else:
        engines = [record.ENGINES[engine] for engine in options.engines]
        if options.brief:
            print(record.brief(report, options.brief, engines))
        elif options.rates:
            print(record.rates(report, options.rates, engines))
        else:
            print(record.table(report))


if __name__ == "__main__":
    main()
