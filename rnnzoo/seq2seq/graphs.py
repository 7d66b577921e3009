"""An encoder-decoder network as graphs for other runtimes: whole, and as a search calls it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.export import Axes, Graph, network_graph


def graphs_of(network: keras.Model) -> dict[str, Graph]:
    """What can be exported of a network as `build_network` returns it.

    "network" is the whole. A search runs "encoder" once, which makes the first state `h_0`, `c_0`,
    `h_1`, ... of the decoder's layers and, with attention, `annotations` and their `keys`; then
    "step" for each target position: `tokens` [batch], the last piece of each hypothesis (BOS at
    first), the state, and with attention `source_tokens`, `annotations` and `keys`. It gives the
    `logits` of the next piece, the `alignment` and the next state.

    Examples
    --------
    >>> from rnnzoo.seq2seq import Seq2SeqConfig, build_network
    >>> from rnnzoo.seq2seq.graphs import graphs_of
    >>> config = Seq2SeqConfig(vocab_size=9, embedding_dim=4, encoder_dim=4, decoder_dim=4)
    >>> list(graphs_of(build_network(config))["step"].inputs)
    ['tokens', 'source_tokens', 'annotations', 'keys', 'h_0', 'c_0', 'h_1', 'c_1']
    """
    encoder, decoder = network.get_layer("encoder"), network.get_layer("decoder")
    embedding = network.get_layer("target_embedding")
    tied = decoder.config.tied_embeddings
    source_embedding = embedding if tied else network.get_layer("source_embedding")
    c, dtype = decoder.config, decoder.compute_dtype
    source = Axes("int32", ("batch", "source"))
    state = {
        f"{part}_{layer}": Axes(dtype, ("batch", c.decoder_dim))
        for layer in range(c.num_decoder_layers)
        for part in "hc"
    }
    seen = {}
    if c.attention is not None:
        seen = {
            "annotations": Axes(dtype, ("batch", "source", c.encoder_dim)),
            "keys": Axes("float32", ("batch", "source", c.attention_dim)),
        }

    def encode(tensors: dict[str, Any]) -> dict[str, Any]:
        tokens = tensors["source_tokens"]
        mask = ops.not_equal(tokens, c.pad_id)
        annotations, states = encoder(source_embedding(tokens), mask=mask, training=False)
        first = decoder.initial_state(states)
        keys = decoder.keys(annotations)
        return {"annotations": annotations, "keys": keys, **dict(zip(state, first, strict=True))}

    def step(tensors: dict[str, Any]) -> dict[str, Any]:
        embedded = embedding(tensors["tokens"][:, None])
        if seen:
            annotations, keys = tensors["annotations"], tensors["keys"]
            mask = ops.not_equal(tensors["source_tokens"], c.pad_id)
        else:  # what is not looked at
            annotations = ops.zeros_like(embedded[:, :, :1])
            keys, mask = annotations[..., :0], annotations[:, :, 0] == 0
        before = [tensors[name][:, None] for name in state]
        readout, alignment, after = decoder.step(embedded, before, annotations, keys, mask)
        logits = ops.cast(embedding(readout, reverse=True), "float32")
        following = {f"next_{n}": p[:, 0] for n, p in zip(state, after, strict=True)}
        return {"logits": logits[:, 0], "alignment": alignment[:, 0], **following}

    logits = {"logits": Axes("float32", ("batch", c.vocab_size))}
    alignment = {"alignment": Axes("float32", ("batch", "source"))} if seen else {}
    looked_at = {"source_tokens": source, **seen} if seen else {}
    tokens = {"tokens": Axes("int32", ("batch",))}
    return {
        "network": network_graph(
            network,
            source_tokens="batch source",
            target_tokens="batch target",
            logits="batch target",
            alignment="batch target source",
        ),
        "encoder": Graph(encode, {"source_tokens": source}, {**seen, **state}),
        "step": Graph(step, {**tokens, **looked_at}, {**logits, **alignment}).with_state(state),
    }
