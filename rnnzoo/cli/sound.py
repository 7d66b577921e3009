"""`rnnzoo predict` for models that hear, and `rnnzoo listen`: recordings, or sound as it comes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from rnnzoo import registry
from rnnzoo.cli.options import loaded_as, model_options
from rnnzoo.cli.terminal import quiet, read_standard_input, standard_input, writer
from rnnzoo.config import choose_options
from rnnzoo.errors import InputError

_SUBTITLES = {".srt": "to_srt", ".vtt": "to_vtt"}
_LANGUAGE = ("hot_words", "grammar", "slots")
_PIECE_SECONDS = 0.1


def predict_sound(
    model: Any, choices: dict[str, Any], options: argparse.Namespace, messages: list[str]
) -> Any:
    """Write a transcript for each recording; returns the first.

    What a person should be told at the end is put into `messages`.
    """
    if options.resume:
        raise InputError("--resume is for models that read proteins")
    batch_size = choices.pop("batch_size", None)
    fields = {name: value for name, value in choices.items() if name not in _LANGUAGE}
    choose_options(model.decoding, fields)  # before anything is read or written
    names = [*options.inputs, *options.input] or ["-"]
    ending = Path(options.output or "").suffix.lower()
    if ending in _SUBTITLES and len(names) != 1:
        raise InputError(f"{options.output} takes the subtitles of one recording, not {len(names)}")
    first = None
    with writer(options.output) as out:
        for found in _found(model, names, batch_size, choices, options.skip_invalid, messages):
            first = found if first is None else first
            if options.json:
                line = json.dumps(found.to_dict(), ensure_ascii=False)
            elif ending in _SUBTITLES:
                line = getattr(found, _SUBTITLES[ending])().removesuffix("\n")
            else:
                line = found.text if len(names) == 1 else f"{found.name}\t{found.text}"
            print(line, file=out, flush=True)
    return first


def _piped() -> IO[bytes]:
    """A sound file on standard input."""
    content = read_standard_input()
    if not content:
        raise InputError("standard input is empty: name a sound file, or pipe one in")
    return io.BytesIO(content)


def _found(
    model: Any,
    names: list[str],
    batch_size: int | None,
    choices: dict[str, Any],
    skip_invalid: bool,
    messages: list[str],
) -> Iterator[Any]:
    from rnnzoo.deepspeech.audio import read_recordings  # with TensorFlow: not for the help

    called: list[str] = []

    def readable() -> Iterator[Any]:
        for name in names:
            try:
                (recording,) = read_recordings(_piped() if name == "-" else name)
            except InputError as error:
                if not skip_invalid:
                    raise
                messages.append(f"left out: {error}")
                continue
            called.append(name)
            yield recording

    for found in model.predict_each(readable(), batch_size=batch_size, **choices):
        yield dataclasses.replace(found, name=called.pop(0))


def listen(options: argparse.Namespace) -> None:
    """Write down raw sound from standard input while it comes."""
    choices, words = model_options(options.extra)
    if not 1 <= options.channels <= 64:
        raise InputError(f"--channels must be from 1 to 64, got {options.channels}")
    if words:
        raise InputError(f"listen reads standard input alone, got {' '.join(words)!r:.60}")
    with quiet(options.verbose):
        model = registry.load(options.name, **loaded_as(options))
        if model.raw_kind != "sound":
            raise InputError(f"{options.name} does not hear: listen is for models of speech")
        if "sampling_rate" in choices:
            raise InputError("listen takes the rate of what it hears as --rate")
        rate = model.config.sampling_rate if options.rate is None else options.rate
        shows = sys.stderr is not None and sys.stderr.isatty() and not options.json
        width = 2 * options.channels
        size = width * max(1, int(_PIECE_SECONDS * rate))
        source, rest = standard_input(), b""
        with model.stream(sampling_rate=rate, **choices) as stream:
            # who speaks ends by Ctrl-C, and wants what was said
            with contextlib.suppress(KeyboardInterrupt):
                while piece := source.read(size):
                    whole = rest + piece
                    used = len(whole) - len(whole) % width
                    rest = whole[used:]
                    samples = np.frombuffer(whole[:used], "<i2").reshape(-1, options.channels)
                    stream.feed(samples)
                    if shows:
                        print(
                            f"\r\x1b[K{stream.partial()[-100:]}",
                            end="",
                            file=sys.stderr,
                            flush=True,
                        )
            found = stream.finish()
        if shows:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if options.json else found.text)
