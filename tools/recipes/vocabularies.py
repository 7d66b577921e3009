"""The closed vocabularies that have an entry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from recipes import coffee, digits


class Vocabulary(NamedTuple):
    """What can be said: the grammar that ships, the source of its real clips, and endless lines
    (of a seed) for voices to speak."""

    source: str
    grammar: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]
    lines: Callable[[int], Iterator[str]]


VOCABULARIES = {
    "commands": Vocabulary("picovoice-s2i", coffee.GRAMMAR, coffee.SLOTS, coffee.commands),
    "digits": Vocabulary("fsdd", digits.GRAMMAR, digits.SLOTS, digits.strings),
}
