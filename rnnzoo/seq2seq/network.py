"""Encoder-decoder networks: Bahdanau, Cho and Bengio (2014) and Sutskever, Vinyals and Le (2014).

One configuration describes both, and the stacks that came after. The attention is queried by the
bottom decoder layer and feeds the layers above it, as in GNMT (Wu et al. 2016, arXiv 1609.08144,
section 3): the paper's own form, where s_i depends on c_i and c_i on s_{i-1}, has to go through
the target step by step even in training, while here every layer sees all steps at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from rnnzoo.config import check_range, check_types
from rnnzoo.layers import LSTM, AdditiveAttention, bidirectional

State = list[Any]


@dataclasses.dataclass(frozen=True)
class Seq2SeqConfig:
    """What an encoder-decoder network is made of.

    Attributes
    ----------
    vocab_size : int
        Pieces in the joint vocabulary.
    embedding_dim : int
        Width of a word vector.
    encoder_dim : int
        Width of an annotation; a bidirectional layer has half of it in each direction.
    decoder_dim : int
        Units of each decoder layer.
    num_encoder_layers, num_bidirectional_layers, num_decoder_layers : int
        Heights of the stacks; the encoder's lowest `num_bidirectional_layers` read both ways.
    attention : "additive" or None
        None gives Sutskever's network: the decoder sees the source through its initial state
        alone.
    attention_dim : int
        Width of the energies' hidden layer.
    readout : "tanh" or "maxout"
        How decoder output and context become a vector of `embedding_dim` before the logits.
    residual : bool
        Adds a layer's input to its output from the third decoder and second encoder layer on, as
        GNMT does.
    tied_embeddings : bool
        One matrix for source words, target words and logits.
    dropout : float
        Rate on word vectors, between layers and on the readout.
    pad_id : int
        The token that pads a batch; its positions never take part.

    Examples
    --------
    >>> from rnnzoo.seq2seq import Seq2SeqConfig
    >>> sutskever = Seq2SeqConfig(
    ...     vocab_size=8000, embedding_dim=256, encoder_dim=512, decoder_dim=512,
    ...     num_encoder_layers=2, num_bidirectional_layers=0, attention=None,
    ... )
    """

    vocab_size: int
    embedding_dim: int
    encoder_dim: int
    decoder_dim: int
    num_encoder_layers: int = 1
    num_bidirectional_layers: int = 1
    num_decoder_layers: int = 2
    attention: str | None = "additive"
    attention_dim: int = 256
    readout: str = "tanh"
    residual: bool = False
    tied_embeddings: bool = True
    dropout: float = 0.2
    pad_id: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self,
            vocab_size=(1, 1_000_000),
            embedding_dim=(1, 65_536),
            encoder_dim=(1, 65_536),
            decoder_dim=(1, 65_536),
            num_encoder_layers=(1, 64),
            num_bidirectional_layers=(0, self.num_encoder_layers),
            num_decoder_layers=(1, 64),
            attention_dim=(1, 65_536),
            dropout=(0, 0.99),
            pad_id=(0, self.vocab_size - 1),
        )
        if self.attention not in ("additive", None):
            raise ValueError(f'attention must be "additive" or null, got {self.attention!r}')
        if self.readout not in ("tanh", "maxout"):
            raise ValueError(f'readout must be "tanh" or "maxout", got {self.readout!r}')
        if self.num_bidirectional_layers and self.encoder_dim % 2:
            raise ValueError("encoder_dim must be even, half for each direction")
        if self.attention is None and (
            self.num_encoder_layers < self.num_decoder_layers
            or self.encoder_dim != self.decoder_dim
        ):
            raise ValueError(
                "without attention the decoder starts from the encoder's states: encoder_dim must "
                "equal decoder_dim and num_encoder_layers be at least num_decoder_layers"
            )


def _residual(inputs: Any, outputs: Any, use: bool) -> Any:
    return outputs + inputs if use and inputs.shape[-1] == outputs.shape[-1] else outputs


@keras.saving.register_keras_serializable(package="rnnzoo")
class Encoder(keras.layers.Layer):
    """Source vectors to annotations h_1..h_S and the state that the decoder starts from."""

    def __init__(self, config: Seq2SeqConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.config = config if isinstance(config, Seq2SeqConfig) else Seq2SeqConfig(**config)
        c, policy = self.config, self.dtype_policy
        self.layers_ = []
        for n in range(c.num_encoder_layers):
            both_ways = n < c.num_bidirectional_layers
            layer = LSTM(
                c.encoder_dim // 2 if both_ways else c.encoder_dim,
                return_sequences=True,
                return_state=True,
                dtype=policy,
                name=f"lstm_{n}",
            )
            if both_ways:
                layer = bidirectional(layer, dtype=policy, name=f"bilstm_{n}")
            self.layers_.append(layer)
        # one mask for all steps of a sequence (Gal and Ghahramani 2016, arXiv 1512.05287)
        self.dropout = keras.layers.Dropout(c.dropout, noise_shape=(None, 1, None), dtype=policy)

    def build(self, embedded_shape: Any, mask_shape: Any = None) -> None:
        shape = tuple(embedded_shape)
        for layer in self.layers_:
            layer.build(shape)
            shape = (*shape[:2], self.config.encoder_dim)
        self.built = True

    def call(self, embedded: Any, mask: Any, training: bool = False) -> tuple[Any, State]:
        """Annotations [batch, source, encoder_dim], then h and c of every layer in turn."""
        x = self.dropout(embedded, training=training)
        states: State = []
        for n, layer in enumerate(self.layers_):
            y, *state = layer(x, mask=mask, training=training)
            if n < self.config.num_bidirectional_layers:
                forward_h, forward_c, backward_h, backward_c = state
                state = [
                    ops.concatenate([forward_h, backward_h], -1),
                    ops.concatenate([forward_c, backward_c], -1),
                ]
            states += state
            x = self.dropout(_residual(x, y, self.config.residual and n > 0), training=training)
        return x, states

    def compute_output_shape(self, embedded_shape: Any, mask_shape: Any = None) -> Any:
        batch, source, _ = embedded_shape
        dim = self.config.encoder_dim
        return (batch, source, dim), [(batch, dim)] * (2 * self.config.num_encoder_layers)

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """None: the mask travels as an argument of its own."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


@keras.saving.register_keras_serializable(package="rnnzoo")
class Decoder(keras.layers.Layer):
    """Target vectors and annotations to readouts and alignments.

    `call` runs all target steps at once (teacher forcing), `step` one step of many hypotheses
    (decoding), through the same stack and the same weights.
    """

    def __init__(self, config: Seq2SeqConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.config = config if isinstance(config, Seq2SeqConfig) else Seq2SeqConfig(**config)
        c, policy = self.config, self.dtype_policy
        self.layers_ = [
            LSTM(
                c.decoder_dim,
                return_sequences=True,
                return_state=True,
                dtype=policy,
                name=f"lstm_{n}",
            )
            for n in range(c.num_decoder_layers)
        ]
        self.bridges = []
        self.attention = None
        if c.attention is not None:
            self.attention = AdditiveAttention(c.attention_dim, dtype=policy, name="attention")
            self.bridges = [
                keras.layers.Dense(
                    c.decoder_dim, activation="tanh", dtype=policy, name=f"bridge_{n}"
                )
                for n in range(c.num_decoder_layers)
            ]
        self.readout = keras.layers.Dense(
            c.embedding_dim * (2 if c.readout == "maxout" else 1),
            activation="tanh" if c.readout == "tanh" else None,
            dtype=policy,
            name="readout",
        )
        # one mask for all steps of a sequence (Gal and Ghahramani 2016, arXiv 1512.05287)
        self.dropout = keras.layers.Dropout(c.dropout, noise_shape=(None, 1, None), dtype=policy)

    def build(self, embedded_shape: Any, annotations_shape: Any = None, **_: Any) -> None:
        c = self.config
        time = tuple(embedded_shape)[:2]
        context = c.encoder_dim if self.attention is not None else 0
        for n, layer in enumerate(self.layers_):
            layer.build(tuple(embedded_shape) if n == 0 else (*time, c.decoder_dim + context))
        for bridge in self.bridges:
            bridge.build((None, c.encoder_dim))
        if self.attention is not None:
            self.attention.build((*time, c.decoder_dim), (None, None, c.encoder_dim))
        self.readout.build((*time, c.decoder_dim + context))
        self.built = True

    def initial_state(self, encoder_states: State) -> State:
        """h and c of every decoder layer, [batch, decoder_dim] each.

        Without attention, each layer starts where the encoder layer of its height stopped
        (Sutskever et al. 2014, section 2); with it, h_0 = tanh(W_s h + b) and c_0 = 0, as in
        Bahdanau et al. 2014, appendix A.2.2, but from the last states of both directions.
        """
        if self.attention is None:
            return encoder_states[-2 * self.config.num_decoder_layers :]
        state: State = []
        for bridge in self.bridges:
            h = bridge(encoder_states[-2])
            state += [h, ops.zeros_like(h)]
        return state

    def keys(self, annotations: Any) -> Any:
        """The attention's keys, made once for a source; zeros of width 0 without attention."""
        if self.attention is None:
            return annotations[..., :0]
        return self.attention.keys(annotations)

    def call(
        self,
        embedded: Any,
        annotations: Any,
        mask: Any,
        encoder_states: State,
        training: bool = False,
    ) -> tuple[Any, Any]:
        """Readouts [batch, target, embedding_dim] and alignment [batch, target, source], which
        without attention is all zeros."""
        return self.teacher_forcing(
            embedded, annotations, mask, self.initial_state(encoder_states), training
        )

    def teacher_forcing(
        self, embedded: Any, annotations: Any, mask: Any, state: State, training: bool = False
    ) -> tuple[Any, Any]:
        """As `call`, from a decoder state."""

        def run(layer: LSTM, x: Any, h: Any, c: Any) -> Any:
            return layer(x, initial_state=[h, c], training=training)

        readout, alignment, _ = self._stack(
            embedded,
            state,
            run,
            annotations,
            self.keys(annotations),
            mask,
            training,
        )
        return readout, alignment

    def step(
        self, embedded: Any, state: State, annotations: Any, keys: Any, mask: Any
    ) -> tuple[Any, Any, State]:
        """One target position of several hypotheses: `embedded` is [batch, hypotheses, features],
        each part of `state` [batch, hypotheses, decoder_dim].

        All hypotheses of a sentence share its annotations and keys, which are not copied.
        Returns readouts and alignments as `call` does, hypotheses in the place of target steps,
        and the next state.
        """
        hypotheses = ops.shape(embedded)[1]

        def run(layer: LSTM, x: Any, h: Any, c: Any) -> Any:
            flat = [ops.reshape(part, (-1, part.shape[-1])) for part in (x, h, c)]
            _y, state = layer.cell(flat[0], flat[1:])
            h, c = (ops.reshape(p, (-1, hypotheses, self.config.decoder_dim)) for p in state)
            return h, h, c

        return self._stack(embedded, state, run, annotations, keys, mask)

    def _stack(
        self,
        x: Any,
        state: State,
        run: Callable[..., Any],
        annotations: Any,
        keys: Any,
        mask: Any,
        training: bool = False,
    ) -> tuple[Any, Any, State]:
        zeros = ops.zeros_like(x[:, :, :1]) * ops.zeros_like(annotations[:, None, :, 0])
        context, alignment = None, ops.cast(zeros, "float32")
        next_state: State = []
        x = self.dropout(x, training=training)
        for n, layer in enumerate(self.layers_):
            inputs = x if context is None else ops.concatenate([x, context], -1)
            y, h, c = run(layer, inputs, state[2 * n], state[2 * n + 1])
            next_state += [h, c]
            y = _residual(x, y, self.config.residual and n > 1)
            if n == 0 and self.attention is not None:
                context, alignment = self.attention.attend(y, keys, annotations, mask)
            x = self.dropout(y, training=training)
        if context is not None:
            x = ops.concatenate([x, context], -1)
        x = self.readout(x)
        if self.config.readout == "maxout":  # appendix A.2.2, t_i
            x = ops.max(ops.reshape(x, (*ops.shape(x)[:2], self.config.embedding_dim, 2)), -1)
        return self.dropout(x, training=training), alignment, next_state

    def compute_output_shape(
        self, embedded_shape: Any, annotations_shape: Any = None, **_: Any
    ) -> Any:
        batch, target, _ = embedded_shape
        source = annotations_shape[1] if annotations_shape else None
        return (batch, target, self.config.embedding_dim), (batch, target, source)

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """None: the mask travels as an argument of its own."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def build_network(config: Seq2SeqConfig, dtype: Any = None) -> keras.Model:
    """The network for teacher forcing, a plain functional `keras.Model`.

    Inputs are `source_tokens` [batch, source] and `target_tokens` [batch, target] (the target
    shifted right, its first token BOS), padded with `config.pad_id` on the right. Outputs are
    `logits` [batch, target, vocab_size] and `alignment` [batch, target, source], both float32.

    Parameters
    ----------
    config : Seq2SeqConfig
    dtype : str or keras.DTypePolicy, optional
        The dtype policy of every layer; Keras' global policy by default.

    Examples
    --------
    >>> from rnnzoo.seq2seq import Seq2SeqConfig, build_network
    >>> config = Seq2SeqConfig(vocab_size=50, embedding_dim=8, encoder_dim=16, decoder_dim=16)
    >>> network = build_network(config)
    >>> network.output["logits"].shape
    (None, None, 50)
    """
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size,
        config.embedding_dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=config.embedding_dim**-0.5),
        dtype=dtype,
        name="target_embedding",
    )
    source_embedding = embedding
    if not config.tied_embeddings:
        source_embedding = keras.layers.Embedding(
            config.vocab_size, config.embedding_dim, dtype=dtype, name="source_embedding"
        )
    encoder = Encoder(config, dtype=dtype, name="encoder")
    decoder = Decoder(config, dtype=dtype, name="decoder")

    source_tokens = keras.Input((None,), dtype="int32", name="source_tokens")
    target_tokens = keras.Input((None,), dtype="int32", name="target_tokens")
    mask = ops.not_equal(source_tokens, config.pad_id)
    annotations, encoder_states = encoder(source_embedding(source_tokens), mask=mask)
    readout, alignment = decoder(
        embedding(target_tokens),
        annotations=annotations,
        mask=mask,
        encoder_states=encoder_states,
    )
    logits = embedding(readout, reverse=True)
    return keras.Model(
        {"source_tokens": source_tokens, "target_tokens": target_tokens},
        {"logits": ops.cast(logits, "float32"), "alignment": alignment},
        name="encoder_decoder",
    )


def weight_shapes(config: Seq2SeqConfig) -> dict[str, tuple[int, ...]]:
    """Paths and shapes of the weights of `build_network(config)`, without building it.

    A weights file is compared with these before anything is allocated.
    """
    c = config
    shapes: dict[str, tuple[int, ...]] = {}

    def lstm(path: str, features: int, units: int) -> None:
        cell = f"{path}/lstm_cell"
        shapes[f"{cell}/kernel"] = (features, 4 * units)
        shapes[f"{cell}/recurrent_kernel"] = (units, 4 * units)
        shapes[f"{cell}/bias"] = (4 * units,)

    def dense(path: str, features: int, units: int, bias: bool = True) -> None:
        shapes[f"{path}/kernel"] = (features, units)
        if bias:
            shapes[f"{path}/bias"] = (units,)

    shapes["target_embedding/embeddings"] = (c.vocab_size, c.embedding_dim)
    if not c.tied_embeddings:
        shapes["source_embedding/embeddings"] = (c.vocab_size, c.embedding_dim)
    for n in range(c.num_encoder_layers):
        features = c.encoder_dim if n else c.embedding_dim
        if n < c.num_bidirectional_layers:
            for direction in ("forward", "backward"):
                lstm(f"encoder/bilstm_{n}/{direction}_lstm_{n}", features, c.encoder_dim // 2)
        else:
            lstm(f"encoder/lstm_{n}", features, c.encoder_dim)
    context = c.encoder_dim if c.attention else 0
    for n in range(c.num_decoder_layers):
        lstm(f"decoder/lstm_{n}", c.decoder_dim + context if n else c.embedding_dim, c.decoder_dim)
        if c.attention:
            dense(f"decoder/bridge_{n}", c.encoder_dim, c.decoder_dim)
    if c.attention:
        dense("decoder/attention/query", c.decoder_dim, c.attention_dim, bias=False)
        dense("decoder/attention/key", c.encoder_dim, c.attention_dim)
        shapes["decoder/attention/v"] = (c.attention_dim,)
    width = c.embedding_dim * (2 if c.readout == "maxout" else 1)
    dense("decoder/readout", c.decoder_dim + context, width)
    return shapes
