"""Raw inputs of `predict`, in any container, and batches of them by length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rnnzoo.errors import InputError


def plain(value: Any) -> Any:
    """A value out of its tensor, bytes as text.

    Raises
    ------
    InputError
        For bytes that are no UTF-8.
    """
    value = value.numpy() if hasattr(value, "numpy") else value
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"expected UTF-8 text, got the bytes {value!r:.60}: {error}") from error


def raw_inputs(inputs: Any, single: type | tuple[type, ...] = str) -> tuple[list[Any], bool]:
    """Inputs of `predict` as a list, and whether there was just one.

    Takes one input, a list, any iterable, a string array or a `tf.data.Dataset`, batched or not.

    Raises
    ------
    InputError
        If `inputs` is none of these.

    Examples
    --------
    >>> from rnnzoo.inputs import raw_inputs
    >>> raw_inputs("Yes."), raw_inputs(["Yes."])
    ((['Yes.'], True), (['Yes.'], False))
    """
    if isinstance(inputs, bytes) and str in (single if isinstance(single, tuple) else (single,)):
        raise InputError("got bytes: decode them first, for example with .decode('utf-8')")
    if isinstance(inputs, single):
        return [inputs], True
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "SUO":
        if inputs.ndim == 0:
            return [plain(inputs.item())], True
        return [plain(value) for value in inputs.ravel().tolist()], False
    if tf.is_tensor(inputs) and inputs.dtype == tf.string:
        return raw_inputs(inputs.numpy() if inputs.shape.rank else np.array(inputs.numpy()))
    if isinstance(inputs, tf.data.Dataset):
        rows: list[Any] = []
        for element in inputs:
            value = element[0] if isinstance(element, tuple) else element
            if not tf.is_tensor(value) or value.dtype != tf.string:
                raise InputError(
                    "expected a tf.data.Dataset of strings, or of tuples that begin with one; "
                    f"its elements are {inputs.element_spec}"
                )
            rows += [plain(v) for v in np.ravel(value.numpy())]
        return rows, False
    if isinstance(inputs, Iterable) and not isinstance(inputs, Mapping):
        return [plain(value) for value in inputs], False
    raise InputError(
        f"expected one input, a list of them or a tf.data.Dataset; got {type(inputs).__name__}"
    )


def check_batch_size(batch_size: Any, default: int) -> int:
    """A batch size, the family's own where none was named.

    Raises
    ------
    InputError
        If it is not a whole number above 0.
    """
    if batch_size is None:
        return default
    if not isinstance(batch_size, (int, np.integer)) or not 0 < batch_size < 2**31:
        raise InputError(f"batch_size must be a whole number above 0, got {batch_size!r:.40}")
    return int(batch_size)


def batches_by_length(lengths: list[int], batch_size: int, at_once: int) -> Iterator[list[int]]:
    """Row numbers of inputs of like length together: at most `batch_size`, and `at_once` in all
    when padded to the longest; a longer input alone.

    Examples
    --------
    >>> from rnnzoo.inputs import batches_by_length
    >>> list(batches_by_length([9, 2, 30, 3], batch_size=2, at_once=20))
    [[1, 3], [0], [2]]
    """
    rows: list[int] = []
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) == batch_size or (len(rows) + 1) * lengths[n] > at_once):
            yield rows
            rows = []
        rows.append(n)
    if rows:
        yield rows
