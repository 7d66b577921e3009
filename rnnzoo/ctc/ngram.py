"""Character n-grams: what usually follows."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np

from rnnzoo.ctc.language import Automaton, check_alphabet, numbers_of
from rnnzoo.errors import ConfigError, InputError

_MAGIC, _VERSION = b"RNNZOO-NGRAM", 1
_HEADER = struct.Struct("<12sBBH")  # magic, version, order, bytes of the alphabet
_FALLBACK = (0.0, 0.5, 1.0, 1.5)  # discounts where the counts tell none
_SHARE_STEP, _REST_STEP = 16 / 255, 24 / 255  # nats for each step of a byte


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
        check_alphabet(alphabet)
        size = len(alphabet) + 1
        if order < 2 or size**order >= 2**63:
            limit = math.floor(63 / math.log2(size) - 1e-9)
            raise InputError(f"order must be from 2 to {limit} for this alphabet, got {order!r}")
        least = [*min_counts, *[min_counts[-1]] * order][:order] if len(min_counts) else [0]
        if least[0] != 1 or sorted(least) != least:
            raise InputError(f"min_counts must begin with 1 and never fall, got {min_counts!r}")
        rows = [np.array([0, *numbers_of(line, alphabet), 0]) for line in lines if line]
        if not rows:
            raise InputError("there is no text to train on")
        return cls(alphabet, _estimate(rows, size, least))

    def perplexity(self, lines: Iterable[str]) -> float:
        """For each character of lines of text, their ends counted as characters. Its binary
        logarithm is the bits per character."""
        rows = [numbers_of(line, self.alphabet) for line in lines]
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
            check_alphabet(alphabet)
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
