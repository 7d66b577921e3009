"""Likelihoods to a decision, and along DeepLoc's tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from rnnzoo.config import check_range, check_types

# Almagro Armenteros et al. 2017: nine decisions, ten leaves; named by what lies below
_TREE: tuple[Any, ...] = (
    "Eukaryotic protein",
    (
        "Secretory pathway",
        "Extracellular",
        (
            "Kept in the pathway",
            ("Cell membrane or lysosome", "Cell membrane", "Lysosome/Vacuole"),
            ("ER or Golgi", "Endoplasmic reticulum", "Golgi apparatus"),
        ),
    ),
    (
        "Not secretory",
        ("N-terminal transit peptide", "Mitochondrion", "Plastid"),
        (
            "No transit peptide",
            "Peroxisome",
            ("Nucleus or cytoplasm", "Nucleus", "Cytoplasm"),
        ),
    ),
)


@dataclasses.dataclass(frozen=True)
class DecisionOptions:
    """How likelihoods become decisions.

    Attributes
    ----------
    membrane_threshold : float
        From which likelihood on a protein is called membrane-bound.

    Examples
    --------
    >>> from rnnzoo.deeploc import DecisionOptions
    >>> DecisionOptions().membrane_threshold
    0.5
    """

    membrane_threshold: float = 0.5

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, membrane_threshold=(0, 1))


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of DeepLoc's tree with its likelihood: the sum over the leaves below it."""

    name: str
    likelihood: float
    children: tuple[Node, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        """This node and all below it, from the top."""
        yield self
        for child in self.children:
            yield from child

    def __getitem__(self, name: str) -> Node:
        """The node of a name."""
        for node in self:
            if node.name == name:
                return node
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        out: dict[str, Any] = {"name": self.name, "likelihood": round(self.likelihood, 4)}
        if self.children:
            out["children"] = [child.to_dict() for child in self.children]
        return out


def likelihood_tree(likelihoods: Mapping[str, float]) -> Node | None:
    """DeepLoc's tree over the likelihoods of its ten locations; None for other locations.

    Examples
    --------
    >>> from rnnzoo.deeploc.decode import likelihood_tree, leaves
    >>> tree = likelihood_tree({name: 0.1 for name in leaves()})
    >>> round(tree["Secretory pathway"].likelihood, 3)
    0.5
    """
    if set(likelihoods) != set(leaves()):
        return None

    def node(branch: Any) -> Node:
        if isinstance(branch, str):
            return Node(branch, float(likelihoods[branch]))
        children = tuple(node(child) for child in branch[1:])
        return Node(branch[0], sum(child.likelihood for child in children), children)

    return node(_TREE)


def leaves(branch: Any = _TREE) -> tuple[str, ...]:
    """The ten locations of DeepLoc's tree, from top to bottom."""
    if isinstance(branch, str):
        return (branch,)
    return tuple(leaf for child in branch[1:] for leaf in leaves(child))
