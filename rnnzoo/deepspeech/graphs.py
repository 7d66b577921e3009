"""A recognizer as graphs for other runtimes: whole, and for sound as it comes.

A graph cannot wait until a layer has what it needs: here every layer gives a frame for each that
comes, and says which are real. Those that are not are zeros, which is what stands around a
recording in the whole network too, so that nothing that follows sees them.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from rnnzoo.deepspeech.network import Recognizer, TimeLayer, masked
from rnnzoo.export import Axes, Graph, network_graph
from rnnzoo.layers.int8 import expand_once

_HEARD = ("count", "total", "squares", "anything", "energy", "sound")


def graphs_of(network: keras.Model) -> dict[str, Graph]:
    """What can be exported of a network as `build_network` returns it.

    "network" is the whole. A network that streams has two others. "start" makes the first state of
    `samples` [batch, frame_length - frame_step], the first samples. "step" takes `samples`, those
    that follow, a multiple of `frame_step` times the network's stride, and `lengths` [batch], how
    many of them are sound: fewer than all at the end, and 0 after it, until the frames that wait
    for what is to come are out. It gives `log_probs` [batch, frames, num_symbols], `real` [batch,
    frames], which of them are frames of the recording, and the next state.

    Examples
    --------
    >>> from rnnzoo.deepspeech import DeepSpeechConfig, build_network
    >>> from rnnzoo.deepspeech.graphs import graphs_of
    >>> config = DeepSpeechConfig(num_layers=1, hidden_dim=8, conv_channels=(2, 2))
    >>> list(graphs_of(build_network(config)))  # bidirectional
    ['network']
    """
    whole = network_graph(
        network, samples="batch samples", lengths="batch", log_probs="batch frames", frames="batch"
    )
    recognizer = network.get_layer("recognizer")
    config = recognizer.config
    if config.bidirectional or config.normalization != "running":
        return {"network": whole}
    stepper = Stepper(recognizer)
    return {"network": whole, "start": stepper.start_graph(), "step": stepper.step_graph()}


class Stepper:
    """A forward-only recognizer whose whole state is named tensors of fixed sizes.

    Parameters
    ----------
    recognizer : Recognizer
        Built.
    alone : bool
        For one recording, whose first step has at least `first_hops` hops. The frames before the
        first real one are then cut off in front of the recurrent layers, which go without a mask:
        cuDNN and ONNX' LSTM take none but of padding on the right. The graph also gives `mels`
        [batch, heard, num_mels], the spectrogram of the samples.

    Attributes
    ----------
    opening : int
        Samples from which `start` makes the state.
    hop : int
        Samples that become one frame; `step` takes multiples of it.
    delay : int
        Frames that come before the first that is real.
    first_hops : int
        Hops after which the recurrent layers have a real frame.

    Examples
    --------
    >>> from rnnzoo.deepspeech import DeepSpeechConfig
    >>> from rnnzoo.deepspeech.graphs import Stepper
    >>> from rnnzoo.deepspeech.network import Recognizer
    >>> config = DeepSpeechConfig(num_layers=1, hidden_dim=8, conv_channels=(2, 2), lookahead=3,
    ...                           bidirectional=False, normalization="running")
    >>> recognizer = Recognizer(config)
    >>> recognizer.build((None, None))
    >>> stepper = Stepper(recognizer)
    >>> stepper.opening, stepper.hop, stepper.first_hops, stepper.delay
    (240, 320, 8, 10)
    """

    def __init__(self, recognizer: Recognizer, alone: bool = False) -> None:
        self.recognizer, self.alone = recognizer, alone
        self.batch: int | str = 1 if alone else "batch"
        self.local = [*recognizer.local, *([recognizer.row] if recognizer.row else [])]
        c, dtype = recognizer.config, recognizer.compute_dtype
        self.opening, self.hop = c.frame_length - c.frame_step, c.frame_step * c.frame_stride
        mels = c.num_mels
        shapes: dict[str, Any] = {"opening": (self.opening,)}
        for name, part in zip(_HEARD, self._heard_before(tf.zeros((1, 1, mels))), strict=True):
            shapes[name] = part.shape[1:]
        self.state = {name: Axes("float32", (self.batch, *shape)) for name, shape in shapes.items()}
        self.states_of = [len(layer.get_initial_state(1)) for layer in recognizer.recurrent]
        for number, count in enumerate(self.states_of, 1):
            for part in "hc"[:count]:
                self.state[f"{part}_{number}"] = Axes(dtype, (self.batch, c.hidden_dim))
        self.delay, self.first_hops = 0, 1
        for layer, shape in zip(self.local, self._inputs(), strict=True):
            kept = _kept(layer, self.delay)
            self.delay = (self.delay + kept - layer.left) // layer.stride
            if layer is not recognizer.row:
                self.first_hops = self.delay + 1
            if kept:
                self.state[f"{layer.name}_frames"] = Axes(dtype, (self.batch, kept, *shape))
                self.state[f"{layer.name}_real"] = Axes("bool", (self.batch, kept))

    def _heard_before(self, x: Any) -> tuple[Any, ...]:
        return self.recognizer.normalization.start(x)

    def _inputs(self) -> list[tuple[int, ...]]:
        """The shape of a frame as each local layer takes it."""
        c = self.recognizer.config
        shapes: list[tuple[int, ...]] = []
        bands, channels = c.num_mels, 1
        for layer, step in zip(self.recognizer.convolutions, c.frequency_strides, strict=True):
            shapes.append((bands, channels))
            bands, channels = -(-bands // step), layer.product.filters
        features = bands * channels
        for _ in self.recognizer.windows:
            shapes.append((features,))
            features = c.dense_dim
        return [*shapes, *([(c.hidden_dim,)] if self.recognizer.row else [])]

    def start_graph(self) -> Graph:
        """`start` with what it takes and gives."""
        samples = Axes("float32", (self.batch, self.opening))
        return Graph(self.start, {"samples": samples}, self.state)

    def step_graph(self) -> Graph:
        """`step` with what it takes and gives."""
        config = self.recognizer.config
        inputs = {
            "samples": Axes("float32", (self.batch, "samples")),
            "lengths": Axes("int32", (self.batch,)),
        }
        outputs = {
            "log_probs": Axes("float32", (self.batch, "frames", config.num_symbols)),
            "real": Axes("bool", (self.batch, "frames")),
        }
        if self.alone:
            outputs["mels"] = Axes("float32", (self.batch, "heard", config.num_mels))
        multiples = {"samples": self.hop}
        graph = Graph(self.step, inputs, outputs, multiples, padded_right=self.alone)
        return graph.with_state(self.state)

    def start(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """The state before the first frame."""
        opening = tensors["samples"]
        mels = ops.zeros_like(opening[:, :1, None]) + tf.zeros((self.recognizer.config.num_mels,))
        state = {"opening": opening, **dict(zip(_HEARD, self._heard_before(mels), strict=True))}
        batch = tf.shape(opening)[0]
        for name, axes in self.state.items():
            if name not in state:
                state[name] = tf.zeros([batch, *axes.shape[1:]], axes.dtype)
        return state

    def step(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """As many frames on as the samples have."""
        recognizer, c = self.recognizer, self.recognizer.config
        heard = ops.concatenate([tensors["opening"], tensors["samples"]], 1)
        after: dict[str, Any] = {"opening": _last(heard, self.opening)}
        x = mels = recognizer.spectrogram(heard)
        ends = c.frame_step * (ops.arange(ops.shape(x)[1]) + 1)
        real = ends[None] <= tensors["lengths"][:, None]
        x, sums = recognizer.normalization.step(x, tuple(tensors[name] for name in _HEARD))
        after.update(zip(_HEARD, sums, strict=True))
        x = ops.cast(masked(x, real), recognizer.compute_dtype)
        for layer in recognizer.local:
            x, real = self._window(recognizer.shaped(x, layer), real, layer, tensors, after)
        x = recognizer.flat(x)
        if self.alone and self.first_hops > 1:
            first = tf.argmax(tf.cast(real[0], tf.int32), output_type=tf.int32)
            x, real = x[:, first:], real[:, first:]
        mask = None if self.alone else real
        parts = zip(recognizer.norms, recognizer.recurrent, self.states_of, strict=True)
        for number, (norm, layer, count) in enumerate(parts, 1):
            names = [f"{part}_{number}" for part in "hc"[:count]]
            x = x if norm is None else norm(x, None)
            before = [tensors[name] for name in names]
            with expand_once():
                _, x, states = layer.inner_loop(x, before, mask=mask, training=False)
            after.update(zip(names, states, strict=True))
            x = masked(x, real)
        if recognizer.row is not None:
            x, real = self._window(x, real, recognizer.row, tensors, after)
        following = {f"next_{name}": part for name, part in after.items()}
        return {"log_probs": recognizer.log_probs(x), "real": real, "mels": mels, **following}

    @staticmethod
    def _window(
        x: Any, real: Any, layer: TimeLayer, before: dict[str, Any], after: dict[str, Any]
    ) -> tuple[Any, Any]:
        """A local layer's frames for those that come, and which are real."""
        count = ops.shape(x)[1] // layer.stride
        frames, flags = f"{layer.name}_frames", f"{layer.name}_real"
        if frames in before:
            kept = before[frames].shape[1]
            x = ops.concatenate([before[frames], x], 1)
            real = ops.concatenate([before[flags], real], 1)
            after[frames], after[flags] = _last(x, kept), _last(real, kept)
        y = layer.valid(x[:, : (count - 1) * layer.stride + layer.extent])
        real = real[:, layer.left :][:, : count * layer.stride : layer.stride]
        return masked(y, real), real


def _kept(layer: TimeLayer, delay: int) -> int:
    """How many frames a layer keeps: those that it sees besides the ones that come, and as many
    more as put the middle of what it sees on every `stride`-th frame of the recording, `delay`
    frames before which are not real."""
    fewest = layer.extent - layer.stride
    return fewest + (layer.left - delay - fewest) % layer.stride


def _last(x: Any, count: int) -> Any:
    return x[:, ops.shape(x)[1] - count :]
