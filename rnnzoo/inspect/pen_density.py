"""Where a writing network expects the pen next, along a line of ink (Graves 2013, arXiv 1308.0850,
figure 10)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rnnzoo.errors import InputError
from rnnzoo.figures import new_figure
from rnnzoo.handwriting.preprocess import Style, begun
from rnnzoo.handwriting.result import InkLine
from rnnzoo.handwriting.task import PenTask
from rnnzoo.layers.mixture_density import Mixture, mixture_of

_MARGIN = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class PenDensity:
    """The densities of the next points, over a line.

    Attributes
    ----------
    density : np.ndarray
        [rows, columns], float32: the sum over all points of the density that was predicted for
        the place of each, per square x-height.
    left, bottom, step : float
        Where the first column and the first row (the lowest) are centred, and from one to the
        next, in x-heights.
    weights : np.ndarray
        [time, M], float32: pi, the weight of each component of the mixture at each point.
    lift : np.ndarray
        [time], float32: the predicted probability that the pen is lifted behind the point.
    strokes : list of np.ndarray
        The ink, as `InkLine.strokes`.
    """

    density: np.ndarray
    left: float
    bottom: float
    step: float
    weights: np.ndarray
    lift: np.ndarray
    strokes: list[np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "left": self.left,
            "bottom": self.bottom,
            "step": self.step,
            "density": np.round(self.density.astype(float), 5).tolist(),
            "weights": np.round(self.weights.astype(float), 5).tolist(),
            "lift": np.round(self.lift.astype(float), 5).tolist(),
        }

    def plot(self) -> Any:
        """The densities over the line, above the weights of the components over time; returns the
        figure.

        Raises
        ------
        MissingDependencyError
            Without matplotlib.
        """
        figure = new_figure(12, 5)
        over, below = figure.subplots(2, 1, height_ratios=(2, 1))
        rows, columns = self.density.shape
        half = self.step / 2
        right, top = self.left + columns * self.step, self.bottom + rows * self.step
        extent = (self.left - half, right - half, self.bottom - half, top - half)
        shown = np.log10(self.density + 1e-2)
        over.imshow(shown, origin="lower", extent=extent, cmap="magma", aspect="equal")
        for stroke in self.strokes:
            over.plot(*stroke.T, color="white", linewidth=0.5, alpha=0.6)
        over.set_axis_off()
        below.imshow(self.weights.T, aspect="auto", cmap="magma", vmin=0, vmax=1)
        below.set_xlabel("point")
        below.set_ylabel("component")
        return figure


def pen_density(model: PenTask, ink: Any, text: str | None = None, step: float = 0.1) -> PenDensity:
    """Where a network expects each point of a line, given those before.

    Parameters
    ----------
    model : HandwritingWriter or InkPredictor
    ink : InkLine, Style or array
        A line; an array of points [time, 3] as `InkLine.points`.
    text : str, optional
        What is written there, for a network that writes; the ink's own by default.
    step : float
        Of the grid, in x-heights.

    Returns
    -------
    PenDensity

    Raises
    ------
    InputError
        Without points or text, for a step that is not above 0, and for a text that cannot be
        written.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting import HandwritingConfig, HandwritingPreprocessor
    >>> from rnnzoo.handwriting import HandwritingWriter, PreprocessorConfig
    >>> from rnnzoo.inspect import pen_density
    >>> config = HandwritingConfig(hidden_dim=8, num_components=2)
    >>> model = HandwritingWriter(config, HandwritingPreprocessor(PreprocessorConfig()))
    >>> points = np.array([[0, 1, 0], [0.2, -1, 1], [0.5, 0, 1]], "float32")
    >>> pen_density(model, points, "v").weights.shape
    (3, 2)
    """
    if not step > 0:
        raise InputError(f"step must be above 0, got {step!r}")
    if isinstance(ink, (InkLine, Style)):
        text, ink = ink.text if text is None else text, ink.points
    points = Style("", ink).points
    inputs = {"points": begun(points)[None, :-1]}
    if model.config.writes:
        if text is None:
            raise InputError("what is written in the ink? give it as text=")
        inputs["characters"], _ = model.preprocessor.pad([model.preprocessor.written(text)])
    mixture = mixture_of(model.network(inputs, training=False)["y"][0])
    line = InkLine(text or "", points, np.zeros((len(points), 0), np.float32), True)
    places = np.cumsum(points[:, :2], axis=0, dtype=np.float64)
    low, high = places.min(0) - _MARGIN, places.max(0) + _MARGIN
    x, y = (np.arange(a, b + step, step) for a, b in zip(low, high, strict=True))
    before = np.concatenate([np.zeros((1, 2)), places[:-1]])
    return PenDensity(
        _summed(mixture, before, model.config.offset_scale, x, y),
        float(x[0]),
        float(y[0]),
        float(step),
        np.exp(np.asarray(mixture.log_pi)),
        1 / (1 + np.exp(-np.asarray(mixture.lift))),
        line.strokes,
    )


def _summed(
    mixture: Mixture, before: np.ndarray, scale: float, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """The sum over time of the mixture's densities on a grid, the pen being at `before`."""
    parts = [np.asarray(part, np.float64) for part in mixture[:7]]
    total = np.zeros((len(y), len(x)))
    for t in range(len(before)):
        log_pi, mu_1, mu_2, log_s1, log_s2, rho, room = (part[t] for part in parts)
        a = ((x - before[t, 0])[:, None] / scale - mu_1) * np.exp(-log_s1)  # [columns, M]
        b = ((y - before[t, 1])[:, None] / scale - mu_2) * np.exp(-log_s2)  # [rows, M]
        peak = np.exp(log_pi - 0.5 * room - log_s1 - log_s2) / (2 * np.pi * scale**2)
        side = np.sign(rho) * b[:, None]
        across = a[None] - side + np.exp(room) / (1 + np.abs(rho)) * side  # a - rho b
        z = b[:, None] ** 2 + across**2 * np.exp(-room)  # (25) over 1 - rho^2
        total += np.sum(peak * np.exp(-0.5 * z), axis=-1)
    return total.astype(np.float32)
