"""Networks that read where a protein goes: DeepLoc (2017) and Sønderby et al. (2015).

DeepLoc: residues, convolutions of several widths side by side, a second convolution, a
bidirectional LSTM, and an LSTM that looks at the whole chain several times through attention; the
last look decides. Keras' LSTM has no peepholes, the authors' (Lasagne's) had. Sønderby's A-LSTM is
the same with one look and no decoder (`attention_steps=0`). Several members, trained apart, may
stand in one network; their outputs are averaged, as DeepLoc averaged the models of its
cross-validation.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from rnnzoo.config import check_range, check_types
from rnnzoo.deeploc.residues import PAD_ID, TABLES
from rnnzoo.layers import LSTM, AdditiveAttention, bidirectional
from rnnzoo.layers.int8 import expand_once


@dataclasses.dataclass(frozen=True)
class DeepLocConfig:
    """What a localisation network is made of; the defaults are DeepLoc's.

    Filters of a width, LSTM units and dropout are those of its published code, other sizes those of
    its paper as far as they are known to us. The likelihoods are a softmax over the locations, from
    which those of DeepLoc's tree follow. The released networks are smaller: see their `config`.

    Attributes
    ----------
    num_locations : int
        Locations told apart.
    membrane : bool
        A second output: membrane-bound or soluble.
    encoding : "blosum62" or "one-hot"
        How a residue becomes 20 numbers.
    filter_widths : tuple of int
        Widths of the first convolutions, in residues; odd.
    num_filters : int
        Filters of each width.
    conv_dim : int
        Filters of the second convolution, of width 3.
    hidden_dim : int
        LSTM units in each direction.
    attention_dim : int
        Width of the energies' hidden layer.
    attention_steps : int
        Looks of the attention decoder; 0 weighs the chain once, without a decoder.
    decoder_dim : int
        Units of the attention decoder's LSTM.
    dense_dim : int
        Units of the layer before the outputs.
    input_dropout : float
        Rate at which whole residues are left out in training.
    dropout : float
        Rate on the second convolution's, the LSTM's and the attention's output.
    num_members : int
        Networks of this kind whose outputs are averaged.

    Examples
    --------
    >>> from rnnzoo.deeploc import DeepLocConfig
    >>> sonderby = DeepLocConfig(num_locations=11, membrane=False, attention_steps=0)
    """

    num_locations: int = 10
    membrane: bool = True
    encoding: str = "blosum62"
    filter_widths: tuple[int, ...] = (1, 3, 5, 9, 15, 21)
    num_filters: int = 10
    conv_dim: int = 128
    hidden_dim: int = 256
    attention_dim: int = 256
    attention_steps: int = 10
    decoder_dim: int = 512
    dense_dim: int = 512
    input_dropout: float = 0.2
    dropout: float = 0.5
    num_members: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            num_locations=(2, 1000),
            num_filters=(1, 4096),
            conv_dim=(1, 4096),
            hidden_dim=(1, 4096),
            attention_dim=(1, 4096),
            attention_steps=(0, 100),
            decoder_dim=(1, 4096),
            dense_dim=(1, 4096),
            input_dropout=(0, 0.99),
            dropout=(0, 0.99),
            num_members=(1, 32),
        )
        if self.encoding not in TABLES:
            raise ValueError(f"encoding must be one of {', '.join(TABLES)}, got {self.encoding!r}")
        widths = self.filter_widths
        if not 1 <= len(set(widths)) == len(widths) <= 32 or not all(
            0 < width < 1000 and width % 2 for width in widths
        ):
            raise ValueError(f"filter_widths must differ, be odd and below 1,000, got {widths!r}")


@keras.saving.register_keras_serializable(package="rnnzoo")
class ResidueEncoding(keras.layers.Layer):
    """Residue numbers [batch, chain] to 20 features each; padding to zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deeploc.network import ResidueEncoding
    >>> ResidueEncoding("one-hot")(np.array([[1, 0]])).shape
    TensorShape([1, 2, 20])
    """

    def __init__(self, encoding: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoding = encoding

    def call(self, residues: Any) -> Any:
        table = ops.convert_to_tensor(TABLES[self.encoding])
        return ops.cast(ops.take(table, residues, axis=0), self.compute_dtype)

    def compute_output_shape(self, residues_shape: Any) -> Any:
        return (*residues_shape, 20)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "encoding": self.encoding}


@keras.saving.register_keras_serializable(package="rnnzoo")
class AttentionDecoder(keras.layers.Layer):
    """An LSTM that looks at annotations h_j several times and sums up what it saw.

    Each step weighs the annotations by how well they match the decoder's state (additive
    attention, `rnnzoo.layers.AdditiveAttention`) and feeds their weighted sum to the LSTM. With
    `steps=0` there is no LSTM: the annotations are weighed once, without a query (Sønderby et al.
    2015, arXiv 1503.01919, A-LSTM).

    Returns the last step's sum [batch, features], which the decision is made from, as in the
    authors' code, so that its weights are all that counts; and these weights [batch, chain],
    float32, which are DeepLoc's importance of each position.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnzoo.deeploc.network import AttentionDecoder
    >>> decoder = AttentionDecoder(units=8, attention_dim=4, steps=3)
    >>> context, weights = decoder(np.ones((2, 6, 5), "float32"), mask=np.ones((2, 6), bool))
    >>> context.shape, weights.shape
    (TensorShape([2, 5]), TensorShape([2, 6]))
    """

    def __init__(self, units: int, attention_dim: int, steps: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units, self.attention_dim, self.steps = units, attention_dim, steps
        self.attention = AdditiveAttention(attention_dim, dtype=self.dtype_policy, name="attention")
        if steps:
            self.cell = keras.layers.LSTMCell(units, dtype=self.dtype_policy, name="cell")

    def build(self, annotations_shape: Any, mask_shape: Any = None) -> None:
        query_shape = (None, 1, self.units) if self.steps else None
        self.attention.build(query_shape, tuple(annotations_shape))
        if self.steps:
            self.cell.build((None, annotations_shape[-1]))
        self.built = True

    def call(self, annotations: Any, mask: Any) -> tuple[Any, Any]:
        with expand_once():
            return self._look(annotations, mask)

    def _look(self, annotations: Any, mask: Any) -> tuple[Any, Any]:
        keys = self.attention.keys(annotations)
        if not self.steps:
            context, alignment = self.attention.attend(None, keys, annotations, mask)
            return context[:, 0], alignment[:, 0]
        h = c = ops.repeat(ops.zeros_like(annotations[:, 0, :1]), self.units, axis=-1)
        for step in range(self.steps):
            context, alignment = self.attention.attend(h[:, None], keys, annotations, mask)
            if step + 1 < self.steps:
                _, (h, c) = self.cell(context[:, 0], [h, c])
        return context[:, 0], alignment[:, 0]

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """None: what comes out has no positions."""

    def compute_output_shape(self, annotations_shape: Any, mask_shape: Any = None) -> Any:
        batch, chain, features = annotations_shape
        return (batch, features), (batch, chain)

    def get_config(self) -> dict[str, Any]:
        names = ("units", "attention_dim", "steps")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="rnnzoo")
class Localizer(keras.layers.Layer):
    """One network: residue numbers to location, membrane and importance, as `build_network` says.

    A position of padding is zero after every layer, so that padding never changes a result.
    """

    def __init__(self, config: DeepLocConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config if isinstance(config, DeepLocConfig) else DeepLocConfig(**config)
        c, policy, layers = self.config, self.dtype_policy, keras.layers
        self.encoding = ResidueEncoding(c.encoding, dtype=policy, name="encoding")
        self.position_dropout = layers.Dropout(
            c.input_dropout, noise_shape=(None, None, 1), dtype=policy
        )
        self.convolutions = [
            layers.Conv1D(
                c.num_filters,
                width,
                padding="same",
                activation="relu",
                dtype=policy,
                name=f"conv_{width}",
            )
            for width in c.filter_widths
        ]
        self.second_convolution = layers.Conv1D(
            c.conv_dim, 3, padding="same", activation="relu", dtype=policy, name="second_conv"
        )
        self.lstm = bidirectional(
            LSTM(c.hidden_dim, return_sequences=True, dtype=policy, name="lstm"),
            dtype=policy,
            name="bilstm",
        )
        self.decoder = AttentionDecoder(
            c.decoder_dim,
            c.attention_dim,
            c.attention_steps,
            dtype=policy,
            name="decoder",
        )
        self.dense = layers.Dense(c.dense_dim, activation="relu", dtype=policy, name="dense")
        self.location = layers.Dense(c.num_locations, dtype=policy, name="location")
        self.membrane = layers.Dense(1, dtype=policy, name="membrane") if c.membrane else None
        self.dropout = layers.Dropout(c.dropout, dtype=policy)

    def build(self, residues_shape: Any) -> None:
        c, chain = self.config, tuple(residues_shape)
        for convolution in self.convolutions:
            convolution.build((*chain, 20))
        self.second_convolution.build((*chain, c.num_filters * len(c.filter_widths)))
        self.lstm.build((*chain, c.conv_dim))
        self.decoder.build((*chain, 2 * c.hidden_dim))
        self.dense.build((None, 2 * c.hidden_dim))
        for head in (self.location, self.membrane):
            if head is not None:
                head.build((None, c.dense_dim))
        self.built = True

    def call(self, residues: Any, training: bool = False) -> dict[str, Any]:
        mask = ops.not_equal(residues, PAD_ID)
        real = ops.cast(mask, self.compute_dtype)[..., None]
        x = self.position_dropout(self.encoding(residues), training=training)
        x = ops.concatenate([convolution(x) for convolution in self.convolutions], -1) * real
        x = self.dropout(self.second_convolution(x) * real, training=training)
        h = self.dropout(self.lstm(x, mask=mask, training=training), training=training)
        context, importance = self.decoder(h, mask=mask)
        z = self.dense(self.dropout(context, training=training))
        z = self.dropout(z, training=training)
        out = {
            "location": ops.softmax(ops.cast(self.location(z), "float32")),
            "importance": importance,
        }
        if self.membrane is not None:
            out["membrane"] = ops.sigmoid(ops.cast(self.membrane(z), "float32"))[:, 0]
        return out

    def compute_output_spec(self, residues: Any, training: bool = False) -> dict[str, Any]:
        batch, chain = residues.shape
        out = {
            "location": keras.KerasTensor((batch, self.config.num_locations), "float32"),
            "importance": keras.KerasTensor((batch, chain), "float32"),
        }
        if self.membrane is not None:
            out["membrane"] = keras.KerasTensor((batch,), "float32")
        return out

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def build_network(config: DeepLocConfig, dtype: Any = None) -> keras.Model:
    """The network, a plain functional `keras.Model`.

    Input is `residues` [batch, chain], numbers of `rnnzoo.deeploc.residues`, padded with 0 on the
    right. Outputs, all float32: `location` [batch, num_locations], probabilities; `importance`
    [batch, chain], which sums to 1 over a chain; and with `config.membrane` `membrane` [batch],
    the probability of being membrane-bound. Those of several members are averaged.

    Parameters
    ----------
    config : DeepLocConfig
    dtype : str or keras.DTypePolicy, optional
        The dtype policy of every layer; Keras' global policy by default.

    Examples
    --------
    >>> from rnnzoo.deeploc import DeepLocConfig, build_network
    >>> network = build_network(DeepLocConfig(num_filters=2, conv_dim=8, hidden_dim=4))
    >>> network.output["location"].shape
    (None, 10)
    """
    residues = keras.Input((None,), dtype="int32", name="residues")
    members = [
        Localizer(config, dtype=dtype, name=f"member_{n}")(residues)
        for n in range(config.num_members)
    ]
    outputs = members[0]
    if len(members) > 1:
        outputs = {
            name: keras.layers.Average(dtype="float32", name=name)([m[name] for m in members])
            for name in members[0]
        }
    return keras.Model(residues, outputs, name="localizer")


def weight_shapes(config: DeepLocConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its path, without building the network."""
    c = config
    one: dict[str, tuple[int, ...]] = {}

    def dense(path: str, shape: tuple[int, ...], bias: bool = True) -> None:
        one[f"{path}/kernel"] = shape
        if bias:
            one[f"{path}/bias"] = shape[-1:]

    def lstm(path: str, features: int, units: int) -> None:
        one[f"{path}/kernel"] = (features, 4 * units)
        one[f"{path}/recurrent_kernel"] = (units, 4 * units)
        one[f"{path}/bias"] = (4 * units,)

    for width in c.filter_widths:
        dense(f"conv_{width}", (width, 20, c.num_filters))
    dense("second_conv", (3, c.num_filters * len(c.filter_widths), c.conv_dim))
    for direction in ("forward", "backward"):
        lstm(f"bilstm/{direction}_lstm/lstm_cell", c.conv_dim, c.hidden_dim)
    features = 2 * c.hidden_dim
    dense("decoder/attention/key", (features, c.attention_dim))
    one["decoder/attention/v"] = (c.attention_dim,)
    if c.attention_steps:
        dense("decoder/attention/query", (c.decoder_dim, c.attention_dim), bias=False)
        lstm("decoder/cell", features, c.decoder_dim)
    dense("dense", (2 * c.hidden_dim, c.dense_dim))
    dense("location", (c.dense_dim, c.num_locations))
    if c.membrane:
        dense("membrane", (c.dense_dim, 1))
    return {
        f"member_{n}/{path}": shape for n in range(c.num_members) for path, shape in one.items()
    }
