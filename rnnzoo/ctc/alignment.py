"""Where symbols stand in frames of log-probabilities, and how likely they are there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnzoo.errors import InputError

BLANK = 0


def likeliest_path(log_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest symbol of every frame, and where a symbol that is said begins."""
    path = log_probs.argmax(1) if len(log_probs) else np.zeros(0, int)
    return path, (path != BLANK) & (path != np.concatenate([[BLANK], path[:-1]]))


def frames_needed(symbols: Sequence[int]) -> int:
    """How many frames symbols fill at least: one each, and a blank between repeats.

    Examples
    --------
    >>> from rnnzoo.ctc import frames_needed
    >>> frames_needed([1, 2, 2])
    4
    """
    return len(symbols) + int((np.diff(symbols) == 0).sum()) if len(symbols) else 0


def align(log_probs: np.ndarray, symbols: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where symbols stand on the likeliest path that says them (Viterbi).

    Parameters
    ----------
    log_probs : np.ndarray
        [frames, symbols], natural logarithms.
    symbols : sequence of int

    Returns
    -------
    first, last : np.ndarray
        Of each symbol: the frame where it first comes and that where it is last repeated.

    Raises
    ------
    InputError
        If the symbols do not fit into the frames.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import align
    >>> first, last = align(np.log(np.eye(3)[[0, 1, 1, 0, 2, 0]] + 1e-9), [1, 2])
    >>> first.tolist(), last.tolist()
    ([1, 4], [2, 4])
    """
    path, begins = likeliest_path(log_probs)
    if np.array_equal(path[begins], symbols):  # no other path is likelier
        changes = np.append(path[1:] != path[:-1], True)
        return np.flatnonzero(begins), np.flatnonzero(changes & (path != BLANK))
    if len(log_probs) < frames_needed(symbols):
        raise InputError(f"{len(symbols):,} symbols do not fit into {len(log_probs):,} frames")
    return _viterbi(log_probs, symbols)


def _viterbi(log_probs: np.ndarray, symbols: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    count = len(symbols)
    places = np.zeros(2 * count + 1, int)  # blanks around the symbols, as in Graves et al. 2006
    places[1::2] = symbols
    barred = np.full(len(places), -np.inf)
    barred[3::2] = np.where(places[3::2] != places[1:-2:2], 0.0, -np.inf)
    said = np.asarray(log_probs, np.float64)[:, places]
    best = np.full(len(places), -np.inf)
    best[0] = 0.0
    came = np.zeros(said.shape, np.int8)
    ways = np.full((3, len(places)), -np.inf)  # from the place itself, the one before, two before
    for t, frame in enumerate(said):
        ways[0], ways[1, 1:], ways[2, 2:] = best, best[:-1], best[:-2] + barred[2:]
        came[t] = ways.argmax(0)
        best = ways.max(0) + frame
    place = len(places) - 1
    if count and best[place - 1] > best[place]:
        place -= 1
    first, last = np.zeros(count, int), np.full(count, -1)
    for t in range(len(log_probs) - 1, -1, -1):
        if place % 2:
            symbol = place // 2
            first[symbol] = t
            last[symbol] = max(last[symbol], t)
        place -= int(came[t, place])
    return first, last


def path_log_prob(
    log_probs: np.ndarray, symbols: Sequence[int], first: np.ndarray, last: np.ndarray
) -> float:
    """Natural logarithm of the probability of the path that `align` found: all that was put in is
    accounted for, by symbols or by blanks.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import align, path_log_prob
    >>> log_probs = np.log([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0001], [0.5, 0.25, 0.25]])
    >>> round(float(np.exp(path_log_prob(log_probs, [1], *align(log_probs, [1])))), 4)
    0.125
    """
    path = np.zeros(len(log_probs), int)
    frames, _, counts = _spans(first, last)
    path[frames] = np.repeat(np.asarray(symbols, int), counts)
    return float(log_probs[np.arange(len(path)), path].astype(np.float64).sum())


def symbol_log_probs(
    log_probs: np.ndarray,
    symbols: Sequence[int],
    first: Sequence[int] | np.ndarray,
    last: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """Of each symbol that `align` found its log-probability in the frame where it is likeliest,
    [symbols].

    Raises
    ------
    InputError
        If a symbol's last frame is before its first.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import symbol_log_probs
    >>> log_probs = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.4, 0.2, 0.4]])
    >>> np.exp(symbol_log_probs(log_probs, [1, 2], [0, 2], [1, 2])).round(3)
    array([0.8, 0.4])
    """
    if not len(symbols):
        return np.zeros(0, log_probs.dtype)
    frames, starts, counts = _spans(first, last)
    return np.maximum.reduceat(log_probs[frames, np.repeat(np.asarray(symbols), counts)], starts)


def _spans(
    first: Sequence[int] | np.ndarray, last: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames from each symbol's first to its last, side by side; where each symbol's begin
    there, and how many it has."""
    first = np.asarray(first, int)
    counts = np.asarray(last, int) + 1 - first
    if (counts < 1).any():
        raise InputError(f"the last frame of symbol {int(counts.argmin())} is before its first")
    starts = np.cumsum(counts) - counts
    return np.repeat(first - starts, counts) + np.arange(counts.sum()), starts, counts
