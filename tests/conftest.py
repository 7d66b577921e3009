"""Fixtures: real translators, loaded once, and tiny networks of random weights."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from hub_server import HubServer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))


_hub = HubServer()  # started by the first test that asks for it
atexit.register(_hub.close)
# huggingface_hub reads these when it is first imported
os.environ["HF_ENDPOINT"] = _hub.endpoint
os.environ["HF_HUB_ETAG_TIMEOUT"] = os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "60"  # a busy machine
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
for _name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH"):
    os.environ.pop(_name, None)
_home = tempfile.mkdtemp()  # no cache and no token of whoever runs the tests
os.chmod(_home, 0o755)  # a test looks into it as nobody
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["HF_HOME"] = _home
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share their parent's
    os.environ["RNNZOO_CACHE"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["RNNZOO_CACHE"], ignore_errors=True)

import numpy as np  # noqa: E402
import pytest  # noqa: E402

import rnnzoo  # noqa: E402
from rnnzoo import registry  # noqa: E402
from rnnzoo.manifest import package_manifest  # noqa: E402

# that take text or files; test_handwriting_predictor has the one that takes points
NAMES = [
    name
    for name, entry in package_manifest().entries.items()
    if entry.family != "handwriting_prediction"
]
TRANSLATORS = ["seq2seq-en-fr", "seq2seq-en-fr-sutskever"]
INSULIN = (
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQ"
    "CCTSICSLYQLENYCN"
)
CLIPS = {
    "2277-149874-0011.mp3": "he seemed to be thinking of something else",
    "2902-9008-0008.mp3": "what do i care for food",
    "so-024380247.opus": "at the cost of what",
    "pv-08b22cb8.opus": "i want a iced coffee with brown sugar",
    "fsdd-yweweler-3-1-4.opus": "three one four",
}
EXAMPLES = {
    "seq2seq": [
        "I am happy.",
        "Where is the station?",
        "",
        "She has been learning French for three years and she likes it very much.",
        "Yes.",
    ],
    "deepspeech": [str(ROOT / "tests" / "data" / "speech" / name) for name in CLIPS],
    "handwriting": ["Hi you", "a pen", "", "Zoë,\nyes.", "Q"],
    "handwriting_reader": [str(path) for path in sorted((ROOT / "tests/data/ink").glob("*.inkml"))],
    "deeploc": [INSULIN, INSULIN[24:], "MSKL", INSULIN[::-1] * 11, "mkvlaagivglllaqwwg"],
}


@pytest.fixture(scope="session", autouse=True)
def _at_home() -> None:
    """Golden inputs that are files are named from the project's folder."""
    os.chdir(ROOT)


@pytest.fixture(scope="session")
def _running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    _hub.start(tmp_path_factory.mktemp("hub"))
    _hub.wait_until_it_answers()
    yield _hub
    _hub.close()


@pytest.fixture
def hub_server(_running_hub: HubServer) -> HubServer:
    """The hub on loopback, without a fault, its requests forgotten."""
    _running_hub.forget()
    return _running_hub


@functools.cache
def loaded_once(name: str, dtype: str = "auto"):
    """A released model that all tests of a process share, its compiled graphs with it; not to be
    changed."""
    return rnnzoo.load(name, dtype=dtype)


@pytest.fixture
def shared_by_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line loads by a name and nothing else is loaded once: it changes no
    model."""
    load = registry.load
    defaults = {p.name: p.default for p in inspect.signature(load).parameters.values()}

    def shared(name: Any, **options: Any) -> Any:
        plain = all(value == defaults.get(option) for option, value in options.items())
        known = name in package_manifest().entries
        return loaded_once(name) if known and plain else load(name, **options)

    monkeypatch.setattr(registry, "load", shared)


class SharedByDoctests:
    """Doctests that load a model by its name alone get the one of an earlier doctest, if that left
    it as it was."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Any, Any]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        if not isinstance(item, pytest.DoctestItem):
            return (yield)
        load, used = rnnzoo.load, {}

        def shared(name: Any, **options: Any) -> Any:
            if options or name in used or name not in package_manifest().entries:
                return load(name, **options)
            used[name] = self.kept.pop(name, None) or self.described(load(name))
            return used[name][0]

        with mock.patch.object(rnnzoo, "load", shared):
            result = yield
        for name, (model, before) in used.items():
            if self.described(model)[1] == before:
                self.kept[name] = model, before
        return result

    @staticmethod
    def described(model: Any) -> tuple[Any, Any]:
        """A model, and what a doctest may change of it."""
        weights = [
            (path, weight.trainable, hash(np.asarray(weight).tobytes()))
            for path, weight in model.weights_by_path().items()
        ]
        compiled = getattr(model, "compiled", False)
        return model, (weights, compiled, model.lora, model.quantization, model.decoding)


def pytest_configure(config: pytest.Config) -> None:
    # a plugin of its own: hooks of this file are for the tests beside it
    config.pluginmanager.register(SharedByDoctests())


@pytest.fixture(scope="session", params=NAMES)
def released(request: pytest.FixtureRequest):
    """Each released model in turn."""
    return loaded_once(request.param)


@pytest.fixture
def examples(released) -> list[str]:
    """Raw inputs that its family takes, of varied length."""
    return EXAMPLES[released.family]


@pytest.fixture(scope="session", params=TRANSLATORS)
def any_translator(request: pytest.FixtureRequest):
    """Each released translator in turn."""
    return loaded_once(request.param)


@pytest.fixture(scope="session")
def translator():
    """The released translator with attention."""
    return loaded_once("seq2seq-en-fr")


@pytest.fixture(scope="session")
def vocabulary() -> bytes:
    """A small SentencePiece model, trained on a few made-up lines."""
    import io

    import sentencepiece

    words = "the a cat dog house runs sees small big le un chat chien maison court voit petit grand"
    lines = [" ".join(words.split()[i % 18 : i % 18 + 5]) + "." for i in range(200)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=60,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    return model.getvalue()


def _tiny(attention: bool, vocabulary: bytes):
    import keras

    from rnnzoo.seq2seq import (
        PreprocessorConfig,
        Seq2SeqConfig,
        Seq2SeqPreprocessor,
        Seq2SeqTranslator,
    )

    keras.utils.set_random_seed(7)
    preprocessor = Seq2SeqPreprocessor(
        PreprocessorConfig("en", "fr", reverse_source=not attention), vocabulary
    )
    config = Seq2SeqConfig(
        vocab_size=preprocessor.vocab_size,
        embedding_dim=12,
        encoder_dim=16,
        decoder_dim=16,
        num_encoder_layers=1 if attention else 2,
        num_bidirectional_layers=1 if attention else 0,
        attention="additive" if attention else None,
        attention_dim=8,
    )
    return Seq2SeqTranslator(config, preprocessor)


@pytest.fixture(params=[True, False], ids=["attention", "stacked"])
def tiny(request: pytest.FixtureRequest, vocabulary: bytes):
    """A tiny translator of random weights, with and without attention."""
    return _tiny(request.param, vocabulary)


@pytest.fixture(scope="session", params=[True, False], ids=["attention", "stacked"])
def tiny_saved(request: pytest.FixtureRequest, vocabulary: bytes, tmp_path_factory):
    """A tiny translator that stays as it is, and the checkpoint folder it was saved to."""
    model = _tiny(request.param, vocabulary)
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model.save(folder)
    return model, folder
