"""Engines: onnxruntime behind the same calls gives what TensorFlow gives."""

import numpy as np
import pytest
import tiny_tasks
from conftest import ROOT

import rnnzoo
from rnnzoo import engine
from rnnzoo.errors import InputError, MissingDependencyError

SPEECH = ROOT / "tests" / "data" / "speech"
PROTEINS = [
    ("short", "MSKL"),
    ("long", "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLV" * 35),
    ("x", "MKXV" * 20),
]


@pytest.fixture
def models(vocabulary):
    return lambda name: tiny_tasks.build(name, vocabulary)


def same_as_tensorflow(model, inputs, **options):
    """Results of both engines, TensorFlow's first."""
    before = model.predict(inputs, **options)
    model.engine = "onnx"
    after = model.predict(inputs, **options)
    assert model.engine == "onnx"
    return before, after


def test_proteins(tmp_path):
    found = same_as_tensorflow(rnnzoo.load("deeploc-multiloc"), PROTEINS)
    for before, after in zip(*found, strict=True):
        assert (after.name, after.location) == (before.name, before.location)
        np.testing.assert_allclose(
            list(after.likelihoods.values()), list(before.likelihoods.values()), atol=2e-6
        )
        np.testing.assert_allclose(after.importance, before.importance, atol=2e-6)


def test_sound_in_one_batch_of_unlike_lengths():
    clips = [SPEECH / "pv-08b22cb8.opus", SPEECH / "so-024380247.opus"]
    model = rnnzoo.load("deepspeech-commands", engine="onnx")
    after = model.predict(clips)
    model.engine = "tensorflow"
    for one, other in zip(after, model.predict(clips), strict=True):
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
        np.testing.assert_allclose(one.spectrogram, other.spectrogram, atol=2e-2)


@pytest.mark.parametrize("family", ["handwriting_reader", "deepspeech-gru"])
def test_every_network_that_runs_as_a_whole(models, family):
    inputs = tiny_tasks.PAIRS[family][0]
    before, after = same_as_tensorflow(models(family), list(inputs))
    for one, other in zip(before, after, strict=True):
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_what_trains_does_so_with_tensorflow_alone():
    model = rnnzoo.load("deeploc-multiloc", engine="onnx")
    pairs = ["MSKL" * 9, "MKKV" * 9], ["Peroxisome", "Nucleus"]
    first = model.predict("MSKL" * 9)
    with pytest.raises(InputError, match=r"set model.engine = 'tensorflow'"):
        model.fit(*pairs)
    model.compile()
    batch = model.training_batch(*pairs)
    with pytest.raises(InputError, match=r"set model.engine = 'tensorflow'"):
        model.train_on_batch(batch[0], batch[1])
    model.engine = "tensorflow"
    model.fit(*pairs, epochs=3, verbose=0)
    trained = model.predict("MSKL" * 9)
    model.engine = "onnx"
    found = model.predict("MSKL" * 9).likelihoods
    assert found == pytest.approx(trained.likelihoods, abs=2e-6)
    assert found != pytest.approx(first.likelihoods, abs=1e-3)


def test_new_weights_are_taken_up(tmp_path):
    model = rnnzoo.load("deeploc-multiloc", engine="onnx")
    model.predict("MSKL")
    kept = model.get_weights()
    model.assign_weights({path: 0 * value for path, value in model.weight_values().items()})
    assert list(model.predict("MSKL").likelihoods.values()) == pytest.approx([1 / 11] * 11)
    model.set_weights(kept)
    assert max(model.predict("MSKL").likelihoods.values()) > 0.2
    model.set_weights([0 * value for value in kept])
    model.predict("MSKL")
    model.save(tmp_path / "nothing.keras")
    model.set_weights(kept)
    model.predict("MSKL")
    model.load_weights(tmp_path / "nothing.keras")
    for weight, value in zip(model.weights, kept, strict=True):
        weight.assign(value)
    model.engine = "onnx"  # the same again
    assert max(model.predict("MSKL").likelihoods.values()) > 0.2
    model.load_weights(tmp_path / "nothing.keras")
    assert list(model.predict("MSKL").likelihoods.values()) == pytest.approx([1 / 11] * 11)


def test_what_is_no_engine_is_said(monkeypatch):
    with pytest.raises(InputError, match="'tensorflow' or 'onnx'; got 'jax'"):
        rnnzoo.load("deeploc-multiloc", engine="jax")
    with pytest.raises(InputError, match='dtype="float32"'):
        rnnzoo.load("deeploc-multiloc", dtype="mixed_bfloat16", engine="onnx")
    model = rnnzoo.load("deeploc-multiloc")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="rnnzoo\\[export\\]"):
        model.engine = "onnx"
    assert model.engine == "tensorflow"


@pytest.mark.parametrize("family", list(tiny_tasks.PAIRS))
def test_every_family_has_something_to_warm_up_with(models, family):
    model = models(family)
    model.warmup()


@pytest.mark.parametrize("flags", ["avx2", "avx2 avx512_vnni"])
def test_without_vnni_sums_of_int8_do_not_overflow(tmp_path, monkeypatch, flags):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags}\n")
    monkeypatch.setattr(engine, "_CPUINFO", tmp_path / "cpuinfo")
    assert engine._pairs_overflow() == ("vnni" not in flags)
    if "vnni" not in flags:  # as it is on any processor then
        rounded = rnnzoo.load("deeploc-multiloc", quantize="int8")
        small = rnnzoo.load("deeploc-multiloc", quantize="int8", engine="onnx")
        for before, after in zip(rounded.predict(PROTEINS), small.predict(PROTEINS), strict=True):
            assert after.likelihoods == pytest.approx(before.likelihoods, abs=0.02)
        monkeypatch.setattr(engine, "_CPUINFO", tmp_path / "missing")
        assert engine._pairs_overflow()
        monkeypatch.setattr("platform.machine", lambda: "arm64")
        assert not engine._pairs_overflow()


def test_an_int8_model_is_computed_in_int8():
    plain = rnnzoo.load("deeploc-multiloc")
    small = rnnzoo.load("deeploc-multiloc", quantize="int8", engine="onnx")
    for before, after in zip(plain.predict(PROTEINS), small.predict(PROTEINS), strict=True):
        assert after.location == before.location
        assert after.likelihoods == pytest.approx(before.likelihoods, abs=0.05)
        assert after.likelihoods != pytest.approx(before.likelihoods, abs=1e-7)
