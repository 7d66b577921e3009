"""Options of the command line as arguments of `rnnzoo.load` and of a model's `predict`."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from rnnzoo.errors import InputError


def located(options: argparse.Namespace) -> dict[str, Any]:
    """Where a model may come from, as `rnnzoo.load` takes it."""
    return {
        "revision": options.revision,
        "cache_dir": options.cache_dir,
        "local_files_only": options.offline,
    }


def loaded_as(options: argparse.Namespace) -> dict[str, Any]:
    """How a model that runs is kept, and where it comes from, as `rnnzoo.load` takes it."""
    kept = {name: getattr(options, name) for name in ("adapter", "dtype", "quantize", "engine")}
    return {**kept, **located(options)}


def model_options(extra: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`--beam-size 10 --temperature=0.7` as keyword arguments; other words are inputs.

    Raises
    ------
    InputError
        For an option without its value, one that is not the model's, or with a single dash.
    """
    choices: dict[str, Any] = {}
    texts = []
    words = iter(extra)
    for word in words:
        if re.fullmatch(r"-[A-Za-z].?", word):
            raise InputError(f"unknown option {word}: options of the model begin with two dashes")
        if not word.startswith("--"):
            texts.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            found = next(words, None)
            if found is None:
                raise InputError(
                    f"option {word} needs a value; options of the model follow its name"
                )
            value = found
        name = name.replace("-", "_")
        if name in ("inputs", "verbose", "skipped", ""):
            raise InputError(f"{word} is not an option of the model")
        try:
            choices[name] = json.loads(value)
        except ValueError:
            choices[name] = value
    return choices, texts
