"""The table of results in a folder, in the format of DeepLoc 2, and going on with it.

While a run lasts, its rows stand in `results.csv.partial`; when it is complete the file gets its
name. `results.csv.run.json` beside it says by what it was made, so that rows of two models never
meet in one table; that of an unfinished table is kept apart, in `results.csv.partial.run.json`,
since a complete one of before may lie beside it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from rnnzoo.deeploc.preprocess import Protein
from rnnzoo.deeploc.result import Localization
from rnnzoo.errors import InputError


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


class ResultTable:
    """A table that grows in a folder; a context manager that closes it.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    form : CSVFormat or JSONLinesFormat
    made_by : dict
        What made the rows: the model, its fingerprint, dtype, options.
    resume : bool
        Go on with an unfinished table, or with a complete one whose input has grown.

    Raises
    ------
    InputError
        If the folder cannot be written; if an unfinished table is there and `resume` is False, or
        one of another model and it is True.
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
        self.partial = self.folder / f"{form.filename}.partial"
        self.record = self.folder / f"{form.filename}.run.json"
        self.partial_record = self.folder / f"{form.filename}.partial.run.json"
        self._copied = False
        self._file: IO[str] | None = None
        self.written = 0  # rows of this run
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open(resume)
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
        self._copied = resume and not begun and self.path.exists()
        if begun or self._copied:
            self._compare()
        if self._copied:
            shutil.copyfile(self.path, self.partial)
        elif not begun:
            made_by = json.dumps(self.made_by, indent=1) + "\n"
            self.partial_record.write_text(made_by, encoding="utf-8")
            self.partial.write_text(self.form.header, encoding="utf-8")
        self._drop_half_line()
        self._file = self.partial.open("a", encoding="utf-8")

    def _compare(self) -> None:
        record = self.partial_record if self.partial_record.exists() else self.record
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{record} does not say what made the table: {error}") from error
        for key, value in self.made_by.items():
            if found.get(key) != value:
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
            If the table's rows are not the first of these proteins.
        """
        with self.partial.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, 1 if self.form.header else 0, None):
                protein = next(proteins, None)
                if protein is None or protein.name != self.form.name(line):
                    there = "nothing" if protein is None else repr(protein.name)
                    raise InputError(
                        f"the table in {self.folder} has {self.form.name(line)!r} where the input "
                        f"has {there}: it is of another input; name another folder"
                    )
        yield from proteins

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Close the file; after an error nothing stays behind that holds no row of its own."""
        assert self._file is not None
        self._file.close()
        if kind is None or not self.partial.exists():
            return
        empty = self.partial.stat().st_size == len(self.form.header.encode())
        if empty or (self._copied and not self.written):
            self.partial.unlink()
            self.partial_record.unlink(missing_ok=True)

    def write(self, found: Localization) -> None:
        """Put a row below the others."""
        self.write_lines([self.form.line(found)])

    def write_lines(self, lines: list[str]) -> None:
        """Put rows below the others that are lines of the format already."""
        assert self._file is not None
        try:
            self._file.write("".join(lines))
            self._file.flush()
            self.written += len(lines)
        except OSError as error:
            raise InputError(f"cannot write {self.partial}: {error.strerror or error}") from error

    def finish(self) -> Path:
        """Give the complete table its name."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        if self.partial_record.exists():
            self.partial_record.replace(self.record)
        self.partial.replace(self.path)
        return self.path
