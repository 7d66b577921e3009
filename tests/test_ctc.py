"""CTC against the enumeration of all paths."""

import itertools
import math
import zlib
from collections import Counter, defaultdict

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.ctc import (
    Combined,
    Grammar,
    HotWords,
    NGram,
    PrefixBeamSearch,
    align,
    ctc_loss,
    greedy,
    hypotheses,
)
from rnnzoo.errors import ConfigError, InputError


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


@pytest.mark.parametrize("gap", [100.0, 1e4, np.inf])
def test_sure_and_wrong_has_a_finite_loss_and_its_true_gradient(gap):
    x = tf.constant([[[0.0, -gap, -gap]] * 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = ctc_loss(x, [2], [[1]], [1])
    np.testing.assert_allclose(loss, [80 - np.log(2)], rtol=1e-5)  # "1 -" and "- 1"
    np.testing.assert_allclose(tape.gradient(loss, x), [[[0.5, -0.5, 0]] * 2], atol=1e-5)


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
    assert pruned._num_nodes < search._num_nodes


def plain_search(log_probs, beam_size, scorer, weight, least):
    """Prefix beam search prefix by prefix: what each that is kept scores at the end."""
    none = np.zeros((1, 0), int)
    beam = {(): (0.0, -np.inf, 0.0, none if scorer is None else scorer.start())}
    for frame in log_probs:
        tried = [k for k in range(1, len(frame)) if frame[k] >= min(least, frame[1:].max())]
        found = {}

        def add(prefix, added, state, blank=-np.inf, same=-np.inf, found=found):
            before = found.get(prefix, (-np.inf, -np.inf))[:2]
            found[prefix] = (*np.logaddexp(before, (blank, same)), added, state)

        for prefix, (blank, same, added, state) in beam.items():
            whole = np.logaddexp(blank, same)
            add(
                prefix, added, state, whole + frame[0], same + frame[prefix[-1]] if prefix else same
            )
            for k in tried:
                likely = (blank if prefix[-1:] == (k,) else whole) + frame[k]
                if (*prefix, k) in beam:
                    add((*prefix, k), *beam[*prefix, k][2:], same=likely)
                elif scorer is None:
                    add((*prefix, k), 0.0, state, same=likely)
                else:
                    gain = scorer.scores(state)[0, k]
                    gain = weight * gain if gain > -np.inf else gain
                    there = scorer.advance(state, np.array([k]))
                    add((*prefix, k), added + gain, there, same=likely)
        totals = {p: np.logaddexp(b, s) + added for p, (b, s, added, _) in found.items()}
        kept = sorted((p for p in found if totals[p] > -np.inf), key=lambda p: -totals[p])
        beam = {p: found[p] for p in kept[:beam_size]}
    return {p: np.logaddexp(b, s) + added for p, (b, s, added, _) in beam.items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam_size", [1, 3, 40])
@pytest.mark.parametrize(("weight", "least"), [(0.7, -np.inf), (0.0, -np.inf), (1.0, -1.5)])
def test_all_prefixes_at_once_are_those_that_go_one_by_one(seed, beam_size, weight, least):
    log_probs = frames(14, 4, seed)
    log_probs[np.random.default_rng(seed).random(log_probs.shape) < 0.15] = -np.inf
    log_probs[:, 0] = np.maximum(log_probs[:, 0], -9.0)
    grammar = Grammar(["abc", "aab", "caab", "cab"], "abc")
    for scorer in (None, grammar, Combined([(grammar, 0.5), (HotWords({"ab": 2.0}, "abc"), 1.0)])):
        expected = plain_search(log_probs, beam_size, scorer, weight, least)
        search = PrefixBeamSearch(4, beam_size, scorer, weight, min_symbol_log_prob=least)
        search.feed(log_probs)
        found = {one.symbols: one.score for one in search.best(beam_size)}
        assert found == pytest.approx(expected)
        shared = [len(set(symbols)) == 1 for symbols in zip(*expected, strict=False)]
        assert search.agreed() == [*shared, False].index(False)


@pytest.mark.parametrize("beam_size", [1, 3, 40])
@pytest.mark.parametrize("weight", [0.7, 0.0])
def test_several_inputs_at_once_are_searched_as_each_alone(beam_size, weight):
    inputs = [frames(length, 4, seed) for seed, length in enumerate([14, 1, 0, 30, 14, 23])]
    inputs[3][5:25] = np.log([0.997, 0.001, 0.001, 0.001])  # hardly anything may grow there
    inputs[4][::2] = inputs[4][1]  # prefixes that say the same by ways as likely
    inputs[5][:, 1:] = -np.inf
    inputs[0][3] = -np.inf  # nothing outlives this frame
    grammar = Grammar(["abc", "aab", "caab", "cab"], "abc")
    for scorer in (None, grammar, Combined([(grammar, 0.5), (HotWords({"ab": 2.0}, "abc"), 1.0)])):
        for least in (-np.inf, -1.5):
            search = PrefixBeamSearch(4, beam_size, scorer, weight, min_symbol_log_prob=least)
            found = search.search(inputs, 5)
            assert len(found) == len(inputs)
            for log_probs, own in zip(inputs, found, strict=True):
                search.reset()
                search.feed(log_probs)
                assert own == search.finish(5)
    assert search.search([], 5) == []


def test_of_equal_prefixes_the_first_are_kept():
    even = np.full((4, 12), np.log(1 / 12))
    search = PrefixBeamSearch(12, 50)
    inputs = [even, frames(9, 12, 0), even[:3], even]
    found = search.search(inputs, 50)
    for log_probs, own in zip(inputs, found, strict=True):
        search.reset()
        search.feed(log_probs)
        assert own == search.finish(50)
    assert len({one.score for one in found[0]}) < 5  # most of them are as likely as others


def test_hypotheses_are_those_of_their_inputs():
    inputs = [frames(length, 4, seed) for seed, length in enumerate([9, 30, 0, 5] * 9)]
    search = PrefixBeamSearch(4, 5)
    found = hypotheses(inputs, search, 2)
    for log_probs, own in zip(inputs, found, strict=True):
        search.reset()
        search.feed(log_probs)
        assert own == search.finish(2)
    assert hypotheses(inputs, None, 2) == [[greedy(log_probs)] for log_probs in inputs]
    assert hypotheses([], search, 2) == []


@pytest.mark.parametrize("beam_size", [1, 3, 50])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_settled_may_be_said_again(beam_size, seed):
    """The best prefix itself is settled, and goes on."""
    log_probs = frames(30, 3, seed)
    whole, pieces = (PrefixBeamSearch(3, beam_size) for _ in range(2))
    settled = ()
    for number, frame in enumerate(log_probs):
        whole.feed(frame[None])
        pieces.feed(frame[None])
        if number in (4, 12):
            begun = settled + pieces.best()[0].symbols
            settled += pieces.commit(len(pieces.best()[0].symbols))
            assert settled == begun
            # of the other as well, those that begin otherwise
            nodes = [
                n
                for n, node in enumerate(whole._nodes.tolist())
                if whole._symbols(node)[: len(settled)] == settled
            ]
            whole._keep(np.array(nodes))
    found = [(settled + one.symbols, one.score) for one in pieces.finish(9)]
    expected = [(one.symbols, one.score) for one in whole.finish(9)]
    assert [symbols for symbols, _ in found] == [symbols for symbols, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])


def test_a_letter_that_was_settled_is_not_said_twice():
    search = PrefixBeamSearch(2, beam_size=1)
    search.feed(np.log([[0.02, 0.98], [0.98, 0.02]]))
    assert search.commit(1) == (1,)
    search.feed(np.log([[0.02, 0.98]]))
    assert search.best()[0].symbols == (1,)


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


# --- language ------------------------------------------------------------------------------

LETTERS = " abc"
TEXT = """\
a cab  a bab a cab
bac a ba cab
bb a cc ab
caca ab aab a
abba abba ab a cab
cab a cab a ba b
a a b c ab ac ca cab abc
c c ca ab""".splitlines()


def scored(scorer, text, alphabet=LETTERS):
    """What a scorer gives a text in all, its end included."""
    state, total = scorer.start(), 0.0
    for character in text:
        symbol = alphabet.index(character) + 1
        total += float(scorer.scores(state)[0, symbol])
        state = scorer.advance(state, np.array([symbol]))
    return total + float(scorer.final(state)[0])


def states_of(scorer, num_symbols):
    """All states [states, width] that symbols lead to."""
    queue = [tuple(scorer.start()[0].tolist())]
    found = set(queue)
    for state in queue:
        allowed = np.flatnonzero(scorer.scores(np.array([state]))[0, 1:num_symbols] > -np.inf) + 1
        before = np.array([state] * len(allowed), int).reshape(-1, len(state))
        for after in scorer.advance(before, allowed).tolist():
            if tuple(after) not in found:
                found.add(tuple(after))
                queue.append(tuple(after))
    return np.array(queue)


class SlowNGram:
    """Modified Kneser-Ney as Chen and Goodman (1998) write it down, with strings and dicts."""

    def __init__(self, lines, alphabet, order, min_counts):
        self.ends, self.order = alphabet + ">", order
        seen = Counter()
        for line in lines:
            marked = f"<{line}>"
            for n in range(1, order + 1):
                seen.update(marked[i : i + n] for i in range(len(marked) - n + 1))
        del seen["<"]
        before = defaultdict(set)
        for gram in seen:
            before[gram[1:]].add(gram[0])
        self.counts = {
            gram: seen[gram] if len(gram) == order or gram[0] == "<" else len(before[gram])
            for gram in seen
        }
        self.kept = {gram for gram in seen if seen[gram] >= min_counts[len(gram) - 1]}
        self.discounts, self.estimated = {}, set()
        for n in range(1, order + 1):
            times = Counter(count for gram, count in self.counts.items() if len(gram) == n)
            self.discounts[n] = (0.5, 1.0, 1.5)
            if all(times[i] for i in (1, 2, 3, 4)):
                y = times[1] / (times[1] + 2 * times[2])
                found = tuple(i - (i + 1) * y * times[i + 1] / times[i] for i in (1, 2, 3))
                if min(found) > 0:
                    self.discounts[n] = found
                    self.estimated.add(n)

    def p(self, end, history):
        """p(end | history), history from the begin of the line on."""
        return self._p(end, history[-(self.order - 1) :] if self.order > 1 else "")

    def _p(self, end, context):
        total = sum(self.counts.get(context + other, 0) for other in self.ends)
        shorter = self._p(end, context[1:]) if context else 1 / len(self.ends)
        if not total:
            return shorter
        shares = {
            other: (count - self.discounts[len(context) + 1][min(count, 3) - 1]) / total
            for other in self.ends
            if context + other in self.kept
            for count in [self.counts[context + other]]
        }
        return shares.get(end, 0) + (1 - sum(shares.values())) * shorter


@pytest.mark.parametrize(
    ("order", "min_counts"),
    [(2, (1,)), (3, (1,)), (4, (1,)), (4, (1, 1, 2)), (5, (1, 2, 3, 3, 4)), (3, (1, 99))],
)
def test_ngrams_are_those_of_chen_and_goodman(order, min_counts):
    model = NGram.train(TEXT, LETTERS, order, min_counts)
    slow = SlowNGram(TEXT, LETTERS, order, [*min_counts, *[min_counts[-1]] * order])
    if order == 4:  # discounts of both kinds are at work
        assert 0 < len(slow.estimated) < order
    total = count = 0
    lines = [*TEXT[:3], "cbcbcb", "  ", ""]
    for line in lines:
        state = model.start()
        for n in range(len(line) + 1):
            expected = [slow.p(end, "<" + line[:n]) for end in ">" + LETTERS]
            np.testing.assert_allclose(np.exp(model.scores(state)[0]), expected, rtol=1e-5)
            np.testing.assert_allclose(np.exp(model.final(state)), expected[0], rtol=1e-5)
            symbol = (LETTERS + ">").index((line + ">")[n]) + 1
            total, count = total + math.log(expected[symbol % len(expected)]), count + 1
            if n < len(line):
                state = model.advance(state, np.array([symbol]))
    assert model.perplexity(lines) == pytest.approx(math.exp(-total / count), rel=1e-5)


@pytest.mark.parametrize("min_counts", [(1,), (1, 1, 2, 3), (1, 99)])
def test_symbols_and_end_sum_to_one_in_every_state_and_bytes_keep_the_model(min_counts):
    model = NGram.train(TEXT, LETTERS, 5, min_counts)
    again = NGram.from_bytes(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    assert (again.alphabet, again.order) == (LETTERS, model.order)
    for one in (model, again):
        states = states_of(one, 5)
        assert min_counts != (1,) or len(states) > 50
        sums = np.exp(one.scores(states)[:, 1:]).sum(1) + np.exp(one.final(states))
        np.testing.assert_allclose(sums, 1, rtol=1e-5)
    for line in [*TEXT, "ccbbaa"]:
        assert scored(again, line) == pytest.approx(scored(model, line), rel=0.02)


def test_damaged_models_are_refused():
    content = NGram.train(TEXT, LETTERS, 3).to_bytes()
    for place in range(len(content)):
        with pytest.raises(ConfigError, match="n-gram model"):
            NGram.from_bytes(content[:place])
        changed = bytearray(content)
        changed[place] ^= 1 + place % 255
        with pytest.raises(ConfigError, match="n-gram model"):
            NGram.from_bytes(bytes(changed))


@pytest.mark.parametrize(
    ("place", "byte", "message"),
    [
        (12, 9, "version 9"),
        (13, 0, "order 0"),
        (13, 2, "bytes too many"),
        (13, 9, "cut off in its children"),
        (14, 255, "codec|cut off"),
        (17, ord(" "), "each once"),  # its third letter becomes its first
        (24, 1, "the tree is broken after 0 symbols"),  # one of five unigrams
        (30, 7, "symbol 7 is not in the alphabet"),  # the last of them
    ],
)
def test_models_that_lie_are_refused(place, byte, message):
    content = bytearray(NGram.train(TEXT, LETTERS, 3).to_bytes()[:-4])
    content[place] = byte
    content += zlib.crc32(content).to_bytes(4, "little")
    with pytest.raises(ConfigError, match=message):
        NGram.from_bytes(bytes(content))


def test_short_and_odd_texts_are_learned_too():
    model = NGram.train(["a", "", "b"], "abz", order=6)
    assert model.order == 3  # < a >
    assert np.exp(model.scores(model.start())[0, 1:]).argmax() != 2
    assert model.perplexity(["a"]) < model.perplexity(["z"]) < np.inf


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.floats(-5, 5), max_size=5),
    st.text(LETTERS, max_size=14),
    st.sampled_from([0.0, 0.75]),
)
def test_hot_words_leave_their_boosts_to_whole_words_alone(boosts, text, bonus):
    scorer = HotWords(boosts, LETTERS, word_bonus=bonus)
    expected = sum(boosts.get(word, 0) + bonus for word in text.split())
    assert scored(scorer, text) == pytest.approx(expected, abs=1e-9)


def test_a_hot_word_decides_between_likes():
    """The network all but hears "ab b"; who expects "ac" is given it, "acb" is no help."""
    sure = np.full((6, 5), -9.0)
    sure[range(6), [2, 3, 0, 1, 3, 0]] = 0
    sure[1, 4] = -1
    sure -= np.log(np.exp(sure).sum(1, keepdims=True))

    def heard(boosts):
        search = PrefixBeamSearch(5, 20, HotWords(boosts, LETTERS))
        search.feed(sure)
        return "".join(LETTERS[n - 1] for n in search.finish()[0].symbols)

    assert heard({}) == heard({"acb": 5.0}) == heard({"c": 5.0}) == "ab b"
    assert heard({"ac": 3.0}) == "ac b"


def test_hot_words_may_be_parted_by_more_than_spaces():
    assert scored(HotWords({"a": 2.0}, "a., ", separators=" .,"), "a, a.", "a., ") == 4


def accepted(grammar, alphabet=LETTERS):
    """All sentences that a grammar lets through, with their scores."""
    found, queue = {}, [("", grammar.start(), 0.0)]
    for text, state, score in queue:
        if grammar.final(state)[0] > -np.inf:
            found[text] = score + float(grammar.final(state)[0])
        scores = grammar.scores(state)[0]
        for n in np.flatnonzero(scores > -np.inf):
            after = grammar.advance(state, np.array([n]))
            queue.append((text + alphabet[n - 1], after, score + float(scores[n])))
    return found


def test_a_grammar_has_its_sentences_and_no_others():
    slots = {"x": ["a", "ab", "abc", ""], "y": ["c", "bc"]}
    for patterns, weights in (
        (["{x}{y}"], None),
        (["{x} {x}b", "ab", "a{y} "], None),
        (["{x}{y}", "abc", "{y}{y}"], [-1.0, 2.5, 0.0]),
        (["", "a"], [1.0, 2.0]),
    ):
        expected = {}
        for pattern, weight in zip(patterns, weights or [0.0] * len(patterns), strict=True):
            names = [piece[0] for piece in pattern.split("{")[1:]]
            for fillings in itertools.product(*(slots[name] for name in names)):
                text = pattern
                for name, filling in zip(names, fillings, strict=True):
                    text = text.replace(f"{{{name}}}", filling, 1)
                expected[text] = max(weight, expected.get(text, -np.inf))
        found = accepted(Grammar(patterns, LETTERS, slots, weights))
        assert found == pytest.approx(expected)


def test_a_grammar_tells_what_its_slots_were_filled_with():
    slots = {"_one": ["a", "b"], "x": ["c", "c c", ""], "y": ["c", "c."]}
    grammar = Grammar(["{_one} {x}{y}", "a{x}a{x}", "{y}"], " abc.", slots)
    for text, found in (
        ("a c", {"y": "c"}),
        ("b c cc.", {"x": "c c", "y": "c."}),
        ("acac c", {"x": "c", "x_2": "c c"}),
        ("aac", {"x_2": "c"}),
        ("c.", {"y": "c."}),
        ("cb", {}),
        ("c c", {}),
    ):
        assert grammar.fillings(text) == found


def test_long_texts_are_aligned():
    symbols = np.tile([1, 2, 3], 100)
    frames = np.log(np.eye(4)[np.repeat(symbols, 2)] + 1e-9)
    first, last = align(frames, symbols)
    np.testing.assert_array_equal(first, np.arange(0, 600, 2))
    np.testing.assert_array_equal(last, first + 1)


@pytest.mark.parametrize("scorer", [None, HotWords({"ab": 2.0, "c": -1.0}, " abc")])
@pytest.mark.parametrize("beam_size", [1, 3, 50])
def test_what_is_settled_leaves_the_rest_as_it_was(scorer, beam_size):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 3, (60, 5))
        frames = logits - np.logaddexp.reduce(logits, 1, keepdims=True)
        whole, pieces = (PrefixBeamSearch(5, beam_size, scorer) for _ in range(2))
        settled = ()
        for frame in frames:
            whole.feed(frame[None])
            pieces.feed(frame[None])
            shared = pieces.agreed()
            kept = {found.symbols for found in pieces.best(beam_size)}
            assert len({symbols[:shared] for symbols in kept}) == 1
            assert shared == min(map(len, kept)) or len({s[: shared + 1] for s in kept}) > 1
            if shared > 2:
                settled += pieces.commit(shared - seed % 2)
        for one, other in zip(whole.finish(9), pieces.finish(9), strict=True):
            assert one.symbols == settled + other.symbols
            assert one.score == pytest.approx(other.score)
        assert not settled or pieces._num_nodes < whole._num_nodes


def test_the_best_can_be_settled_against_others():
    frames = np.log([[0.2, 0.6, 0.2], [0.9, 0.05, 0.05], [0.1, 0.4, 0.5]])
    search = PrefixBeamSearch(3, 50)
    search.feed(frames)
    assert search.agreed() == 0
    (best,) = search.best()
    assert search.commit(1) == best.symbols[:1] == (1,)
    assert search.best()[0].symbols == best.symbols[1:]
    assert {(1, *found.symbols) for found in search.best(50)} < {
        (1,),
        (1, 1),
        (1, 2),
        (1, 1, 2),
        (1, 2, 1),
        (1, 2, 2),
        (1, 1, 1),
    }
    assert search.commit(0) == ()


def test_slots_do_not_multiply_the_states():
    words = ["".join(letters) for letters in itertools.product("abc", repeat=4)]
    one = Grammar("{w}", LETTERS, {"w": words})
    many = Grammar("{w} {w} {w} {w}", LETTERS, {"w": words})
    assert len(states_of(many, 5)) < 5 * len(states_of(one, 5))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_search_with_a_grammar_finds_its_best_sentence(weight):
    sentences = ["ab", "cab", "bb a", "c"]
    for seed in range(10):
        log_probs = frames(6, 5, seed)
        truth = all_labelings(log_probs)
        search = PrefixBeamSearch(5, 50, Grammar(sentences, LETTERS), lm_weight=weight)
        search.feed(log_probs)
        found = {
            "".join(LETTERS[n - 1] for n in h.symbols): h.score for h in search.finish(len(truth))
        }
        expected = {
            text: np.log(truth[tuple(LETTERS.index(c) + 1 for c in text)]) for text in sentences
        }
        assert found == pytest.approx(expected)
        assert next(iter(found)) == max(expected, key=expected.get)


def test_no_time_for_any_sentence_is_no_hypothesis():
    search = PrefixBeamSearch(5, 50, Grammar("abc", LETTERS))
    search.feed(frames(2, 5, 0))
    assert search.finish() == []
    assert search.best()[0].symbols in {(), (2,), (2, 3)}


def test_combined_scorers_are_added_to_every_string():
    model = NGram.train(TEXT, LETTERS, 3)
    hot = HotWords({"ab": 1.5, "c": -1.0}, LETTERS, word_bonus=0.5)
    grammar = Grammar(["{w} {w}", "{w}"], LETTERS, {"w": ["a", "ab", "c", "b"]})
    log_probs = frames(5, 5, 1)
    truth = all_labelings(log_probs)
    for parts in ([(model, 0.7), (hot, 1.0)], [(model, 0.7), (grammar, 0.0), (hot, -2.0)]):
        search = PrefixBeamSearch(5, 10_000, Combined(parts), lm_weight=0.9)
        search.feed(log_probs)
        found = {h.symbols: h.score for h in search.finish(10_000)}
        expected = {}
        for symbols, p in truth.items():
            text = "".join(LETTERS[n - 1] for n in symbols)
            if len(parts) == 2 or text in accepted(grammar):
                language = sum(w * scored(s, text) for s, w in parts if s is not grammar)
                expected[symbols] = np.log(p) + 0.9 * language
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NGram.train(["abd"], LETTERS), "has 'd', which the alphabet"),
        (lambda: NGram.train([""], LETTERS), "no text to train on"),
        (lambda: NGram.train(TEXT, LETTERS, 1), "order must be from 2 to 27"),
        (lambda: NGram.train(TEXT, LETTERS, 28), "order must be from 2 to 27"),
        (lambda: NGram.train(TEXT, LETTERS, 3, (2,)), "must begin with 1"),
        (lambda: NGram.train(TEXT, LETTERS, 3, (1, 3, 2)), "never fall"),
        (lambda: NGram.train(TEXT, LETTERS, 3, ()), "min_counts"),
        (lambda: NGram.train(TEXT, LETTERS).perplexity([]), "no text to measure"),
        (lambda: NGram.train(TEXT, " abca"), "each once"),
        (lambda: Grammar([], LETTERS), "at least one sentence"),
        (lambda: Grammar("ad", LETTERS), "has 'd'"),
        (lambda: Grammar("a{x}", LETTERS, {"y": ["a"]}), "unknown slot 'x'; slots: y"),
        (lambda: Grammar("a{x", LETTERS, {"x": ["a"]}), "'a{x'"),
        (lambda: Grammar("{x}", LETTERS, {"x": []}), "needs a list of texts"),
        (lambda: Grammar("{x}", LETTERS, {"x": "ab"}), "needs a list of texts"),
        (lambda: Grammar("{x:3}", LETTERS, {"x": ["a"]}), "slot"),
        (lambda: Grammar(["a", "b"], LETTERS, weights=[1.0]), "each of 2 sentences"),
        (lambda: Grammar("a", LETTERS, weights=[np.inf]), "finite"),
        (lambda: HotWords({"a b": 1.0}, LETTERS), "hot words are single words"),
        (lambda: HotWords({"": 1.0}, LETTERS), "hot words are single words"),
        (lambda: HotWords({"a": np.nan}, LETTERS), "finite boost"),
        (lambda: HotWords({"ad": 1.0}, LETTERS), "has 'd'"),
        (lambda: HotWords({}, ""), "alphabet must be"),
        (lambda: Combined([]), "same symbols"),
        (lambda: Combined([(HotWords({}, "ab"), 1), (HotWords({}, "abc"), 1)]), "same symbols"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
