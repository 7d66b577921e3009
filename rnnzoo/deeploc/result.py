"""What a localizer gives back."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.deeploc.decode import Node, likelihood_tree
from rnnzoo.errors import InputError
from rnnzoo.figures import new_figure

_SHOWN_END = 1000  # residues of each end that a notebook shows


@dataclasses.dataclass(frozen=True, eq=False)
class Localization:
    """Where a protein goes; prints as the location.

    Attributes
    ----------
    location : str
        The likeliest one.
    name : str
        The protein's id; `sequence_1`, `sequence_2`, ... where none was given.
    sequence : str
        Its residues as they were read.
    likelihoods : dict of str to float
        Of every location; they sum to 1.
    membrane : float or None
        Likelihood of being membrane-bound; None from a network that does not tell.
    membrane_bound : bool or None
        Whether `membrane` reaches the threshold.
    importance : np.ndarray
        [residues], float32, sums to 1: how much attention each residue got at the last look. The
        middle of a chain that is longer than the network reads has 0.
    read : int
        Residues that the network read; the rest lies in the middle.
    """

    location: str
    name: str
    sequence: str
    likelihoods: dict[str, float]
    membrane: float | None
    membrane_bound: bool | None
    importance: np.ndarray
    read: int

    def __str__(self) -> str:
        return self.location

    def __repr__(self) -> str:
        return (
            f"Localization({self.name!r}, {self.location!r}, {self.likelihoods[self.location]:.4f})"
        )

    @property
    def tree(self) -> Node | None:
        """Likelihoods along DeepLoc's tree; None if the locations are others than its ten."""
        return likelihood_tree(self.likelihoods)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for `json.dumps`."""
        tree = self.tree
        return {
            "name": self.name,
            "location": self.location,
            "likelihoods": {name: round(p, 4) for name, p in self.likelihoods.items()},
            "membrane": None if self.membrane is None else round(self.membrane, 4),
            "membrane_bound": self.membrane_bound,
            "tree": None if tree is None else tree.to_dict(),
            "sequence": self.sequence,
            "importance": np.round(self.importance.astype(float), 6).tolist(),
            "read": self.read,
        }

    def importance_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The importance of each residue as CSV: position (from 1), residue, importance.

        Parameters
        ----------
        path : path, optional
            Where to write it too.

        Raises
        ------
        InputError
            If the file cannot be written.

        Examples
        --------
        >>> import rnnzoo
        >>> found = rnnzoo.load("deeploc-attn").predict("MKVLAAGIVGLLLAQWWG")
        >>> found.importance_csv().splitlines()[0]
        'position,residue,importance'
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["position", "residue", "importance"])
        for position, (residue, weight) in enumerate(
            zip(self.sequence, self.importance, strict=True), 1
        ):
            table.writerow([position, residue, f"{weight:.6f}"])
        if path is not None:
            try:
                Path(path).write_text(text.getvalue(), encoding="utf-8")
            except OSError as error:
                raise InputError(f"cannot write {path}: {error.strerror}") from error
        return text.getvalue()

    def plot(self, ax: Any = None) -> Any:
        """Draw likelihoods, tree and importance along the chain.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Draw the importance alone, there; a new figure with all three by default.

        Returns
        -------
        matplotlib.axes.Axes
            The importance's; `.figure` is the whole.

        Raises
        ------
        MissingDependencyError
            Without matplotlib.

        Examples
        --------
        >>> import rnnzoo
        >>> ax = rnnzoo.load("deeploc-attn").predict("MKVLAAGIVGLLLAQWWG").plot()
        >>> ax.get_xlabel()
        'residue'
        """
        if ax is None:
            figure = new_figure(11, 6.5)
            grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.6], height_ratios=[1.5, 1])
            title = f"{self.name}: {self.location} ({self.likelihoods[self.location]:.2f})"
            if self.membrane is not None:
                kind = "membrane-bound" if self.membrane_bound else "soluble"
                share = self.membrane if self.membrane_bound else 1 - self.membrane
                title += f", {kind} ({share:.2f})"
            figure.suptitle(title, parse_math=False)  # an id may hold dollars
            tree = self.tree
            self._draw_likelihoods(figure.add_subplot(grid[0, 0] if tree else grid[0, :]))
            if tree:
                _draw_tree(figure.add_subplot(grid[0, 1]), tree, self.location)
            ax = figure.add_subplot(grid[1, :])
        self._draw_importance(ax)
        return ax

    def _draw_likelihoods(self, ax: Any) -> None:
        names = list(self.likelihoods)
        colours = ["C1" if name == self.location else "C0" for name in names]
        ax.barh(names, list(self.likelihoods.values()), color=colours)
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel("likelihood")
        ax.spines[["top", "right"]].set_visible(False)

    def _draw_importance(self, ax: Any) -> None:
        positions = np.arange(1, len(self.sequence) + 1)
        looked_at = np.flatnonzero(self.importance)
        ax.bar(looked_at + 1, self.importance[looked_at], width=1.0, color="C0")
        ax.set_xlim(0.5, len(self.sequence) + 0.5)
        ax.set_xlabel("residue")
        ax.set_ylabel("importance")
        ax.spines[["top", "right"]].set_visible(False)
        if len(self.sequence) <= 100:
            shown = positions
        else:  # the residues that matter most, no closer than they can be read
            shown = _apart(np.argsort(-self.importance), len(self.sequence) / 90)[:30] + 1
        for position in shown:
            weight = self.importance[position - 1]
            if weight > 0:
                ax.annotate(
                    self.sequence[position - 1],
                    (position, weight),
                    ha="center",
                    va="bottom",
                    fontsize=7,
                    fontfamily="monospace",
                )
        unread = len(self.sequence) - self.read
        if unread:
            first = self.read - self.read // 2
            ax.axvspan(first + 0.5, first + unread + 0.5, color="0.9")
            ax.text(first + unread / 2, ax.get_ylim()[1] * 0.9, "not read", ha="center", va="top")

    def _repr_html_(self) -> str:
        bar = '<div style="width:{:.0f}px;height:0.8em;background:#4c72b0"></div>'
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{p:.3f}</td><td>{bar.format(150 * p)}</td></tr>"
            for name, p in sorted(self.likelihoods.items(), key=lambda item: -item[1])
        )
        strongest = float(self.importance.max()) or 1.0
        residues = [
            f'<span style="background:rgba(221,132,82,{weight / strongest:.2f})" '
            f'title="{residue}{position}: {weight:.4f}">{residue}</span>'
            for position, (residue, weight) in enumerate(
                zip(self.sequence, self.importance, strict=True), 1
            )
        ]
        if len(residues) > 2 * _SHOWN_END:
            hidden = len(residues) - 2 * _SHOWN_END
            residues[_SHOWN_END:-_SHOWN_END] = [f" … {hidden:,} residues not shown … "]
        chain = "".join(residues)
        membrane = ""
        if self.membrane is not None:
            kind = "membrane-bound" if self.membrane_bound else "soluble"
            membrane = f", {kind} ({self.membrane:.2f} for membrane-bound)"
        return (
            f"<p><b>{html.escape(self.name)}</b>: {html.escape(self.location)}{membrane}</p>"
            f"<table>{rows}</table>"
            f'<p style="font-family:monospace;word-break:break-all">{chain}</p>'
        )


def _apart(order: np.ndarray, distance: float) -> np.ndarray:
    """The first of `order` that lie at least `distance` from those before them."""
    chosen: list[int] = []
    for position in order[:500]:
        if all(abs(position - other) >= distance for other in chosen):
            chosen.append(int(position))
    return np.array(chosen, int)


def _draw_tree(ax: Any, tree: Node, location: str) -> None:
    """The tree from left to right, leaves below each other, the way to `location` marked."""
    heights: dict[str, float] = {}
    depth_of: dict[str, int] = {}

    def place(node: Node, depth: int) -> float:
        depth_of[node.name] = depth
        if node.children:
            heights[node.name] = float(np.mean([place(c, depth + 1) for c in node.children]))
        else:
            heights[node.name] = -float(sum(not n.children for n in tree if n.name in heights))
        return heights[node.name]

    place(tree, 0)
    for node in tree:
        x, y = depth_of[node.name], heights[node.name]
        for child in node.children:
            on_the_way = location in {n.name for n in child}
            ax.plot(
                [x, x + 0.3, x + 1],
                [y, heights[child.name], heights[child.name]],
                color="C1" if on_the_way else "0.7",
                linewidth=0.8 + 4 * child.likelihood,
                solid_capstyle="round",
                zorder=2 if on_the_way else 1,
            )
        if node is tree:
            continue
        leaf = not node.children
        ax.text(
            x + 0.05 if leaf else x - 0.03,
            y if leaf else y + 0.12,
            f"{node.name} {node.likelihood:.2f}",
            fontsize=7,
            ha="left" if leaf else "right",
            va="center" if leaf else "bottom",
            weight="bold" if node.name == location else "normal",
        )
    ax.set_xlim(0, max(depth_of.values()) + 1.3)
    ax.set_axis_off()
