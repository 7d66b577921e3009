"""The spectrogram that the networks hear: made, normalised, and in training with gaps."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from rnnzoo.deepspeech.config import DeepSpeechConfig
from rnnzoo.layers.portable import is_portable

_POWER_FLOOR = 1e-6


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
    >>> from rnnzoo.deepspeech.spectrogram import mel_filters
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


@functools.cache
def fourier_filters(frame_length: int, fft_length: int) -> np.ndarray:
    """A windowed Fourier transform as filters of a convolution, which every runtime has.

    Returns
    -------
    np.ndarray
        [frame_length, 1, 2 bins], float32: real parts, then imaginary ones.

    Examples
    --------
    >>> from rnnzoo.deepspeech.spectrogram import fourier_filters
    >>> fourier_filters(400, 512).shape
    (400, 1, 514)
    """
    n = np.arange(frame_length)[:, None]
    angle = 2 * np.pi * n * np.arange(fft_length // 2 + 1) / fft_length
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / frame_length)  # periodic, as of tf.signal.stft
    waves = np.concatenate([np.cos(angle), -np.sin(angle)], 1)
    return (hann * waves)[:, None].astype(np.float32)


@keras.saving.register_keras_serializable(package="rnnzoo")
class LogMel(keras.layers.Layer):
    """Log-mel spectrogram of samples [batch, samples]: [batch, frames, mels], float32.

    Frames are not padded: n samples have 1 + (n - frame_length) // frame_step of them.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech import DeepSpeechConfig
    >>> from rnnzoo.deepspeech.spectrogram import LogMel
    >>> LogMel(DeepSpeechConfig())(np.zeros((1, 16000), "float32")).shape
    TensorShape([1, 98, 64])
    """

    def __init__(self, config: DeepSpeechConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.config = config if isinstance(config, DeepSpeechConfig) else DeepSpeechConfig(**config)

    def call(self, samples: Any) -> Any:
        c = self.config
        fft_length = 1 << (c.frame_length - 1).bit_length()
        if is_portable():
            waves = fourier_filters(c.frame_length, fft_length)
            spectrum = tf.nn.conv1d(samples[..., None], waves, c.frame_step, "VALID")
            power = ops.sum(ops.square(ops.stack(ops.split(spectrum, 2, axis=-1))), 0)
        else:
            spectrum = tf.signal.stft(samples, c.frame_length, c.frame_step, fft_length)
            power = ops.square(ops.real(spectrum)) + ops.square(ops.imag(spectrum))
        filters = mel_filters(
            c.num_mels, fft_length // 2 + 1, c.sampling_rate, c.low_frequency, c.high_frequency
        )
        return ops.log(ops.matmul(power, filters) + _POWER_FLOOR)

    def num_frames(self, num_samples: Any) -> Any:
        """Frames of so many samples."""
        c = self.config
        return ops.maximum(0, (num_samples - c.frame_length) // c.frame_step + 1)

    def compute_output_shape(self, samples_shape: Any) -> Any:
        return (samples_shape[0], None, self.config.num_mels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def _highest(x: Any, frames: int) -> Any:
    """Of x [batch, time, 1] the highest of each `frames` in a row."""
    return ops.max_pool(x, frames, 1, data_format="channels_last")


@keras.saving.register_keras_serializable(package="rnnzoo")
class FrameNormalization(keras.layers.Layer):
    """Every band to mean 0 and variance 1 over the real frames: of the whole utterance, or of it
    so far (`running`). `call` takes features [batch, frames, bands] and a mask [batch, frames].

    A microphone that idles must not make silence the mean: of what was heard so far, frames count
    up to half a second behind the last sound, and those of the first half second. Sound is 2 nats
    louder than the softest tenth of a second, at its loudest, of the last 3 seconds; or what
    follows a tenth of digital silence within a second, as words do where someone gates the noise.

    Digital silence is whatever is no louder than a step or two of 16 bits; it is never the softest
    tenth, and counts as other frames do. Where it comes first, it counts as if it were soft speech,
    since all that follows would be far louder than it varies.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech.spectrogram import FrameNormalization
    >>> x = np.array([[[1.0], [3.0], [9.0]]], "float32")
    >>> FrameNormalization(running=False)(x, np.array([[True, True, False]]))[0, :, 0].numpy()
    array([-0.99..., 0.99..., 0. ], dtype=float32)
    """

    _FLOOR = 1e-2
    _TYPICAL = -6.0  # a log-mel energy of speech; what is summed up stays small
    _SOFT, _SPREAD = -9.0, 4.0  # mean and deviation of soft speech; of what was tried, best for
    # digits and commands behind 0.15 to 2 s of digital silence (validation)
    _DIGITAL_SILENCE = math.log(2.0 * _POWER_FLOOR)  # of a frame's mean
    _FLOOR_FRAMES, _SOFTEST_FRAMES = 300, 10
    _UNKNOWN = 1e30  # energy before the first frame; that of digital silence is infinite, so that
    # neither is the softest
    _LOUDER = 2.0  # nats
    _GATED_FRAMES = 100
    _PATIENCE_FRAMES = 50

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

    def start(self, x: Any) -> tuple[Any, ...]:
        """What was heard before the first frame: frames, sums and sums of squares of those that
        count; frames that are no digital silence; energy and sound of the last frames."""
        nothing = ops.zeros_like(x[:, :1])
        count = nothing[..., :1]
        energy = ops.tile(count + self._UNKNOWN, (1, self._FLOOR_FRAMES - 1, 1))
        sound = ops.tile(count + 1.0, (1, self._PATIENCE_FRAMES - 1, 1))
        return count, nothing, nothing, count, energy, sound

    def step(self, x: Any, heard: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Frames normalised by all that was heard up to each, and what was heard by now."""
        count, total, squares, anything, energy, sound = heard
        digital = ops.mean(x, -1, keepdims=True) < self._DIGITAL_SILENCE
        anything = anything + ops.cumsum(1.0 - ops.cast(digital, x.dtype), 1)
        x = x - self._TYPICAL
        new, frames = ops.mean(x, -1, keepdims=True), ops.shape(x)[1]
        energy = ops.concatenate([energy, ops.where(digital, np.inf, new)], 1)
        floor = -_highest(
            -_highest(energy, self._SOFTEST_FRAMES), 1 + self._FLOOR_FRAMES - self._SOFTEST_FRAMES
        )
        lacking = ops.cast(energy == np.inf, x.dtype)
        lacking = -_highest(-lacking, self._SOFTEST_FRAMES)[:, -self._GATED_FRAMES - frames + 1 :]
        gated = (_highest(lacking, self._GATED_FRAMES) > 0) & ~digital
        is_sound = gated | (new - floor > self._LOUDER)
        sound = ops.concatenate([sound, ops.cast(is_sound, x.dtype)], 1)
        counted = _highest(sound, self._PATIENCE_FRAMES)
        before = anything == 0  # digital silence that comes first
        counts = count + ops.cumsum(counted, 1)
        soft = self._SOFT - self._TYPICAL
        totals = total + ops.cumsum(counted * ops.where(before, soft, x), 1)
        square = ops.where(before, soft**2 + self._SPREAD**2, ops.square(x))
        all_squares = squares + ops.cumsum(counted * square, 1)
        mean = totals / counts
        variance = ops.maximum(0.0, all_squares / counts - ops.square(mean))
        heard = (
            *(sums[:, -1:] for sums in (counts, totals, all_squares, anything)),
            energy[:, 1 - self._FLOOR_FRAMES :],
            sound[:, 1 - self._PATIENCE_FRAMES :],
        )
        return (x - mean) / ops.sqrt(variance + self._FLOOR), heard

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "running": self.running}


@keras.saving.register_keras_serializable(package="rnnzoo")
class SpecAugment(keras.layers.Layer):
    """Leaves out random stretches of time and of bands in training (Park et al. 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech.spectrogram import SpecAugment
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
