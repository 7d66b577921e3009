"""The grammar of the coffee commands (Picovoice's Speech-to-Intent benchmark): carriers, the order
of what is said, and the fillings of each slot, as the labels of its training part have them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np

_AMOUNTS = ("", "some ", "a bit of ", "a little bit of ", "a lot of ", "lots of ")
_MILKS = ("milk", "whole milk", "skim milk", "soy milk", "almond milk", "cream")
_SUGARS = ("sugar", "brown sugar", "sweetener")

SLOTS: dict[str, tuple[str, ...]] = {
    "_carrier": (
        "brew", "can i get", "can i have", "get me", "give me", "i want", "i'd like", "make me",
        "may i have",
    ),
    "_article": ("a", "an"),
    "size": (
        "small", "medium", "large", "eight ounce", "twelve ounce", "sixteen ounce",
        "twenty ounce",
    ),
    "roast": ("light roast", "medium roast", "dark roast"),
    "numberOfShots": ("single shot", "double shot", "triple shot"),
    "coffeeDrink": (
        "americano", "cappuccino", "coffee", "drip coffee", "espresso", "house coffee",
        "iced coffee", "iced mocha", "latte", "mocha",
    ),
    "milkAmount": tuple(f"{amount}{milk}" for amount in _AMOUNTS for milk in _MILKS),
    "sugarAmount": tuple(f"{amount}{sugar}" for amount in _AMOUNTS for sugar in _SUGARS),
}  # fmt: skip

_ADJECTIVES = [
    " ".join(f"{{{name}}}" for name in order) + " "
    for count in range(1, 4)
    for order in itertools.permutations(("size", "roast", "numberOfShots"), count)
]
_ADDITIONS = [
    "",
    *(
        " with " + " and ".join(f"{{{name}}}" for name in order)
        for count in (1, 2)
        for order in itertools.permutations(("milkAmount", "sugarAmount"), count)
    ),
]
GRAMMAR: tuple[str, ...] = tuple(
    f"{{_carrier}} {{_article}} {adjectives}{{coffeeDrink}}{addition}"
    for adjectives in ("", *_ADJECTIVES)
    for addition in _ADDITIONS
)


def commands(seed: int = 1) -> Iterator[str]:
    """Endless commands that the grammar lets through, drawn at random."""
    rng = np.random.default_rng(seed)
    while True:
        sentence = GRAMMAR[rng.integers(len(GRAMMAR))]
        text = re.sub(r"\{(\w+)\}", lambda slot: str(rng.choice(SLOTS[slot[1]])), sentence)
        yield re.sub(r"\ban? (?=([aeiou]))?", lambda a: "an " if a[1] else "a ", text, count=1)
