"""`rnnzoo predict` for models that read proteins: sequences, FASTA, a folder for the table."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnzoo.bulk import BatchPredictor, map_in_order
from rnnzoo.cli.options import loaded_as
from rnnzoo.cli.terminal import standard_input
from rnnzoo.config import choose_options
from rnnzoo.errors import InputError, WorkerError
from rnnzoo.weights import fingerprint

_SHOWN = 20
_SHORT = 30
_FILES = {".csv", ".tsv", ".json", ".jsonl", ".txt"}


def predict_proteins(
    model: Any, choices: dict[str, Any], options: argparse.Namespace, messages: list[str]
) -> Any:
    """Write a result for each protein; returns the first of this run.

    What a person should be told at the end is put into `messages`.
    """
    if options.resume and not options.output:
        raise InputError("--resume goes on with the table in a folder: name it by -o")
    if options.workers is not None and not options.output:
        raise InputError("--workers fills the table in a folder: name it by -o")
    if options.output and _names_a_file(options.output):
        raise InputError(f"-o names the folder of the table; {options.output} names a file")
    skipped: list[InputError] = []
    batch_size = choices.pop("batch_size", None)
    choose_options(model.decoding, choices)  # before anything is read or written
    proteins = model.preprocessor.proteins(
        _inputs(options), skipped if options.skip_invalid else None
    )
    try:
        first_protein = next(proteins, None)
        if first_protein is None:
            raise (skipped or [InputError("there is no protein to read")])[0]
        proteins = itertools.chain([first_protein], proteins)
        if options.output:
            return _into_folder(model, proteins, batch_size, choices, options, skipped, messages)
        return _printed(model.stream(proteins, batch_size, "auto", None, **choices), options.json)
    finally:
        messages += [f"left out: {error}" for error in skipped[:_SHOWN]]
        if len(skipped) > _SHOWN:
            messages.append(f"left out: {len(skipped) - _SHOWN:,} more")


def _names_a_file(path: str) -> bool:
    like_one = Path(path).suffix.lower() in _FILES
    return os.path.isfile(path) or (like_one and not os.path.isdir(path))


def _printed(results: Iterator[Any], as_json: bool) -> Any:
    """Print each result as it comes; returns the first."""
    first = None
    for found in results:
        first = found if first is None else first
        print(
            json.dumps(found.to_dict(), ensure_ascii=False) if as_json else _row(found), flush=True
        )
    return first


def _listed(skipped: list[InputError], path: Path) -> str:
    """Write down all records that could not be read, and say where."""
    try:
        told = "".join(f"{error}\n" for error in skipped)
        path.write_text(told, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        return f"cannot write {path}: {error.strerror or error}"
    return f"all {len(skipped):,} that were left out: {path}"


def _row(found: Any) -> str:
    """Id, location, its likelihood, and membrane-bound or soluble, tabs between."""
    cells = [found.name, found.location, f"{found.likelihoods[found.location]:.4f}"]
    if found.membrane is not None:
        cells.append("membrane-bound" if found.membrane_bound else "soluble")
    return "\t".join(cells)


def _inputs(options: argparse.Namespace) -> Iterable[Any]:
    """What the command line names, one after the other, each read when its turn comes."""
    from rnnzoo.deeploc.fasta import stream_fasta

    words = options.inputs or ([] if options.input else ["-"])
    for word in words:
        short = word.isalpha() and len(word) < _SHORT
        if short and not word.isupper() and not Path(word).is_file():
            raise InputError(
                f"there is no file {word!r}; if it is a sequence, write it in upper case"
            )
    for word in [*words, *map(Path, options.input)]:
        if str(word) == "-":
            yield from stream_fasta(standard_input(), "standard input")
        else:
            yield word


def _into_folder(
    model: Any,
    proteins: Iterator[Any],
    batch_size: Any,
    choices: dict[str, Any],
    options: argparse.Namespace,
    skipped: list[InputError],
    messages: list[str],
) -> Any:
    from rnnzoo.deeploc.table import CSVFormat, JSONLinesFormat, ResultTable

    locations = model.preprocessor.config.locations
    form = JSONLinesFormat() if options.json else CSVFormat(locations, model.config.membrane)
    made_by = {
        "model": options.name,
        **_weights_of(model),
        **{name: getattr(options, name) for name in ("quantize", "engine")},
        "dtype": model.dtype_policy.name,
        "options": dataclasses.asdict(choose_options(model.decoding, choices)),
    }
    first = None
    try:
        with ResultTable(options.output, form, made_by, options.resume) as table:
            rest = table.rest(proteins)
            try:
                if options.workers is not None:
                    _fill(table, rest, {"batch_size": batch_size, **choices}, options)
                else:
                    for found in model.stream(rest, batch_size, "auto", None, **choices):
                        first = found if first is None else first
                        table.write(found)
            except InputError as error:
                if not table.written:
                    raise
                advice = "the rows so far are kept: once that is mended, go on by --resume"
                if not options.skip_invalid:
                    advice += " (--skip-invalid leaves out records that cannot be read)"
                raise InputError(f"{error}; {advice}") from error
            finally:
                left_out = table.path.with_suffix(".left_out.txt")
                if skipped and table.written:
                    messages.append(_listed(skipped, left_out))
            print(table.finish())
            if table.written and not skipped:
                left_out.unlink(missing_ok=True)  # of another run
    except KeyboardInterrupt:
        print("rnnzoo: the rows so far are kept; go on by --resume", file=sys.stderr)
        raise
    except WorkerError as error:
        raise WorkerError(f"{error}; go on by --resume") from error
    if not table.written:
        messages.append("the table was complete")
    return first


def _weights_of(model: Any) -> dict[str, str | None]:
    """What tells the weights of a model from others: the fingerprints of its checkpoint, or of its
    values where it has none, and of its adapter."""
    adapter = model._loaded_as.adapter
    if model.origin is not None:
        found = model.origin.config.fingerprint
    else:
        found = fingerprint(model.weight_values())
    return {"fingerprint": found, "adapter": adapter and adapter.config.fingerprint}


class TableLines(BatchPredictor):
    """Lines of a table for a block of proteins; what a worker runs."""

    def __init__(self, form: Any, **settings: Any) -> None:
        super().__init__(inputs=("name", "sequence"), **settings)
        self.form = form

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        from rnnzoo.deeploc.table import checksum

        results = self.results(batch)
        return {
            "line": [self.form.line(found) for found in results],
            "sum": [checksum(found.name, found.sequence) for found in results],
        }


def _fill(
    table: Any, proteins: Iterator[Any], choices: dict[str, Any], options: argparse.Namespace
) -> None:
    """Write the rows of proteins by workers, a whole window at a time: the same that `stream` sorts
    by length, so that the table is the same to the byte."""
    import tqdm

    from rnnzoo.deeploc.task import WINDOW

    def windows() -> Iterator[dict[str, list[str]]]:
        while window := list(itertools.islice(proteins, WINDOW)):
            names, sequences = [p.name for p in window], [p.sequence for p in window]
            yield {"name": names, "sequence": sequences}

    settings = {
        "form": table.form,
        "name": options.name,
        "load_options": loaded_as(options),
        "threads": max(1, (os.cpu_count() or 1) // max(1, options.workers)),
        **choices,
    }
    blocks = map_in_order(windows(), TableLines, settings, options.workers)
    with (
        contextlib.closing(blocks),
        tqdm.tqdm(unit="protein", disable=None, leave=False) as bar,
    ):
        for block in blocks:
            table.write_lines(block["line"], block["sum"])
            bar.update(len(block["line"]))
