"""Handwriting: Graves 2013, a network that writes with a pen, and one that reads what it wrote."""

from rnnzoo.handwriting.decode import InkSampler, PredictionOptions, SamplingOptions
from rnnzoo.handwriting.network import HandwritingConfig, build_network
from rnnzoo.handwriting.predictor import InkPredictor, PredictorConfig, PredictorPreprocessor
from rnnzoo.handwriting.preprocess import HandwritingPreprocessor, PreprocessorConfig, Style
from rnnzoo.handwriting.reader import (
    InkReader,
    ReaderPreprocessor,
    ReaderPreprocessorConfig,
    Reading,
)
from rnnzoo.handwriting.reader_network import ReaderConfig, build_reader
from rnnzoo.handwriting.result import Handwriting, InkLine
from rnnzoo.handwriting.task import HandwritingWriter

__all__ = [
    "Handwriting",
    "HandwritingConfig",
    "HandwritingPreprocessor",
    "HandwritingWriter",
    "InkLine",
    "InkPredictor",
    "InkReader",
    "InkSampler",
    "PredictionOptions",
    "PredictorConfig",
    "PredictorPreprocessor",
    "PreprocessorConfig",
    "ReaderConfig",
    "ReaderPreprocessor",
    "ReaderPreprocessorConfig",
    "Reading",
    "SamplingOptions",
    "Style",
    "build_network",
    "build_reader",
]
