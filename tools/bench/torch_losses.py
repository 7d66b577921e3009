"""The losses that the networks are trained with, on PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST_LOG_SIGMA, _MOST_RHO_HAT = -7.0, 8.0
Out = dict[str, Tensor]


def _localization(out: Out, y: Any, weight: Any, config: Any) -> Tensor:
    loss = functional.nll_loss(torch.log(out["location"]), y["location"].long())
    if config.membrane:
        said, known = y["membrane"][:, 0], weight["membrane"]
        nats = functional.binary_cross_entropy(out["membrane"], said, weight=known, reduction="sum")
        loss = loss + nats / known.sum().clamp(min=1e-6)
    return loss


def _transcript(out: Out, y: Any, weight: Any, config: Any) -> Tensor:
    nats = functional.ctc_loss(
        out["log_probs"].transpose(0, 1),
        y["labels"].long(),
        out["frames"].long(),
        y["label_lengths"].long(),
        reduction="sum",
        zero_infinity=True,
    )
    return nats / y["label_lengths"].clamp(min=1).sum()


def _translation(out: Out, y: Any, weight: Any, config: Any) -> Tensor:
    logits, labels = out["logits"].flatten(0, 1), y.flatten().long()
    return functional.cross_entropy(logits, labels, ignore_index=config.pad_id)


def _ink(out: Out, y: Any, weight: Any, config: Any) -> Tensor:
    lift, rest = out["y"][..., 0], out["y"][..., 1:]
    pi, mu_1, mu_2, sigma_1, sigma_2, rho = rest.chunk(6, -1)
    rho = rho.clamp(-_MOST_RHO_HAT, _MOST_RHO_HAT)
    size, rho = rho.abs(), torch.tanh(rho)
    room = 2.0 * (math.log(2.0) - size - functional.softplus(-2.0 * size))
    sigma_1, sigma_2 = (s.clamp(min=_LEAST_LOG_SIGMA) for s in (sigma_1, sigma_2))
    offsets = y[..., :2] / config.offset_scale
    a = (offsets[..., 0:1] - mu_1) * torch.exp(-sigma_1)
    b = (offsets[..., 1:2] - mu_2) * torch.exp(-sigma_2)
    z = b.square() + (a - rho * b).square() * torch.exp(-room)
    log_gaussian = -(0.5 * z + 0.5 * room + sigma_1 + sigma_2 + math.log(2.0 * math.pi))
    density = torch.logsumexp(torch.log_softmax(pi, -1) + log_gaussian, -1)
    nats = 2.0 * math.log(config.offset_scale) - density
    nats = nats + functional.softplus((1.0 - 2.0 * y[..., 2]) * lift)
    return (nats * weight).sum() / weight.sum()


LOSSES: dict[str, Callable[[Out, Any, Any, Any], Tensor]] = {
    "deeploc": _localization,
    "deepspeech": _transcript,
    "handwriting": _ink,
    "handwriting_prediction": _ink,
    "handwriting_reader": _transcript,
    "seq2seq": _translation,
}


def stepper(
    family: str, network: nn.Module, x: Any, y: Any, weight: Any, learning_rate: float, clip: float
) -> Callable[[], float]:
    """A step of Adam with gradients clipped by their norm: the loss before it."""
    given, labels, weights = (_tensors(part) for part in (x, y, weight))
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, eps=1e-7)
    network.train()

    def step() -> float:
        optimizer.zero_grad()
        loss = LOSSES[family](network(**given), labels, weights, network.config)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        return loss.item()

    return step


def _tensors(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: torch.from_numpy(value) for name, value in part.items()}
    return torch.from_numpy(part)
