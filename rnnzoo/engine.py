"""What computes a prediction: TensorFlow, or onnxruntime behind the same calls.

TensorFlow runs the steps of a recurrence one operation after the other. On a CPU onnxruntime does
the same arithmetic by operators of its own for whole recurrences, with the same results up to
rounding; `tools/benchmark.py` measures both.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import pathlib
import platform
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import graph_cache
from rnnzoo.errors import ExportError, InputError, MissingDependencyError
from rnnzoo.export import Graph, check_float32, onnx_model, tensor_function
from rnnzoo.quantized import Quantizable

ENGINES = ("tensorflow", "onnx")
_CPUINFO = pathlib.Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni"}
_CONVERTING = threading.Lock()  # layers are traced as another device would have them meanwhile


def check_engine(engine: Any, network: keras.Model) -> None:
    """Raise an error for what is no engine, or cannot run a network here.

    Raises
    ------
    InputError
        For another engine than those of `ENGINES`, and for onnxruntime and a network that computes
        in 16 bits.
    MissingDependencyError
        For onnxruntime without the extra `export`.

    Examples
    --------
    >>> import keras
    >>> from rnnzoo.engine import check_engine
    >>> check_engine("onnx", keras.Sequential([keras.layers.Dense(2)]))
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be {' or '.join(map(repr, ENGINES))}; got {engine!r:.60}")
    if engine == "onnx":
        check_float32(network, "onnx")
        try:
            import onnxruntime  # noqa: F401
            import tf2onnx  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError("engine='onnx'", "onnxruntime", "export") from error


class OnnxEngine:
    """Graphs of a network, run by onnxruntime with the weights that it has at a graph's first run.

    With `int8` the products with constant matrices, those of recurrences too, are of int8, to which
    what goes into them is rounded as it comes, by its own range, and each matrix has one scale:
    faster, and a little other results (onnxruntime's dynamic quantization). Convolutions and the
    spectrogram of sound stay in float32. On an x86 processor without VNNI the matrices are of uint8
    instead: with int8 its sums of two products may overflow their 16 bits.

    A graph is converted when it is first asked for, which takes seconds, and kept; on disk too
    (`rnnzoo.graph_cache`) where `key` gives a hash of the model as it is then. It runs on as many
    threads as TensorFlow was told to use within an operation
    (`tf.config.threading.set_intra_op_parallelism_threads`), by default on all cores.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.engine import OnnxEngine
    >>> localizer = rnnzoo.load("deeploc-multiloc")
    >>> engine = OnnxEngine(localizer.graphs(), localizer.network)
    >>> engine.run("network", {"residues": [[13, 10, 11]]})["location"].shape
    (1, 11)
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        network: keras.Model,
        int8: bool = False,
        key: Callable[[], str | None] = lambda: None,
    ) -> None:
        check_engine("onnx", network)
        self.graphs, self.network, self.int8, self.key = dict(graphs), network, int8, key
        self._sessions: dict[str, Any] = {}

    def session(self, name: str) -> Any:
        """The `onnxruntime.InferenceSession` of a graph.

        Raises
        ------
        ExportError
            If it cannot be converted, or onnxruntime does not take it.
        """
        with _CONVERTING:
            if name not in self._sessions:
                self._sessions[name] = self._new_session(name)
            return self._sessions[name]

    def _new_session(self, name: str) -> Any:
        key = self.key()
        kind = ("-uint8" if _pairs_overflow() else "-int8") if self.int8 else ""
        filed = f"{key}-{name}{kind}"
        kept = None if key is None else graph_cache.read(filed)
        if kept is not None:
            with contextlib.suppress(ExportError):  # converted anew, it may do
                return _session_of(kept)
        content = onnx_model(self.graphs[name], self.network)
        if self.int8:
            content = _with_int8(content)
        session = _session_of(content)
        if key is not None and self.key() == key:  # nobody changed the model meanwhile
            graph_cache.write(filed, content)
        return session

    def run(self, name: str, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """A graph's outputs by their names, for its inputs by theirs."""
        graph = self.graphs[name]
        session = self.session(name)
        feeds = {
            given.name: np.asarray(tensors[given.name], graph.inputs[given.name].dtype)
            for given in session.get_inputs()
        }
        return dict(zip(graph.outputs, session.run(list(graph.outputs), feeds), strict=True))


def _session_of(content: bytes) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            content, _session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own are of many kinds
        raise _refused(error) from error


def _refused(error: Exception) -> ExportError:
    return ExportError(f"onnxruntime cannot take this graph: {str(error).strip():.500}")


def _session_options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = tf.config.threading.get_intra_op_parallelism_threads()
    options.log_severity_level = 3
    return options


def _with_int8(content: bytes) -> bytes:
    """An ONNX model with products of int8 in the place of those with constant matrices."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().addFilter(_says_nothing_of_preprocessing)
    try:
        with tempfile.TemporaryDirectory() as folder:
            folded, rounded = (pathlib.Path(folder, name) for name in ("folded", "rounded"))
            options = _session_options()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = str(folded)
            onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            model = onnx.load(folded)
            quantize_dynamic(
                model,
                rounded,
                weight_type=QuantType.QUInt8 if _pairs_overflow() else QuantType.QInt8,
                op_types_to_quantize=["LSTM", "MatMul"],
                extra_options={"EnableSubgraph": True},
                nodes_to_exclude=[n.name for n in model.graph.node if "spectrogram" in n.name],
            )
            return rounded.read_bytes()
    except Exception as error:
        raise _refused(error) from error
    finally:
        logging.getLogger().removeFilter(_says_nothing_of_preprocessing)


def _pairs_overflow() -> bool:
    """Whether products of uint8 and int8 are summed up in pairs that may overflow here (VPMADDUBSW
    of x86 processors without VNNI); what is not known to have VNNI is taken to do so."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = re.search(r"^flags\s*: (.*)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return True
    return flags is None or _VNNI.isdisjoint(flags[1].split())


def _says_nothing_of_preprocessing(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()  # it is done here


class Engined(Quantizable):
    """A model whose `predict` computes with an engine of its user's choice; `rnnzoo.Task` is one.

    Examples
    --------
    >>> import rnnzoo
    >>> rnnzoo.load("deeploc-multiloc").engine
    'tensorflow'
    """

    _compiled: Any
    _inputs: list[str]
    _onnx: OnnxEngine | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._engine = "tensorflow"

    @abc.abstractmethod
    def graphs(self) -> dict[str, Graph]:
        """What `export` can write: "network", the whole, and for a family that goes step by step
        "step", which takes a state and gives the next, and what makes its first state."""

    @property
    def engine(self) -> str:
        """What `predict` and `stream` compute with: "tensorflow", or "onnx" for onnxruntime, which
        is often faster on a CPU and gives the same results up to rounding. A model in int8 is
        computed in int8 by it, which is faster still and rounds more: what goes into each product
        too.

        Converted graphs of weights that are as they were loaded are kept for the next process
        (`rnnzoo.graph_cache`); layers that were changed in place are not noticed.

        It can be set. With "onnx" predictions are made with the weights as they were at the first
        one: to train, set "tensorflow", and "onnx" again after it. Weights that are set or loaded
        through this model are noticed; after assigning to variables set "onnx" anew. A copy of the
        model computes with "tensorflow".

        Examples
        --------
        >>> import rnnzoo
        >>> localizer = rnnzoo.load("deeploc-multiloc", engine="onnx")
        >>> localizer.engine = "tensorflow"
        """
        return self._engine

    @engine.setter
    def engine(self, engine: str) -> None:
        self._use_engine(engine)

    def _use_engine(self, engine: str) -> None:
        check_engine(engine, self.network)
        self._engine = engine
        self._forget_engine()
        self.train_function = None  # asks again whether it may train

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "engine":  # Keras leaves out what is set to the same value
            self._use_engine(value)
        else:
            super().__setattr__(name, value)

    def onnx_engine(self) -> OnnxEngine | None:
        """What runs the graphs of `predict` by onnxruntime, if it is asked for."""
        if self._engine == "onnx" and self._onnx is None:
            graphs, int8 = self.prediction_graphs(), self.quantization == "int8"
            self._onnx = OnnxEngine(graphs, self.network, int8, self._graphs_key)
        return self._onnx

    def _graphs_key(self) -> str | None:
        """A hash of all that `prediction_graphs` is made of, None where that is not known."""
        return None

    def prediction_graphs(self) -> dict[str, Graph]:
        """What `predict` runs: `graphs()`, and what a family computes besides."""
        return self.graphs()

    def _outputs(self, **tensors: Any) -> dict[str, np.ndarray]:
        """The network's outputs, by one graph for all shapes."""
        if (engine := self.onnx_engine()) is not None:
            return engine.run("network", tensors)
        if self._compiled is None:
            graph = self.prediction_graphs()["network"]
            self._inputs = list(graph.inputs)
            self._compiled = tensor_function(graph).get_concrete_function()
        out = self._compiled(*(tf.constant(tensors[name]) for name in self._inputs))
        return {name: tensor.numpy() for name, tensor in out.items()}

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """As of `keras.Model`."""
        super().set_weights(weights)
        self._forget_engine()

    def load_own_variables(self, store: Any) -> None:
        """Take from `store` what Keras' files hold besides the layers' weights, which follow."""
        super().load_own_variables(store)
        self._forget_engine()

    def _check_trains(self, aim: str) -> None:
        super()._check_trains(aim)
        if self._engine != "tensorflow":
            raise InputError(
                f"engine={self._engine!r} predicts with the weights as they are: to {aim}, set "
                f"model.engine = 'tensorflow', and {self._engine!r} again after it"
            )

    def _forget_graphs(self) -> None:
        """Let go of compiled graphs, those of `predict` among them; a family that keeps some by
        another name lets go of these too."""
        super()._forget_graphs()
        self._compiled = None
        self._forget_engine()

    def _forget_engine(self) -> None:
        self._onnx = None
