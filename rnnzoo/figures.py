"""New figures for the results that draw themselves."""

from __future__ import annotations

import sys
from typing import Any

from rnnzoo.errors import MissingDependencyError


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure, width and height in inches.

    It is pyplot's current one where pyplot is in use, so that `plt.show()` and `plt.savefig()` see
    it, and one of its own otherwise, which goes with its last reference.

    Raises
    ------
    MissingDependencyError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plot()", "matplotlib", "plot") from error
    if "matplotlib.pyplot" in sys.modules:
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), layout="constrained")
    return Figure(figsize=(width, height), layout="constrained")
