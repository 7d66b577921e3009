"""The log-mel spectrogram and its normalisation on PyTorch: `rnnzoo.deepspeech.spectrogram`."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_POWER_FLOOR = 1e-6
_VARIANCE_FLOOR = 1e-2
_TYPICAL, _SOFT, _SPREAD = -6.0, -9.0, 4.0
_DIGITAL_SILENCE = math.log(2.0 * _POWER_FLOOR)
_FLOOR_FRAMES, _SOFTEST_FRAMES, _GATED_FRAMES, _PATIENCE_FRAMES = 300, 10, 100, 50
_UNKNOWN, _LOUDER = 1e30, 2.0


class LogMel(nn.Module):
    """Samples [batch, samples] to [batch, frames, mels]."""

    def __init__(self, config: SimpleNamespace, filters: np.ndarray) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("filters", torch.from_numpy(np.array(filters)))
        self.register_buffer("window", torch.hann_window(config.frame_length))

    def num_frames(self, num_samples: Tensor) -> Tensor:
        """Frames of so many samples."""
        c = self.config
        return ((num_samples - c.frame_length) // c.frame_step + 1).clamp(min=0)

    def forward(self, samples: Tensor) -> Tensor:
        c = self.config
        frames = samples.unfold(1, c.frame_length, c.frame_step) * self.window
        spectrum = torch.fft.rfft(frames, 1 << (c.frame_length - 1).bit_length())
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log(power @ self.filters + _POWER_FLOOR)


def _highest(x: Tensor, frames: int) -> Tensor:
    """Of x [batch, time] the highest of each `frames` in a row."""
    return functional.max_pool1d(x[:, None], frames, 1)[:, 0]


class FrameNormalization(nn.Module):
    """Every band to mean 0 and variance 1, of the whole utterance or of it so far."""

    def __init__(self, running: bool) -> None:
        super().__init__()
        self.running = running

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        real = mask[..., None].to(x.dtype)
        if self.running:
            return self.step(x, self.start(x))[0] * real
        count = real.sum(1, keepdim=True).clamp(min=1.0)
        mean = (x * real).sum(1, keepdim=True) / count
        variance = ((x - mean).square() * real).sum(1, keepdim=True) / count
        return (x - mean) * real / torch.sqrt(variance + _VARIANCE_FLOOR)

    @staticmethod
    def start(x: Tensor) -> tuple[Tensor, ...]:
        """What was heard before the first frame: counts and sums of frames, the last energies and
        what was sound."""
        batch, _, mels = x.shape
        one, all_bands = x.new_zeros(batch, 1, 1), x.new_zeros(batch, 1, mels)
        energy = x.new_full((batch, _FLOOR_FRAMES - 1), _UNKNOWN)
        return one, all_bands, all_bands, one, energy, x.new_ones(batch, _PATIENCE_FRAMES - 1)

    @staticmethod
    def step(x: Tensor, heard: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames normalised by all that was heard up to each, and what was heard by now."""
        count, total, squares, anything, energy, sound = heard
        frames = x.shape[1]
        digital = x.mean(-1) < _DIGITAL_SILENCE
        anything = anything + (~digital).to(x.dtype).cumsum(1)[..., None]
        x = x - _TYPICAL
        new = x.mean(-1)  # [batch, frames]
        energy = torch.cat([energy, new.masked_fill(digital, math.inf)], 1)
        floor = -_highest(-_highest(energy, _SOFTEST_FRAMES), 1 + _FLOOR_FRAMES - _SOFTEST_FRAMES)
        lacking = -_highest(-(energy == math.inf).to(x.dtype), _SOFTEST_FRAMES)
        gated = _highest(lacking[:, -_GATED_FRAMES - frames + 1 :], _GATED_FRAMES) > 0
        now = ((gated & ~digital) | (new - floor > _LOUDER)).to(x.dtype)
        sound = torch.cat([sound, now], 1)
        counted = _highest(sound, _PATIENCE_FRAMES)[..., None]
        before = anything == 0
        soft = _SOFT - _TYPICAL
        square = torch.where(before, soft**2 + _SPREAD**2, x.square())
        count = count + counted.cumsum(1)
        total = total + (counted * torch.where(before, soft, x)).cumsum(1)
        squares = squares + (counted * square).cumsum(1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0.0)
        after = (
            *(part[:, -1:] for part in (count, total, squares, anything)),
            energy[:, 1 - _FLOOR_FRAMES :],
            sound[:, 1 - _PATIENCE_FRAMES :],
        )
        return (x - mean) / torch.sqrt(variance + _VARIANCE_FLOOR), after
