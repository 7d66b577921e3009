"""Speech to text: Deep Speech (2014) and Deep Speech 2 (2015)."""

from rnnzoo.ctc import DecodingOptions
from rnnzoo.deepspeech.audio import Recording
from rnnzoo.deepspeech.config import DeepSpeechConfig
from rnnzoo.deepspeech.network import build_network
from rnnzoo.deepspeech.preprocess import PreprocessorConfig, SpeechPreprocessor
from rnnzoo.deepspeech.result import Transcript, Word
from rnnzoo.deepspeech.stream import TranscriptStream
from rnnzoo.deepspeech.task import SpeechRecognizer

__all__ = [
    "DecodingOptions",
    "DeepSpeechConfig",
    "PreprocessorConfig",
    "Recording",
    "SpeechPreprocessor",
    "SpeechRecognizer",
    "Transcript",
    "TranscriptStream",
    "Word",
    "build_network",
]
