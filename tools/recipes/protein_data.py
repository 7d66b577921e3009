"""The protein sets as residue numbers with labels, and what changes a chain in training.

To DeepLoc 1.0's proteins those of DeepLoc 2.0 and of MultiLoc can be added for training, without
the homologs of any protein that is measured on (MMseqs2, which has to be installed).

Chains are cut as `rnnzoo.deeploc.preprocess` cuts them, keeping both ends, where most sorting
signals are; in training a piece of the middle is left out now and then and residues are replaced
by others that BLOSUM62 finds likely in their place.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from rnnzoo.deeploc.preprocess import PreprocessorConfig, ProteinPreprocessor
from rnnzoo.deeploc.residues import BLOSUM62, LETTERS, RESIDUES

ADDED = "+"

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
_DEEPLOC_FOR = {"Plasma membrane": "Cell membrane", "Chloroplast": "Plastid"} | dict.fromkeys(
    ("Lysosome", "Vacuole"), "Lysosome/Vacuole"
)
# share of each residue in Swiss-Prot, per cent, in the order of RESIDUES
BACKGROUND = np.array(
    [8.3, 5.5, 4.1, 5.5, 1.4, 3.9, 6.7, 7.1, 2.3, 5.9, 9.7, 5.8, 2.4, 3.9, 4.7, 6.6, 5.4, 1.1, 2.9,
     6.9]
)  # fmt: skip


@dataclasses.dataclass
class Proteins:
    """Chains as residue numbers, whole; location (-1 for several) and membrane (1, 0, or -1 where
    unknown); what teachers say of each (`recipes.deeploc.teacher_likelihoods`), nothing without
    any; and the locations it was found in, [protein, locations], of several all that it may be.

    `measured` is False where the membrane's label was reconstructed: to train on, never to score.
    The `fold` of an added protein is `ADDED` and the folds that hold a homolog of it.
    """

    accessions: list[str]
    chains: list[np.ndarray]
    location: np.ndarray
    membrane: np.ndarray
    fold: np.ndarray
    measured: np.ndarray
    locations: tuple[str, ...]
    teacher_likelihoods: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )
    candidates: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), bool))

    def __post_init__(self) -> None:
        if not self.teacher_likelihoods.size:
            self.teacher_likelihoods = np.zeros((len(self), 0), np.float32)
        if not self.candidates.size:
            location = np.asarray(self.location)[:, None]
            self.candidates = (location == np.arange(len(self.locations))) | (location < 0)

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
            self.teacher_likelihoods[rows],
            self.candidates[rows],
        )

    def and_others(self, others: Proteins) -> Proteins:
        """These and those, not taught by anyone yet."""
        return Proteins(
            self.accessions + others.accessions,
            self.chains + others.chains,
            *(
                np.concatenate([getattr(self, name), getattr(others, name)])
                for name in ("location", "membrane", "fold", "measured")
            ),
            self.locations,
            candidates=np.concatenate([self.candidates, others.candidates]),
        )


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _proteins(rows: list[dict[str, str]], names: dict[str, str], fold: str) -> Proteins:
    preprocessor = ProteinPreprocessor(PreprocessorConfig(tuple(names.values())))
    places = list(names)
    found = [[places.index(place) for place in row["location"].split("|")] for row in rows]
    candidates = np.zeros((len(rows), len(places)), bool)
    for candidate, of_row in zip(candidates, found, strict=True):
        candidate[of_row] = True
    return Proteins(
        [row["accession"] for row in rows],
        [preprocessor.numbers(row["sequence"]) for row in rows],
        np.array([-1 if len(of_row) > 1 else of_row[0] for of_row in found], int),
        np.array([{"M": 1, "S": 0}.get(row.get("membrane", ""), -1) for row in rows], int),
        np.array([row[fold] for row in rows], dtype=object),
        np.array([row.get("membrane_src") != "inferred" for row in rows], bool),
        tuple(names.values()),
        candidates=candidates,
    )


def read_deeploc(data: Path) -> Proteins:
    """DeepLoc 1.0; `fold` is "0" to "4", or "-" for the official test."""
    return _proteins(_rows(data / "deeploc1" / "deeploc1.tsv.gz"), DEEPLOC_LOCATIONS, "fold")


def read_multiloc(data: Path, name: str) -> Proteins:
    """MultiLoc; `fold` is "1" to "5": for "multiloc" stratified at random, for "multiloc-clean" by
    whole homology clusters."""
    rows = _rows(data / "multiloc" / "multiloc11.tsv.gz")
    return _proteins(rows, MULTILOC_LOCATIONS, "fold" if name == "multiloc" else "fold_h")


def read_both(data: Path, cache: Path, several: bool = False, multiloc: bool = False) -> Proteins:
    """DeepLoc 1.0, and the proteins of one location that DeepLoc 2.0 adds, or of `several` too;
    with `multiloc` those also that MultiLoc alone has.

    Left out is what DeepLoc 1.0 has, and what is a homolog of a protein of its test: 30 % identity
    over half of either chain, asked from either side. `cache` keeps what the search for homologs
    found.
    """
    own = read_deeploc(data)
    places = {name: name for name in DEEPLOC_LOCATIONS.values()}
    newer = _rows(data / "deeploc2" / "swissprot_multilabel.tsv.gz")
    rows = [
        {**row, "location": row["labels"], "membrane": "SM"[int(row["membrane"])]}
        for row in newer
        if several or row["labels"] in places
    ]
    if multiloc:
        judged = {row["accession"] for row in newer} | {row["sequence"] for row in newer}
        for row in _rows(data / "multiloc" / "multiloc11.tsv.gz"):
            if judged.isdisjoint((row["accession"], row["sequence"])):
                place = MULTILOC_LOCATIONS[row["location"]]
                rows.append({**row, "location": _DEEPLOC_FOR.get(place, place)})
    added = _proteins(rows, places, "accession")
    accessions = set(own.accessions)
    chains = {chain.tobytes() for chain in own.chains}
    new = [
        accession not in accessions and chain.tobytes() not in chains
        for accession, chain in zip(added.accessions, added.chains, strict=True)
    ]
    added = added.take(np.flatnonzero(new))
    added.fold = ADDED + folds_of_homologs(added, own, cache)
    return own.and_others(added.take(np.flatnonzero(["-" not in fold for fold in added.fold])))


def spelled(proteins: Proteins) -> list[tuple[str, str]]:
    """Accessions and chains in letters."""
    chains = ("".join(LETTERS[n - 1] for n in chain) for chain in proteins.chains)
    return list(zip(proteins.accessions, chains, strict=True))


def folds_of_homologs(added: Proteins, own: Proteins, cache: Path) -> np.ndarray:
    """For each added protein the folds that hold a homolog of it, in one string."""
    if not cache.exists():
        folds: list[set[str]] = [set() for _ in range(len(added))]
        for one, other, *covered in homologs_both_ways(added, own):
            if max(covered) >= 0.5:
                folds[int(one)].add(own.fold[int(other)])
        lines = [
            f"{accession}\t{''.join(sorted(found))}\n"
            for accession, found in zip(added.accessions, folds, strict=True)
        ]
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial")
        partial.write_text("".join(lines), encoding="utf-8")
        os.replace(partial, cache)
    found = dict(line.split("\t") for line in cache.read_text(encoding="utf-8").splitlines())
    if list(found) != added.accessions:
        raise SystemExit(f"{cache} was made of other data: delete it and start again")
    return np.array(list(found.values()), dtype=object)


def homologs_both_ways(ones: Proteins, others: Proteins) -> np.ndarray:
    """What `homologs` finds asked with the ones and asked with the others, as rows of the one's
    and the other's number and the shares of them that the alignment covers.

    MMseqs2 may align a shared part over half of a chain from one side and not from the other.
    """
    return np.concatenate([homologs(ones, others), homologs(others, ones)[:, [1, 0, 3, 2]]])


def homologs(queries: Proteins, targets: Proteins) -> np.ndarray:
    """Pairs of at least 30 % identity (MMseqs2, E-value up to 0.001): rows of the query's and the
    target's number and the shares of the query and of the target that the alignment covers."""
    program = shutil.which("mmseqs")
    if program is None:
        raise SystemExit("this set needs MMseqs2 (Debian's package mmseqs2) on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, proteins in (("queries", queries), ("targets", targets)):
            (place / name).write_text(
                "".join(
                    f">{n}\n{''.join(LETTERS[number - 1] for number in chain)}\n"
                    for n, chain in enumerate(proteins.chains)
                )
            )
        files = [str(place / name) for name in ("queries", "targets", "hits", "tmp")]
        options = "--min-seq-id 0.3 -e 0.001 -s 7.5 --format-output query,target,qcov,tcov -v 1"
        subprocess.run([program, "easy-search", *files, *options.split()], check=True)
        return np.loadtxt(place / "hits", ndmin=2).reshape(-1, 4)


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
