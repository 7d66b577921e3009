"""Measure a model: `python tools/evaluate.py NAME --data DIR [--set SET ...]`.

Prints the figures on standard error and the manifest's records as JSON on standard output. `NAME`
is anything that `rnnzoo.load` takes; the sets are those of its family.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]


def main(arguments: list[str] | None = None) -> None:
    import recipes

    import rnnzoo

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a registered name, a checkpoint folder or an hf:// address")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data set")
    parser.add_argument(
        "--set", action="append", help="what to measure on; several times for several (valid)"
    )
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit", type=int, help="only the first rows of each part")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of predict"
    )
    parser.add_argument(
        "--override", action="append", default=[], metavar="NAME=VALUE", help="of rnnzoo.load"
    )
    parser.add_argument(
        "--weights", default="shipped", help="what to call the weights in the records"
    )
    parser.add_argument("--show", type=int, default=0, help="print this many results")
    options = parser.parse_args(arguments)

    overrides, choices = (
        {n: json.loads(v) for n, v in (one.split("=", 1) for one in given)}
        for given in (options.override, options.option)
    )
    task = rnnzoo.load(options.name, dtype=options.dtype, **overrides)
    if task.new_weights:
        parser.error(f"{', '.join(task.new_weights)} would be at random: nothing to measure")
    family = recipes.measure(task.family)
    for name in options.set or []:
        if name not in family.SETS:
            parser.error(f"--set {name}: a {task.family} model has {', '.join(family.SETS)}")
    measure = family.Measure(task, options.name, options.batch_size, choices)
    changed = [f"--option {option}" for option in options.option]
    changed += [f"--override {override}" for override in options.override]
    for flag, value, default in (
        ("--limit", options.limit, None),
        ("--dtype", options.dtype, "auto"),
        ("--weights", options.weights, "shipped"),
    ):
        changed += [f"{flag} {value!r}"] if value != default else []
    records = []
    for name in options.set or ["valid"]:
        words = ["python tools/evaluate.py", options.name, "--data DIR --set", name, *changed]
        shared = {
            "options": choices,
            "overrides": overrides,
            "weights": options.weights,
            "command": " ".join(words),
        }
        for record, lines in measure(options.data, name, options.limit, options.show):
            records.append({**record, **shared})
            if "metric" in record:
                print(
                    f"{record['data']}, {record['split']}: {record['metric']} {record['value']}",
                    file=sys.stderr,
                )
            for line in lines:
                print(line, file=sys.stderr)
    print(json.dumps(records, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
