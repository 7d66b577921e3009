"""Measure a translator: `python tools/evaluate.py NAME --data DIR [--set SET ...]`.

Prints a table on standard error and the manifest's metric records as JSON on standard output.
BLEU and chrF are sacreBLEU's, with their signatures. `NAME` is anything that `rnnzoo.load` takes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from recipes.en_fr_data import read_pairs  # noqa: E402

LENGTH_BINS = ((1, 4), (5, 8), (9, 12), (13, 16), (17, 20), (21, 30))
OUT_OF_DOMAIN = (
    "diabla-en2fr",
    "diabla-fr2en-reversed",
    "ntrex128-newstest2019",
    "flores200-devtest",
    "tico19-all",
    "ud-pud",
)

Rows = list[tuple[str, list[str]]]


def _table(path: Path, keep: Callable[[tuple[str, str, str]], bool] = lambda row: True) -> Rows:
    return [(row[0], [row[1]]) for row in read_pairs(path) if keep(row)]


def _multiref(path: Path) -> Rows:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [(row["en"], row["refs"]) for row in map(json.loads, lines)]


def read_set(data: Path, name: str) -> list[tuple[str, str, Rows]]:
    """The parts of an evaluation set: (data name, split, rows of source and references)."""
    if name in ("valid", "test"):
        return [
            (source, name, _table(data / f"{name}.tsv.gz", lambda row, s=source: row[2] == s))
            for source in ("tatoeba", "europarl")
        ]
    if name == "multiref":
        rows = _multiref(data / "test.tatoeba.multiref.jsonl.gz")
        return [("tatoeba", "test, all references", rows)]
    if name == "tatoeba-challenge":
        path = data / "test.tatoeba-challenge-v2021-08-07.tsv.gz"
        return [("tatoeba-challenge-v2021-08-07", "test", _table(path))]
    if name == "lengths":
        rows = _table(data / "test.tatoeba-challenge-v2021-08-07.tsv.gz")
        rows += _table(data / "test.tsv.gz", lambda row: row[2] == "europarl")
        return [
            (
                "tatoeba-challenge + europarl",
                f"test, {low} to {high} source words",
                [row for row in rows if low <= len(row[0].split()) <= high],
            )
            for low, high in LENGTH_BINS
        ]
    path = data / "ood" / f"{name}.tsv.gz"
    return [
        (name, "all", _table(path)),
        (name, "up to 20 words", _table(path, lambda row: len(row[0].split()) <= 20)),
    ]


def measure(translate: Callable[[list[str]], list[str]], rows: Rows) -> list[dict[str, Any]]:
    """BLEU and chrF of a translator on rows."""
    import sacrebleu

    found = translate([source for source, _ in rows])
    width = max(len(references) for _, references in rows)
    references = [[refs[n] if n < len(refs) else None for _, refs in rows] for n in range(width)]
    results = []
    for metric in (sacrebleu.BLEU(), sacrebleu.CHRF()):
        score = metric.corpus_score(found, references)
        results.append(
            {
                "metric": score.name,
                "value": round(score.score, 2),
                "rows": len(rows),
                "signature": str(metric.get_signature()),
            }
        )
    return results


def main(arguments: list[str] | None = None) -> None:
    import rnnzoo

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a registered name, a checkpoint folder or an hf:// address")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data set")
    parser.add_argument(
        "--set",
        action="append",
        choices=["valid", "test", "multiref", "tatoeba-challenge", "lengths", *OUT_OF_DOMAIN],
        help="what to measure on; several times for several (default: valid)",
    )
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit", type=int, help="only the first rows of each part")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--weights", default="shipped", help="what to call the weights in the records"
    )
    parser.add_argument("--show", type=int, default=0, help="print this many translations")
    options = parser.parse_args(arguments)

    translator = rnnzoo.load(options.name, dtype=options.dtype)
    choices = {n: json.loads(v) for n, v in (option.split("=", 1) for option in options.option)}
    seen: dict[str, str] = {}

    def translate(texts: list[str]) -> list[str]:
        new = [text for text in dict.fromkeys(texts) if text not in seen]
        found = translator.predict(new, batch_size=options.batch_size, verbose=0, **choices)
        seen.update(zip(new, (result.text for result in found), strict=True))
        return [seen[text] for text in texts]

    changed = [f"--option {option}" for option in options.option]
    for flag, value, default in (
        ("--limit", options.limit, None),
        ("--dtype", options.dtype, "auto"),
        ("--weights", options.weights, "shipped"),
    ):
        changed += [f"{flag} {value!r}"] if value != default else []
    records = []
    for name in options.set or ["valid"]:
        words = ["python tools/evaluate.py", options.name, "--data DIR --set", name, *changed]
        for data, split, rows in read_set(options.data, name):
            rows = rows[: options.limit]
            for result in measure(translate, rows) if rows else ():
                shared = {
                    "options": choices,
                    "weights": options.weights,
                    "command": " ".join(words),
                }
                records.append({"data": data, "split": split, **shared, **result})
                print(f"{data}, {split}: {result['metric']} {result['value']}", file=sys.stderr)
            for source, references in rows[: options.show]:
                print(f"  {source}\n  = {references[0]}\n  > {seen[source]}", file=sys.stderr)
    print(json.dumps(records, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
