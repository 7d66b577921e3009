"""What is measured of ink: legibility beside real ink, styles, and what a reader gets wrong."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from recipes import error_rates, handwriting_measure, handwriting_reader_measure, legibility, sheets
from recipes.pen_data import Line
from test_handwriting_tools import write

from rnnzoo.handwriting import Handwriting, InkLine
from rnnzoo.handwriting.ink import points_of

RNG = np.random.default_rng(3)


def wave(slant=0.0, height=1.0, step=0.3, count=60, lifts=6):
    """Points of a zigzag that leans."""
    up = np.where(np.arange(count) % 4 < 2, 1.0, -1.0) * step * height
    noise = RNG.normal(0, 0.02, (2, count))
    dx = 0.3 * step + slant * up + noise[0]
    return np.stack([dx, up + noise[1], np.arange(count) % lifts == lifts - 1], 1).astype("f4")


def line(text, seen=False, writer=0, source="aga"):
    return Line(wave(), text, writer, source, seen)


def test_texts_are_new_and_each_stands_once():
    training = [line("A lazy dog sleeps by the garden gate")]
    texts = ("new", "a new one", "new", "lazy dog", "The garden gate", "dog sleeps by the gard, it")
    texts += ("dog sleeps by the gard, said he of it, and went",)
    lines = [line(text) for text in texts]
    found = legibility.chosen(lines, training, None)
    assert sorted(one.text for one in found) == sorted({texts[0], texts[1], texts[-1]})
    assert len(legibility.chosen([line(str(n)) for n in range(150)], training, None)) == 100
    assert len(legibility.chosen(lines, training, 1)) == 1


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("a new word here", "a new word here", False),
        ("a new word here", "a naw ward hare", False),
        ("a new word here", "a new here", True),  # one is missing
        ("a new word here", "a new word word here", True),  # one stands twice
        ("a new word here", "", True),
    ],
)
def test_words_that_are_missing_or_stand_twice(text, said, expected):
    assert legibility.failed(text, said) == expected


def test_lines_that_are_lost_or_never_end():
    def page(finished, looked):
        attention = np.eye(5, dtype="f4")[looked]
        return Handwriting("ab cd", (InkLine("ab cd", wave(), attention, finished),))

    assert not legibility.never_ended(page(True, [0, 1, 2, 3]))
    assert not legibility.never_ended(page(True, [1, 3]))
    assert legibility.never_ended(page(True, [0, 1, 2]))  # nobody looked at "cd"
    assert legibility.never_ended(page(False, [0, 1, 2, 3, 4]))
    assert not legibility.never_ended(legibility.ink_of("ab cd", wave()))


def test_styles_are_told_by_their_strokes():
    hands = [{"slant": s, "height": h} for s in (-0.4, 0.0, 0.4) for h in (0.8, 1.2)]

    def page(changes):
        return [legibility.ink_of("x", wave(**changes)).lines[0] for _ in range(10)]

    assert legibility.style_accuracy([page(hand) for hand in hands]) > 90
    alike = legibility.style_accuracy([page({}) for _ in range(6)])
    assert alike < 50  # chance is 17
    slanted, tall = page({"slant": 0.4})[0], page({"height": 2.0})[0]
    base, leaning, high = (legibility.features(one) for one in (page({})[0], slanted, tall))
    assert leaning[0] - base[0] == pytest.approx(0.4, abs=0.05)
    assert high[2] - high[1] > 1.5 * (base[2] - base[1])
    assert base[5] == pytest.approx(1 / 6)
    dot = InkLine(".", np.array([[0, 0.1, 0], [0.1, -0.1, 1]], "f4"), np.zeros((2, 1)), True)
    assert np.isfinite(legibility.features(dot)).all()


class Reader:
    """Reads what is written, but for the first line's last letter."""

    def __init__(self, texts):
        self.texts = texts

    def predict(self, inks, **options):
        said = [*(text for text in self.texts)]
        said[0] = said[0][:-1]
        return [SimpleNamespace(text=text, __str__=None) for text in said[: len(inks)]]


def test_a_reader_s_errors_by_decoding_and_contributor(tmp_path):
    write(tmp_path / "unipen_lines.npz", 24, 1)
    lines = handwriting_reader_measure.read_lines(tmp_path, "lines", "valid")
    texts = [one.text for one in lines]
    measure = handwriting_reader_measure.Measure(Reader(texts), "x", 4, {})
    records = [record for record, _ in measure(tmp_path, "valid", None, 1)]
    metrics = {(r["split"], r["metric"]): r["value"] for r in records if "metric" in r}
    letters = sum(map(len, texts))
    assert metrics["valid", "CER"] == pytest.approx(100 / letters, abs=0.01)
    assert {split for split, _ in metrics} == {"valid", "valid, new texts"}
    decoded, _, by_source = [record for record in records if "cells" in record]
    assert [row[0] for row in decoded["cells"]] == list(error_rates.WAYS)
    assert by_source["cells"] == [["aga", len(lines), *decoded["cells"][-1][2:]]]
    assert len(decoded["columns"]) == len(decoded["cells"][0])


def test_legibility_stands_beside_real_ink(tmp_path, monkeypatch):
    write(tmp_path / "unipen_lines.npz", 24, 1)
    texts = [one.text for one in legibility.chosen(
        handwriting_measure.read_lines(tmp_path, "lines", "valid"), [], None)]  # fmt: skip
    asked = []

    def predict(some, bias=0.5, **options):
        asked.append(bias)
        return [Handwriting(t, (InkLine(t, wave(), np.zeros((60, 0), "f4"), bias < 2),))
                for t in some]  # fmt: skip

    class Named(Reader):
        def predict(self, inks, **options):
            return [one.text for one in super().predict(inks)]

    monkeypatch.setattr("rnnzoo.load", lambda *_, **__: Named(texts))
    monkeypatch.setattr(legibility, "by_tesseract", lambda page: page.text)
    monkeypatch.setattr(legibility, "tesseract_version", lambda: "5")
    monkeypatch.setattr(legibility, "is_new", lambda *_: True)
    task = SimpleNamespace(predict=predict, config=SimpleNamespace(writes=True))
    measure = handwriting_measure.Measure(task, "x", 4, {})
    records = [record for record, _ in measure(tmp_path, "legibility-valid", None, 0)]
    *metrics, table = records
    assert asked == list(legibility.BIASES)
    assert {m["split"] for m in metrics} == {"valid, real ink", "valid, bias 1"}
    by_name = {m["metric"]: m["value"] for m in metrics if m["split"] == "valid, bias 1"}
    letters = sum(map(len, texts))
    assert by_name["CER (reader)"] == pytest.approx(100 / letters, abs=0.01)
    assert by_name["CER (Tesseract)"] == 0
    assert [row[0] for row in table["cells"]] == ["real ink", *(
        f"bias {b:g}" for b in legibility.BIASES)]  # fmt: skip
    assert [row[-3] for row in table["cells"]] == [0.0, 0.0, 0.0, 0.0, 100.0]
    assert [row[-1] for row in table["cells"]] == [0.0, 0.0, 0.0, 0.0, 100.0]
    assert {len(row) for row in table["cells"]} == {len(table["columns"])}


@pytest.mark.skipif(not shutil.which("tesseract"), reason="needs the command tesseract")
def test_tesseract_sees_a_picture():
    shapes = {
        "H": [[(0, 0), (0, 2)], [(0, 1), (1, 1)], [(1, 2), (1, 0)]],
        "I": [[(0, 0), (0, 2)]],
        "L": [[(0, 2), (0, 0), (1, 0)]],
        "T": [[(0, 2), (1.2, 2)], [(0.6, 2), (0.6, 0)]],
    }
    strokes = [
        np.add(stroke, [1.8 * n, 0])
        for n, letter in enumerate("TILTHILL")
        for stroke in shapes[letter]
    ]
    page = legibility.ink_of("TILTHILL", points_of(strokes))
    said = legibility.by_tesseract(page)
    assert error_rates.errors("TILTHILL", said.replace(" ", ""))[2] <= 3, said
    assert legibility.tesseract_version()[0].isdigit()


def test_sheets_are_pictures(tmp_path):
    from PIL import Image

    rows = [("one", legibility.ink_of("ab", wave())), ("two", legibility.ink_of("c", wave()))]
    sheets.draw(rows, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100
        inked = np.asarray(sheet) < 128
        half = sheet.height // 2
        assert inked[:half].any() and inked[half:].any()
