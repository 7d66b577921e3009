"""A recognizer taught to read tones: fit, predict, times, streams, checkpoints."""

import dataclasses
import difflib
import io
import itertools
import json

import keras
import numpy as np
import pytest
import soundfile

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.ctc import NGram, grammar_for, hypotheses, search_for
from rnnzoo.deepspeech import (
    DecodingOptions,
    DeepSpeechConfig,
    PreprocessorConfig,
    SpeechPreprocessor,
    SpeechRecognizer,
)
from rnnzoo.deepspeech.decode import transcript_of
from rnnzoo.deepspeech.stream import TranscriptStream
from rnnzoo.errors import ConfigError, InputError

RATE = 16000
LETTER = 0.16  # seconds
CONFIG_SECONDS = 0.02  # from a frame to the next
CONFIG = DeepSpeechConfig(
    num_symbols=5, num_mels=24, conv_channels=(16,), conv_times=(5,), conv_frequencies=(5,),
    time_strides=(2,), frequency_strides=(2,), num_layers=1, hidden_dim=32, bidirectional=False,
    lookahead=3, normalization="running", dropout=0.0, time_masks=0, frequency_masks=0,
)  # fmt: skip


def spoken(text, seed=0):
    """Each letter a tone of its own with a short gap, a space a longer silence."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(int(0.1 * RATE))]
    for character in text:
        times = np.arange(int(LETTER * RATE)) / RATE
        pitch = {"a": 400, "b": 1200, "c": 3000}.get(character, 0)
        tone = np.sin(2 * np.pi * pitch * times) * np.hanning(len(times))
        parts += [tone, np.zeros(int((0.06 if pitch else 0.3) * RATE))]
    sound = np.concatenate([*parts, np.zeros(int(0.15 * RATE))])
    return (0.3 * sound + rng.normal(0, 0.003, len(sound))).astype("f4")


def texts(count, seed):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abc"), int(rng.integers(1, 4)))) for _ in range(2 * count)]
    return [f"{a} {b}" for a, b in zip(words[::2], words[1::2], strict=True)]


def untaught(**changes):
    return SpeechRecognizer(
        dataclasses.replace(CONFIG, **changes), SpeechPreprocessor(PreprocessorConfig(" abc"))
    )


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = untaught()
    said = texts(200, 1)
    rate = keras.optimizers.schedules.CosineDecay(0.012, 550)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))
    sounds = [(spoken(text, n), RATE) for n, text in enumerate(said)]
    history = model.fit(sounds, said, epochs=22, batch_size=8, verbose=0)
    assert history.history["loss"][-1] < 0.1 * history.history["loss"][0]
    return model


SAID = texts(12, 2)
SOUNDS = [(spoken(text, 100 + n), RATE) for n, text in enumerate(SAID)]


def test_it_reads_what_it_was_taught(model):
    found = model.predict(SOUNDS)
    right = sum(str(one) == text for one, text in zip(found, SAID, strict=True))
    assert right >= 5
    alike = [
        difflib.SequenceMatcher(None, str(a), b).ratio() for a, b in zip(found, SAID, strict=True)
    ]
    assert np.mean(alike) > 0.9
    assert [one.name for one in found[:2]] == ["recording_1", "recording_2"]
    for one, (samples, _) in zip(found, SOUNDS, strict=True):
        assert one.seconds == pytest.approx(len(samples) / RATE)
        assert one.text == " ".join(word.text for word in one.words)


def test_words_stand_where_they_were_spoken(model):
    for one, text in zip(model.predict(SOUNDS), SAID, strict=True):
        if one.text != text:
            continue
        first, second = one.words
        begin = 0.1 + len(first.text) * (LETTER + 0.06) + LETTER + 0.3
        assert first.start == pytest.approx(0.1 + LETTER / 2, abs=0.15)
        assert second.start == pytest.approx(begin + LETTER / 2, abs=0.15)
        assert first.start < first.end <= second.start < second.end <= one.seconds + 0.1
        assert 0.3 < first.confidence <= 1


@pytest.mark.parametrize("options", [{}, {"beam_size": 1}])
def test_company_batches_and_kinds_change_nothing(model, options):
    alone = [model.predict(sound, **options) for sound in SOUNDS]
    for found in (
        model.predict(SOUNDS, **options),
        model.predict(SOUNDS, batch_size=1, **options),
        reversed(model.predict(SOUNDS[::-1], batch_size=5, **options)),
        model.predict([samples for samples, _ in SOUNDS], sampling_rate=RATE, **options),
        model.predict_each(iter(SOUNDS), **options),
    ):
        for one, other in zip(found, alone, strict=True):
            assert one.text == other.text
            assert one.alternatives[0][1] == pytest.approx(other.alternatives[0][1], abs=1e-3)


@pytest.mark.parametrize(("size", "count"), [(160, 1), (999, 3), (8000, 3), (10**6, 3)])
def test_a_stream_says_what_predict_says(model, size, count):
    for (samples, _), options in zip(SOUNDS[:count], ({}, {"beam_size": 1}, {}), strict=False):
        whole = model.predict((samples, RATE), **options)
        with model.stream(**options) as stream:
            for begin in range(0, len(samples), size):
                stream.feed(samples[begin : begin + size])
                assert isinstance(stream.partial(), str)
            found = stream.finish()
        assert found.text == whole.text == stream.partial()
        for one, other in zip(found.words, whole.words, strict=True):
            assert (one.start, one.end) == (other.start, other.end)
        assert found.spectrogram.shape == whole.spectrogram.shape
        np.testing.assert_allclose(found.spectrogram, whole.spectrogram, atol=0.02)
        assert found.seconds == pytest.approx(whole.seconds)


LONG = texts(30, 8)


@pytest.mark.parametrize("options", [{}, {"beam_size": 1}, {"hot_words": {"ab": 1.0}}])
def test_a_long_stream_settles_and_says_what_predict_says(model, options, monkeypatch):
    sound = np.concatenate([spoken(f"{text} ", n) for n, text in enumerate(LONG)])
    assert len(sound) / RATE > 45  # over max_seconds and over what is waited for at most
    whole = model.predict((sound, RATE), **options)
    plain, truth = whole.text.replace(" ", ""), "".join(LONG).replace(" ", "")
    assert difflib.SequenceMatcher(None, plain, truth, autojunk=False).ratio() > 0.8
    most = 0
    with model.stream(**options) as stream:
        for part in np.array_split(sound, 300):
            stream.feed(part)
            most = max(most, sum(map(len, stream._log_probs)))
    found = stream.finish()
    assert most * CONFIG_SECONDS < 31
    assert found.text == whole.text
    assert [w.text for w in found.words] == whole.text.split()
    np.testing.assert_allclose(
        [w.start for w in found.words], [w.start for w in whole.words], atol=0.05
    )
    assert all(a.start < a.end <= b.start for a, b in itertools.pairwise(found.words))
    assert found.log_probs.shape == whole.log_probs.shape
    assert found.spectrogram.shape == whole.spectrogram.shape
    # the same in one search over all frames, with all words aligned at once
    monkeypatch.setattr("rnnzoo.deepspeech.stream._SETTLE_SECONDS", 1e9)
    at_once = model.predict((sound, RATE), **options)
    alike = difflib.SequenceMatcher(None, at_once.text, whole.text, autojunk=False)
    assert alike.ratio() > 0.95
    assert at_once.words[-1].end == pytest.approx(whole.words[-1].end, abs=0.1)


def test_a_stream_that_is_too_long_for_a_picture_has_none(model):
    recognizer = model.network.get_layer("recognizer")
    options = DecodingOptions(beam_size=1)
    short, long = (
        TranscriptStream(recognizer, model.preprocessor, options, pictured_seconds=seconds)
        for seconds in (300, 1)
    )
    for stream in (short, long):
        for part in np.array_split(SOUNDS[0][0], 7):
            stream.feed(part)
    assert long.finish().to_dict() == short.finish().to_dict()
    assert short.finish().spectrogram.size and not long.finish().spectrogram.size
    assert not long.finish().log_probs.size
    long.finish().plot()


def test_a_stream_hears_other_rates_and_types(model):
    import soxr

    samples = soxr.resample(SOUNDS[0][0], RATE, 44100)
    with model.stream(sampling_rate=44100) as stream:
        for part in np.split((32767 * samples).astype(np.int16), 7 * np.arange(1, 400, 40)):
            stream.feed(part)
    assert stream.partial() == model.predict(SOUNDS[0]).text


def test_a_finished_stream_takes_no_more(model):
    stream = model.stream()
    stream.feed([])
    assert stream.partial() == ""
    assert stream.finish().words == ()
    with pytest.raises(InputError, match="finished"):
        stream.feed(SOUNDS[0][0])


def test_long_recordings_are_cut_and_joined(model):
    cut = untaught()
    cut.preprocessor = SpeechPreprocessor(PreprocessorConfig(" abc", max_seconds=3.0))
    cut.set_weights(model.get_weights())
    pause = np.random.default_rng(0).normal(0, 0.003, RATE // 2).astype("f4")
    long = np.concatenate([part for samples, _ in SOUNDS[:6] for part in (samples, pause)])
    found = cut.predict((long, RATE))
    assert found.seconds == pytest.approx(len(long) / RATE)
    letters = "".join(SAID[:6]).replace(" ", "")
    same = difflib.SequenceMatcher(None, letters, found.text.replace(" ", "")).ratio()
    assert same > 0.8
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert starts[-1] > 0.7 * found.seconds
    assert len(found.spectrogram) == pytest.approx(found.seconds * 100, abs=20)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(RATE, "f4"), np.random.default_rng(0).normal(0, 0.01, RATE), np.ones(RATE),
     np.sign(np.sin(np.arange(RATE) / 5)), np.zeros(10)],
    ids=["silence", "noise", "constant", "clipped", "short"],
)  # fmt: skip
def test_what_is_no_speech_gives_a_result(model, samples):
    found = model.predict((samples.astype("f4"), RATE))
    assert len(found.text) < 12
    assert np.isfinite(found.log_probs.astype(float)).all()


def test_results_as_values_and_subtitles(model):
    found = model.predict(SOUNDS[0], num_hypotheses=5)
    assert json.loads(json.dumps(found.to_dict()))["text"] == found.text
    scores = [score for _, score in found.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert found.alternatives[0][0] == found.text
    assert found.to_srt().startswith("1\n00:00:00,")
    assert found.to_vtt().startswith("WEBVTT\n\n00:00:00.")
    assert found.text in found.to_srt()
    assert found.words[0].text in found._repr_html_()
    ax = found.plot()
    assert ax.get_ylabel() == "mel band"
    assert [text.get_text() for text in ax.texts] == [word.text for word in found.words]


def test_a_grammar_lets_its_sentences_through_alone(model):
    sentences = [*SAID[:6], "abc abc", "c c c"]
    for sound, text in zip(SOUNDS[:6], SAID, strict=False):
        assert model.predict(sound, grammar=sentences).text == text
        assert model.predict(sound, grammar="abc abc").text == "abc abc"
    assert model.predict(SOUNDS[0], grammar="Abc  abc").text == "abc abc"
    slots = {"first": ["aaa", "b", "c"], "second": ["cb", "Cc"]}
    found = model.predict(SOUNDS[:2], grammar="{first} {second}", slots=slots)
    assert [one.text for one in found] == SAID[:2]
    assert [f"{one.slots['first']} {one.slots['second']}" for one in found] == SAID[:2]
    assert found[0].to_dict()["slots"] == found[0].slots
    assert "slots" not in model.predict(SOUNDS[0]).to_dict()
    with model.stream(grammar=sentences) as stream:
        stream.feed(SOUNDS[1][0])
    assert stream.partial() == SAID[1]
    with pytest.raises(InputError, match="slots belong to a grammar"):
        model.predict(SOUNDS[0], slots=slots)
    with pytest.raises(InputError, match="unknown slot"):
        model.predict(SOUNDS[0], grammar="{third}")
    with pytest.raises(InputError, match="beam_size above 1"):
        model.predict(SOUNDS[0], grammar=sentences, beam_size=1)


def test_what_is_not_of_the_grammar_is_left_out(model):
    known = SAID[1]
    options = {"grammar": [known], "min_confidence": 0.2}
    assert model.predict(SOUNDS[4], grammar=[known]).text == known
    for sound, text in ((SOUNDS[1], known), (SOUNDS[4], "")):
        found = model.predict(sound, **options)
        with model.stream(**options) as stream:
            stream.feed(sound[0])
        for one in (found, stream.finish()):
            assert one.text == text and len(one.words) == len(text.split())
            assert one.alternatives[0][0] == text
            if not text:
                score = one.log_probs[:, 0].astype(float).sum()
                assert one.alternatives[0][1] == pytest.approx(score, rel=0.02)
            assert (one.confidence >= 0.2) == bool(text)
    told = model.predict(SOUNDS[1], grammar=[known])
    assert told.to_dict()["confidence"] == pytest.approx(told.confidence, abs=1e-4)
    # parts that are left out do not count
    language = grammar_for(model.preprocessor, [known])
    search = search_for(model.preprocessor, DecodingOptions(), grammar=language)
    parts = [
        (0.0, heard, one.spectrogram, *hypotheses([heard], search, 1))
        for one in model.predict([SOUNDS[1], SOUNDS[4]])
        for heard in [one.log_probs.astype("f4")]
    ]
    alone, both = (
        transcript_of("x", 9.0, some, model.preprocessor, CONFIG_SECONDS, language, 0.2)
        for some in (parts[:1], parts)
    )
    assert both.text == alone.text == known
    assert both.confidence == alone.confidence >= 0.2
    quiet = (9.0, np.log(np.full((99, 5), [0.96, *[0.01] * 4], "f4")), parts[0][2][:0], [])
    for least in (0.0, 1e-6, 0.2):  # where nothing is said, nothing is asked
        whole = transcript_of(
            "x", 9.0, [parts[0], quiet], model.preprocessor, CONFIG_SECONDS, language, least
        )
        assert whole.confidence == alone.confidence
    # without a grammar nothing is left out
    assert model.predict(SOUNDS[4], min_confidence=1.0).text == model.predict(SOUNDS[4]).text
    long = np.concatenate([SOUNDS[4][0]] * 20)
    assert len(long) / RATE > 30  # of a stream that settles, the whole is asked
    assert model.predict((long, RATE), **options).text == ""
    assert model.predict((long, RATE), **options).slots == {}


def test_a_slot_may_be_left_out(model):
    first, second = SAID[0].split()
    slots = {"which": [f"{first} ", ""], "rest": [second]}
    for sound, which in ((SOUNDS[0], {"which": first}), ((spoken(second), RATE), {})):
        found = model.predict(sound, grammar="{which}{rest}", slots=slots)
        assert found.slots == {**which, "rest": second}
        assert found.text == " ".join(found.slots.values())
    for sentence in ("{which} {rest}", "a {which}", "a {which} b"):
        with pytest.raises(InputError, match="'which' may be empty"):
            model.predict(SOUNDS[0], grammar=sentence, slots=slots)


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ({"hot_words": ["abc"]}, r"hot_words must be .* as \{'?\"?rnnzoo"),
        ({"hot_words": {"abc": "6"}}, "'abc' needs a number, got '6'"),
        ({"hot_words": {"a b": 6}}, "single words"),
        ({"grammar": 5}, "a sentence or a list of them, got 5"),
        ({"grammar": "{"}, "'{': "),
        ({"grammar": "{a}", "slots": "x"}, "slots must be a list of texts for each name"),
        ({"grammar": "{a}", "slots": {"a": "x"}}, "slot 'a' needs a list of texts"),
        ({"grammar": "{a}", "slots": {"a": [3]}}, "slot 'a' needs a list of texts"),
        ({"grammar": "{a:3}", "slots": {"a": ["b"]}}, r"its name in braces alone, as \{a\}"),
        ({"grammar": "{a!r}", "slots": {"a": ["b"]}}, r"its name in braces alone, as \{a\}"),
    ],
)
def test_languages_that_cannot_be_used_are_told(model, language, message):
    with pytest.raises(InputError, match=message):
        model.predict(SOUNDS[0], **language)


def test_a_grammar_travels_with_the_network(model, tmp_path):
    config = dataclasses.replace(
        model.preprocessor.config,
        grammar=["{word} {word}"],
        slots={"word": sorted({word for text in SAID for word in text.split()})},
    )
    closed = SpeechRecognizer(CONFIG, SpeechPreprocessor(config))
    closed.set_weights(model.get_weights())
    closed.save(tmp_path / "mine")
    again = rnnzoo.load(tmp_path / "mine")
    for found, text in zip(again.predict(SOUNDS), SAID, strict=True):
        assert found.text == text
        assert [found.slots["word"], found.slots["word_2"]] == text.split()
    with again.stream() as stream:
        stream.feed(SOUNDS[0][0])
    assert stream.finish().slots == again.predict(SOUNDS[0]).slots
    assert again.predict(SOUNDS[0], grammar="a a").text == "a a"
    assert again.predict(SOUNDS[0], grammar=()).text == model.predict(SOUNDS[0]).text
    with pytest.raises(InputError, match=r"grammar=\(\)"):
        again.predict(SOUNDS[0], beam_size=1)
    plain = again.predict(SOUNDS[0], beam_size=1, grammar=())
    assert plain.text == model.predict(SOUNDS[0], beam_size=1).text
    with pytest.raises(ConfigError, match=r"the config's grammar: .*unknown slot"):
        SpeechPreprocessor(dataclasses.replace(config, slots={}))
    with pytest.raises(ValueError, match="slots must be a list of texts for each name"):
        dataclasses.replace(config, slots={"word": "ab"})


def test_hot_words_pull_and_push(model):
    whole = model.predict(SOUNDS[0])
    word = whole.words[0].text
    pushed = model.predict(SOUNDS[0], hot_words={word: -60.0})
    assert word not in pushed.text.split()
    likely = model.predict(SOUNDS[0], num_hypotheses=20).alternatives
    other, _ = next(one for one in likely if not set(one[0].split()) <= set(whole.text.split()))
    (wanted, *_) = set(other.split()) - set(whole.text.split())
    pulled = model.predict(SOUNDS[0], hot_words={wanted: 60.0})
    assert wanted in pulled.text.split()
    assert model.predict(SOUNDS[0], hot_words={word.upper(): 1.0}).text == whole.text


def test_a_language_model_travels_with_the_network(model, tmp_path):
    language = NGram.train(SAID + texts(200, 5), " abc", order=3)
    config = dataclasses.replace(model.preprocessor.config, language_model="language.ngram")
    with_model = SpeechRecognizer(CONFIG, SpeechPreprocessor(config, language))
    with_model.set_weights(model.get_weights())
    with_model.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "language.ngram").is_file()
    again = rnnzoo.load(tmp_path / "mine")
    for sound in SOUNDS[:3]:
        assert again.predict(sound, lm_weight=0.0).text == model.predict(sound).text
        one, other = again.predict(sound), with_model.predict(sound)
        assert one.text == other.text
        assert one.alternatives[0][1] < model.predict(sound).alternatives[0][1]
    for bad in ((config, None), (PreprocessorConfig(" abc"), language)):
        with pytest.raises(ConfigError, match="both or neither"):
            SpeechPreprocessor(*bad)
    with pytest.raises(ConfigError, match="different checkpoints"):
        SpeechPreprocessor(dataclasses.replace(config, alphabet=" abd"), language)


def test_checkpoints_hold_all_of_it(model, tmp_path):
    model.save(tmp_path / "mine")
    again = rnnzoo.load(tmp_path / "mine")
    assert isinstance(again, SpeechRecognizer)
    assert again.preprocessor.config.alphabet == " abc"
    assert [str(one) for one in again.predict(SOUNDS[:3])] == [
        str(one) for one in model.predict(SOUNDS[:3])
    ]
    model.save(tmp_path / "mine.keras")
    again = rnnzoo.load(tmp_path / "mine.keras")
    assert str(again.predict(SOUNDS[0])) == str(model.predict(SOUNDS[0]))


def test_what_does_not_belong_together_is_told():
    with pytest.raises(ConfigError, match="different checkpoints"):
        SpeechRecognizer(CONFIG, SpeechPreprocessor(PreprocessorConfig("ab")))
    with pytest.raises(InputError, match="forward-only"):
        untaught(bidirectional=True, lookahead=0).stream()


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((SOUNDS[0], "abd"), "target 1: .* d"),
        ((SOUNDS[0], 3), "target 1"),
        (("nothing.wav", "abc"), "input 1: there is no file"),
        (((np.zeros(4000, "f4"), RATE), "abcabcabcabcabcabc"), "pair 1: 18 characters"),
        (((np.zeros(int(0.2 * RATE), "f4"), RATE), "aaaaaa"), "which need 11 frames, .* are 9"),
    ],
)
def test_pairs_that_cannot_be_learned_from_are_named(pair, message):
    good = (SOUNDS[1], SAID[1])
    with pytest.raises(InputError, match=message):
        untaught().fit([good[0], pair[0]], [good[1], pair[1]], verbose=0)


def test_options_are_checked(model):
    with pytest.raises(InputError, match="Did you mean 'beam_size'"):
        model.predict(SOUNDS[0], beam=3)
    with pytest.raises(InputError, match="must not exceed"):
        model.predict(SOUNDS[0], beam_size=2, num_hypotheses=3)
    with pytest.raises(ValueError, match="beam_size"):
        DecodingOptions(beam_size=0)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The checkpoint and two sound files, as the command line takes them."""
    place = tmp_path_factory.mktemp("cli")
    model.save(place / "mine")
    for name, (samples, rate) in zip(("one.wav", "two.flac"), SOUNDS, strict=False):
        soundfile.write(place / name, samples, rate)
    return place


def test_files_on_the_command_line(model, folder, capsys):
    files = [str(folder / "one.wav"), str(folder / "two.flac")]
    texts = [model.predict(name).text for name in files]
    assert main(["predict", str(folder / "mine"), files[0]]) == 0
    assert capsys.readouterr().out == f"{texts[0]}\n"
    assert main(["predict", str(folder / "mine"), *files, "--beam-size", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}\t{text}" for name, text in zip(files, texts, strict=True)]
    assert main(["predict", str(folder / "mine"), *files, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["text"] for one in found] == texts
    for ending, begin in ((".srt", "1\n00:00:00,"), (".vtt", "WEBVTT\n")):
        target = folder / f"out{ending}"
        assert main(["predict", str(folder / "mine"), files[0], "-o", str(target)]) == 0
        assert target.read_text().startswith(begin)
        assert texts[0] in target.read_text()


def test_bad_files_on_the_command_line(model, folder, capsys):
    bad = folder / "bad.wav"
    bad.write_text("this is no sound")
    mine = str(folder / "mine")
    assert main(["predict", mine, str(bad)]) == 2
    assert "cannot be read as sound" in capsys.readouterr().err
    good = str(folder / "one.wav")
    assert main(["predict", mine, str(bad), good, "--skip-invalid"]) == 0
    out = capsys.readouterr()
    assert out.out == f"{good}\t{model.predict(good).text}\n"
    assert "left out" in out.err
    assert main(["predict", mine, good, good, "-o", str(folder / "x.srt")]) == 2
    assert "one recording, not 2" in capsys.readouterr().err
    assert main(["predict", mine, good, "--resume"]) == 2


def test_a_sound_file_on_standard_input(model, folder, capsys, monkeypatch):
    good = folder / "one.wav"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(good.read_bytes())))
    assert main(["predict", str(folder / "mine")]) == 0
    assert capsys.readouterr().out == f"{model.predict(good).text}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["predict", str(folder / "mine")]) == 2
    assert "standard input is empty: name a sound file" in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 2])
def test_listening_to_standard_input(model, folder, capsys, monkeypatch, channels):
    samples = (32767 * SOUNDS[0][0]).astype("<i2")
    content = np.stack([samples] * channels, 1).tobytes()
    stdin = io.TextIOWrapper(io.BytesIO(content + b"x"))  # half a sample at the end
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["listen", str(folder / "mine"), "--channels", str(channels)]) == 0
    assert capsys.readouterr().out == f"{model.predict(SOUNDS[0]).text}\n"


def test_who_stops_listening_gets_what_was_said(model, folder, capsys, monkeypatch):
    class Interrupted(io.BytesIO):
        def read(self, size=-1):
            piece = super().read(size)
            if not piece:
                raise KeyboardInterrupt
            return piece

    samples = (32767 * SOUNDS[0][0]).astype("<i2")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Interrupted(samples.tobytes())))
    assert main(["listen", str(folder / "mine")]) == 0
    assert capsys.readouterr().out == f"{model.predict(SOUNDS[0]).text}\n"


def test_listening_that_cannot_be(folder, capsys):
    mine = str(folder / "mine")
    for arguments, message in (
        ([mine, "--channels", "0"], "from 1 to 64"),
        ([mine, "--rate", "3"], "from 1,000"),
        ([mine, "words"], "standard input alone"),
        ([mine, "--sampling-rate", "8000"], "as --rate"),
        ([mine, "--rate", "0"], "from 1,000"),
        (["seq2seq-en-fr"], "does not hear"),
    ):
        assert main(["listen", *arguments]) == 2
        assert message in capsys.readouterr().err
