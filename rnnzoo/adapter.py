"""An adapter on disk: the low-rank updates of a base, and which base they belong to.

A small folder of a checkpoint's kind: `config.json`, `model.safetensors`, a card, and `files.json`
with size and sha256 of each; written whole or not at all, and fetched from the hub as a checkpoint
is.
The base is named by its name and by its weights' fingerprint, a sha256: on any other weights the
updates would be noise, so nothing is loaded unless it is the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.checkpoint import (
    CONFIG,
    FILES,
    FORMAT_VERSION,
    WEIGHTS,
    CardFile,
    Checkpoint,
    open_checkpoint,
    open_folder,
    save_described,
)
from rnnzoo.config import check_types, read_config
from rnnzoo.errors import CheckpointError, ConfigError, InputError
from rnnzoo.manifest import FileRecord
from rnnzoo.weights import Shapes, fingerprint, read_weights, store_weights

KIND = "lora"


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """`config.json` of an adapter.

    Attributes
    ----------
    format_version : int
    adapter : "lora"
    family : str
        Of the base.
    base : str or None
        Its name, or its hf:// address with the commit; None for a base that was a folder.
    base_fingerprint : str
        The sha256 over its stored weights.
    rank, alpha : int, float
    targets : tuple of str
        Paths of the kernels that are updated.
    whole : tuple of str
        Paths of the weights that are here in full.
    overrides : dict
        What `rnnzoo.load` changed in the base.
    fingerprint : str
        The sha256 over the adapter's own weights.
    """

    format_version: int
    adapter: str
    family: str
    base: str | None
    base_fingerprint: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    whole: tuple[str, ...]
    overrides: dict[str, Any]
    fingerprint: str

    def __post_init__(self) -> None:
        check_types(self)
        if self.adapter != KIND:
            raise ValueError(f"adapter must be {KIND!r}, got {self.adapter!r:.40}")
        if not 0 < self.rank <= 65_536 or not self.alpha > 0:
            raise ValueError(f"rank and alpha must be above 0, got {self.rank} and {self.alpha}")


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A verified adapter's folder, its weights not yet read."""

    folder: Path
    config: AdapterConfig
    files: dict[str, FileRecord]

    def check_base(self, base: Checkpoint) -> None:
        """Compare the base with the one that the adapter was trained on.

        Raises
        ------
        CheckpointError
            Names both if it is another.
        """
        named = f" {self.config.base!r}" if self.config.base else ""
        if self.config.family != base.config.family:
            raise CheckpointError(
                f"the adapter {self.folder} is for the family {self.config.family!r}, "
                f"{base.folder} is of {base.config.family!r}: load its base{named}"
            )
        if self.config.base_fingerprint != base.config.fingerprint:
            raise CheckpointError(
                f"the adapter {self.folder} was trained on{named or ' a base'} with fingerprint "
                f"{self.config.base_fingerprint}; the weights in {base.folder} have "
                f"{base.config.fingerprint}: load it on the weights that it was trained on"
            )

    def check_head(self, changes: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        """Compare a new head that is asked for with the one that the adapter holds the weights of;
        `base` holds what its base has.

        Raises
        ------
        InputError
            For one that differs.
        """
        for name, value in changes.items():
            own = self.config.overrides.get(name, base.get(name))
            if json.dumps(value, default=repr) != json.dumps(own):
                has = f"{own!r:.200}" if name in self.config.overrides else "the base's own"
                raise InputError(
                    f"the adapter {self.folder} was trained with {name}={has}, got {value!r:.60}: "
                    f"leave {name} out, or load the base with it and without the adapter"
                )

    def read_weights(self, shapes: Shapes) -> dict[str, np.ndarray]:
        """Factors ("path.a", "path.b") and whole weights by path, in float32.

        Parameters
        ----------
        shapes : mapping
            Of the base network's weights, with the adapter's overrides.

        Raises
        ------
        WeightsError
            If the file does not fit them; ConfigError if the config names other weights.
        """
        c = self.config
        unknown = sorted({*c.targets, *c.whole} - set(shapes))
        if unknown or any(len(shapes[path]) != 2 for path in c.targets):
            raise ConfigError(
                f"{self.folder / CONFIG} names weights that the base does not have as such: "
                f"{unknown[:5] or list(c.targets)[:5]}"
            )
        expected = {path: tuple(shapes[path]) for path in c.whole}
        for path in c.targets:
            rows, columns = shapes[path]
            expected[f"{path}.a"], expected[f"{path}.b"] = (rows, c.rank), (c.rank, columns)
        return read_weights(self.folder / WEIGHTS, expected, c.fingerprint)

    def merged(
        self, weights: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The base's weights with the adapter's (`read_weights`) folded in: W + (alpha / rank) A
        B."""
        found = dict(weights)
        for path in self.config.targets:
            product = values[f"{path}.a"] @ values[f"{path}.b"]
            found[path] = found[path] + np.float32(self.config.alpha / self.config.rank) * product
        return {**found, **{path: values[path] for path in self.config.whole}}


def open_adapter(folder: str | os.PathLike[str]) -> Adapter:
    """Verify an adapter's folder and read its config.

    Raises
    ------
    CheckpointError
        Or one of its kinds, if the folder is not whole, or is no adapter.
    """
    place, files, raw = open_folder(folder)
    if not _is_adapter(raw):
        raise CheckpointError(
            f"{place} is no adapter but a whole checkpoint: load it by itself, rnnzoo.load(folder)"
        )
    return Adapter(place, read_config(AdapterConfig, raw, str(place / CONFIG)), files)


def open_either(folder: str | os.PathLike[str]) -> Adapter | Checkpoint:
    """Verify a folder, of an adapter or of a whole checkpoint, and read its config.

    Raises
    ------
    CheckpointError
        Or one of its kinds, if the folder is not whole.
    """
    *_, raw = open_folder(folder)
    return open_adapter(folder) if _is_adapter(raw) else open_checkpoint(folder)


def _is_adapter(config: Any) -> bool:
    return isinstance(config, dict) and "adapter" in config


def save_adapter(
    folder: str | os.PathLike[str],
    *,
    family: str,
    base: str | None,
    base_fingerprint: str,
    rank: int,
    alpha: float,
    targets: tuple[str, ...],
    whole: tuple[str, ...],
    overrides: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    card: Callable[[AdapterConfig], CardFile] | None = None,
) -> Adapter:
    """Write an adapter's folder, whole or not at all, as `rnnzoo.checkpoint.save_checkpoint` does,
    with the card that `card` gives for its config.

    Raises
    ------
    CheckpointError
        If the place holds something else, a checkpoint for example, or cannot be written.
    """
    stored = store_weights(weights, "float32")
    config = AdapterConfig(
        FORMAT_VERSION,
        KIND,
        family,
        base,
        base_fingerprint,
        rank,
        alpha,
        targets,
        whole,
        dict(overrides),
        fingerprint(stored),
    )
    place = Path(folder)
    if (place / FILES).is_file():
        open_adapter(place)
    written = None if card is None else card(config)
    return save_described(place, dataclasses.asdict(config), stored, open_adapter, written)
