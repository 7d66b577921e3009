"""The writing networks as graphs for other runtimes: whole, and point by point."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo.export import Axes, Graph, network_graph
from rnnzoo.handwriting.network import WriterState
from rnnzoo.layers.mixture_density import output_dim
from rnnzoo.layers.window_lstm import WindowState


def graphs_of(network: keras.Model) -> dict[str, Graph]:
    """What can be exported of a network as `build_network` returns it.

    "network" is the whole. "step" takes one `point` [batch, 3], for a network that writes the
    `characters` [batch, width] of the text, and the state, all zeros before the first point:
    `h_1`, `c_1`, `h_2`, ... of the layers, and of a writing network's first one `w_1` and `kappa_1`
    too. It gives `y` [batch, 1 + 6 M], `phi` [batch, width] and the next state.

    Examples
    --------
    >>> from rnnzoo.handwriting import HandwritingConfig, build_network
    >>> from rnnzoo.handwriting.graphs import graphs_of
    >>> graphs = graphs_of(build_network(HandwritingConfig(num_symbols=0, num_layers=1)))
    >>> list(graphs["step"].inputs)
    ['point', 'h_1', 'c_1']
    """
    writer = network.get_layer("writer")
    c, dtype = writer.config, writer.compute_dtype
    units = Axes(dtype, ("batch", c.hidden_dim))
    first = {"h_1": units, "c_1": units}
    if c.writes:  # in the order of WindowState
        first = {
            "h_1": units,
            "w_1": Axes(dtype, ("batch", c.num_symbols)),
            "c_1": Axes("float32", ("batch", c.hidden_dim)),
            "kappa_1": Axes("float32", ("batch", c.num_windows)),
        }
    others = [(f"h_{n}", f"c_{n}") for n in range(2, c.num_layers + 1)]
    state = {**first, **{name: units for pair in others for name in pair}}

    def step(tensors: dict[str, Any]) -> dict[str, Any]:
        begin: Any = [tensors[name] for name in first]
        before = WriterState(
            WindowState(*begin) if c.writes else begin,
            tuple((tensors[hidden], tensors[cell]) for hidden, cell in others),
        )
        text = writer.text(tensors["characters"]) if c.writes else None
        y, phi, after = writer.step(tensors["point"], text, before)
        parts = [*after.first, *(part for pair in after.others for part in pair)]
        following = {f"next_{n}": part for n, part in zip(state, parts, strict=True)}
        return {"y": y, "phi": phi, **following}

    inputs = {"point": Axes("float32", ("batch", 3))}
    outputs = {"y": Axes("float32", ("batch", output_dim(c.num_components)))}
    axes = {"points": "batch time", "y": "batch time"}
    if c.writes:
        inputs["characters"] = Axes("int32", ("batch", "width"))
        outputs["phi"] = Axes("float32", ("batch", "width"))
        axes |= {"characters": "batch width", "phi": "batch time width"}
    return {
        "network": network_graph(network, **axes),
        "step": Graph(step, inputs, outputs).with_state(state),
    }
