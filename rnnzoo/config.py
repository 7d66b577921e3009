"""Config dataclasses that take exactly what they say: no unknown keys, no other types."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from rnnzoo.errors import ConfigError, InputError


def check_types(config: Any) -> None:
    """Compare a config's values with its annotations (`int`, `float`, `bool`, `str`).

    Raises
    ------
    ValueError
        Names the field, the kind expected and the value.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        kinds = str(field.type).split(" | ")
        if value is None and "None" in kinds:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = {
            "int": number and isinstance(value, int),
            "float": number and math.isfinite(value),
            "bool": isinstance(value, bool),
            "str": isinstance(value, str),
        }
        if not any(fits.get(kind, False) for kind in kinds):
            words = {"int": "a whole number", "float": "a number", "bool": "true or false"}
            expected = " or ".join(words.get(kind, "a text") for kind in kinds if kind != "None")
            raise ValueError(f"{field.name} must be {expected}, got {value!r}")


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
            raise ValueError(f"{name} must be from {low:,} to {high:,}, got {value!r}")


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
        field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING
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
