"""The gallery of a writer's styles: `python tools/recipes/styles.py --run DIR --data DIR`.

UNIPEN's ink is not given away. Each style is ink that the trained network wrote, primed by a line
of a training writer's (section 5.5 of Graves 2013); lines and seeds were chosen by eye, so that
each is legible and looks unlike the others. `--candidates N` draws N hands to choose from.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parent.parent.parent
    sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from recipes.pen_data import Line, read_lines

STYLES = "styles.json"  # in the run's folder, and in the checkpoint
TEXT = "Quick brown foxes jump over it"
BIAS = 1.0
_CHOSEN: tuple[tuple[int, int], ...] = (  # (number of the training line, seed)
    (132, 0),
    (379, 0),
    (1039, 0),
    (1089, 0),
    (1281, 0),
    (2250, 0),
    (2722, 0),
    (3668, 0),
    (3973, 0),
    (3991, 0),
    (4054, 0),
    (4689, 0),
    (4999, 0),
    (6606, 0),
    (7925, 0),
    (7954, 0),
    (7980, 0),
    (8060, 0),
    (8111, 0),
    (8143, 0),
)


def candidates(lines: list[Line], count: int) -> list[int]:
    """Numbers of training lines of 20 to 40 characters, one of each writer, spread over the
    writers."""
    first: dict[int, int] = {}
    for number, line in enumerate(lines):
        if 20 <= len(line.text) <= 40:
            first.setdefault(line.writer, number)
    numbers = list(first.values())
    return numbers[:: max(1, len(numbers) // count)][:count]


def styles(task: Any, lines: list[Line], chosen: list[tuple[int, int]]) -> list[Any]:
    """Ink in the hand of each chosen line, by the task's network."""
    from rnnzoo.handwriting import Style

    found = []
    for number, seed in chosen:
        line = lines[number]
        prime = Style(line.text, line.points)
        (ink,) = task.predict(TEXT, style=prime, bias=BIAS, seed=seed, verbose=0).lines
        found.append(Style(TEXT, ink.points, f"line {number}, seed {seed}"))
    return found


def main() -> None:
    from recipes.handwriting_card import task_of_runs
    from recipes.legibility import ink_of
    from recipes.sheets import draw
    from rnnzoo.handwriting.preprocess import write_styles

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--candidates", type=int, help="draw so many hands to choose from; nothing is written"
    )
    options = parser.parse_args()
    task, _ = task_of_runs([options.run])
    lines = read_lines(options.data, "lines", "train")
    chosen = list(_CHOSEN)
    if options.candidates:
        chosen = [(number, 0) for number in candidates(lines, options.candidates)]
    found = styles(task, lines, chosen)
    rows = [(str(n), ink_of(style.text, style.points)) for n, style in enumerate(found)]
    draw(rows, options.run / "styles.png")
    for number, style in enumerate(found):
        print(f"{number}: {style.name}")
    if not options.candidates:
        (options.run / STYLES).write_bytes(write_styles(found))


if __name__ == "__main__":
    main()
