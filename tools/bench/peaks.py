"""How fast the machine is: what the floor of a network's arithmetic is counted by.

    python tools/bench/peaks.py THREADS

Every thread works on arrays of its own at the same time, and what each does at its best is added
up: products of 512 x 512 matrices, half a megabyte that stays in a cache, a share of 256 MB that
stays in none. NumPy's BLAS has one thread there, so that the number is the engines'. In a process
of its own, as BLAS takes that number when it is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

OPERATIONS, CACHE, MEMORY = "float32 GFLOP/s", "cache GB/s", "memory GB/s"
_SIDE, _CACHED_BYTES, _MEMORY_BYTES = 512, 2**19, 2**28
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def measured_peaks(threads: int) -> dict[str, float]:
    """Operations and bytes read, in 1e9 per second, by name."""
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    command = [sys.executable, __file__, str(threads)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(found.stdout)


def rate(work: Callable[[Any], Any], arrays: list[Any], amount: float, seconds: float) -> float:
    """How much a second of `work`, which does `amount` with an array: the best of each array's own
    thread, added up."""

    def best(array: Any) -> float:
        least, end = float("inf"), time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            work(array)
            least = min(least, time.perf_counter() - begun)
        return amount / least

    with ThreadPoolExecutor(len(arrays)) as pool:
        return sum(pool.map(best, arrays))


def _measured_here(threads: int, seconds: float = 0.5) -> dict[str, float]:

    def ones(size: int) -> list[np.ndarray]:
        return [np.ones(size, np.float32) for _ in range(threads)]

    def read(array: np.ndarray) -> Any:
        return np.dot(array, array)

    matrices = [one.reshape(_SIDE, _SIDE) for one in ones(_SIDE**2)]
    found = {OPERATIONS: rate(lambda a: a @ a, matrices, 2 * _SIDE**3, seconds)}
    for name, size in ((CACHE, _CACHED_BYTES), (MEMORY, _MEMORY_BYTES // threads)):
        found[name] = rate(read, ones(size // 4), size, seconds)
    return {name: float(f"{value / 1e9:.3g}") for name, value in found.items()}


if __name__ == "__main__":
    print(json.dumps(_measured_here(int(sys.argv[1]))))
