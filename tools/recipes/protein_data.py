"""The protein sets as residue numbers with labels, and what changes a chain in training.

Chains are cut as `rnnzoo.deeploc.preprocess` cuts them, keeping both ends, where most sorting
signals are; in training a piece of the middle is left out now and then and residues are replaced
by others that BLOSUM62 finds likely in their place.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
from pathlib import Path

import numpy as np

from rnnzoo.deeploc.preprocess import PreprocessorConfig, ProteinPreprocessor
from rnnzoo.deeploc.residues import BLOSUM62, LETTERS, RESIDUES

DEEPLOC_LOCATIONS = {
    "Cytoplasm": "Cytoplasm",
    "Nucleus": "Nucleus",
    "Extracellular": "Extracellular",
    "Cell.membrane": "Cell membrane",
    "Mitochondrion": "Mitochondrion",
    "Plastid": "Plastid",
    "Endoplasmic.reticulum": "Endoplasmic reticulum",
    "Lysosome/Vacuole": "Lysosome/Vacuole",
    "Golgi.apparatus": "Golgi apparatus",
    "Peroxisome": "Peroxisome",
}
MULTILOC_LOCATIONS = {
    "Cytoplasm": "Cytoplasm",
    "Nucleus": "Nucleus",
    "Extracellular": "Extracellular",
    "Plasma.membrane": "Plasma membrane",
    "Mitochondrion": "Mitochondrion",
    "Chloroplast": "Chloroplast",
    "Endoplasmic.reticulum": "Endoplasmic reticulum",
    "Lysosome": "Lysosome",
    "Vacuole": "Vacuole",
    "Golgi.apparatus": "Golgi apparatus",
    "Peroxisome": "Peroxisome",
}
# share of each residue in Swiss-Prot, per cent, in the order of RESIDUES
BACKGROUND = np.array(
    [8.3, 5.5, 4.1, 5.5, 1.4, 3.9, 6.7, 7.1, 2.3, 5.9, 9.7, 5.8, 2.4, 3.9, 4.7, 6.6, 5.4, 1.1, 2.9,
     6.9]
)  # fmt: skip


@dataclasses.dataclass
class Proteins:
    """Chains as residue numbers, whole; location and membrane (1, 0, or -1 where unknown).

    `measured` is False where the membrane's label was reconstructed: to train on, never to score.
    """

    accessions: list[str]
    chains: list[np.ndarray]
    location: np.ndarray
    membrane: np.ndarray
    fold: np.ndarray
    measured: np.ndarray
    locations: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.chains)

    def take(self, rows: np.ndarray) -> Proteins:
        return Proteins(
            [self.accessions[n] for n in rows],
            [self.chains[n] for n in rows],
            self.location[rows],
            self.membrane[rows],
            self.fold[rows],
            self.measured[rows],
            self.locations,
        )


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _proteins(rows: list[dict[str, str]], names: dict[str, str], fold: str) -> Proteins:
    preprocessor = ProteinPreprocessor(PreprocessorConfig(tuple(names.values())))
    places = list(names)
    return Proteins(
        [row["accession"] for row in rows],
        [preprocessor.numbers(row["sequence"]) for row in rows],
        np.array([places.index(row["location"]) for row in rows]),
        np.array([{"M": 1, "S": 0}.get(row.get("membrane", ""), -1) for row in rows]),
        np.array([row[fold] for row in rows]),
        np.array([row.get("membrane_src") != "inferred" for row in rows]),
        tuple(names.values()),
    )


def read_deeploc(data: Path) -> Proteins:
    """DeepLoc 1.0; `fold` is "0" to "4", or "-" for the official test."""
    return _proteins(_rows(data / "deeploc1" / "deeploc1.tsv.gz"), DEEPLOC_LOCATIONS, "fold")


def read_multiloc(data: Path, homology: bool = False) -> Proteins:
    """MultiLoc; `fold` is "1" to "5": stratified at random, or by whole homology clusters."""
    rows = _rows(data / "multiloc" / "multiloc11.tsv.gz")
    return _proteins(rows, MULTILOC_LOCATIONS, "fold_h" if homology else "fold")


def replacement_table() -> np.ndarray:
    """Probability of each residue in another's place, [letters + 1, letters + 1].

    BLOSUM62 holds half-bits: q_ab / (p_a p_b) = 2 ** (s_ab / 2), so P(b | a) is p_b times that.
    Padding and ambiguous letters stay what they are.
    """
    table = np.eye(len(LETTERS) + 1)
    likely = BACKGROUND * 2 ** (BLOSUM62 / 2)
    count = len(RESIDUES)
    table[1 : count + 1, 1 : count + 1] = likely / likely.sum(1, keepdims=True)
    return table


REPLACED = np.cumsum(replacement_table(), axis=1)


def substitute(chain: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A chain in which about `rate` of the residues are drawn anew by `replacement_table`."""
    chain = chain.copy()
    at = np.flatnonzero(rng.random(len(chain)) < rate)
    drawn = rng.random(len(at))[:, None]
    chain[at] = np.minimum((REPLACED[chain[at]] <= drawn).sum(1), len(LETTERS))
    return chain


def shorten(chain: np.ndarray, kept: int, rng: np.random.Generator) -> np.ndarray:
    """A chain without a random piece of its middle; `kept` residues at each end stay.

    At most half of what lies between the ends is left out.
    """
    room = len(chain) - 2 * kept
    if room < 2:
        return chain
    length = int(rng.integers(0, room // 2 + 1))
    begin = kept + int(rng.integers(0, room - length + 1))
    return np.concatenate([chain[:begin], chain[begin + length :]])
