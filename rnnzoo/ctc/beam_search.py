"""From frames of log-probabilities to symbols: the likeliest path, or prefix beam search.

A prefix has two probabilities, of the paths that end in a blank and of those that end in its last
symbol; a repeated symbol starts anew only after a blank (Graves et al. 2006; Hannun et al. 2014,
arXiv 1408.2873, algorithm 1). A scorer adds what it thinks of each symbol as it is appended
(shallow fusion). All prefixes of a frame are extended by all symbols at once, in numpy.

flashlight-text's C++ decoder (0.0.7, lexicon-free, all symbols tried) was looked at: on the same
log-probabilities of 133 recordings with beam 100 it took 11.7 s where this search took 2.3, before
it went without loops over prefixes, and had 56.3 % of the words wrong for 56.6; with a character
n-gram of order 6 17.4 s and 43.2 % for 3.5 s and 38.3. Its language models are KenLM's, which are
estimated by a program that no wheel brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rnnzoo.errors import InputError

BLANK = 0
_MANY_NODES = 100_000


class Scorer(Protocol):
    """Says how well a symbol goes on from what stands already: a language model, a grammar.

    Scores are natural logarithms, -inf forbids. States are rows of an integer array, one for each
    prefix.
    """

    def start(self) -> np.ndarray:
        """The state [1, width] before the first symbol."""

    def scores(self, states: np.ndarray) -> np.ndarray:
        """Of appending each symbol to each state: [states, symbols], the blank's column unused."""

    def advance(self, states: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """The states after each has got its symbol [states]."""

    def final(self, states: np.ndarray) -> np.ndarray:
        """Of ending in each state: [states]."""


def weighted(weight: float, scores: np.ndarray) -> np.ndarray:
    """Scores times a weight; what is forbidden (-inf) stays so, whatever the weight."""
    if weight > 0:
        return (weight * np.asarray(scores)).astype(np.float64)
    found = np.full(np.shape(scores), -np.inf)
    return np.multiply(weight, scores, out=found, where=scores > -np.inf)


class Hypothesis(NamedTuple):
    """A string of symbols that a search found.

    Attributes
    ----------
    symbols : tuple of int
    score : float
        What the search ranks by: `acoustic` and what the scorer and the bonuses add.
    acoustic : float
        ln p(symbols | frames), over the paths that the search kept.
    """

    symbols: tuple[int, ...]
    score: float
    acoustic: float


def _likeliest_path(log_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest symbol of every frame, and where a symbol that is said begins."""
    path = log_probs.argmax(1) if len(log_probs) else np.zeros(0, int)
    return path, (path != BLANK) & (path != np.concatenate([[BLANK], path[:-1]]))


def greedy(log_probs: np.ndarray) -> Hypothesis:
    """The likeliest symbol of every frame, repeats and blanks taken out.

    Parameters
    ----------
    log_probs : np.ndarray
        [frames, symbols], natural logarithms; symbol 0 is the blank.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import greedy
    >>> greedy(np.log(np.eye(3)[[1, 1, 0, 1, 2, 0]] + 1e-9)).symbols
    (1, 1, 2)
    """
    path, begins = _likeliest_path(log_probs)
    score = float(log_probs.max(1).sum()) if len(log_probs) else 0.0
    return Hypothesis(tuple(path[begins].tolist()), score, score)


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
    path, begins = _likeliest_path(log_probs)
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


class PrefixBeamSearch:
    """Prefix beam search over frames that may come in pieces.

    Parameters
    ----------
    num_symbols : int
        The blank among them.
    beam_size : int
        Prefixes kept after each frame.
    scorer : Scorer, optional
    lm_weight : float
        What the scorer's scores are multiplied by.
    bonus : np.ndarray, optional
        [symbols]: added when a symbol is appended, such as a bonus for a word at the space.
    min_symbol_log_prob : float
        Symbols less likely than this in a frame are not tried there, the likeliest one aside.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import PrefixBeamSearch
    >>> search = PrefixBeamSearch(num_symbols=2, beam_size=10)
    >>> search.feed(np.log([[0.6, 0.4], [0.6, 0.4]]))
    >>> best = search.finish()[0]
    >>> best.symbols, round(float(np.exp(best.acoustic)), 2)  # the likeliest path says nothing
    ((1,), 0.64)
    """

    def __init__(
        self,
        num_symbols: int,
        beam_size: int = 32,
        scorer: Scorer | None = None,
        lm_weight: float = 1.0,
        bonus: np.ndarray | None = None,
        min_symbol_log_prob: float = -np.inf,
    ) -> None:
        self.num_symbols, self.beam_size = num_symbols, beam_size
        self.scorer, self.lm_weight = scorer, lm_weight
        self.bonus = np.zeros(num_symbols) if bonus is None else bonus
        self.min_symbol_log_prob = min_symbol_log_prob
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        # prefixes are nodes of a tree, each known by its parent and its last symbol
        self._parent, self._symbol = [-1], [BLANK]
        self._children: dict[int, int] = {}
        self._row = np.full(1024, -1)  # for `_join`: of each node its row, -1 between frames
        self._place(np.zeros(1, int), np.full(1, -1), np.zeros(1, int))
        self._blank, self._same = np.zeros(1), np.full(1, -np.inf)  # ln p of both kinds of paths
        self._added = np.zeros(1)  # what the scorer and the bonuses gave
        self._states = np.zeros((1, 0), np.int64) if self.scorer is None else self.scorer.start()
        self._gains = self._all_gains()

    def feed(self, log_probs: np.ndarray) -> None:
        """Go on with frames [frames, symbols]."""
        for frame in np.asarray(log_probs, np.float64):
            self._extend(frame)
        if len(self._parent) > _MANY_NODES:
            self._forget_lost()

    def best(self, count: int = 1) -> list[Hypothesis]:
        """The best prefixes so far, best first."""
        return self._ranked(self._added, count)

    def finish(self, count: int = 1) -> list[Hypothesis]:
        """The best hypotheses if this is the end, best first; none if the scorer lets none end."""
        if self.scorer is None:
            return self.best(count)
        return self._ranked(
            self._added + weighted(self.lm_weight, self.scorer.final(self._states)), count
        )

    def agreed(self) -> int:
        """How many first symbols all prefixes that are kept share."""
        first, *others = self._nodes.tolist()
        places = {node: n for n, node in enumerate(self._path(first))}
        shared = len(places)
        for node in others:
            while node not in places and node:
                node = self._parent[node]
            shared = min(shared, places.get(node, -1) + 1)
        return shared

    def commit(self, count: int) -> tuple[int, ...]:
        """Let go of the first `count` symbols of the best prefix: they are settled, and what `best`
        and `finish` give begins behind them. Prefixes that begin otherwise are dropped.

        Returns
        -------
        tuple of int
            The symbols.
        """
        settled = self._symbols(self._best_node())[:count]
        root = self._path(self._best_node())[count - 1] if count else 0
        within = [self._descends(node, root) for node in self._nodes.tolist()]
        rows = np.flatnonzero(within)
        self._place(self._nodes[rows], self._parents[rows], self._ends[rows])
        self._blank, self._same, self._added = (
            values[rows] for values in (self._blank, self._same, self._added)
        )
        if self.scorer is not None:
            self._states = self._states[rows]
        self._gains = self._gains[rows]
        self._forget_lost(root)
        return settled

    def _best_node(self) -> int:
        totals = np.logaddexp(self._blank, self._same) + self._added
        return int(self._nodes[np.argsort(-totals, kind="stable")[0]])

    def _path(self, node: int) -> list[int]:
        """The nodes down to this one, the root left out."""
        path = []
        while node:
            path.append(node)
            node = self._parent[node]
        return path[::-1]

    def _descends(self, node: int, root: int) -> bool:
        while node > root:  # parents have lower numbers than their children
            node = self._parent[node]
        return node == root

    def _ranked(self, added: np.ndarray, count: int) -> list[Hypothesis]:
        acoustic = np.logaddexp(self._blank, self._same)
        scores = acoustic + added
        order = np.argsort(-scores, kind="stable")[:count]
        return [
            Hypothesis(self._symbols(int(self._nodes[n])), float(scores[n]), float(acoustic[n]))
            for n in order
            if scores[n] > -np.inf
        ]

    def _symbols(self, node: int) -> tuple[int, ...]:
        return tuple(self._symbol[n] for n in self._path(node))

    def _all_gains(self) -> np.ndarray:
        """What appending each symbol to each prefix adds: [prefixes, symbols]."""
        if self.scorer is None:
            return np.broadcast_to(self.bonus, (len(self._nodes), self.num_symbols))
        return self.bonus + weighted(self.lm_weight, self.scorer.scores(self._states))

    def _place(self, nodes: np.ndarray, parents: np.ndarray, ends: np.ndarray) -> None:
        """Keep these nodes; `parents` are nodes too, `ends` their own symbols."""
        self._nodes, self._parents, self._ends = nodes, parents, ends

    def _extend(self, frame: np.ndarray) -> None:
        """One frame: every prefix stays as it is, or gets one more symbol."""
        symbols = 1 + np.flatnonzero(frame[1:] >= min(self.min_symbol_log_prob, frame[1:].max()))
        whole = np.logaddexp(self._blank, self._same)
        blank, same = whole + frame[BLANK], self._same + frame[self._ends]
        # appended, [prefixes, symbols]: to what repeats the last symbol after a blank alone
        repeats = symbols == self._ends[:, None]
        grown = np.where(repeats, self._blank[:, None], whole[:, None]) + frame[symbols]
        self._join(grown, same, symbols)
        added = self._added[:, None] + self._gains[:, symbols]
        staying = np.logaddexp(blank, same) + self._added
        growing = (grown + added).ravel()
        full = len(staying) >= self.beam_size  # then none is kept that is below all that stay
        fresh = np.flatnonzero(growing > (staying.min() if full else -np.inf))
        if full and not len(fresh) and staying.min() > -np.inf:
            self._blank, self._same = blank, same
            return
        totals = np.concatenate([staying, growing[fresh]])
        keep = np.flatnonzero(totals > -np.inf)
        if len(keep) > self.beam_size:
            best = np.argsort(-totals[keep], kind="stable")[: self.beam_size]
            keep = np.sort(keep[best])
        stay = keep[keep < len(staying)]
        chosen = fresh[keep[len(stay) :] - len(staying)]
        rows, columns = np.divmod(chosen, max(1, len(symbols)))
        new, parents = symbols[columns], self._nodes[rows]
        self._place(
            np.concatenate([self._nodes[stay], self._grown(parents, new)]),
            np.concatenate([self._parents[stay], parents]),
            np.concatenate([self._ends[stay], new]),
        )
        self._blank = np.concatenate([blank[stay], np.full(len(new), -np.inf)])
        self._same = np.concatenate([same[stay], grown[rows, columns]])
        self._added = np.concatenate([self._added[stay], added[rows, columns]])
        if self.scorer is not None and len(new):
            moved = self.scorer.advance(self._states[rows], new)
            self._states = np.concatenate([self._states[stay], moved])
            gains = self.bonus + weighted(self.lm_weight, self.scorer.scores(moved))
            self._gains = np.concatenate([self._gains[stay], gains])
        elif self.scorer is not None:
            self._states, self._gains = self._states[stay], self._gains[stay]
        else:
            self._gains = self._all_gains()

    def _join(self, grown: np.ndarray, same: np.ndarray, symbols: np.ndarray) -> None:
        """Paths that grew into a prefix that is there already are counted with it."""
        if len(self._row) <= len(self._parent):
            self._row = np.full(2 * len(self._parent) + 1, -1)
        self._row[self._nodes] = np.arange(len(self._nodes))
        columns = np.full(self.num_symbols, -1)
        columns[symbols] = np.arange(len(symbols))
        row, column = self._row[self._parents], columns[self._ends]
        self._row[self._nodes] = -1
        (there,) = np.nonzero((row >= 0) & (column >= 0))
        grew = row[there], column[there]
        same[there] = np.logaddexp(same[there], grown[grew])
        grown[grew] = -np.inf

    def _grown(self, parents: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """The nodes of prefixes with one more symbol each."""
        found, count = [], len(self._parent)
        for key in (parents * self.num_symbols + symbols).tolist():
            node = self._children.setdefault(key, count)
            if node == count:
                count += 1
                parent, symbol = divmod(key, self.num_symbols)
                self._parent.append(parent)
                self._symbol.append(symbol)
            found.append(node)
        return np.array(found, int)

    def _forget_lost(self, root: int = 0) -> None:
        """Drop the nodes from which no prefix that is kept descends, and those above the root."""
        needed = {root}
        for node in self._nodes.tolist():
            while node not in needed:
                needed.add(node)
                node = self._parent[node]
        kept = sorted(needed)  # parents have lower numbers than their children
        renamed = {node: n for n, node in enumerate(kept)}
        self._symbol = [self._symbol[node] for node in kept]
        self._parent = [-1, *(renamed[self._parent[node]] for node in kept[1:])]
        nodes = [renamed[node] for node in self._nodes.tolist()]
        parents = [self._parent[node] for node in nodes]
        self._place(np.array(nodes), np.array(parents), self._ends)
        self._children = {
            self._parent[n] * self.num_symbols + self._symbol[n]: n
            for n in range(1, len(self._parent))
        }
