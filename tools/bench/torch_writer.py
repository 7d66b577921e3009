"""Graves' writing networks on `torch.nn`, and ink sampled with them: `rnnzoo.handwriting.network`
and `rnnzoo.handwriting.decode`.

The same draws as rnnzoo's give the same ink, as far as rounding lets it: a point that differs in
its last digits is where the next one starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.torch_layers import LSTM, Arrays, below, linear, tensor

_LEAST_LOG_SIGMA, _MOST_RHO_HAT = -7.0, 8.0
_LATE_POINTS, _LAST_POINTS = 20, 60


class WindowCell(nn.Module):
    """One step of section 5.1's LSTM, which looks at a text through a window."""

    def __init__(self, weights: Arrays, path: str) -> None:
        super().__init__()
        own = below(weights, path)
        self.units = own["recurrent_kernel"].shape[0]
        self.kernel, self.bias = (
            nn.Parameter(tensor(own["kernel"])),
            nn.Parameter(tensor(own["bias"])),
        )
        joined = np.concatenate([own["recurrent_kernel"], own["text_kernel"]])
        self.joined = nn.Parameter(tensor(joined))
        self.window_kernel = nn.Parameter(tensor(own["window_kernel"]))
        self.window_bias = nn.Parameter(tensor(own["window_bias"]))

    def project(self, x: Tensor) -> Tensor:
        """x W + b."""
        return x @ self.kernel + self.bias

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """h, w, c and kappa before the first point."""
        symbols = self.joined.shape[0] - self.units
        widths = (self.units, symbols, self.units, self.window_bias.shape[0] // 3)
        return tuple(torch.zeros(batch, width) for width in widths)

    def forward(
        self, z: Tensor, text: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        h, w, c, kappa = state
        i, f, g, o = (z + torch.cat([h, w], -1) @ self.joined).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        p = torch.exp(h @ self.window_kernel + self.window_bias)
        alpha, beta, step = p.chunk(3, -1)
        kappa = kappa + step
        distance = kappa[:, :, None] - torch.arange(1, text.shape[1] + 1)
        phi = (alpha[:, :, None] * torch.exp(-beta[:, :, None] * distance.square())).sum(1)
        w = (phi[:, None] @ text)[:, 0]
        return (h, w, c, kappa), phi


class Writer(nn.Module):
    """The prediction network (section 4) and the synthesis network (section 5)."""

    def __init__(self, config: SimpleNamespace, weights: Arrays) -> None:
        super().__init__()
        self.config, own = config, below(weights, "writer")
        self.writes = config.num_symbols > 0
        if self.writes:
            self.first = WindowCell(own, "lstm_1")
        else:
            self.first = LSTM(own, "lstm_1/lstm_cell")
        self.others = nn.ModuleList(
            LSTM(own, f"lstm_{n}/lstm_cell") for n in range(2, config.num_layers + 1)
        )
        self.cells = [layer.cell() for layer in self.others]  # these weights again
        self.first_cell = None if self.writes else self.first.cell()
        self.output = linear(own, "output")

    def text(self, characters: Tensor) -> Tensor:
        """One-hot rows [batch, width, symbols]; zeros behind a text."""
        return functional.one_hot(characters.long(), self.config.num_symbols + 1)[..., 1:].float()

    def scaled(self, points: Tensor) -> Tensor:
        """Points as the layers take them."""
        scale = self.config.offset_scale
        return points / points.new_tensor([scale, scale, 1.0])

    def forward(self, points: Tensor, characters: Tensor | None = None) -> dict[str, Tensor]:
        x = self.scaled(points)
        if not self.writes:
            h, *_ = self.first(x)
            return {"y": self._above(h, [x])}
        text, state = self.text(characters), self.first.initial_state(len(x))
        found = []
        for z in self.first.project(x).unbind(1):
            state, phi = self.first(z, text, state)
            found.append((state[0], state[1], phi))
        h, w, phi = (torch.stack(parts, 1) for parts in zip(*found, strict=True))
        return {"y": self._above(h, [x, w]), "phi": phi}

    def _above(self, h: Tensor, seen: list[Tensor]) -> Tensor:
        layers = [h]
        for layer in self.others:
            h, *_ = layer(torch.cat([*seen, h], -1))
            layers.append(h)
        return self.output(torch.cat(layers, -1))

    def initial_state(self, batch: int) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
        """Of the first layer, and (h, c) of each other."""
        zeros = torch.zeros(batch, self.config.hidden_dim)
        first = self.first.initial_state(batch) if self.writes else (zeros, zeros)
        return first, [(zeros, zeros)] * len(self.others)

    def step(self, point: Tensor, text: Tensor | None, state: Any) -> tuple[Tensor, Any, Any]:
        """y hat [batch, 1 + 6 M], phi or None, and the next state, of a point [batch, 3]."""
        x, phi = self.scaled(point), None
        first, others = state
        if self.writes:
            first, phi = self.first(self.first.project(x), text, first)
            seen = [x, first[1]]
        else:
            first = self.first_cell(x, first)
            seen = [x]
        h = first[0]
        layers, after = [h], []
        for cell, before in zip(self.cells, others, strict=True):
            h, c = cell(torch.cat([*seen, h], -1), before)
            layers.append(h)
            after.append((h, c))
        return self.output(torch.cat(layers, -1)), phi, (first, after)


def drawn_point(y: Tensor, draws: Tensor, bias: float, scale: float) -> Tensor:
    """A point [batch, 3] in x-heights, of y hat and four draws for each row."""
    pi, mu_1, mu_2, sigma_1, sigma_2, rho = y[:, 1:].chunk(6, -1)
    reached = torch.softmax(pi * (1.0 + bias), -1).cumsum(-1)
    chosen = (reached < draws[:, :1] * reached[:, -1:]).sum(-1, keepdim=True)
    chosen = chosen.clamp(max=reached.shape[1] - 1)
    rho = rho.clamp(-_MOST_RHO_HAT, _MOST_RHO_HAT)
    size = rho.abs()
    log_room = 2.0 * (math.log(2.0) - size - functional.softplus(-2.0 * size))
    parts = (mu_1, mu_2, sigma_1, sigma_2, torch.tanh(rho), log_room)
    mu_1, mu_2, sigma_1, sigma_2, rho, log_room = (p.gather(1, chosen)[:, 0] for p in parts)
    a, b = draws[:, 2], draws[:, 3]
    x = mu_1 + torch.exp(sigma_1.clamp(min=_LEAST_LOG_SIGMA) - bias) * a
    across = rho * a + torch.exp(0.5 * log_room) * b
    y_ = mu_2 + torch.exp(sigma_2.clamp(min=_LEAST_LOG_SIGMA) - bias) * across
    lifted = (draws[:, 1] < torch.sigmoid(y[:, 0])).to(y.dtype)
    return torch.stack([scale * x, scale * y_, lifted], -1)


def draws_of(seed: int, rows: Sequence[Sequence[int]], bounds: Sequence[int]) -> np.ndarray:
    """The random numbers of each row, [batch, points, 4], as rnnzoo's sampling draws them."""
    draws = np.zeros((len(rows), max(bounds), 4), np.float32)
    for row, (own, bound) in enumerate(zip(rows, bounds, strict=True)):
        even, normal = (np.random.default_rng([kind, seed, *own]) for kind in (0, 1))
        draws[row, :bound, :2] = even.random((bound, 2), np.float32)
        draws[row, :bound, 2:] = normal.standard_normal((bound, 2), np.float32)
    return draws


@torch.inference_mode()
def sample(
    network: Writer,
    characters: np.ndarray | None,
    draws: np.ndarray,
    bounds: Sequence[int],
    bias: float,
) -> list[np.ndarray]:
    """Points [time, 3] of each line, without a prime: `characters` [batch, width], each text with
    at least one 0 behind it; None for the prediction network."""
    drawn, limits = torch.from_numpy(draws).unbind(1), torch.tensor(bounds)
    batch = len(bounds)
    text = end = within = None
    if characters is not None:
        numbers = torch.from_numpy(characters)
        text = network.text(numbers)
        within = (numbers > 0).to(torch.float32)
        end = functional.one_hot((numbers > 0).sum(1), numbers.shape[1]).to(torch.float32)
    point = torch.tensor([[0.0, 0.0, 1.0]]).repeat(batch, 1)
    state = network.initial_state(batch)
    done = torch.zeros(batch, dtype=torch.bool)
    counts = behind = torch.zeros(batch, dtype=torch.long)
    room, points = torch.zeros(batch), []
    for draw in drawn:
        y, phi, state = network.step(point, text, state)
        last, point = point, drawn_point(y, draw, bias, network.config.offset_scale)
        goes_on = ~done
        ended = torch.zeros_like(done)
        if phi is not None:
            past = (phi * end).sum(-1) > (phi * within).amax(-1)
            behind = behind + (goes_on & (past | (behind > 0))).long()
            lifted = (counts > 0) & (last[:, 2] > 0.5)
            goes_back = (point[:, 0] < room) & (behind < _LATE_POINTS)
            ended = goes_on & (behind > 0) & lifted & ~goes_back
            goes_on = goes_on & ~ended
        counts = counts + goes_on.long()
        room = (room - point[:, 0]).clamp(min=0.0)
        done = done | ended | (goes_on & ((counts >= limits) | (behind >= _LAST_POINTS)))
        points.append(point)
        if bool(done.all()):
            break
    found = torch.stack(points, 1).numpy()
    return [row[:count] for row, count in zip(found, counts.tolist(), strict=True)]
