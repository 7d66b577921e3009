"""Prefix beam search over CTC's frames on PyTorch (Hannun et al. 2014, arXiv 1408.2873, algorithm
1), as wide and scored as `rnnzoo.ctc.PrefixBeamSearch` has it, a batch of inputs at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_NEVER = -1e30
_MIXED = 0x51ED2701B5B9  # odd: of hashes that tell what prefixes say


class Tables:
    """A `Combined` scorer's automata as tensors, for one state of each prefix in every one."""

    def __init__(self, scorer: Any) -> None:
        parts = [] if scorer is None else [(own, weight) for own, weight, _ in scorer._scorers]
        self.starts = [own._start for own, _ in parts]
        self.successors = [torch.from_numpy(np.asarray(p._successors, "i8")) for p, _ in parts]
        self.gains = [torch.from_numpy(weight * np.asarray(p._gains, "f8")) for p, weight in parts]
        self.finals = [
            torch.from_numpy(weight * np.asarray(p._finals, "f8")) for p, weight in parts
        ]

    def start(self, batch: int) -> list[Tensor]:
        """The states [batch, 1] before the first symbol."""
        return [torch.full((batch, 1), state) for state in self.starts]

    def scores(self, states: list[Tensor]) -> Tensor | float:
        """Of appending each symbol: [batch, beam, symbols]."""
        return sum(table[own] for table, own in zip(self.gains, states, strict=True))

    def advance(self, states: list[Tensor], symbols: Tensor) -> list[Tensor]:
        """The states after each has got its symbol [batch, beam]; 0 is none."""
        pairs = zip(self.successors, states, strict=True)
        return [torch.where(symbols > 0, table[own, symbols], own) for table, own in pairs]

    def final(self, states: list[Tensor]) -> Tensor | float:
        """Of ending in each state: [batch, beam]."""
        return sum(table[own] for table, own in zip(self.finals, states, strict=True))


@torch.inference_mode()
def prefix_search(
    log_probs: np.ndarray, frames: np.ndarray, tables: Tables, beam_size: int, least: float
) -> list[list[int]]:
    """The best symbols of each input of log-probabilities [batch, frames, symbols], of which
    `frames` [batch] are real. Symbols less likely than `least` in a frame are not tried there, the
    likeliest one aside."""
    every, counts = torch.from_numpy(log_probs).double(), torch.from_numpy(frames).long()
    batch, longest, symbols = every.shape
    blank, same = torch.zeros(batch, 1).double(), torch.full((batch, 1), _NEVER).double()
    added, last = torch.zeros(batch, 1).double(), torch.zeros(batch, 1).long()
    said, before = torch.ones(batch, 1).long(), torch.zeros(batch, 1).long()
    states = tables.start(batch)
    parents, appended = [], []
    for t in range(longest):
        frame, going_on = every[:, t], (t < counts)[:, None]
        tried = frame >= frame[:, 1:].amax(1, keepdim=True).clamp(max=least)
        tried[:, 0] = False
        likely = torch.where(tried, frame, _NEVER)
        whole, beam = torch.logaddexp(blank, same), blank.shape[1]
        stays = torch.logaddexp(blank, same) + frame[:, :1], same + frame.gather(1, last)
        repeats = torch.arange(symbols) == last[:, :, None]
        grown = torch.where(repeats, blank[:, :, None], whole[:, :, None]) + likely[:, None]
        # what grows into a prefix that is there already is counted with it
        is_parent = before[:, :, None] == said[:, None]
        found, parent = is_parent.any(2), is_parent.int().argmax(2)
        place = parent * symbols + last
        joins = grown.flatten(1).gather(1, place)
        same_after = torch.where(found, torch.logaddexp(stays[1], joins), stays[1])
        spare = torch.cat([grown.flatten(1), grown.new_zeros(batch, 1)], 1)
        spare.scatter_(1, torch.where(found, place, beam * symbols), _NEVER)
        grown = spare[:, :-1].reshape(batch, beam, symbols)
        growing = grown + added[:, :, None] + tables.scores(states)
        staying = torch.logaddexp(stays[0], same_after) + added
        totals = torch.cat([staying, growing.flatten(1)], 1)
        best, chosen = totals.topk(min(beam_size, totals.shape[1]))
        is_new = chosen >= beam
        row = torch.where(is_new, (chosen - beam) // symbols, chosen)
        new = torch.where(is_new, (chosen - beam) % symbols, 0)
        # rows of inputs that are over stay as they are
        row = torch.where(going_on, row, torch.arange(row.shape[1]).clamp(max=beam - 1))
        new, is_new = torch.where(going_on, new, 0), is_new & going_on
        never = best <= _NEVER / 2
        own_blank, own_same = stays[0].gather(1, row), same_after.gather(1, row)
        grew = grown.flatten(1).gather(1, row * symbols + new)
        kept = blank.gather(1, row), same.gather(1, row)
        blank = torch.where(going_on, torch.where(is_new | never, _NEVER, own_blank), kept[0])
        own_same = torch.where(is_new, grew, own_same).masked_fill(never, _NEVER)
        same = torch.where(going_on, own_same, kept[1])
        gains = growing.flatten(1).gather(1, row * symbols + new) - grew
        added = added.gather(1, row)
        added = torch.where(is_new, gains, added)
        states = tables.advance([own.gather(1, row) for own in states], new)
        hashes = said.gather(1, row)
        before = torch.where(is_new, hashes, before.gather(1, row))
        said = torch.where(is_new, (hashes ^ (hashes >> 29)) * _MIXED + new, hashes)
        last = torch.where(is_new, new, last.gather(1, row))
        # no prefix is what is never, nor does it grow into any
        said, before = (
            said.masked_fill(never & going_on, 0),
            before.masked_fill(never & going_on, -1),
        )
        parents.append(row)
        appended.append(new)
    return _traced(torch.logaddexp(blank, same) + added + tables.final(states), parents, appended)


def _traced(totals: Tensor, parents: list[Tensor], appended: list[Tensor]) -> list[list[int]]:
    """The symbols of the best prefix of each input; none where nothing may end."""
    best, place = totals.max(1, keepdim=True)
    found = []
    for row, new in zip(reversed(parents), reversed(appended), strict=True):
        found.append(new.gather(1, place))
        place = row.gather(1, place)
    symbols = torch.cat(found[::-1], 1) if found else torch.zeros(len(totals), 0).long()
    ends = (best > _NEVER / 2).flatten().tolist()
    return [
        [n for n in own if n] if e else [] for own, e in zip(symbols.tolist(), ends, strict=True)
    ]
