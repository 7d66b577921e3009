"""Connectionist temporal classification: loss, search, language."""

from rnnzoo.ctc.beam_search import Hypothesis, PrefixBeamSearch, Scorer, align, greedy
from rnnzoo.ctc.loss import ctc_loss

__all__ = ["Hypothesis", "PrefixBeamSearch", "Scorer", "align", "ctc_loss", "greedy"]
