"""Weight-only int8: the same results from a quarter of the memory, for use alone."""

import gc
import weakref

import keras
import numpy as np
import pytest
import quantized
import recipes
import safetensors.numpy
import tensorflow as tf
from conftest import EXAMPLES, loaded_once
from hub_server import WRITER
from tiny_tasks import PAIRS, build, recognizer

import rnnzoo
from rnnzoo import hub
from rnnzoo.errors import InputError, WeightsError
from rnnzoo.manifest import package_manifest
from rnnzoo.weights import integers_of, quantize

SOURCES, TARGETS = PAIRS["seq2seq"]


def outputs(model, name):
    inputs, *_ = model.training_batch(*PAIRS[name])
    return [np.asarray(out) for out in keras.tree.flatten(model.network(inputs, training=False))]


def size(model):
    return sum(np.asarray(weight).nbytes for weight in model.network.weights)


def stored(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def integers(model):
    return {
        path: np.asarray(weight)
        for path, weight in model.weights_by_path().items()
        if weight.dtype == "int8" or path.endswith(".scale")
    }


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.fixture
def saved(vocabulary, tmp_path):
    """The int8 folder of a tiny translator."""
    build("seq2seq", vocabulary).save(tmp_path / "base", storage="int8")
    return tmp_path / "base"


@pytest.mark.parametrize(
    "name", ["deeploc-multiloc", "deepspeech-streaming", "graves-handwriting-reader",
             "seq2seq-en-fr"]
)  # fmt: skip
def test_released_weights_keep_their_integers_and_results(name, tmp_path):
    plain, small = loaded_once(name), rnnzoo.load(name, quantize="int8")
    assert (plain.quantization, small.quantization) == (None, "int8")
    assert size(small) < 0.28 * size(plain)
    file = stored(small.origin.folder)
    kept = integers(small)
    assert set(kept) == {p for p in file if file[p].dtype == np.int8 or p.endswith(".scale")}
    for path, value in kept.items():
        np.testing.assert_array_equal(value, file[path])
    examples = EXAMPLES[small.family][:2]
    for one, other in zip(small.predict(examples), plain.predict(examples), strict=True):
        assert str(one) == str(other)
    small.save(tmp_path / "again")
    for part in ("model.safetensors", "config.json"):
        again, before = ((f / part).read_bytes() for f in (tmp_path / "again", plain.origin.folder))
        assert again == before


def test_what_int8_gave_back_is_rounded_to_the_same_bytes():
    """Saving as int8 what was loaded from int8 changes nothing."""
    for entry in package_manifest().entries:
        file = stored(hub.bundled_folder(entry))
        for name, (integers, scale) in integers_of(file).items():
            found = quantize(integers * scale)
            np.testing.assert_array_equal(found[0], integers, name)
            np.testing.assert_array_equal(found[1], scale, name)
    largest = np.arange(2**23, 2**24, dtype=np.float32)  # every mantissa
    scale = largest / np.float32(127)
    np.testing.assert_array_equal(scale * np.float32(127) / np.float32(127), scale)


def rounded(model):
    """The model, each weight as int8 will have it, and the arrays by path."""
    values = {path: np.asarray(weight) for path, weight in model.weights_by_path().items()}
    for path, value in values.items():
        if value.ndim > 1:
            integers, scale = quantize(value)
            values[path] = integers * scale
    model.assign_weights(values)
    return model, values


def kernels(model):
    """What tells whether TensorFlow's variables of kernels are still there."""
    return [weakref.ref(w.value) for w in model.network.weights if len(w.shape) > 1]


@pytest.mark.parametrize("name", PAIRS)
def test_every_layer_computes_with_what_the_integers_stand_for(name, vocabulary):
    model = build(name, vocabulary)
    floats, exact = kernels(model), outputs(model, name)
    model.quantize()
    gc.collect()
    assert floats and all(ref() is None for ref in floats)  # the memory is given back
    plain, values = rounded(build(name, vocabulary))
    kept = {path for path, weight in model.weights_by_path().items() if weight.dtype == "int8"}
    assert kept == {path for path, value in values.items() if value.ndim > 1}
    for path, value in model.weight_values().items():
        np.testing.assert_array_equal(value, values[path])
    found = outputs(model, name)
    same(found, outputs(plain, name))
    assert any((one != other).any() for one, other in zip(found, exact, strict=True))


@pytest.mark.parametrize("name", ["seq2seq", "handwriting", "deepspeech-gru"])
def test_a_model_that_was_used_before_goes_on_in_int8(name, vocabulary):
    model, _ = rounded(build(name, vocabulary))
    inputs, floats = PAIRS[name][0][:2], kernels(model)
    before = [str(one) for one in model.predict(inputs)]
    loss = model.evaluate(*PAIRS[name], verbose=0)
    model.quantize()
    gc.collect()
    assert all(ref() is None for ref in floats)  # no graph holds them
    assert [str(one) for one in model.predict(inputs)] == before
    assert model.evaluate(*PAIRS[name], verbose=0) == pytest.approx(loss, rel=1e-5)


def casts_within_loops(graph):
    """The int8 casts in functions that a graph calls, and those of its own."""
    definition = graph.as_graph_def()

    def casts(nodes):
        return sum(
            node.op == "Cast" and node.attr["SrcT"].type == tf.int8.as_datatype_enum
            for node in nodes
        )

    return sum(casts(f.node_def) for f in definition.library.function), casts(definition.node)


def test_no_loop_expands_a_kernel_at_every_step(vocabulary):
    from rnnzoo.seq2seq import DecodingOptions

    translator = build("seq2seq", vocabulary)
    translator.quantize()
    within, once = casts_within_loops(translator.generate._search_for(DecodingOptions()).graph)
    assert within == 0 and once == len(integers(translator)) // 2
    model = build("handwriting")
    model.quantize()
    within, once = casts_within_loops(model.sample._compiled().graph)
    assert within == 0 and once == len(integers(model)) // 2
    model = build("deepspeech-gru")  # which Keras runs cell by cell
    model.quantize()
    samples = tf.TensorSpec([None, None], tf.float32)
    run = tf.function(
        lambda samples, lengths: model.network({"samples": samples, "lengths": lengths}),
        input_signature=[samples, tf.TensorSpec([None], tf.int32)], autograph=False,
    )  # fmt: skip
    within, once = casts_within_loops(run.get_concrete_function().graph)
    assert within == 0 and once >= len(integers(model)) // 2


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_other_precisions(saved, dtype):
    plain = rnnzoo.load(saved, dtype=dtype)
    small = rnnzoo.load(saved, dtype=dtype, quantize="int8")
    for path, value in integers(small).items():
        np.testing.assert_array_equal(value, stored(saved)[path])
    same(outputs(small, "seq2seq"), outputs(plain, "seq2seq"))


def test_streams_go_on_in_int8():
    keras.utils.set_random_seed(7)
    changes = {"bidirectional": False, "normalization": "running", "lookahead": 1}
    model, _ = rounded(recognizer(**changes))
    (samples, _), *_ = PAIRS["deepspeech"][0]
    floats, found = kernels(model), []
    for scheme in (None, "int8"):
        if scheme:
            model.quantize(scheme)
        with model.stream() as stream:  # its graphs stay with the network
            stream.feed(samples)
        found.append(stream.finish().log_probs)
        stream = None
    np.testing.assert_allclose(*found, atol=1e-6)
    gc.collect()
    assert all(ref() is None for ref in floats)


def test_with_an_adapter_only_what_it_changes_is_rounded_anew(saved, tmp_path):
    model = rnnzoo.load(saved)
    model.enable_lora(rank=1, targets=["readout"])
    factors = model.lora.factors()
    model.lora.assign_factors({name: value + 0.1 for name, value in factors.items()})
    model.save_adapter(tmp_path / "adapter")
    small = rnnzoo.load(saved, adapter=tmp_path / "adapter", quantize="int8")
    path = "decoder/readout/kernel"
    for name, value in integers(small).items():
        assert np.array_equal(value, stored(saved)[name]) != name.startswith(path)
    rounding = np.abs(small.weight_values()[path] - np.asarray(model.weights_by_path()[path]))
    assert (rounding <= 0.51 * integers(small)[f"{path}.scale"]).all()
    with pytest.raises(InputError, match="merge_adapter=True"):
        rnnzoo.load(saved, adapter=tmp_path / "adapter", merge_adapter=False, quantize="int8")


def test_save_and_load_by_every_way(saved, hub_server, tmp_path):
    small = rnnzoo.load(saved, quantize="int8")
    expected = outputs(small, "seq2seq")
    for storage in ("float32", "int8", None):
        small.save(tmp_path / "again", storage=storage)
        again = rnnzoo.load(tmp_path / "again", quantize="int8")
        same(outputs(again, "seq2seq"), expected)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        saved / "model.safetensors"
    ).read_bytes()
    assert (
        f"Parameters: {rnnzoo.load(saved).count_params():,}; stored as int8"
        in (tmp_path / "again" / "README.md").read_text()
    )
    commit = small.push_to_hub("zoo/int8", token=WRITER)
    again = rnnzoo.load(f"hf://zoo/int8@{commit.oid}", quantize="int8")
    for path, value in integers(again).items():
        np.testing.assert_array_equal(value, stored(saved)[path])
    rnnzoo.load(saved).save(tmp_path / "model.keras")
    same(outputs(rnnzoo.load(tmp_path / "model.keras", quantize="int8"), "seq2seq"), expected)


def test_an_exported_network_is_in_int8_too(tmp_path):
    model = build("deeploc")
    model.quantize()
    model.export(tmp_path / "exported")
    inputs, *_ = model.training_batch(*PAIRS["deeploc"])
    exported = tf.saved_model.load(tmp_path / "exported")
    kept = tf.train.load_checkpoint(str(tmp_path / "exported" / "variables" / "variables"))
    dtypes = list(kept.get_variable_to_dtype_map().values())
    assert dtypes.count(tf.int8) == len(integers(model)) // 2
    expected = model.network(inputs, training=False)["location"]
    (name,) = model.graphs()["network"].inputs
    found = exported.signatures["serving_default"](**{name: tf.constant(inputs)})
    np.testing.assert_allclose(found["location"], expected, atol=1e-6)


def test_what_cannot_be_done_is_named(saved, vocabulary, tmp_path):
    for scheme in ("int4", "INT8", True, 8):
        with pytest.raises(InputError, match="quantize must be 'int8'"):
            rnnzoo.load(saved, quantize=scheme)
    with pytest.raises(InputError, match="weights=True"):
        rnnzoo.load(saved, weights=False, quantize="int8")
    with pytest.raises(InputError, match=r"embeddings would begin with new rows.*train"):
        rnnzoo.load(saved, new_pieces=["zwarff"], quantize="int8")
    tuned = rnnzoo.load(saved)
    with pytest.raises(InputError, match="quantize must be 'int8'"):
        tuned.quantize("int4")
    tuned.enable_lora(rank=1)
    with pytest.raises(InputError, match=r"merge_lora\(\) first"):
        tuned.quantize("int8")

    small = rnnzoo.load(saved, quantize="int8")
    expected = outputs(small, "seq2seq")
    small.compile(run_eagerly=True)
    batch = small.training_batch(SOURCES, TARGETS)
    for aim, call in (
        ("train", lambda: small.fit(SOURCES, TARGETS, verbose=0)),
        ("train", lambda: small.train_on_batch(*batch)),
        ("train low-rank updates", small.enable_lora),
        ("freeze or unfreeze", small.unfreeze),
        ("freeze or unfreeze", lambda: small.freeze("encoder")),
        ("set weights", lambda: small.assign_weights(small.weight_values())),
        ("write one of Keras' files", lambda: small.save(tmp_path / "model.keras")),
        ("write one of Keras' files", lambda: small.save_weights(tmp_path / "m.weights.h5")),
    ):
        with pytest.raises(InputError, match=f"int8, for use alone: to {aim}, load the model with"):
            call()
    assert not (tmp_path / "model.keras").exists()
    with pytest.raises(InputError, match=r"quantized already \(int8\)"):
        small.quantize("int8")
    same(outputs(small, "seq2seq"), expected)  # nothing of it changed anything

    broken = build("seq2seq", vocabulary)
    kernel = broken.weights_by_path()["decoder/readout/kernel"]
    kernel.assign(kernel * np.float32("nan"))
    with pytest.raises(WeightsError, match=r"decoder/readout/kernel.* not finite: not quantized"):
        broken.quantize()
    assert broken.quantization is None


@pytest.mark.parametrize("entry", package_manifest().entries.values(), ids=lambda e: e.name)
def test_the_tool_knows_each_entrys_figure(entry):
    record, name = quantized.main_record(entry)
    assert name in recipes.measure(entry.family).SETS
    has_valid = any(metric.split.startswith("valid") for metric in entry.metrics)
    assert record.split.startswith("valid" if has_valid else "test")
    assert entry.family in quantized.FOLDERS


def test_answers_that_int8_changes_are_counted():
    wanted = ["a", "b", "c", "d"]
    assert quantized.in_brackets(0.5, wanted, wanted) == "0.5"
    assert quantized.in_brackets(0.5, ["a", "b", "x", "d"], wanted) == "0.5 (25.0 %)"
    assert quantized.in_brackets(9.1, [], []) == "9.1"
    record, name = quantized.main_record(package_manifest().entries["graves-handwriting"])
    assert (record.metric, name) == ("CER (reader)", "legibility-valid")
