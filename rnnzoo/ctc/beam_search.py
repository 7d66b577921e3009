"""From frames of log-probabilities to symbols: the likeliest path, or prefix beam search.

A prefix has two probabilities, of the paths that end in a blank and of those that end in its last
symbol; a repeated symbol starts anew only after a blank (Graves et al. 2006; Hannun et al. 2014,
arXiv 1408.2873, algorithm 1). A scorer adds what it thinks of each symbol as it is appended
(shallow fusion). All prefixes of a frame are extended by all symbols at once, in numpy, those of
several inputs side by side: of 16 recordings that took 2.2 to 2.6 times less than one after the
other did before (74 instead of 161 us a frame with beam 100 and a language model), one alone takes
1.1 to 1.3 times as long as it did. Prefixes are told apart by hashes of 64 bits of what they say;
that two of a search's some 100,000 share one has a probability of some 1e-9.

flashlight-text's C++ decoder (0.0.7, lexicon-free, all symbols tried) was looked at: on the same
log-probabilities of 133 recordings with beam 100 it took 11.7 s where the first version of this
search, prefix by prefix, took 2.3, and had 56.3 % of the words wrong for 56.6; with a character
n-gram of order 6 17.4 s and 43.2 % for 3.5 s and 38.3. Its language models are KenLM's, which are
estimated by a program that no wheel brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rnnzoo.ctc.alignment import BLANK, likeliest_path

_MANY_NODES = 100_000
_HUGE = 1e300  # in place of infinity where that would be taken from itself
_ROUNDING = 1e-6  # nats by which sums of the same terms may differ
_MIXED, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)  # of keys, as in a hash function


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
        return np.asarray(weight * np.asarray(scores), np.float64)
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
    path, begins = likeliest_path(log_probs)
    score = float(log_probs.max(1).sum()) if len(log_probs) else 0.0
    return Hypothesis(tuple(path[begins].tolist()), score, score)


class PrefixBeamSearch:
    """Prefix beam search over frames that may come in pieces, or over several inputs at once.

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
        self._begin(1)

    def _begin(self, inputs: int) -> None:
        """Begin anew with so many inputs, each with the empty prefix."""
        # prefixes are nodes of trees; one that was dropped and comes again is another node, with
        # the same key, as keys are hashes of what a prefix says and of the input it belongs to
        self._num_nodes = inputs
        self._parent, self._symbol = np.full(1024 + inputs, -1), np.zeros(1024 + inputs, int)
        self._key = np.zeros(1024 + inputs, np.uint64)
        self._key[:inputs] = _MIXED * np.arange(1, inputs + 1, dtype=np.uint64)
        self._nodes, self._inputs = np.arange(inputs), np.arange(inputs)  # of each prefix
        self._blank = np.zeros(inputs)  # ln p of its paths that end in a blank
        self._same = np.full(inputs, -np.inf)  # of those that end in its last symbol
        self._added = np.zeros(inputs)  # what the scorer and the bonuses gave
        start = np.zeros((1, 0), np.int64) if self.scorer is None else self.scorer.start()
        self._states = np.repeat(start, inputs, 0)
        gains = (
            np.zeros((1, self.num_symbols)) if self.scorer is None else self.scorer.scores(start)
        )
        self._gains = np.repeat(self.bonus + weighted(self.lm_weight, gains), inputs, 0)
        self._best_gain = self._gains.max(1)

    def feed(self, log_probs: np.ndarray) -> None:
        """Go on with frames [frames, symbols]."""
        for frame in np.asarray(log_probs, np.float64)[:, None]:
            self._extend(frame)
            if self._num_nodes > _MANY_NODES:
                self._forget_lost()

    def best(self, count: int = 1) -> list[Hypothesis]:
        """The best prefixes so far, best first."""
        return self._ranked(self._added, count)

    def finish(self, count: int = 1) -> list[Hypothesis]:
        """The best hypotheses if this is the end, best first; none if the scorer lets none end."""
        return self._ranked(self._ended(), count)

    def search(self, inputs: Sequence[np.ndarray], count: int = 1) -> list[list[Hypothesis]]:
        """What stands in each of several inputs, as `reset`, `feed` and `finish` find it, but
        faster: their prefixes are extended side by side. What was fed before is forgotten.
        Takes up to 24 bytes for each frame and prefix of a beam.

        Parameters
        ----------
        inputs : sequence of np.ndarray
            [frames, symbols] each, natural logarithms.
        count : int
            Hypotheses of each, at most.

        Examples
        --------
        >>> import numpy as np
        >>> from rnnzoo.ctc import PrefixBeamSearch
        >>> said, blank = np.log([[0.1, 0.9]]), np.log([[0.9, 0.1]])
        >>> search = PrefixBeamSearch(num_symbols=2, beam_size=10)
        >>> found = search.search([np.concatenate([said, blank, said]), said])
        >>> [best.symbols for best, *_ in found]
        [(1, 1), (1,)]
        """
        lengths = np.array([len(frames) for frames in inputs], int)
        order = np.argsort(-lengths, kind="stable")  # so that those that go on are the first
        longest = int(lengths.max(initial=0))
        frames = np.zeros((longest, len(inputs), self.num_symbols))
        for place, n in enumerate(order.tolist()):
            frames[: lengths[n], place] = inputs[n]
        ends = lengths[order]
        found: list[list[Hypothesis]] = [[] for _ in inputs]
        self._begin(len(inputs))
        try:
            for t in range(longest + 1):
                going_on = int((ends > t).sum())
                ended = np.flatnonzero(ends == t)
                if len(ended):
                    scores = self._ended()
                    for place in ended.tolist():
                        rows = np.flatnonzero(self._inputs == place)
                        found[order[place]] = self._ranked(scores, count, rows)
                    self._keep(np.flatnonzero(self._inputs < going_on))
                if going_on:
                    self._extend(frames[t, :going_on])
        finally:
            self.reset()
        return found

    def _ended(self) -> np.ndarray:
        """What the scorer and the bonuses give each prefix if this is the end."""
        if self.scorer is None:
            return self._added
        return self._added + weighted(self.lm_weight, self.scorer.final(self._states))

    def agreed(self) -> int:
        """How many first symbols all prefixes that are kept share."""
        first, *others = self._nodes.tolist()
        path = self._path(first)
        places = {key: n for n, key in enumerate(self._key[path].tolist())}
        shared = len(places)
        for node in others:
            while node > 0 and int(self._key[node]) not in places:
                node = int(self._parent[node])
            shared = min(shared, places.get(int(self._key[node]), -1) + 1)
        return shared

    def commit(self, count: int) -> tuple[int, ...]:
        """Let go of the first `count` symbols of the best prefix: they are settled, and what `best`
        and `finish` give begins behind them. Prefixes that begin otherwise are dropped.

        Returns
        -------
        tuple of int
            The symbols.
        """
        best = self._best_node()
        settled = self._symbols(best)[:count]
        root = self._path(best)[count - 1] if count else 0
        within = [self._descends(node, root) for node in self._nodes.tolist()]
        self._keep(np.flatnonzero(within))
        self._forget_lost(root)
        return settled

    def _keep(self, rows: np.ndarray) -> None:
        """Keep the prefixes of these rows alone."""
        self._nodes, self._inputs = self._nodes[rows], self._inputs[rows]
        self._blank, self._same = self._blank[rows], self._same[rows]
        self._added, self._states = self._added[rows], self._states[rows]
        self._gains, self._best_gain = self._gains[rows], self._best_gain[rows]

    def _best_node(self) -> int:
        totals = np.logaddexp(self._blank, self._same) + self._added
        return int(self._nodes[np.argsort(-totals, kind="stable")[0]])

    def _path(self, node: int) -> list[int]:
        """The nodes down to this one, the root left out."""
        path = []
        while (parent := int(self._parent[node])) >= 0:
            path.append(node)
            node = parent
        return path[::-1]

    def _descends(self, node: int, root: int) -> bool:
        key = self._key[root]
        while node >= 0 and self._key[node] != key:
            node = int(self._parent[node])
        return node >= 0

    def _ranked(
        self, added: np.ndarray, count: int, rows: np.ndarray | slice = slice(None)
    ) -> list[Hypothesis]:
        acoustic = np.logaddexp(self._blank[rows], self._same[rows])
        nodes, scores = self._nodes[rows], acoustic + added[rows]
        order = np.argsort(-scores, kind="stable")[:count]
        return [
            Hypothesis(self._symbols(int(nodes[n])), float(scores[n]), float(acoustic[n]))
            for n in order
            if scores[n] > -np.inf
        ]

    def _symbols(self, node: int) -> tuple[int, ...]:
        return tuple(self._symbol[self._path(node)].tolist())

    def _extend(self, frames: np.ndarray) -> None:
        """A frame [inputs, symbols] of each: every prefix stays as it is, or gets one more
        symbol."""
        inputs, ends = self._inputs, self._symbol[self._nodes]
        least = np.minimum(self.min_symbol_log_prob, frames[:, 1:].max(1, keepdims=True))
        said = np.where(frames >= least, frames, -np.inf)
        said[:, BLANK] = -np.inf
        whole = np.logaddexp(self._blank, self._same)
        blank = whole + frames[:, BLANK][inputs]
        own = inputs * frames.shape[1]  # where each prefix's input begins in a flat frame
        repeated = frames.ravel()[own + ends]
        same = self._same + repeated
        joined, into = self._joined(said.ravel()[own + ends] > -np.inf)
        again = ends[joined] == ends[into]
        joining = np.where(again, self._blank[joined], whole[joined]) + repeated[into]
        same[into] = np.logaddexp(same[into], joining)
        staying = np.logaddexp(blank, same) + self._added
        bar = self._bar(staying, len(frames))

        # where a prefix that grew by a symbol may be above the bar
        most = np.maximum(
            whole + self._added + self._best_gain, -_HUGE
        )  # but for the symbol itself
        needed = bar[inputs] - most - _ROUNDING
        if needed.min(initial=np.inf) >= said.max():
            self._blank, self._same = blank, same
            return
        symbols = np.flatnonzero((said > -np.inf).any(0))
        above = said[:, symbols][inputs] > needed[:, None]
        above[joined, symbols.searchsorted(ends[into])] = False
        rows, columns = np.divmod(above.ravel().nonzero()[0], max(1, len(symbols)))
        new = symbols[columns]
        # to what repeats the last symbol after a blank alone
        grown = np.where(ends[rows] == new, self._blank[rows], whole[rows])
        grown += said.ravel()[own[rows] + new]
        added = self._added[rows] + self._gains[rows, new]
        growing = grown + added
        (fresh,) = (growing > bar[inputs[rows]]).nonzero()
        if not len(fresh) and bar.min() > -np.inf:
            self._blank, self._same = blank, same
            return
        totals = np.concatenate([staying, growing[fresh]])
        owners = np.concatenate([inputs, inputs[rows[fresh]]])
        keep = self._best_of_each(totals, owners, len(frames))
        stay = keep[keep < len(staying)]
        chosen = fresh[keep[len(stay) :] - len(staying)]
        rows, new = rows[chosen], new[chosen]
        self._advance(stay, rows, new)
        self._nodes = np.concatenate([self._nodes[stay], self._grown(self._nodes[rows], new)])
        self._inputs = owners[keep]
        self._blank = np.concatenate([blank[stay], np.full(len(new), -np.inf)])
        self._same = np.concatenate([same[stay], grown[chosen]])
        self._added = np.concatenate([self._added[stay], added[chosen]])

    def _advance(self, stay: np.ndarray, rows: np.ndarray, new: np.ndarray) -> None:
        """Move the scorer's states, and what it gives to each symbol from there, on to the prefixes
        that stay and to those of `rows` that got a `new` symbol."""
        if self.scorer is None:
            count = len(stay) + len(rows)
            self._gains = np.broadcast_to(self.bonus, (count, self.num_symbols))
            self._best_gain = np.repeat(self._best_gain[:1], count)
            self._states = np.zeros((count, 0), np.int64)
            return
        states, gains, best = self._states[stay], self._gains[stay], self._best_gain[stay]
        if len(new):
            moved = self.scorer.advance(self._states[rows], new)
            fresh = self.bonus + weighted(self.lm_weight, self.scorer.scores(moved))
            states, gains = np.concatenate([states, moved]), np.concatenate([gains, fresh])
            best = np.concatenate([best, fresh.max(1)])
        self._states, self._gains, self._best_gain = states, gains, best

    def _bar(self, staying: np.ndarray, inputs: int) -> np.ndarray:
        """Of each input what a new prefix has to be above: the least that stays, if the beam is
        full."""
        if inputs == 1:
            full = len(staying) >= self.beam_size
            return np.array([staying.min() if full else -np.inf])
        least = np.full(inputs, np.inf)
        np.minimum.at(least, self._inputs, staying)
        counts = np.bincount(self._inputs, minlength=inputs)
        return np.where(counts >= self.beam_size, least, -np.inf)

    def _best_of_each(self, totals: np.ndarray, owners: np.ndarray, inputs: int) -> np.ndarray:
        """Where the best totals of each input are, in order of place; `owners` tells whose a total
        is. Of equal ones the first are better."""
        (keep,) = (totals > -np.inf).nonzero()
        if len(keep) <= self.beam_size:
            return keep
        if inputs == 1:
            ranked = keep[(-totals[keep]).argsort(kind="stable")[: self.beam_size]]
            ranked.sort()
            return ranked
        counts = np.bincount(owners[keep], minlength=inputs)
        place = np.arange(len(keep)) - np.repeat(np.cumsum(counts) - counts, counts)
        last = np.flatnonzero(place == self.beam_size)  # the best of those that are not kept
        for kind in (None, "stable"):  # the first is several times faster
            ranked = keep[np.argsort(-totals[keep], kind=kind)]
            narrow = owners[ranked].astype(np.min_scalar_type(inputs))  # such are sorted faster
            ranked = ranked[np.argsort(narrow, kind="stable")]
            if not (totals[ranked[last]] == totals[ranked[last - 1]]).any():
                break
        return np.sort(ranked[place < self.beam_size])

    def _joined(self, tried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prefixes that grow into one that is there already, and which that is: rows of both.
        `tried` [prefixes] tells whose last symbol may come in this frame."""
        parents = self._parent[self._nodes]
        (into,) = (tried & (parents >= 0)).nonzero()
        if not len(into):
            return into, into
        keys = self._key[self._nodes]
        order = keys.argsort()
        wanted = self._key[parents[into]]
        row = order[np.minimum(keys[order].searchsorted(wanted), len(keys) - 1)]
        there = keys[row] == wanted
        return row[there], into[there]

    def _grown(self, parents: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """New nodes: prefixes with one more symbol each."""
        nodes = np.arange(self._num_nodes, self._num_nodes + len(symbols))
        self._num_nodes += len(symbols)
        if self._num_nodes > len(self._parent):
            room = (0, self._num_nodes)
            self._parent, self._symbol, self._key = (
                np.pad(values, room) for values in (self._parent, self._symbol, self._key)
            )
        self._parent[nodes], self._symbol[nodes] = parents, symbols
        keys = self._key[parents]
        self._key[nodes] = (keys ^ (keys >> _SHIFT)) * _MIXED + symbols.astype(np.uint64)
        return nodes

    def _forget_lost(self, root: int = 0) -> None:
        """Drop the nodes from which no prefix that is kept descends, and those above the root."""
        key, above = self._key[root], {root: -1}
        self._nodes = np.where(self._key[self._nodes] == key, root, self._nodes)
        for node in self._nodes.tolist():
            while node not in above:
                parent = int(self._parent[node])
                above[node] = root if self._key[parent] == key else parent
                node = above[node]
        kept = np.array(list(above))
        renamed = np.full(self._num_nodes + 1, -1)  # -1 stays -1
        renamed[kept] = np.arange(len(kept))
        self._parent = renamed[list(above.values())]
        self._symbol, self._key = self._symbol[kept], self._key[kept]
        self._nodes, self._num_nodes = renamed[self._nodes], len(kept)
