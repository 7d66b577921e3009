"""What the convolutions of a localizer respond to, as sequence logos.

As Alipanahi et al. (2015, doi 10.1038/nbt.3300) did for DeepBind: of every protein the window that
excites a filter most is taken, if it reaches half of the filter's strongest response, and these
windows are stacked. A letter's height is its share times the column's information (Schneider and
Stephens 1990, doi 10.1093/nar/18.20.6097) over the residues' shares in the proteins given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnnzoo.deeploc.residues import RESIDUES
from rnnzoo.deeploc.task import ProteinLocalizer
from rnnzoo.errors import InputError, MissingDependencyError
from rnnzoo.figures import new_figure

_PSEUDOCOUNT = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class FilterLogo:
    """What one filter responds to.

    Attributes
    ----------
    width, number : int
        The convolution by its width in residues, and the filter in it.
    windows : int
        Windows that the logo is made of.
    information : np.ndarray
        [width, 20], bits of each residue in the order of `rnnzoo.deeploc.residues.RESIDUES`.
    location : str
        Whose proteins excite the filter most, beside all others.
    enrichment : float
        By how much: difference of the mean strongest responses in standard deviations.
    position : float
        Median place of the windows along their chains, 0 the N-terminus and 1 the C-terminus.
    """

    width: int
    number: int
    windows: int
    information: np.ndarray
    location: str
    enrichment: float
    position: float

    @property
    def consensus(self) -> str:
        """The most informative residue of each column, small where it says under half a bit."""
        best = self.information.argmax(1)
        strong = self.information.max(1) >= 0.5
        return "".join(
            RESIDUES[n] if s else RESIDUES[n].lower() for n, s in zip(best, strong, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "information": np.round(self.information, 4).tolist(),
            "consensus": self.consensus,
        }


def filter_logos(
    model: ProteinLocalizer,
    sequences: Any,
    labels: Iterable[str],
    member: int = 0,
    threshold: float = 0.5,
) -> list[FilterLogo]:
    """Logos of all filters of the first convolutions, those first that tell locations apart best.

    Parameters
    ----------
    model : ProteinLocalizer
    sequences
        Proteins to respond to, as `predict` takes them; a few hundred do.
    labels : iterable of str
        Their locations.
    member : int
        Which network of an ensemble.
    threshold : float
        Windows count that reach this share of the filter's strongest response.

    Raises
    ------
    InputError
        If there are no proteins, not one label for each, or no such member.

    Examples
    --------
    >>> import rnnzoo, rnnzoo.inspect
    >>> model = rnnzoo.load("deeploc-attn")
    >>> logos = rnnzoo.inspect.filter_logos(
    ...     model, ["MKVLAAGIVGLLLAQWWG", "MSDEEKLLKKKRKVEDP"], ["Extracellular", "Nucleus"]
    ... )
    >>> len(logos) == len(model.config.filter_widths) * model.config.num_filters
    True
    """
    if not 0 <= member < model.config.num_members:
        raise InputError(f"member must be from 0 to {model.config.num_members - 1}, got {member}")
    network = model.network.get_layer(f"member_{member}")
    preprocessor, labels = model.preprocessor, list(labels)
    chains = [
        preprocessor.cut(preprocessor.numbers(protein.sequence))
        for protein in preprocessor.proteins(sequences)
    ]
    if len(chains) != len(labels) or not chains:
        raise InputError(f"{len(chains)} proteins and {len(labels)} labels: give one for each")
    counted = np.bincount(np.concatenate(chains), minlength=len(RESIDUES) + 1)
    counts = counted[1 : len(RESIDUES) + 1] + _PSEUDOCOUNT
    shares = counts / counts.sum()
    strongest: dict[int, list[np.ndarray]] = {w: [] for w in model.config.filter_widths}
    places: dict[int, list[np.ndarray]] = {w: [] for w in model.config.filter_widths}
    for chain in chains:
        encoded = network.encoding(preprocessor.pad([chain]))
        for width, convolution in zip(
            model.config.filter_widths, network.convolutions, strict=True
        ):
            response = np.asarray(convolution(encoded), np.float32)[0]  # [chain, filters]
            strongest[width].append(response.max(0))
            places[width].append(response.argmax(0))
    logos = [
        _logo(width, number, chains, values[:, number], at[:, number], labels, shares, threshold)
        for width in model.config.filter_widths
        for values, at in [(np.array(strongest[width]), np.array(places[width]))]
        for number in range(model.config.num_filters)
    ]
    return sorted(logos, key=lambda logo: -logo.enrichment)


def _logo(
    width: int,
    number: int,
    chains: list[np.ndarray],
    response: np.ndarray,
    places: np.ndarray,
    labels: Sequence[str],
    shares: np.ndarray,
    threshold: float,
) -> FilterLogo:
    chosen = np.flatnonzero((response >= threshold * response.max()) & (response > 0))
    counts = np.tile(_PSEUDOCOUNT * shares, (width, 1))
    for n in chosen:
        padded = np.pad(chains[n], width // 2)
        for column, residue in enumerate(padded[places[n] : places[n] + width]):
            if 0 < residue <= len(RESIDUES):
                counts[column, residue - 1] += 1
    frequency = counts / counts.sum(1, keepdims=True)
    bits = (frequency * np.log2(frequency / shares)).sum(1, keepdims=True)
    marks = np.array(labels)
    spread = float(response.std()) or 1.0
    apart = {
        name: float(response[marks == name].mean() - response[marks != name].mean()) / spread
        if (marks != name).any()
        else 0.0
        for name in dict.fromkeys(labels)
    }
    location = max(apart, key=apart.__getitem__)
    along = [places[n] / max(1, len(chains[n]) - 1) for n in chosen]
    return FilterLogo(
        width,
        number,
        len(chosen),
        frequency * bits,
        location,
        apart[location],
        float(np.median(along)) if along else 0.0,
    )


def plot_logos(logos: Sequence[FilterLogo], columns: int = 3) -> Any:
    """Draw logos, one beside the other; returns the figure.

    Raises
    ------
    MissingDependencyError
        Without matplotlib and logomaker.
    InputError
        If there are none.
    """
    if not logos:
        raise InputError("there are no logos to draw")
    try:
        import logomaker
        import pandas
    except ImportError as error:
        raise MissingDependencyError("plot_logos()", "logomaker", "plot") from error
    rows = -(-len(logos) // columns)
    figure = new_figure(4 * columns, 1.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(logos) :]:
        ax.set_axis_off()
    for ax, logo in zip(axes, logos, strict=False):
        table = pandas.DataFrame(logo.information, columns=list(RESIDUES))
        logomaker.Logo(table, ax=ax, color_scheme="chemistry")
        ax.set_title(
            f"{logo.location} (+{logo.enrichment:.1f} sd, at {logo.position:.2f})", fontsize=8
        )
        ax.set_xticks([])
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
