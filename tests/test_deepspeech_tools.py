"""The recognizers' recipe, on a handful of clips."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from recipes import deepspeech, digits
from recipes.run import ahead
from recipes.speech_data import RATE, Clip, Corpus

from rnnzoo.ctc import Grammar
from rnnzoo.deepspeech import PreprocessorConfig

RECIPE = deepspeech.Recipe(
    network={
        "num_mels": 8, "conv_channels": [3], "conv_times": [5], "conv_frequencies": [3],
        "time_strides": [2], "frequency_strides": [2], "num_layers": 1, "hidden_dim": 6,
    },
    steps=40,
    clips_per_pass=30,
    seconds_per_batch=4.0,
    max_rows=6,
    sorted_passes=1,
    warmup_steps=2,
    average_every=1,
)  # fmt: skip
SOURCES = ("librispeech-dev-clean", "speechocean762", "piper")


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    made = Corpus(tmp_path / "corpus")
    for n in range(36):
        samples = rng.normal(0, 0.1, int(rng.integers(RATE // 2, RATE)))
        made.append(samples, "me", SOURCES[n % 3], "valid" if n % 6 > 3 else "train", f"{n}", "a b")
    return made


def test_clips_are_drawn_in_the_shares_of_the_step(corpus):
    recipe = dataclasses.replace(
        RECIPE, synthetic_share=0.5, late_synthetic_share=0.1, speechocean_share=0.4
    )
    for step, expected in ((0, {"read": 9, "speechocean": 6, "synthetic": 15}),
                           (40, {"read": 16, "speechocean": 11, "synthetic": 3})):  # fmt: skip
        drawn = deepspeech.draw(corpus.clips, recipe, step, np.random.default_rng(0))
        found = dict.fromkeys(expected, 0)
        for clip in drawn:
            found[deepspeech.share_of(clip, recipe)] += 1
        assert found == expected
    real = [clip for clip in corpus.clips if clip.source != "piper"]
    assert len(deepspeech.draw(real, recipe, 0, np.random.default_rng(0))) == 30


@pytest.mark.parametrize(("data", "real"), [("commands", "picovoice-s2i"), ("digits", "fsdd")])
def test_a_closed_vocabulary_has_a_share_where_it_is_the_recipe_s(corpus, data, real):
    sources = {**dict.fromkeys(range(0, 12), real), **dict.fromkeys(range(12, 18), f"flite {data}")}
    clips = [
        clip._replace(source=sources.get(n, clip.source)) for n, clip in enumerate(corpus.clips)
    ]
    recipe = dataclasses.replace(
        RECIPE, data=data, closed_share=0.5, synthetic_share=0.2, late_synthetic_share=0.2
    )
    drawn = deepspeech.draw(clips, recipe, 0, np.random.default_rng(0))
    found = collections.Counter(deepspeech.share_of(clip, recipe) for clip in drawn)
    assert found == {
        "closed": 9,
        "made-up closed": 6,
        "read": 9,
        "speechocean": 3,
        "synthetic": 3,
    }
    open_recipe = dataclasses.replace(recipe, data="speech", closed_share=0.0)
    assert {deepspeech.share_of(clip, open_recipe) for clip in clips[:12]} == {"read"}


def test_digits_are_joined_by_speaker_and_the_kept_one_is_left_out(tmp_path):
    real = Corpus(tmp_path / "real")
    for n, speaker in enumerate(["one", "two", digits.VALID_SPEAKER]):
        for digit in ("three", "seven"):
            level = np.full(RATE // 4, 0.1 * (n + 1))
            real.append(level, speaker, "fsdd", "train", f"{speaker}-{digit}", digit)
    made = digits.real_strings(real, tmp_path / "strings", "fsdd digits", 30)
    assert {clip.speaker for clip in made.clips} == {"one", "two"}
    language = Grammar(digits.GRAMMAR, PreprocessorConfig().alphabet, digits.SLOTS)
    for clip in made.clips:
        said, samples = clip.transcript.split(), made.samples(clip)
        assert 2 <= len(said) <= 7
        assert list(language.fillings(clip.transcript).values()) == said
        level = {"one": 0.1, "two": 0.2}[clip.speaker]
        assert np.isclose(samples, level, atol=1e-3).sum() == len(said) * (RATE // 4)
        assert (samples == 0).sum() / RATE < 0.3 * (len(said) + 1)
    more = digits.real_strings(real, tmp_path / "strings", "fsdd digits", 32)
    assert len(more.clips) == 32 and more.clips[:30] == made.clips
    fewer = digits.real_strings(real, tmp_path / "strings", "fsdd digits", 9)
    assert fewer.clips == made.clips[:9]
    other = digits.real_strings(real, tmp_path / "strings", "fsdd digits", 9, seed=2)
    assert [clip.transcript for clip in other.clips] != [clip.transcript for clip in fewer.clips]
    lines = list(itertools.islice(digits.strings(1), 300))
    assert all(language.fillings(line) for line in lines)
    assert {len(line.split()) for line in lines} == set(range(1, 11))


def test_batches_are_of_like_length_and_go_on_where_they_stopped(corpus):
    whole = list(itertools.islice(deepspeech.plan(corpus.clips, RECIPE, 0), 20))
    assert [step for step, _ in whole] == list(range(20))
    for _, clips in whole:
        longest = max(clip.length for clip in clips) / RATE
        assert len(clips) * longest <= RECIPE.seconds_per_batch
        assert len(clips) <= RECIPE.max_rows
    lengths = [np.mean([clip.length for clip in clips]) for _, clips in whole[:5]]
    # SortaGrad's first pass; lengths are sorted with a tenth of noise
    assert all(after > 0.85 * before for before, after in itertools.pairwise(lengths))
    assert lengths[-1] > 1.3 * lengths[0]
    assert list(itertools.islice(deepspeech.plan(corpus.clips, RECIPE, 7), 13)) == whole[7:]


def test_batches_made_ahead_are_those_made_in_turn():
    calls = [(n,) for n in range(9)]
    assert list(ahead(lambda n: n * n, iter(calls))) == [n * n for n in range(9)]


def test_two_runs_of_a_seed_are_one_and_a_stop_changes_nothing(corpus, tmp_path):
    def losses(folder, stops):
        folder.mkdir()
        out = []
        for stop in stops:
            run = deepspeech.Run(RECIPE, folder)
            run.restore()
            for step, clips in deepspeech.plan(corpus.clips, RECIPE, run.step):
                if run.step == stop:
                    break
                batch = deepspeech.make_batch(clips, step, RECIPE, corpus.samples, run.preprocessor)
                out.append(run.train_on(batch)[-1])
            run.save()
        return out

    straight = losses(tmp_path / "a", [12])
    np.testing.assert_allclose(losses(tmp_path / "b", [12]), straight, rtol=1e-4)
    np.testing.assert_allclose(losses(tmp_path / "c", [5, 12]), straight, rtol=1e-3)


def test_a_run_learns_what_it_sees_again_and_again(corpus, tmp_path):
    run = deepspeech.Run(dataclasses.replace(RECIPE, max_learning_rate=1e-2), tmp_path)
    clips = corpus.clips[:4]
    batch = deepspeech.make_batch(clips, 0, RECIPE, corpus.samples, run.preprocessor)
    losses = [run.train_on(batch)[-1] for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


def test_validation_tells_error_rates_by_source(corpus, tmp_path, monkeypatch):
    run = deepspeech.Run(RECIPE, tmp_path)
    clips = [clip for clip in corpus.clips if clip.source != "piper"]

    def said(chunks):
        return [clip.transcript if clip.source == SOURCES[0] else "a c" for clip in clips]

    assert len(run.transcribe([corpus.samples(clip) for clip in clips[:3]])) == 3
    monkeypatch.setattr(run, "transcribe", said)
    assert run.validate(clips, corpus.samples) == {
        "librispeech WER": 0, "librispeech CER": 0,
        "speechocean WER": 0.5, "speechocean CER": 1 / 3,
    }  # fmt: skip


def test_made_up_speech_is_varied_more(corpus):
    run_preprocessor = deepspeech.SpeechPreprocessor(deepspeech.PreprocessorConfig())
    quiet = dataclasses.replace(RECIPE, speed=0.0, synthetic_speed=0.3)
    for source, same in (("piper", False), ("speechocean762", True)):
        clip = next(clip for clip in corpus.clips if clip.source == source)
        _, lengths, labels, sizes = deepspeech.make_batch(
            [Clip(*clip)] * 3, 0, quiet, corpus.samples, run_preprocessor
        )
        assert (set(lengths.tolist()) == {clip.length}) == same
        assert sizes.tolist() == [3, 3, 3]
        assert labels.shape == (3, 3)


def test_silence_is_put_around_half_of_the_clips_where_the_recipe_says_so(corpus):
    preprocessor = deepspeech.SpeechPreprocessor(deepspeech.PreprocessorConfig())
    recipe = dataclasses.replace(RECIPE, speed=0.0, silence=0.3)
    clip = next(clip for clip in corpus.clips if clip.source == "speechocean762")
    _, lengths, *_ = deepspeech.make_batch(
        [Clip(*clip)] * 40, 0, recipe, corpus.samples, preprocessor
    )
    longer = lengths[lengths > clip.length]
    assert 10 < len(longer) < 30 and (lengths >= clip.length).all()
    assert longer.max() < clip.length + 0.6 * RATE
