"""Weights on disk: safetensors, small, compared with the network before they are read.

Matrices and convolutions are stored as float32, float16, or int8 with a float32 scale for each
output channel; vectors stay float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnnzoo.errors import CheckpointError, WeightsError

STORAGES = ("float32", "float16", "int8")
RESTORE = "Restore the folder from where it came, or fetch it again."
SCALE = ".scale"  # behind the name of a weight in int8
_STORED_DTYPES = {"F32": "float32", "F16": "float16", "I8": "int8"}

Shapes = Mapping[str, tuple[int, ...]]
Integers = Mapping[str, tuple[np.ndarray, np.ndarray]]


def quantize(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix or a convolution's kernel as int8 with a float32 scale for each output channel.

    The channel is the last axis of a kernel; of an embedding, which is taller than wide, it is
    the row. Symmetric, rounded to nearest, largest magnitude at 127. What such integers and scales
    stand for is rounded to them again, to the bit: for a scale that is a 127th of a float32, as
    float32, its 127-fold leads back to it (every mantissa was tried).
    """
    axis: tuple[int, ...] = tuple(range(array.ndim - 1))
    if array.ndim == 2 and array.shape[0] > 4 * array.shape[1]:
        axis = (1,)
    scale = np.abs(array).max(axis=axis, keepdims=True).astype(np.float32) / np.float32(127)
    scale[scale == 0] = 1
    return np.clip(np.rint(array / scale), -127, 127).astype(np.int8), scale


def store_weights(
    weights: Mapping[str, np.ndarray], storage: str, integers: Integers | None = None
) -> dict[str, np.ndarray]:
    """Weights as they are written: kernels in `storage`, vectors in float32; int8 by the
    `integers` and scales of those weights that are known to be such."""
    if storage not in STORAGES:
        raise CheckpointError(f"storage must be one of {', '.join(STORAGES)}; got {storage!r}")
    stored: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        array = np.asarray(array, np.float32)
        limit = np.finfo(np.float16 if storage == "float16" else np.float32).max
        if not (np.abs(array) <= limit).all():
            raise WeightsError(
                f"weight {name!r} holds values that are not finite in {storage}: not saved"
            )
        if storage == "int8" and array.ndim >= 2:
            known = (integers or {}).get(name)
            stored[name], stored[name + SCALE] = quantize(array) if known is None else known
        elif storage == "float16" and array.ndim >= 2:
            stored[name] = array.astype(np.float16)
        else:
            stored[name] = array
    return stored


def fingerprint(stored: Mapping[str, np.ndarray]) -> str:
    """A sha256 over names, shapes, dtypes and bytes of stored weights, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(stored):
        array = np.ascontiguousarray(stored[name])
        digest.update(f"{name}|{array.dtype.name}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def integers_of(stored: Mapping[str, np.ndarray]) -> Integers:
    """Integers and scale of each weight that is stored as int8, by its name."""
    names = [name for name, array in stored.items() if array.dtype == np.int8]
    return {name: (stored[name], stored[name + SCALE]) for name in names}


def read_weights(path: Path, expected: Shapes, expected_fingerprint: str) -> dict[str, np.ndarray]:
    """Weights in float32 by name, read and checked as by `read_stored`; none may be infinite or
    not a number."""
    stored = read_stored(path, expected, expected_fingerprint)
    weights = {}
    for name in expected:
        scale = stored.get(name + SCALE)
        weights[name] = stored[name].astype(np.float32) * (1 if scale is None else scale)
        if not np.isfinite(weights[name]).all():
            raise WeightsError(f"{path}: {name} holds values that are not finite")
    return weights


def read_stored(path: Path, expected: Shapes, expected_fingerprint: str) -> dict[str, np.ndarray]:
    """Weights by name as they are stored, int8 with scales.

    Names, shapes and dtypes are compared with `expected` in the file's header, before any tensor
    is read.

    Raises
    ------
    WeightsError
        For a broken header, missing or extra tensors, wrong shapes or dtypes, or another
        fingerprint.
    """
    import safetensors

    stored: dict[str, np.ndarray] = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            headers = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(header.get_shape()) for name, header in headers.items()}
            dtypes = {name: header.get_dtype() for name, header in headers.items()}
            _compare(path, expected, shapes, dtypes)
            stored = {name: file.get_tensor(name) for name in shapes}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}. {RESTORE}") from error
    found = fingerprint(stored)
    if found != expected_fingerprint:
        raise WeightsError(
            f"{path} has fingerprint {found}, its config.json expects {expected_fingerprint}: "
            f"they belong to different checkpoints. {RESTORE}"
        )
    return stored


def _compare(path: Path, expected: Shapes, shapes: Shapes, dtypes: Mapping[str, str]) -> None:
    scales = {name for name in shapes if name.endswith(SCALE) and name not in expected}
    missing = sorted(set(expected) - set(shapes))
    extra = sorted(set(shapes) - scales - set(expected))
    if missing or extra:
        raise WeightsError(
            f"{path} does not fit its network: {len(missing)} tensors missing {missing[:5]}, "
            f"{len(extra)} not expected {extra[:5]}"
        )
    for name, shape in expected.items():
        if shapes[name] != tuple(shape):
            raise WeightsError(f"{path}: {name} has shape {shapes[name]}, expected {tuple(shape)}")
        if dtypes[name] not in _STORED_DTYPES:
            raise WeightsError(
                f"{path}: {name} has dtype {dtypes[name]}, expected one of "
                f"{', '.join(_STORED_DTYPES)}"
            )
        if (dtypes[name] == "I8") != (name + SCALE in scales):
            raise WeightsError(f"{path}: {name}: int8 and a scale ({name}{SCALE}) go together")
    for name in scales:
        shape = expected.get(name.removesuffix(SCALE), ())
        channels = [(*(1,) * (len(shape) - 1), *shape[-1:])]
        channels += [(shape[0], 1)] if len(shape) == 2 else []
        per_channel = len(shape) >= 2 and shapes[name] in channels
        if not per_channel or dtypes[name] != "F32":
            raise WeightsError(
                f"{path}: {name} has shape {shapes[name]} and dtype {dtypes[name]}; expected a "
                f"float32 scale for each channel of {shape}"
            )
