"""Recurrent building blocks that the families share, one idea each."""

from rnnzoo.layers.attention import AdditiveAttention
from rnnzoo.layers.lstm import LSTM

__all__ = ["LSTM", "AdditiveAttention"]
