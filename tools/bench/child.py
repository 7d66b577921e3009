"""A process of an engine's own, begun by `children.py`: how long import, load and first prediction
take, and how much memory there was at the most.

    python tools/bench/child.py ENGINE NAME THREADS FOLDER [DATA]

prints one line of JSON. FOLDER holds what PyTorch and ONNX Runtime need instead of rnnzoo:
config.json, weights.npz, network.onnx, and the tensors one.npz and many.npz. ENGINE may also be
`import:MODULE`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_ROOT = Path(__file__).resolve().parent.parent.parent
_MANY = 32


class Clock:
    """Seconds of one part after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def _ours(engine: str, name: str, threads: int, data: Path | None, clock: Clock) -> None:
    import rnnzoo

    clock("import")
    from bench.families import family_of
    from bench.peers import set_threads
    from bench.record import RNNZOO_BFLOAT16, RNNZOO_INT8, RNNZOO_ONNX

    set_threads(threads)
    onnx = {"dtype": "float32", "engine": "onnx"}
    ways = {
        RNNZOO_ONNX: onnx,
        RNNZOO_INT8: {**onnx, "quantize": "int8"},
        RNNZOO_BFLOAT16: {"dtype": "mixed_bfloat16"},
    }
    task = rnnzoo.load(name, **ways.get(engine, {"dtype": "float32"}))
    clock("load")
    family = family_of(task, name, data)
    raws = [family.raws(count) for count in (1, _MANY)]
    options = {"num_points": 100} if task.family == "handwriting_prediction" else {}
    clock("prepare")
    family.ask(task, raws[0], **options)
    clock("first")
    family.ask(task, raws[1], **options)


def _tensors(folder: Path) -> list[dict[str, Any]]:
    import numpy as np

    return [dict(np.load(folder / f"{name}.npz")) for name in ("one", "many")]


def _torch(name: str, threads: int, folder: Path, clock: Clock) -> None:
    import torch

    clock("import")
    import numpy as np

    from bench.torch_networks import build_network

    torch.set_num_threads(threads)
    described = json.loads((folder / "config.json").read_text())
    weights = dict(np.load(folder / "weights.npz"))
    network = build_network(described["family"], described["network"], weights)
    del weights
    clock("load")
    given = [{n: torch.from_numpy(v) for n, v in some.items()} for some in _tensors(folder)]
    clock("prepare")
    with torch.inference_mode():
        network(**given[0])
        clock("first")
        network(**given[1])


def _onnx(name: str, threads: int, folder: Path, clock: Clock) -> None:
    import onnxruntime  # noqa: F401

    clock("import")
    from bench.sessions import onnx_run, onnx_session

    run = onnx_run(onnx_session(folder / "network.onnx", threads))
    clock("load")
    given = _tensors(folder)
    clock("prepare")
    run(given[0])
    clock("first")
    run(given[1])


def _peak() -> float:
    """Megabytes at the most. What getrusage tells on Linux is that of the process before it, too,
    of which this one is a child."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(arguments: list[str]) -> None:
    sys.path[:0] = [str(_ROOT), str(_ROOT / "tools")]
    engine, name, threads, folder, *data = arguments
    clock = Clock()
    if engine.startswith("import:"):
        __import__(engine.partition(":")[2])
        clock("import")
    else:
        others: dict[str, Callable[..., None]] = {"PyTorch": _torch, "ONNX Runtime": _onnx}
        if engine in others:
            others[engine](name, int(threads), Path(folder), clock)
        else:
            _ours(engine, name, int(threads), Path(data[0]) if data else None, clock)
        clock("batch")
    print(json.dumps({**clock.seconds, "megabytes": _peak()}))


if __name__ == "__main__":
    main(sys.argv[1:])
