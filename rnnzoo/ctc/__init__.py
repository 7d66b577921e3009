"""Connectionist temporal classification: loss, search, language."""

from rnnzoo.ctc.beam_search import Hypothesis, PrefixBeamSearch, Scorer, align, greedy
from rnnzoo.ctc.language import Automaton, Combined, Grammar, HotWords
from rnnzoo.ctc.loss import ctc_loss
from rnnzoo.ctc.ngram import NGram

__all__ = [
    "Automaton",
    "Combined",
    "Grammar",
    "HotWords",
    "Hypothesis",
    "NGram",
    "PrefixBeamSearch",
    "Scorer",
    "align",
    "ctc_loss",
    "greedy",
]
