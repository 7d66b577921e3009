"""Export: other runtimes give what the network gives; the files of Keras open."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_tasks
from conftest import ROOT
from export_check import FORMATS, PAIRS, PROTEINS, check, expected, inputs_of, opened, stepped

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.errors import ExportError, InputError, MissingDependencyError
from rnnzoo.export import network_graph, write_graph

FAMILIES = list(tiny_tasks.PAIRS)
STREAMS = {
    "lstm": {"bidirectional": False, "normalization": "running", "lookahead": 3},
    "rnn": {
        "cell": "rnn", "bidirectional": False, "normalization": "running", "lookahead": 2,
        "time_strides": (3, 2), "conv_times": (5, 7), "conv_channels": (3, 2),
        "conv_frequencies": (3, 3), "frequency_strides": (2, 1),
    },
    "strides": {  # one frame that is not real comes before those that the second sees
        "bidirectional": False, "normalization": "running", "lookahead": 1,
        "time_strides": (2, 2), "conv_times": (7, 5), "conv_channels": (3, 2),
        "conv_frequencies": (3, 3), "frequency_strides": (2, 1),
    },
    "dense": {
        "bidirectional": False, "normalization": "running", "conv_channels": (), "conv_times": (),
        "conv_frequencies": (), "time_strides": (), "frequency_strides": (), "num_dense_layers": 2,
        "dense_dim": 5, "context": 2,
    },
}  # fmt: skip
SENTENCES = ["Where is the station?", "I like ☃ and tea.", ""]


def tiny_stream(kind):
    keras.utils.set_random_seed(7)
    return tiny_tasks.recognizer(**STREAMS[kind])


def sounds(seconds):
    """Two pieces of noise that come and go."""
    rng = np.random.default_rng(1)
    pieces = [
        rng.normal(0, 0.1, int(16000 * s)) * np.linspace(0, 2, int(16000 * s)) for s in seconds
    ]
    return [(piece.astype("f4"), 16000) for piece in pieces], ["ab", "b"]


@pytest.fixture(scope="module")
def models(vocabulary):
    """A tiny task of every family, built when it is first asked for."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = tiny_tasks.build(name, vocabulary)
        return built[name]

    return get


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "deepspeech-gru"])
def test_every_family_gives_the_same_in_every_runtime(models, family, format, tmp_path):
    found = check(models(family), format, tiny_tasks.PAIRS[family], tmp_path)
    assert set(found) == (
        {"whole", "steps"}
        if family in ("seq2seq", "handwriting", "handwriting_prediction")
        else {"whole"}
    )
    assert max(found.values()) < 2e-5, found


@pytest.mark.parametrize("format", FORMATS)
def test_sound_that_streams_goes_step_by_step(format, tmp_path):
    pairs = sounds([0.3] if format == "litert" else [0.3, 0.21])
    found = check(tiny_stream("lstm"), format, pairs, tmp_path, whole=False)
    assert found["steps"] < 1e-4


@pytest.mark.parametrize("kind", ["rnn", "strides", "dense"])
def test_steps_of_any_stride_and_window_are_the_network(kind):
    model = tiny_stream(kind)
    graphs = model.graphs()
    inputs = inputs_of(model, sounds([0.3, 0.21]), 2)

    def graph(name):
        def run(**tensors):
            out = graphs[name].call({n: keras.ops.convert_to_tensor(v) for n, v in tensors.items()})
            return {n: np.asarray(value) for n, value in out.items()}

        return run

    found = stepped(model, inputs, graph)
    wanted = model.network(inputs)
    np.testing.assert_array_equal(found["frames"], wanted["frames"])
    np.testing.assert_allclose(found["log_probs"], wanted["log_probs"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("deeploc-multiloc", "saved_model"),
        ("deeploc-multiloc", "litert"),
        ("deeploc-multiloc", "onnx"),
        ("graves-handwriting-reader", "onnx"),
    ],
)
def test_released_models_give_the_same(name, format, tmp_path):
    model = rnnzoo.load(name, dtype="float32")
    pairs = PAIRS.get(model.family) or (PROTEINS, model.preprocessor.config.locations[:2])
    assert check(model, format, pairs, tmp_path)["whole"] < 1e-4


def test_a_released_stream_gives_the_same_step_by_step(tmp_path):
    model = rnnzoo.load("deepspeech-streaming", dtype="float32")
    samples, _ = sounds([0.25])
    found = check(model, "litert", (samples, ["no"]), tmp_path, whole=False)
    assert found["steps"] < 1e-3


def test_open_axes_take_any_size_and_have_names(models, tmp_path):
    import onnx

    model = models("handwriting_reader")
    model.export(tmp_path / "reader.onnx", "onnx")
    graph = onnx.load(tmp_path / "reader.onnx").graph
    axes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        "points": ["batch", "time", 3], "counts": ["batch"],
        "log_probs": ["batch", "frames", 4], "frames": ["batch"],
    }  # fmt: skip
    run = opened(tmp_path / "reader.onnx", "onnx")
    for batch, time in ((1, 3), (3, 20)):
        inputs = {
            "points": np.stack([tiny_tasks.ink(time, n) for n in range(batch)]),
            "counts": np.arange(time, time - batch, -1).astype("i4"),
        }
        np.testing.assert_allclose(
            run(**inputs)["log_probs"], model.network(inputs)["log_probs"], atol=1e-5
        )


@pytest.fixture(scope="module")
def exported_translator(tmp_path_factory):
    """The folder that the example reads, as its first lines make it."""
    folder = tmp_path_factory.mktemp("exported")
    for graph in ("encoder", "step"):
        path = str(folder / f"{graph}.onnx")
        command = ["export", "seq2seq-en-fr", path, "--format", "onnx", "--graph", graph]
        assert main(command) == 0
    model = rnnzoo.load("seq2seq-en-fr")
    (folder / "vocabulary.model").write_bytes(model.preprocessor.vocabulary)
    return folder


def test_the_example_translates_without_us_and_keras(exported_translator, translator):
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert not {'rnnzoo', 'keras', 'tensorflow'} & set(sys.modules)"
    )
    example = str(ROOT / "examples" / "onnx_translate.py")
    command = [sys.executable, "-c", code, example, str(exported_translator), *SENTENCES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = [result.text for result in translator.predict(SENTENCES, beam_size=1)]
    assert "☃" in wanted[1]
    assert done.stdout.split("\n")[:-1] == wanted


@pytest.mark.parametrize("chosen", [None, "FALSE"])
def test_an_optimizer_that_fails_is_left_out(tmp_path, monkeypatch, chosen):
    """tf2onnx' passes run without copies of the graph, and with them where one fails."""
    from tf2onnx.optimizer import _optimizers

    begun = []

    def failing():
        begun.append("TF2ONNX_CATCH_ERRORS" in os.environ)
        raise RuntimeError("this pass fails")

    if chosen:  # by the user, who then gets the error
        monkeypatch.setenv("TF2ONNX_CATCH_ERRORS", chosen)
    monkeypatch.setitem(_optimizers, "remove_identity", failing)
    x = keras.Input((None, 3), name="points")
    network = keras.Model({"points": x}, {"y": keras.layers.Dense(2)(x)})
    graph = network_graph(network, points="batch time", y="batch time")
    if chosen:
        with pytest.raises(ExportError, match="this pass fails"):
            write_graph(graph, network, tmp_path / "dense.onnx", "onnx")
    else:
        write_graph(graph, network, tmp_path / "dense.onnx", "onnx")
        assert (tmp_path / "dense.onnx").exists()
        assert begun[0] and not any(begun[1:])
    assert os.environ.get("TF2ONNX_CATCH_ERRORS") == chosen


def test_a_failed_export_leaves_what_was_there(models, tmp_path, monkeypatch):
    model, path = models("handwriting_prediction"), tmp_path / "step.tflite"
    model.export(path, "litert", graph="step")
    before = path.read_bytes()

    class Converter:
        target_spec = SimpleNamespace()

        def convert(self):
            raise RuntimeError("some op is neither a custom op nor a flex op")

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", lambda path: Converter())
    with pytest.raises(ExportError, match="neither a custom op"):
        model.export(path, "litert", graph="step")
    assert [p.name for p in tmp_path.iterdir()] == ["step.tflite"]
    assert path.read_bytes() == before


def test_what_is_no_export_is_not_replaced(models, tmp_path):
    model = models("handwriting_prediction")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="holds other files"):
        model.export(tmp_path / "mine")
    with pytest.raises(ExportError, match="is a folder"):
        model.export(tmp_path / "mine", "onnx")
    with pytest.raises(ExportError, match="is a file"):
        model.export(tmp_path / "mine" / "thesis.txt")
    with pytest.raises(ExportError, match="cannot write"):
        model.export(tmp_path / "mine" / "thesis.txt" / "step", graph="step")
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "thesis.txt"]
    model.export(tmp_path / "new", graph="step")
    model.export(tmp_path / "new", graph="step")  # one of ours is
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "new"}
    (tmp_path / "new" / "notes.txt").write_text("which input is which")
    with pytest.raises(ExportError, match=r"beside its SavedModel \(notes\.txt\)"):
        model.export(tmp_path / "new", graph="step")
    assert (tmp_path / "new" / "notes.txt").read_text() == "which input is which"


def test_an_error_of_the_graph_is_not_one_of_writing(models, tmp_path, monkeypatch):
    model, place = models("handwriting_prediction"), tmp_path / "new" / "deep"

    def fail(inputs):
        raise tf.errors.InvalidArgumentError(None, None, "shapes differ")

    graph = dataclasses.replace(model.graphs()["step"], call=fail)
    with pytest.raises(tf.errors.InvalidArgumentError, match="shapes differ"):
        write_graph(graph, model.network, place)
    assert not list(tmp_path.iterdir())

    def refuse(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "no space left")

    monkeypatch.setattr(tf.saved_model, "save", refuse)
    with pytest.raises(ExportError, match=r"cannot write .*no space left"):
        model.export(place, graph="step")
    assert not list(tmp_path.iterdir())


def test_the_working_directory_and_mount_points_are_not_replaced(models, tmp_path, monkeypatch):
    model, folder = models("handwriting_prediction"), tmp_path / "new"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ExportError, match="holds the working directory"):
        model.export(".", graph="step")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == folder.resolve())
    with pytest.raises(ExportError, match="is a mount point"):
        model.export(folder, graph="step")
    assert list(tmp_path.rglob("*")) == [folder]


def test_what_cannot_be_is_said(models, tmp_path, monkeypatch):
    model, place = models("deeploc"), tmp_path / "out"
    with pytest.raises(InputError, match="saved_model, onnx, litert"):
        model.export(place, "tf_saved_model")
    with pytest.raises(InputError, match="no graph 'step'; what can be exported: network"):
        model.export(place, graph="step")
    with pytest.raises(InputError, match="a fixed length for chain"):
        model.export(place, "litert")
    with pytest.raises(InputError, match="open axes are: chain"):
        model.export(place, "litert", length={"time": 3})
    for length in (0, True, 2.0):
        with pytest.raises(InputError, match="a whole number from 1 on"):
            model.export(place, "litert", length=length)
    with pytest.raises(InputError, match="takes any length"):
        model.export(place, "onnx", length=3)
    with pytest.raises(InputError, match="a multiple of 320"):
        tiny_stream("lstm").export(place, "litert", graph="step", length=100)
    half = rnnzoo.load("deeploc-multiloc", dtype="mixed_bfloat16", weights=False)
    with pytest.raises(InputError, match='dtype="float32"'):
        half.export(place, "onnx")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingDependencyError, match=r"rnnzoo\[export\]"):
        model.export(place / "new" / "deep.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_line(capsys, tmp_path, models):
    models("handwriting_reader").save(tmp_path / "reader")
    arguments = ["export", str(tmp_path / "reader"), str(tmp_path / "reader.tflite")]
    assert main([*arguments, "--format", "litert", "--length", "time=8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"]["points"] == {"dtype": "float32", "shape": [1, 8, 3]}
    assert told["outputs"]["frames"] == {"dtype": "int32", "shape": [1]}
    run = opened(tmp_path / "reader.tflite", "litert")
    points = tiny_tasks.ink(8)[None]
    assert run(points=points, counts=np.array([8], "i4"))["log_probs"].shape == (1, 4, 4)
    assert main([*arguments, "--format", "tflite"]) == 2
    assert main([*arguments, "--format", "litert", "--length", "time=x"]) == 2
    assert "AXIS=NUMBER" in capsys.readouterr().err


def test_the_command_line_exports_a_keras_file(models, tmp_path, capsys):
    model = models("handwriting_prediction")
    model.save(tmp_path / "pen.keras")
    arguments = ["export", str(tmp_path / "pen.keras"), str(tmp_path / "pen"), "--graph", "step"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: axes["shape"] for name, axes in told["inputs"].items()} == {
        name: list(axes.shape) for name, axes in model.graphs()["step"].inputs.items()
    }


def test_keras_files_of_every_network_open_safely_in_new_processes(models, tmp_path):
    """Whether Keras is imported before or after rnnzoo."""
    wanted = {}
    for family in FAMILIES:
        model = models(family)
        inputs = inputs_of(model, tiny_tasks.PAIRS[family], 2)
        wanted[family] = expected(model, inputs)
        model.network.save(tmp_path / f"{family}.keras")
        np.savez(tmp_path / f"{family}.npz", **inputs)
    code = (
        "import sys\n"
        "for module in sys.argv[1:3]:\n"
        "    __import__(module)\n"
        "import keras, numpy as np\n"
        "assert not any(type(f).__module__.startswith('rnnzoo') for f in sys.meta_path)\n"
        "assert keras.__spec__.loader.get_filename() == keras.__file__\n"
        "for family in sys.argv[3:]:\n"
        "    network = keras.saving.load_model(f'{family}.keras', safe_mode=True)\n"
        "    inputs = dict(np.load(f'{family}.npz'))\n"
        "    single = not isinstance(network.input, dict)\n"
        "    out = network(next(iter(inputs.values())) if single else inputs)\n"
        "    np.savez(f'{family}-out.npz', **out)\n"
    )
    for modules in (("keras", "rnnzoo"), ("rnnzoo", "keras")):
        command = [sys.executable, "-c", code, *modules, *FAMILIES]
        subprocess.run(command, cwd=tmp_path, check=True)
        for family in FAMILIES:
            path = tmp_path / f"{family}-out.npz"
            with np.load(path) as found:
                for name, value in wanted[family].items():
                    np.testing.assert_allclose(found[name], value, atol=1e-6)
            path.unlink()
