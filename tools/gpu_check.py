"""Check every entry on a GPU: `python tools/gpu_check.py`.

Asserts that cuDNN's recurrent kernel stands in the traced graph of each entry, once for each LSTM
layer, and that mixed float16 on the GPU gives the manifest's golden results, which float32 on a CPU
made, with their numbers within 0.05; of networks that draw ink at random, that both are as
surprised by the golden ink, within 0.05 nats for each point. Without a GPU it says so and exits
with 3: nothing was checked.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

NO_GPU = 3
CHECKED = {
    "seq2seq": ("text", "log_prob"),
    "deeploc": ("location", "likelihoods"),
    "deepspeech": ("text", "words"),
    "handwriting_reader": ("text", "confidence"),
}


def cudnn_layers(network: object) -> int:
    """How many cuDNN recurrent kernels stand in a network's traced graph and its functions."""
    import tensorflow as tf

    signature = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), network.input
    )
    graph = tf.function(network).get_concrete_function(signature).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return sum("CudnnRNN" in node.op for node in nodes)


def recurrent_layers(network: object) -> int:
    """How many LSTM layers a network has, each direction counted; a bare cell, as in DeepLoc's
    attention decoder, is none."""
    return sum(weight.path.endswith("lstm_cell/recurrent_kernel") for weight in network.weights)


def numbers(value: object) -> list[float]:
    """A number, or those in a dict or a list."""
    if isinstance(value, (dict, list)):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in numbers(part)]
    return [] if isinstance(value, str) else [value]


def golden_agrees(model: Any, entry: Any) -> tuple[bool, bool]:
    """Whether the golden results are the same, and their numbers within 0.05."""
    import rnnzoo
    from rnnzoo.handwriting.ink import points_of

    same = close = True
    if hasattr(model, "nats_per_point"):
        lines = [line for golden in entry.golden for line in golden.output["lines"]]
        texts, inks = zip(*((o["text"], points_of(o["strokes"])) for o in lines), strict=True)
        exact = rnnzoo.load(entry.name, dtype="float32")
        nats = [one.nats_per_point(texts, inks) for one in (model, exact)]
        return same, bool(abs(nats[0] - nats[1]).max() < 0.05)
    said, number = CHECKED[entry.family]
    for golden in entry.golden:
        result = model.predict(golden.input, **golden.options).to_dict()
        same &= result[said] == golden.output[said]
        pairs = zip(numbers(result[number]), numbers(golden.output[number]), strict=True)
        close &= all(abs(one - other) < 0.05 for one, other in pairs)
    return same, close


def main() -> int:
    import tensorflow as tf

    import rnnzoo
    from rnnzoo.manifest import package_manifest

    if not tf.config.list_physical_devices("GPU"):
        print("no GPU here: nothing was checked")
        return NO_GPU
    failures = 0
    for name, entry in package_manifest().entries.items():
        model = rnnzoo.load(name)
        expected, found = recurrent_layers(model.network), cudnn_layers(model.network)
        same, close = golden_agrees(model, entry)
        failures += not (found >= expected and same and close)
        print(
            f"{name}: policy {model.dtype_policy.name}; cuDNN kernels {found} for {expected} LSTM "
            f"layers; golden results {same}; numbers within 0.05 {close}"
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
