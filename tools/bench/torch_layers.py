"""The parts of the networks on `torch.nn`, built of a checkpoint's arrays.

Keras and PyTorch keep an LSTM's gates in the same order, i, f, g, o; kernels are transposed, and
the second bias is zero. Layers take [batch, time, features] as the checkpoint's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Arrays = Mapping[str, np.ndarray]
_MASKED = -1e9


def tensor(array: np.ndarray) -> Tensor:
    """A tensor with memory of its own."""
    return torch.from_numpy(np.array(array, np.float32))


def below(weights: Arrays, path: str) -> dict[str, np.ndarray]:
    """The arrays under a path, by the rest of their names.

    Examples
    --------
    >>> below({"a/b/kernel": 1, "c/bias": 2}, "a")
    {'b/kernel': 1}
    """
    return {n.removeprefix(f"{path}/"): v for n, v in weights.items() if n.startswith(f"{path}/")}


def linear(weights: Arrays, path: str) -> nn.Linear:
    """A `Dense` layer."""
    own = below(weights, path)
    layer = nn.Linear(*own["kernel"].shape, bias="bias" in own)
    with torch.no_grad():
        layer.weight.copy_(tensor(own["kernel"].T))
        if "bias" in own:
            layer.bias.copy_(tensor(own["bias"]))
    return layer


def conv1d(weights: Arrays, path: str, stride: int = 1) -> nn.Conv1d:
    """A `Conv1D` layer of odd width that pads both sides alike."""
    own = below(weights, path)
    width, features, filters = own["kernel"].shape
    layer = nn.Conv1d(features, filters, width, stride, padding=width // 2)
    with torch.no_grad():
        layer.weight.copy_(tensor(own["kernel"].transpose(2, 1, 0)))
        layer.bias.copy_(tensor(own["bias"]))
    return layer


class LSTM(nn.Module):
    """`nn.LSTM` over right-padded rows: one layer, of one direction for one path, of both for two.

    `forward` packs rows of unlike length, where the last cells are asked for; `outputs` does not.
    """

    def __init__(self, weights: Arrays, *paths: str) -> None:
        super().__init__()
        features, gates = weights[f"{paths[0]}/kernel"].shape
        self.hidden_dim = gates // 4
        self.lstm = nn.LSTM(
            features, self.hidden_dim, batch_first=True, bidirectional=len(paths) == 2
        )
        with torch.no_grad():
            for path, suffix in zip(paths, ("l0", "l0_reverse"), strict=False):
                own = below(weights, path)
                values = {
                    "weight_ih": own["kernel"].T,
                    "weight_hh": own["recurrent_kernel"].T,
                    "bias_ih": own["bias"],
                    "bias_hh": np.zeros_like(own["bias"]),
                }
                for name, value in values.items():
                    getattr(self.lstm, f"{name}_{suffix}").copy_(tensor(value))

    def cell(self) -> nn.LSTMCell:
        """The same weights, a step at a time."""
        cell = nn.LSTMCell(self.lstm.input_size, self.hidden_dim)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(cell, name, getattr(self.lstm, f"{name}_l0"))
        return cell

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs [batch, time, directions x units], zero behind a row's length, and the last h
        and c, directions side by side."""
        if lengths is None or int(lengths.min()) == x.shape[1]:
            y, (h, c) = self.lstm(x, state)
        else:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            packed, (h, c) = self.lstm(packed, state)
            y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return y, torch.cat(list(h), -1), torch.cat(list(c), -1)

    def outputs(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The outputs of `forward` alone, without packing: PyTorch's fused LSTM takes no packed
        rows on a CPU, and its own loop over them is many times slower. Each direction runs by
        itself, over rows that are turned round within their lengths for the backward one."""
        batch, steps = x.shape[:2]
        start = x.new_zeros(1, batch, self.hidden_dim)
        places = torch.arange(steps)[None]
        turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
        found = []
        for weights, backward in zip(self.lstm.all_weights, (False, True), strict=False):
            given = _taken(x, turned) if backward else x
            y, *_ = torch._VF.lstm(
                given, (start, start), weights, True, 1, 0.0, self.training, False, True
            )
            found.append(_taken(y, turned) if backward else y)
        return torch.cat(found, -1) * (places < lengths[:, None])[..., None]

    def last(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The last h of each row, of both directions side by side, of `outputs`."""
        ends = y[torch.arange(len(y)), lengths - 1]
        if not self.lstm.bidirectional:
            return ends
        return torch.cat([ends[:, : self.hidden_dim], y[:, 0, self.hidden_dim :]], -1)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def lstm_paths(path: str, name: str, bidirectional: bool) -> Sequence[str]:
    """Where an LSTM layer's weights stand in a checkpoint.

    Examples
    --------
    >>> lstm_paths("reader/lstm_1", "lstm_1", True)[0]
    'reader/lstm_1/forward_lstm_1/lstm_cell'
    """
    if not bidirectional:
        return [f"{path}/lstm_cell"]
    return [f"{path}/{way}_{name}/lstm_cell" for way in ("forward", "backward")]


class AdditiveAttention(nn.Module):
    """Bahdanau's attention, as `rnnzoo.layers.AdditiveAttention`."""

    def __init__(self, weights: Arrays, path: str) -> None:
        super().__init__()
        self.key = linear(weights, f"{path}/key")
        self.query = linear(weights, f"{path}/query") if f"{path}/query/kernel" in weights else None
        self.v = nn.Parameter(tensor(weights[f"{path}/v"]))

    def attend(
        self, query: Tensor | None, keys: Tensor, annotations: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Context [batch, target, features] and alignment [batch, target, source]."""
        z = keys[:, None]
        if query is not None:
            z = z + self.query(query)[:, :, None]
        energies = torch.tanh(z) @ self.v
        energies = energies.masked_fill(~mask[:, None], _MASKED)
        alignment = torch.softmax(energies, -1)
        return alignment @ annotations, alignment


class SequenceBatchNorm(nn.Module):
    """Sequence-wise batch normalisation over the real frames of [batch, frames, ..., features]."""

    momentum, epsilon = 0.98, 1e-3

    def __init__(self, weights: Arrays, path: str) -> None:
        super().__init__()
        own = below(weights, path)
        self.gamma, self.beta = (nn.Parameter(tensor(own[name])) for name in ("gamma", "beta"))
        self.register_buffer("mean", tensor(own["moving_mean"]))
        self.register_buffer("variance", tensor(own["moving_variance"]))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training:
            weight = real.reshape(*real.shape, *[1] * (x.dim() - 2)).to(x.dtype)
            axes = tuple(range(x.dim() - 1))
            count = weight.expand(*x.shape[:-1], 1).sum().clamp(min=1.0)
            mean = (x * weight).sum(axes) / count
            variance = ((x - mean).square() * weight).sum(axes) / count
            with torch.no_grad():
                self.mean.lerp_(mean, 1 - self.momentum)
                self.variance.lerp_(variance, 1 - self.momentum)
        scale = self.gamma / torch.sqrt(variance + self.epsilon)
        return x * scale + (self.beta - mean * scale)


def is_real(counts: Tensor, length: int) -> Tensor:
    """Which places are no padding, [batch, length]."""
    return torch.arange(length)[None] < counts[:, None]
