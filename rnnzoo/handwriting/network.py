"""The writing networks of Graves 2013 (arXiv 1308.0850): prediction (section 4) and synthesis
(section 5).

Both take the pen's offsets point by point and tell where it goes next. The layers see the input
and the layer below, the output sees all layers (figure 1). The synthesis network's first layer
looks at the text through a soft window, and the others see what it sees; the prediction network
has no text.

Differences: the LSTM cells have no peepholes, so that cuDNN can take the layers above the first;
offsets are divided by one number for both directions, which keeps the slant of a line; gradients
are clipped by their norm in training, not by their components.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from rnnzoo.config import check_range, check_types
from rnnzoo.layers import LSTM, WindowLSTM
from rnnzoo.layers.mixture_density import output_dim


@dataclasses.dataclass(frozen=True)
class HandwritingConfig:
    """What a writing network is made of; the defaults are the paper's.

    Attributes
    ----------
    num_symbols : int
        Characters that the network can write; 0 is the prediction network, which has no text.
    num_layers, hidden_dim : int
        LSTM layers and units of each.
    num_components : int
        M, the Gaussians of the mixture (section 4.1).
    num_windows : int
        K, the Gaussians of the window (section 5.1).
    offset_scale : float
        What offsets are divided by on the way in, in x-heights.
    dropout : float
        Rate on what the layers above the first see of the layer below, and on the output's input.

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingConfig
    >>> HandwritingConfig(num_symbols=0).writes
    False
    """

    num_symbols: int = 74
    num_layers: int = 3
    hidden_dim: int = 400
    num_components: int = 20
    num_windows: int = 10
    offset_scale: float = 0.4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            num_symbols=(0, 10_000),
            num_layers=(1, 16),
            hidden_dim=(1, 8192),
            num_components=(1, 1000),
            num_windows=(1, 1000),
            offset_scale=(1e-6, 1e6),
            dropout=(0, 0.99),
        )

    @property
    def writes(self) -> bool:
        """Whether it writes a text."""
        return self.num_symbols > 0


class WriterState(NamedTuple):
    """What goes from point to point: of the first layer, and (h, c) of each other layer."""

    first: Any
    others: tuple[tuple[Any, Any], ...]


@keras.saving.register_keras_serializable(package="rnnzoo")
class Writer(keras.layers.Layer):
    """Points [batch, time, 3] and characters [batch, width] to y hat, as `build_network` says."""

    def __init__(self, config: HandwritingConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = (
            config if isinstance(config, HandwritingConfig) else HandwritingConfig(**config)
        )
        c, policy = self.config, self.dtype_policy
        if c.writes:
            self.first = WindowLSTM(c.hidden_dim, c.num_windows, dtype=policy, name="lstm_1")
        else:
            self.first = self._lstm(1)
        self.others = [self._lstm(n) for n in range(2, c.num_layers + 1)]
        self.output_layer = keras.layers.Dense(
            output_dim(c.num_components), dtype=policy, name="output"
        )
        self.dropout = keras.layers.Dropout(c.dropout, dtype=policy)

    def _lstm(self, number: int) -> Any:
        return LSTM(
            self.config.hidden_dim,
            return_sequences=True,
            return_state=True,
            dtype=self.dtype_policy,
            name=f"lstm_{number}",
        )

    def build(self, points_shape: Any, characters_shape: Any = None) -> None:
        c = self.config
        if c.writes:
            self.first.build((None, None, 3), (None, None, c.num_symbols))
        else:
            self.first.build((None, None, 3))
        for layer in self.others:
            layer.build((None, None, 3 + c.hidden_dim + c.num_symbols))
        self.output_layer.build((None, None, c.num_layers * c.hidden_dim))
        self.built = True

    def text(self, characters: Any) -> Any:
        """The characters c_u as one-hot rows [batch, width, symbols]; 0, which stands behind a
        text, is a row of zeros."""
        symbols = tf.range(1, self.config.num_symbols + 1, dtype=characters.dtype)
        return tf.cast(characters[..., None] == symbols, self.compute_dtype)

    def scaled(self, points: Any) -> Any:
        """Points as the layers take them."""
        by = [self.config.offset_scale, self.config.offset_scale, 1.0]
        return ops.cast(ops.cast(points, "float32") / by, self.compute_dtype)

    def call(self, points: Any, characters: Any = None, training: bool = False) -> Any:
        y, phi, _ = self.run(points, characters, None, training)
        return (y, phi) if self.config.writes else y

    def run(
        self,
        points: Any,
        characters: Any,
        state: WriterState | None = None,
        training: bool = False,
    ) -> tuple[Any, Any, WriterState]:
        """y hat [batch, time, 1 + 6 M] in float32, phi [batch, time, width] or None, and the state
        after the last point."""
        x, phi = self.scaled(points), None
        before = None if state is None else state.first
        if self.config.writes:
            h, w, phi, first = self.first(x, self.text(characters), before, training=training)
            seen = [x, w]  # (53)
        else:
            h, *first = self.first(x, initial_state=before, training=training)
            seen = [x]
        layers, others = [h], []
        for n, layer in enumerate(self.others):
            below = ops.concatenate([*seen, self.dropout(h, training=training)], -1)
            before = None if state is None else list(state.others[n])
            h, *after = layer(below, initial_state=before, training=training)
            layers.append(h)
            others.append(tuple(after))
        return self._output(layers, training), phi, WriterState(first, tuple(others))

    def kernels(self) -> Any:
        """What `step` takes, made once for many steps; None for a network without text."""
        return self.first.kernels() if self.config.writes else None

    def step(
        self, point: Any, text: Any, state: WriterState, kernels: Any = None
    ) -> tuple[Any, Any, WriterState]:
        """One point [batch, 3] on, for one-hot text: y hat [batch, 1 + 6 M], phi [batch, width] or
        None, state."""
        x, phi = self.scaled(point), None
        if self.config.writes:
            first, phi = self.first.step(x, text, state.first, kernels)
            h, seen = first.h, [x, first.w]
        else:
            h, first = self.first.cell(x, list(state.first))
            seen = [x]
        layers, others = [h], []
        for layer, before in zip(self.others, state.others, strict=True):
            h, after = layer.cell(ops.concatenate([*seen, h], -1), list(before))
            layers.append(h)
            others.append(tuple(after))
        return self._output(layers), phi, WriterState(first, tuple(others))

    def initial_state(self, batch: Any) -> WriterState:
        """Zeros, before the first point."""
        zeros = tf.zeros([batch, self.config.hidden_dim], self.compute_dtype)
        first: Any = [zeros, zeros]
        if self.config.writes:
            first = self.first.initial_state(batch, self.config.num_symbols)
        return WriterState(first, ((zeros, zeros),) * len(self.others))

    def _output(self, layers: list[Any], training: bool = False) -> Any:
        """(17), float32."""
        seen = self.dropout(ops.concatenate(layers, -1), training=training)
        return ops.cast(self.output_layer(seen), "float32")

    def compute_output_spec(
        self, points: Any, characters: Any = None, training: bool = False
    ) -> Any:
        batch, time = points.shape[:2]
        y = keras.KerasTensor((batch, time, output_dim(self.config.num_components)), "float32")
        if not self.config.writes:
            return y
        return y, keras.KerasTensor((batch, time, characters.shape[1]), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def build_network(config: HandwritingConfig, dtype: Any = None) -> keras.Model:
    """The network, a plain functional `keras.Model`.

    Inputs are `points` [batch, time, 3], float32: the pen's offset from the point before, in
    x-heights, x to the right and y up, and 1 where the pen is lifted behind the point; the first
    is (0, 0, 1). For a network that writes, also `characters` [batch, width], int32, counted from 1
    in the order of the alphabet, 0 behind the text. Outputs are `y` [batch, time, 1 + 6 M],
    float32, of the point that follows each (`rnnzoo.layers.mixture_of`), in units of
    `offset_scale`, and for a network that writes `phi` [batch, time, width], float32, how much each
    character is looked at.

    Parameters
    ----------
    config : HandwritingConfig
    dtype : str or keras.DTypePolicy, optional
        The dtype policy of every layer; Keras' global policy by default.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.handwriting import HandwritingConfig, build_network
    >>> network = build_network(HandwritingConfig(num_symbols=5, hidden_dim=8, num_components=2))
    >>> out = network({"points": np.zeros((1, 4, 3)), "characters": np.array([[1, 2, 0]])})
    >>> out["y"].shape, out["phi"].shape
    (TensorShape([1, 4, 13]), TensorShape([1, 4, 3]))
    """
    points = keras.Input((None, 3), dtype="float32", name="points")
    writer = Writer(config, dtype=dtype, name="writer")
    if not config.writes:
        return keras.Model({"points": points}, {"y": writer(points)}, name="handwriting")
    characters = keras.Input((None,), dtype="int32", name="characters")
    y, phi = writer(points, characters)
    inputs = {"points": points, "characters": characters}
    return keras.Model(inputs, {"y": y, "phi": phi}, name="handwriting")


def weight_shapes(config: HandwritingConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its path, without building the network."""
    c = config
    gates = 4 * c.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(1, c.num_layers + 1):
        path, features = f"writer/lstm_{number}", 3
        if number > 1:
            features += c.hidden_dim + c.num_symbols
        if c.writes and number == 1:
            shapes[f"{path}/text_kernel"] = (c.num_symbols, gates)
            shapes[f"{path}/window_kernel"] = (c.hidden_dim, 3 * c.num_windows)
            shapes[f"{path}/window_bias"] = (3 * c.num_windows,)
        else:
            path += "/lstm_cell"
        shapes[f"{path}/kernel"] = (features, gates)
        shapes[f"{path}/recurrent_kernel"] = (c.hidden_dim, gates)
        shapes[f"{path}/bias"] = (gates,)
    width = output_dim(c.num_components)
    shapes["writer/output/kernel"] = (c.num_layers * c.hidden_dim, width)
    shapes["writer/output/bias"] = (width,)
    return shapes
