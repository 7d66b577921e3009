"""One family a set of files: `FAMILY.py` trains, `FAMILY_measure.py` measures, `FAMILY_card.py`
says what a card says besides."""

from __future__ import annotations

import importlib
from types import ModuleType

FAMILIES = ("deeploc", "deepspeech", "handwriting", "handwriting_reader", "seq2seq")


def family_of(name: str) -> str:
    """The family that has a recipe of this name."""
    for family in FAMILIES:
        if name in importlib.import_module(f"recipes.{family}").RECIPES:
            return family
    raise SystemExit(f"no recipe is called {name!r}; there are: {', '.join(names())}")


def names() -> list[str]:
    """All recipes."""
    return sorted(
        name for family in FAMILIES for name in importlib.import_module(f"recipes.{family}").RECIPES
    )


def card(family: str) -> ModuleType:
    """The part of a family that writes cards."""
    return importlib.import_module(f"recipes.{family}_card")
