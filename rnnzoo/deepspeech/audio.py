"""Recordings: what a person has, as one channel of float32 samples.

Files are read by libsndfile (soundfile), any rate is brought to the network's by soxr; both come
with `rnnzoo[audio]`. Arrays at the network's rate need neither. Channels are averaged.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rnnzoo.errors import InputError, MissingDependencyError
from rnnzoo.inputs import raw_inputs

_MAX_CHANNELS = 64
_RATES = (1000, 768_000)


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One channel of sound.

    Attributes
    ----------
    name : str
        The file's name, or `recording_1`, `recording_2`, ...
    samples : np.ndarray
        [samples], float32, full scale is 1.
    sampling_rate : int
        Samples a second.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deepspeech import Recording
    >>> Recording("tone", np.zeros(8000, "float32"), 16000).seconds
    0.5
    """

    name: str
    samples: np.ndarray
    sampling_rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.sampling_rate


def is_single(inputs: Any) -> bool:
    """Whether `inputs` is one recording, and not several."""
    return (
        isinstance(inputs, (str, bytes, os.PathLike, Recording, Mapping))
        or hasattr(inputs, "read")
        or _is_pair(inputs)
        or (_is_array(inputs) and not _are_paths(inputs))
    )


def _is_array(inputs: Any) -> bool:
    return isinstance(inputs, np.ndarray) or tf.is_tensor(inputs)


def _are_paths(inputs: Any) -> bool:
    """Whether this is an array, a tensor or a `tf.data.Dataset` of texts."""
    if tf.is_tensor(inputs):
        return inputs.dtype == tf.string
    return isinstance(inputs, tf.data.Dataset) or (
        isinstance(inputs, np.ndarray) and inputs.dtype.kind in "SU"
    )


def read_recordings(inputs: Any, sampling_rate: int | None = None) -> Iterator[Recording]:
    """Recordings of `inputs`, each read when its turn comes.

    Parameters
    ----------
    inputs
        A path; the bytes of a sound file, or an open one; an array of samples with
        `sampling_rate`; an (array, rate) pair; a dict of `array` and `sampling_rate`, as data
        sets hold; a `Recording`; or an iterable of any of these, a `tf.data.Dataset` or an array
        of paths too. Arrays are [samples] or
        [samples, channels]; floats have full scale 1, whole numbers that of their type.
    sampling_rate : int, optional
        Of arrays that come without one, in hertz.

    Raises
    ------
    InputError
        Names the recording and says what is wrong with it.
    MissingDependencyError
        For a file without soundfile.
    """
    if is_single(inputs):
        yield _read(inputs, sampling_rate, 1)
    elif _are_paths(inputs):
        yield from read_recordings(raw_inputs(inputs)[0], sampling_rate)
    elif isinstance(inputs, Iterable):
        for number, one in enumerate(inputs, 1):
            if not is_single(one):
                raise InputError(
                    f"item {number} of the list: expected a path, samples or an (array, rate) "
                    f"pair, got {type(one).__name__}"
                )
            yield _read(one, sampling_rate, number)
    else:
        raise InputError(
            "expected a sound file's path, its bytes, an (array, sampling_rate) pair or a list of "
            f"these; got {type(inputs).__name__}"
        )


def resample(recording: Recording, sampling_rate: int) -> Recording:
    """A recording at another rate.

    Raises
    ------
    MissingDependencyError
        Without soxr, if the rates differ.
    """
    if recording.sampling_rate == sampling_rate:
        return recording
    try:
        import soxr
    except ImportError as error:
        feature = f"A recording at {recording.sampling_rate:,} Hz"
        raise MissingDependencyError(feature, "soxr", "audio") from error
    samples = soxr.resample(recording.samples, recording.sampling_rate, sampling_rate)
    return Recording(recording.name, samples, sampling_rate)


def _read(one: Any, sampling_rate: int | None, number: int) -> Recording:
    name = f"recording_{number}"
    if isinstance(one, Recording):
        return one
    if isinstance(one, (str, os.PathLike)):
        if not os.fspath(one):  # a path of its own to Python: this folder
            raise InputError(f"{name}: the name of a sound file is empty")
        path = Path(one)
        return _decode(path, path.name, f"{path}")
    if isinstance(one, bytes):
        return _decode(io.BytesIO(one), name, f"{name} ({len(one):,} bytes)")
    if hasattr(one, "read"):
        return _decode(one, name, name)
    if isinstance(one, Mapping):
        if not {"array", "sampling_rate"} <= set(one):
            raise InputError(
                f"{name}: expected a dict of 'array' and 'sampling_rate', got {sorted(one)!r:.80}"
            )
        return checked(one["array"], one["sampling_rate"], name)
    if _is_pair(one):
        return checked(one[0], one[1], name)
    if sampling_rate is None:
        raise InputError(
            f"{name}: an array has no sampling rate of its own: give (array, sampling_rate), or "
            "sampling_rate=16000"
        )
    return checked(one, sampling_rate, name)


def _decode(source: Any, name: str, where: str) -> Recording:
    """A sound file's content."""
    try:
        import soundfile
    except ImportError as error:
        raise MissingDependencyError("Reading sound files", "soundfile", "audio") from error
    if isinstance(source, Path):
        if source.is_dir():
            raise InputError(f"{where} is a folder: name the sound files in it")
        if not _exists(source):
            raise InputError(f"there is no file {where}")
    try:
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, TypeError, RuntimeError) as error:
        reason = str(error).rsplit(": ", 1)[-1].rstrip(".")
        raise InputError(
            f"{where} cannot be read as sound ({reason}); expected WAV, FLAC, Ogg, Opus or MP3"
        ) from error
    return checked(samples, rate, name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def checked(samples: Any, sampling_rate: Any, name: str) -> Recording:
    """Samples and rate as a `Recording` of one channel.

    Raises
    ------
    InputError
        For no samples, NaN or infinite ones, an odd shape, type or rate.
    """
    rate = check_rate(sampling_rate, name)
    try:
        array = np.asarray(samples)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: expected an array of samples: {error}") from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: expected numbers, got an array of {array.dtype}")
    if array.ndim not in (1, 2):
        raise InputError(
            f"{name}: expected [samples] or [samples, channels], got {list(array.shape)}"
        )
    if array.ndim == 2 and array.shape[1] > _MAX_CHANNELS:
        raise InputError(
            f"{name}: {list(array.shape)} would be {array.shape[1]:,} channels: give [samples, "
            "channels], transpose it if channels come first"
        )
    if not array.size:
        raise InputError(f"{name}: there are no samples in it")
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype.itemsize == 8:
        raise InputError(
            f"{name}: whole numbers of 64 bits have no full scale: give floats from -1 to 1, or "
            "samples.astype('int16') if they are 16-bit samples"
        )
    else:
        limits = np.iinfo(array.dtype)
        middle = (int(limits.max) + int(limits.min) + 1) // 2  # 128 of unsigned bytes
        array = ((array.astype(np.float64) - middle) / (int(limits.max) + 1 - middle)).astype("f4")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: {np.sum(~np.isfinite(array)):,} samples are NaN or infinite")
    return Recording(name, array if array.ndim == 1 else array.mean(1), rate)


def check_rate(sampling_rate: Any, name: str) -> int:
    """A sampling rate in hertz.

    Raises
    ------
    InputError
        If it is no whole number, or far from what sound has.
    """
    low, high = _RATES
    rate = sampling_rate.item() if isinstance(sampling_rate, np.generic) else sampling_rate
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate != rate // 1:
        raise InputError(f"{name}: sampling_rate must be whole hertz, got {sampling_rate!r:.40}")
    if not low <= rate <= high:
        raise InputError(
            f"{name}: sampling_rate must be from {low:,} to {high:,} Hz, got {rate!r:.40}"
        )
    return int(rate)


def _is_pair(one: Any) -> bool:
    return (
        isinstance(one, tuple)
        and len(one) == 2
        and not isinstance(one[0], (str, bytes, os.PathLike, tuple, Recording, Mapping))
        and isinstance(one[1], (int, float, np.number))
    )
