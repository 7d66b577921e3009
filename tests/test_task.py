"""What every task does, on the released weights."""

import dataclasses
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import EXAMPLES, loaded_once
from tiny_tasks import build

import rnnzoo
from rnnzoo import precision
from rnnzoo.errors import CheckpointError, ConfigError, InputError, WeightsError
from rnnzoo.manifest import package_manifest


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


def sorted_json(config):
    return json.dumps(config, sort_keys=True)


PRINTED = {"deeploc": "location"}  # others print their text
MIXED_TOLERANCE = {
    "seq2seq": ("log_prob", {"mixed_float16": 0.05, "mixed_bfloat16": 0.3}),
    "deeploc": ("likelihoods", {"mixed_float16": 0.01, "mixed_bfloat16": 0.05}),
    "deepspeech": ("words", {"mixed_float16": 0.05, "mixed_bfloat16": 0.1}),
    "handwriting_reader": ("confidence", {"mixed_float16": 0.02, "mixed_bfloat16": 0.1}),
}
NATS_TOLERANCE = {"mixed_float16": 0.01, "mixed_bfloat16": 0.1}  # for each point


ENTRIES = package_manifest().entries
ONE_OF_EACH_FAMILY = {entry.family: name for name, entry in reversed(ENTRIES.items())}.values()


def flat(numbers):
    """A number, or those in a dict or a list."""
    if isinstance(numbers, (dict, list)):
        parts = numbers.values() if isinstance(numbers, dict) else numbers
        return [number for part in parts for number in flat(part)]
    return [] if isinstance(numbers, str) else [numbers]


def unnamed(result):
    """A result as a dict, without the number that a list gave it."""
    return {key: value for key, value in result.to_dict().items() if key != "name"}


@pytest.fixture(scope="session")
def results(released):
    """What each of the examples gives alone."""
    return [released.predict(one) for one in EXAMPLES[released.family]]


def test_one_input_gives_one_result_and_a_list_a_list(released, examples):
    one = released.predict(examples[0])
    assert str(one) == one.to_dict()[PRINTED.get(released.family, "text")]
    assert len(repr(one)) < 300
    (in_list,) = released.predict([examples[0]])
    close(in_list.to_dict(), one.to_dict())
    assert released.predict([]) == []


def test_order_batch_and_container_do_not_change_a_result(released, examples, results):
    alone = [unnamed(result) for result in results]
    few = examples[:2]
    for inputs, count in (
        (examples, len(examples)),
        (tf.data.Dataset.from_tensor_slices(examples).batch(2), len(examples)),
        (np.array(few), 2),
        ((one for one in few), 2),
        (tf.constant(few), 2),
    ):
        for found, expected in zip(released.predict(inputs), alone[:count], strict=True):
            close(unnamed(found), expected)
    for found, expected in zip(
        released.predict(examples[::-1], batch_size=2), alone[::-1], strict=True
    ):
        close(unnamed(found), expected)


def test_save_and_load_agree(released, examples, results, tmp_path):
    released.save(tmp_path / "folder")
    again = rnnzoo.load(tmp_path / "folder")
    for one, expected in zip(examples, results, strict=True):
        close(again.predict(one).to_dict(), expected.to_dict())


def test_keras_file_agrees(released, examples, results, tmp_path):
    released.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for one, expected in zip(examples[:2], results[:2], strict=True):
        close(again.predict(one).to_dict(), expected.to_dict())
    ours = rnnzoo.load(tmp_path / "model.keras")
    assert sorted_json(ours.get_config()) == sorted_json(released.get_config())
    values = ours.weight_values()
    for path, value in released.weight_values().items():
        np.testing.assert_array_equal(values[path], value)


def same_nats(mixed, whole, tolerance):
    """Two writing networks are as surprised by ink, and the first writes too."""
    text, options = ("a pen", {}) if mixed.config.writes else (1, {"num_points": 60})
    ink = whole.predict(text, seed=5, **options)
    (line,) = (ink if mixed.config.writes else ink[0]).lines
    found, expected = (m.nats_per_point([line.text], [line.points]) for m in (mixed, whole))
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert mixed.predict(text, **options) is not None


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "mixed_float16") for name in ENTRIES),  # what "auto" is on a GPU
        *((name, "mixed_bfloat16") for name in ONE_OF_EACH_FAMILY),
    ],
)
def test_mixed_precision_gives_the_golden_results(name, dtype):
    mixed = rnnzoo.load(name, dtype=dtype)
    assert mixed.dtype_policy.name == dtype
    if hasattr(mixed, "nats_per_point"):  # what is drawn at random may turn out otherwise
        return same_nats(mixed, loaded_once(name, "float32"), NATS_TOLERANCE[dtype])
    number, by_dtype = MIXED_TOLERANCE[mixed.family]
    for golden in ENTRIES[name].golden:
        found = mixed.predict(golden.input, **golden.options).to_dict()
        printed = PRINTED.get(mixed.family, "text")
        assert found[printed] == golden.output[printed]
        ours, theirs = (flat(numbers[number]) for numbers in (found, golden.output))
        np.testing.assert_allclose(ours, theirs, atol=by_dtype[dtype])


@pytest.mark.parametrize("dtype", precision.POLICIES)
def test_every_policy_loads_and_predicts(tiny_saved, dtype):
    model = rnnzoo.load(tiny_saved[1], dtype=dtype)
    assert model.predict("the cat runs").score < 0


def test_export_takes_tensors_to_tensors(tiny_saved, tmp_path):
    model, _ = tiny_saved
    model.export(tmp_path / "exported")
    inputs = {
        "source_tokens": np.array([[4, 5, 3]], np.int32),
        "target_tokens": np.array([[2, 6]], np.int32),
    }
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.signatures["serving_default"](
        **{name: tf.constant(value) for name, value in inputs.items()}
    )
    np.testing.assert_allclose(served["logits"], model.network(inputs)["logits"], atol=1e-5)


def test_results_become_json(results):
    result = results[1]
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_unknown_options_and_inputs_are_named(released):
    option = dataclasses.fields(released.decoding)[0].name
    with pytest.raises(InputError, match=f"Did you mean '{option}'"):
        released.predict("MK", **{option + "x": 3})
    with pytest.raises(InputError, match=option):
        released.predict("MK", **{option: -1})
    with pytest.raises(InputError, match=option):
        released.predict("MK", **{option: 10**400})
    with pytest.raises(InputError, match="batch_size"):
        released.predict("MK", batch_size=0)
    with pytest.raises(InputError, match="int"):
        released.predict([3])
    with pytest.raises(InputError, match="NoneType"):
        released.predict(None)
    with pytest.raises(InputError, match=r"Dataset|dict"):
        released.predict(tf.data.Dataset.from_tensor_slices({"a": ["x"]}))


def test_numpy_numbers_are_numbers(released, examples):
    released.predict(examples[0], batch_size=np.int64(2))


def test_a_model_that_was_fitted_survives_its_keras_file(tiny, tmp_path):
    """In another process too, where only `import rnnzoo` was said: one of the two networks."""
    tiny.fit(["the cat", "a dog"], ["le chat", "un chien"], verbose=0)
    tiny.save(tmp_path / "tiny.keras")
    again = keras.saving.load_model(tmp_path / "tiny.keras")
    assert again.compiled
    again.fit(["the cat"], ["le chat"], verbose=0)
    if not tiny.config.attention:
        return
    code = (
        f"import rnnzoo; model = rnnzoo.load({str(tmp_path / 'tiny.keras')!r});"
        "print(model.predict('the cat').score)"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(found.stdout) == pytest.approx(tiny.predict("the cat").score, abs=1e-4)


def test_a_broken_keras_file_and_arguments_that_it_does_not_take_are_named(vocabulary, tmp_path):
    path = tmp_path / "model.keras"
    build("seq2seq", vocabulary).save(path)
    for options in (
        {"adapter": "/nowhere", "dtype": "nonsense", "foo": 3},
        {"weights": False},
        {"revision": "v1"},
        {"merge_adapter": False},
        {"local_files_only": True, "cache_dir": tmp_path},
    ):
        with pytest.raises(InputError, match="no argument but quantize and engine; got ") as raised:
            rnnzoo.load(path, **options)
        assert all(name in str(raised.value) for name in options)
    content = path.read_bytes()
    record = content.rindex(b"config.json") - 46  # in the zip's directory
    places = [content.index(b"config.json") + 40, len(content) // 2, len(content) - 30]
    for place in (*places, record + 8, record + 10):  # encrypted, another compression
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match="not a model that Keras can read"):
            rnnzoo.load(path)


def test_fit_on_raw_pairs_learns_them_and_saves_what_it_learnt(tiny, tmp_path):
    sources = ["the cat runs", "a big dog", "the house", "a small cat"] * 4
    targets = ["le chat court", "un grand chien", "la maison", "un petit chat"] * 4
    tiny.compile(optimizer=keras.optimizers.Adam(0.02))
    history = tiny.fit(
        sources, targets, validation_data=(sources, targets), epochs=25, batch_size=8, verbose=0
    )
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert history.history["val_loss"][-1] < 0.5 * history.history["val_loss"][0]
    tiny.fit(tf.constant(sources), tf.constant(targets), verbose=0)
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
    with pytest.raises(InputError, match=r"fit\(\[input\], \[target\]\)"):
        tiny.fit("Hi", "Salut", verbose=0)
    with pytest.raises(InputError, match="input 1 must be a text"):
        tiny.fit(["a", None], ["b", "c"], verbose=0)
    with pytest.raises(InputError, match="validation_data"):
        tiny.fit(["a", "b"], ["b", "c"], validation_split=0.5, verbose=0)


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
    assert released.network.name in capsys.readouterr().out


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
