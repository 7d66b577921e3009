"""See inside the networks: tables, and figures of them (`pip install 'rnnzoo[plot]'`)."""

from rnnzoo.inspect.attention_profile import AttentionProfile, attention_profile
from rnnzoo.inspect.filters import FilterLogo, filter_logos, plot_logos

__all__ = [
    "AttentionProfile",
    "FilterLogo",
    "attention_profile",
    "filter_logos",
    "plot_logos",
]
