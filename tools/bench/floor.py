"""The floor of a network's time: what its arithmetic alone takes on this machine.

Operations are those of the products with the network's weights and of the attention's sums, two to
a multiply-add, at every position of the padded batch: an engine that skips padding has fewer. What
has no weights (the spectrogram, activations, softmax) is not counted, nor are additions.

Bytes are those of the weights in float32, each read once, and once a step where a step multiplies
what the step before has made. They are taken at the rate of a cache, not of the memory: a kernel
may stay in one from step to step and from call to call.

The floor is the longer of the two, in float32: int8 may be below it. Others do not get there: steps
wait for each other, and products of few rows are slower than those that the peak was measured with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.peaks import CACHE, OPERATIONS

Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, np.ndarray]
Uses = dict[str, tuple[int, int]]  # by a pattern of paths: products in turn, and rows of each


def floor(
    task: Any, tensors: Tensors, peaks: Mapping[str, float], training: bool = False
) -> dict[str, float]:
    """Operations, bytes and seconds of a call of a task's network, or of a training step: it has
    the forward pass' operations three times, a little less where the input needs no gradient."""
    shapes = task.weight_shapes(task.config)
    operations, read = products(task.family, task.config, shapes, tensors)
    operations *= 3 if training else 1
    seconds = max(operations / peaks[OPERATIONS], read / peaks[CACHE]) / 1e9
    return {"operations": operations, "bytes": read, "seconds": seconds}


def products(family: str, config: Any, shapes: Shapes, tensors: Tensors) -> tuple[int, int]:
    """Operations and bytes of a network with weights of these shapes.

    Raises
    ------
    LookupError
        If it is not known where a kernel is used.
    """
    uses = _USES[family](config, tensors)
    operations = read = 0
    for path, shape in shapes.items():
        name = path.rpartition("/")[2]
        if name == "bias" or (len(shape) == 1 and name != "v"):
            continue
        found = (use for pattern, use in uses.items() if re.search(pattern, path))
        if (use := next(found, None)) is None:
            raise LookupError(f"where does {family} use {path} {list(shape)}? floor.py has no line")
        steps, rows = use
        size = math.prod(shape)
        read += 4 * size * steps
        if name == "v":  # the energies' products with v, then the sum of annotations
            size += shapes[f"{path[:-1]}key/kernel"][0]
        operations += 2 * size * steps * rows
    return operations, read


def _localizer(c: Any, tensors: Tensors) -> Uses:
    batch, chain = tensors["residues"].shape
    looks = max(1, c.attention_steps)
    return {
        r"/(conv_\d+|second_conv)/": (1, batch * chain),
        r"/bilstm/.*/kernel": (1, batch * chain),
        r"/bilstm/.*/recurrent_kernel": (chain, batch),
        r"/attention/key/": (1, batch * chain),
        r"/attention/query/": (looks, batch),
        r"/attention/v": (looks, batch * chain),
        r"/decoder/cell/": (looks - 1, batch),  # the last look is not followed by a step
        r"/(dense|location|membrane)/": (1, batch),
    }


def _recognizer(c: Any, tensors: Tensors) -> Uses:
    batch, samples = tensors["samples"].shape
    frames = max(0, samples - c.frame_length) // c.frame_step + 1
    bands, uses = c.num_mels, {}
    for number, strides in enumerate(zip(c.time_strides, c.frequency_strides, strict=True), 1):
        frames, bands = -(-frames // strides[0]), -(-bands // strides[1])
        uses[f"/conv_{number}/"] = (1, batch * frames * bands)
    return {
        **uses,
        r"/recurrent_kernel": (frames, batch),
        r"_cell/kernel": (1, batch * frames),
        r"/(dense_\d+|row_conv|output_dense|symbols)/": (1, batch * frames),
    }


def _reader(c: Any, tensors: Tensors) -> Uses:
    batch, points, _ = tensors["points"].shape
    frames = -(-points // c.conv_stride)
    return {
        r"/recurrent_kernel": (frames, batch),
        r"/(conv|lstm_cell|symbols)/kernel": (1, batch * frames),
    }


def _writer(c: Any, tensors: Tensors) -> Uses:
    batch, points, _ = tensors["points"].shape
    return {
        r"/(recurrent|text|window)_kernel": (points, batch),
        r"/(lstm_\d+|lstm_cell|output)/kernel": (1, batch * points),
    }


def _translator(c: Any, tensors: Tensors) -> Uses:
    (batch, source), (_, target) = (tensors[f"{n}_tokens"].shape for n in ("source", "target"))
    return {
        r"source_embedding/": (0, batch * source),  # looked up
        r"target_embedding/": (1, batch * target),  # logits
        r"encoder/.*/kernel": (1, batch * source),
        r"encoder/.*/recurrent_kernel": (source, batch),
        r"/bridge_\d+/": (1, batch),
        r"/attention/key/": (1, batch * source),
        r"/attention/query/": (1, batch * target),
        r"/attention/v": (1, batch * target * source),
        r"decoder/lstm.*/kernel": (1, batch * target),
        r"decoder/lstm.*/recurrent_kernel": (target, batch),
        r"/readout/": (1, batch * target),
    }


_USES: dict[str, Callable[[Any, Tensors], Uses]] = {
    "deeploc": _localizer,
    "deepspeech": _recognizer,
    "handwriting": _writer,
    "handwriting_prediction": _writer,
    "handwriting_reader": _reader,
    "seq2seq": _translator,
}
