"""A tiny task of every family with random weights, and raw pairs to train it on."""

import keras
import numpy as np

from rnnzoo.deeploc import DeepLocConfig, ProteinLocalizer, ProteinPreprocessor
from rnnzoo.deeploc import PreprocessorConfig as LocationsConfig
from rnnzoo.deepspeech import DeepSpeechConfig, SpeechPreprocessor, SpeechRecognizer
from rnnzoo.deepspeech import PreprocessorConfig as SpeechConfig
from rnnzoo.handwriting import (
    HandwritingConfig,
    HandwritingPreprocessor,
    HandwritingWriter,
    InkPredictor,
    InkReader,
    PredictorConfig,
    PredictorPreprocessor,
    ReaderConfig,
    ReaderPreprocessor,
    ReaderPreprocessorConfig,
)
from rnnzoo.handwriting import PreprocessorConfig as AlphabetConfig

RNG = np.random.default_rng(3)
SPEECH = {
    "num_symbols": 4, "num_mels": 8, "conv_channels": (3,), "conv_times": (5,),
    "conv_frequencies": (3,), "time_strides": (2,), "frequency_strides": (2,), "num_layers": 2,
    "hidden_dim": 6, "time_masks": 0, "frequency_masks": 0,
}  # fmt: skip


def ink(count, seed=0):
    rng = np.random.default_rng(seed)
    lifted = rng.random((count, 1)) < 0.2
    return np.concatenate([rng.normal(0.2, 0.3, (count, 2)), lifted], 1).astype("f4")


SOUNDS = [(RNG.normal(0, 0.1, 8000).astype("f4"), 16000) for _ in range(4)]
STROKES = [[np.cumsum(ink(12, n)[:, :2], 0)] for n in range(4)]
PAIRS = {
    "seq2seq": (["the cat", "a dog", "the house", "a big cat"],
                ["le chat", "un chien", "la maison", "un grand chat"]),
    "deeploc": (["MKVLAAG", "MSDEEKLL", "MKKWW", "MAAA"],
                ["Nucleus", ("Plastid", True), ("Nucleus", False), "Cytoplasm"]),
    "deepspeech": (SOUNDS, ["ab", "b", "a a", "ba"]),
    "deepspeech-gru": (SOUNDS, ["ab", "b", "a a", "ba"]),
    "handwriting": (["ab", "b", "ba", "aab"], [ink(9 + n, n) for n in range(4)]),
    "handwriting_prediction": ([0] * 4, [ink(9 + n, n) for n in range(4)]),
    "handwriting_reader": (STROKES, ["a", "b", "ab", "b"]),
}  # fmt: skip


def localizer(locations=("Nucleus", "Cytoplasm", "Plastid"), **changes):
    config = {
        "num_locations": len(locations), "filter_widths": (1, 3), "num_filters": 3, "conv_dim": 6,
        "hidden_dim": 5, "attention_dim": 4, "decoder_dim": 6, "dense_dim": 6,
        "attention_steps": 3,
    }  # fmt: skip
    return ProteinLocalizer(
        DeepLocConfig(**{**config, **changes}), ProteinPreprocessor(LocationsConfig(locations))
    )


def recognizer(**changes):
    return SpeechRecognizer(
        DeepSpeechConfig(**{**SPEECH, **changes}), SpeechPreprocessor(SpeechConfig(" ab"))
    )


def writer():
    config = HandwritingConfig(
        num_symbols=3, hidden_dim=6, num_components=2, num_windows=2, dropout=0.1
    )
    return HandwritingWriter(config, HandwritingPreprocessor(AlphabetConfig(" ab")))


def predictor():
    config = HandwritingConfig(num_symbols=0, num_layers=2, hidden_dim=6, num_components=2)
    return InkPredictor(config, PredictorPreprocessor(PredictorConfig()))


def reader():
    config = ReaderConfig(num_symbols=4, conv_channels=4, conv_width=3, num_layers=2, hidden_dim=5)
    return InkReader(config, ReaderPreprocessor(ReaderPreprocessorConfig(" ab")))


BUILDERS = {
    "deeploc": localizer,
    "deepspeech": recognizer,
    "deepspeech-gru": lambda: recognizer(cell="gru", bidirectional=False, lookahead=2),
    "handwriting": writer,
    "handwriting_prediction": predictor,
    "handwriting_reader": reader,
}


def build(name, vocabulary=None):
    """The task of a name; seq2seq's needs a vocabulary."""
    keras.utils.set_random_seed(7)
    if name in BUILDERS:
        return BUILDERS[name]()
    from conftest import _tiny

    return _tiny(True, vocabulary)


def values(model):
    """The network's weights by path, as arrays."""
    return {path: np.array(weight) for path, weight in model.weights_by_path().items()}


def changed(before, after):
    """The paths of weights that differ in any bit."""
    return {path for path in before if before[path].tobytes() != after[path].tobytes()}
