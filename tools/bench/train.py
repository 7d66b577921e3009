"""One training step: forward, backward, update.

The same batch again and again, in the shape of the recipe's, all rates of dropout at 0, Adam with
clipped gradients as `Task.fit` has it by default. The losses of the first step have to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.floor import floor
from bench.peers import keras_lstm
from bench.record import KERAS, ONNX, RNNZOO, RNNZOO_ONNX, ROUNDED, TORCH, XLA, Row
from bench.rows import Measurement
from bench.timing import interleaved, summary

_LEARNING_RATE, _CLIP = 1e-5, 1.0
_SAME_LOSS = 1e-3  # of the loss


def train(m: Measurement, threads: int) -> Iterator[Row]:
    """rnnzoo beside Keras' own layers and PyTorch."""
    import rnnzoo

    family = m.family
    task = rnnzoo.load(family.name, dtype="float32", **family.without_dropout)
    count = 4 if m.quick else family.train_rows
    pairs = family.pairs(count)
    if task.family == "deeploc" and task.config.membrane:
        pairs = pairs[0], [(place, n % 2 == 0) for n, place in enumerate(pairs[1])]
    x, y, weight = task.training_batch(*pairs)
    named = x if isinstance(x, dict) else {next(iter(task.graphs()["network"].inputs)): x}
    makers: dict[str, Callable[[], Callable[[], float]]] = {
        RNNZOO: lambda: _keras_step(task, x, y, weight),
        KERAS: lambda: _keras_step(_rebuilt(task), x, y, weight),
        TORCH: lambda: _torch_step(task, family, named, y, weight, threads),
    }
    left_out = dict.fromkeys((ONNX, RNNZOO_ONNX), "it is for use alone")
    left_out |= dict.fromkeys((*ROUNDED, XLA), "its training is not timed")
    steps, differences = {}, {}
    for name, make in makers.items():  # all of them before any takes a step
        if name in m.missing:
            left_out[name] = m.missing[name]
        elif name == KERAS and task.family == "handwriting":
            left_out[name] = "Keras has no layer with a window"
        else:
            try:
                steps[name] = make()
            except ImportError as error:
                left_out[name] = f"not installed: {error}"
    losses = {name: step() for name, step in steps.items()}
    for name, loss in losses.items():
        differences[name] = abs(loss - losses[RNNZOO]) / abs(losses[RNNZOO])
        if differences[name] > _SAME_LOSS:
            left_out[name] = f"its loss is {loss:.5g}, not {losses[RNNZOO]:.5g}"
            del steps[name]
    found = interleaved(steps, m.rounds, m.seconds)
    shape = "x".join(map(str, max((np.shape(v) for v in named.values()), key=len)))
    yield Row(
        family.name,
        "train",
        f"one step, batch {shape}",
        {name: summary(samples) for name, samples in found.items()},
        amounts={"samples": count},
        differences=differences,
        left_out=left_out,
        note="dropout 0, Adam, clipped gradients; what differs is the first loss, relatively",
        floor=floor(task, named, m.peaks, training=True) if m.peaks else {},
    )


def _keras_step(task: Any, x: Any, y: Any, weight: Any) -> Callable[[], float]:
    import keras

    task.compile(optimizer=keras.optimizers.Adam(_LEARNING_RATE, global_clipnorm=_CLIP))
    return lambda: float(task.train_on_batch(x, y, sample_weight=weight, return_dict=True)["loss"])


def _rebuilt(task: Any) -> Any:
    """The task on Keras' own LSTM."""
    with keras_lstm():
        again = type(task)(task.config, task.preprocessor, task.decoding, "float32")
    again.assign_weights(task.weight_values())
    return again


def _torch_step(
    task: Any, family: Any, x: Any, y: Any, weight: Any, threads: int
) -> Callable[[], float]:
    import torch

    from bench.torch_losses import stepper
    from bench.torch_networks import build_network

    torch.set_num_threads(threads)
    network = build_network(task.family, family.config(), family.arrays(task))
    return stepper(task.family, network, x, y, weight, _LEARNING_RATE, _CLIP)
