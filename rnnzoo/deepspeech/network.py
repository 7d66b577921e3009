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
import numpy as np
import tensorflow as tf
from keras import ops

from rnnzoo.config import check_range, check_types
from rnnzoo.layers import LSTM

CLIP = 20.0  # Hannun et al. 2014, section 2
CELLS = ("lstm", "gru", "rnn")
NORMALIZATIONS = ("utterance", "running")


@dataclasses.dataclass(frozen=True)
class DeepSpeechConfig:
    """What a speech network is made of; the defaults are a small Deep Speech 2.

    Attributes
    ----------
    num_symbols : int
        CTC's blank and the characters of the alphabet.
    sampling_rate : int
        Samples a second, in hertz.
    frame_length, frame_step : int
        A frame of the spectrogram and the way to the next, in samples.
    num_mels : int
        Bands of the spectrogram.
    low_frequency, high_frequency : float
        Where the bands begin and end, in hertz.
    normalization : "utterance" or "running"
        Every band has mean 0 and variance 1 over the utterance, or over what was heard so far,
        which needs no future.
    context : int
        Frames on either side that a dense layer sees; with `num_dense_layers` (Deep Speech: 9).
    num_dense_layers, dense_dim : int
        Dense layers before the recurrent ones (Deep Speech: 3 of 2048).
    conv_channels : tuple of int
        Filters of each convolution.
    conv_times, conv_frequencies : tuple of int
        Extent of each convolution's filters, in frames and in bands; odd.
    time_strides, frequency_strides : tuple of int
        Steps of each convolution.
    cell : "lstm", "gru" or "rnn"
        Kind of the recurrent layers; "rnn" has clipped rectified units (Deep Speech).
    num_layers, hidden_dim : int
        Recurrent layers and units of each, in each direction.
    bidirectional : bool
        The directions' outputs are added, as in both papers.
    lookahead : int
        Frames that the row convolution looks ahead; only without `bidirectional`.
    output_dim : int
        Units of a dense layer before the softmax; 0 has none (Deep Speech: 2048).
    batch_norm : bool
        Sequence-wise batch normalisation.
    dropout : float
        Rate on the input of each recurrent layer and of the softmax.
    time_masks, time_mask_frames, frequency_masks, frequency_mask_bands : int
        SpecAugment (Park et al. 2019, arXiv 1904.08779) in training: how many stretches of the
        spectrogram are left out, and how long each is at the most.

    Examples
    --------
    >>> from rnnzoo.deepspeech import DeepSpeechConfig
    >>> streaming = DeepSpeechConfig(bidirectional=False, lookahead=20, normalization="running")
    >>> streaming.frame_stride  # frames of the spectrogram for one of the output
    2
    """

    num_symbols: int = 29
    sampling_rate: int = 16000
    frame_length: int = 400
    frame_step: int = 160
    num_mels: int = 64
    low_frequency: float = 20.0
    high_frequency: float = 5600.0
    normalization: str = "utterance"
    context: int = 0
    num_dense_layers: int = 0
    dense_dim: int = 512
    conv_channels: tuple[int, ...] = (32, 32)
    conv_times: tuple[int, ...] = (11, 11)
    conv_frequencies: tuple[int, ...] = (21, 11)
    time_strides: tuple[int, ...] = (2, 1)
    frequency_strides: tuple[int, ...] = (2, 2)
    cell: str = "lstm"
    num_layers: int = 3
    hidden_dim: int = 256
    bidirectional: bool = True
    lookahead: int = 0
    output_dim: int = 0
    batch_norm: bool = True
    dropout: float = 0.1
    time_masks: int = 2
    time_mask_frames: int = 40
    frequency_masks: int = 2
    frequency_mask_bands: int = 12

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            num_symbols=(2, 10_000),
            sampling_rate=(1000, 768_000),
            frame_length=(16, 65_536),
            frame_step=(1, 65_536),
            num_mels=(1, 1024),
            low_frequency=(0, self.sampling_rate / 2),
            high_frequency=(1, self.sampling_rate / 2),
            context=(0, 100),
            num_dense_layers=(0, 16),
            dense_dim=(1, 8192),
            num_layers=(1, 16),
            hidden_dim=(1, 8192),
            lookahead=(0, 200),
            output_dim=(0, 8192),
            dropout=(0, 0.99),
            time_masks=(0, 20),
            time_mask_frames=(1, 10_000),
            frequency_masks=(0, 20),
            frequency_mask_bands=(1, 1024),
        )
        if self.low_frequency >= self.high_frequency:
            raise ValueError(
                f"low_frequency {self.low_frequency} must be below high_frequency "
                f"{self.high_frequency}"
            )
        for name, known in (("cell", CELLS), ("normalization", NORMALIZATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.lookahead and self.bidirectional:
            raise ValueError("lookahead is for networks that are not bidirectional")
        if self.context and not self.num_dense_layers:
            raise ValueError("context is what the first of num_dense_layers sees: give at least 1")
        shapes = {
            name: getattr(self, name)
            for name in (
                "conv_channels",
                "conv_times",
                "conv_frequencies",
                "time_strides",
                "frequency_strides",
            )
        }
        if len({len(values) for values in shapes.values()}) != 1:
            raise ValueError(f"the convolutions' fields must have one number for each: {shapes}")
        for name, values in shapes.items():
            odd = name in ("conv_times", "conv_frequencies")
            if not all(0 < value < 4096 and (value % 2 or not odd) for value in values):
                kind = "odd and below" if odd else "from 1 to"
                raise ValueError(f"{name} must be {kind} 4,096, got {values!r}")

    @property
    def frame_stride(self) -> int:
        """Frames of the spectrogram for one frame of the output."""
        return int(np.prod(self.time_strides, dtype=int))

    @property
    def seconds_per_frame(self) -> float:
        """Time from one frame of the output to the next."""
        return self.frame_stride * self.frame_step / self.sampling_rate


@functools.cache
def mel_filters(
    num_mels: int, num_bins: int, sampling_rate: int, low_frequency: float, high_frequency: float
) -> np.ndarray:
    """Triangular filters evenly spaced on the mel scale (2595 log10(1 + f / 700)).

    Returns
    -------
    np.ndarray
        [bins, mels], float32.

    Examples
    --------
    >>> from rnnzoo.deepspeech.network import mel_filters
    >>> mel_filters(64, 257, 16000, 20.0, 5600.0).shape
    (257, 64)
    """

    def mel(frequency: Any) -> Any:
        return 2595 * np.log10(1 + frequency / 700)

    bins = mel(np.arange(num_bins) * sampling_rate / 2 / (num_bins - 1))[:, None]
    edges = np.linspace(mel(low_frequency), mel(high_frequency), num_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@keras.saving.register_keras_serializable(package="rnnzoo")
def clipped_relu(x: Any) -> Any:
    """g(z) = min(max(0, z), 20), Hannun et al. 2014, section 2."""
    return ops.clip(x, 0.0, CLIP)


@keras.saving.register_keras_serializable(package="rnnzoo")
class LogMel(keras.layers.Layer):
    """Log-mel spectrogram of samples [batch, samples]: [batch, frames, mels], float32.

    Frames are not padded: n samples have 1 + (n - frame_length) // frame_step of them.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech import DeepSpeechConfig
    >>> from rnnzoo.deepspeech.network import LogMel
    >>> LogMel(DeepSpeechConfig())(np.zeros((1, 16000), "float32")).shape
    TensorShape([1, 98, 64])
    """

    def __init__(self, config: DeepSpeechConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.config = config if isinstance(config, DeepSpeechConfig) else DeepSpeechConfig(**config)

    def call(self, samples: Any) -> Any:
        c = self.config
        fft_length = 1 << (c.frame_length - 1).bit_length()
        spectrum = tf.signal.stft(samples, c.frame_length, c.frame_step, fft_length)
        power = ops.square(ops.real(spectrum)) + ops.square(ops.imag(spectrum))
        filters = mel_filters(
            c.num_mels, fft_length // 2 + 1, c.sampling_rate, c.low_frequency, c.high_frequency
        )
        return ops.log(ops.matmul(power, filters) + 1e-6)

    def num_frames(self, num_samples: Any) -> Any:
        """Frames of so many samples."""
        c = self.config
        return ops.maximum(0, (num_samples - c.frame_length) // c.frame_step + 1)

    def compute_output_shape(self, samples_shape: Any) -> Any:
        return (samples_shape[0], None, self.config.num_mels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


@keras.saving.register_keras_serializable(package="rnnzoo")
class FrameNormalization(keras.layers.Layer):
    """Every band to mean 0 and variance 1 over the real frames: of the whole utterance, or of it
    so far (`running`). `call` takes features [batch, frames, bands] and a mask [batch, frames].

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech.network import FrameNormalization
    >>> x = np.array([[[1.0], [3.0], [9.0]]], "float32")
    >>> FrameNormalization(running=False)(x, np.array([[True, True, False]]))[0, :, 0].numpy()
    array([-0.99..., 0.99..., 0. ], dtype=float32)
    """

    _FLOOR = 1e-2
    _TYPICAL = -6.0  # a log-mel energy of speech; what is summed up stays small

    def __init__(self, running: bool, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.running = running

    def call(self, x: Any, mask: Any) -> Any:
        real = ops.cast(mask, "float32")[..., None]
        if self.running:
            return self.step(x, self.start(x))[0] * real
        count = ops.maximum(1.0, ops.sum(real, 1, keepdims=True))
        mean = ops.sum(x * real, 1, keepdims=True) / count
        variance = ops.sum(ops.square(x - mean) * real, 1, keepdims=True) / count
        return (x - mean) * real / ops.sqrt(variance + self._FLOOR)

    def start(self, x: Any) -> tuple[Any, Any, Any]:
        """What was heard before the first frame: frames, sums and sums of squares."""
        nothing = ops.zeros_like(x[:, :1])
        return nothing[..., :1], nothing, nothing

    def step(self, x: Any, heard: tuple[Any, Any, Any]) -> tuple[Any, tuple[Any, Any, Any]]:
        """Frames normalised by all that was heard up to each, and what was heard by now."""
        count, total, squares = heard
        x = x - self._TYPICAL
        counts = count + ops.cumsum(ops.ones_like(x[..., :1]), 1)
        totals = total + ops.cumsum(x, 1)
        all_squares = squares + ops.cumsum(ops.square(x), 1)
        mean = totals / counts
        variance = ops.maximum(0.0, all_squares / counts - ops.square(mean))
        heard = (counts[:, -1:], totals[:, -1:], all_squares[:, -1:])
        return (x - mean) / ops.sqrt(variance + self._FLOOR), heard

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "running": self.running}


@keras.saving.register_keras_serializable(package="rnnzoo")
class SequenceBatchNorm(keras.layers.Layer):
    """Sequence-wise batch normalisation (Amodei et al. 2015, section 3.2).

    Mean and variance of each feature are taken over the batch and all frames that are `real`
    [batch, frames] in training; an average of them over training stands in for them in use.

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
        size = (x_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=size, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=size, initializer="zeros")
        still = {"shape": size, "trainable": False}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **still)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **still)
        self.built = True

    def call(self, x: Any, real: Any = None, training: bool = False) -> Any:
        mean, variance = (ops.cast(v, "float32") for v in (self.moving_mean, self.moving_variance))
        if training:
            wide = ops.cast(x, "float32")
            axes = tuple(range(len(x.shape) - 1))
            real = ops.reshape(
                ops.cast(real, "float32"), (*ops.shape(real), *[1] * (len(x.shape) - 2))
            )
            real = ops.broadcast_to(real, (*ops.shape(x)[:-1], 1))
            count = ops.maximum(1.0, ops.sum(real))
            mean = ops.sum(wide * real, axes) / count
            variance = ops.sum(ops.square(wide - mean) * real, axes) / count
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(self._MOMENTUM * moving + (1 - self._MOMENTUM) * now)
        scale = ops.cast(self.gamma, "float32") / ops.sqrt(variance + self._EPSILON)
        shift = ops.cast(self.beta, "float32") - mean * scale
        return x * ops.cast(scale, x.dtype) + ops.cast(shift, x.dtype)

    def compute_output_shape(self, x_shape: Any, real_shape: Any = None) -> Any:
        return x_shape


@keras.saving.register_keras_serializable(package="rnnzoo")
class SpecAugment(keras.layers.Layer):
    """Leaves out random stretches of time and of bands in training (Park et al. 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech.network import SpecAugment
    >>> layer = SpecAugment(2, 10, 2, 8, seed=1)
    >>> layer(np.ones((1, 50, 64), "float32"), training=True).numpy().min().item()
    0.0
    """

    def __init__(
        self,
        time_masks: int,
        time_mask_frames: int,
        frequency_masks: int,
        frequency_mask_bands: int,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.time_masks, self.time_mask_frames = time_masks, time_mask_frames
        self.frequency_masks, self.frequency_mask_bands = frequency_masks, frequency_mask_bands
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        batch, frames, bands = ops.shape(x)
        for axis, masks, most in (
            (1, self.time_masks, self.time_mask_frames),
            (2, self.frequency_masks, self.frequency_mask_bands),
        ):
            size = frames if axis == 1 else bands
            places = ops.cast(ops.arange(size), "float32")[None]
            for _ in range(masks):
                length, place = (
                    keras.random.uniform((batch, 1), seed=self.generator) for _ in range(2)
                )
                # a stretch of at most a fifth of the whole
                length = length * ops.minimum(float(most), ops.cast(size, "float32") / 5)
                begin = place * (ops.cast(size, "float32") - length)
                kept = ops.logical_or(places < begin, places >= begin + length)
                x = x * ops.expand_dims(ops.cast(kept, x.dtype), 3 - axis)
        return x

    def get_config(self) -> dict[str, Any]:
        names = ("time_masks", "time_mask_frames", "frequency_masks", "frequency_mask_bands")
        own = {name: getattr(self, name) for name in (*names, "seed")}
        return {**super().get_config(), **own}


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
        super().__init__(**kwargs)
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
        return keras.layers.Bidirectional(layer, merge_mode="sum", dtype=policy, name=name)

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
        short = ops.maximum(0, self.config.frame_length - ops.shape(samples)[1])
        x = self.spectrogram(tf.pad(samples, [[0, 0], [0, short]]))
        frames = self.spectrogram.num_frames(ops.cast(lengths, "int32"))
        x = self.normalization(x, is_real(frames, x))
        x = self.augment(x, training=training)
        x = ops.cast(x, self.compute_dtype)
        for layer in self.local:
            x, frames = layer(self.shaped(x, layer), frames, training=training)
        x, mask = self.flat(x), is_real(frames, x)
        for norm, layer in zip(self.norms, self.recurrent, strict=True):
            if norm is not None:
                x = norm(x, mask, training=training)
            x = layer(self.dropout(x, training=training), mask=mask, training=training)
        if self.row is not None:
            x, frames = self.row(x, frames, training=training)
        return self.log_probs(x, training), frames

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
