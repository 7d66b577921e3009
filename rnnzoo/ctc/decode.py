"""What is asked of a search, for every network that writes by CTC: options, grammar, hot words."""

from __future__ import annotations

import dataclasses
import math
import re
import string
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Protocol

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.ctc.alignment import BLANK
from rnnzoo.ctc.beam_search import Hypothesis, PrefixBeamSearch, Scorer, greedy
from rnnzoo.ctc.language import Combined, Grammar, HotWords
from rnnzoo.ctc.ngram import NGram
from rnnzoo.errors import InputError
from rnnzoo.inputs import batches_by_length

_AT_ONCE, _FRAMES_AT_ONCE = 16, 100_000  # of a search: more are no faster, and take more memory


class Writing(Protocol):
    """What a search has to know of a preprocessor."""

    config: Any
    language_model: NGram | None
    grammar: Grammar | None

    def plain(self, text: str) -> str:
        """Text in characters of the alphabet, spaces as they are."""

    def normalized(self, text: str) -> str:
        """Text as the network writes it."""


@dataclasses.dataclass(frozen=True)
class DecodingOptions:
    """How a text is searched for.

    Attributes
    ----------
    beam_size : int
        Prefixes kept at each frame; 1 takes the likeliest symbol of every frame (greedy).
    num_hypotheses : int
        How many texts are kept as alternatives, at most `beam_size`.
    lm_weight : float
        alpha of Hannun et al. 2014 (arXiv 1412.5567, section 2.2): the language model's share, if
        the checkpoint has one.
    word_bonus : float
        beta of the same equation: what every word adds to the score, in nats.
    min_symbol_log_prob : float
        Symbols less likely than this in a frame (natural logarithm) are not tried there, unless
        there is a grammar.
    min_confidence : float
        With a grammar: where the result's confidence is less than this, none of its sentences was
        meant, and the text is empty.

    Examples
    --------
    >>> from rnnzoo.ctc import DecodingOptions
    >>> DecodingOptions(beam_size=1).num_hypotheses
    1
    """

    beam_size: int = 32
    num_hypotheses: int = 1
    lm_weight: float = 0.8
    word_bonus: float = 0.0
    min_symbol_log_prob: float = -8.0
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            beam_size=(1, 1000),
            num_hypotheses=(1, 1000),
            lm_weight=(0, 100),
            word_bonus=(-100, 100),
            min_symbol_log_prob=(-1000, 0),
            min_confidence=(0, 1),
        )
        if self.num_hypotheses > self.beam_size:
            raise ValueError(
                f"num_hypotheses ({self.num_hypotheses}) must not exceed beam_size "
                f"({self.beam_size}); raise beam_size"
            )


def grammar_for(
    preprocessor: Writing,
    grammar: str | Sequence[str] | None = None,
    slots: Mapping[str, Sequence[str]] | None = None,
) -> Grammar | None:
    """The grammar that a caller gives: the checkpoint's for None, none for an empty one.

    Raises
    ------
    InputError
        If it cannot be used, or if there are slots without it.
    """
    if not grammar and slots:
        raise InputError("slots belong to a grammar: give its sentences as grammar=")
    if grammar is None:
        return preprocessor.grammar
    if isinstance(grammar, str | Sequence) and not grammar:
        return None
    sentences = [grammar] if isinstance(grammar, str) else grammar
    if not isinstance(sentences, Sequence) or not all(isinstance(s, str) for s in sentences):
        raise InputError(f"grammar must be a sentence or a list of them, got {grammar!r:.60}")
    slots = _checked(slots, "slots", 'a list of texts for each name, as {"state": ["on", "off"]}')
    fillings: dict[str, list[str]] = {}
    for name, texts in slots.items():
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"slot {name!r} needs a list of texts, got {texts!r:.60}")
        fillings[name] = [_filling(text, preprocessor) for text in texts]
    sentences = [_sentence(text, fillings, preprocessor) for text in sentences]
    return Grammar(sentences, preprocessor.config.alphabet, fillings)


def _checked(given: Any, name: str, form: str) -> Mapping[str, Any]:
    """A mapping, or nothing."""
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"{name} must be {form}, got {given!r:.60}")
    return given or {}


def _filling(text: str, preprocessor: Writing) -> str:
    """A filling as the alphabet writes it; a space at its ends stays, as it is part of it."""
    plain = preprocessor.normalized(text)
    return f"{' ' * text.startswith(' ')}{plain}{' ' * text.endswith(' ')}" if plain else ""


def _sentence(text: str, fillings: Mapping[str, Sequence[str]], preprocessor: Writing) -> str:
    """A sentence of a grammar as the alphabet writes it, the names of its slots as they are."""
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"{text!r:.60}: {error}") from error
    written = ""
    for literal, name, form, conversion in pieces:
        if form or conversion:
            raise InputError(
                f"{text!r:.60}: a slot is its name in braces alone, as {{{name}}}: take away what "
                f"stands behind it (a brace itself is written twice)"
            )
        written += preprocessor.plain(literal).replace("{", "{{").replace("}", "}}")
        written += "" if name is None else f"{{{name}}}"
    written = " ".join(written.split())
    for name, texts in fillings.items():
        if "" in texts and re.search(rf"(^|\s)\{{{re.escape(name)}\}}(\s|$)", written):
            raise InputError(
                f"{text!r:.60}: slot {name!r} may be empty, which would leave a space too many. "
                f"Put the space into its fillings: 'play {{{name}}}{{song}}' with "
                f"{name}=['loud ', '']"
            )
    return written


def search_for(
    preprocessor: Writing,
    options: DecodingOptions,
    hot_words: Mapping[str, float] | None = None,
    grammar: Grammar | None = None,
) -> PrefixBeamSearch | None:
    """The search that options ask for; None if it is greedy. A grammar stands in for the language
    model.

    Raises
    ------
    InputError
        If hot words or a grammar cannot be used.
    """
    hot_words = _checked(hot_words, "hot_words", 'what each word adds, as {"rnnzoo": 6.0}')
    for word, boost in hot_words.items():
        if not isinstance(word, str) or isinstance(boost, bool) or not isinstance(boost, Real):
            raise InputError(f"hot_words: {word!r:.60} needs a number, got {boost!r:.60}")
    if options.beam_size == 1:
        if hot_words or grammar:
            raise InputError(
                "hot_words and a grammar need a search: beam_size above 1, or grammar=() without "
                "the checkpoint's"
            )
        return None
    alphabet, scorers = preprocessor.config.alphabet, list[tuple[Scorer, float]]()
    if grammar is not None:
        scorers.append((grammar, 1.0))
    elif preprocessor.language_model is not None:
        scorers.append((preprocessor.language_model, options.lm_weight))
    if hot_words or options.word_bonus:
        boosts = {preprocessor.normalized(word): float(b) for word, b in hot_words.items()}
        scorers.append((HotWords(boosts, alphabet, options.word_bonus), 1.0))
    return PrefixBeamSearch(
        len(alphabet) + 1,
        options.beam_size,
        scorer=Combined(scorers) if scorers else None,
        # what a grammar asks for may be unlikely in a frame; it leaves few symbols anyway
        min_symbol_log_prob=-math.inf if grammar is not None else options.min_symbol_log_prob,
    )


def hypotheses(
    inputs: Sequence[np.ndarray], search: PrefixBeamSearch | None, count: int
) -> list[list[Hypothesis]]:
    """What stands in each input's frames [frames, symbols], best first."""
    if search is None:
        return [[greedy(log_probs)] for log_probs in inputs]
    found: list[list[Hypothesis]] = [[] for _ in inputs]
    lengths = [len(log_probs) for log_probs in inputs]
    for rows in batches_by_length(lengths, _AT_ONCE, _FRAMES_AT_ONCE):
        own = search.search([inputs[n] for n in rows], count)
        for n, some in zip(rows, own, strict=True):
            found[n] = some
    return found


def confidence_of(path_log_prob: float, count: int) -> float:
    """How sure a network is of a text of `count` symbols, for each of them, 0 to 1: of the
    probability of its likeliest alignment (`rnnzoo.ctc.path_log_prob`); 0 without symbols."""
    return math.exp(path_log_prob / count) if count else 0.0


def nothing_said(log_probs: np.ndarray) -> float:
    """Natural logarithm of the probability that frames [frames, symbols] say nothing: that of
    blanks alone.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.ctc.decode import nothing_said
    >>> round(float(np.exp(nothing_said(np.log([[0.5, 0.5], [0.8, 0.2]])))), 2)
    0.4
    """
    return float(log_probs[:, BLANK].astype(np.float64).sum())
