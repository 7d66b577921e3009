"""Sets of English-French pairs, and BLEU and chrF of a translator on them (sacreBLEU)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recipes.en_fr_data import read_pairs

LENGTH_BINS = ((1, 4), (5, 8), (9, 12), (13, 16), (17, 20), (21, 30))
OUT_OF_DOMAIN = (
    "diabla-en2fr",
    "diabla-fr2en-reversed",
    "ntrex128-newstest2019",
    "flores200-devtest",
    "tico19-all",
    "ud-pud",
)
SETS = ("valid", "test", "multiref", "tatoeba-challenge", "lengths", *OUT_OF_DOMAIN)

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


def score(translate: Callable[[list[str]], list[str]], rows: Rows) -> list[dict[str, Any]]:
    """BLEU and chrF of a translator on rows."""
    import sacrebleu

    found = translate([source for source, _ in rows])
    width = max(len(references) for _, references in rows)
    references = [[refs[n] if n < len(refs) else None for _, refs in rows] for n in range(width)]
    results = []
    for metric in (sacrebleu.BLEU(), sacrebleu.CHRF()):
        value = metric.corpus_score(found, references)
        results.append(
            {
                "metric": value.name,
                "value": round(value.score, 2),
                "rows": len(rows),
                "signature": str(metric.get_signature()),
            }
        )
    return results


class Measure:
    """Measures one translator, each sentence translated once."""

    def __init__(self, task: Any, name: str, batch_size: int, options: dict[str, Any]) -> None:
        self.task, self.batch_size, self.options = task, batch_size, options
        self.seen: dict[str, str] = {}

    def translate(self, texts: list[str]) -> list[str]:
        new = [text for text in dict.fromkeys(texts) if text not in self.seen]
        found = self.task.predict(new, batch_size=self.batch_size, verbose=0, **self.options)
        self.seen.update(zip(new, (result.text for result in found), strict=True))
        return [self.seen[text] for text in texts]

    def __call__(
        self, data: Path, name: str, limit: int | None, show: int
    ) -> Iterator[tuple[dict[str, Any], list[str]]]:
        """Records of a set, and lines to show beside each."""
        for source, split, rows in read_set(data, name):
            rows = rows[:limit]
            for n, result in enumerate(score(self.translate, rows) if rows else ()):
                lines = (
                    []
                    if n
                    else [
                        f"  {text}\n  = {refs[0]}\n  > {self.seen[text]}"
                        for text, refs in rows[:show]
                    ]
                )
                yield {"data": source, "split": split, **result}, lines
