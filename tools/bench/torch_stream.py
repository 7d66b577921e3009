"""A forward-only recogniser on PyTorch, on sound as it comes: `rnnzoo.deepspeech.frames`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.torch_networks import CLIP, Recognizer


class Stream:
    """Samples to frames of log-probabilities, piece by piece; what each layer's next output needs
    is kept."""

    def __init__(self, network: Recognizer) -> None:
        self.network, c = network, network.config
        self._samples = torch.zeros(1, 0)
        self._heard = network.normalization.start(torch.zeros(1, 1, c.num_mels))
        self._kept: list[Tensor | None] = [None] * len(network.convolutions)
        self._row: Tensor | None = None
        self._states: list[tuple[Tensor, Tensor] | None] = [None] * len(network.recurrent)

    @torch.inference_mode()
    def feed(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """The frames [frames, symbols] that are known by now; with `last` all that are left."""
        net, c = self.network, self.network.config
        self._samples = torch.cat([self._samples, torch.from_numpy(samples)[None]], 1)
        count = (self._samples.shape[1] - c.frame_length) // c.frame_step + 1
        x: Tensor | None = None
        if count > 0:
            used = (count - 1) * c.frame_step + c.frame_length
            mels = net.spectrogram(self._samples[:, :used])
            x, self._heard = net.normalization.step(mels, self._heard)
            x = x[:, None]  # [1, channels, frames, bands]
            self._samples = self._samples[:, count * c.frame_step :]
        for number in range(len(net.convolutions)):
            x = self._convolved(number, x, last)
        if x is not None:
            x = x.permute(0, 2, 3, 1).flatten(2)
            for number, layer in enumerate(net.recurrent):
                real = torch.ones(x.shape[:2], dtype=torch.bool)
                x = net.norms[number - 1](x, real) if number else x
                x, self._states[number] = layer.lstm(x, self._states[number])
        if net.row is not None:
            x = self._looked_ahead(x, last)
        if x is None:
            return np.zeros((0, c.num_symbols), np.float32)
        x = x if net.dense is None else net.dense(x).clamp(0.0, CLIP)
        return torch.log_softmax(net.symbols(x), -1)[0].numpy()

    def finish(self) -> np.ndarray:
        """The frames that were still waiting for sound to come."""
        return self.feed(np.zeros(0, np.float32), last=True)

    def _convolved(self, number: int, x: Tensor | None, last: bool) -> Tensor | None:
        layer, norm = self.network.convolutions[number], self.network.convolution_norms[number]
        (extent, _), (stride, _), (around, half) = layer.kernel_size, layer.stride, layer.padding
        kept = self._kept[number]
        if kept is None and x is not None:
            kept = x.new_zeros(1, x.shape[1], around, x.shape[3])
        if kept is None:
            return None
        kept = kept if x is None else torch.cat([kept, x], 2)
        kept = functional.pad(kept, (0, 0, 0, around)) if last else kept
        count = (kept.shape[2] - extent) // stride + 1
        if count <= 0:
            self._kept[number] = kept
            return None
        used, self._kept[number] = (
            kept[:, :, : (count - 1) * stride + extent],
            kept[:, :, count * stride :],
        )
        x = functional.conv2d(used, layer.weight, layer.bias, layer.stride, (0, half))
        x = x.permute(0, 2, 3, 1)
        x = norm(x, torch.ones(x.shape[:2], dtype=torch.bool)).clamp(0.0, CLIP)
        return x.permute(0, 3, 1, 2)

    def _looked_ahead(self, x: Tensor | None, last: bool) -> Tensor | None:
        ahead = self.network.config.lookahead
        parts = [
            part
            for part in (self._row, None if x is None else x.transpose(1, 2))
            if part is not None
        ]
        if not parts:
            return None
        kept = torch.cat(parts, 2)
        kept = functional.pad(kept, (0, ahead)) if last else kept
        count = kept.shape[2] - ahead
        self._row = kept[:, :, max(0, count) :]
        return self.network.row(kept).transpose(1, 2) if count > 0 else None
