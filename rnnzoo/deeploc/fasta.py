"""FASTA, plain or gzipped, read record by record: a file of any size in little memory.

A reader of our own, since an error has to name the record and its line, which Biopython's
parsers do not keep.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from rnnzoo.errors import InputError

_GZIP = b"\x1f\x8b"


@dataclasses.dataclass(frozen=True)
class Record:
    """A protein as it was given: `name` is the first word of its header, `letters` all that stood
    below it; `line` the header's number in `source` (None where there is neither)."""

    name: str
    letters: str
    line: int | None = None
    source: str = ""

    @property
    def where(self) -> str:
        """The record as an error names it."""
        if self.line is None:
            return f"record {self.name!r}"
        return f"record {self.name!r} ({self.source}, line {self.line:,})"


def read_fasta(lines: Iterable[bytes], source: str) -> Iterator[Record]:
    """Records of FASTA lines.

    Blank lines and lines that begin with `;` do not count. Headers may hold any bytes; a sequence
    with bytes that are not text keeps them as U+FFFD, which no residue is.

    Parameters
    ----------
    lines : iterable of bytes
        Such as a file opened for reading bytes.
    source : str
        What errors call the lines' origin.

    Raises
    ------
    InputError
        If something stands before the first header, or there is no header.

    Examples
    --------
    >>> from rnnzoo.deeploc.fasta import read_fasta
    >>> [record.name for record in read_fasta([b">a first one", b"MKV", b"LLA"], "example")]
    ['a']
    """
    name: str | None = None
    parts: list[str] = []
    header = 0
    for number, line in enumerate(_text_lines(lines), 1):
        if line.startswith(">"):
            if name is not None:
                yield Record(name, "".join(parts), header, source)
            words = line[1:].split(maxsplit=1)
            name, parts, header = (words[0] if words else f"line_{number}"), [], number
        elif name is not None:
            if not line.startswith(";"):
                parts.append(line)
        elif line and not line.startswith(";"):
            raise InputError(
                f"{source}, line {number:,}: expected FASTA, plain or gzipped, whose first line "
                f"begins with '>'; found {line[:40]!r}"
            )
    if name is None:
        raise InputError(f"{source} holds no FASTA record: no line begins with '>'")
    yield Record(name, "".join(parts), header, source)


def _text_lines(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as text, whatever ends them."""
    encoding = "utf-8-sig"  # the first line may begin with a mark
    for raw in lines:
        for part in raw.rstrip(b"\r\n").split(b"\r"):
            yield part.decode(encoding, "replace").strip()
            encoding = "utf-8"


def open_fasta(path: str | os.PathLike[str]) -> Iterator[Record]:
    """Records of a FASTA file; gzip is told by its content.

    Raises
    ------
    InputError
        If the file cannot be read, is a broken gzip file or is not FASTA.
    """
    source = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            yield from stream_fasta(file, source)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise InputError(f"cannot read {source!r}: {error}") from error


def stream_fasta(file: IO[bytes], source: str) -> Iterator[Record]:
    """Records of an open file, standard input for example; see `open_fasta`."""
    buffered: Any = file if hasattr(file, "peek") else io.BufferedReader(file)
    if buffered.peek(2)[:2] != _GZIP:
        yield from read_fasta(buffered, source)
        return
    try:
        with gzip.open(buffered) as unpacked:
            yield from read_fasta(unpacked, source)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{source} is a broken gzip file: {error}") from error
