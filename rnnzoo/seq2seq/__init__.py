"""Encoder-decoder translation: Bahdanau et al. (2014) and Sutskever et al. (2014)."""

from rnnzoo.seq2seq.decode import DecodingOptions, SequenceGenerator
from rnnzoo.seq2seq.network import Seq2SeqConfig, build_network
from rnnzoo.seq2seq.preprocess import PreprocessorConfig, Seq2SeqPreprocessor
from rnnzoo.seq2seq.result import Hypothesis, Translation
from rnnzoo.seq2seq.task import Seq2SeqTranslator

__all__ = [
    "DecodingOptions",
    "Hypothesis",
    "PreprocessorConfig",
    "Seq2SeqConfig",
    "Seq2SeqPreprocessor",
    "Seq2SeqTranslator",
    "SequenceGenerator",
    "Translation",
    "build_network",
]
