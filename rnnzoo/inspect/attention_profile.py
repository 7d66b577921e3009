"""Where along the chain a localizer looks, for each location, aligned at both ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnnzoo.deeploc.result import Localization
from rnnzoo.errors import InputError
from rnnzoo.figures import new_figure


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionProfile:
    """Mean importance of the residues near both ends, for each location.

    Attributes
    ----------
    counts : dict of str to int
        Proteins of each location.
    start : dict of str to np.ndarray
        [length], the first residue first: importance times the residues that were read, so that 1
        is what each would get if all were alike; the mean over the proteins that are so long.
    end : dict of str to np.ndarray
        [length], the last residue last.
    """

    counts: dict[str, int]
    start: dict[str, np.ndarray]
    end: dict[str, np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            name: {
                "proteins": count,
                "start": np.round(self.start[name].astype(float), 4).tolist(),
                "end": np.round(self.end[name].astype(float), 4).tolist(),
            }
            for name, count in self.counts.items()
        }

    def plot(self) -> Any:
        """Draw the profiles, a row for each location; returns the figure.

        Raises
        ------
        MissingDependencyError
            Without matplotlib.
        """
        names = list(self.counts)
        figure = new_figure(10, 0.7 + 0.95 * len(names))
        axes = figure.subplots(len(names), 2, sharex="col", squeeze=False)
        for (left, right), name in zip(axes, names, strict=True):
            length = len(self.start[name])
            top = 1.05 * max(1.0, np.nanmax(self.start[name]), np.nanmax(self.end[name]))
            for ax, positions, values in (
                (left, np.arange(1, length + 1), self.start[name]),
                (right, np.arange(-length, 0), self.end[name]),
            ):
                ax.bar(positions, values, width=1.0)
                ax.axhline(1, color="0.6", linewidth=0.7)
                ax.set_ylim(0, top)
                ax.spines[["top", "right"]].set_visible(False)
            left.set_ylabel(f"{name}\n({self.counts[name]:,})", rotation=0, ha="right", va="center")
        axes[-1, 0].set_xlabel("residue from the N-terminus")
        axes[-1, 1].set_xlabel("residue from the C-terminus")
        figure.suptitle("Mean importance by location (1: all residues alike)")
        return figure


def attention_profile(
    localizations: Localization | Iterable[Localization],
    labels: Sequence[str] | None = None,
    length: int = 60,
) -> AttentionProfile:
    """Mean importance for each location, aligned at both ends.

    Parameters
    ----------
    localizations : Localization, or iterable of them
    labels : sequence of str, optional
        The proteins' true locations; those that were predicted by default.
    length : int
        Residues shown at each end. A residue of a shorter chain counts at both.

    Raises
    ------
    InputError
        If there is nothing to average, or not one label for each protein.

    Examples
    --------
    >>> import rnnzoo, rnnzoo.inspect
    >>> found = rnnzoo.load("deeploc-attn").predict(["MKVLAAGIVGLLLAQWWG", "MSDEEKLLKKKRKV"])
    >>> profile = rnnzoo.inspect.attention_profile(found, labels=["a", "b"], length=5)
    >>> profile.counts, profile.start["a"].shape
    ({'a': 1, 'b': 1}, (5,))
    """
    results = [localizations] if isinstance(localizations, Localization) else list(localizations)
    names = [result.location for result in results] if labels is None else list(labels)
    if len(names) != len(results) or not results or length < 1:
        raise InputError(
            f"{len(results)} proteins, {len(names)} labels, length {length}: give at least one "
            "protein, a label for each, and a length above 0"
        )
    sums = {name: np.zeros((2, length)) for name in sorted(set(names))}
    counts = {name: np.zeros((2, length)) for name in sums}
    for name, result in zip(names, results, strict=True):
        scaled = result.importance * result.read
        shown = min(length, len(scaled))
        sums[name][0, :shown] += scaled[:shown]
        sums[name][1, length - shown :] += scaled[len(scaled) - shown :]
        counts[name][0, :shown] += 1
        counts[name][1, length - shown :] += 1
    means = {
        name: np.divide(total, counts[name], np.full_like(total, np.nan), where=counts[name] > 0)
        for name, total in sums.items()
    }
    return AttentionProfile(
        {name: names.count(name) for name in means},
        {name: mean[0] for name, mean in means.items()},
        {name: mean[1] for name, mean in means.items()},
    )
