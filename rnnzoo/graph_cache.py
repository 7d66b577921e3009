"""Converted graphs, kept on disk from one process to the next.

Converting a network takes seconds, reading what was converted a fraction of one. A graph is filed
under a hash of all that it is made of: the config, assets and weights of the model, this package's
code, and the versions of the packages that convert. What is no longer asked for makes room for
newer graphs. The folder and its files are their user's alone; one that others may
write is not used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import os
import pathlib
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_VARIABLE = "RNNZOO_CACHE"
_CONVERTERS = ("tensorflow", "keras", "numpy", "tf2onnx", "onnx", "onnxruntime")
_LIMIT = 2_000_000_000  # bytes
_DIGEST_SIZE = 32
_OURS = re.compile(r"[0-9a-f]{64}-[a-z_]+(-u?int8)?\.onnx|graph-.*\.partial")


def cache_folder() -> pathlib.Path | None:
    """Where graphs are kept: `graphs` in `$RNNZOO_CACHE`, by default in `rnnzoo` in the user's
    folder for caches (`$XDG_CACHE_HOME`, or `~/.cache`); None, and nothing is kept, if the variable
    is empty.

    Examples
    --------
    >>> from rnnzoo.graph_cache import cache_folder
    >>> cache_folder() is None or cache_folder().is_absolute()
    True
    """
    chosen = os.environ.get(_VARIABLE)
    try:
        if chosen is None:
            caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
            if not caches.is_absolute():  # the specification: leave it out
                caches = pathlib.Path.home() / ".cache"
            chosen = str(caches / "rnnzoo")
        place = pathlib.Path(chosen).expanduser().absolute()
    except RuntimeError:  # a user without a home
        return None
    return place / "graphs" if chosen else None


def _code_digest() -> bytes | None:
    """A hash of this package's code as it lies on disk; None where it does not lie there."""
    found = hashlib.sha256()
    package = pathlib.Path(__file__).parent
    try:
        sources = [(path.relative_to(package), path.read_bytes()) for path in package.rglob("*.py")]
    except OSError:
        return None
    for path, content in sorted(sources):
        found.update(f"{path} {len(content)}\0".encode() + content)
    return found.digest() if sources else None


_IMPORTED = _code_digest()  # before anyone edits it


@functools.cache
def _versions() -> str:
    modules = [importlib.import_module(name) for name in _CONVERTERS]
    return " ".join(f"{module.__name__} {module.__version__}" for module in modules)


def key_of(parts: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> str | None:
    """The hash that stands for a model: what describes it, assets as bytes, and its weights by
    their paths. None if this package's code is not to be had, or is not what was imported.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.graph_cache import key_of
    >>> one, other = (key_of({"units": 1}, {"bias": np.array([n])}) for n in (1, 2))
    >>> one == other
    False
    """
    if _IMPORTED is None or _code_digest() != _IMPORTED:
        return None
    found = hashlib.sha256(_IMPORTED + _versions().encode())
    found.update(json.dumps(parts, sort_keys=True, default=_hashed).encode())
    for path, value in sorted(weights.items()):
        found.update(f"\0{path} {value.dtype} {value.shape}\0".encode())
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def _hashed(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} has no place in a model's description")
    return hashlib.sha256(value).hexdigest()


def read(name: str) -> bytes | None:
    """The graph kept under a name; None if there is none, or if it is damaged.

    Examples
    --------
    >>> from rnnzoo.graph_cache import read
    >>> read("of no model") is None
    True
    """
    folder = cache_folder()
    if folder is None or not _is_private(folder):
        return None
    path = folder / f"{name}.onnx"
    try:
        kept = path.read_bytes()
        os.utime(path)  # used just now
    except OSError:
        return None
    content = kept[_DIGEST_SIZE:]
    return content if hashlib.sha256(content).digest() == kept[:_DIGEST_SIZE] else None


def write(name: str, content: bytes) -> None:
    """Keep a graph under a name, a key and what it is of, if there is a place for it; those used
    longest ago make room.

    Examples
    --------
    >>> import os, tempfile
    >>> from unittest import mock
    >>> from rnnzoo.graph_cache import read, write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with mock.patch.dict(os.environ, RNNZOO_CACHE=folder):
    ...         write(f"{64 * '0'}-network", b"graph")
    ...         read(f"{64 * '0'}-network")
    b'graph'
    """
    folder = cache_folder()
    if folder is None:
        return
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(folder):
            return
        with tempfile.NamedTemporaryFile(
            dir=folder, prefix="graph-", suffix=".partial", delete=False
        ) as file:
            partial = pathlib.Path(file.name)
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(partial, folder / f"{name}.onnx")
        _make_room(folder)
    except OSError:  # a full or read-only disk: it is converted again the next time
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink()


def _is_private(folder: pathlib.Path) -> bool:
    """Whether it is a folder of this user's that no other can write to, where users are told
    apart."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    return os.name != "posix" or (
        found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _make_room(folder: pathlib.Path) -> None:
    files = sorted(_files(folder))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= _LIMIT:
            return
        path.unlink(missing_ok=True)
        total -= size


def _files(folder: pathlib.Path) -> Iterator[tuple[float, int, pathlib.Path]]:
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                found = path.stat()
                yield found.st_mtime, found.st_size, path
