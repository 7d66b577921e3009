"""The command line: `rnnzoo list | info | predict | verify | download`.

Exit codes: 0 done; 1 a checkpoint or a file is broken or missing; 2 the command or its input
cannot be used; 3 the hub could not give what was asked for; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import rnnzoo
from rnnzoo import registry
from rnnzoo.errors import (
    DownloadError,
    InputError,
    MissingDependencyError,
    RnnzooError,
    UnknownModelError,
)
from rnnzoo.manifest import Entry

DONE, BROKEN, USAGE, DOWNLOAD, INTERRUPTED = 0, 1, 2, 3, 130
_CHUNK = 256
_USAGE_ERRORS = (InputError, UnknownModelError, MissingDependencyError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code.

    Examples
    --------
    >>> from rnnzoo.cli import main
    >>> main(["list", "seq2seq-en-fr"])
    seq2seq-en-fr  translation  7.1 M  bundled
    0
    """
    parser = _parser()
    options, extra = parser.parse_known_args(arguments)
    if extra and options.command is not _predict:
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    options.extra = extra
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has gone, `rnnzoo ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("rnnzoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except RnnzooError as error:
        print(f"rnnzoo: {error}", file=sys.stderr)
        if isinstance(error, DownloadError):
            return DOWNLOAD
        return USAGE if isinstance(error, _USAGE_ERRORS) else BROKEN
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rnnzoo",
        allow_abbrev=False,
        description="The classic recurrent networks with real pretrained weights.",
        epilog="Exit codes: 0 done, 1 broken checkpoint or file, 2 unusable command or input, "
        "3 download failed, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"rnnzoo {rnnzoo.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(command=function)
        sub.add_argument("--json", action="store_true", help="print JSON, for scripts")
        return sub

    listing = command("list", _list, "List the models.")
    listing.add_argument("pattern", nargs="?", default="*", help="with wildcards, such as '*-fr'")
    listing.add_argument("--task", help="only models of this task")

    card = command("info", _info, "Show a model's card: use, figures, data, licence, limits.")
    card.add_argument("name")

    predict = command(
        "predict",
        _predict,
        "Run a model on texts, on the lines of files, or on the lines of standard input. "
        "Options of the model follow by name: --beam-size 10 --num-hypotheses 3.",
    )
    predict.add_argument("name", help="a model's name, a checkpoint folder or hf://org/name@rev")
    predict.add_argument("inputs", nargs="*", help="texts; without any, standard input is read")
    predict.add_argument(
        "-i", "--input", action="append", default=[], metavar="FILE", help="read lines; - is stdin"
    )
    predict.add_argument("-o", "--output", metavar="FILE", help="write here, whole or not at all")
    predict.add_argument("--plot", metavar="FILE", help="draw the first result (.png, .svg, .pdf)")
    predict.add_argument("--dtype", default="auto", help="dtype policy (default: auto)")
    predict.add_argument("--verbose", action="store_true", help="show TensorFlow's messages too")
    _hub_options(predict)

    verify = command("verify", _verify, "Check every file of models or checkpoint folders.")
    verify.add_argument("names", nargs="*", help="names, folders, hf:// (default: all bundled)")
    _hub_options(verify)

    download = command("download", _download, "Fetch a model and print the folder it lies in.")
    download.add_argument("name", help="a model's name or hf://organisation/name[@revision]")
    _hub_options(download)
    return parser


def _hub_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revision", help="branch, tag or commit of an hf:// address")
    parser.add_argument("--cache-dir", help="where downloads are kept (Hugging Face's cache)")
    parser.add_argument("--offline", action="store_true", help="use the cache alone")


def _located(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "revision": options.revision,
        "cache_dir": options.cache_dir,
        "local_files_only": options.offline,
    }


def _list(options: argparse.Namespace) -> None:
    names = rnnzoo.list_models(options.pattern, options.task)
    known = registry.entries()
    rows = [_row(name, known[name]) for name in names]
    if options.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not rows:
        raise InputError(f"no model matches {options.pattern!r}; `rnnzoo list` names all of them")
    width = max(len(name) for name in names)
    for row in rows:
        size = f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else ""
        print(f"{row['name']:{width}}  {row['task']}  {size}  {row['where']}")


def _row(name: str, entry: Entry | registry.Registered) -> dict[str, Any]:
    bundled = isinstance(entry, Entry)
    return {
        "name": name,
        "task": entry.task,
        "summary": entry.summary,
        "parameters": entry.parameters if isinstance(entry, Entry) else None,
        "bytes": entry.size if isinstance(entry, Entry) else None,
        "where": ("bundled" if entry.bundled else "hub") if bundled else entry.checkpoint,  # type: ignore[union-attr]
    }


def _info(options: argparse.Namespace) -> None:
    card = rnnzoo.info(options.name)
    if options.json:
        print(json.dumps(card.to_dict(), indent=1, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(card)
    else:
        print(card, end="")


def _verify(options: argparse.Namespace) -> None:
    known = registry.entries()
    names = options.names or [
        name for name, entry in known.items() if isinstance(entry, Entry) and entry.bundled
    ]
    results, failure = [], None
    for name in names:
        try:
            checkpoint = registry.locate(name, **_located(options))
            results.append({"name": name, "ok": True, "files": len(checkpoint.files) + 1})
        except RnnzooError as error:
            failure = failure or error
            results.append({"name": name, "ok": False, "error": str(error)})
        if not options.json:
            row = results[-1]
            print(f"{name}: {row['files']} files, all whole" if row["ok"] else f"{name}: BROKEN")
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    if failure is not None:
        raise failure


def _download(options: argparse.Namespace) -> None:
    checkpoint = registry.locate(options.name, **_located(options))
    if options.json:
        size = sum(file.size for file in checkpoint.files.values())
        print(json.dumps({"folder": str(checkpoint.folder), "bytes": size}))
    else:
        print(checkpoint.folder)


# --- predict -------------------------------------------------------------------------------


def _predict(options: argparse.Namespace) -> None:
    choices, texts = _model_options(options.extra)
    options.inputs += texts
    if options.plot:
        _check_plot(options.plot)
    inputs, per_line = _read_inputs(options)
    with _quiet(options.verbose):
        model = rnnzoo.load(options.name, dtype=options.dtype, **_located(options))
        with _writer(options.output) as out:
            first = _predict_all(model, inputs, per_line, choices, options, out)
        if options.plot:
            if first is None:
                raise InputError("there was no input, so there is nothing to plot")
            try:
                first.plot().figure.savefig(options.plot, dpi=150)
            except OSError as error:
                raise InputError(f"cannot write {options.plot}: {error.strerror}") from error


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
    hidden = None if len(inputs) > _CHUNK else True
    with tqdm.tqdm(
        total=len(inputs), unit="line", disable=hidden, leave=False, file=sys.stderr
    ) as bar:
        for begin in range(0, len(inputs), _CHUNK):
            chunk = inputs[begin : begin + _CHUNK]
            for result in model.predict(chunk, verbose=0, **choices):
                first = result if first is None else first
                if options.json:
                    print(json.dumps(result.to_dict(), ensure_ascii=False), file=out)
                else:
                    text = str(result)
                    print(" ".join(text.splitlines()) if per_line else text, file=out)
            out.flush()
            bar.update(len(chunk))
    return first


def _model_options(extra: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`--beam-size 10 --temperature=0.7` as keyword arguments; other words are inputs."""
    choices: dict[str, Any] = {}
    texts = []
    words = iter(extra)
    for word in words:
        if not word.startswith("--"):
            texts.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            found = next(words, None)
            if found is None:
                raise InputError(f"option {word} needs a value")
            value = found
        name = name.replace("-", "_")
        if name in ("inputs", "verbose", ""):
            raise InputError(f"{word} is not an option of the model")
        try:
            choices[name] = json.loads(value)
        except ValueError:
            choices[name] = value
    return choices, texts


def _read_inputs(options: argparse.Namespace) -> tuple[list[str], bool]:
    """The inputs, and whether they are lines of files (one result a line)."""
    if options.inputs and options.input:
        raise InputError("give texts or --input files, not both")
    if options.inputs:
        return options.inputs, False
    lines: list[str] = []
    for name in options.input or ["-"]:
        try:
            raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            text = raw.decode("utf-8-sig")
            lines += (
                [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
                if text
                else []
            )
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name} is not UTF-8 text (byte {error.start}): convert it, for example with iconv"
            ) from error
    return lines, True


@contextlib.contextmanager
def _writer(path: str | None) -> Iterator[TextIO]:
    """Standard output; a device or pipe; or a file that appears only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    target = Path(path).resolve()
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("w", encoding="utf-8") as file:
                yield file
            return
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("x", encoding="utf-8") as file:
                yield file
            if target.exists():
                shutil.copymode(target, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Keep TensorFlow's native messages off standard error; show them if something unforeseen
    happens. Python's own messages still get there."""
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, python_stderr = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as native, open(kept, "w", closefd=True) as visible:
        os.dup2(native.fileno(), 2)
        sys.stderr = visible
        try:
            yield
        except (RnnzooError, KeyboardInterrupt, BrokenPipeError):
            raise
        except BaseException:
            native.seek(0)
            visible.write(native.read().decode(errors="replace"))
            raise
        finally:
            visible.flush()
            os.dup2(kept, 2)
            sys.stderr = python_stderr


if __name__ == "__main__":
    sys.exit(main())
