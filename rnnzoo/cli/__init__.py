"""The command line: `rnnzoo list | info | predict | listen | verify | download | push | export`.

Exit codes: 0 done; 1 a checkpoint or a file is broken or missing; 2 the command or its input
cannot be used; 3 the hub could not give or take what it should; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from typing import Any

import rnnzoo
from rnnzoo import hub, registry
from rnnzoo.cli.export import export
from rnnzoo.cli.options import located
from rnnzoo.cli.predict import predict
from rnnzoo.cli.sound import listen
from rnnzoo.errors import (
    DownloadError,
    InputError,
    MissingDependencyError,
    RnnzooError,
    UnknownModelError,
    UploadError,
)
from rnnzoo.manifest import Entry

DONE, BROKEN, USAGE, DOWNLOAD, INTERRUPTED = 0, 1, 2, 3, 130
_MODEL = "a model's name, a checkpoint folder, hf://org/name@rev or a .keras file"
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
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser(model_help(arguments))
    options, extra = parser.parse_known_args(arguments)
    if extra and options.command not in (predict, listen):
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    options.extra = extra
    if sys.stdout is None:  # closed, as by `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what a terminal's encoding lacks becomes ?
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has gone, `rnnzoo ... | head`
        _drop_output()
    except OSError as error:
        print(f"rnnzoo: {error}", file=sys.stderr)
        _drop_output()
        return BROKEN
    except KeyboardInterrupt:
        print("rnnzoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except RnnzooError as error:
        print(f"rnnzoo: {error}", file=sys.stderr)
        if isinstance(error, (DownloadError, UploadError)):
            return DOWNLOAD
        return USAGE if isinstance(error, _USAGE_ERRORS) else BROKEN
    return DONE


def _drop_output() -> None:
    """Let what is still to be flushed to a standard output that failed go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def model_help(arguments: list[str]) -> str:
    """For `predict NAME --help`: the options of the model, with their defaults."""
    if arguments[:1] != ["predict"] or not {"-h", "--help"} & set(arguments):
        return ""
    words = [word for word in arguments[1:] if not word.startswith("-")]
    try:
        defaults = registry.locate(words[0], local_files_only=True).config.decoder
    except (RnnzooError, IndexError):
        return "With a model's name before --help, its options are listed here."
    listed = "  ".join(
        f"--{name.replace('_', '-')} {json.dumps(value)}" for name, value in defaults.items()
    )
    return f"Options of {words[0]} and their defaults: {listed}"


def _parser(options_of_model: str = "") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rnnzoo",
        allow_abbrev=False,
        description="The classic recurrent networks with real pretrained weights.",
        epilog="Exit codes: 0 done, 1 broken checkpoint or file, 2 unusable command or input, "
        "3 download or push failed, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"rnnzoo {rnnzoo.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Any, text: str, epilog: str | None = None
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=text, epilog=epilog, allow_abbrev=False
        )
        sub.set_defaults(command=function)
        sub.add_argument("--json", action="store_true", help="print JSON, for scripts")
        return sub

    listing = command("list", _list, "List the models.")
    listing.add_argument("pattern", nargs="?", default="*", help="with wildcards, such as '*-fr'")
    listing.add_argument("--task", help="only models of this task")

    card = command("info", _info, "Show a model's card: use, figures, data, licence, limits.")
    card.add_argument("name")

    run = command(
        "predict",
        predict,
        "Run a model on texts, on the lines of files or of standard input; on proteins if it is a "
        "model that reads them: sequences or FASTA; on sound files if it is one that hears. "
        "Options of the model follow its name: --beam-size 10 --num-hypotheses 3.",
        options_of_model,
    )
    run.add_argument("name", help=_MODEL)
    run.add_argument(
        "inputs",
        nargs="*",
        help="texts, sequences and FASTA files, or sound files; without any, standard input",
    )
    run.add_argument(
        "-i", "--input", action="append", default=[], metavar="FILE", help="read it; - is stdin"
    )
    run.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="a file, written whole or not at all (.srt, .vtt: subtitles); a folder for the table "
        "of a model of proteins",
    )
    run.add_argument("--plot", metavar="FILE", help="draw the first result (.png, .svg, .pdf)")
    _kept_options(run)
    proteins = run.add_argument_group("models that read proteins or sound")
    proteins.add_argument(
        "--resume", action="store_true", help="go on with the unfinished table of proteins in -o"
    )
    proteins.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="fill the table of proteins in -o by N processes, each with a model, on Ray: on this "
        "machine, or on the cluster that RAY_ADDRESS names",
    )
    proteins.add_argument(
        "--skip-invalid",
        action="store_true",
        help="leave out what cannot be read, and report it at the end",
    )
    _hub_options(run)

    hear = command(
        "listen",
        listen,
        "Write down raw sound (16-bit, little-endian) from standard input while it comes, with a "
        "model that streams: arecord -t raw -f S16_LE -r 16000 | rnnzoo listen NAME",
    )
    hear.add_argument("name", help=_MODEL)
    hear.add_argument("--rate", type=int, help="samples a second (default: the network's)")
    hear.add_argument("--channels", type=int, default=1, help="channels, interleaved (default: 1)")
    _kept_options(hear)
    _hub_options(hear)

    verify = command(
        "verify", _verify, "Check every file of models, checkpoint folders or adapters."
    )
    verify.add_argument("names", nargs="*", help="names, folders, hf:// (default: all bundled)")
    _hub_options(verify)

    download = command(
        "download", _download, "Fetch a model or an adapter and print the folder it lies in."
    )
    download.add_argument("name", help="a model's name or hf://organisation/name[@revision]")
    _hub_options(download)

    push = command("push", _push, "Publish a checkpoint folder on the Hugging Face Hub.")
    push.add_argument("folder", help="a folder as save() or save_adapter() writes it")
    push.add_argument("repo_id", metavar="org/name", help="the repository; made if it is missing")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.add_argument("--revision", help="a branch, made if it is missing (default: main)")
    push.add_argument("--message", help="the commit's message")

    out = command("export", export, "Write a model's network for another runtime.")
    out.add_argument("name", help=_MODEL)
    out.add_argument("path", help="a folder for saved_model, a file for the others")
    out.add_argument(
        "--format", default="saved_model", help="saved_model (default), onnx or litert"
    )
    out.add_argument(
        "--graph",
        default="network",
        help="the whole network (default), or of a family that goes step by step: step, and "
        "encoder or start, which make its first state",
    )
    out.add_argument(
        "--length",
        action="append",
        default=[],
        metavar="N or AXIS=N",
        help="for litert: how long every input is, or every axis by its name",
    )
    _weights_options(out)
    out.add_argument("--verbose", action="store_true", help="show TensorFlow's messages too")
    _hub_options(out)
    return parser


def _kept_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", default="auto", help="dtype policy (default: auto)")
    parser.add_argument(
        "--engine", default="tensorflow", help="tensorflow (default), or onnx for onnxruntime"
    )
    _weights_options(parser)
    parser.add_argument("--verbose", action="store_true", help="show TensorFlow's messages too")


def _weights_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adapter", help="an adapter of the model: a folder or hf://org/name@rev")
    parser.add_argument(
        "--quantize", help="int8: keep kernels in a quarter of the memory (default: as floats)"
    )


def _hub_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revision", help="branch, tag or commit of an hf:// address")
    parser.add_argument("--cache-dir", help="where downloads are kept (Hugging Face's cache)")
    parser.add_argument("--offline", action="store_true", help="use the cache alone")


def _list(options: argparse.Namespace) -> None:
    names = rnnzoo.list_models(options.pattern, options.task)
    known = registry.entries()
    rows = [_row(name, known[name]) for name in names]
    if options.json and rows:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not rows:
        task = f" of the task {options.task!r}" if options.task else ""
        raise InputError(f"no model{task} matches {options.pattern!r}; see `rnnzoo list`")
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
    if files := [name for name in names if registry.is_keras_file(name)]:
        raise InputError(registry.NO_CHECKPOINT.format(files[0]))
    results, failure = [], None
    for name in names:
        try:
            checkpoint = registry.locate_either(name, **located(options))
            results.append({"name": name, "ok": True, "files": len(checkpoint.files) + 1})
        except RnnzooError as error:
            failure = failure or error
            results.append({"name": name, "ok": False, "error": str(error)})
        if not options.json:
            row = results[-1]
            print(f"{name}: {row['files']} files, all whole" if row["ok"] else f"{name}: NOT whole")
            if not row["ok"] and row["error"] != str(failure):  # the first is printed at the end
                print(f"rnnzoo: {row['error']}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    if failure is not None:
        raise failure


def _download(options: argparse.Namespace) -> None:
    checkpoint = registry.locate_either(options.name, **located(options))
    if options.json:
        size = sum(file.size for file in checkpoint.files.values())
        print(json.dumps({"folder": str(checkpoint.folder), "bytes": size}))
    else:
        print(checkpoint.folder)


def _push(options: argparse.Namespace) -> None:
    commit = hub.push_folder(
        options.folder,
        options.repo_id,
        private=True if options.private else None,
        revision=options.revision,
        commit_message=options.message,
    )
    if options.json:
        address = hub.address_of(hub.HubRecord(options.repo_id, commit.oid))
        print(json.dumps({"url": commit.commit_url, "commit": commit.oid, "address": address}))
    else:
        print(commit.commit_url)
