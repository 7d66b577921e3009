"""Deep Speech's networks: spectrogram, padding, streams."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.deepspeech import DeepSpeechConfig, build_network
from rnnzoo.deepspeech.frames import FrameStream
from rnnzoo.deepspeech.network import (
    Recognizer,
    SequenceBatchNorm,
    weight_shapes,
)
from rnnzoo.deepspeech.spectrogram import FrameNormalization, LogMel, SpecAugment, mel_filters
from rnnzoo.errors import InputError

SMALL = DeepSpeechConfig(
    num_symbols=6, num_mels=16, conv_channels=(3, 4), conv_times=(5, 3), conv_frequencies=(5, 3),
    num_layers=2, hidden_dim=7,
)  # fmt: skip
FORWARD = dataclasses.replace(SMALL, bidirectional=False, normalization="running", lookahead=4)
DEEPSPEECH1 = DeepSpeechConfig(
    num_symbols=6, num_mels=16, conv_channels=(), conv_times=(), conv_frequencies=(),
    time_strides=(), frequency_strides=(), context=2, num_dense_layers=3, dense_dim=9, cell="rnn",
    num_layers=1, hidden_dim=7, output_dim=8, batch_norm=False,
)  # fmt: skip
CONFIGS = {"deepspeech2": SMALL, "forward": FORWARD, "deepspeech1": DEEPSPEECH1}


def sound(samples, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16000
    return (np.sin(2 * np.pi * 440 * t * (1 + t)) + rng.normal(0, 0.1, samples)).astype("f4") / 4


def recognizer(config, seed=0):
    """With weights that no layer can hide behind: biases and moving averages are random too."""
    keras.utils.set_random_seed(seed)
    model = build_network(config)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        noise = rng.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(1 + noise) if "variance" in weight.path else weight + noise)
    return model


def heard(model, chunks):
    lengths = np.array([len(chunk) for chunk in chunks], np.int32)
    samples = np.zeros((len(chunks), lengths.max()), np.float32)
    for row, chunk in zip(samples, chunks, strict=True):
        row[: len(chunk)] = chunk
    out = model({"samples": samples, "lengths": lengths})
    return [p[:n].numpy() for p, n in zip(out["log_probs"], out["frames"].numpy(), strict=True)]


def test_mel_bands_are_triangles_that_sum_to_one_between_their_centres():
    filters = mel_filters(20, 2049, 16000, 100.0, 5600.0)
    frequencies = np.arange(2049) * 8000 / 2048
    centres = frequencies[filters.argmax(0)]
    mels = 2595 * np.log10(1 + centres / 700)
    np.testing.assert_allclose(np.diff(mels), np.diff(mels).mean(), rtol=0.03)
    inside = (frequencies > centres[0]) & (frequencies < centres[-1])
    np.testing.assert_allclose(filters[inside].sum(1), 1, atol=0.02)
    assert not filters[(frequencies < 99) | (frequencies > 5601)].any()


def test_a_tone_is_loudest_in_its_band():
    config = DeepSpeechConfig()
    x = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype("f4")
    found = LogMel(config)(x[None])[0].numpy()
    filters = mel_filters(64, 257, 16000, 20.0, 5600.0)
    assert found.mean(0).argmax() == filters[round(1000 / 16000 * 512)].argmax()
    assert len(found) == int(LogMel(config).num_frames(16000)) == 1 + (16000 - 400) // 160


@pytest.mark.parametrize("running", [False, True])
def test_normalization_is_its_formula(running):
    rng = np.random.default_rng(0)
    x = rng.normal(-6, 3, (2, 9, 4)).astype("f4")
    mask = np.arange(9) < np.array([[9], [5]])
    found = FrameNormalization(running)(x, mask).numpy()
    for row, real, out in zip(x, mask, found, strict=True):
        for t in range(9):
            seen = row[: t + 1] if running else row[real]
            expected = (row[t] - seen.mean(0)) / np.sqrt(seen.var(0) + 0.01) * real[t]
            np.testing.assert_allclose(out[t], expected, atol=1e-3)


def test_silence_does_not_become_the_mean():
    rng = np.random.default_rng(0)
    layer = FrameNormalization(running=True)
    speech = rng.normal(-2, 3, (1, 60, 8)).astype("f4")
    speech += np.where(np.arange(60) % 20 < 5, -4, 1)[:, None]
    mask = np.ones((1, 1000), bool)
    for quiet in (rng.normal(-12, 0.5, (1, 900, 8)), np.full((1, 900, 8), np.log(1e-6))):
        idle = np.concatenate([quiet, speech], 1).astype("f4")
        found = layer(idle, mask[:, :960])[0, 900:].numpy()
        short = layer(idle[:, 850:], mask[:, :110])[0, 50:].numpy()
        np.testing.assert_allclose(found, short, atol=0.6)  # half a second counts, not nine
        gap = np.concatenate([quiet[:, :300], np.full((1, 5, 8), np.log(1e-6)), quiet[:, 305:]], 1)
        gap[:, [299, 305]] -= 1.5  # frames that hold a part of it
        found = layer(np.concatenate([gap, speech], 1).astype("f4"), mask[:, :960])[0, 900:]
        np.testing.assert_allclose(found, short, atol=0.6)
        found = layer(idle, mask[:, :960])[0, 900:].numpy()
        pieces, heard = [], layer.start(idle)
        for piece in np.split(idle, [1, 40, 77, 500, 930], 1):
            out, heard = layer.step(piece, heard)
            pieces.append(out[0])
        np.testing.assert_allclose(np.concatenate(pieces)[900:], found, atol=1e-3)


def test_gated_words_are_sound():
    """Words between digital silence count, though nothing soft is there to tell them by."""
    rng = np.random.default_rng(0)
    layer = FrameNormalization(running=True)
    word = rng.normal(-2, 3, (1, 40, 8))
    gate = np.full((1, 20, 8), np.log(1.05e-6))
    x = np.concatenate([gate, word] * 10, 1).astype("f4")
    found = layer(x, np.ones((1, 600), bool))[0].numpy().reshape(10, 60, 8)[5:, 20:]
    assert np.abs(found.mean()) < 1.0 and 0.3 < found.std() < 1.0


def test_batch_norm_counts_real_frames_alone():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 6, 5, 4)).astype("f4")
    mask = np.arange(6) < np.array([[6], [2]])
    layer = SequenceBatchNorm()
    out = layer(x, mask, training=True).numpy()
    real = np.concatenate([x[0], x[1, :2]]).reshape(-1, 4)
    expected = (x - real.mean(0)) / np.sqrt(real.var(0) + 1e-3)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, 0.02 * real.mean(0), rtol=1e-4)
    still = layer(x, mask).numpy()
    expected = (x - layer.moving_mean.numpy()) / np.sqrt(layer.moving_variance.numpy() + 1e-3)
    np.testing.assert_allclose(still, expected, rtol=1e-4)


def test_batch_norm_is_float32_in_mixed_precision():
    layer = SequenceBatchNorm(dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(3, 2, (4, 50, 3)).astype("f4")
    for _ in range(200):
        found = layer(x, np.ones((4, 50), bool), training=True)
    assert found.dtype == "bfloat16"
    np.testing.assert_allclose(layer.moving_mean, x.mean((0, 1)), rtol=0.02)
    np.testing.assert_allclose(layer(x), found, atol=0.1)


def test_spec_augment_leaves_out_stretches_in_training_alone():
    layer = SpecAugment(1, 20, 1, 8, seed=3)
    x = np.ones((16, 200, 64), "f4")
    np.testing.assert_array_equal(layer(x), x)
    shares = set()
    for row in layer(x, training=True).numpy():
        time, band = (row.sum(1) == 0).sum(), (row.sum(0) == 0).sum()
        assert time <= 21
        assert band <= 9
        assert (row == 0).sum() == time * 64 + band * 200 - time * band
        shares.add((time, band))
    assert len(shares) > 8


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_and_company_change_nothing(name):
    model = recognizer(CONFIGS[name])
    chunks = [sound(n, n) for n in (9000, 4001, 401, 6543)]
    together = heard(model, chunks)
    for chunk, one in zip(chunks, together, strict=True):
        (alone,) = heard(model, [chunk])
        assert len(alone) == -(-(1 + (len(chunk) - 400) // 160) // CONFIGS[name].frame_stride)
        np.testing.assert_allclose(one, alone, atol=2e-4)
        np.testing.assert_allclose(np.exp(alone).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_sound_of_less_than_a_frame_has_no_frames(name):
    assert [len(rows) for rows in heard(recognizer(CONFIGS[name]), [sound(1), sound(399)])] == [
        0,
        0,
    ]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_stream_is_the_whole_at_once(cell):
    model = recognizer(dataclasses.replace(FORWARD, cell=cell))
    stream = FrameStream(model.get_layer("recognizer"))
    samples = sound(9000)
    (whole,) = heard(model, [samples])

    @settings(max_examples=12, deadline=None, database=None, derandomize=True)
    @given(st.lists(st.integers(0, 9000), max_size=6))
    def check(cuts):
        stream.reset()
        found = [stream.feed(part) for part in np.split(samples, sorted(cuts))]
        found.append(stream.finish())
        np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-3)

    check()


def test_a_stream_gives_frames_as_soon_as_they_are_known():
    model = recognizer(FORWARD)
    stream = FrameStream(model.get_layer("recognizer"))
    found = [len(stream.feed(part)) for part in np.split(sound(16000), 10)]
    assert sum(found) >= 49 - 4 - 3
    assert max(found) <= 6
    assert sum(found) + len(stream.finish()) == 49


def test_a_frame_waits_for_less_than_a_hop_after_it_is_known():
    """Frame t sees the spectrogram up to 2 + 2 * 1 behind its own, and 4 steps of its own ahead."""
    stream = FrameStream(recognizer(FORWARD).get_layer("recognizer"))
    told = [n for n, part in enumerate(np.split(sound(16000), 100), 1) for _ in stream.feed(part)]
    known = [(160 * (2 * (t + 4 + 1) + 2) + 400) / 160 for t in range(len(told))]
    waited = np.subtract(told, np.ceil(known))
    assert waited.min() >= 0
    assert waited.max() < 2


def test_a_stream_tells_the_spectrogram_of_what_it_takes_in():
    model = recognizer(FORWARD).get_layer("recognizer")
    stream, samples, mels = FrameStream(model), sound(5555), []
    for part in np.split(samples, [7, 1000, 1001, 4000]):
        stream.feed(part)
        mels.append(stream.mels)
    stream.finish()
    mels.append(stream.mels)
    np.testing.assert_allclose(np.concatenate(mels), model.spectrogram(samples[None])[0], atol=1e-4)
    assert stream.finish().shape == (0, 6)
    assert stream.mels.shape == (0, 16)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_a_stream_in_16_bits_is_the_whole_at_once(dtype):
    model = build_network(FORWARD, dtype=dtype)
    stream, samples = FrameStream(model.get_layer("recognizer")), sound(9000)
    found = [stream.feed(part) for part in np.split(samples, [100, 3000, 6001])]
    found.append(stream.finish())
    np.testing.assert_allclose(np.concatenate(found), heard(model, [samples])[0], atol=0.05)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_sound_is_not_rounded_before_its_spectrogram_is_made(dtype, monkeypatch):
    model, samples, given = build_network(SMALL, dtype=dtype), sound(4000), []
    layer = model.get_layer("recognizer").spectrogram
    plain = layer.call
    monkeypatch.setattr(layer, "call", lambda x: given.append(x) or plain(x))
    heard(model, [samples])
    np.testing.assert_array_equal(given[0][0, : len(samples)], samples)


def test_a_network_that_needs_the_whole_does_not_stream():
    for config in (SMALL, dataclasses.replace(FORWARD, normalization="utterance")):
        with pytest.raises(InputError, match="forward-only"):
            FrameStream(Recognizer(config))


def test_the_row_convolution_is_its_formula():
    """r_t,i = sum_j W_j,i h_t+j,i: Amodei et al. 2015, equation 11."""
    layer = recognizer(FORWARD).get_layer("recognizer").row
    h = np.random.default_rng(0).normal(size=(1, 9, 7)).astype("f4")
    out, frames = layer(h, np.array([9]))
    w, b = (np.array(v) for v in layer.product.weights)
    padded = np.concatenate([h[0], np.zeros((4, 7))])
    expected = [(w[:, :, 0] * padded[t : t + 5]).sum(0) + b for t in range(9)]
    np.testing.assert_allclose(out[0], expected, atol=1e-5)
    assert int(frames[0]) == 9


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_are_known_without_the_network(name, cell):
    config = dataclasses.replace(CONFIGS[name], cell=cell, num_layers=2, batch_norm=True)
    built = {w.path: tuple(w.shape) for w in build_network(config).weights}
    assert weight_shapes(config) == built


def test_directions_are_added():
    model = recognizer(dataclasses.replace(SMALL, num_layers=1))
    layer = model.get_layer("recognizer").recurrent[0]
    x = np.random.default_rng(0).normal(size=(1, 5, 16)).astype("f4")
    both = layer(x).numpy()
    forward = layer.forward_layer(x).numpy()
    backward = layer.backward_layer(x).numpy()[:, ::-1]
    np.testing.assert_allclose(both, forward + backward, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "tanh"}, "cell must be one of lstm, gru, rnn"),
        ({"conv_times": (4, 3)}, "odd"),
        ({"conv_times": (5,)}, "one number for each"),
        ({"lookahead": 3}, "not bidirectional"),
        ({"high_frequency": 9000.0}, "high_frequency must be from 1 to 8,000"),
        ({"low_frequency": 6000.0}, "below high_frequency"),
        ({"context": 3}, "num_dense_layers"),
        ({"frame_step": 500}, "a step in time of 500 is longer than what is seen at once, 400"),
    ],
)
def test_configs_that_cannot_be_built_say_so(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
