"""Train an entry of the zoo by its recipe: `python tools/train.py NAME --data DIR`.

The run's state is kept in `--run` (default `runs/NAME`, ignored by git); the same command goes on
from it. Any field of the recipe can be set by `--set field=value`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]


def main(arguments: list[str] | None = None) -> None:
    from recipes import seq2seq

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(seq2seq.RECIPES))
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data set")
    parser.add_argument("--run", type=Path, help="where the run's state is kept")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the recipe"
    )
    options = parser.parse_args(arguments)
    overrides = dict(setting.split("=", 1) for setting in options.set)
    seq2seq.train(
        options.name,
        options.data,
        options.run or ROOT / "runs" / options.name,
        {field: json.loads(value) for field, value in overrides.items()},
    )


if __name__ == "__main__":
    main()
