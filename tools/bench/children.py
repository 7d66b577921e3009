"""Memory and cold start: each engine in a process of its own, one after the other.

Where rnnzoo converts graphs for onnxruntime there are two: one that finds nothing in the cache and
one that finds what the first has kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.record import BARE_IMPORT, KERAS, RNNZOO_INT8, RNNZOO_ONNX, XLA, Row
from bench.rows import BATCH, Measurement
from bench.timing import summary

_CHILD = Path(__file__).with_name("child.py")
_BARE = {
    "tensorflow": "import:tensorflow",
    "torch": "import:torch",
    "onnxruntime": "import:onnxruntime",
}


def written(m: Measurement, folder: Path) -> None:
    """What the processes of PyTorch and ONNX Runtime need; network.onnx is there already."""
    family = m.family
    described = {"family": family.task.family, "network": family.config()}
    (folder / "config.json").write_text(json.dumps(described))
    np.savez(folder / "weights.npz", **family.arrays())
    for name, count in (("one", 1), ("many", BATCH)):
        np.savez(folder / f"{name}.npz", **family.tensors(family.raws(count)))


def run_child(
    engine: str, m: Measurement, threads: int, folder: Path, cache: str = ""
) -> dict[str, float]:
    """Seconds of "import", "load", "first" and "batch", and "megabytes" at the most; `cache` is
    rnnzoo's folder of converted graphs.

    Raises
    ------
    LookupError
        With the last line of what the process said, if it failed.
    """
    data = [str(m.family.data)] if m.family.data else []
    command = [sys.executable, str(_CHILD), engine, m.family.name, str(threads), str(folder), *data]
    environment = {**os.environ, "RNNZOO_CACHE": cache}
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if found.returncode:
        raise LookupError((found.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(found.stdout.strip().splitlines()[-1])


def processes(m: Measurement, threads: int, folder: Path, rows: set[str]) -> Iterator[Row]:
    """The rows "memory" and "cold", of the same processes."""
    written(m, folder)
    able = [e.name for e in m.engines if e.network is not None or e.task is not None]
    names = [name for name in able if name not in (KERAS, XLA)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in [*names, *_BARE]}
    converted: dict[str, list[dict[str, float]]] = {
        name: [] for name in (RNNZOO_ONNX, RNNZOO_INT8) if name in names
    }
    left_out = dict(m.missing)
    for name in {KERAS, XLA}.intersection(able):
        left_out[name] = "its network is made of rnnzoo's, which would be counted too"
    for number in range(min(m.rounds, 3)):
        cache = str(folder / f"graphs-{number}")
        for name in list(found):
            try:
                if name in converted:
                    converted[name].append(run_child(name, m, threads, folder, cache))
                found[name].append(run_child(_BARE.get(name, name), m, threads, folder, cache))
            except LookupError as error:
                left_out[name] = str(error)
                del found[name]
                converted.pop(name, None)
    entry = m.family.name
    engines = {name: runs for name, runs in found.items() if name in names}
    note = (
        "rnnzoo reads raw inputs and searches or draws as by default; PyTorch and ONNX Runtime are "
        "given tensors that were made before, and run the network once"
    )
    bare = {f"{BARE_IMPORT}{name}": found[name] for name in _BARE if name in found}
    if "memory" in rows:
        figures = {name: _of(runs, "megabytes") for name, runs in (engines | bare).items()}
        case = f"most memory, one input and a batch of {BATCH}"
        yield Row(entry, "memory", case, figures, "MB", left_out=left_out, note=note)
        if converted:
            figures = {name: _of(runs, "megabytes") for name, runs in converted.items()}
            case = "most memory, with converting graphs"
            yield Row(entry, "memory", case, figures, "MB", left_out=left_out)
    if "cold" in rows:
        cases = {"import": ("import",), "load": ("load",), "first prediction": ("first",)}
        for case, parts in {**cases, "all three": ("import", "load", "first")}.items():
            figures = {name: _of(runs, *parts) for name, runs in engines.items()}
            if "import" in parts:
                figures |= {name: _of(runs, "import") for name, runs in bare.items()}
            yield Row(entry, "cold", case, figures, left_out=left_out, note=note)
        if converted:
            figures = {name: _of(runs, "first") for name, runs in converted.items()}
            case = "first prediction, with converting graphs"
            yield Row(entry, "cold", case, figures, left_out=left_out)


def _of(runs: list[dict[str, float]], *parts: str) -> dict[str, float]:
    return summary([sum(run[part] for part in parts) for run in runs])
