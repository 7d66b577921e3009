"""How legible a writing network's ink is, beside real ink of the same texts, and how far its styles
can be told apart.

Texts are those of lines of the split's writers of which little is in any training text
(`is_new`). They are read by `graves-handwriting-reader` and, as pictures, by Tesseract (the command
`tesseract`).
"""

from __future__ import annotations

import io
import itertools
import subprocess
from typing import Any

import numpy as np

from recipes.error_rates import errors, interval, rates
from recipes.pen_data import Line
from rnnzoo.handwriting import Handwriting, InkLine

BIASES = (0.0, 0.5, 1.0, 2.0)
READER = "graves-handwriting-reader"
_TEXTS = 100
_PIXELS = 24  # of an x-height in a picture
_RUN = 4  # characters left out or put in, in a row: a word or most of it
_PIECE = 15  # characters of a text that may be in training
STYLE_TEXTS = 20


def is_new(text: str, training: str, pieces: set[str]) -> bool:
    """Whether a text is not within one of training, small letters or capitals alike, and at most
    half of its characters are in pieces of 15 that are.

    Parameters
    ----------
    text : str
    training : str
        The training texts in small letters, a line each.
    pieces : set of str
        Their pieces of 15 characters.
    """
    text = text.lower()
    if text in training:
        return False
    known = np.zeros(len(text), bool)
    for n in range(len(text) - _PIECE + 1):
        if text[n : n + _PIECE] in pieces:
            known[n : n + _PIECE] = True
    return bool(known.mean() <= 0.5)


def chosen(lines: list[Line], training: list[Line], limit: int | None) -> list[Line]:
    """Lines of different texts that are new, at random."""
    texts = "\n".join({line.text.lower(): None for line in training})
    pieces = {texts[n : n + _PIECE] for n in range(len(texts) - _PIECE + 1)}
    rng = np.random.default_rng(1)
    found: dict[str, Line] = {}
    for n in rng.permutation(len(lines)):
        if is_new(lines[n].text, texts, pieces):
            found.setdefault(lines[n].text, lines[n])
    return list(found.values())[: min(_TEXTS, limit or _TEXTS)]


def ink_of(text: str, points: np.ndarray) -> Handwriting:
    """Points of a line as what a network gives."""
    nothing = np.zeros((len(points), 0), np.float32)
    return Handwriting(text, (InkLine(text, points, nothing, True),))


def tesseract_version() -> str:
    """Of the command."""
    found = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=True)
    return found.stdout.split()[1]


def by_tesseract(page: Handwriting) -> str:
    """What Tesseract reads in a line's picture."""
    picture = io.BytesIO()
    page.to_image(_PIXELS, 0.14).save(picture, "PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "7", "-l", "eng"]
    found = subprocess.run(command, input=picture.getvalue(), capture_output=True, check=True)
    return " ".join(found.stdout.decode("utf-8").split())


def failed(text: str, said: str) -> bool:
    """Whether four or more characters were left out or put in, in a row, as a reader reads it: a
    word of such a length is missing or there twice."""
    import jiwer

    chunks = jiwer.process_characters(text, said).alignments[0]
    longest = 0
    for chunk in chunks:
        if chunk.type == "delete":
            longest = max(longest, chunk.ref_end_idx - chunk.ref_start_idx)
        elif chunk.type == "insert":
            longest = max(longest, chunk.hyp_end_idx - chunk.hyp_start_idx)
    return longest >= _RUN


def never_ended(page: Handwriting) -> bool:
    """Whether a line of ink did not end at its text's end, or its window never looked at some word
    most."""
    for line in page.lines:
        if not line.finished:
            return True
        if not line.attention.size:
            continue
        seen = set(line.attention.argmax(1).tolist())
        begin = 0
        for word in line.text.split(" "):
            if word and not seen & set(range(begin, begin + len(word))):
                return True
            begin += len(word) + 1
    return False


def read(reader: Any, pages: list[Handwriting]) -> dict[str, list[str]]:
    """What is read in pages of one line each, by each reader."""
    inks = [page.lines[0] for page in pages]
    return {
        "reader": [str(one) for one in reader.predict(inks, verbose=0)],
        "reader, greedy": [str(one) for one in reader.predict(inks, verbose=0, beam_size=1)],
        "Tesseract": [by_tesseract(page) for page in pages],
    }


def measured(
    kind: str, pages: list[Handwriting], reader: Any
) -> tuple[list[Any], dict[str, float]]:
    """A row of the table of legibility, and its metrics in percent."""
    texts, row, figures = [page.text for page in pages], [kind, len(pages)], {}
    said = read(reader, pages)
    for name, own in said.items():
        counts = np.array([errors(text, one) for text, one in zip(texts, own, strict=True)])
        low, high = interval(counts[:, 2:])
        figures[f"CER ({name})"] = round(rates(counts)[1], 2)
        row += [round(rates(counts)[1], 1), f"{low} to {high}"]
    lost = np.array([never_ended(page) for page in pages])
    off = np.array([failed(text, one) for text, one in zip(texts, said["reader"], strict=True)])
    for name, bad in zip(FAILURES, (lost, off, lost | off), strict=True):
        figures[name] = round(100 * float(bad.mean()), 1)
        row.append(figures[name])
    return row, figures


FAILURES = ("lost or never ended", "4 or more characters out or in", "either")
COLUMNS = [
    "ink", "lines", "CER (reader)", "95 % interval", "CER (reader, greedy)", "95 % interval",
    "CER (Tesseract)", "95 % interval", *FAILURES,
]  # fmt: skip


def features(line: InkLine) -> np.ndarray:
    """[8] Statistics of a line's strokes: slant, height and its tails, speed and its spread, how
    often the pen is lifted, the gap to the next stroke, and how much strokes turn."""
    down, steps, turns, gaps = [], [], [], []
    strokes = line.strokes
    for stroke in strokes:
        step = np.diff(stroke, axis=0)
        steps.append(step)
        down.append(stroke[:, 1])
        angle = np.unwrap(np.arctan2(step[:, 1], step[:, 0] + 1e-9)) if len(step) > 1 else []
        turns.append(np.abs(np.diff(angle)).sum())
    for one, other in itertools.pairwise(strokes):
        gaps.append(other[0, 0] - one[-1, 0])
    step, height = np.concatenate(steps), np.concatenate(down)
    length = np.hypot(*step.T) + 1e-9
    upright = np.abs(step[:, 1]) > np.abs(step[:, 0])
    leaning = np.abs(step[upright, 1]).sum() + 1e-9
    low, high = np.percentile(height, [5, 95])
    return np.array(
        [
            np.sum(step[upright, 0] * np.sign(step[upright, 1])) / leaning,
            low,
            high,
            length.mean(),
            length.std(),
            len(strokes) / len(height),
            np.median(gaps) if gaps else 0.0,
            np.sum(turns) / length.sum(),
        ]
    )


def style_accuracy(pages: list[list[InkLine]]) -> float:
    """How many of the lines of several styles are told to be of theirs, in percent, by linear
    discriminants (scikit-learn) of `features`, learnt from the lines of other texts."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import KFold, cross_val_score

    texts = len(pages[0])
    x = np.array([features(page[text]) for text in range(texts) for page in pages])
    y = np.tile(np.arange(len(pages)), texts)  # a fold is of whole texts
    folds = KFold(5)
    return 100 * float(cross_val_score(LinearDiscriminantAnalysis(), x, y, cv=folds).mean())
