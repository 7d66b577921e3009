"""GNMT's beam search on PyTorch (Wu et al. 2016, section 7), as wide and scored as
`rnnzoo.seq2seq.decode` has it: `beam_size` alive hypotheses, the best finished one, batched."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.torch_networks import Translator

_NEVER = -1e9


def _penalty(length: Tensor | float, alpha: float) -> Tensor | float:
    return ((5.0 + length) / 6.0) ** alpha


@torch.inference_mode()
def beam_search(
    network: Translator,
    source: np.ndarray,
    limits: np.ndarray,
    beam_size: int,
    length_penalty: float,
    bos_id: int,
    eos_id: int,
) -> dict[str, np.ndarray]:
    """The best hypothesis of source tokens [batch, source]; a target has at most `limits` [batch]
    tokens. A beam of 1 is greedy search.

    Returns
    -------
    dict
        tokens : [batch, target], EOS included, padded; scores : [batch]; with attention
        alignment : [batch, target, source].
    """
    config = network.config
    bounds, start = torch.from_numpy(limits), network.encode(torch.from_numpy(source).long())
    banned = torch.zeros(config.vocab_size)
    banned[[config.pad_id, bos_id]] = _NEVER
    if beam_size == 1:
        found, scores = _greedy(network, start, bounds, length_penalty, bos_id, eos_id, banned)
        return _result(network, start, found, scores)
    batch, beam, vocab = len(source), beam_size, config.vocab_size
    state = [tuple(p.repeat_interleave(beam, 0) for p in pair) for pair in start["state"]]
    only_eos = torch.full((vocab,), _NEVER)
    only_eos[eos_id] = 0.0
    no_eos = torch.zeros(vocab)
    no_eos[eos_id] = _NEVER
    best_penalty = _penalty(bounds.float(), length_penalty)[:, None]
    rows = torch.arange(batch)[:, None]

    tokens = torch.full((batch, beam, 1), bos_id)
    totals = torch.full((batch, beam), _NEVER)
    totals[:, 0] = 0.0
    found = torch.full((batch, 1), bos_id)
    scores = torch.full((batch,), _NEVER)
    for step in range(int(bounds.max())):
        logits, _, state = network.step(tokens[:, :, -1], state, start)
        log_probs = torch.log_softmax(logits + banned, -1)
        at_limit = (step + 1 >= bounds).to(torch.float32)
        reached = totals[:, :, None] + log_probs + at_limit[:, None, None] * only_eos

        ended = reached[:, :, eos_id]
        score = ended / _penalty(step + 1.0, length_penalty)
        best, place = torch.where(ended > _NEVER / 2, score, _NEVER).max(1)
        better = best > scores
        scores = torch.where(better, best, scores)
        history = torch.cat([tokens[rows[:, 0], place], torch.full((batch, 1), eos_id)], 1)
        padded = torch.cat([found, torch.full((batch, 1), config.pad_id)], 1)
        found = torch.where(better[:, None], history, padded)

        totals, flat = (reached + no_eos).flatten(1).topk(beam)
        totals = totals.clamp(min=_NEVER)
        parent, token = flat // vocab, flat % vocab
        tokens = torch.cat([tokens[rows, parent], token[:, :, None]], 2)
        index = (parent + rows * beam).flatten()
        state = [tuple(part[index] for part in pair) for pair in state]
        beaten = (totals / best_penalty).amax(1) <= scores
        if bool((beaten | (step + 1 >= bounds)).all()):
            break
    return _result(network, start, found, scores)


def _greedy(
    network: Translator,
    start: dict[str, Any],
    bounds: Tensor,
    length_penalty: float,
    bos_id: int,
    eos_id: int,
    banned: Tensor,
) -> tuple[Tensor, Tensor]:
    """The likeliest piece of each step: tokens [batch, 1 + target] from BOS on, and scores."""
    pad_id, batch = network.config.pad_id, len(bounds)
    last, state = torch.full((batch, 1), bos_id), start["state"]
    total, done = torch.zeros(batch), torch.zeros(batch, dtype=torch.bool)
    written = [last[:, 0]]
    for step in range(int(bounds.max())):
        logits, _, state = network.step(last, state, start)
        log_probs = torch.log_softmax(logits[:, 0] + banned, -1)
        chosen = torch.where(step + 1 >= bounds, eos_id, log_probs.argmax(-1))
        total = total + log_probs.gather(1, chosen[:, None])[:, 0].masked_fill(done, 0.0)
        chosen = chosen.masked_fill(done, pad_id)
        written.append(chosen)
        done = done | (chosen == eos_id)
        last = chosen[:, None]
        if bool(done.all()):
            break
    tokens = torch.stack(written, 1)
    lengths = (tokens[:, 1:] != pad_id).sum(1)
    return tokens, total / _penalty(lengths, length_penalty)


def _result(
    network: Translator, start: dict[str, Any], found: Tensor, scores: Tensor
) -> dict[str, np.ndarray]:
    """As `beam_search` gives it, of tokens from BOS on; the alignment by teacher forcing."""
    out = {"tokens": found[:, 1:].numpy(), "scores": scores.numpy()}
    if network.attention is not None:
        _, alignment = network.teacher_forcing(found[:, :-1], start)
        out["alignment"] = (alignment * (found[:, 1:] != network.config.pad_id)[..., None]).numpy()
    return out
