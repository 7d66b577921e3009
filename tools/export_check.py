"""Export entries, run them back in their own runtimes, and compare with the network.

    python tools/export_check.py [NAME ...]

prints for each entry and format the largest difference of any output, of the whole network and of
the network gone through step by step; the README's table comes from it. Needs the extra `export`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Run = Callable[..., dict[str, np.ndarray]]
DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
PROTEINS = ["MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFF", "MSDEEKLLARRSKV"]
PAIRS = {
    "seq2seq": (["Where is the station?", "I am happy."], ["Où est la gare ?", "Je suis heureux."]),
    "deepspeech": (
        [
            str(DATA / "speech" / name)
            for name in ("2902-9008-0008.mp3", "fsdd-yweweler-3-1-4.opus")
        ],
        ["no", "no"],
    ),
    "handwriting_reader": ([str(DATA / "ink" / "foot.inkml")] * 2, ["foot", "foot"]),
}
FORMATS = ("saved_model", "onnx", "litert")


def opened(path: Path, format: str) -> Run:
    """An exported graph in its own runtime: named arrays in, named arrays out."""
    if format == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))

        def serve(**tensors: Any) -> dict[str, np.ndarray]:
            given = {name: tf.constant(value) for name, value in tensors.items()}
            out = loaded.signatures["serving_default"](**given)
            return {name: value.numpy() for name, value in out.items()}

        return serve
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        return lambda **tensors: dict(zip(names, session.run(names, tensors), strict=True))
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()


def exported(model: Any, folder: Path, format: str, graph: str, sizes: dict[str, int]) -> Run:
    """A graph of a model, exported and opened; `sizes` has the lengths of its open axes."""
    wanted = model.graphs()[graph].open_axes
    length = {name: sizes[name] for name in wanted if name in sizes}
    path = folder / f"{graph}.{format}"
    model.export(path, format, graph=graph, length=length if format == "litert" else None)
    return opened(path, format)


def inputs_of(model: Any, pairs: Any, rows: int) -> dict[str, np.ndarray]:
    """The network's inputs for the first raw pairs."""
    inputs, targets = (list(side)[:rows] for side in pairs)
    arrays = model.training_batch(inputs, targets)[0]
    described = model.graphs()["network"].inputs
    if not isinstance(arrays, dict):
        arrays = {next(iter(described)): arrays}
    return {name: np.asarray(arrays[name], axes.dtype) for name, axes in described.items()}


def sizes_of(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, int]:
    """The lengths of the open axes of these inputs."""
    described = model.graphs()["network"].inputs
    return {
        size: length
        for name, axes in described.items()
        for size, length in zip(axes.shape, inputs[name].shape, strict=True)
        if isinstance(size, str)
    }


def expected(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the network itself gives."""
    single = not isinstance(model.network.input, dict)
    out = model.network(next(iter(inputs.values())) if single else inputs, training=False)
    return {name: np.asarray(value) for name, value in out.items()}


def difference(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """The largest one of any output.

    Raises
    ------
    AssertionError
        If an output is missing, of another shape or dtype, or not finite where it should be.
    """
    for name, value in wanted.items():
        assert found[name].shape == value.shape, (name, found[name].shape, value.shape)
        assert found[name].dtype == value.dtype, (name, found[name].dtype, value.dtype)
        assert np.isfinite(found[name][np.isfinite(value)]).all(), name
    return max(float(np.abs(found[n].astype("f8") - v).max(initial=0.0)) for n, v in wanted.items())


def stepped(
    model: Any, inputs: dict[str, np.ndarray], graph: Callable[[str], Run]
) -> dict[str, np.ndarray]:
    """The network's outputs, gone through step by step; `graph` gives a graph by its name."""
    if model.family == "seq2seq":
        return _stepped_target(inputs, graph)
    if model.family == "deepspeech":
        return _stepped_sound(model, inputs, graph)
    return _stepped_points(model, inputs, graph)


def _following(out: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix("next_"): part for n, part in out.items() if n.startswith("next_")}


def _stepped_target(inputs: dict[str, Any], graph: Callable[[str], Run]) -> dict[str, np.ndarray]:
    source, step = inputs["source_tokens"], graph("step")
    begun = graph("encoder")(source_tokens=source)
    fixed = {name: begun[name] for name in ("annotations", "keys") if name in begun}
    if fixed:
        fixed["source_tokens"] = source
    state = {name: part for name, part in begun.items() if name not in fixed}
    found = []
    for tokens in inputs["target_tokens"].T:
        found.append(step(tokens=tokens, **fixed, **state))
        state = _following(found[-1])
    names = ("logits", "alignment") if fixed else ("logits",)
    return {name: np.stack([out[name] for out in found], 1) for name in names}


def _stepped_sound(
    model: Any, inputs: dict[str, Any], graph: Callable[[str], Run]
) -> dict[str, np.ndarray]:
    samples, lengths, step = inputs["samples"], inputs["lengths"], graph("step")
    hop = model.graphs()["step"].multiples["samples"]
    opening = model.config.frame_length - model.config.frame_step
    state = graph("start")(samples=samples[:, :opening])
    rows: list[list[np.ndarray]] = [[] for _ in samples]
    frames = expected(model, inputs)["frames"]
    begin = opening
    while any(len(row) < count for row, count in zip(rows, frames, strict=True)):
        if begin > samples.shape[1] + 200 * hop:
            raise AssertionError(f"{[len(row) for row in rows]} frames, expected {frames}")
        piece = samples[:, begin : begin + hop]
        piece = np.pad(piece, ((0, 0), (0, hop - piece.shape[1])))
        out = step(samples=piece, lengths=np.clip(lengths - begin, 0, hop), **state)
        for row, log_probs, real in zip(rows, out["log_probs"], out["real"], strict=True):
            row += list(log_probs[real])
        state, begin = _following(out), begin + hop
    found = expected(model, inputs)["log_probs"].copy()  # what stands behind the frames counts not
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return {"log_probs": found, "frames": np.array([len(row) for row in rows], np.int32)}


def _stepped_points(
    model: Any, inputs: dict[str, Any], graph: Callable[[str], Run]
) -> dict[str, np.ndarray]:
    described, step = model.graphs()["step"], graph("step")
    text = {name: value for name, value in inputs.items() if name == "characters"}
    batch = len(inputs["points"])
    state = {
        name: np.zeros((batch, *axes.shape[1:]), axes.dtype)
        for name, axes in described.inputs.items()
        if f"next_{name}" in described.outputs
    }
    found = []
    for point in inputs["points"].transpose(1, 0, 2):
        found.append(step(point=point, **text, **state))
        state = _following(found[-1])
    names = [name for name in found[0] if not name.startswith("next_")]
    return {name: np.stack([out[name] for out in found], 1) for name in names}


def check(
    model: Any, format: str, pairs: Any, folder: Path, whole: bool = True, steps: bool = True
) -> dict[str, float]:
    """The largest difference of the "whole" network and of its "steps", if it has any."""
    inputs = inputs_of(model, pairs, 1 if format == "litert" else 2)
    wanted, sizes, found = expected(model, inputs), sizes_of(model, inputs), {}
    if whole:
        run = exported(model, folder, format, "network", sizes)
        found["whole"] = difference(run(**inputs), wanted)
    if steps and "step" in model.graphs():
        sizes.pop("samples", None)  # a step of sound has a length of its own
        out = stepped(model, inputs, lambda name: exported(model, folder, format, name, sizes))
        found["steps"] = difference(out, {name: wanted[name] for name in out})
    return found


def main() -> None:
    import rnnzoo
    from rnnzoo.handwriting import Style

    print(f"{'entry':28} {'format':12} {'whole':>8} {'steps':>8} {'seconds':>8}")
    for name in sys.argv[1:] or rnnzoo.list_models():
        model = rnnzoo.load(name, dtype="float32")
        pairs = PAIRS.get(model.family)
        if model.family == "deeploc":
            pairs = PROTEINS, model.preprocessor.config.locations[:2]
        if model.family in ("handwriting", "handwriting_prediction"):
            ink = Style.from_ink("foot", str(DATA / "ink" / "foot.inkml"))
            pairs = [ink.text] * 2, [ink] * 2
        for format in FORMATS:
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                found = check(model, format, pairs, Path(folder))
            cells = [
                f"{found[part]:8.0e}" if part in found else " " * 8 for part in ("whole", "steps")
            ]
            seconds = time.perf_counter() - begun
            print(f"{name:28} {format:12} {' '.join(cells)} {seconds:8.0f}", flush=True)


if __name__ == "__main__":
    main()
