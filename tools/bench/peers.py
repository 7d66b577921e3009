"""The engines that are timed: rnnzoo's own, plain Keras, ONNX Runtime, PyTorch.

Each has `network`, named tensors to named tensors, and `predict`, raw inputs to plain results; a
part that an engine lacks is None, and `left_out` says why. Those who are not there at all are told
apart in the same way, so that a table never leaves anyone out in silence.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench.families import CTC, Family, Run, Sound, Tensors, Translation
from bench.record import (
    KERAS,
    ONNX,
    RNNZOO,
    RNNZOO_BFLOAT16,
    RNNZOO_INT8,
    RNNZOO_ONNX,
    TORCH,
    XLA,
)
from bench.sessions import onnx_run, onnx_session

_LSTM_USERS = ("deeploc", "deepspeech", "handwriting", "handwriting.reader_network", "seq2seq")


@dataclasses.dataclass
class Engine:
    """One way to run an entry; `task` is rnnzoo's model where it is one of rnnzoo's. `stream` opens
    a stream, with `feed(samples)` and `finish()`, which gives the text; `search` is `predict` by
    the checkpoint's own search where that is CTC's."""

    name: str
    network: Run | None = None
    predict: Callable[..., list[Any]] | None = None
    task: Any = None
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    stream: Callable[[], Any] | None = None
    search: Callable[..., list[Any]] | None = None


def set_threads(threads: int) -> None:
    """Of TensorFlow, before it runs."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def engine_of(name: str, family: Family, threads: int, folder: Path) -> Engine:
    """An engine by its name; `folder` takes what it has to write.

    Raises
    ------
    LookupError
        If it cannot be had here, and why.
    """
    makers = {
        RNNZOO: lambda: rnnzoo_engine(RNNZOO, family, family.task),
        RNNZOO_ONNX: lambda: _rnnzoo_onnx(RNNZOO_ONNX, family),
        RNNZOO_INT8: lambda: _rnnzoo_onnx(RNNZOO_INT8, family, quantize="int8"),
        RNNZOO_BFLOAT16: lambda: _rnnzoo_bfloat16(family),
        XLA: lambda: xla_engine(family),
        KERAS: lambda: keras_engine(family),
        ONNX: lambda: onnx_engine(family, threads, folder),
        TORCH: lambda: torch_engine(family, threads),
    }
    return makers[name]()


# --- rnnzoo --------------------------------------------------------------------------------


def rnnzoo_engine(name: str, family: Family, task: Any) -> Engine:
    """`predict` of a model; its network as one graph for all shapes, which is what `predict`
    runs on TensorFlow."""

    def predict(raws: list[Any], **options: Any) -> list[Any]:
        return [family.plain(result) for result in family.ask(task, raws, **options)]

    search = predict if isinstance(family, CTC) else None
    stream = (lambda: _Heard(task)) if task.family == "deepspeech" else None
    if task.engine == "onnx":

        def run(tensors: Tensors) -> Tensors:
            return task.onnx_engine().run("network", tensors)

        return Engine(name, run, predict, task, {}, stream, search)
    return Engine(name, graph_of(task.network), predict, task, {}, stream, search)


class _Heard:
    """A greedy stream of rnnzoo's."""

    def __init__(self, task: Any) -> None:
        self._stream = task.stream(beam_size=1, grammar=())
        self.feed = self._stream.feed

    def finish(self) -> str:
        return self._stream.finish().text


def graph_of(network: Any, compiled: bool = False) -> Run:
    """A network as a graph of open shapes, or one that XLA compiles for each shape."""
    import tensorflow as tf

    described = network.input if isinstance(network.input, dict) else None
    given = described or {network.input.name: network.input}
    signature = {n: tf.TensorSpec(t.shape, t.dtype) for n, t in given.items()}

    def call(tensors: dict[str, Any]) -> Any:
        return network(tensors if described else next(iter(tensors.values())), training=False)

    how = {"jit_compile": True} if compiled else {"input_signature": [signature]}
    function = tf.function(call, autograph=False, **how)

    def run(tensors: Tensors) -> Tensors:
        out = function({name: tf.constant(value) for name, value in tensors.items()})
        return {name: value.numpy() for name, value in out.items()}

    return run


def _rnnzoo_onnx(name: str, family: Family, **options: Any) -> Engine:
    import rnnzoo
    from rnnzoo.errors import MissingDependencyError

    try:
        task = rnnzoo.load(family.name, dtype="float32", engine="onnx", **options)
    except MissingDependencyError as error:
        raise LookupError(str(error)) from error
    return rnnzoo_engine(name, family, task)


def _rnnzoo_bfloat16(family: Family) -> Engine:
    import rnnzoo

    task = rnnzoo.load(family.name, dtype="mixed_bfloat16")
    return rnnzoo_engine(RNNZOO_BFLOAT16, family, task)


def xla_engine(family: Family) -> Engine:
    """rnnzoo's network compiled by XLA for each shape that it is given."""
    run = graph_of(family.task.network, compiled=True)
    predict = family.predictor(run)
    why = {"stream": "rnnzoo's streams are no graph that could be compiled alone"}
    why |= {} if predict else {"predict": "the network alone is compiled, no search or loop"}
    return Engine(XLA, run, predict, left_out=why)


# --- plain Keras ---------------------------------------------------------------------------


@contextlib.contextmanager
def keras_lstm() -> Iterator[None]:
    """Networks are built with `keras.layers.LSTM` where rnnzoo has a layer of its own."""
    import keras

    with contextlib.ExitStack() as stack:
        for module in _LSTM_USERS:
            where = module if "." in module else f"{module}.network"
            stack.enter_context(mock.patch(f"rnnzoo.{where}.LSTM", keras.layers.LSTM))
        yield


def keras_engine(family: Family) -> Engine:
    """The network rebuilt with Keras' LSTM, the same weights, by `keras.Model.predict`."""
    task = family.task
    with keras_lstm():
        network = type(task).build_network(task.config, "float32")
    values = task.weight_values()
    for weight in network.weights:
        weight.assign(values[weight.path])
    single = not isinstance(network.input, dict)

    def run(tensors: Tensors) -> Tensors:
        given = next(iter(tensors.values())) if single else tensors
        count = len(next(iter(tensors.values())))
        return network.predict(given, batch_size=count, verbose=0)

    predict = family.predictor(run)
    why = {"stream": "a functional model keeps no state from piece to piece"}
    why |= {} if predict else {"predict": "Keras has no search or sampling loop to take"}
    if task.family == "handwriting":
        why["network"] = "Keras has no layer with a window; the others are beside it in PyTorch"
        return Engine(KERAS, None, predict, left_out=why)
    return Engine(KERAS, run, predict, left_out=why)


# --- ONNX Runtime --------------------------------------------------------------------------


def onnx_engine(family: Family, threads: int, folder: Path) -> Engine:
    """`Task.export(format="onnx")` in onnxruntime; searches and loops on PyTorch drive it."""
    from rnnzoo.errors import ExportError, MissingDependencyError

    runs, lacking = {}, ""
    for graph in family.task.graphs():
        path = folder / f"{graph}.onnx"
        try:
            family.task.export(path, "onnx", graph=graph)
            runs[graph] = onnx_run(onnx_session(path, threads))
        except (ImportError, MissingDependencyError, ExportError) as error:
            lacking = str(error)
            if graph == "network":
                raise LookupError(lacking) from error
    try:
        import torch

        from bench.onnx_steps import PenSteps, SoundSteps, TranslatorSteps
    except ImportError:
        lacking = "PyTorch drives it, and is missing"
    network, predict = runs["network"], family.predictor(runs["network"])
    if lacking:
        why = dict.fromkeys(("predict", "stream", "search"), lacking)
        return Engine(ONNX, network, predict, left_out=why)
    torch.set_num_threads(threads)
    if isinstance(family, Translation):
        steps = TranslatorSteps(family.config(), runs["encoder"], runs["step"])
        return Engine(ONNX, network, searcher(family, steps))
    if family.loops:
        pen = PenSteps(family.config(), family.task.graphs()["step"].inputs, runs["step"])
        return Engine(ONNX, network, sampler(family, pen))
    search = prefix_searcher(family, network) if isinstance(family, CTC) else None
    if not isinstance(family, Sound) or "step" not in runs:
        return Engine(ONNX, network, predict, search=search)
    from rnnzoo.deepspeech.graphs import Stepper

    recognizer = family.task.network.get_layer("recognizer")
    delay = Stepper(recognizer).delay

    def stream() -> _Listener:
        steps = SoundSteps(recognizer.config, delay, runs["start"], runs["step"])
        return _Listener(family, steps)

    return Engine(ONNX, network, predict, stream=stream, search=search)


# --- PyTorch -------------------------------------------------------------------------------


def torch_engine(family: Family, threads: int) -> Engine:
    """The network rebuilt on `torch.nn`, with loops of its own for search and sampling."""
    try:
        import torch

        from bench.torch_networks import build_network
    except ImportError as error:
        raise LookupError(f"PyTorch is missing: pip install torch ({error})") from error
    torch.set_num_threads(threads)
    network = build_network(family.task.family, family.config(), family.arrays())
    run = torch_run(network)
    if isinstance(family, Translation):
        return Engine(TORCH, run, searcher(family, network))
    if family.predictor(run) is None:
        return Engine(TORCH, run, sampler(family, network))
    search = prefix_searcher(family, run) if isinstance(family, CTC) else None
    if not isinstance(family, Sound):
        return Engine(TORCH, run, family.predictor(run), search=search)

    def stream() -> _Listener:
        from bench.torch_stream import Stream

        return _Listener(family, Stream(network))

    return Engine(TORCH, run, family.predictor(run), stream=stream, search=search)


class _Listener:
    """A greedy stream of a peer's; `stream` gives frames of log-probabilities."""

    def __init__(self, family: Sound, stream: Any) -> None:
        self._family, self._stream = family, stream
        self._found: list[np.ndarray] = []

    def feed(self, samples: np.ndarray) -> None:
        self._found.append(self._stream.feed(samples))

    def finish(self) -> str:
        log_probs = np.concatenate([*self._found, self._stream.finish()])[None]
        frames = np.array([log_probs.shape[1]])
        return self._family.read({"log_probs": log_probs, "frames": frames}, 1)[0]


def torch_run(network: Any) -> Run:
    """A module as named arrays to named arrays."""
    import torch

    def run(tensors: Tensors) -> Tensors:
        with torch.inference_mode():
            out = network(**{n: torch.from_numpy(value) for n, value in tensors.items()})
        return {name: value.numpy() for name, value in out.items()}

    return run


def searcher(family: Translation, network: Any) -> Callable[..., list[str]]:
    """A translator's `predict` by a beam search of the same width, batches as rnnzoo's."""
    from bench.torch_search import beam_search
    from rnnzoo.config import choose_options

    preprocessor = family.task.preprocessor

    def predict(raws: list[str], **options: Any) -> list[str]:
        chosen = choose_options(family.task.decoding, options)
        segments = [[s for line in preprocessor.segments(text) for s in line] for text in raws]
        unlike = list(dict.fromkeys(s for own in segments for s in own))
        encoded = [preprocessor.encode(segment) for segment in unlike]
        order = sorted(range(len(unlike)), key=lambda n: len(encoded[n].ids))
        found: dict[str, str] = {}
        for begin in range(0, len(order), family.batch_size):
            rows = order[begin : begin + family.batch_size]
            source = preprocessor.source([encoded[n] for n in rows])
            out = beam_search(
                network,
                source,
                family.limits(source, chosen),
                chosen.beam_size,
                chosen.length_penalty,
                preprocessor.bos_id,
                preprocessor.eos_id,
            )
            for place, n in enumerate(rows):
                ids = out["tokens"][place]
                ids = ids[ids != preprocessor.pad_id].tolist()
                width = len(encoded[n].ids)
                alignment = out.get("alignment", np.zeros((len(rows), len(ids), width)))[place]
                alignment = preprocessor.reading_order(alignment[: len(ids)], width)
                pieces, _ = preprocessor.copy_unknown(ids, alignment, encoded[n])
                found[unlike[n]] = preprocessor.join(pieces)
        return [" ".join(found[s] for s in own) for own in segments]

    return predict


def prefix_searcher(family: CTC, run: Run) -> Callable[..., list[str]] | None:
    """What writes by CTC by a prefix beam search of the same width, with the same language model or
    grammar, batches as rnnzoo's; None where it is greedy."""
    from bench.torch_ctc import Tables, prefix_search
    from rnnzoo.ctc import search_for

    task = family.task
    if task.decoding.beam_size == 1:
        return None
    known = search_for(task.preprocessor, task.decoding, None, task.preprocessor.grammar)
    tables, least = Tables(known.scorer), known.min_symbol_log_prob

    def predict(raws: list[Any], **options: Any) -> list[str]:
        found = [""] * len(raws)
        for rows, tensors in family.batched(raws):
            out = run(tensors)
            symbols = prefix_search(
                out["log_probs"], out["frames"], tables, options["beam_size"], least
            )
            for n, own in zip(rows, symbols, strict=True):
                found[n] = family.tidy(task.preprocessor.text(own))
        return found

    return predict


def sampler(family: Any, network: Any) -> Callable[..., list[np.ndarray]]:
    """A pen's `predict`: the same draws, batches as rnnzoo's."""
    from bench.torch_writer import draws_of, sample
    from rnnzoo.config import choose_options

    task = family.task

    def predict(raws: list[Any], **options: Any) -> list[np.ndarray]:
        chosen = choose_options(task.decoding, options)
        texts = isinstance(raws[0], str)
        order = sorted(range(len(raws)), key=lambda n: len(raws[n]) if texts else n)
        bounds, seeds = family.bounds(raws), family.seeds(raws)
        if hasattr(chosen, "num_points"):
            bounds = [chosen.num_points] * len(raws)
        found: list[Any] = [None] * len(raws)
        for begin in range(0, len(order), family.batch_size):
            rows = order[begin : begin + family.batch_size]
            characters = None
            if texts:
                characters, _ = task.preprocessor.pad([raws[n] for n in rows])
                characters = np.pad(characters, ((0, 0), (0, 1)))
            limits = [bounds[n] for n in rows]
            draws = draws_of(chosen.seed, [seeds[n] for n in rows], limits)
            for n, points in zip(
                rows, sample(network, characters, draws, limits, chosen.bias), strict=True
            ):
                found[n] = points
        return found

    return predict
