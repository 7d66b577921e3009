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

    def scores(self, states: list[Tensor], columns: Tensor) -> Tensor | float:
        """Of appending each symbol of `columns`: [batch, beam, columns]."""
        pairs = zip(self.gains, states, strict=True)
        return sum(table[own[:, :, None], columns] for table, own in pairs)

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
    likeliest one aside. Inputs that end are dropped."""
    counts, order = torch.from_numpy(frames).long().sort(descending=True, stable=True)
    every = torch.from_numpy(log_probs)[order].double()
    batch, longest, symbols = every.shape
    blank, same = torch.zeros(batch, 1).double(), torch.full((batch, 1), _NEVER).double()
    added, last = torch.zeros(batch, 1).double(), torch.zeros(batch, 1).long()
    said, before = torch.ones(batch, 1).long(), torch.zeros(batch, 1).long()
    states = tables.start(batch)
    trace, ends = [], torch.zeros(batch, 1).long()
    some = torch.zeros(batch, dtype=torch.bool)
    for t in range(longest + 1):
        going_on = int((counts > t).sum())
        if going_on < len(blank):
            totals = torch.logaddexp(blank, same) + added + tables.final(states)
            best, place = totals[going_on:].max(1, keepdim=True)
            ended = slice(going_on, len(blank))
            ends[ended], some[ended] = place, (best > _NEVER / 2).flatten()
            blank, same, added, last, said, before, *states = (
                own[:going_on] for own in (blank, same, added, last, said, before, *states)
            )
        if not going_on:
            break
        frame, beam = every[:going_on, t], blank.shape[1]
        tried = frame >= frame[:, 1:].amax(1, keepdim=True).clamp(max=least)
        tried[:, 0] = False
        (columns,) = tried.any(0).nonzero(as_tuple=True)
        likely = torch.where(tried, frame, _NEVER)[:, columns]
        whole, width = torch.logaddexp(blank, same), len(columns)
        stays, again = whole + frame[:, :1], same + frame.gather(1, last)
        repeats = columns == last[:, :, None]
        grown = torch.where(repeats, blank[:, :, None], whole[:, :, None]) + likely[:, None]
        grown = grown.flatten(1)
        # what grows into a prefix that is there already is counted with it
        keys, rows = said.sort(1)
        at = torch.searchsorted(keys, before).clamp(max=beam - 1)
        column = torch.full((symbols,), -1)
        column[columns] = torch.arange(width)
        column = column[last]
        found = (keys.gather(1, at) == before) & (column >= 0)
        place = rows.gather(1, at) * width + column.clamp(min=0)
        again = torch.where(found, torch.logaddexp(again, grown.gather(1, place)), again)
        spare = torch.cat([grown, grown.new_zeros(going_on, 1)], 1)
        spare.scatter_(1, torch.where(found, place, beam * width), _NEVER)
        grown = spare[:, :-1]
        gains = (tables.scores(states, columns) + added[:, :, None]).expand(-1, -1, width)
        gains = gains.flatten(1)
        totals = torch.cat([torch.logaddexp(stays, again) + added, grown + gains], 1)
        best, chosen = totals.topk(min(beam_size, totals.shape[1]))
        never, is_new = best <= _NEVER / 2, chosen >= beam
        chosen = torch.where(is_new, chosen - beam, chosen * width)
        row = chosen // width
        new = torch.where(is_new, columns[chosen % width], 0)
        blank = torch.where(is_new | never, _NEVER, stays.gather(1, row))
        same = torch.where(is_new, grown.gather(1, chosen), again.gather(1, row))
        same = same.masked_fill(never, _NEVER)
        added = torch.where(is_new, gains.gather(1, chosen), added.gather(1, row))
        states = tables.advance([own.gather(1, row) for own in states], new)
        hashes = said.gather(1, row)
        before = torch.where(is_new, hashes, before.gather(1, row))
        said = torch.where(is_new, (hashes ^ (hashes >> 29)) * _MIXED + new, hashes)
        last = torch.where(is_new, new, last.gather(1, row))
        # no prefix is what is never, nor does it grow into any
        said, before = said.masked_fill(never, 0), before.masked_fill(never, -1)
        trace.append((row, new))
    found_of = [own if any_ else [] for own, any_ in zip(_traced(trace, ends), some, strict=True)]
    return [found_of[n] for n in order.argsort().tolist()]


def _traced(trace: list[tuple[Tensor, Tensor]], place: Tensor) -> list[list[int]]:
    """The symbols of the prefix that is at `place` [batch, 1] when an input ends."""
    found = torch.zeros(len(place), len(trace), dtype=torch.long)
    for t in range(len(trace) - 1, -1, -1):
        row, new = trace[t]
        going_on = place[: len(row)]
        found[: len(row), t] = new.gather(1, going_on)[:, 0]
        place[: len(row)] = row.gather(1, going_on)
    return [[n for n in own if n] for own in found.tolist()]
