"""Freezing by part: what is frozen stays the same to the bit, everything else trains."""

import keras
import numpy as np
import pytest
from tiny_tasks import PAIRS, build, changed, values

import rnnzoo
from rnnzoo.errors import InputError
from rnnzoo.parts import parts_of

FROZEN = {
    "seq2seq": "encoder",
    "deeploc": "encoder",
    "deepspeech": "recurrent",
    "deepspeech-gru": "encoder",
    "handwriting": "window",
    "handwriting_prediction": "recurrent",
    "handwriting_reader": "convolution",
}


@pytest.mark.parametrize("name", PAIRS)
def test_frozen_parts_stay_and_the_others_train(name, vocabulary):
    model = build(name, vocabulary)
    inputs, targets = PAIRS[name]
    model.compile(run_eagerly=name != "seq2seq")  # a graph takes longer to make than to run
    model.freeze(FROZEN[name])
    frozen = set(parts_of(values(model), model.parts)[FROZEN[name]])
    before = values(model)
    history = model.fit(inputs, targets, batch_size=2, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert changed(before, values(model)) == set(before) - frozen
    # compiled already: freezing more, and letting go again, take effect at once
    model.freeze()
    model.unfreeze("head" if "head" in model.parts else "readout")
    before = values(model)
    model.fit(inputs, targets, batch_size=2, verbose=0)
    head = set(parts_of(before, model.parts)["head" if "head" in model.parts else "readout"])
    assert changed(before, values(model)) == head
    model.unfreeze()
    before = values(model)
    model.fit(inputs, targets, batch_size=2, verbose=0)
    assert changed(before, values(model)) == set(before)


def test_every_part_names_weights_of_some_network(vocabulary):
    for name in PAIRS:
        model = build(name, vocabulary)
        weights = values(model)
        parts = parts_of(weights, model.parts)
        assert set(weights) == {path for found in parts.values() for path in found}
    stacked = build("deepspeech")
    assert "lookahead" in stacked.parts
    with pytest.raises(InputError, match="'lookahead' is no part of this network"):
        stacked.freeze("lookahead")


def test_a_wrong_name_is_answered_with_the_parts(vocabulary):
    model = build("seq2seq", vocabulary)
    with pytest.raises(InputError, match=r"Did you mean 'encoder'.*embedding, encoder, decoder"):
        model.freeze("encoders")
    with pytest.raises(InputError, match="names of parts"):
        model.freeze(3)
    assert all(weight.trainable for weight in model.network.weights)  # none was touched
    model.freeze("decoder/lstm_0/*")
    assert sum(not weight.trainable for weight in model.network.weights) == 3


def test_averages_of_a_batch_normalisation_never_train(vocabulary):
    model = build("deepspeech")
    model.freeze()
    model.unfreeze()
    moving = [weight for weight in model.network.weights if "moving" in weight.path]
    assert moving and not any(weight.trainable for weight in moving)


def test_the_optimizer_keeps_its_settings(vocabulary):
    model = build("seq2seq", vocabulary)
    rate = keras.optimizers.schedules.CosineDecay(0.5, 100)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), weighted_metrics=["accuracy"])
    model.fit(*PAIRS["seq2seq"], verbose=0)
    model.freeze("encoder")
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer.momentum == 0.9
    assert model.optimizer.get_config()["learning_rate"]["config"]["initial_learning_rate"] == 0.5
    history = model.fit(*PAIRS["seq2seq"], verbose=0)
    assert set(history.history) == {"loss", "accuracy"}


def test_mixed_precision_is_compiled_again_too(vocabulary, tmp_path):
    from rnnzoo.seq2seq import Seq2SeqTranslator

    tiny = build("seq2seq", vocabulary)
    model = Seq2SeqTranslator(tiny.config, tiny.preprocessor, dtype="mixed_float16")
    model.fit(*PAIRS["seq2seq"], verbose=0)
    model.freeze("embedding", "encoder")
    before = values(model)
    model.fit(*PAIRS["seq2seq"], epochs=2, verbose=0)
    assert {path.split("/")[0] for path in changed(before, values(model))} == {"decoder"}


def test_a_keras_file_remembers_what_is_frozen(vocabulary, tmp_path):
    model = build("seq2seq", vocabulary)
    model.freeze("encoder", "embedding")
    model.fit(*PAIRS["seq2seq"], verbose=0)
    model.save(tmp_path / "model.keras")
    again = rnnzoo.load(tmp_path / "model.keras")
    names = [weight.path for weight in again.trainable_weights]
    assert names == [weight.path for weight in model.trainable_weights]
    for mine, theirs in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    before = values(again)
    again.fit(*PAIRS["seq2seq"], verbose=0)
    assert {path.split("/")[0] for path in changed(before, values(again))} == {"decoder"}


def test_a_released_translator_with_its_encoder_frozen():
    model = rnnzoo.load("seq2seq-en-fr")
    model.freeze("encoder", "embedding")
    before = values(model)
    model.fit(["Take two tablets.", "Call a doctor."], ["Prenez.", "Appelez."], verbose=0)
    after = changed(before, values(model))
    assert after == {path for path in before if path.startswith("decoder/")}
