"""See inside the networks: tables, and figures of them (`pip install 'rnnzoo[plot]'`)."""

from rnnzoo.inspect.attention_profile import AttentionProfile, attention_profile
from rnnzoo.inspect.filters import FilterLogo, filter_logos, plot_logos
from rnnzoo.inspect.pen_density import PenDensity, pen_density

__all__ = [
    "AttentionProfile",
    "FilterLogo",
    "PenDensity",
    "attention_profile",
    "filter_logos",
    "pen_density",
    "plot_logos",
]
