"""Networks that write down what they hear: Deep Speech (2014) and Deep Speech 2 (2015).

Deep Speech 2 (Amodei et al., arXiv 1512.02595): spectrogram, convolutions over time and frequency,
a stack of recurrent layers with sequence-wise batch normalisation, and a softmax over characters
for CTC. Its real-time form (section 3.7) has forward layers only and a row convolution that looks
a few frames ahead; here it can carry its whole state from one piece of sound to the next. Deep
Speech (Hannun et al., arXiv 1412.5567): three dense layers over a window of frames, one
bidirectional recurrent layer and one more dense layer.

Differences: the spectrogram is log-mel, with bands up to `high_frequency`; the normalisation
stands before a recurrent layer's input product, not behind it. A frame of padding is zero after
every layer, so that padding never changes a result.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from rnnzoo.deepspeech.config import DeepSpeechConfig
from rnnzoo.deepspeech.spectrogram import FrameNormalization, LogMel, SpecAugment
from rnnzoo.distribution import sum_over_replicas
from rnnzoo.layers import LSTM, bidirectional
from rnnzoo.layers.int8 import expand_once

CLIP = 20.0  # Hannun et al. 2014, section 2


@keras.saving.register_keras_serializable(package="rnnzoo")
def clipped_relu(x: Any) -> Any:
    """g(z) = min(max(0, z), 20), Hannun et al. 2014, section 2."""
    return ops.clip(x, 0.0, CLIP)


@keras.saving.register_keras_serializable(package="rnnzoo")
class SequenceBatchNorm(keras.layers.Layer):
    """Sequence-wise batch normalisation (Amodei et al. 2015, section 3.2).

    Mean and variance of each feature are taken over the batch, of all replicas together, and all
    frames that are `real` [batch, frames] in training; an average of them over training stands in
    for them in use.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech.network import SequenceBatchNorm
    >>> SequenceBatchNorm()(np.ones((2, 3, 4), "float32"), np.ones((2, 3), bool)).shape
    TensorShape([2, 3, 4])
    """

    _MOMENTUM, _EPSILON = 0.98, 1e-3

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, x_shape: Any, real_shape: Any = None) -> None:
        whole = {"shape": (x_shape[-1],), "autocast": False}  # float32 in mixed precision too
        self.gamma = self.add_weight(name="gamma", initializer="ones", **whole)
        self.beta = self.add_weight(name="beta", initializer="zeros", **whole)
        still = {**whole, "trainable": False, "aggregation": "mean"}  # alike on all replicas
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **still)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **still)
        self.built = True

    def call(self, x: Any, real: Any = None, training: bool = False) -> Any:
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.gamma.trainable:  # frozen, it stays as it is
            wide = ops.cast(x, "float32")
            axes = tuple(range(len(x.shape) - 1))
            real = ops.reshape(
                ops.cast(real, "float32"), (*ops.shape(real), *[1] * (len(x.shape) - 2))
            )
            real = ops.broadcast_to(real, (*ops.shape(x)[:-1], 1))
            total, count = sum_over_replicas(ops.sum(wide * real, axes), ops.sum(real))
            count = ops.maximum(1.0, count)
            mean = total / count
            (squares,) = sum_over_replicas(ops.sum(ops.square(wide - mean) * real, axes))
            variance = squares / count
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(self._MOMENTUM * moving + (1 - self._MOMENTUM) * now)
        scale = self.gamma / ops.sqrt(variance + self._EPSILON)
        shift = self.beta - mean * scale
        return x * ops.cast(scale, x.dtype) + ops.cast(shift, x.dtype)

    def compute_output_shape(self, x_shape: Any, real_shape: Any = None) -> Any:
        return x_shape


def is_real(frames: Any, x: Any) -> Any:
    """Which frames of x [batch, frames, ...] are no padding: [batch, frames], of the counts."""
    return ops.arange(ops.shape(x)[1])[None] < ops.cast(frames, "int32")[:, None]


def masked(x: Any, mask: Any) -> Any:
    """x [batch, frames, ...] with zeros where the mask [batch, frames] is False."""
    real = ops.reshape(mask, (*ops.shape(mask), *[1] * (len(x.shape) - 2)))
    return x * ops.cast(real, x.dtype)


@keras.saving.register_keras_serializable(package="rnnzoo")
class TimeLayer(keras.layers.Layer):
    """A layer that sees `extent` frames around each: a convolution over time and frequency, a
    dense layer over a window of frames, or a row convolution over frames to come.

    `call` takes x [batch, frames, ...] and the count of real frames of each row, pads time by
    `left` and `right` frames of zeros and gives back the same of the output. `valid` pads nothing
    and leaves the counts out: it is for pieces of a stream that carry their neighbours.
    """

    def __init__(
        self,
        product: Any,
        extent: int,
        stride: int = 1,
        left: int = 0,
        right: int = 0,
        batch_norm: bool = False,
        clipped: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.product = product
        self.extent, self.stride, self.left, self.right = extent, stride, left, right
        self.clipped = clipped
        self.norm = SequenceBatchNorm(dtype=self.dtype_policy, name="norm") if batch_norm else None

    def build(self, x_shape: Any, frames_shape: Any = None) -> None:
        self.product.build(tuple(x_shape))
        if self.norm is not None:
            self.norm.build((None, None, self.product.filters))
        self.built = True

    def call(self, x: Any, frames: Any, training: bool = False) -> tuple[Any, Any]:
        x = ops.pad(x, [(0, 0), (self.left, self.right), *[(0, 0)] * (len(x.shape) - 2)])
        frames = (frames + self.stride - 1) // self.stride
        return self.valid(x, frames, training), frames

    def valid(self, x: Any, frames: Any = None, training: bool = False) -> Any:
        """The output wherever all frames that it needs are in x."""
        if len(x.shape) == 4:  # frequency has as many bands after the filters as before
            half = self.product.kernel_size[1] // 2
            x = ops.pad(x, [(0, 0), (0, 0), (half, half), (0, 0)])
        x = self.product(x)
        mask = None if frames is None else is_real(frames, x)
        if self.norm is not None:
            x = self.norm(x, mask, training=training)
        x = clipped_relu(x) if self.clipped else x
        return x if mask is None else masked(x, mask)


@keras.saving.register_keras_serializable(package="rnnzoo")
class Recognizer(keras.layers.Layer):
    """Samples [batch, samples] and their lengths [batch] to log-probabilities, as `build_network`
    says. The parts stand in the order in which sound goes through them."""

    def __init__(self, config: DeepSpeechConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.config = config if isinstance(config, DeepSpeechConfig) else DeepSpeechConfig(**config)
        c, policy, layers = self.config, self.dtype_policy, keras.layers
        self.spectrogram = LogMel(c, name="spectrogram")
        self.normalization = FrameNormalization(c.normalization == "running", name="normalization")
        self.augment = SpecAugment(
            c.time_masks,
            c.time_mask_frames,
            c.frequency_masks,
            c.frequency_mask_bands,
            name="augment",
        )
        self.convolutions = [
            TimeLayer(
                layers.Conv2D(
                    channels, (time, frequency), strides=(stride, step), dtype=policy, name="conv"
                ),
                extent=time,
                stride=stride,
                left=time // 2,
                right=time // 2,
                batch_norm=c.batch_norm,
                dtype=policy,
                name=f"conv_{number}",
            )
            for number, (channels, time, frequency, stride, step) in enumerate(
                zip(
                    c.conv_channels,
                    c.conv_times,
                    c.conv_frequencies,
                    c.time_strides,
                    c.frequency_strides,
                    strict=True,
                ),
                1,
            )
        ]
        self.windows = [
            TimeLayer(
                layers.Conv1D(c.dense_dim, 2 * around + 1, dtype=policy, name="dense"),
                extent=2 * around + 1,
                left=around,
                right=around,
                batch_norm=c.batch_norm,
                dtype=policy,
                name=f"dense_{number}",
            )
            for number, around in enumerate([c.context, *[0] * 15][: c.num_dense_layers], 1)
        ]
        self.norms = [
            SequenceBatchNorm(dtype=policy, name=f"norm_{n + 1}") if c.batch_norm and n else None
            for n in range(c.num_layers)
        ]
        self.recurrent = [self._recurrent(f"{c.cell}_{n + 1}") for n in range(c.num_layers)]
        self.row = None
        if c.lookahead:
            self.row = TimeLayer(
                layers.DepthwiseConv1D(c.lookahead + 1, dtype=policy, name="row"),
                extent=c.lookahead + 1,
                right=c.lookahead,
                clipped=False,
                dtype=policy,
                name="row_conv",
            )
        self.dense = None
        if c.output_dim:
            self.dense = layers.Dense(
                c.output_dim, activation=clipped_relu, dtype=policy, name="output_dense"
            )
        self.symbols = layers.Dense(c.num_symbols, dtype=policy, name="symbols")
        self.dropout = layers.Dropout(c.dropout, dtype=policy)

    def _recurrent(self, name: str) -> Any:
        c, policy = self.config, self.dtype_policy
        kinds = {
            "lstm": LSTM,
            "gru": keras.layers.GRU,
            "rnn": functools.partial(keras.layers.SimpleRNN, activation=clipped_relu),
        }
        layer = kinds[c.cell](
            c.hidden_dim, return_sequences=True, zero_output_for_mask=True, dtype=policy, name=name
        )
        if not c.bidirectional:
            return layer
        return bidirectional(layer, merge_mode="sum", dtype=policy, name=name)

    def build(self, samples_shape: Any, lengths_shape: Any = None) -> None:
        c, bands, channels = self.config, self.config.num_mels, 1
        for convolution, step in zip(self.convolutions, c.frequency_strides, strict=True):
            convolution.build((None, None, bands, channels))
            bands, channels = -(-bands // step), convolution.product.filters
        features = bands * channels
        for window in self.windows:
            window.build((None, None, features))
            features = c.dense_dim
        for norm, layer in zip(self.norms, self.recurrent, strict=True):
            if norm is not None:
                norm.build((None, None, features))
            layer.build((None, None, features))
            features = c.hidden_dim
        if self.row is not None:
            self.row.build((None, None, features))
        if self.dense is not None:
            self.dense.build((None, None, features))
            features = c.output_dim
        self.symbols.build((None, None, features))
        self.built = True

    def call(self, samples: Any, lengths: Any, training: bool = False) -> tuple[Any, Any]:
        return self.with_spectrogram(samples, lengths, training)[:2]

    def with_spectrogram(
        self, samples: Any, lengths: Any, training: bool = False
    ) -> tuple[Any, Any, Any]:
        """The outputs, and the spectrogram [batch, frames, mels] that they were made of."""
        short = ops.maximum(0, self.config.frame_length - ops.shape(samples)[1])
        mels = self.spectrogram(tf.pad(samples, [[0, 0], [0, short]]))
        frames = self.spectrogram.num_frames(ops.cast(lengths, "int32"))
        x = self.normalization(mels, is_real(frames, mels))
        x = self.augment(x, training=training)
        x = ops.cast(x, self.compute_dtype)
        for layer in self.local:
            x, frames = layer(self.shaped(x, layer), frames, training=training)
        x, mask = self.flat(x), is_real(frames, x)
        for norm, layer in zip(self.norms, self.recurrent, strict=True):
            if norm is not None:
                x = norm(x, mask, training=training)
            with expand_once():
                x = layer(self.dropout(x, training=training), mask=mask, training=training)
        if self.row is not None:
            x, frames = self.row(x, frames, training=training)
        return self.log_probs(x, training), frames, mels

    @property
    def local(self) -> list[TimeLayer]:
        """The layers between the spectrogram and the recurrent ones."""
        return [*self.convolutions, *self.windows]

    def shaped(self, x: Any, layer: TimeLayer) -> Any:
        """Frames as a local layer takes them: [batch, frames, bands, channels] for convolutions."""
        if layer in self.convolutions:
            return x if len(x.shape) == 4 else x[..., None]
        return self.flat(x)

    def flat(self, x: Any) -> Any:
        """Frames as the recurrent layers take them: [batch, frames, features]."""
        if len(x.shape) == 4:
            batch, frames = ops.shape(x)[:2]
            return ops.reshape(x, (batch, frames, x.shape[2] * x.shape[3]))
        return x

    def log_probs(self, x: Any, training: bool = False) -> Any:
        """The last layers: [batch, frames, symbols], float32."""
        if self.dense is not None:
            x = self.dense(x)
        x = self.symbols(self.dropout(x, training=training))
        return ops.log_softmax(ops.cast(x, "float32"), axis=-1)

    def compute_output_spec(self, samples: Any, lengths: Any, training: bool = False) -> Any:
        batch = samples.shape[0]
        return (
            keras.KerasTensor((batch, None, self.config.num_symbols), "float32"),
            keras.KerasTensor((batch,), "int32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def build_network(config: DeepSpeechConfig, dtype: Any = None) -> keras.Model:
    """The network, a plain functional `keras.Model`.

    Inputs are `samples` [batch, samples], float32, padded on the right, and `lengths` [batch],
    int32, the real samples of each. Outputs are `log_probs` [batch, frames, num_symbols], float32,
    natural logarithms, and `frames` [batch], int32, the real frames of each; symbol 0 is CTC's
    blank.

    Parameters
    ----------
    config : DeepSpeechConfig
    dtype : str or keras.DTypePolicy, optional
        The dtype policy of every layer; Keras' global policy by default.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech import DeepSpeechConfig, build_network
    >>> network = build_network(DeepSpeechConfig(num_layers=1, hidden_dim=8, conv_channels=(2, 2)))
    >>> out = network({"samples": np.zeros((1, 16000)), "lengths": np.array([16000])})
    >>> out["log_probs"].shape, int(out["frames"][0])
    (TensorShape([1, 49, 29]), 49)
    """
    samples = keras.Input((None,), dtype="float32", name="samples")
    lengths = keras.Input((), dtype="int32", name="lengths")
    recognizer = Recognizer(config, dtype=dtype, name="recognizer")
    log_probs, frames = recognizer(samples, lengths)
    return keras.Model(
        {"samples": samples, "lengths": lengths},
        {"log_probs": log_probs, "frames": frames},
        name="deepspeech",
    )


def weight_shapes(config: DeepSpeechConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its path, without building the network."""
    c = config
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(path: str, size: int) -> None:
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"recognizer/{path}/{name}"] = (size,)

    def product(path: str, shape: tuple[int, ...], outputs: int | None = None) -> None:
        shapes[f"recognizer/{path}/kernel"] = shape
        shapes[f"recognizer/{path}/bias"] = (outputs or shape[-1],)

    bands, channels = c.num_mels, 1
    for number, filters in enumerate(c.conv_channels):
        extent = (c.conv_times[number], c.conv_frequencies[number])
        product(f"conv_{number + 1}/conv", (*extent, channels, filters))
        if c.batch_norm:
            norm(f"conv_{number + 1}/norm", filters)
        bands, channels = -(-bands // c.frequency_strides[number]), filters
    features = bands * channels
    for number in range(c.num_dense_layers):
        width = 1 if number else 2 * c.context + 1
        product(f"dense_{number + 1}/dense", (width, features, c.dense_dim))
        if c.batch_norm:
            norm(f"dense_{number + 1}/norm", c.dense_dim)
        features = c.dense_dim
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[c.cell]
    for number in range(1, c.num_layers + 1):
        if c.batch_norm and number > 1:
            norm(f"norm_{number}", features)
        name = f"{c.cell}_{number}"
        inner = "simple_rnn_cell" if c.cell == "rnn" else f"{c.cell}_cell"
        paths = [f"{name}/{inner}"]
        if c.bidirectional:
            paths = [f"{name}/{way}_{name}/{inner}" for way in ("forward", "backward")]
        for path in paths:
            units = gates * c.hidden_dim
            shapes[f"recognizer/{path}/kernel"] = (features, units)
            shapes[f"recognizer/{path}/recurrent_kernel"] = (c.hidden_dim, units)
            bias = (2, units) if c.cell == "gru" else (units,)
            shapes[f"recognizer/{path}/bias"] = bias
        features = c.hidden_dim
    if c.lookahead:
        product("row_conv/row", (c.lookahead + 1, features, 1), features)
    if c.output_dim:
        product("output_dense", (features, c.output_dim))
        features = c.output_dim
    product("symbols", (features, c.num_symbols))
    return shapes
