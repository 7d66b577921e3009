"""What every task does, on the released weights."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo import precision
from rnnzoo.errors import CheckpointError, ConfigError, InputError, WeightsError
from rnnzoo.manifest import package_manifest

TEXTS = [
    "I am happy.",
    "Where is the station?",
    "",
    "She has been learning French for three years and she likes it very much.",
    "Yes.",
]


def close(found, expected):
    """Two results as dicts agree: numbers to a rounding, everything else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            close(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=2e-3)
    else:
        assert found == expected


def test_one_input_gives_one_result_and_a_list_a_list(released):
    one = released.predict(TEXTS[0])
    assert str(one) == one.text
    (in_list,) = released.predict([TEXTS[0]])
    close(in_list.to_dict(), one.to_dict())
    assert released.predict([]) == []


def test_order_batch_and_container_do_not_change_a_result(released):
    alone = [released.predict(text).to_dict() for text in TEXTS]
    for inputs in (
        TEXTS,
        np.array(TEXTS),
        (text for text in TEXTS),
        tf.data.Dataset.from_tensor_slices(TEXTS).batch(2),
        tf.constant(TEXTS),
    ):
        for found, expected in zip(released.predict(inputs), alone, strict=True):
            close(found.to_dict(), expected)
    for found, expected in zip(
        released.predict(TEXTS[::-1], batch_size=2), alone[::-1], strict=True
    ):
        close(found.to_dict(), expected)


def test_split_preprocessing_gives_the_same_answer(released):
    encoded = [released.preprocessor.encode(text) for text in TEXTS if text]
    options = released.decoding
    found = released.generate(released.preprocessor.source(encoded), options)
    expected = [released.predict(text) for text in TEXTS if text]
    np.testing.assert_allclose(found["scores"][:, 0], [e.score for e in expected], atol=1e-3)


def test_save_and_load_agree(released, tmp_path):
    released.save(tmp_path / "folder")
    again = rnnzoo.load(tmp_path / "folder")
    for text in TEXTS:
        assert again.predict(text).to_dict() == released.predict(text).to_dict()


def test_keras_file_agrees(released, tmp_path):
    released.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for text in TEXTS[:2]:
        assert again.predict(text).to_dict() == released.predict(text).to_dict()


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["seq2seq-en-fr", "seq2seq-en-fr-sutskever"])
def test_mixed_precision_gives_the_golden_translations(name, dtype):
    mixed = rnnzoo.load(name, dtype=dtype)
    assert mixed.dtype_policy.name == dtype
    tolerance = 0.05 if dtype == "mixed_float16" else 0.3
    for golden in package_manifest().entries[name].golden:
        found = mixed.predict(golden.input, **golden.options)
        assert found.text == golden.output["text"]
        assert found.log_prob == pytest.approx(golden.output["log_prob"], abs=tolerance)


@pytest.mark.parametrize("dtype", precision.POLICIES)
def test_every_policy_loads_and_translates(tiny_saved, dtype):
    model = rnnzoo.load(tiny_saved[1], dtype=dtype)
    assert model.predict("the cat runs").score < 0


def test_export_takes_tensors_to_tensors(tiny_saved, tmp_path):
    model, _ = tiny_saved
    model.export(tmp_path / "exported", verbose=False)
    inputs = {
        "source_tokens": np.array([[4, 5, 3]], np.int32),
        "target_tokens": np.array([[2, 6]], np.int32),
    }
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(inputs)
    np.testing.assert_allclose(served["logits"], model.network(inputs)["logits"], atol=1e-5)


def test_results_become_json(released):
    result = released.predict(TEXTS[1], num_hypotheses=2)
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["text"] == result.text
    assert len(plain["hypotheses"]) == 2
    assert plain["hypotheses"][0]["text"] == result.text


def test_unknown_options_and_inputs_are_named(released):
    with pytest.raises(InputError, match="Did you mean 'beam_size'"):
        released.predict("x", beam_sise=3)
    with pytest.raises(InputError, match="beam_size"):
        released.predict("x", beam_size=0)
    with pytest.raises(InputError, match="batch_size"):
        released.predict("x", batch_size=0)
    with pytest.raises(InputError, match="int"):
        released.predict([3])
    with pytest.raises(InputError, match="decode"):
        released.predict(b"bytes")
    with pytest.raises(InputError, match="NoneType"):
        released.predict(None)
    with pytest.raises(InputError, match="surrogate"):
        released.predict("\ud800")


def test_fit_on_raw_pairs_learns_them_and_saves_what_it_learnt(tiny, tmp_path):
    sources = ["the cat runs", "a big dog", "the house", "a small cat"] * 4
    targets = ["le chat court", "un grand chien", "la maison", "un petit chat"] * 4
    tiny.compile(optimizer=keras.optimizers.Adam(0.02))
    history = tiny.fit(
        sources, targets, validation_data=(sources, targets), epochs=25, batch_size=8, verbose=0
    )
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert history.history["val_loss"][-1] < 0.5 * history.history["val_loss"][0]
    dataset = tf.data.Dataset.from_tensor_slices((sources, targets)).batch(8)
    by_dataset = tiny.evaluate(dataset, verbose=0)
    assert by_dataset == pytest.approx(tiny.evaluate(sources, targets, verbose=0), rel=1e-4)
    tiny.save(tmp_path / "tuned")
    tuned = rnnzoo.load(tmp_path / "tuned")
    assert tuned.predict("the cat runs").to_dict() == tiny.predict("the cat runs").to_dict()


def test_pairs_that_cannot_be_trained_on_are_named(tiny):
    with pytest.raises(InputError, match="2 inputs and 1 targets"):
        tiny.fit(["a", "b"], ["c"], verbose=0)
    with pytest.raises(InputError, match="no pairs"):
        tiny.fit([], [], verbose=0)
    with pytest.raises(InputError, match="pairs"):
        tiny.fit(["Hi", "No"], verbose=0)


def test_weights_are_set_all_or_none(tiny):
    values = {name: np.zeros(w.shape) for name, w in tiny.weights_by_path().items()}
    before = [np.array(w) for w in tiny.network.weights]
    last = list(values)[-1]
    with pytest.raises(WeightsError, match=last):
        tiny.assign_weights({**values, last: np.zeros(3)})
    with pytest.raises(WeightsError, match=last):
        tiny.assign_weights({n: v for n, v in values.items() if n != last})
    for weight, value in zip(tiny.network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_vocabulary_of_another_checkpoint_is_refused(translator, vocabulary):
    from rnnzoo.seq2seq import Seq2SeqPreprocessor, Seq2SeqTranslator

    other = Seq2SeqPreprocessor(translator.preprocessor.config, vocabulary)
    with pytest.raises(ConfigError, match="different checkpoints"):
        Seq2SeqTranslator(translator.config, other)


def test_a_task_is_a_keras_model(released, capsys):
    assert isinstance(released, rnnzoo.Task)
    assert isinstance(released, keras.Model)
    assert released.count_params() == released.network.count_params()
    released.summary()
    assert "encoder_decoder" in capsys.readouterr().out


def test_a_checkpoint_written_by_the_first_release_is_read(tmp_path):
    """tests/data/format-1 was written when format 1 was new; it is not to be rewritten."""
    from pathlib import Path

    old = Path(__file__).parent / "data" / "format-1"
    expected = json.loads((old.parent / "format-1.json").read_text(encoding="utf-8"))
    model = rnnzoo.load(old)
    close(model.predict(expected["source"]).to_dict(), expected)
    shutil.copytree(old, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError):
        rnnzoo.load(tmp_path / "copy")
