"""Config dataclasses that take exactly what they say: no unknown keys, no other types."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnzoo.errors import ConfigError, InputError


def check_types(config: Any) -> None:
    """Compare a config's values with its annotations: `int`, `float`, `bool`, `str`, tuples of
    `int` or `str`, dicts of tuples of `str`, and dicts of anything. NumPy's numbers are taken as
    Python's, lists (as JSON has them) as tuples.

    Raises
    ------
    ValueError
        Names the field, the kind expected and the value.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        kinds = str(field.type).split(" | ")
        if isinstance(value, list) and any(kind.startswith("tuple") for kind in kinds):
            value = tuple(value)
            object.__setattr__(config, field.name, value)  # the dataclasses are frozen
        if isinstance(value, Mapping) and any(kind.startswith("dict") for kind in kinds):
            value = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
            object.__setattr__(config, field.name, value)
        if value is None and "None" in kinds:
            continue
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, field.name, value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = {
            "int": whole,
            "float": whole or (isinstance(value, float) and math.isfinite(value)),
            "bool": isinstance(value, bool),
            "str": isinstance(value, str),
            "tuple[int, ...]": isinstance(value, tuple) and all(type(v) is int for v in value),
            "tuple[str, ...]": _are_texts(value),
            "dict[str, tuple[str, ...]]": isinstance(value, dict)
            and _are_texts(tuple(value))
            and all(map(_are_texts, value.values())),
            "dict[str, Any]": isinstance(value, dict) and _are_texts(tuple(value)),
        }
        if not any(fits.get(kind, False) for kind in kinds):
            words = {
                "int": "a whole number",
                "float": "a number",
                "bool": "true or false",
                "tuple[int, ...]": "a list of whole numbers",
                "tuple[str, ...]": "a list of texts",
                "dict[str, tuple[str, ...]]": "a list of texts for each name",
                "dict[str, Any]": "an object",
            }
            expected = " or ".join(words.get(kind, "a text") for kind in kinds if kind != "None")
            raise ValueError(f"{field.name} must be {expected}, got {value!r:.40}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(v) is str for v in value)


def check_range(config: Any, **ranges: tuple[float, float]) -> None:
    """Compare fields with the least and the greatest value each may have.

    Raises
    ------
    ValueError
        Names the field, its range and the value.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low:,} to {high:,}, got {value!r:.40}")


def read_config(kind: type[Any], fields: Any, where: str) -> Any:
    """`fields` of a `config.json` as a config dataclass.

    Raises
    ------
    ConfigError
        For unknown, missing or mistyped keys and values out of range.
    """
    if not isinstance(fields, Mapping):
        raise ConfigError(f"{where}: expected an object, found {type(fields).__name__}")
    known = {field.name for field in dataclasses.fields(kind)}
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    unknown, missing = sorted(set(fields) - known), sorted(required - set(fields))
    if unknown or missing:
        raise ConfigError(
            f"{where}: unknown keys {unknown[:5] or 'none'}, missing keys {missing or 'none'}; "
            f"a {kind.__name__} has {', '.join(sorted(known))}"
        )
    try:
        return kind(**fields)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def choose_options(options: Any, changes: Mapping[str, Any]) -> Any:
    """A config with some fields changed by keyword.

    Raises
    ------
    InputError
        For a name that is not a field, with the nearest one, or a value out of its range.
    """
    names = [field.name for field in dataclasses.fields(options)]
    for name in changes:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"unknown option {name!r}. {hint}Options: {', '.join(names)}")
    try:
        return dataclasses.replace(options, **changes)
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error
