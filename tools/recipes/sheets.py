"""Contact sheets of a writer: `python tools/recipes/sheets.py NAME --data DIR`.

Draws into tools/pictures, unsorted and unpicked: lines of the test at random as real writers wrote
them, the same texts by the network at two biases, a page of its styles, and where the network
expects the points of the first of the real lines (figure 10 of Graves 2013).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parent.parent.parent
    sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from recipes.legibility import chosen, ink_of
from recipes.pen_data import read_lines

PICTURES = Path(__file__).resolve().parent.parent / "pictures"
_LINES = 20
_LABEL, _GAP = 60, 4  # pixels
_SCALE = 11  # pixels of an x-height
_STYLED = "She sells sea shells; 12 of them!"


def draw(rows: list[tuple[str, Any]], path: Path) -> None:
    """A picture of labelled lines of ink, one under the other."""
    from PIL import Image, ImageDraw

    images = [(label, ink.to_image(_SCALE)) for label, ink in rows]
    width = _LABEL + max(image.width for _, image in images)
    sheet = Image.new("L", (width, sum(image.height + _GAP for _, image in images)), 255)
    pen, top = ImageDraw.Draw(sheet), 0
    for label, image in images:
        sheet.paste(image, (_LABEL, top))
        pen.text((4, top + image.height // 2 - 6), label, fill=90)
        top += image.height + _GAP
    sheet.save(path, optimize=True)


def main() -> None:
    import rnnzoo
    from rnnzoo.handwriting import Style
    from rnnzoo.inspect import pen_density

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=PICTURES)
    options = parser.parse_args()
    task = rnnzoo.load(options.name, dtype="float32")
    training = read_lines(options.data, "lines", "train")
    lines = chosen(read_lines(options.data, "lines", "test"), training, _LINES)
    sheets = {"real": [("", ink_of(line.text, line.points)) for line in lines]}
    texts = [line.text for line in lines]
    for bias in (0.0, 1.0):
        pages = task.predict(texts, bias=bias, line_characters=100, verbose=0)
        sheets[f"bias-{bias:g}"] = [("", page) for page in pages]
    numbers = range(len(task.preprocessor.styles))
    sheets["styles"] = [
        (f"style {n}", task.predict(_STYLED, style=n, bias=1.0, verbose=0)) for n in numbers
    ]
    for name, rows in sheets.items():
        draw(rows, options.folder / f"handwriting-{name}.png")
    found = pen_density(task, Style(lines[0].text, lines[0].points), step=0.05)
    found.plot().savefig(options.folder / "pen-density.png", dpi=80, bbox_inches="tight")


if __name__ == "__main__":
    main()
