"""Times taken in turn, and what they come to.

Everyone's calls are timed in the same rounds, one engine after the other, each round begun by
another, so that whatever slows the machine down for a while slows all of them. A turn begins with a
call that does not count, where it is a quick one: threads of the engine before may still be
spinning, and caches are cold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

_QUICK_SECONDS = 0.2
_MOST_CALLS = 50
_PAUSE_SECONDS = 0.05  # for the threads of the engine before to go to sleep


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    seconds: float = 0.5,
    firsts: Mapping[str, float] | None = None,
) -> dict[str, list[float]]:
    """Seconds of every call that counts.

    Parameters
    ----------
    calls : dict of callables without arguments
    rounds : int
        How often each has its turn.
    seconds : float
        A turn is as many calls as fit into so long, at least one.
    firsts : dict, optional
        What a call of each took just before; without it each is called once, uncounted.

    Examples
    --------
    >>> found = interleaved({"a": lambda: 1, "b": lambda: 2}, rounds=2, seconds=1e-5)
    >>> sorted(found), all(second >= 0 for second in found["a"])
    (['a', 'b'], True)
    """
    names, found = list(calls), {name: [] for name in calls}
    took = dict(firsts) if firsts else {name: _timed(call) for name, call in calls.items()}
    for number in range(rounds):
        start = number % max(1, len(names))
        for name in names[start:] + names[:start]:
            time.sleep(_PAUSE_SECONDS)
            if took[name] < _QUICK_SECONDS:
                took[name] = _timed(calls[name])
            count = int(np.clip(seconds / max(took[name], 1e-9), 1, _MOST_CALLS))
            found[name] += [_timed(calls[name]) for _ in range(count)]
    return found


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, 5th and 95th percentile, quartiles and count.

    Examples
    --------
    >>> summary([3.0, 1.0, 2.0])["median"]
    2.0
    """
    p5, q1, median, q3, p95 = np.percentile(np.asarray(samples, float), [5, 25, 50, 75, 95])
    parts = {"median": median, "p5": p5, "q1": q1, "q3": q3, "p95": p95}
    return {**{name: float(value) for name, value in parts.items()}, "count": len(samples)}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """How time grows: the slope of ln(seconds) over ln(size), by least squares. 1 is in
    proportion.

    Examples
    --------
    >>> round(exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
