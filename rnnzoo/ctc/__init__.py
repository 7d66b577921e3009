"""Connectionist temporal classification: loss, search, language."""

from rnnzoo.ctc.alignment import align, frames_needed, path_log_prob, symbol_log_probs
from rnnzoo.ctc.beam_search import Hypothesis, PrefixBeamSearch, Scorer, greedy
from rnnzoo.ctc.decode import DecodingOptions, grammar_for, hypotheses, search_for
from rnnzoo.ctc.language import Automaton, Combined, Grammar, HotWords
from rnnzoo.ctc.loss import ctc_loss, mean_ctc_loss
from rnnzoo.ctc.ngram import NGram

__all__ = [
    "Automaton",
    "Combined",
    "DecodingOptions",
    "Grammar",
    "HotWords",
    "Hypothesis",
    "NGram",
    "PrefixBeamSearch",
    "Scorer",
    "align",
    "ctc_loss",
    "frames_needed",
    "grammar_for",
    "greedy",
    "hypotheses",
    "mean_ctc_loss",
    "path_log_prob",
    "search_for",
    "symbol_log_probs",
]
