"""Parts of a network by name, for freezing and for low-rank updates.

A family names its parts, each by patterns of weight paths ("encoder/*"). A pattern of one's own
does as well as a part's name, so that no part has to be foreseen.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

from rnnzoo.errors import InputError

Parts = Mapping[str, tuple[str, ...]]


def parts_of(paths: Iterable[str], parts: Parts) -> dict[str, list[str]]:
    """The weights of each part that the network has, in the order of `paths`.

    Examples
    --------
    >>> from rnnzoo.parts import parts_of
    >>> parts_of(["encoder/lstm/kernel"], {"encoder": ("encoder/*",), "decoder": ("decoder/*",)})
    {'encoder': ['encoder/lstm/kernel']}
    """
    paths = list(paths)
    found = {name: _matching(paths, patterns) for name, patterns in parts.items()}
    return {name: matched for name, matched in found.items() if matched}


def choose_weights(paths: Iterable[str], parts: Parts, chosen: Iterable[str]) -> list[str]:
    """The weights that parts and patterns name, in the order of `paths`.

    Parameters
    ----------
    paths : iterable of str
        The network's weights.
    parts : mapping
        Patterns of each part.
    chosen : iterable of str
        Names of parts, whole paths, or patterns with the wildcards `*`, `?` and `[...]`.

    Raises
    ------
    InputError
        For a name or pattern that matches no weight; lists the parts that there are.

    Examples
    --------
    >>> from rnnzoo.parts import choose_weights
    >>> paths = ["encoder/lstm/kernel", "encoder/lstm/bias", "decoder/kernel"]
    >>> choose_weights(paths, {"encoder": ("encoder/*",)}, ["encoder"])
    ['encoder/lstm/kernel', 'encoder/lstm/bias']
    >>> choose_weights(paths, {}, ["*/kernel"])
    ['encoder/lstm/kernel', 'decoder/kernel']
    """
    paths = list(paths)
    known = parts_of(paths, parts)
    matched: set[str] = set()
    for name in chosen:
        if not isinstance(name, str):
            raise InputError(f"expected names of parts, got {name!r:.60}")
        found = known.get(name) or _matching(paths, (name,))
        if not found:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"{name!r} is no part of this network and matches no weight. {hint}Its parts are "
                f"{', '.join(known)}; a pattern such as {paths[0].split('/')[0] + '/*'!r} does too"
            )
        matched.update(found)
    return [path for path in paths if path in matched]


def _matching(paths: list[str], patterns: Iterable[str]) -> list[str]:
    return [path for path in paths if any(fnmatch.fnmatchcase(path, p) for p in patterns)]
