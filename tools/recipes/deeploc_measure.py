"""Sets of proteins, and what a localizer gets right on them (scikit-learn).

`valid` and `test` of DeepLoc 1.0, with the test split again into proteins that have a homolog in
the training set and those that have none (`homology`, by MMseqs2, which has to be installed);
`valid`, `test` and `homology` of MultiLoc's random split and of its homology-clean one, whose
clusters of 30 % identity are each in one fold, which does not part all homologs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.protein_data import Proteins, homologs, read_deeploc, read_multiloc, spelled

SETS = (
    "valid",
    "test",
    "homology",
    "multiloc-valid",
    "multiloc-test",
    "multiloc-homology",
    "multiloc-clean-valid",
    "multiloc-clean-test",
    "multiloc-clean-homology",
)
_BINS = 15


def gorodkin(truth: np.ndarray, found: np.ndarray) -> float:
    """Gorodkin's R_K (2004, doi 10.1016/j.compbiolchem.2004.09.006): Matthews' correlation for
    several classes, which is what scikit-learn computes; of two classes it is Matthews' own. 0
    where only one class occurs and it is not defined."""
    from sklearn.metrics import matthews_corrcoef

    if len(np.union1d(truth, found)) < 2:
        return 0.0
    return float(matthews_corrcoef(truth, found))


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3), 15 bins."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def read_set(data: Path, name: str) -> list[tuple[str, str, Proteins]]:
    """The parts of an evaluation set: (data name, split, proteins)."""
    if name.startswith("multiloc"):
        source, part = name.rsplit("-", 1)
        proteins = read_multiloc(data, source)
        kind = f"{'random' if source == 'multiloc' else 'homology-clean'} split"
        fold = "4" if part == "valid" else "5"
        chosen = proteins.take(np.flatnonzero(proteins.fold == fold))
        if part != "homology":
            return [("multiloc", f"{part}, {kind}", chosen)]
        others = proteins.take(np.flatnonzero(proteins.fold != fold))
        return _by_homology("multiloc", f"test, {kind}", chosen, others)
    proteins = read_deeploc(data)
    if name == "valid":
        return [("deeploc-1.0", "valid", proteins.take(np.flatnonzero(proteins.fold == "0")))]
    test = proteins.take(np.flatnonzero(proteins.fold == "-"))
    if name == "test":
        return [("deeploc-1.0", "test", test)]
    others = proteins.take(np.flatnonzero(proteins.fold != "-"))
    return _by_homology("deeploc-1.0", "test", test, others)


def _by_homology(
    source: str, split: str, test: Proteins, others: Proteins
) -> list[tuple[str, str, Proteins]]:
    near = has_homolog(test, others)
    parts = ("30 % identity to a training protein", near), ("no such homolog", ~near)
    return [(source, f"{split}, {part}", test.take(np.flatnonzero(which))) for part, which in parts]


def has_homolog(queries: Proteins, targets: Proteins) -> np.ndarray:
    """Whether each query has a hit of at least 30 % identity over half of it."""
    found = np.zeros(len(queries), bool)
    for query, _, covered, _ in homologs(queries, targets):
        found[int(query)] |= covered >= 0.5
    return found


def check_unseen(name: str, chosen: str) -> None:
    """Refuse a set that an entry of the manifest was trained on, that its teachers or what it began
    with were trained on, or that is of other data than its own."""
    from rnnzoo.manifest import package_manifest

    entry = package_manifest().entries.get(name)
    if entry is None:
        return
    trained, folds = entry.recipe["settings"]["data"], entry.recipe["folds"]
    multiloc = {"multiloc": SETS[3:6], "multiloc-clean": SETS[6:]}
    own = SETS[:3] if trained.startswith("deeploc1") else multiloc[trained]
    if chosen not in own:
        raise SystemExit(f"{name} was trained on {trained}: measure it on {', '.join(own)}")
    held_out = "4" if trained.startswith("multiloc") else "0"
    unseen = entry.recipe.get("unseen_folds", folds if len(set(folds)) == 1 else ())
    if chosen.endswith("valid") and held_out not in unseen:
        raise SystemExit(
            f"members of {name} (validated on folds {', '.join(folds)}), their teachers or what "
            f"they began with were trained on fold {held_out}: the validation split says nothing"
        )


class Measure:
    """Measures one localizer."""

    def __init__(self, task: Any, name: str, batch_size: int, options: dict[str, Any]) -> None:
        self.task, self.name = task, name
        self.batch_size, self.options = batch_size, options

    def __call__(
        self, data: Path, name: str, limit: int | None, show: int
    ) -> Iterator[tuple[dict[str, Any], list[str]]]:
        """Records of a set, and lines to show beside each."""
        check_unseen(self.name, name)
        for source, split, proteins in read_set(data, name):
            proteins = proteins.take(np.arange(len(proteins))[:limit])
            found = self.task.predict(
                spelled(proteins),
                batch_size=self.batch_size,
                verbose=0,
                **self.options,
            )
            shown = [
                f"  {result.name}: {proteins.locations[place]} > {result.location}"
                for result, place in zip(found[:show], proteins.location, strict=False)
            ]
            for record in score(proteins, found):
                yield {"data": source, "split": split, **record}, shown
                shown = []


def score(proteins: Proteins, found: list[Any]) -> Iterator[dict[str, Any]]:
    """Metric records, and the confusion matrix as a table."""
    import sklearn
    from sklearn.metrics import confusion_matrix, f1_score

    names = list(proteins.locations)
    truth = np.array([names[n] for n in proteins.location])
    said = np.array([result.location for result in found])
    confidence = np.array([result.likelihoods[result.location] for result in found])
    values = {
        "accuracy": float((said == truth).mean()),
        "Gorodkin": gorodkin(truth, said),
        "macro F1": float(f1_score(truth, said, labels=names, average="macro", zero_division=0)),
        "calibration error": calibration_error(confidence, said == truth),
    }
    values |= {f"MCC {name}": gorodkin(truth == name, said == name) for name in names}
    signature = f"scikit-learn {sklearn.__version__}"
    for metric, value in values.items():
        yield {
            "metric": metric,
            "value": round(value, 4),
            "rows": len(truth),
            "signature": signature,
        }
    known = (proteins.membrane >= 0) & proteins.measured
    if known.any() and found[0].membrane is not None:
        bound = proteins.membrane == 1
        same = np.array([result.membrane_bound for result in found]) == bound
        labelled = np.bincount(proteins.location[known], minlength=len(names))
        of_them = np.bincount(proteins.location[known & bound], minlength=len(names))
        # of the membrane-bound among those of a protein's location, which may leave no choice
        shares = (of_them / np.maximum(labelled, 1))[proteins.location]
        open_ = known & (shares > 0) & (shares < 1)
        rows = {"membrane accuracy": known, "membrane accuracy where both occur": open_}
        for metric, which in rows.items():
            if which.any():
                yield {
                    "metric": metric,
                    "value": round(float(same[which].mean()), 4),
                    "rows": int(which.sum()),
                    "signature": signature,
                }
    matrix = confusion_matrix(truth, said, labels=names)
    yield {
        "title": "confusion",
        "columns": ["true \\ said", *names],
        "cells": [[name, *map(int, row)] for name, row in zip(names, matrix, strict=True)],
    }
