"""Handwriting: Graves 2013, a network that writes with a pen."""

from rnnzoo.handwriting.decode import InkSampler, SamplingOptions
from rnnzoo.handwriting.network import HandwritingConfig, build_network
from rnnzoo.handwriting.preprocess import HandwritingPreprocessor, PreprocessorConfig, Style
from rnnzoo.handwriting.result import Handwriting, InkLine
from rnnzoo.handwriting.task import HandwritingWriter

__all__ = [
    "Handwriting",
    "HandwritingConfig",
    "HandwritingPreprocessor",
    "HandwritingWriter",
    "InkLine",
    "InkSampler",
    "PreprocessorConfig",
    "SamplingOptions",
    "Style",
    "build_network",
]
