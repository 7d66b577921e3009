"""A network that reads ink as it was written (Graves et al. 2009, IEEE TPAMI 31(5), "A novel
connectionist system for unconstrained handwriting recognition"): bidirectional LSTMs over the
pen's points, and CTC.

Difference: a convolution over neighbouring points, which halves their number, stands where the
paper has 25 features that were made by hand.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from rnnzoo.config import check_range, check_types
from rnnzoo.layers import LSTM, bidirectional

_FEATURES = 4  # dx, dy, pen lifted, height


@dataclasses.dataclass(frozen=True)
class ReaderConfig:
    """What a reading network is made of.

    Attributes
    ----------
    num_symbols : int
        CTC's blank and the characters of the alphabet.
    spacing : float
        From a point to the next along a stroke, in x-heights.
    conv_channels, conv_width, conv_stride : int
        Filters of the convolution, the points that each sees (odd), and its steps.
    num_layers, hidden_dim : int
        LSTM layers and units of each, in each direction.
    dropout : float
        Rate on the input of each LSTM layer and of the softmax.

    Examples
    --------
    >>> from rnnzoo.handwriting import ReaderConfig
    >>> ReaderConfig(hidden_dim=96).num_symbols
    75
    """

    num_symbols: int = 75
    spacing: float = 0.2
    conv_channels: int = 64
    conv_width: int = 7
    conv_stride: int = 2
    num_layers: int = 3
    hidden_dim: int = 128
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            num_symbols=(2, 10_000),
            spacing=(0.01, 10),
            conv_channels=(1, 4096),
            conv_width=(1, 255),
            conv_stride=(1, self.conv_width),
            num_layers=(1, 16),
            hidden_dim=(1, 8192),
            dropout=(0, 0.99),
        )
        if self.conv_width % 2 == 0:
            raise ValueError(f"conv_width must be odd, got {self.conv_width}")


@keras.saving.register_keras_serializable(package="rnnzoo")
class Reader(keras.layers.Layer):
    """Points [batch, time, 3] and their counts [batch] to log-probabilities, as `build_reader`
    says."""

    def __init__(self, config: ReaderConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.config = config if isinstance(config, ReaderConfig) else ReaderConfig(**config)
        c, policy, layers = self.config, self.dtype_policy, keras.layers
        self.convolution = layers.Conv1D(
            c.conv_channels,
            c.conv_width,
            strides=c.conv_stride,
            activation="relu",
            dtype=policy,
            name="conv",
        )
        self.recurrent = [
            bidirectional(
                LSTM(
                    c.hidden_dim,
                    return_sequences=True,
                    zero_output_for_mask=True,
                    dtype=policy,
                    name=f"lstm_{number}",
                ),
                dtype=policy,
                name=f"lstm_{number}",
            )
            for number in range(1, c.num_layers + 1)
        ]
        self.symbols = layers.Dense(c.num_symbols, dtype=policy, name="symbols")
        self.dropout = layers.Dropout(c.dropout, dtype=policy)

    def build(self, points_shape: Any, counts_shape: Any = None) -> None:
        c = self.config
        self.convolution.build((None, None, _FEATURES))
        features = c.conv_channels
        for layer in self.recurrent:
            layer.build((None, None, features))
            features = 2 * c.hidden_dim
        self.symbols.build((None, None, features))
        self.built = True

    def features(self, points: Any, mask: Any) -> Any:
        """dx and dy in units of `spacing`, whether the pen is lifted, and the height above the
        baseline: [batch, time, 4], zero where there is no point."""
        points = ops.cast(points, "float32")
        height = ops.cumsum(points[..., 1:2], axis=1)
        offsets = points[..., :2] / self.config.spacing
        whole = ops.concatenate([offsets, points[..., 2:], height], -1)
        return ops.cast(whole * ops.cast(mask, "float32")[..., None], self.compute_dtype)

    def call(self, points: Any, counts: Any, training: bool = False) -> tuple[Any, Any]:
        c, half = self.config, self.config.conv_width // 2
        counts = ops.cast(counts, "int32")
        x = self.features(points, _real(counts, points))
        x = self.convolution(ops.pad(x, [(0, 0), (half, half), (0, 0)]))
        frames = (counts + c.conv_stride - 1) // c.conv_stride
        mask = _real(frames, x)
        x = x * ops.cast(mask, x.dtype)[..., None]
        for layer in self.recurrent:
            x = layer(self.dropout(x, training=training), mask=mask, training=training)
        x = self.symbols(self.dropout(x, training=training))
        return ops.log_softmax(ops.cast(x, "float32"), axis=-1), frames

    def compute_output_spec(self, points: Any, counts: Any, training: bool = False) -> Any:
        batch = points.shape[0]
        return (
            keras.KerasTensor((batch, None, self.config.num_symbols), "float32"),
            keras.KerasTensor((batch,), "int32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def _real(counts: Any, x: Any) -> Any:
    """Which places of x [batch, time, ...] are no padding: [batch, time]."""
    return ops.arange(ops.shape(x)[1])[None] < counts[:, None]


def build_reader(config: ReaderConfig, dtype: Any = None) -> keras.Model:
    """The network, a plain functional `keras.Model`.

    Inputs are `points` [batch, time, 3], float32, padded on the right: the pen's offset from the
    point before, in x-heights, `spacing` apart, the first from the baseline's begin, and 1 where
    the pen is lifted behind the point; and `counts` [batch], int32, the real points of each.
    Outputs are `log_probs` [batch, frames, num_symbols], float32, natural logarithms, and `frames`
    [batch], int32; symbol 0 is CTC's blank.

    Parameters
    ----------
    config : ReaderConfig
    dtype : str or keras.DTypePolicy, optional
        The dtype policy of every layer; Keras' global policy by default.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting import ReaderConfig, build_reader
    >>> network = build_reader(ReaderConfig(num_layers=1, hidden_dim=8))
    >>> out = network({"points": np.zeros((1, 9, 3)), "counts": np.array([9])})
    >>> out["log_probs"].shape, int(out["frames"][0])
    (TensorShape([1, 5, 75]), 5)
    """
    points = keras.Input((None, 3), dtype="float32", name="points")
    counts = keras.Input((), dtype="int32", name="counts")
    log_probs, frames = Reader(config, dtype=dtype, name="reader")(points, counts)
    return keras.Model(
        {"points": points, "counts": counts},
        {"log_probs": log_probs, "frames": frames},
        name="handwriting_reader",
    )


def reader_weight_shapes(config: ReaderConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its path, without building the network."""
    c = config
    shapes: dict[str, tuple[int, ...]] = {
        "reader/conv/kernel": (c.conv_width, _FEATURES, c.conv_channels),
        "reader/conv/bias": (c.conv_channels,),
    }
    features, gates = c.conv_channels, 4 * c.hidden_dim
    for number in range(1, c.num_layers + 1):
        for way in ("forward", "backward"):
            path = f"reader/lstm_{number}/{way}_lstm_{number}/lstm_cell"
            shapes[f"{path}/kernel"] = (features, gates)
            shapes[f"{path}/recurrent_kernel"] = (c.hidden_dim, gates)
            shapes[f"{path}/bias"] = (gates,)
        features = 2 * c.hidden_dim
    shapes["reader/symbols/kernel"] = (features, c.num_symbols)
    shapes["reader/symbols/bias"] = (c.num_symbols,)
    return shapes
