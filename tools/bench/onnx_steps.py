"""Exported steps in onnxruntime as the loops on PyTorch take a network, and as a stream of sound.

What a step needs of the one before goes from its outputs to its inputs, as arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.sessions import Tensors

Run = Callable[[Tensors], Tensors]


class TranslatorSteps:
    """An exported encoder and decoder step as `beam_search` takes a network.

    The step takes a row for each hypothesis, so that annotations are copied for every beam.
    """

    def __init__(self, config: dict[str, Any], encoder: Any, step: Any) -> None:
        self.config = SimpleNamespace(**config)
        self._encoder, self._step = encoder, step
        self.attention = None  # no alignment: the exported step has it, a search does not need it

    def encode(self, source: Tensor) -> dict[str, Any]:
        """What a search needs of source tokens [batch, source]."""
        tokens = source.numpy().astype(np.int32)
        out = self._encoder({"source_tokens": tokens})
        layers = range(self.config.num_decoder_layers)
        state = [tuple(torch.from_numpy(out[f"{part}_{n}"]) for part in "hc") for n in layers]
        fixed = {name: out[name] for name in ("annotations", "keys") if name in out}
        return {"fixed": {**fixed, "source_tokens": tokens}, "state": state, "copies": {}}

    def step(
        self, tokens: Tensor, state: list[tuple[Tensor, Tensor]], start: dict[str, Any]
    ) -> tuple[Tensor, None, list[tuple[Tensor, Tensor]]]:
        """As `Translator.step`."""
        beam = tokens.shape[1]
        if beam not in start["copies"]:
            start["copies"][beam] = {n: np.repeat(v, beam, 0) for n, v in start["fixed"].items()}
        given = {"tokens": tokens.flatten().numpy().astype(np.int32), **start["copies"][beam]}
        for n, pair in enumerate(state):
            given |= {f"{p}_{n}": v.numpy() for p, v in zip("hc", pair, strict=True)}
        out = self._step(given)
        after = [
            tuple(torch.from_numpy(out[f"next_{part}_{n}"]) for part in "hc")
            for n in range(len(state))
        ]
        return torch.from_numpy(out["logits"]).reshape(*tokens.shape, -1), None, after


class PenSteps:
    """An exported step of a pen as `torch_writer.sample` takes a network; `inputs` are those of its
    graph."""

    def __init__(self, config: dict[str, Any], inputs: dict[str, Any], step: Run) -> None:
        self.config = SimpleNamespace(**config)
        self._step = step
        given = ("point", "characters")
        self._state = {name: axes for name, axes in inputs.items() if name not in given}

    def text(self, characters: Tensor) -> np.ndarray:
        """The text as the step takes it."""
        return characters.numpy().astype(np.int32)

    def initial_state(self, batch: int) -> Tensors:
        """That before the first point."""
        return {
            name: np.zeros((batch, *axes.shape[1:]), axes.dtype)
            for name, axes in self._state.items()
        }

    def step(
        self, point: Tensor, text: np.ndarray | None, state: Tensors
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """As `torch_writer.Writer.step`."""
        out = self._step({"point": point.numpy(), "characters": text, **state})
        phi = None if text is None else torch.from_numpy(out["phi"])
        after = {name: out[f"next_{name}"] for name in state}
        return torch.from_numpy(out["y"]), phi, after


class SoundSteps:
    """Samples to frames of log-probabilities, piece by piece, by an exported start and step.

    Pieces are cut to whole hops; what is left waits for the next one.
    """

    def __init__(self, config: Any, delay: int, start: Run, step: Run) -> None:
        self._opening = config.frame_length - config.frame_step
        self._hop, self._delay = config.frame_step * config.frame_stride, delay
        self._start, self._step = start, step
        self._state: Tensors | None = None
        self._waiting = np.zeros(0, np.float32)
        self._nothing = np.zeros((0, config.num_symbols), np.float32)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The frames [frames, symbols] that are known by now."""
        self._waiting = np.concatenate([self._waiting, samples])
        if self._state is None:
            if len(self._waiting) < self._opening:
                return self._nothing
            self._state = self._start({"samples": self._waiting[None, : self._opening]})
            self._waiting = self._waiting[self._opening :]
        count = len(self._waiting) // self._hop * self._hop
        now, self._waiting = self._waiting[:count], self._waiting[count:]
        return self._stepped(now, count) if count else self._nothing

    def finish(self) -> np.ndarray:
        """The frames that were still waiting for sound to come."""
        if self._state is None:
            return self._nothing
        count = len(self._waiting)
        hops = -(-count // self._hop) + self._delay
        return self._stepped(np.pad(self._waiting, (0, hops * self._hop - count)), count)

    def _stepped(self, samples: np.ndarray, count: int) -> np.ndarray:
        given = {"samples": samples[None], "lengths": np.array([count], np.int32)}
        out = self._step({**given, **(self._state or {})})
        self._state = {name: out[f"next_{name}"] for name in self._state or {}}
        return out["log_probs"][0][out["real"][0]]
