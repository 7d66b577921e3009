"""`rnnzoo predict`: options of the model, what to read, what to write.

What a command reads follows from the model: lines of text (here), proteins
(`rnnzoo.cli.proteins`), sound (`rnnzoo.cli.sound`) or ink, to be written or read
(`rnnzoo.cli.ink`).
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

from rnnzoo import registry
from rnnzoo.cli.ink import predict_count, predict_ink, predict_strokes
from rnnzoo.cli.options import loaded_as, model_options
from rnnzoo.cli.proteins import predict_proteins
from rnnzoo.cli.sound import predict_sound
from rnnzoo.cli.terminal import quiet, read_texts, writer
from rnnzoo.errors import InputError, MissingDependencyError

_CHUNK = 256


def predict(options: argparse.Namespace) -> None:
    """Run a model on what the command line names."""
    choices, texts = model_options(options.extra)
    options.inputs += texts
    if options.inputs and options.input:
        raise InputError("give inputs or --input files, not both")
    if options.workers is not None and options.plot:
        raise InputError("--plot draws what this process predicts: leave out --workers")
    if options.plot:
        _check_plot(options.plot)
    messages: list[str] = []
    try:
        with quiet(options.verbose):
            first = _predict(options, choices, messages)
            if options.plot:
                _plot(first, options.plot)
    finally:
        for message in messages:
            print(f"rnnzoo: {message}", file=sys.stderr)


def _predict(options: argparse.Namespace, choices: dict[str, Any], messages: list[str]) -> Any:
    """Load the model and run it; returns the first result."""
    model = registry.load(options.name, **loaded_as(options))
    if options.workers is not None and model.raw_kind != "proteins":
        raise InputError("--workers is for models that read proteins; for others see rnnzoo.bulk")
    by_kind = {
        "count": predict_count,
        "ink": predict_ink,
        "lines": _predict_lines,
        "proteins": predict_proteins,
        "sound": predict_sound,
        "strokes": predict_strokes,
    }
    return by_kind[model.raw_kind](model, choices, options, messages)


def _plot(first: Any, path: str) -> None:
    if first is None:
        raise InputError("nothing was predicted in this run, so nothing is plotted")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # of scripts the font lacks
            first.plot().figure.savefig(path, dpi=150)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _check_plot(path: str) -> None:
    """Refuse a picture that could not be written before anything is computed."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise MissingDependencyError("--plot", "matplotlib", "plot") from error
    known = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".").lower() not in known:
        raise InputError(f"--plot {path}: the ending must be one of {', '.join(sorted(known))}")
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f"--plot {path}: there is no such folder")


# --- lines of text -------------------------------------------------------------------------


def _predict_lines(
    model: Any, choices: dict[str, Any], options: argparse.Namespace, messages: list[str]
) -> Any:
    """Write a result for each text or line; returns the first."""
    if options.resume or options.skip_invalid:
        name = "resume" if options.resume else "skip-invalid"
        raise InputError(f"--{name} is for models that read proteins or sound, not lines")
    inputs, per_line = _read_inputs(options)
    with writer(options.output) as out:
        return _predict_all(model, inputs, per_line, choices, options, out)


def _predict_all(
    model: Any,
    inputs: list[str],
    per_line: bool,
    choices: dict[str, Any],
    options: argparse.Namespace,
    out: TextIO,
) -> Any:
    """Write a result for each input as soon as its chunk is done; returns the first."""
    import tqdm

    first = None
    many = len(inputs) > _CHUNK
    hidden = None if many else True
    with tqdm.tqdm(
        total=len(inputs), unit="line", disable=hidden, leave=False, file=sys.stderr
    ) as bar:
        for begin in range(0, len(inputs), _CHUNK):
            chunk = inputs[begin : begin + _CHUNK]
            for result in model.predict(chunk, verbose=0 if many else "auto", **choices):
                first = result if first is None else first
                if options.json:
                    print(json.dumps(result.to_dict(), ensure_ascii=False), file=out)
                elif per_line:
                    print(" ".join(str(result).splitlines()), file=out)
                elif choices.get("num_hypotheses", 1) == 1:
                    print(result, file=out)
                else:
                    for hypothesis in result.hypotheses:
                        print(hypothesis, file=out)
            out.flush()
            bar.update(len(chunk))
    return first


def _read_inputs(options: argparse.Namespace) -> tuple[list[str], bool]:
    """The inputs, and whether they are lines of files (one result a line)."""
    if options.inputs:
        return options.inputs, False
    lines: list[str] = []
    for text in read_texts(options.input or ["-"]):
        if text:
            whole = text.removesuffix("\n").split("\n")
            lines += [line.removesuffix("\r") for line in whole]
    return lines, True
