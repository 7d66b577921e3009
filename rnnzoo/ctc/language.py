"""What a search knows of the language: grammars and hot words; n-grams stand in `ngram.py`.

Every scorer here is a deterministic automaton that lies in memory as two tables, so that a search
looks up all its prefixes at once. Symbols are numbered from 1 in the order of an alphabet; 0, which
is the blank elsewhere, is the end of a sentence where it follows and its begin where it leads.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from rnnzoo.ctc.beam_search import Scorer, weighted
from rnnzoo.errors import InputError


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


def numbers_of(text: str, alphabet: str) -> list[int]:
    """The symbols of a text."""
    numbers = [alphabet.find(character) + 1 for character in text]
    if 0 in numbers:
        unknown = text[numbers.index(0)]
        raise InputError(f"{text!r:.60} has {unknown!r}, which the alphabet {alphabet!r:.60} lacks")
    return numbers


def check_alphabet(alphabet: str) -> None:
    if not 0 < len(alphabet) < 255 or len(set(alphabet)) < len(alphabet):
        raise InputError(
            f"alphabet must be 1 to 254 characters, each once, got {len(alphabet):,}: "
            f"{alphabet!r:.60}"
        )


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
    >>> lamps.fillings("lamp two off")
    {'lamp': 'two', 'way': 'ff'}
    """

    def __init__(
        self,
        sentences: str | Sequence[str],
        alphabet: str,
        slots: Mapping[str, Sequence[str]] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        check_alphabet(alphabet)
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
        self._patterns = [_pattern(text, slots or {}) for text in texts]
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

    def fillings(self, text: str) -> dict[str, str]:
        """What stands in the slots of a sentence that the grammar lets through; nothing for other
        texts. Empty fillings and slots whose name begins with _ are left out; where a slot comes
        again, its name has a number: "digit", "digit_2". Of several sentences that fit, the first
        counts."""
        for names, pattern in self._patterns:
            if found := pattern.fullmatch(text):
                slots = zip(names, found.groups(), strict=True)
                return {
                    name: said.strip()
                    for name, said in slots
                    if said.strip() and not name.startswith("_")
                }
        return {}

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


def _pattern(text: str, slots: Mapping[str, Sequence[str]]) -> tuple[list[str], re.Pattern[str]]:
    """The names of a sentence's slots in turn, and an expression with a group for each."""
    seen: list[str] = []
    names: list[str] = []
    expression = ""
    for literal, name, *_ in string.Formatter().parse(text):
        expression += re.escape(literal)
        if name is not None:
            seen.append(name)
            names.append(name if seen.count(name) == 1 else f"{name}_{seen.count(name)}")
            expression += f"({'|'.join(map(re.escape, slots[name]))})"
    return names, re.compile(expression)


def _parts(text: str, alphabet: str, slots: Mapping[str, Sequence[str]]) -> list[list[list[int]]]:
    """A sentence as its parts in turn, each a list of fillings, each a list of symbols."""
    parts = []
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"{text!r:.60}: {error}") from error
    for literal, name, form, conversion in pieces:
        parts.append([numbers_of(literal, alphabet)])
        if name is None:
            continue
        if name not in slots or form or conversion:
            raise InputError(f"{text!r:.60}: unknown slot {name!r}; slots: {', '.join(slots)}")
        fillings = slots[name]
        if isinstance(fillings, str) or not len(fillings):
            raise InputError(f"slot {name!r} needs a list of texts, got {fillings!r:.60}")
        parts.append([numbers_of(filling, alphabet) for filling in fillings])
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
        check_alphabet(alphabet)
        shares = {"": 0.0}  # what has come with each beginning of a word
        for word, boost in boosts.items():
            if not word or set(word) & set(separators) or not math.isfinite(boost):
                raise InputError(
                    "hot words are single words, each with a finite boost of its own, got "
                    f"{word!r}: {boost!r}"
                )
            numbers_of(word, alphabet)
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
        total, *others = (
            weighted(w, scorer.scores(states[:, own])) for scorer, w, own in self._scorers
        )
        for found in others:
            total = total + found
        return total

    def advance(self, states: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """The states after each has got its symbol [states]."""
        moved = [scorer.advance(states[:, own], symbols) for scorer, _, own in self._scorers]
        return np.concatenate(moved, axis=1)

    def final(self, states: np.ndarray) -> np.ndarray:
        """Of ending in each state: [states]."""
        found = [weighted(w, scorer.final(states[:, own])) for scorer, w, own in self._scorers]
        return np.sum(found, axis=0)
