"""Converted graphs, kept on disk from one process to the next.

Converting a network takes seconds, reading what was converted a fraction of one. A graph is filed
under a hash of all that it is made of: what a checkpoint of the model would hold, every byte of
this package's code, and the versions of the packages that convert. Nothing is ever out of date,
then; what is no longer asked for makes room for newer graphs.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

VARIABLE = "RNNZOO_CACHE"
_MAKERS = ("rnnzoo", "tensorflow", "keras", "numpy", "tf2onnx", "onnx", "onnxruntime")
_LIMIT = 2_000_000_000  # bytes
_HASH = 32


def cache_folder() -> pathlib.Path | None:
    """Where graphs are kept: `$RNNZOO_CACHE`, by default `rnnzoo` in the user's folder for caches
    (`$XDG_CACHE_HOME`, or `~/.cache`); None if the variable is set and empty: they are not kept.

    Examples
    --------
    >>> from rnnzoo.graph_cache import cache_folder
    >>> cache_folder() is None or cache_folder().is_absolute()
    True
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return pathlib.Path(chosen).absolute() if chosen else None
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return pathlib.Path(caches, "rnnzoo").absolute()


@functools.cache
def _code() -> bytes:
    """A hash of this package's code and of the versions of what converts."""
    found = hashlib.sha256()
    package = pathlib.Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        found.update(f"{path.relative_to(package)}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    for name in _MAKERS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        found.update(f"{name} {version}\0".encode())
    return found.digest()


def key_of(parts: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> str:
    """The hash that stands for a model: what a checkpoint says of it, with its assets (bytes by
    their names), and its weights by their paths.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.graph_cache import key_of
    >>> one, other = (key_of({"units": 1}, {"bias": np.array([n])}) for n in (1, 2))
    >>> one == other
    False
    """
    found = hashlib.sha256(_code())
    found.update(json.dumps(parts, sort_keys=True, default=_hashed).encode())
    for path, value in sorted(weights.items()):
        found.update(f"\0{path} {value.dtype} {value.shape}\0".encode())
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def _hashed(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} has no place in a checkpoint's description")
    return hashlib.sha256(value).hexdigest()


def read(key: str) -> bytes | None:
    """The graph kept under a key; None if there is none, or if it is damaged.

    Examples
    --------
    >>> from rnnzoo.graph_cache import read
    >>> read("of no model") is None
    True
    """
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / f"{key}.onnx"
    try:
        kept = path.read_bytes()
        os.utime(path)  # used just now
    except OSError:
        return None
    content = kept[_HASH:]
    return content if hashlib.sha256(content).digest() == kept[:_HASH] else None


def write(key: str, content: bytes) -> None:
    """Keep a graph under a key, if there is a place to keep it; those used longest ago make room.

    Examples
    --------
    >>> import os, tempfile
    >>> from unittest import mock
    >>> from rnnzoo.graph_cache import read, write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with mock.patch.dict(os.environ, RNNZOO_CACHE=folder):
    ...         write("one", b"graph")
    ...         read("one")
    b'graph'
    """
    folder = cache_folder()
    if folder is None:
        return
    partial = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".partial", delete=False) as file:
            partial = pathlib.Path(file.name)
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(partial, folder / f"{key}.onnx")
        _make_room(folder)
    except OSError:  # a full or read-only disk: it is converted again the next time
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink()


def _make_room(folder: pathlib.Path) -> None:
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process makes room too
            if path.suffix in (".onnx", ".partial"):
                files.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= _LIMIT:
            return
        path.unlink(missing_ok=True)
        total -= size
