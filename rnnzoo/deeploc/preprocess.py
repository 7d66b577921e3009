"""Proteins to padded residue numbers, and importance back to the residues of the whole chain.

The rule for letters: lower case counts as upper case; white space and gaps (`-`, `.`) are left out,
and a stop (`*`) at the end too; a stop inside is read as an unknown residue, X. U (selenocysteine)
is read as C, O (pyrrolysine) as K; B, Z, J and X as the mean of the residues they may be. Anything
else is an error, and 20 letters or more that are nearly all A, C, G, T, U or N are taken for DNA or
RNA (not those of one letter alone, or of A and G). A bare line with a dot in it is a file's name,
not a sequence. Chains of over `max_length` residues keep their first and last halves of it, as
DeepLoc's.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.deeploc.fasta import Record, open_fasta, read_fasta, records_of_file
from rnnzoo.deeploc.residues import LETTERS, PAD_ID
from rnnzoo.errors import InputError

_MIN_NUCLEOTIDES = 20
_ACCESSION = re.compile(  # UniProt's
    r"(?i:[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2})(-\d+)?"
)
_POSITION = re.compile(r"(^|\s)\d+(\s|$)")
_FASTA_NAME = re.compile(r"(?i:\.(fa|faa|fas|fasta|pep|txt)(\.gz)?)$")
_NUMBERS = np.full(128, 0, np.int32)
for _number, _letter in enumerate(LETTERS, 1):
    _NUMBERS[ord(_letter)] = _number
_NUMBERS[ord("U")], _NUMBERS[ord("O")] = _NUMBERS[ord("C")], _NUMBERS[ord("K")]


@dataclasses.dataclass(frozen=True)
class PreprocessorConfig:
    """What a network's outputs are called, and how much of a chain it reads.

    Attributes
    ----------
    locations : tuple of str
        Names of the locations, in the order of the network's output.
    max_length : int
        Residues read of a chain; of longer ones both ends.

    Examples
    --------
    >>> from rnnzoo.deeploc import PreprocessorConfig
    >>> PreprocessorConfig(("Nucleus", "Cytoplasm")).max_length
    1000
    """

    locations: tuple[str, ...]
    max_length: int = 1000

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, max_length=(2, 100_000))
        if len(set(self.locations)) != len(self.locations) or not all(self.locations):
            raise ValueError(f"locations must have names that differ, got {self.locations!r}")


@dataclasses.dataclass(frozen=True)
class Protein:
    """A chain that can be read: its name and its residues, cleaned by the rule above."""

    name: str
    sequence: str


class ProteinPreprocessor:
    """Reads proteins, numbers and pads residues, maps importance back.

    Parameters
    ----------
    config : PreprocessorConfig

    Examples
    --------
    >>> from rnnzoo.deeploc import PreprocessorConfig, ProteinPreprocessor
    >>> preprocessor = ProteinPreprocessor(PreprocessorConfig(("Nucleus", "Cytoplasm")))
    >>> [protein.sequence for protein in preprocessor.proteins(">a\\nmkv-la*")]
    ['MKVLA']
    """

    def __init__(self, config: PreprocessorConfig) -> None:
        self.config = config

    # --- what a person has, as records -----------------------------------------------------

    def is_single(self, inputs: Any) -> bool:
        """Whether `inputs` is one sequence or pair, and not FASTA or several."""
        inputs = _plain(inputs)
        if isinstance(inputs, str):
            return not _is_fasta(inputs) and not _is_path(inputs)
        return (
            isinstance(inputs, (Record, Protein))
            or _is_biopythons(inputs)
            or _is_text(inputs)
            or _is_pair(inputs)
        )

    def records(self, inputs: Any, number: int = 1) -> Iterator[Record]:
        """Records of `inputs`, each read when its turn comes.

        Parameters
        ----------
        inputs
            A sequence, FASTA text, the path of a FASTA file, an open one, a `Record`, an (id,
            sequence) pair, Biopython's `Seq` or `SeqRecord`, or an iterable of any of these; see
            `rnnzoo.deeploc.fasta` for files.
        number : int
            What a sequence without a name is called by: `sequence_1`.

        Raises
        ------
        InputError
            If `inputs` is none of these.
        """
        inputs = _plain(inputs)
        if hasattr(inputs, "columns"):
            raise InputError(
                "got a table: give its columns as (id, sequence) pairs, such as "
                "zip(table['id'], table['sequence'])"
            )
        if isinstance(inputs, str) and _is_fasta(inputs):
            lines = inputs.encode("utf-8", "surrogatepass").splitlines()
            yield from read_fasta(lines, "the FASTA text")
        elif isinstance(inputs, os.PathLike) or (isinstance(inputs, str) and _is_path(inputs)):
            yield from open_fasta(inputs)
        elif isinstance(inputs, str):
            yield Record(f"sequence_{number}", inputs, named=False)
        elif isinstance(inputs, Record):
            yield inputs
        elif isinstance(inputs, Protein):
            yield Record(inputs.name, inputs.sequence)
        elif _is_biopythons(inputs):
            named = inputs.id not in (None, "", "<unknown id>")
            name = str(inputs.id) if named else f"sequence_{number}"
            yield Record(name, _letters(inputs.seq), named=named)
        elif _is_pair(inputs):
            yield _of_pair(*map(_letters, inputs))
        elif _is_text(inputs):
            yield Record(f"sequence_{number}", _letters(inputs), named=False)
        elif callable(getattr(inputs, "read", None)):
            yield from records_of_file(inputs)
        elif isinstance(inputs, Iterable) and not isinstance(inputs, Mapping):
            for count, one in enumerate(inputs, 1):
                if isinstance(one, (list, tuple, np.ndarray)) and not _is_biopythons(one):
                    one = tuple(one)  # a pair, as JSON and arrays have it too
                    if not _is_pair(one):
                        raise InputError(
                            f"item {count} of the list: expected a sequence or an (id, sequence) "
                            f"pair, got {one!r:.80}"
                        )
                yield from self.records(one, count)
        else:
            raise InputError(
                "expected a protein sequence, FASTA text, a path, an open file, an (id, sequence) "
                f"pair or a list of these; got {type(inputs).__name__}"
            )

    # --- records as proteins ---------------------------------------------------------------

    def proteins(self, inputs: Any, skipped: list[InputError] | None = None) -> Iterator[Protein]:
        """The proteins of `inputs`, in order, one at a time.

        What is kept of those that went by is a number for each id, some 100 bytes.

        Parameters
        ----------
        inputs
            As of `records`.
        skipped : list, optional
            Records that cannot be read are left out and their errors put here, instead of raised.

        Raises
        ------
        InputError
            Names the record, its line and what is wrong with it: empty, not a letter that stands
            for a residue, nucleotides, or an id that was there before.
        """
        seen: set[int] = set()
        counts: dict[str, int] = {}  # of names that nobody gave
        for record in self.records(inputs):
            name = record.name
            while not record.named and hash(name) in seen:
                counts[record.name] = counts.get(record.name, 1) + 1
                name = f"{record.name}_{counts[record.name]}"
            try:
                if hash(name) in seen:
                    raise InputError(
                        f"{record.where}: the id was there before: give every record its own"
                    )
                protein = Protein(name, self.clean(record))
            except InputError as error:
                if skipped is None:
                    raise
                skipped.append(error)
                continue
            seen.add(hash(name))
            yield protein

    def clean(self, record: Record) -> str:
        """The residues of a record by the rule of this module.

        Raises
        ------
        InputError
            If it is empty, holds something else, or looks like DNA or RNA.
        """
        sequence = re.sub(r"[\s.-]", "", record.letters).rstrip("*")
        if not sequence:
            raise InputError(f"{record.where}: the sequence is empty")
        odd = re.search(r"[^A-Za-z*]", sequence)
        if odd:
            hint = ""
            if _ACCESSION.fullmatch(record.letters.strip()):
                hint = "; if it is an accession: these are not looked up, give the sequence"
            elif _POSITION.search(record.letters):
                hint = "; numbers of positions have to be taken out"
            raise InputError(
                f"{record.where}: {odd[0]!r} at residue {odd.start() + 1:,} does not stand for an "
                f"amino acid; expected one-letter codes{hint}"
            )
        sequence = sequence.upper().replace("*", "X")
        nucleotides = sum(map(sequence.count, "ACGTUN"))
        codes = set(sequence) <= set("ACGTUNRYSWKMBDHV")  # IUPAC's, for several nucleotides too
        repeat = set(sequence) <= set("AG") or len(set(sequence)) == 1  # as proteins have, silk's
        long = len(sequence) >= _MIN_NUCLEOTIDES
        if long and codes and not repeat and nucleotides >= 0.9 * len(sequence):
            raise InputError(
                f"{record.where}: {nucleotides:,} of {len(sequence):,} letters are A, C, G, T, U "
                "or N: this looks like DNA or RNA; translate it to protein first"
            )
        return sequence

    # --- proteins as numbers ---------------------------------------------------------------

    def numbers(self, sequence: str) -> np.ndarray:
        """The numbers of a cleaned sequence's residues, all of them."""
        return _NUMBERS[np.frombuffer(sequence.encode("ascii"), np.uint8)]

    def cut(self, chain: np.ndarray) -> np.ndarray:
        """At most `max_length` residues: of a longer chain the first and the last half of that."""
        limit = self.config.max_length
        if len(chain) <= limit:
            return chain
        return np.concatenate([chain[: limit - limit // 2], chain[-(limit // 2) :]])

    def pad(self, chains: Sequence[np.ndarray]) -> np.ndarray:
        """Chains side by side [batch, chain], padded on the right."""
        width = max([1, *map(len, chains)])
        out = np.full((len(chains), width), PAD_ID, np.int32)
        for line, chain in zip(out, chains, strict=True):
            line[: len(chain)] = chain
        return out

    def encode(self, sequences: Iterable[str]) -> np.ndarray:
        """The network's input [batch, chain] of cleaned sequences."""
        return self.pad([self.cut(self.numbers(sequence)) for sequence in sequences])

    def spread(self, importance: np.ndarray, length: int) -> np.ndarray:
        """Importance of the residues that were read, on a whole chain of `length`; the middle of
        a long chain, which was not read, has 0."""
        limit = self.config.max_length
        if length <= limit:
            return importance[:length]
        whole = np.zeros(length, importance.dtype)
        whole[: limit - limit // 2] = importance[: limit - limit // 2]
        whole[-(limit // 2) :] = importance[limit - limit // 2 : limit]
        return whole


def _plain(value: Any) -> Any:
    """Text of bytes and of a tensor or array that holds one, lists of arrays; anything else as it
    is."""
    if isinstance(value, (str, list, tuple, Mapping)) or hasattr(value, "columns"):
        return value
    value = value.numpy() if hasattr(value, "numpy") else value
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value


def _is_biopythons(one: Any) -> bool:
    """Whether it is a `SeqRecord`, or has an `id` and a `seq` like one."""
    return hasattr(one, "seq") and hasattr(one, "id") and not hasattr(one, "columns")


def _is_text(one: Any) -> bool:
    """Whether it is spelled as a text is, as Biopython's `Seq`."""
    return callable(getattr(one, "upper", None)) and not hasattr(one, "columns")


def _letters(text: Any) -> str:
    """The letters of a text; none of a `Seq` whose letters are not known."""
    text = _plain(text)
    try:
        return "" if text is None else str(text)
    except (TypeError, ValueError):
        return ""


def _is_pair(one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and all(_is_text(_plain(p)) for p in one)


def _of_pair(name: str, sequence: str) -> Record:
    if _FASTA_NAME.search(name) and _FASTA_NAME.search(sequence):
        raise InputError(
            f"({name!r:.60}, {sequence!r:.60}) is an (id, sequence) pair, and both name files: "
            "give several files in a list"
        )
    return Record(name, sequence)


def _is_fasta(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n\v\f").startswith((">", ";"))


def _is_path(text: str) -> bool:
    """Whether a line names a file: with a dot or a slash in it, or because there is one."""
    return "\n" not in text and ("." in text or os.sep in text or _is_file(text))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False
