"""Loops of ONNX graphs, made as cheap as they can be.

tf2onnx carries what a loop of TensorFlow captures, weights among them, from step to step as if it
changed: onnxruntime then copies every kernel at every step, and cannot lay it out for its products
beforehand. A body sees the names of the graph around it, so what does not change need not travel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_GIVEN = 2  # of a Loop's inputs, and of its body's: how often, or the step's number; and whether


def free_loops(graph: Any) -> None:
    """Let the loops of an `onnx.GraphProto`, and those within them, carry only what they change.

    Examples
    --------
    >>> import onnx
    >>> from rnnzoo.onnx_loops import free_loops
    >>> model = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["" : 18]>
    ...     eight (int64 times, float two) => (float last) {
    ...         go_on = Constant <value = bool {1}> ()
    ...         last, unchanged = Loop (times, go_on, two, two) <body = body (
    ...             int64 step, bool before, float x, float by
    ...         ) => (bool after, float y, float by) {
    ...             after = Identity (before)
    ...             y = Mul (x, by)
    ...         }>
    ...     }''')
    >>> free_loops(model.graph)
    >>> loop = model.graph.node[1]
    >>> list(loop.input), list(loop.output)
    (['times', 'go_on', 'two'], ['last'])
    """
    for node in graph.node:
        for body in _graphs_of(node):
            free_loops(body)
            if node.op_type == "Loop":
                _free_loop(graph, node, body)


def _free_loop(graph: Any, node: Any, body: Any) -> None:
    results = [output.name for output in body.output]
    shown = {output.name for output in graph.output}
    own = _names_of(body)  # which would hide those of the graph around it
    within: dict[str, str] = {}  # by a name of the body, where it comes from
    behind: dict[str, str] = {}  # by a name of the loop's results
    for place in reversed(range(len(node.input) - _GIVEN)):
        name, after = body.input[_GIVEN + place].name, node.output[place]
        given = node.input[_GIVEN + place]
        unchanged = body.output[1 + place].name == name and results.count(name) == 1
        if unchanged and after not in shown and given not in own:
            within[name] = behind[after] = given
            del node.input[_GIVEN + place], node.output[place]
            del body.input[_GIVEN + place], body.output[1 + place]
    _rename(body, within)
    _rename(graph, behind)


def _names_of(graph: Any) -> set[str]:
    """What the nodes of a graph, and of those within it, give, and what is given to it."""
    names = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        names.update(node.output, *map(_names_of, _graphs_of(node)))
    return names


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Let the nodes of a graph, and of those within it, take their inputs from elsewhere; a name
    that a graph within gives to something of its own means that there."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for body in _graphs_of(node):
            hidden = _names_of(body)
            _rename(body, {name: to for name, to in names.items() if name not in hidden})


def _graphs_of(node: Any) -> Iterator[Any]:
    return (attribute.g for attribute in node.attribute if attribute.HasField("g"))
