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
_BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclasses.dataclass(frozen=True)
class Record:
    """A protein as it was given: `name` is the first word of its header, `letters` all that stood
    below it; `line` the header's number in `source` (None where there is neither). A name that
    nobody gave is made up, and `named` is False."""

    name: str
    letters: str
    line: int | None = None
    source: str = ""
    named: bool = True

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
        If something stands before the first header, if there is no header, or for UTF-16.

    Examples
    --------
    >>> from rnnzoo.deeploc.fasta import read_fasta
    >>> [record.name for record in read_fasta([b">a first one", b"MKV", b"LLA"], "example")]
    ['a']
    """
    header: str | None = None
    parts: list[str] = []
    begin = 0
    for number, line in enumerate(_text_lines(lines, source), 1):
        if line.startswith(">"):
            if header is not None:
                yield _record(header, parts, begin, source)
            header, parts, begin = line[1:], [], number
        elif header is not None:
            if not line.startswith(";"):
                parts.append(line)
        elif line and not line.startswith(";"):
            raise InputError(
                f"{source}, line {number:,}: expected FASTA, plain or gzipped, whose first line "
                f"begins with '>'; found {line[:40]!r}"
            )
    if header is None:
        raise InputError(f"{source} holds no FASTA record: no line begins with '>'")
    yield _record(header, parts, begin, source)


def _record(header: str, parts: list[str], line: int, source: str) -> Record:
    words = header.split(maxsplit=1)
    name = words[0] if words else f"line_{line}"
    return Record(name, "".join(parts), line, source, named=bool(words))


def _text_lines(lines: Iterable[bytes], source: str) -> Iterator[str]:
    """Lines as text, whatever ends them."""
    encoding = "utf-8-sig"  # the first line may begin with a mark
    for raw in lines:
        if raw.startswith(_UTF_16) and encoding == "utf-8-sig":
            raise InputError(f"{source} is UTF-16 text: save it as UTF-8 or plain ASCII")
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
    try:
        if buffered.peek(2)[:2] != _GZIP:
            yield from read_fasta(buffered, source)
            return
        with gzip.open(buffered) as unpacked:
            yield from read_fasta(unpacked, source)
    except _BROKEN as error:
        raise InputError(f"{source} is a broken gzip file: {error}") from error
    finally:
        if buffered is not file:
            buffered.detach()  # it would close the file


def records_of_file(file: Any) -> Iterator[Record]:
    """Records of what Python's `open`, `gzip.open` or `io` gave, in text or in bytes.

    Raises
    ------
    InputError
        As of `open_fasta`.

    Examples
    --------
    >>> import io
    >>> from rnnzoo.deeploc.fasta import records_of_file
    >>> [record.name for record in records_of_file(io.StringIO(">a\\nMKV"))]
    ['a']
    """
    source = str(getattr(file, "name", "the open file"))
    if not hasattr(file, "readable"):
        raise InputError(f"cannot read {source}: expected a file as Python's open gives it")
    try:
        if isinstance(file.read(0), str):
            yield from read_fasta((line.encode("utf-8", "surrogatepass") for line in file), source)
        else:
            yield from stream_fasta(file, source)
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{source} is a broken gzip file: {error}") from error
    except (OSError, ValueError) as error:  # closed, or text that is not of its encoding
        raise InputError(f"cannot read {source}: {error}") from error
