"""The table of results in a folder, in the format of DeepLoc 2, and going on with it.

The columns are those of DeepLoc 2's table. What stands in them is of a network that knows one
location for each protein: likelihoods with the sum 1, where DeepLoc 2 has a score of its own for
each location, and thresholds.

While a run lasts, its rows stand in `results.csv.partial`, and `.results.csv.lock` keeps others
away; when it is complete the file gets its name. `results.csv.run.json` beside it says by what it
was made, so that rows of two models never meet in one table; that of an unfinished table is kept
apart, in `results.csv.partial.run.json`, since a complete one of before may lie beside it. In the
same way `results.csv.sums` has a checksum of every row's id and sequence, by which a changed input
is found.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from rnnzoo.deeploc.preprocess import Protein
from rnnzoo.deeploc.result import Localization
from rnnzoo.errors import InputError

_UNKNOWN = "--------"  # the checksum of a row that came without
_SUM_BYTES = len(_UNKNOWN) + 1


def csv_line(values: list[Any]) -> str:
    """Values as one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


@dataclasses.dataclass(frozen=True)
class CSVFormat:
    """Columns of DeepLoc 2's result table, then the membrane's."""

    locations: tuple[str, ...]
    membrane: bool
    filename = "results.csv"

    @property
    def header(self) -> str:
        membrane = ["Membrane-bound", "Soluble"] if self.membrane else []
        return csv_line(["Protein_ID", "Localizations", "Signals", *self.locations, *membrane])

    def line(self, found: Localization) -> str:
        values: list[Any] = [found.name, found.location, ""]
        values += [f"{found.likelihoods[name]:.4f}" for name in self.locations]
        if found.membrane is not None:
            values += [f"{found.membrane:.4f}", f"{1 - found.membrane:.4f}"]
        return csv_line(values)

    def name(self, line: str) -> str:
        """The protein's id in a line."""
        return next(csv.reader([line]))[0]


class JSONLinesFormat:
    """A line of JSON for each protein, as `Localization.to_dict` has it."""

    filename = "results.jsonl"
    header = ""

    def line(self, found: Localization) -> str:
        return json.dumps(found.to_dict(), ensure_ascii=False) + "\n"

    def name(self, line: str) -> str:
        return str(json.loads(line)["name"])


def checksum(name: str, sequence: str) -> str:
    """Eight digits that stand for a protein's id and residues.

    Examples
    --------
    >>> from rnnzoo.deeploc.table import checksum
    >>> checksum("a", "MKV"), checksum("a", "MKL")
    ('2b857a42', 'd6e78338')
    """
    return f"{zlib.crc32(f'{name} {sequence}'.encode('utf-8', 'surrogatepass')):08x}"


class ResultTable:
    """A table that grows in a folder; a context manager that closes it.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    form : CSVFormat or JSONLinesFormat
    made_by : dict
        What made the rows: the model, its fingerprint, dtype, options. A model may go by another
        name (`model`) where all else is the same.
    resume : bool
        Go on with an unfinished table, or with a complete one whose input has grown.

    Raises
    ------
    InputError
        If the folder cannot be written; if another run is writing the table; if an unfinished one
        is there and `resume` is False, or one of another model and it is True.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        form: CSVFormat | JSONLinesFormat,
        made_by: dict[str, Any],
        resume: bool = False,
    ) -> None:
        self.folder, self.form, self.made_by = Path(folder), form, made_by
        self.path = self.folder / form.filename
        self.record = self.folder / f"{form.filename}.run.json"
        self.sums = self.folder / f"{form.filename}.sums"
        self.partial = self.folder / f"{form.filename}.partial"
        self.partial_record = self.folder / f"{form.filename}.partial.run.json"
        self.partial_sums = self.folder / f"{form.filename}.partial.sums"
        self._copied = False
        self.written = 0  # rows of this run
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opening:
                opening.enter_context(_locked(self.folder / f".{form.filename}.lock"))
                self._open(resume)
                self._lock = opening.pop_all()
        except OSError as error:
            raise InputError(f"cannot write into {folder}: {error.strerror or error}") from error

    def _open(self, resume: bool) -> None:
        begun = self.partial.exists()
        if begun and not resume:
            raise InputError(
                f"{self.partial} is an unfinished table: go on with it by --resume, or delete it"
            )
        if not begun:
            self.partial_record.unlink(missing_ok=True)  # of a stop before there was a table
            self.partial_sums.unlink(missing_ok=True)
        self._copied = resume and not begun and self.path.exists()
        if begun or self._copied:
            self._compare()
            # a stop at the very end leaves them under the complete table's name
            if not self.partial_record.exists() and not self.partial_sums.exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(self.sums, self.partial_sums)
        if self._copied:
            shutil.copyfile(self.path, self.partial)
        elif not begun:
            made_by = json.dumps(self.made_by, indent=1) + "\n"
            self.partial_record.write_text(made_by, encoding="utf-8")
            self.partial.write_text(self.form.header, encoding="utf-8", newline="\n")
        self._drop_half_line()
        self._sums = self.partial_sums.open("a", encoding="ascii", newline="\n")
        self._file = self.partial.open("a", encoding="utf-8", newline="\n")

    def _compare(self) -> None:
        record = self.partial_record if self.partial_record.exists() else self.record
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{record} does not say what made the table: {error}") from error
        for key, value in self.made_by.items():
            if key != "model" and found.get(key) != value:
                raise InputError(
                    f"the table in {self.folder} was made with {key} {found.get(key)!r}, not "
                    f"{value!r}: name another folder"
                )

    def _drop_half_line(self) -> None:
        """Cut off what a stop in the middle of a line left."""
        with self.partial.open("rb+") as file:
            content_end = file.seek(0, os.SEEK_END)
            position = content_end
            while position:
                begin = max(0, position - 4096)
                file.seek(begin)
                cut = file.read(position - begin).rfind(b"\n")
                if cut >= 0:
                    file.truncate(begin + cut + 1)
                    return
                position = begin
            file.truncate(0)
            file.write(self.form.header.encode())

    def rest(self, proteins: Iterator[Protein]) -> Iterator[Protein]:
        """The proteins that the table does not hold yet.

        Raises
        ------
        InputError
            If the table's rows are not the first of these proteins, or of other sequences; if one
            is no row.
        """
        rows, begin = 0, 1 if self.form.header else 0
        with (
            self.partial.open(encoding="utf-8", errors="surrogateescape") as lines,
            self.partial_sums.open(encoding="ascii", errors="replace") as sums,
        ):
            for rows, line in enumerate(itertools.islice(lines, begin, None), 1):
                self._check_row(line, begin + rows, next(proteins, None), next(sums, "").strip())
        self._align_sums(rows)
        yield from proteins

    def _check_row(self, line: str, number: int, protein: Protein | None, known: str) -> None:
        try:
            name = self.form.name(line)
        except (ValueError, LookupError, TypeError, csv.Error) as error:
            raise InputError(
                f"line {number:,} of the table in {self.folder} is no row of a protein "
                f"({line.strip()!r:.60}): take it out, or name another folder"
            ) from error
        if protein is None or protein.name != name:
            there = "nothing" if protein is None else repr(protein.name)
            raise InputError(
                f"the table in {self.folder} has {name!r:.60} where the input has {there:.60}: it "
                "is of another input; name another folder"
            )
        whole = len(known) == len(_UNKNOWN) and known != _UNKNOWN
        if whole and known != checksum(protein.name, protein.sequence):
            raise InputError(
                f"the table in {self.folder} has {name!r} with another sequence than the input: it "
                "is of another input; name another folder"
            )

    def _align_sums(self, rows: int) -> None:
        """One checksum for each row, whatever a stop left of them."""
        with self.partial_sums.open("rb+") as file:
            known = min(rows, file.seek(0, os.SEEK_END) // _SUM_BYTES)
            file.truncate(known * _SUM_BYTES)
            file.seek(0, os.SEEK_END)
            file.write(f"{_UNKNOWN}\n".encode() * (rows - known))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Close the file; after an error nothing stays behind that holds no row of its own."""
        with self._lock, contextlib.suppress(*([OSError] if kind else [])):
            self._close()
            if kind is None or not self.partial.exists():
                return
            empty = self.partial.stat().st_size == len(self.form.header.encode())
            if empty or (self._copied and not self.written):
                for path in (self.partial, self.partial_record, self.partial_sums):
                    path.unlink(missing_ok=True)

    def _close(self) -> None:
        try:
            self._file.close()
        finally:
            self._sums.close()

    def write(self, found: Localization) -> None:
        """Put a row below the others."""
        self.write_lines([self.form.line(found)], [checksum(found.name, found.sequence)])

    def write_lines(self, lines: list[str], sums: list[str]) -> None:
        """Put rows below the others that are lines of the format already, with the `checksum` of
        each protein."""
        try:
            self._sums.write("".join(f"{one}\n" for one in sums))
            self._sums.flush()
            self._file.write("".join(lines))
            self._file.flush()
            self.written += len(lines)
        except OSError as error:
            raise InputError(f"cannot write {self.partial}: {error.strerror or error}") from error

    def finish(self) -> Path:
        """Give the complete table its name."""
        try:
            os.fsync(self._file.fileno())
            self._close()
            if self.partial_record.exists():
                self.partial_record.replace(self.record)
            self.partial_sums.replace(self.sums)
            self.partial.replace(self.path)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error
        return self.path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A file that one run alone has at a time, where the system can tell; gone with it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False
        except OSError:  # a file system without locks
            mine = True
        if not mine:
            raise InputError(
                f"another run is writing the table in {path.parent}: wait until it is done, or "
                "name another folder"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
