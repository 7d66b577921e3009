"""What the cards of the writing networks say, measured figures aside; runs as tasks."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from recipes.run import read_run
from recipes.run import recipe_record as recipe_record
from recipes.run import tables as tables


def a_line_of_waves() -> list[list[float]]:
    """Points [40, 3] of a wave, as a pen writes eeee: ink that is nobody's."""
    turns = [n / 2 for n in range(41)]
    places = [(0.12 * 2 * t + 0.3 * math.sin(t), 0.5 - 0.5 * math.cos(t)) for t in turns]
    pairs = itertools.pairwise(places)
    points = [[round(u - x, 2), round(v - y, 2), 0.0] for (x, y), (u, v) in pairs]
    return [*points[:-1], [*points[-1][:2], 1.0]]


_GOLDEN_INPUTS: dict[str, tuple[tuple[Any, dict[str, Any]], ...]] = {
    "graves-handwriting": (
        ("rnnzoo", {}),
        ("a pen", {"bias": 1.0, "seed": 3}),
        ("Hi,\nyou", {"style": 1}),
    ),
    "graves-prediction": (
        (a_line_of_waves(), {"num_points": 40}),
        (a_line_of_waves()[:20], {"num_points": 60, "bias": 1.0, "seed": 3}),
    ),
}
UNIPEN = {
    "name": "UNIPEN train_r01_v07",
    "licence": "CC BY 4.0 according to Zenodo; the notice of 1999 that travels with the data says: "
    "1) PERMISSION IS HEREBY GRANTED TO USE THE DATA FOR RESEARCH PURPOSES. IT IS NOT ALLOWED TO "
    "DISTRIBUTE THIS DATA FOR COMMERCIAL PURPOSES. Copyright 1999, International Unipen Foundation "
    "- All rights reserved 2) PROVIDER GIVES NO EXPRESS OR IMPLIED WARRANTY OF ANY KIND AND ANY "
    "IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR PURPOSE ARE DISCLAIMED. 3) PROVIDER "
    "SHALL NOT BE LIABLE FOR ANY DIRECT, INDIRECT, SPECIAL, INCIDENTAL OR CONSEQUENTIAL DAMAGES "
    "ARISING OUT OF ANY USE OF THIS DATA. 4) THE CONDITIONS OF USE REQUIRE PROPER REFERENCE TO "
    "THIS DATABASE AS DESCRIBED IN ACCOMPANYING DOCUMENT 'unipen-conditions-of-use.html'",
    "citation": "International Unipen Foundation, UNIPEN data set of on-line (vectorial) "
    "handwriting, train_r01_v07 (1999), Zenodo, doi:10.5281/zenodo.1195803; Guyon, Schomaker, "
    "Plamondon, Liberman and Janet, UNIPEN project of on-line data exchange and recognizer "
    "benchmarks, ICPR 1994. Changed: cut into lines, size-normalised, resampled, anonymised, "
    "filtered.",
    "url": "https://doi.org/10.5281/zenodo.1195803",
    "size": "8,214 lines by 193 people, 7,037 of them as written and 1,177 of short rows of a page "
    "laid side by side, and 4,984 joined of words",
}
LICENCE = (
    "CC BY 4.0 according to Zenodo (trained on UNIPEN train_r01_v07); UNIPEN's own notice of 1999: "
    "research, no commercial distribution"
)
_GRAVES = "Graves, Generating Sequences With Recurrent Neural Networks, 2013, arXiv 1308.0850"
_SUMMARIES = {
    "graves-handwriting": "Text to handwriting, stroke by stroke (Graves 2013): three LSTMs with a "
    "soft window over the text and a mixture density output",
    "graves-prediction": "Where a pen goes next (Graves 2013): three LSTMs with a mixture density "
    "output, without a text",
}
LICENCE_LIMIT = (
    "The two statements on UNIPEN's licence do not agree: until someone has read the record on "
    "Zenodo, take the weights for research, and sell no script font made by them."
)
_LIMITS = (
    LICENCE_LIMIT,
    "Handwriting can be taken for a person's: do not imitate anyone's hand or signature to "
    "deceive. The writers are not named, and no line of theirs is part of the checkpoint.",
)
_WRITER_LIMITS = (
    "English letters, digits and some signs; accents are left out. The lines that it learnt from "
    "are prompts of the 1990s: names, cities, alphabets, business news.",
    "It may leave out, repeat or misform letters, the more the less the bias is; look at what you "
    "use.",
)


def golden_inputs(name: str) -> tuple[tuple[Any, dict[str, Any]], ...]:
    """What an entry's golden outputs are of, with options."""
    return _GOLDEN_INPUTS[name]


def description(name: str) -> dict[str, Any]:
    """Task, summary, licence, data, limits and papers of an entry."""
    from rnnzoo.manifest import DataRecord

    writes = name == "graves-handwriting"
    return {
        "task": "handwriting-synthesis" if writes else "handwriting-prediction",
        "summary": _SUMMARIES[name],
        "licence": LICENCE,
        "data": (DataRecord(**UNIPEN),),
        "limits": (*(_WRITER_LIMITS if writes else ()), *_LIMITS),
        "papers": (_GRAVES,),
        "languages": ("en",) if writes else (),
        "notes": _NOTES.get(name, ()),
    }


_NOTES: dict[str, tuple[str, ...]] = {
    "graves-handwriting": (
        "Trained on UNIPEN's lines and lines joined of its single words; slant, width and height "
        "vary. Other speeds, dropped points, and fonts or letters to pretrain on were not tried. "
        "The error still fell at the end: longer training is the first thing to try.",
        "How a line ends was chosen on validation: by section 5.3 it ends where the window leaves "
        "the text, which cut the last letters; now it goes on to the pen's lift, and for strokes "
        "that go back over the text, such as a t's cross. On 40 to 60 texts of validation our "
        "reader got 9.0 % of the characters wrong at bias 1 when a line ended one lift later, "
        "8.1 % when it ended at the lift, 7.9 % with strokes that go back.",
        "The texts of the legibility test are new in part too: none stands within a training line, "
        "and at most half of one is in pieces of 15 characters that do.",
        "Styles: each is ink that this network wrote behind a line of a training writer; 20 were "
        "chosen by eye of 56. A style takes on slant, size and speed, letters less; a "
        "line behind it may begin with a stray stroke of the style's text, or end with one too "
        "many. On a page of twenty styles two begin so and some five end so.",
    ),
    "graves-prediction": (
        "Trained on UNIPEN's lines and lines joined of its single words, without their texts; "
        "slant, width and height vary. The error still fell at the end: longer training is the "
        "first thing to try.",
        "Its lines look like words in one hand from a distance; read, they are letters and "
        "scribbles.",
    ),
}


def headline(figures: dict[tuple[str, str, str], float]) -> str:
    """The README's figures, of records by data, split and metric."""
    value = figures.get(("UNIPEN lines", "test", "nats/point"))
    told = "" if value is None else f"{value:.2f} nats a point (writers that it never saw)"
    written, real = (
        figures.get(("ink of new texts", f"test, {kind}", "CER (reader)"))
        for kind in ("bias 1", "real ink")
    )
    if written is not None and real is not None:
        told += f"; of its characters at bias 1 our reader gets {written:.1f} % wrong, "
        told += f"{real:.1f} % of real ink's"
    return told


def task_of_runs(runs: list[Path]) -> tuple[Any, list[dict[str, Any]]]:
    """The task with a run's averaged weights, and the run's record; a writer with the styles of
    the run's folder, if they are there."""
    from recipes.styles import STYLES
    from rnnzoo.handwriting import (
        HandwritingConfig,
        HandwritingPreprocessor,
        HandwritingWriter,
        InkPredictor,
        PredictorConfig,
        PredictorPreprocessor,
        PreprocessorConfig,
    )
    from rnnzoo.handwriting.preprocess import read_styles

    (run,) = runs
    record, weights = read_run(run)
    config = HandwritingConfig(**record["recipe"]["network"])
    task: Any
    if config.writes:
        path = run / STYLES
        styles = read_styles(path.read_bytes(), str(path)) if path.exists() else ()
        chosen = PreprocessorConfig(styles=STYLES if styles else None)
        preprocessor = HandwritingPreprocessor(chosen, styles)
        task = HandwritingWriter(config, preprocessor, dtype="float32")
    else:
        task = InkPredictor(config, PredictorPreprocessor(PredictorConfig()), dtype="float32")
    paths = [weight.path for weight in task.network.weights]
    task.assign_weights(dict(zip(paths, weights, strict=True)))
    return task, [record]
