"""What the card of the reader says, measured figures aside; runs as tasks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from recipes.handwriting_card import LICENCE, LICENCE_LIMIT, UNIPEN
from recipes.run import read_run, training_record
from recipes.run import tables as tables

_PAPERS = (
    "Graves, Liwicki, Fernandez, Bertolami, Bunke and Schmidhuber, A Novel Connectionist System "
    "for Unconstrained Handwriting Recognition, IEEE PAMI 31(5), 2009",
    "Graves, Fernandez, Gomez and Schmidhuber, Connectionist Temporal Classification: Labelling "
    "Unsegmented Sequence Data with Recurrent Neural Networks, ICML 2006",
)
_LIMITS = (
    "Lines of English, as strokes in the order in which a pen wrote them: not pictures. "
    "Two lines in single-stroke fonts came out as nonsense; a word alone may be read as another.",
    "Letters, digits and some signs, no accents. It learnt from prompts of the 1990s: names, "
    "cities, alphabets, word lists, business news; its language model is of the same texts.",
    LICENCE_LIMIT,
)
_NOTES = (
    "Trained from the start on UNIPEN's lines and on lines joined of its single words (two fifths "
    "of a pass at first, three tenths at the end); slant, width and height vary. The error still "
    "fell at the end: longer training is the first thing to try.",
    "Ink is normalised by what it looks like, not by its text: its height's spread gives the "
    "x-height, its lower quartile the baseline.",
    "Of the test's 734 lines 209 are of short rows of a page laid side by side, the others as "
    "written. New texts are those that no training line is equal to; parts of some are in "
    "training, as writers copied the same prompts: 11 of 100 stand within a training line.",
    "lm_weight was chosen on validation, before the weights were rounded: without the language "
    "model 8.2 % of the characters were wrong, with a weight of 0.2 / 0.4 / 0.6 / 0.8 / 1.0 / 1.2 "
    "5.8 / 4.8 / 4.3 / 4.3 / 4.6 / 5.0 %; of lines whose text is not in training 9.2 % and 7.0 / "
    "6.1 / 5.7 / 5.8 / 6.4 / 7.2 %. A bonus for words brought 0.1 points at 0.4.",
)


def golden_inputs(name: str) -> tuple[tuple[Any, dict[str, Any]], ...]:
    """What an entry's golden outputs are of, with options."""
    return (
        ("tests/data/ink/foot.inkml", {}),
        ("tests/data/ink/hearkens.inkml", {}),
        ("tests/data/ink/third.inkml", {"beam_size": 1}),
    )


def description(name: str) -> dict[str, Any]:
    """Task, summary, licence, data, limits and papers of an entry."""
    from rnnzoo.manifest import DataRecord

    return {
        "task": "online-handwriting-recognition",
        "summary": "Pen strokes to text (Graves et al. 2009): bidirectional LSTMs with CTC and a "
        "character language model",
        "licence": LICENCE,
        "data": (DataRecord(**UNIPEN),),
        "limits": _LIMITS,
        "papers": _PAPERS,
        "languages": ("en",),
        "notes": _NOTES,
    }


def headline(figures: dict[tuple[str, str, str], float]) -> str:
    """The README's figures, of records by data, split and metric."""
    value = figures.get(("UNIPEN lines", "test", "CER"))
    new = figures.get(("UNIPEN lines", "test, new texts", "CER"))
    if value is None or new is None:
        return ""
    return f"CER {value:.1f} % of writers that it never saw, {new:.1f} % of texts not in training"


def task_of_runs(runs: list[Path]) -> tuple[Any, list[dict[str, Any]]]:
    """The reader with a run's averaged weights and its language model, and the run's record."""
    from recipes.handwriting_reader import LANGUAGE_MODEL
    from rnnzoo.ctc import DecodingOptions, NGram
    from rnnzoo.handwriting import (
        InkReader,
        ReaderConfig,
        ReaderPreprocessor,
        ReaderPreprocessorConfig,
    )

    (run,) = runs
    record, weights = read_run(run)
    preprocessor = ReaderPreprocessor(
        ReaderPreprocessorConfig(language_model=LANGUAGE_MODEL),
        NGram.from_bytes((run / LANGUAGE_MODEL).read_bytes()),
    )
    config = ReaderConfig(**record["recipe"]["network"])
    reader = InkReader(config, preprocessor, DecodingOptions(), "float32")
    paths = [weight.path for weight in reader.network.weights]
    reader.assign_weights(dict(zip(paths, weights, strict=True)))
    return reader, [record]


def recipe_record(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the weights were trained."""
    from rnnzoo.handwriting import ReaderConfig

    record = training_record(f"python tools/train.py {name} --data DIR", runs)
    return {**record, "network": dataclasses.asdict(ReaderConfig(**record["network"]))}
