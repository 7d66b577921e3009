"""CTC against the enumeration of all paths."""

import itertools
from collections import defaultdict

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.ctc import PrefixBeamSearch, align, ctc_loss, greedy
from rnnzoo.errors import InputError


def frames(count, symbols, seed):
    z = np.random.default_rng(seed).normal(0, 1.5, (count, symbols))
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def said(path):
    return tuple(s for n, s in enumerate(path) if s and (n == 0 or path[n - 1] != s))


def all_labelings(log_probs):
    """The probability of every string of symbols, by going through all paths."""
    found = defaultdict(float)
    count, symbols = log_probs.shape
    for path in itertools.product(range(symbols), repeat=count):
        found[said(path)] += float(np.exp(log_probs[np.arange(count), path].sum()))
    return found


class Bigrams:
    """A scorer whose state is the last symbol."""

    def __init__(self, table, final):
        self.table, self.end = table, final

    def start(self):
        return np.zeros((1, 1), np.int64)

    def scores(self, states):
        return self.table[states[:, 0]]

    def advance(self, states, symbols):
        return np.asarray(symbols)[:, None]

    def final(self, states):
        return self.end[states[:, 0]]


def test_loss_is_the_sum_over_paths():
    log_probs = np.stack([frames(5, 3, 0), frames(5, 3, 1)])
    lengths = [5, 3]
    for labels in itertools.chain.from_iterable(
        itertools.product([1, 2], repeat=n) for n in range(4)
    ):
        padded = [*labels, *[2] * (3 - len(labels))]
        found = ctc_loss(log_probs, lengths, [padded] * 2, [len(labels)] * 2).numpy()
        for one, frame, length in zip(found, log_probs, lengths, strict=True):
            p = all_labelings(frame[:length])[labels]
            np.testing.assert_allclose(one, -np.log(p) if p else 0, atol=1e-5)


def test_logits_give_the_same_loss_and_the_gradient_is_its_slope():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2, 6, 4)).astype("f4")
    labels, sizes, lengths = [[1, 1, 3], [2, 0, 0]], [3, 1], [6, 4]
    log_probs = z - np.log(np.exp(z).sum(-1, keepdims=True))
    found = ctc_loss(z, lengths, labels, sizes)
    np.testing.assert_allclose(found, ctc_loss(log_probs, lengths, labels, sizes), rtol=1e-5)
    x = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(ctc_loss(tf.nn.log_softmax(x), lengths, labels, sizes))
    slope = tape.gradient(loss, x).numpy()
    for place in [(0, 0, 0), (0, 3, 1), (1, 2, 2), (1, 5, 1)]:
        step = np.zeros_like(z)
        step[place] = 1e-2
        high, low = (ctc_loss(z + s, lengths, labels, sizes).numpy().sum() for s in (step, -step))
        np.testing.assert_allclose(slope[place], (high - low) / 2e-2, atol=2e-3)
    assert not slope[1, 4:].any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(dtype):
    z = tf.cast(frames(50, 4, 0)[None], dtype)
    wide = ctc_loss(tf.cast(z, "float32"), [50], [[1, 2, 3]], [3])
    found = ctc_loss(z, [50], [[1, 2, 3]], [3])
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, wide)


def test_labels_that_do_not_fit_weigh_nothing():
    x = tf.constant(frames(3, 3, 0)[None].astype("f4"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = ctc_loss(x, [3], [[1, 1, 1]], [3])
    assert loss.numpy().tolist() == [0]
    silent = ctc_loss(x, [3], np.zeros((1, 0), int), [0]).numpy()
    np.testing.assert_allclose(silent, -x.numpy()[0, :, 0].sum(), rtol=1e-5)
    assert ctc_loss(x, [0], [[1, 1, 1]], [2]).numpy().tolist() == [0]
    assert not tape.gradient(loss, x).numpy().any()


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_enumeration_finds(seed):
    log_probs = frames(6, 3, seed)
    truth = all_labelings(log_probs)
    search = PrefixBeamSearch(3, beam_size=1000)
    search.feed(log_probs)
    found = search.finish(len(truth) + 5)
    assert {h.symbols for h in found} == set(truth)
    for h in found:
        np.testing.assert_allclose(np.exp(h.acoustic), truth[h.symbols], rtol=1e-9)
        assert h.score == h.acoustic
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_scorer_and_bonuses_are_added_to_every_string(seed):
    rng = np.random.default_rng(seed)
    log_probs, truth = frames(5, 4, seed), all_labelings(frames(5, 4, seed))
    table, end = rng.normal(size=(4, 4)), rng.normal(size=4)
    table[2, 1] = -np.inf  # 1 after 2 is forbidden
    end[3] = -np.inf  # and so is ending in 3
    bonus = np.array([0.0, 0.0, 0.7, -0.2])
    search = PrefixBeamSearch(4, 10_000, Bigrams(table, end), lm_weight=0.6, bonus=bonus)
    search.feed(log_probs)
    expected = {}
    for symbols, p in truth.items():
        steps = zip((0, *symbols), symbols, strict=False)
        language = sum(table[a, b] for a, b in steps) + end[symbols[-1] if symbols else 0]
        if language > -np.inf:
            expected[symbols] = np.log(p) + 0.6 * language + bonus[list(symbols)].sum()
    found = {h.symbols: h.score for h in search.finish(10_000)}
    assert found.keys() == expected.keys()
    for symbols, score in expected.items():
        np.testing.assert_allclose(found[symbols], score, rtol=1e-9)


def test_pieces_of_a_stream_change_nothing():
    log_probs = frames(40, 5, 3)
    table = np.random.default_rng(0).normal(size=(5, 5))

    def run(parts):
        search = PrefixBeamSearch(5, 8, Bigrams(table, table[0]), 0.3, min_symbol_log_prob=-3.0)
        for part in parts:
            search.feed(part)
        return search.finish(5)

    whole = run([log_probs])

    @settings(max_examples=20, deadline=None, database=None, derandomize=True)
    @given(st.lists(st.integers(0, 40), max_size=5))
    def check(cuts):
        assert run(np.split(log_probs, sorted(cuts))) == whole

    check()


def test_forgetting_lost_prefixes_changes_nothing(monkeypatch):
    log_probs = frames(300, 6, 0)
    search = PrefixBeamSearch(6, 4)
    search.feed(log_probs)
    monkeypatch.setattr("rnnzoo.ctc.beam_search._MANY_NODES", 50)
    pruned = PrefixBeamSearch(6, 4)
    for part in np.split(log_probs, 30):
        pruned.feed(part)
    assert pruned.finish(4) == search.finish(4)
    assert len(pruned._parent) < len(search._parent)


def test_a_search_starts_anew():
    search = PrefixBeamSearch(3, 5)
    search.feed(frames(5, 3, 0))
    first = search.finish(3)
    search.reset()
    assert search.best()[0].symbols == ()
    search.feed(frames(5, 3, 0))
    assert search.finish(3) == first


def test_greedy_is_the_likeliest_path():
    log_probs = frames(200, 4, 0)
    found = greedy(log_probs)
    assert found.symbols == said(log_probs.argmax(1))
    assert found.acoustic == pytest.approx(log_probs.max(1).sum())
    assert greedy(np.zeros((0, 4))).symbols == ()


@pytest.mark.parametrize("symbols", [(), (1,), (1, 1), (2, 1), (1, 2, 1), (2, 2, 1)])
def test_alignment_is_the_likeliest_of_all_paths(symbols):
    for seed in range(5):
        log_probs = frames(6, 3, seed)
        first, last = align(log_probs, symbols)
        path = np.zeros(6, int)
        for symbol, begin, end in zip(symbols, first, last, strict=True):
            path[begin : end + 1] = symbol
        assert said(path) == symbols
        score = log_probs[np.arange(6), path].sum()
        best = max(
            log_probs[np.arange(6), p].sum()
            for p in itertools.product(range(3), repeat=6)
            if said(p) == symbols
        )
        assert score == pytest.approx(best)


def test_what_does_not_fit_is_not_aligned():
    with pytest.raises(InputError, match="3 symbols do not fit into 4 frames"):
        align(frames(4, 3, 0), [1, 1, 1])
