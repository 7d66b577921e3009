"""Networks taken into other runtimes: SavedModel (TensorFlow), ONNX and LiteRT.

A `Graph` is what is written: named tensors in, named tensors out, in float32. Every task has one of
its whole network; a family that goes step by step has others, which take a state and give the next.
tf2onnx writes what it cannot convert as an operator that no runtime has, and says so in a log
alone: the finished graph is therefore checked against ONNX' own list. LiteRT gets batches of one
and fixed lengths: with open ones its loops would need TensorFlow's operators ("Flex") beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.checkpoint import check_movable, swap
from rnnzoo.errors import ExportError, InputError, MissingDependencyError
from rnnzoo.layers.portable import portable
from rnnzoo.onnx_loops import free_loops

FORMATS = ("saved_model", "onnx", "litert")
_OPSET = 18
_SERVING = "serving_default"
_BATCH = "batch"
_CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"
_SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}


@dataclasses.dataclass(frozen=True)
class Axes:
    """A tensor of a graph: its dtype and its axes, a number each or the name of an open one."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """Named tensors in, named tensors out.

    Attributes
    ----------
    call : callable
        A dict of the inputs to a dict of the outputs.
    inputs, outputs : dict of Axes
        Axes of one name are of one length.
    multiples : dict
        For an open axis that only takes multiples of a number, that number.
    padded_right : bool
        Whether all masks in it are of padding on the right, as ONNX' own LSTM has them.

    Examples
    --------
    >>> import rnnzoo
    >>> graph = rnnzoo.load("seq2seq-en-fr").graphs()["step"]
    >>> graph.inputs["tokens"], graph.outputs["logits"]
    (Axes(dtype='int32', shape=('batch',)), Axes(dtype='float32', shape=('batch', 5000)))
    """

    call: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]
    multiples: Mapping[str, int] = dataclasses.field(default_factory=dict)
    padded_right: bool = True

    @property
    def open_axes(self) -> list[str]:
        """Names of the axes besides the batch whose length the caller chooses."""
        names = [size for axes in self.inputs.values() for size in axes.shape]
        return list(dict.fromkeys(n for n in names if isinstance(n, str) and n != _BATCH))

    def with_state(self, state: Mapping[str, Axes]) -> Graph:
        """With a state besides: in as `name`, out as `next_name`."""
        after = {f"next_{name}": axes for name, axes in state.items()}
        return dataclasses.replace(
            self, inputs={**self.inputs, **state}, outputs={**self.outputs, **after}
        )


def network_graph(network: keras.Model, **axes: str) -> Graph:
    """A functional network as a graph; for each of its inputs and outputs the names of its open
    axes, in their order.

    Examples
    --------
    >>> import keras
    >>> from rnnzoo.export import network_graph
    >>> x = keras.Input((None, 3), name="points")
    >>> network = keras.Model({"points": x}, {"y": keras.layers.Dense(2)(x)})
    >>> network_graph(network, points="batch time", y="batch time").open_axes
    ['time']
    """

    def described(tensors: Mapping[str, Any]) -> dict[str, Axes]:
        out = {}
        for name, tensor in tensors.items():
            names = iter(axes[name].split())
            shape = tuple(next(names) if size is None else size for size in tensor.shape)
            out[name] = Axes(tensor.dtype, shape)
        return out

    single = not isinstance(network.input, dict)
    inputs = {network.input.name: network.input} if single else network.input

    def call(tensors: dict[str, Any]) -> dict[str, Any]:
        return network(next(iter(tensors.values())) if single else tensors, training=False)

    return Graph(call, described(inputs), described(network.output))


def write_graph(
    graph: Graph,
    network: keras.Model,
    path: str | os.PathLike[str],
    format: str = "saved_model",
    length: int | Mapping[str, int] | None = None,
) -> None:
    """Write a graph of a network, whole or not at all; see `rnnzoo.Task.export`."""
    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if format != "saved_model":
        check_float32(network, format)
    lengths = _lengths(graph, format, length)
    with _beside(pathlib.Path(path), folder=format == "saved_model") as building:
        if format == "onnx":
            building.write_bytes(onnx_model(graph, network))
            return
        write = {"saved_model": _write_saved_model, "litert": _write_litert}[format]
        with portable(), _without_cudnn(network):
            write(graph, building, lengths)


def check_float32(network: keras.Model, format: str) -> None:
    """Raise an `InputError` for a network that computes in 16 bits, which `format` does not.

    Examples
    --------
    >>> import keras
    >>> from rnnzoo.export import check_float32
    >>> check_float32(keras.Sequential([keras.layers.Dense(2)]), "onnx")
    """
    halves = {layer.compute_dtype for layer in network._flatten_layers(include_self=False)}
    if halves := halves & {"float16", "bfloat16"}:
        raise InputError(
            f"the network computes in {', '.join(sorted(halves))}, {format} is written in float32: "
            'load the model with dtype="float32"'
        )


def tensor_function(graph: Graph, lengths: Mapping[str, int] | None = None) -> Any:
    """The graph as a `tf.function` of one positional tensor for each input, in their order; open
    axes have the `lengths` of their names, or none.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.export import tensor_function
    >>> translator = rnnzoo.load("seq2seq-en-fr")
    >>> state = tensor_function(translator.graphs()["encoder"])([[4, 5, 6]])
    >>> state["h_0"].shape
    TensorShape([1, 448])
    """
    lengths, names = lengths or {}, list(graph.inputs)
    signature = []
    for name, axes in graph.inputs.items():
        shape = [lengths.get(n) if isinstance(n, str) else n for n in axes.shape]
        signature.append(tf.TensorSpec(shape, axes.dtype, name=name))

    def run(*tensors: Any) -> dict[str, Any]:
        out = graph.call(dict(zip(names, tensors, strict=True)))
        return {name: tf.identity(out[name], name=name) for name in graph.outputs}

    return tf.function(run, input_signature=signature, autograph=False)


def onnx_model(graph: Graph, network: keras.Model) -> bytes:
    """A graph of a network as the content of an ONNX file.

    Raises
    ------
    MissingDependencyError
        Without the extra `export`.
    ExportError
        If the converter fails.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.export import onnx_model
    >>> translator = rnnzoo.load("seq2seq-en-fr")
    >>> content = onnx_model(translator.graphs()["step"], translator.network)
    >>> len(content) > 10_000_000
    True
    """
    try:
        import onnx
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("Export to ONNX", "tf2onnx", "export") from error
    function = tensor_function(graph)
    logger = logging.getLogger("tf2onnx")  # says what ONNX' own check says better
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with portable(graph.padded_right, constant_weights=True), _without_cudnn(network):
            try:
                with _without_copies():
                    model = _converted(function)
            except Exception:  # of an optimizer, say: with copies it is left out
                model = _converted(function)
        free_loops(model.graph)
        _name_axes(model.graph.input, graph.inputs)
        _name_axes(model.graph.output, graph.outputs)
        onnx.checker.check_model(model)
        return model.SerializeToString()
    except Exception as error:  # tf2onnx raises what it likes
        raise ExportError(
            f"tf2onnx cannot convert this graph to ONNX: {str(error).strip():.500}"
        ) from error
    finally:
        logger.setLevel(level)


def _converted(function: Any) -> Any:
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(
        function,
        function.input_signature,
        opset=_OPSET,
        custom_op_handlers={"CudnnRNNV3": (_onnx_lstm, [])},
    )
    return model


def _lengths(graph: Graph, format: str, length: int | Mapping[str, int] | None) -> dict[str, int]:
    """The length of every open axis, for LiteRT; none for others."""
    if format != "litert":
        if length is not None:
            raise InputError(f"length is for litert: {format} takes any length")
        return {}
    names = graph.open_axes
    if isinstance(length, Mapping):
        unknown = sorted(set(length) - set(names))
        if unknown:
            raise InputError(
                f"length names {', '.join(map(repr, unknown))}; the graph's open axes are: "
                f"{', '.join(names) or 'none'}"
            )
        chosen = {**graph.multiples, **length}
    elif length is None:
        chosen = dict(graph.multiples)
    else:
        chosen = dict.fromkeys(names, length)
    missing = [name for name in names if name not in chosen]
    if missing:
        example = ", ".join(f"{name!r}: 16" for name in names)
        raise InputError(
            f"litert needs a fixed length for {', '.join(missing)}: "
            f"length=16, or length={{{example}}}; shorter inputs are padded"
        )
    for name, size in chosen.items():
        multiple = graph.multiples.get(name, 1)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1 or size % multiple:
            kind = f"a multiple of {multiple:,}" if multiple > 1 else "a whole number from 1 on"
            raise InputError(f"the length of {name} must be {kind}, got {size!r}")
    return {_BATCH: 1, **chosen}


def written_graph(
    graph: Graph, format: str, length: int | Mapping[str, int] | None = None
) -> Graph:
    """A graph as a file of a format has it: LiteRT's has fixed axes, save those of outputs whose
    length follows from the inputs'.

    Raises
    ------
    InputError
        For a length that is missing or cannot be.

    Examples
    --------
    >>> import keras
    >>> from rnnzoo.export import network_graph, written_graph
    >>> x = keras.Input((None, 3), name="points")
    >>> network = keras.Model({"points": x}, {"y": keras.layers.Dense(2)(x)})
    >>> graph = network_graph(network, points="batch time", y="batch time")
    >>> written_graph(graph, "litert", 8).outputs
    {'y': Axes(dtype='float32', shape=(1, 8, 2))}
    """
    sizes = _lengths(graph, format, length)

    def fixed(described: Mapping[str, Axes]) -> dict[str, Axes]:
        return {
            name: dataclasses.replace(
                axes, shape=tuple(sizes.get(n, n) if isinstance(n, str) else n for n in axes.shape)
            )
            for name, axes in described.items()
        }

    return dataclasses.replace(graph, inputs=fixed(graph.inputs), outputs=fixed(graph.outputs))


@contextlib.contextmanager
def _without_cudnn(network: keras.Model) -> Iterator[None]:
    """Keras' own recurrent layers traced for any device."""
    layers = [
        layer
        for layer in network._flatten_layers(include_self=False)
        if hasattr(layer, "use_cudnn")
    ]
    before = [layer.use_cudnn for layer in layers]
    for layer in layers:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.use_cudnn = value


@contextlib.contextmanager
def _without_copies() -> Iterator[None]:
    """tf2onnx' optimizers work on the graph itself, which they do where the variable is set, to
    whatever. They would copy it before each of two dozen passes, to go on without one that fails: a
    quarter of the time."""
    if _CATCH_ERRORS in os.environ:
        yield
        return
    os.environ[_CATCH_ERRORS] = "FALSE"
    try:
        yield
    finally:
        os.environ.pop(_CATCH_ERRORS, None)


@contextlib.contextmanager
def _beside(path: pathlib.Path, folder: bool) -> Iterator[pathlib.Path]:
    """A new place beside `path`, which takes its place once all is written."""
    path = path.resolve()
    if folder and path.exists() and not path.is_dir():
        raise ExportError(f"{path} is a file: a SavedModel is a folder, name a new one")
    if folder and path.is_dir() and (there := {place.name for place in path.iterdir()}):
        if "saved_model.pb" not in there:
            raise ExportError(
                f"{path} holds other files and no SavedModel: name a new or an empty folder"
            )
        if others := sorted(there - _SAVED_MODEL):
            raise ExportError(
                f"{path} is replaced as a whole, and holds other files beside its SavedModel "
                f"({', '.join(others[:5])}): move them, or name another folder"
            )
    if folder:
        check_movable(path, ExportError)
    elif path.is_dir():
        raise ExportError(f"{path} is a folder: name a file")
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    new_parents = [place for place in path.parents if not os.path.exists(place)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield building
        if folder:
            swap(building, path)
        else:
            building.replace(path)
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ExportError(
            f"cannot write {path}: {reason:.500}. This export changed nothing there."
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
        with contextlib.suppress(OSError):
            building.unlink()
        for place in new_parents:
            with contextlib.suppress(OSError):  # it holds what was written
                place.rmdir()


def _write_saved_model(graph: Graph, path: pathlib.Path, lengths: Mapping[str, int]) -> None:
    module = tf.Module()
    concrete = tensor_function(graph, lengths).get_concrete_function()
    module.kept = list(concrete.variables)
    try:
        tf.saved_model.save(module, str(path), signatures={_SERVING: concrete})
    except tf.errors.OpError as error:  # as TensorFlow's file systems raise
        raise OSError(str(error)) from error


def _write_litert(graph: Graph, path: pathlib.Path, lengths: Mapping[str, int]) -> None:
    saved = path.with_name(f"{path.name}.saved_model")
    try:
        _write_saved_model(graph, saved, lengths)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            content = converter.convert()
        except Exception as error:  # of many kinds, the converter's own is not public
            raise ExportError(
                f"LiteRT's converter cannot take this graph without TensorFlow's operators: "
                f"{str(error).strip():.500}"
            ) from error
    finally:
        shutil.rmtree(saved, ignore_errors=True)
    path.write_bytes(content)


def _onnx_lstm(context: Any, node: Any, name: str, _: Any) -> None:
    """ONNX' LSTM for an operation that `rnnzoo.layers.portable.native_lstm` has traced."""
    x, h0, c0, params, lengths = node.input
    masked, backwards = node.get_attr_value("seed"), node.get_attr_value("seed2")
    features, units = context.get_shape(x)[-1], context.get_shape(h0)[-1]
    flat = context.get_node_by_output(params).get_tensor_value(as_list=False)
    shapes = [(1, 4 * units, features), (1, 4 * units, units), (1, 4 * units)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = [part.reshape(s) for part, s in zip(np.split(flat, ends), shapes, strict=True)]
    parts[2] = np.concatenate([parts[2], np.zeros_like(parts[2])], 1)
    weights = [
        context.make_const(f"{name}/{letter}", part).output[0]
        for letter, part in zip("WRB", parts, strict=True)
    ]
    outputs, shapes, dtypes = node.output[:3], node.output_shapes[:3], node.output_dtypes[:3]
    shapes[0] = [shapes[0][0], 1, *shapes[0][1:]]
    context.remove_node(name)
    lstm = context.make_node(
        "LSTM",
        [x, *weights, lengths if masked else "", h0, c0],
        output_count=3,
        attr={"hidden_size": units, "direction": "reverse" if backwards else "forward"},
        name=f"{name}/lstm",
        shapes=shapes,
        dtypes=dtypes,
    )
    axis = context.make_const(f"{name}/direction", np.array([1], np.int64)).output[0]
    context.make_node("Squeeze", [lstm.output[0], axis], outputs=[outputs[0]])
    for state, output in zip(lstm.output[1:], outputs[1:], strict=True):
        context.make_node("Identity", [state], outputs=[output])


def _name_axes(values: Any, described: Mapping[str, Axes]) -> None:
    """Give the open axes of ONNX' inputs and outputs their names."""
    for value in values:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, described[value.name].shape, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
