"""`rnnzoo predict` for models that write, text to a file of ink, and for those that read it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from rnnzoo.cli.terminal import read_texts, writer
from rnnzoo.errors import InputError


def predict_ink(
    model: Any, choices: dict[str, Any], options: argparse.Namespace, messages: list[str]
) -> Any:
    """Write a text to the file that `--output` names, or as SVG to standard output; returns the
    ink."""
    if options.resume or options.skip_invalid:
        name = "resume" if options.resume else "skip-invalid"
        raise InputError(f"--{name} is for models that read proteins or sound, not lines")
    found = model.predict(_text(options), **choices)
    unfinished = [line.text for line in found.lines if not line.finished]
    if unfinished:
        messages.append(f"not written to the end: {unfinished[0]!r:.60}; try another --seed")
    _save(found, options)
    return found


def _text(options: argparse.Namespace) -> str:
    """The text to write: the words of the command line, a line for each, or files."""
    if options.inputs:
        return "\n".join(options.inputs)
    return "\n".join(text.removesuffix("\n") for text in read_texts(options.input or ["-"]))


def predict_count(
    model: Any, choices: dict[str, Any], options: argparse.Namespace, messages: list[str]
) -> Any:
    """Write lines of made-up ink, as many as the command line says (one), to the file that
    `--output` names, or as SVG to standard output; returns the first."""
    if options.resume or options.skip_invalid or options.input or len(options.inputs) > 1:
        raise InputError("this model takes one number: how many lines it shall make up")
    count = options.inputs[0] if options.inputs else "1"
    if not count.isdecimal() or not int(count):
        raise InputError(f"how many lines shall be made up? got {count!r:.40}")
    found = model.predict(int(count), **choices)
    lines = tuple(line for ink in found for line in ink.lines)
    _save(dataclasses.replace(found[0], lines=lines), options)
    return found[0]


def _save(ink: Any, options: argparse.Namespace) -> None:
    """Write ink as the command line asks."""
    if options.output and not options.json:
        ink.save(options.output)
        return
    with writer(options.output) as out:
        whole = json.dumps(ink.to_dict(), ensure_ascii=False) if options.json else ink.to_svg()
        print(whole, file=out)


def predict_strokes(
    model: Any, choices: dict[str, Any], options: argparse.Namespace, messages: list[str]
) -> Any:
    """Write what stands in each file of InkML; returns the first."""
    if options.resume:
        raise InputError("--resume is for models that read proteins")
    names = [*options.inputs, *options.input] or ["-"]
    first = None
    with writer(options.output) as out:
        for name in names:
            try:
                ink = next(read_texts([name])) if name == "-" else Path(name)
                found = model.predict(ink, **choices)
            except InputError as error:
                if not options.skip_invalid:
                    raise
                messages.append(f"left out: {error}")
                continue
            first = found if first is None else first
            line = found.text if len(names) == 1 else f"{name}\t{found.text}"
            if options.json:
                line = json.dumps({"name": name, **found.to_dict()}, ensure_ascii=False)
            print(line, file=out, flush=True)
    return first
