"""`rnnzoo export`: a network for another runtime."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from rnnzoo import registry
from rnnzoo.cli.options import located
from rnnzoo.cli.terminal import quiet
from rnnzoo.errors import InputError


def export(options: argparse.Namespace) -> None:
    """Write a graph of a model in float32; prints where it lies."""
    length = lengths(options.length)
    with quiet(options.verbose):
        kept = {"adapter": options.adapter, "quantize": options.quantize, **located(options)}
        if not registry.is_keras_file(options.name):  # which is loaded as it was saved
            kept["dtype"] = "float32"
        model = registry.load(options.name, **kept)
        model.export(options.path, options.format, graph=options.graph, length=length)
        if options.json:
            from rnnzoo.export import written_graph  # with TensorFlow: not for the help

            graph = written_graph(model.graphs()[options.graph], options.format, length)
    if not options.json:
        print(options.path)
        return
    described = {
        kind: {name: dataclasses.asdict(axes) for name, axes in getattr(graph, kind).items()}
        for kind in ("inputs", "outputs")
    }
    print(json.dumps({"path": options.path, "format": options.format, **described}))


def lengths(words: list[str]) -> Any:
    """`16`, or `source=16` and others, as `Task.export` takes them.

    Raises
    ------
    InputError
        For what is neither, and an axis without a name or with two lengths.

    Examples
    --------
    >>> from rnnzoo.cli.export import lengths
    >>> lengths(["16"]), lengths(["source=16", "target=20"])
    (16, {'source': 16, 'target': 20})
    """
    named: dict[str, int] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        if not number.isascii() or not number.isdigit() or (not equals and len(words) > 1):
            raise InputError(
                f"--length takes one number, or AXIS=NUMBER of each axis; got {word!r}"
            )
        if not equals:
            return int(number)
        if not name or name in named:
            raise InputError(
                f"--length {word}: {'the axis has no name' if not name else 'it has one already'}"
            )
        named[name] = int(number)
    return named or None
