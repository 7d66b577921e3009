"""Handwriting: Graves 2013, a network that writes with a pen."""

from rnnzoo.handwriting.decode import InkSampler, SamplingOptions
from rnnzoo.handwriting.network import HandwritingConfig, build_network
from rnnzoo.handwriting.preprocess import HandwritingPreprocessor, PreprocessorConfig

__all__ = [
    "HandwritingConfig",
    "HandwritingPreprocessor",
    "InkSampler",
    "PreprocessorConfig",
    "SamplingOptions",
    "build_network",
]
