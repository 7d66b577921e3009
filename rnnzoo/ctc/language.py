"""What a search knows of the language: n-grams, grammars, hot words.

Every scorer here is a deterministic automaton that lies in memory as two tables, so that a search
looks up all its prefixes at once. Symbols are numbered from 1 in the order of an alphabet; 0, which
is the blank elsewhere, is the end of a sentence where it follows and its begin where it leads.
"""

from __future__ import annotations

import math
import string
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np

from rnnzoo.ctc.beam_search import Scorer, weighted
from rnnzoo.errors import ConfigError, InputError

_MAGIC, _VERSION = b"RNNZOO-NGRAM", 1
_HEADER = struct.Struct("<12sBBH")  # magic, version, order, bytes of the alphabet
_FALLBACK = (0.0, 0.5, 1.0, 1.5)  # discounts where the counts tell none
_SHARE_STEP, _REST_STEP = 16 / 255, 24 / 255  # nats for each step of a byte


class Automaton:
    """A scorer by table: where each symbol leads from each state, and what it scores.

    Parameters
    ----------
    start : int
        The state before the first symbol.
    successors : np.ndarray
        [states, symbols], int.
    gains : np.ndarray
        [states, symbols], natural logarithms; -inf forbids.
    finals : np.ndarray
        [states], of ending there.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import Automaton
    >>> gains = np.array([[0.0, -1.0], [0.0, -5.0]])  # of a second 1, less than of the first
    >>> counter = Automaton(0, np.array([[0, 1], [1, 1]]), gains, np.zeros(2))
    >>> counter.scores(counter.advance(counter.start(), np.array([1]))).tolist()
    [[0.0, -5.0]]
    """

    def __init__(
        self, start: int, successors: np.ndarray, gains: np.ndarray, finals: np.ndarray
    ) -> None:
        self._start, self._successors, self._gains = start, successors, gains
        self._finals = finals

    def start(self) -> np.ndarray:
        """The state [1, 1] before the first symbol."""
        return np.array([[self._start]])

    def scores(self, states: np.ndarray) -> np.ndarray:
        """Of appending each symbol to each state: [states, symbols]."""
        return self._gains[states[:, 0]]

    def advance(self, states: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """The states [states, 1] after each has got its symbol [states]."""
        return self._successors[states[:, 0], symbols][:, None]

    def final(self, states: np.ndarray) -> np.ndarray:
        """Of ending in each state: [states]."""
        return self._finals[states[:, 0]]


def _numbers(text: str, alphabet: str) -> list[int]:
    """The symbols of a text."""
    numbers = [alphabet.find(character) + 1 for character in text]
    if 0 in numbers:
        unknown = text[numbers.index(0)]
        raise InputError(f"{text!r:.60} has {unknown!r}, which the alphabet {alphabet!r:.60} lacks")
    return numbers


def _check_alphabet(alphabet: str) -> None:
    if not 0 < len(alphabet) < 255 or len(set(alphabet)) < len(alphabet):
        raise InputError(
            f"alphabet must be 1 to 254 characters, each once, got {len(alphabet):,}: "
            f"{alphabet!r:.60}"
        )


class _Level(NamedTuple):
    """What is known of the contexts of one length, as a floor of a tree.

    children : [n-grams of this length]; how many symbols were seen after each.
    rests : [contexts]; gamma, the share that is left to the shorter context. A context is an
        n-gram that has children.
    symbols, shares : [n-grams of the next length]; the children, context by context, and
        (c - D(c)) / c(context).
    """

    children: np.ndarray
    rests: np.ndarray
    symbols: np.ndarray
    shares: np.ndarray


class NGram(Automaton):
    """A character n-gram with interpolated modified Kneser-Ney smoothing.

    Chen and Goodman 1998 (TR-10-98, section 3), with u for the symbol and h for its context::

        p(u | h) = (c(hu) - D(c(hu))) / c(h) + gamma(h) p(u | shorter h)

    c counts occurrences in the highest order and after the begin of a sentence, and in lower orders
    the different symbols that come before. The lowest order is interpolated with a uniform
    distribution. D is estimated for each order from the numbers of n-grams that occur once to
    four times (equation 26); where these give none, as in the low orders of characters, nearly all
    of them frequent, it is 0.5, 1 and 1.5. What a dropped n-gram had goes to gamma(h), so that
    symbols and end sum to 1 in every state.

    A state is the longest known context. It takes 8 bytes of memory for each symbol and some 7
    bytes of a file: order 7 with `min_counts` (1, 1, 1, 2, 2, 3, 3) on the 5.1 million characters
    of LibriSpeech train-clean-100's transcripts is 1.8 MB in a file, 60 MB in memory and has 1.821
    bits per character on sentences held out; unpruned, 3.9 MB, 131 MB and 1.813 bits.

    Parameters
    ----------
    alphabet : str
    levels : list
        As `train` or `from_bytes` make them.

    Attributes
    ----------
    alphabet : str
    order : int
        At most what `train` was given: an order of which nothing is left is not counted.

    Examples
    --------
    >>> from rnnzoo.ctc import NGram
    >>> model = NGram.train(["to be or not to be", "to see or not to see"], " benorst", order=3)
    >>> model.perplexity(["not to be"]) < model.perplexity(["be ton to"])
    True
    >>> NGram.from_bytes(model.to_bytes()).order
    3
    """

    def __init__(self, alphabet: str, levels: list[_Level]) -> None:
        self.alphabet, self.order, self._levels = alphabet, len(levels), levels
        successors, probs = _resolve(levels, len(alphabet) + 1)
        gains = np.log(probs, out=probs)
        super().__init__(int(successors[0, 0]), successors, gains, gains[:, 0])

    @classmethod
    def train(
        cls, lines: Iterable[str], alphabet: str, order: int = 7, min_counts: Sequence[int] = (1,)
    ) -> Self:
        """An n-gram of lines of text; empty ones are skipped.

        Parameters
        ----------
        lines : iterable of str
        alphabet : str
        order : int
            Symbols in the longest n-grams: one more than a context has.
        min_counts : sequence of int
            For each order, from 1 on: n-grams that occur less often are dropped. The last holds
            for all higher orders.

        Raises
        ------
        InputError
            For characters that the alphabet lacks, no text, an order or counts out of range.
        """
        _check_alphabet(alphabet)
        size = len(alphabet) + 1
        if order < 2 or size**order >= 2**63:
            limit = math.floor(63 / math.log2(size) - 1e-9)
            raise InputError(f"order must be from 2 to {limit} for this alphabet, got {order!r}")
        least = [*min_counts, *[min_counts[-1]] * order][:order] if len(min_counts) else [0]
        if least[0] != 1 or sorted(least) != least:
            raise InputError(f"min_counts must begin with 1 and never fall, got {min_counts!r}")
        rows = [np.array([0, *_numbers(line, alphabet), 0]) for line in lines if line]
        if not rows:
            raise InputError("there is no text to train on")
        return cls(alphabet, _estimate(rows, size, least))

    def perplexity(self, lines: Iterable[str]) -> float:
        """For each character of lines of text, their ends counted as characters. Its binary
        logarithm is the bits per character."""
        rows = [_numbers(line, self.alphabet) for line in lines]
        lengths = np.array([len(row) for row in rows])
        if not len(lengths):
            raise InputError("there is no text to measure")
        symbols = np.zeros((len(rows), lengths.max() + 1), int)
        for line, row in zip(symbols, rows, strict=True):
            line[: len(row)] = row
        total, states = 0.0, np.repeat(self.start(), len(rows), axis=0)
        for column in range(symbols.shape[1]):
            goes_on = lengths >= column
            states, symbols = states[goes_on], symbols[goes_on]
            lengths, now = lengths[goes_on], symbols[:, column]
            total += float(self.scores(states)[np.arange(len(now)), now].sum(dtype=np.float64))
            states = self.advance(states, now)
        return math.exp(-total / sum(len(row) + 1 for row in rows))

    def to_bytes(self) -> bytes:
        """The model as a file, numbers in the little end's order.

        12 bytes RNNZOO-NGRAM; version, order (1 byte each); bytes of the alphabet (2), the
        alphabet in UTF-8; then for the contexts of each length from 0 on: the number of n-grams
        that they begin (4), and one byte each for `children`, `rests`, `symbols` and `shares` of
        these; at last the CRC-32 of all this (4). A share is exp(-16 b / 255), relative to the
        others of its context; a rest is the logistic function of 24 b / 255 - 12. That costs some
        0.0002 bits per character.
        """
        letters = self.alphabet.encode()
        parts = [_HEADER.pack(_MAGIC, _VERSION, self.order, len(letters)), letters]
        for level in self._levels:
            odds = np.log(level.rests) - np.log1p(-level.rests)
            parts += [
                struct.pack("<I", len(level.symbols)),
                level.children.tobytes(),
                _as_bytes((odds + 12) / _REST_STEP),
                level.symbols.tobytes(),
                _as_bytes(-np.log(level.shares) / _SHARE_STEP),
            ]
        content = b"".join(parts)
        return content + struct.pack("<I", zlib.crc32(content))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """A model that `to_bytes` wrote.

        Raises
        ------
        ConfigError
            Names what is wrong with it.
        """
        reader = _Reader(content)
        magic, version, order, length = _HEADER.unpack(reader.take(_HEADER.size, "header"))
        if magic != _MAGIC:
            raise ConfigError(f"this is no n-gram model: it begins with {magic!r}")
        if version != _VERSION:
            raise ConfigError(
                f"n-gram model: format version {version}, this rnnzoo reads {_VERSION}"
            )
        if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
            raise ConfigError("n-gram model: damaged, its checksum does not fit its content")
        try:
            alphabet = reader.take(length, "alphabet").decode()
            _check_alphabet(alphabet)
        except (UnicodeDecodeError, InputError) as error:
            raise ConfigError(f"n-gram model: {error}") from error
        levels: list[_Level] = []
        grams = 1
        for context in range(order):
            (following,) = struct.unpack("<I", reader.take(4, "count"))
            children = reader.array(grams, "children")
            rests = reader.array(int(np.count_nonzero(children)), "rests").astype(np.float64)
            symbols = reader.array(following, "symbols")
            shares = np.exp(reader.array(following, "shares").astype(np.float64) * -_SHARE_STEP)
            starts = np.cumsum(children, dtype=np.int64)
            rises = np.ones(following, bool)
            rises[1:] = symbols[1:] > symbols[:-1]
            rises[starts[starts < following]] = True
            if children.sum() != following or not following or not rises.all():
                raise ConfigError(f"n-gram model: the tree is broken after {context} symbols")
            if symbols.max() > len(alphabet):
                raise ConfigError(f"n-gram model: symbol {symbols.max()} is not in the alphabet")
            rests = 1 / (1 + np.exp(12 - rests * _REST_STEP))
            levels.append(_Level(children, rests, symbols, shares))
            grams = following
        reader.take(4, "checksum")
        if reader.rest() or not levels:
            raise ConfigError(f"n-gram model: order {order}, and {reader.rest()} bytes too many")
        return cls(alphabet, levels)


class _Reader:
    """Bytes, piece by piece."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def rest(self) -> int:
        return len(self._content) - self._place

    def take(self, count: int, what: str) -> bytes:
        if count > self.rest():
            raise ConfigError(f"n-gram model: cut off in its {what}")
        self._place += count
        return self._content[self._place - count : self._place]

    def array(self, count: int, what: str) -> np.ndarray:
        return np.frombuffer(self.take(count, what), np.uint8)


def _as_bytes(steps: np.ndarray) -> bytes:
    return np.clip(np.rint(steps), 0, 255).astype(np.uint8).tobytes()


def _estimate(rows: list[np.ndarray], size: int, least: list[int]) -> list[_Level]:
    """Counts to shares. An n-gram is a number whose digits to base `size` are its symbols."""
    text = np.concatenate(rows).astype(np.int64)
    lengths = np.array([len(row) for row in rows])
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(text))  # to the line's end
    windows, counted = text, []
    for n in range(1, len(least) + 1):
        if n > 1:
            windows = windows[:-1] * size + text[n - 1 :]
        counted.append(np.unique(windows[left[: len(windows)] >= n], return_counts=True))
    levels: list[_Level] = []
    before = kept_before = np.zeros(1, np.int64)  # the empty context
    for n, (grams, occurrences) in enumerate(counted, 1):
        counts = occurrences.copy()
        if n < len(counted):  # none precedes the begin of a line: there, occurrences stay
            endings, kinds = np.unique(counted[n][0] % size**n, return_counts=True)
            counts[np.searchsorted(grams, endings)] = kinds
        context = np.searchsorted(before, grams // size)
        totals = np.bincount(context, counts)
        shares = (counts - _discounts(counts)[np.minimum(counts, 3)]) / totals[context]
        kept = occurrences >= least[n - 1]
        if not kept.any():  # nor in higher orders
            break
        context = np.searchsorted(kept_before, grams[kept] // size)
        children = np.bincount(context, minlength=len(kept_before))
        rests = 1 - np.bincount(context, shares[kept], len(kept_before))[children > 0]
        symbols = (grams[kept] % size).astype(np.uint8)
        levels.append(_Level(children.astype(np.uint8), rests, symbols, shares[kept]))
        before, kept_before = grams, grams[kept]
    return levels


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D of a count of 0, 1, 2, and 3 or more."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)
    if n.all():
        y = n[0] / (n[0] + 2 * n[1])
        found = np.array([0, *(i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))])
        if (found[1:] > 0).all():
            return found
    return np.array(_FALLBACK)


def _resolve(levels: list[_Level], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables [contexts, symbols] of the state after each symbol and of its probability."""
    total = sum(len(level.rests) for level in levels)
    successors, probs = np.zeros((total, size), np.int32), np.empty((total, size), np.float32)
    probs[0] = 1 / size
    first, shorter = 0, np.zeros(1, np.int64)  # rows of this length begin; without the 1st symbol
    for length, level in enumerate(levels):
        here = np.arange(first, first + len(level.rests))
        successors[here] = successors[shorter]
        probs[here] = probs[shorter] * level.rests[:, None]
        context = np.repeat(np.arange(len(here)), level.children[level.children > 0])
        known = np.bincount(context, level.shares, len(here))
        probs[here[context], level.symbols] += level.shares * ((1 - level.rests) / known)[context]
        first += len(here)
        if length + 1 < len(levels):
            longer = levels[length + 1].children > 0
            context, symbols = context[longer], level.symbols[longer]
            state = np.arange(first, first + len(symbols))
            endings = successors[shorter[context], symbols] if length else np.zeros_like(state)
            successors[here[context], symbols] = state
            shorter = endings
    return successors, probs


class Grammar(Automaton):
    """Lets only certain sentences through.

    Sentences may have slots in braces; a brace itself is written twice. A slot's fillings are
    joined again behind it, so that the automaton does not grow with their combinations.

    Parameters
    ----------
    sentences : str or sequence of str
    alphabet : str
    slots : mapping, optional
        What may stand in each slot; an empty text lets it out.
    weights : sequence of float, optional
        What each sentence scores in all, in nats: 0 by default. A text that several sentences
        give scores the most that any of them does.

    Raises
    ------
    InputError
        For characters that the alphabet lacks, or slots or weights that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import Grammar
    >>> alphabet = " abcdefghijklmnopqrstuvwxyz"
    >>> which = {"lamp": ["one", "two"], "way": ["n", "ff"]}
    >>> lamps = Grammar("lamp {lamp} o{way}", alphabet, which)
    >>> state = lamps.start()
    >>> for character in "lamp ":
    ...     state = lamps.advance(state, np.array([alphabet.index(character) + 1]))
    >>> [alphabet[n - 1] for n in np.flatnonzero(lamps.scores(state)[0] == 0)]
    ['o', 't']
    """

    def __init__(
        self,
        sentences: str | Sequence[str],
        alphabet: str,
        slots: Mapping[str, Sequence[str]] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        _check_alphabet(alphabet)
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        scores = [0.0] * len(texts) if weights is None else [float(weight) for weight in weights]
        if not texts:
            raise InputError("a grammar needs at least one sentence")
        if len(scores) != len(texts) or not all(map(math.isfinite, scores)):
            raise InputError(
                f"weights must be a finite number for each of {len(texts):,} sentences, "
                f"got {len(scores):,}: {scores!r:.60}"
            )
        self._parts = [_parts(text, alphabet, slots or {}) for text in texts]
        begin = frozenset(p for n in range(len(texts)) for p in self._enter(n, 0))
        rows, best = {begin: 1}, [0.0, 0.0]  # state 0 is that of what is forbidden
        ends, moves = [-math.inf], []
        queue = [begin]
        for here in queue:  # grows as it goes
            row = rows[here]
            over = [scores[n] for n, part, *_ in here if part == len(self._parts[n])]
            ends.append(max(over, default=-math.inf) - best[row])
            for symbol, there in self._moves(here).items():
                if there not in rows:
                    rows[there] = len(best)
                    best.append(max(scores[n] for n, *_ in there))
                    queue.append(there)
                moves.append((row, symbol, rows[there], best[rows[there]] - best[row]))
        successors = np.zeros((len(best), len(alphabet) + 1), np.int32)
        gains = np.full(successors.shape, -np.inf)
        for row, symbol, target, gain in moves:
            successors[row, symbol], gains[row, symbol] = target, gain
        super().__init__(1, successors, gains, np.array(ends))

    # A place is (sentence, part, filling, symbols of it that were said); a state of the automaton
    # is the set of places where what was said may be (the subset construction).

    def _enter(self, sentence: int, part: int) -> Iterator[tuple[int, int, int, int]]:
        """The places before a part, or at the end."""
        if part == len(self._parts[sentence]):
            yield sentence, part, 0, 0
            return
        for n, filling in enumerate(self._parts[sentence][part]):
            if filling:
                yield sentence, part, n, 0
            else:
                yield from self._enter(sentence, part + 1)

    def _moves(self, places: Iterable[tuple[int, int, int, int]]) -> dict[int, frozenset]:
        """Where each symbol leads."""
        found: dict[int, set[tuple[int, int, int, int]]] = {}
        for sentence, part, n, said in places:
            if part == len(self._parts[sentence]):
                continue
            filling = self._parts[sentence][part][n]
            there = found.setdefault(filling[said], set())
            if said + 1 < len(filling):
                there.add((sentence, part, n, said + 1))
            else:
                there.update(self._enter(sentence, part + 1))
        return {symbol: frozenset(there) for symbol, there in found.items()}


def _parts(text: str, alphabet: str, slots: Mapping[str, Sequence[str]]) -> list[list[list[int]]]:
    """A sentence as its parts in turn, each a list of fillings, each a list of symbols."""
    parts = []
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"{text!r:.60}: {error}") from error
    for literal, name, form, conversion in pieces:
        parts.append([_numbers(literal, alphabet)])
        if name is None:
            continue
        if name not in slots or form or conversion:
            raise InputError(f"{text!r:.60}: unknown slot {name!r}; slots: {', '.join(slots)}")
        fillings = slots[name]
        if isinstance(fillings, str) or not len(fillings):
            raise InputError(f"slot {name!r} needs a list of texts, got {fillings!r:.60}")
        parts.append([_numbers(filling, alphabet) for filling in fillings])
    return parts


class HotWords(Automaton):
    """Adds to the score of certain words.

    A word's boost comes in equal parts with its characters, so that it outlives the beam, and is
    taken back where another word comes of it. So a sentence has the boosts of its whole words and
    no others.

    Parameters
    ----------
    boosts : mapping
        For each word, what it adds, in nats.
    alphabet : str
    word_bonus : float
        What every word adds, in nats: beta of Hannun et al. 2014 (arXiv 1412.5567, section 2.2).
        Spaces that end no word add nothing.
    separators : str
        The characters that part words.

    Raises
    ------
    InputError
        For characters that the alphabet lacks, and for what is no word or no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc import HotWords
    >>> hot = HotWords({"ab": 4.0}, " ab")
    >>> state, score = hot.start(), 0.0
    >>> for symbol in [2, 3, 3, 1, 2]:  # "abb a"
    ...     score += hot.scores(state)[0, symbol]
    ...     state = hot.advance(state, np.array([symbol]))
    ...     print(score, end=" ")
    2.0 4.0 0.0 0.0 2.0
    >>> float(score + hot.final(state)[0])
    0.0
    """

    def __init__(
        self,
        boosts: Mapping[str, float],
        alphabet: str,
        word_bonus: float = 0.0,
        separators: str = " ",
    ) -> None:
        _check_alphabet(alphabet)
        shares = {"": 0.0}  # what has come with each beginning of a word
        for word, boost in boosts.items():
            if not word or set(word) & set(separators) or not math.isfinite(boost):
                raise InputError(f"hot words are words with finite boosts, got {word!r}: {boost!r}")
            _numbers(word, alphabet)
            for end in range(1, len(word) + 1):
                share = boost * end / len(word)
                shares[word[:end]] = max(share, shares.get(word[:end], -math.inf))
        rows = {beginning: row for row, beginning in enumerate(shares, 1)}
        due = np.array([0.0, *(-share for share in shares.values())])  # row 0 is in other words
        successors = np.zeros((len(due), len(alphabet) + 1), np.int32)
        gains = np.repeat(due[:, None], len(alphabet) + 1, axis=1)
        finals = due + word_bonus
        finals[rows[""]] = 0.0
        for beginning, row in rows.items():
            finals[row] += boosts.get(beginning, 0.0)
            if beginning:
                parent, symbol = rows[beginning[:-1]], alphabet.index(beginning[-1]) + 1
                successors[parent, symbol] = row
                gains[parent, symbol] += shares[beginning]
        for separator in set(separators) & set(alphabet):
            successors[:, alphabet.index(separator) + 1] = rows[""]
            gains[:, alphabet.index(separator) + 1] = finals
        super().__init__(rows[""], successors, gains, finals)


class Combined:
    """The weighted sum of scorers; what one of them forbids is forbidden, whatever its weight.

    Parameters
    ----------
    scorers : sequence of (Scorer, float)
        With their weights.

    Raises
    ------
    InputError
        If they are of different alphabets, or none.

    Examples
    --------
    >>> from rnnzoo.ctc import Combined, Grammar, HotWords
    >>> both = Combined([(Grammar(["ab", "b"], "ab"), 1.0), (HotWords({"b": 2.0}, "ab"), 0.5)])
    >>> both.scores(both.start())[0].tolist()
    [-inf, 0.0, 1.0]
    """

    def __init__(self, scorers: Sequence[tuple[Scorer, float]]) -> None:
        self._scorers, end = [], 0
        for scorer, weight in scorers:
            begin, end = end, end + scorer.start().shape[1]
            self._scorers.append((scorer, float(weight), slice(begin, end)))
        sizes = {scorer.scores(scorer.start()).shape[1] for scorer, *_ in self._scorers}
        if len(sizes) != 1:
            raise InputError(f"scorers must know the same symbols, got {sorted(sizes)} of them")

    def start(self) -> np.ndarray:
        """The states of all scorers before the first symbol, side by side: [1, width]."""
        return np.concatenate([scorer.start() for scorer, *_ in self._scorers], axis=1)

    def scores(self, states: np.ndarray) -> np.ndarray:
        """Of appending each symbol to each state: [states, symbols]."""
        found = [weighted(w, scorer.scores(states[:, own])) for scorer, w, own in self._scorers]
        return np.sum(found, axis=0)

    def advance(self, states: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """The states after each has got its symbol [states]."""
        moved = [scorer.advance(states[:, own], symbols) for scorer, _, own in self._scorers]
        return np.concatenate(moved, axis=1)

    def final(self, states: np.ndarray) -> np.ndarray:
        """Of ending in each state: [states]."""
        found = [weighted(w, scorer.final(states[:, own])) for scorer, w, own in self._scorers]
        return np.sum(found, axis=0)
