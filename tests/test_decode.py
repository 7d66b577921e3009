"""Decoding against brute force over all sequences of a tiny vocabulary."""

import functools
import itertools

import keras
import numpy as np
import pytest

from rnnzoo.seq2seq import DecodingOptions, Seq2SeqConfig, SequenceGenerator, build_network

PAD, BOS, EOS = 0, 2, 3
LIMIT = 4  # pieces, EOS included
SOURCE = np.array([[4, 5, 1, 3], [6, 3, 0, 0]])


@pytest.fixture(scope="module", params=["additive", None], ids=["attention", "stacked"])
def network(request):
    keras.utils.set_random_seed(3)
    config = Seq2SeqConfig(
        vocab_size=7,
        embedding_dim=6,
        encoder_dim=8,
        decoder_dim=8,
        num_encoder_layers=2,
        attention=request.param,
        attention_dim=5,
    )
    network = build_network(config)
    for weight in network.weights:  # far from uniform, so that the ranking is not a coin's
        weight.assign(weight * 3)
    return network


@pytest.fixture(scope="module")
def decoder(network):
    """One for all tests that ask it in turn, so that a form of search is compiled once."""
    return SequenceGenerator(network, BOS, EOS)


def _all_sequences():
    """Every target of at most LIMIT pieces that ends in EOS; the last piece has to be EOS."""
    words = [1, 4, 5, 6]
    return [(*body, EOS) for n in range(LIMIT) for body in itertools.product(words, repeat=n)]


@functools.cache
def _forced(network, source):
    """(log-probabilities, alignment) of every sequence, by teacher forcing."""
    sequences = _all_sequences()
    targets = np.full((len(sequences), LIMIT), PAD)
    for line, tokens in zip(targets, sequences, strict=True):
        line[: len(tokens)] = (BOS, *tokens[:-1])
    out = network({"source_tokens": np.array([source] * len(sequences)), "target_tokens": targets})
    logits = np.array(out["logits"], np.float64)
    logits[:, :, [PAD, BOS]] = -np.inf
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return log_probs, np.array(out["alignment"])


def _brute_force(network, source, length_penalty=0.0, coverage_penalty=0.0):
    """(score, log-probability, tokens) of every sequence, best first, by teacher forcing.

    A sequence at the limit has to end there, so its EOS is certain: that is how the search
    renormalises nothing but forbids all else, and its log-probability still counts.
    """
    sequences = _all_sequences()
    log_probs, alignments = _forced(network, tuple(source[source != PAD].tolist()))
    results = []
    for n, tokens in enumerate(sequences):
        steps = range(len(tokens))
        total = log_probs[n, steps, tokens].sum()
        score = total / ((5 + len(tokens)) / 6) ** length_penalty
        alignment = alignments[n][steps]
        if alignment.any():
            coverage = np.minimum(alignment.sum(0), 1)
            score += coverage_penalty * np.log(coverage).sum()
        results.append((score, total, tokens))
    return sorted(results, reverse=True)


def _options(**changes):
    return DecodingOptions(max_length_factor=0.0, max_length_extra=LIMIT, **changes)


def _strip(tokens):
    return tuple(int(t) for t in tokens if t != PAD)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("coverage_penalty", [0.0, 0.4])
def test_a_wide_beam_finds_what_brute_force_finds(
    network, decoder, length_penalty, coverage_penalty
):
    options = _options(
        beam_size=64,
        num_hypotheses=6,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
    )
    found = decoder(SOURCE, options)
    for row, source in enumerate(SOURCE):
        expected = _brute_force(network, source, length_penalty, coverage_penalty)[:6]
        assert [_strip(tokens) for tokens in found["tokens"][row]] == [e[2] for e in expected]
        np.testing.assert_allclose(found["scores"][row], [e[0] for e in expected], rtol=1e-4)
        np.testing.assert_allclose(found["log_probs"][row], [e[1] for e in expected], rtol=1e-4)


def test_a_narrow_beam_never_beats_brute_force_and_scores_truly(network, decoder):
    found = decoder(SOURCE, _options(beam_size=2, num_hypotheses=2))
    for row, source in enumerate(SOURCE):
        scores = {tokens: score for score, _, tokens in _brute_force(network, source, 0.6)}
        for tokens, score in zip(found["tokens"][row], found["scores"][row], strict=True):
            np.testing.assert_allclose(score, scores[_strip(tokens)], rtol=1e-4)


def test_greedy_takes_the_likeliest_piece_each_time(network, decoder):
    found = decoder(SOURCE, _options(beam_size=1))
    for row, source in enumerate(SOURCE):
        tokens = [BOS]
        while tokens[-1] != EOS and len(tokens) <= LIMIT:
            out = network(
                {
                    "source_tokens": source[source != PAD][None],
                    "target_tokens": np.array([tokens]),
                }
            )
            logits = np.array(out["logits"][0, -1])
            logits[[PAD, BOS]] = -np.inf
            tokens.append(EOS if len(tokens) == LIMIT else int(logits.argmax()))
        assert _strip(found["tokens"][row, 0]) == tuple(tokens[1:])


@pytest.mark.parametrize(
    "changes",
    [
        {"beam_size": 4, "num_hypotheses": 3},
        {"beam_size": 1},
        {"temperature": 1.0, "num_hypotheses": 3},
    ],
)
def test_batch_order_and_padding_do_not_change_a_result(decoder, changes):
    together = decoder(SOURCE, _options(**changes))
    turned = decoder(np.pad(SOURCE[::-1], [(0, 0), (0, 3)]), _options(**changes))
    for row in range(2):
        alone = decoder(SOURCE[row : row + 1, : 4 if row == 0 else 2], _options(**changes))
        for other in (alone["tokens"][0], turned["tokens"][1 - row]):
            assert [*map(_strip, other)] == [*map(_strip, together["tokens"][row])]
        np.testing.assert_allclose(alone["scores"][0], together["scores"][row], rtol=1e-4)


def test_alignments_are_those_of_teacher_forcing(network, decoder):
    found = decoder(SOURCE, _options(beam_size=4, num_hypotheses=2))
    for row in range(2):
        for tokens, alignment in zip(found["tokens"][row], found["alignment"][row], strict=True):
            tokens = _strip(tokens)
            out = network(
                {
                    "source_tokens": SOURCE[row : row + 1],
                    "target_tokens": np.array([(BOS, *tokens[:-1])]),
                }
            )
            np.testing.assert_allclose(alignment[: len(tokens)], out["alignment"][0], atol=1e-5)
            assert not alignment[len(tokens) :].any()


def test_samples_follow_the_networks_distribution(network, decoder):
    draws = 64
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(40):
        found = decoder(SOURCE[:1], _options(temperature=1.0, num_hypotheses=draws, seed=seed))
        for tokens in found["tokens"][0]:
            counts[_strip(tokens)] = counts.get(_strip(tokens), 0) + 1
    likely = [
        e for e in _brute_force(network, SOURCE[0]) if np.exp(e[1]) > 0.05 and len(e[2]) < LIMIT
    ]
    assert likely
    for _, log_prob, tokens in likely:
        share, expected = counts.get(tokens, 0) / (40 * draws), np.exp(log_prob)
        assert abs(share - expected) < 5 * np.sqrt(expected / (40 * draws))


def test_a_small_nucleus_is_greedy_and_a_seed_repeats(decoder):
    greedy = decoder(SOURCE, _options(beam_size=1))
    nucleus = decoder(SOURCE, _options(temperature=1.0, top_p=1e-6))
    assert [*map(_strip, nucleus["tokens"][:, 0])] == [*map(_strip, greedy["tokens"][:, 0])]
    one, two, other = (
        decoder(SOURCE, _options(temperature=2.0, num_hypotheses=8, seed=seed))["tokens"]
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, two)
    assert one.shape != other.shape or (one != other).any()


def test_one_generator_takes_many_options_in_turn(network):
    shared = SequenceGenerator(network, BOS, EOS)
    for changes in (
        {"temperature": 1.0},
        {"temperature": 1.0, "num_hypotheses": 3},
        {"beam_size": 1, "length_penalty": 0.0},
        {"beam_size": 1, "length_penalty": 2.0},
    ):
        alone = SequenceGenerator(network, BOS, EOS)(SOURCE, _options(**changes))
        together = shared(SOURCE, _options(**changes))
        for name, expected in alone.items():
            np.testing.assert_allclose(together[name], expected, atol=1e-6)


def test_a_target_ends_at_its_own_limit(decoder):
    found = decoder(SOURCE, _options(beam_size=3))
    for tokens in found["tokens"][:, 0]:
        tokens = _strip(tokens)
        assert tokens[-1] == EOS
        assert len(tokens) <= LIMIT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"beam_size": 2.5}, "beam_size"),
        ({"beam_size": True}, "beam_size"),
        ({"num_hypotheses": 9}, "must not exceed beam_size"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"length_penalty": float("nan")}, "length_penalty"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_options_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        DecodingOptions(**changes)
