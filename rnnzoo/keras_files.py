"""Keras' files of our networks and tasks open in safe mode after `import rnnzoo`, wherever
`import keras` stands.

In safe mode `keras.saving.load_model` knows the classes alone that are registered with Keras, which
ours are once their modules are imported; and `import rnnzoo`, to be quick, imports neither them nor
Keras. So a stand-in is registered under each class's name, which imports the class when a file asks
for it. If Keras is still to come, a finder in `sys.meta_path`, Python's own way to take part in an
import, waits for it. Importing all families from there was left out: Keras is often imported by a
module of theirs that is only half there itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "rnnzoo"
CLASSES = {
    "AdditiveAttention": "rnnzoo.layers.attention",
    "AttentionDecoder": "rnnzoo.deeploc.network",
    "Decoder": "rnnzoo.seq2seq.network",
    "Encoder": "rnnzoo.seq2seq.network",
    "FrameNormalization": "rnnzoo.deepspeech.spectrogram",
    "HandwritingWriter": "rnnzoo.handwriting.task",
    "InkPredictor": "rnnzoo.handwriting.predictor",
    "InkReader": "rnnzoo.handwriting.reader",
    "LSTM": "rnnzoo.layers.lstm",
    "LossOverReplicas": "rnnzoo.distribution",
    "Localizer": "rnnzoo.deeploc.network",
    "LogMel": "rnnzoo.deepspeech.spectrogram",
    "Orthogonal": "rnnzoo.layers.lstm",
    "ProteinLocalizer": "rnnzoo.deeploc.task",
    "Reader": "rnnzoo.handwriting.reader_network",
    "Recognizer": "rnnzoo.deepspeech.network",
    "ResidueEncoding": "rnnzoo.deeploc.network",
    "Seq2SeqTranslator": "rnnzoo.seq2seq.task",
    "SequenceBatchNorm": "rnnzoo.deepspeech.network",
    "SpecAugment": "rnnzoo.deepspeech.spectrogram",
    "SpeechRecognizer": "rnnzoo.deepspeech.task",
    "TimeLayer": "rnnzoo.deepspeech.network",
    "WindowLSTM": "rnnzoo.layers.window_lstm",
    "Writer": "rnnzoo.handwriting.network",
}  # by the name that is registered, the module that registers it


class StandIn:
    """What Keras knows of a class whose module is not imported yet."""

    def __init__(self, name: str) -> None:
        self.name = name

    def from_config(self, config: dict[str, Any]) -> Any:
        """The object that a file describes."""
        return getattr(importlib.import_module(CLASSES[self.name]), self.name).from_config(config)


class _KerasFinder(MetaPathFinder):
    """Finds Keras as the other finders do, to be told when it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(fullname, path, target)):
                if spec.loader is not None:
                    spec.loader = _KerasLoader(spec.loader, self)
                return spec
        return None


class _KerasLoader(Loader):
    """Loads Keras with its own loader, and introduces our classes to it."""

    def __init__(self, loader: Loader, finder: _KerasFinder) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:  # for whoever looks where Keras is
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:  # as if we had not been there
            module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        sys.meta_path.remove(self._finder)
        _register(module)


def _register(keras: ModuleType) -> None:
    if keras.config.backend() == "tensorflow":
        known = keras.saving.get_custom_objects()
        for name in CLASSES:
            known.setdefault(f"{PACKAGE}>{name}", StandIn(name))


def let_keras_know() -> None:
    """Register a stand-in for each of our classes with Keras: now, or once it is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _KerasFinder())
