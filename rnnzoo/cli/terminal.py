"""What a command writes to: standard output, a file that appears whole, a quiet standard error."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TextIO

from rnnzoo.errors import InputError, RnnzooError


def standard_input() -> IO[bytes]:
    """Standard input; says so if a person has to type.

    Raises
    ------
    InputError
        If it is closed.
    """
    if sys.stdin is None:
        raise InputError("there is no standard input to read: give inputs or --input files")
    if hasattr(sys.stdin, "isatty") and sys.stdin.isatty():
        print("rnnzoo: reading what you type; end with Ctrl-D", file=sys.stderr)
    return sys.stdin.buffer


def read_standard_input() -> bytes:
    """All of standard input."""
    return standard_input().read()


def read_texts(names: Iterable[str]) -> Iterator[str]:
    """The text of files, "-" being standard input.

    Raises
    ------
    InputError
        For a file that cannot be read or is not UTF-8.
    """
    for name in names:
        try:
            raw = read_standard_input() if name == "-" else Path(name).read_bytes()
            yield raw.decode("utf-8-sig")
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name} is not UTF-8 text (byte {error.start}): convert it, for example with iconv"
            ) from error


@contextlib.contextmanager
def writer(path: str | None) -> Iterator[TextIO]:
    """Standard output; a device or pipe; or a file that appears only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    target = Path(path).resolve()
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("w", encoding="utf-8") as file:
                yield file
            return
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("x", encoding="utf-8") as file:
                yield file
            if target.exists():
                shutil.copymode(target, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Keep TensorFlow's native messages off standard error; show them if something unforeseen
    happens. Python's own messages still get there."""
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.stderr is None:  # closed, as by `2>&-`
        yield
        return
    sys.stderr.flush()
    kept, python_stderr = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as native, open(kept, "w", closefd=True) as visible:
        os.dup2(native.fileno(), 2)
        sys.stderr = visible
        try:
            yield
        except (RnnzooError, KeyboardInterrupt, BrokenPipeError):
            raise
        except BaseException:
            native.seek(0)
            visible.write(native.read().decode(errors="replace"))
            raise
        finally:
            visible.flush()
            os.dup2(kept, 2)
            sys.stderr = python_stderr
