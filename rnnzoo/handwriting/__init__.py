"""Handwriting: Graves 2013, a network that writes with a pen."""

from rnnzoo.handwriting.decode import InkSampler, SamplingOptions
from rnnzoo.handwriting.network import HandwritingConfig, build_network
from rnnzoo.handwriting.preprocess import HandwritingPreprocessor, PreprocessorConfig
from rnnzoo.handwriting.result import Handwriting, InkLine

__all__ = [
    "Handwriting",
    "HandwritingConfig",
    "HandwritingPreprocessor",
    "InkLine",
    "InkSampler",
    "PreprocessorConfig",
    "SamplingOptions",
    "build_network",
]
