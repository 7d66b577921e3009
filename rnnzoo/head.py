"""A new head on an old network: other labels, another alphabet, more words, the rest kept.

A family says which configs the new head has, and of each weight that changes which of its rows
come from the old one. Rows that nothing is known of begin at random, as in a new network, or, where
a family says so, as the mean of the old ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnzoo.errors import InputError


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where the rows of a changed weight come from.

    Attributes
    ----------
    axis : int
        Which axis counts the rows.
    sources : tuple of int or None
        Of each new row its number in the old weight; None for one that is new.
    mean : bool
        New rows are the mean of the old ones; otherwise they are a new network's.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.head import Rows
    >>> Rows(0, (1, None)).filled(np.array([3.0, 4.0]), np.array([0.1, 0.2]))
    array([4. , 0.2])
    """

    axis: int
    sources: tuple[int | None, ...]
    mean: bool = False

    @property
    def new(self) -> bool:
        """Whether any row is new."""
        return None in self.sources

    def filled(self, old: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """The new weight, of the old one and of a new network's."""
        result = np.array(fresh)
        rows, before = np.moveaxis(result, self.axis, 0), np.moveaxis(old, self.axis, 0)
        for number, source in enumerate(self.sources):
            if source is not None:
                rows[number] = before[source]
            elif self.mean:
                rows[number] = before.mean(0)
        return result


@dataclasses.dataclass(frozen=True)
class Described:
    """What a checkpoint describes, or a new head of it.

    Attributes
    ----------
    network, preprocessor : dataclass
        Configs of the family's types.
    assets : mapping
        Files that a new head has instead of the checkpoint's, by name.
    rows : mapping
        Of a new head, the weights that change.
    dropped : tuple of str
        What the checkpoint had and a new head cannot use.
    """

    network: Any
    preprocessor: Any
    assets: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, Rows] = dataclasses.field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    def renewed(
        self, weights: Mapping[str, np.ndarray], fresh: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """A checkpoint's weights with those of the new head; `fresh` are a new network's, and name
        all that it has."""
        changed = {
            path: rows.filled(weights[path], np.asarray(fresh[path], np.float32))
            for path, rows in self.rows.items()
        }
        return {path: changed[path] if path in changed else weights[path] for path in fresh}

    @property
    def new_weights(self) -> tuple[str, ...]:
        """Paths of the weights that have new rows."""
        return tuple(path for path, rows in self.rows.items() if rows.new)


def alphabet_rows(old: str, new: Any, before: int = 0) -> tuple[int | None, ...]:
    """Where the rows of a new alphabet's characters come from, `before` rows standing in front of
    both (CTC's blank, for one).

    Raises
    ------
    InputError
        If the new alphabet is no text, or empty, or has a character twice.

    Examples
    --------
    >>> from rnnzoo.head import alphabet_rows
    >>> alphabet_rows("abc", "bcd", before=1)
    (0, 2, 3, None)
    """
    if not isinstance(new, str) or not new or len(set(new)) != len(new):
        raise InputError(f"alphabet must be a text of characters that differ, got {new!r:.60}")
    places = {character: number for number, character in enumerate(old, before)}
    return (*range(before), *(places.get(character) for character in new))


def check_names(name: str, values: Any) -> tuple[str, ...]:
    """Texts that differ, as a tuple.

    Raises
    ------
    InputError
        If they are no such texts; names what they are of.

    Examples
    --------
    >>> from rnnzoo.head import check_names
    >>> check_names("locations", ["Nucleus", "Cytoplasm"])
    ('Nucleus', 'Cytoplasm')
    """
    listed = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    found = tuple(values) if listed else ()
    texts = all(isinstance(value, str) and value for value in found)
    if not found or not texts or len(set(found)) != len(found):
        raise InputError(f"{name} must be a list of texts that differ, got {values!r:.60}")
    return found
