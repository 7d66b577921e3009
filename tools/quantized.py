"""Float32 beside int8 and bfloat16: `python tools/quantized.py --data DIR [NAME ...] [--limit N]`.

For each entry the bytes of its weights in memory, how long its golden input takes when all is
warm, and its main figure on validation (on the test, where members have seen validation), by the
set and the options that the manifest's record names. Float32 and bfloat16 are TensorFlow's; with
onnx the engine is onnxruntime, in float32 and in int8 (TensorFlow's int8 computes in float32 with
the same weights). All are loaded side by side and take turns, so that what else the machine does
falls on all. In brackets stands the share of the rows whose answer is another than float32's: no
count of right rows can be further apart. Of a network that writes the figure is how its ink is
read; one that only goes on with ink is scored on given ink, which asks TensorFlow's network: there
onnxruntime has no figure. DIR holds the data sets' folders: en-fr, handwriting, protein, speech.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

FOLDERS = {
    "deeploc": "protein",
    "deepspeech": "speech",
    "handwriting": "handwriting",
    "handwriting_prediction": "handwriting",
    "handwriting_reader": "handwriting",
    "seq2seq": "en-fr",
}
WAYS: dict[str, dict[str, str]] = {
    "float32": {},
    "bfloat16": {"dtype": "mixed_bfloat16"},
    "onnx": {"engine": "onnx"},
    "int8, onnx": {"quantize": "int8", "engine": "onnx"},
}
COLUMNS = ("name", "MB", "MB int8", *(f"ms {way}" for way in WAYS), "on", "rows", *WAYS)
READ = ("CER (reader)", "valid, bias 1")  # how the ink of a network that writes is read


def megabytes(network: Any) -> float:
    """What a network's weights take in memory."""
    import numpy as np

    return sum(np.asarray(weight).nbytes for weight in network.weights) / 1e6


def milliseconds(models: list[Any], golden: Any, rounds: int) -> list[float]:
    """The median time of a golden input for each model, in turn; the first of each is left out."""
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(rounds + 1):
        for model, own in zip(models, taken, strict=True):
            begin = time.perf_counter()
            model.predict(golden.input, verbose=0, **golden.options)
            own.append(1000 * (time.perf_counter() - begin))
    return [statistics.median(own[1:]) for own in taken]


def main_record(entry: Any) -> tuple[Any, str]:
    """An entry's figure of how its ink is read, or else its first on validation, or else on the
    test, and the name of its set."""
    read = [record for record in entry.metrics if (record.metric, record.split) == READ]
    for split in ("valid", "test"):
        for record in read or entry.metrics:
            words = record.split.split(", ")
            if record.overrides:
                continue
            if words[0] == split and "idle before" not in words and record.weights == "shipped":
                found = re.search(r"--set (\S+)", record.command)
                return record, found[1] if found else split
    raise SystemExit(f"{entry.name} has no figure in the manifest")


def figure(
    model: Any, entry: Any, data: Path, batch_size: int, limit: int | None
) -> tuple[dict[str, Any], list[str]]:
    """The main figure, measured anew, and the answer to each row, if that is told."""
    import recipes

    wanted, name = main_record(entry)
    family = recipes.measure(model.family)
    measure = family.Measure(model, entry.name, batch_size, wanted.options)
    for record, answers in measure(data / FOLDERS[model.family], name, limit, limit or sys.maxsize):
        if all(record.get(key) == getattr(wanted, key) for key in ("data", "split", "metric")):
            return record, answers
    raise SystemExit(f"the recipe of {entry.name} does not measure {wanted.metric} on {name}")


def in_brackets(value: float, answers: list[str], wanted: list[str]) -> str:
    """A figure and, of answers other than the `wanted` ones themselves, how many differ."""
    if not answers or answers is wanted:
        return str(value)
    differ = sum(one != other for one, other in zip(answers, wanted, strict=True))
    return f"{value} ({100 * differ / len(wanted):.1f} %)"


def compare(entry: Any, options: argparse.Namespace) -> list[str]:
    """An entry's row of the table."""
    import rnnzoo

    models = [rnnzoo.load(entry.name, **{"dtype": options.dtype} | way) for way in WAYS.values()]
    sizes = [megabytes(model.network) for model in (models[0], models[-1])]
    times = milliseconds(models, entry.golden[0], options.rounds)
    wanted, _ = main_record(entry)
    found = [
        figure(model, entry, options.data, options.batch_size, options.limit)
        for model in models
        if model.engine != "onnx" or not wanted.metric.startswith("nats")
    ]
    figures = [in_brackets(record["value"], answers, found[0][1]) for record, answers in found]
    figures += [""] * (len(models) - len(found))
    where = f"{wanted.metric}, {wanted.data}, {wanted.split}"
    return [
        entry.name,
        *(f"{size:.1f}" for size in sizes),
        *(f"{ms:.0f}" for ms in times),
        where,
        str(found[0][0]["rows"]),
        *figures,
    ]


def main(arguments: list[str] | None = None) -> None:
    from rnnzoo.manifest import package_manifest

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="entries (default: all)")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--limit", type=int, help="only the first rows of each part")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15, help="times that each input is run")
    parser.add_argument("--dtype", default="auto", help="precision of the computation")
    options = parser.parse_args(arguments)

    entries = package_manifest().entries
    for name in options.names:
        if name not in entries:
            parser.error(f"there is no entry {name!r}; there are: {', '.join(entries)}")
    for row in (COLUMNS, ["---"] * len(COLUMNS)):
        print("| " + " | ".join(row) + " |")
    for name in options.names or entries:
        print("| " + " | ".join(compare(entries[name], options)) + " |", flush=True)


if __name__ == "__main__":
    main()
