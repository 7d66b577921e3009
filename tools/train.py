"""Train an entry of the zoo by its recipe: `python tools/train.py NAME --data DIR`.

DIR is the folder of the recipe's data set (`en-fr`, `protein`, ...). The run's state is kept in
`--run` (default `runs/NAME`, ignored by git); the same command goes on from it. Any field of the
recipe can be set by `--set field=value`; `--start-from` begins a new run with a checkpoint's
weights.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]


def main(arguments: list[str] | None = None) -> None:
    import recipes

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=recipes.names())
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data set")
    parser.add_argument("--run", type=Path, help="where the run's state is kept")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the recipe"
    )
    parser.add_argument(
        "--start-from",
        metavar="CHECKPOINT",
        help="a name, folder or hf:// address to begin with, or the folder of another run",
    )
    options = parser.parse_args(arguments)
    overrides = dict(setting.split("=", 1) for setting in options.set)
    family = importlib.import_module(f"recipes.{recipes.family_of(options.name)}")
    try:
        family.train(
            options.name,
            options.data,
            options.run or ROOT / "runs" / options.name,
            {field: json.loads(value) for field, value in overrides.items()},
            options.start_from,
        )
    except FileNotFoundError as error:
        raise SystemExit(f"{options.data} does not hold the data set: {error}") from error


if __name__ == "__main__":
    main()
