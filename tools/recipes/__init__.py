"""One family a set of files: `FAMILY.py` trains, `FAMILY_measure.py` measures, `FAMILY_card.py`
says what a card says besides."""

from __future__ import annotations

import importlib
from types import ModuleType

_HOMES = {"handwriting_prediction": "handwriting"}  # of families that share their recipes' files
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
    """What writes the cards of a task's family."""
    return importlib.import_module(f"recipes.{_HOMES.get(family, family)}_card")


def measure(family: str) -> ModuleType:
    """What measures the tasks of a family."""
    return importlib.import_module(f"recipes.{_HOMES.get(family, family)}_measure")
