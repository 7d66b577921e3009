"""Graphs for other runtimes, which lack some of TensorFlow's operations."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_PORTABLE = contextvars.ContextVar("portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Within it layers are traced without cuDNN and Fourier transforms, to the same results."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def is_portable() -> bool:
    """Whether the graph that is being traced is for another runtime.

    Examples
    --------
    >>> from rnnzoo.layers.portable import is_portable, portable
    >>> with portable():
    ...     is_portable()
    True
    """
    return _PORTABLE.get()
