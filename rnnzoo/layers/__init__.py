"""Recurrent building blocks that the families share, one idea each."""

from rnnzoo.layers.attention import AdditiveAttention
from rnnzoo.layers.bidirectional import bidirectional
from rnnzoo.layers.lstm import LSTM
from rnnzoo.layers.mixture_density import Mixture, log_density, log_lift, mixture_of
from rnnzoo.layers.window_lstm import WindowLSTM, WindowState

__all__ = [
    "LSTM",
    "AdditiveAttention",
    "Mixture",
    "WindowLSTM",
    "WindowState",
    "bidirectional",
    "log_density",
    "log_lift",
    "mixture_of",
]
