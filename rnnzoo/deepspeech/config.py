"""What a speech network is made of."""

from __future__ import annotations

import dataclasses

import numpy as np

from rnnzoo.config import check_range, check_types

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
        extents = (self.frame_length, *self.conv_times)
        for extent, step in zip(extents, (self.frame_step, *self.time_strides), strict=True):
            if step > extent:
                raise ValueError(
                    f"a step in time of {step} is longer than what is seen at once, {extent}: "
                    "frame_step must not exceed frame_length, nor time_strides conv_times"
                )
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
