"""How each family is asked: raw inputs, the network's tensors, batches as `predict` makes them, and
what is compared.

`read` makes of a network's outputs what a user would want of them, in a line or two; a peer's
`predict` is the checkpoint's preprocessor, these batches, the peer's network, and `read`, which is
greedy where CTC's outputs could be searched; the row `decode` has that search.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench import inputs
from rnnzoo.ctc import greedy
from rnnzoo.deeploc.task import WINDOW
from rnnzoo.inputs import batches_by_length

Tensors = dict[str, np.ndarray]
Run = Callable[[Tensors], Tensors]


class Family:
    """An entry's model and how it is asked.

    Attributes
    ----------
    unit : str
        What is counted.
    options : dict
        Of `predict`, in rows beside peers.
    tolerance : float
        How far a peer's outputs may be from rnnzoo's, as `difference` has it.
    growing : tuple of int
        Lengths of the row `growth`.
    train_rows : int
        Rows of a training batch; not the recipe's, which goes by lengths.
    loops : bool
        Whether `predict` runs a part of the network for each step, instead of the whole for each
        batch.
    """

    unit = "inputs"
    options: ClassVar[dict[str, Any]] = {}
    tolerance = 2e-3
    growing: tuple[int, ...] = (64, 128, 256, 512)
    train_rows = 32
    loops = False
    without_dropout: ClassVar[dict[str, Any]] = {"dropout": 0.0}
    batch_size, at_once, window = 32, 2**30, 2**30

    def __init__(self, task: Any, name: str, data: Path | None) -> None:
        self.task, self.name, self.data = task, name, data

    def raws(self, count: int) -> list[Any]:
        """So many raw inputs of mixed length."""
        raise NotImplementedError

    def prepared(self, raws: list[Any]) -> list[np.ndarray]:
        """Each input as the network's rows take it."""
        raise NotImplementedError

    def padded(self, rows: list[np.ndarray]) -> Tensors:
        """Prepared rows side by side."""
        raise NotImplementedError

    def grown(self, length: int, batch: int) -> Tensors:
        """The network's tensors of a length."""
        raise NotImplementedError

    def pairs(self, count: int) -> tuple[list[Any], list[Any]]:
        """Raw inputs and targets of a training batch."""
        raise NotImplementedError

    def read(self, out: Tensors, count: int) -> list[Any]:
        """What a batch's outputs say."""
        raise NotImplementedError

    def plain(self, result: Any) -> Any:
        """What is compared of a result of rnnzoo's."""
        raise NotImplementedError

    def real(self, out: Tensors, tensors: Tensors) -> list[np.ndarray]:
        """The outputs that count: not those of padding."""
        return [out[name] for name in sorted(out)]

    def ask(self, task: Any, raws: list[Any], **options: Any) -> list[Any]:
        """rnnzoo's results."""
        return task.predict(raws, verbose=0, **{**self.options, **options})

    def tensors(self, raws: list[Any]) -> Tensors:
        """The network's inputs of raw ones."""
        return self.padded(self.prepared(raws))

    def batches(self, rows: list[np.ndarray]) -> Iterable[list[int]]:
        """Which rows go together, as in `predict`."""
        for begin in range(0, len(rows), self.window):
            lengths = [len(row) for row in rows[begin : begin + self.window]]
            for some in batches_by_length(lengths, self.batch_size, self.at_once):
                yield [begin + n for n in some]

    def batched(self, raws: list[Any]) -> Iterator[tuple[list[int], Tensors]]:
        """The batches that `predict` makes of raw inputs: which go together, and their tensors."""
        rows = self.prepared(raws)
        return ((chosen, self.padded([rows[n] for n in chosen])) for chosen in self.batches(rows))

    def predictor(self, run: Run) -> Callable[[list[Any]], list[Any]] | None:
        """What a peer's `predict` is, of its network; None where that is a loop of its own."""
        if self.loops:
            return None

        def predict(raws: list[Any]) -> list[Any]:
            found = [None] * len(raws)
            for chosen, tensors in self.batched(raws):
                for n, result in zip(chosen, self.read(run(tensors), len(chosen)), strict=True):
                    found[n] = result
            return found

        return predict

    def arrays(self, task: Any | None = None) -> Tensors:
        """The checkpoint's weights, and constants that stand in rnnzoo's code."""
        return dict((task or self.task).weight_values())

    def config(self) -> dict[str, Any]:
        """The network's config."""
        return dataclasses.asdict(self.task.config)

    def amounts(self, raws: list[Any], results: list[Any]) -> dict[str, float]:
        """What is counted of inputs and results, by unit."""
        return {self.unit: len(raws)}


class Proteins(Family):
    """DeepLoc."""

    unit, tolerance = "proteins", 1e-4
    growing = (128, 256, 512, 1000)
    train_rows = 64
    without_dropout: ClassVar[dict[str, Any]] = {"dropout": 0.0, "input_dropout": 0.0}
    batch_size, at_once, window = 64, 2**15, WINDOW

    def raws(self, count: int) -> list[str]:
        return [inputs.INSULIN, *inputs.proteins(count - 1, self.data)]

    def prepared(self, raws: list[str]) -> list[np.ndarray]:
        preprocessor = self.task.preprocessor
        return [
            preprocessor.cut(preprocessor.numbers(p.sequence)) for p in preprocessor.proteins(raws)
        ]

    def padded(self, rows: list[np.ndarray]) -> Tensors:
        return {"residues": self.task.preprocessor.pad(rows)}

    def grown(self, length: int, batch: int) -> Tensors:
        return {"residues": np.random.default_rng(1).integers(1, 21, (batch, length), np.int32)}

    def pairs(self, count: int) -> tuple[list[Any], list[Any]]:
        names = self.task.preprocessor.config.locations
        chains = [chain[:600] for chain in inputs.proteins(count, self.data)]
        return chains, [names[n % len(names)] for n in range(count)]

    def read(self, out: Tensors, count: int) -> list[Any]:
        return list(out["location"])

    def plain(self, result: Any) -> Any:
        return np.array(list(result.likelihoods.values()))

    def arrays(self, task: Any | None = None) -> Tensors:
        from rnnzoo.deeploc.residues import TABLES

        return {**super().arrays(task), "encoding": TABLES[self.task.config.encoding]}

    def amounts(self, raws: list[Any], results: list[Any]) -> dict[str, float]:
        return {"proteins": len(raws), "residues": sum(map(len, raws))}


class CTC(Family):
    """Networks that write by CTC."""

    options: ClassVar[dict[str, Any]] = {"beam_size": 1, "grammar": ()}

    def read(self, out: Tensors, count: int) -> list[Any]:
        symbols = [
            greedy(p[:f]).symbols for p, f in zip(out["log_probs"], out["frames"], strict=True)
        ]
        return [self.tidy(self.task.preprocessor.text(one)) for one in symbols]

    def tidy(self, text: str) -> str:
        """A text with the spaces that rnnzoo leaves it."""
        return text.strip()

    def plain(self, result: Any) -> Any:
        return result.text

    def real(self, out: Tensors, tensors: Tensors) -> list[np.ndarray]:
        return [p[:f] for p, f in zip(out["log_probs"], out["frames"], strict=True)]


class Sound(CTC):
    """Deep Speech."""

    unit = "recordings"
    growing = (100, 200, 400, 800)  # hundredths of a second
    train_rows = 24
    batch_size, at_once, window = 16, 320 * 16000, 64
    without_dropout: ClassVar[dict[str, Any]] = {
        "dropout": 0.0,
        "time_masks": 0,
        "frequency_masks": 0,
    }

    def __init__(self, task: Any, name: str, data: Path | None) -> None:
        from rnnzoo.deepspeech.audio import read_recordings, resample

        super().__init__(task, name, data)
        self.rate = task.config.sampling_rate
        path, self.said = inputs.clip_of(name)
        (recording,) = read_recordings(path)
        self.clip = resample(recording, self.rate).samples

    def raws(self, count: int) -> list[Any]:
        return [(self.clip, self.rate), *inputs.sound(count - 1, self.clip, self.rate)]

    def tidy(self, text: str) -> str:
        return " ".join(text.split())

    def prepared(self, raws: list[Any]) -> list[np.ndarray]:
        return [samples for samples, _ in raws]

    def padded(self, rows: list[np.ndarray]) -> Tensors:
        return dict(zip(("samples", "lengths"), self.task.preprocessor.pad(rows), strict=True))

    def grown(self, length: int, batch: int) -> Tensors:
        samples = np.resize(self.clip, (batch, length * self.rate // 100))
        return {"samples": samples, "lengths": np.full(batch, samples.shape[1], np.int32)}

    def pairs(self, count: int) -> tuple[list[Any], list[Any]]:
        return [(self.clip, self.rate)] * count, [self.said] * count

    def arrays(self, task: Any | None = None) -> Tensors:
        from rnnzoo.deepspeech.spectrogram import mel_filters

        c = self.task.config
        bins = (1 << (c.frame_length - 1).bit_length()) // 2 + 1
        filters = mel_filters(c.num_mels, bins, c.sampling_rate, c.low_frequency, c.high_frequency)
        return {**super().arrays(task), "mel_filters": filters}

    def amounts(self, raws: list[Any], results: list[Any]) -> dict[str, float]:
        seconds = sum(len(samples) for samples, _ in raws) / self.rate
        return {"seconds of audio": round(seconds, 1)}


class Ink(CTC):
    """The network that reads ink."""

    unit = "lines"
    at_once = 40_000

    def raws(self, count: int) -> list[Any]:
        return [line for line, _ in inputs.inks(count)]

    def prepared(self, raws: list[Any]) -> list[np.ndarray]:
        return [self.task.points(line) for line in raws]

    def padded(self, rows: list[np.ndarray]) -> Tensors:
        return dict(zip(("points", "counts"), self.task.preprocessor.pad(rows), strict=True))

    def grown(self, length: int, batch: int) -> Tensors:
        points = np.concatenate(self.prepared(self.raws(4)))
        points = np.resize(points, (batch, length, 3)).astype(np.float32)
        return {"points": points, "counts": np.full(batch, length, np.int32)}

    def pairs(self, count: int) -> tuple[list[Any], list[Any]]:
        found = inputs.inks(count)
        return [line for line, _ in found], [text for _, text in found]


class _Pen(Family):
    """Networks that make ink; their tensors are those of ink that is there."""

    without_dropout: ClassVar[dict[str, Any]] = {}
    train_rows = 32
    loops = True

    def _styles(self, count: int) -> list[Any]:
        from rnnzoo.handwriting import Style

        return [Style.from_ink(text, line) for line, text in inputs.inks(count)]

    def tensors(self, raws: list[Any]) -> Tensors:
        asked, styles = self.pairs(len(raws))
        found = self.task.training_batch(asked, styles)[0]
        return {name: np.asarray(value) for name, value in found.items()}

    def pairs(self, count: int) -> tuple[list[Any], list[Any]]:
        styles = self._styles(count)
        return [style.text for style in styles], styles

    def grown(self, length: int, batch: int) -> Tensors:
        points = np.resize(self._styles(1)[0].points, (batch, length, 3)).astype(np.float32)
        return {"points": points}


class Writer(_Pen):
    """The network that writes a text."""

    unit = "lines"

    def raws(self, count: int) -> list[str]:
        return inputs.texts(count)

    def grown(self, length: int, batch: int) -> Tensors:
        numbers = self.task.preprocessor.numbers("the quick brown fox jumps")
        characters = np.tile(np.array([*numbers, 0], np.int32), (batch, 1))
        return {**super().grown(length, batch), "characters": characters}

    def plain(self, result: Any) -> Any:
        return result.lines[0].points

    def seeds(self, raws: list[Any]) -> list[tuple[int, int]]:
        """What the draws of each line depend on."""
        return [(0, zlib.crc32(text.encode())) for text in raws]

    def bounds(self, raws: list[Any]) -> list[int]:
        """The most points of each line."""
        per_character = self.task.decoding.max_points_per_character
        return [int(per_character * len(text)) + 50 for text in raws]

    def amounts(self, raws: list[Any], results: list[Any]) -> dict[str, float]:
        return {"lines": len(raws), "points": sum(len(points) for points in results)}


class Predictor(_Pen):
    """The network that goes on with ink, without a text."""

    unit = "lines"

    def raws(self, count: int) -> list[int]:
        return list(range(count))

    def ask(self, task: Any, raws: list[Any], **options: Any) -> list[Any]:
        return task.predict(len(raws), verbose=0, **options)

    def plain(self, result: Any) -> Any:
        return result.lines[0].points

    def seeds(self, raws: list[Any]) -> list[tuple[int]]:
        """What the draws of each line depend on."""
        return [(number,) for number in raws]

    def bounds(self, raws: list[Any]) -> list[int]:
        """The points of each line."""
        return [self.task.decoding.num_points] * len(raws)

    def amounts(self, raws: list[Any], results: list[Any]) -> dict[str, float]:
        return {"points": sum(len(points) for points in results)}


class Translation(Family):
    """Translators; a network's tensors are those of teacher forcing."""

    unit = "sentences"
    growing = (8, 16, 32, 64)
    train_rows = 100
    loops = True

    def raws(self, count: int) -> list[str]:
        return inputs.sentences(count, self.data)

    def prepared(self, raws: list[str]) -> list[np.ndarray]:
        return [np.array(self.task.preprocessor.source([self._encode(text)])[0]) for text in raws]

    def _encode(self, text: str) -> Any:
        return self.task.preprocessor.encode(text)

    def padded(self, rows: list[np.ndarray]) -> Tensors:
        source = self.task.preprocessor.pad(rows)
        return {"source_tokens": source, "target_tokens": np.maximum(source, 1)[:, ::-1].copy()}

    def grown(self, length: int, batch: int) -> Tensors:
        rng, size = np.random.default_rng(1), self.task.config.vocab_size
        draw = [rng.integers(10, size, (batch, length), np.int32) for _ in range(2)]
        return dict(zip(("source_tokens", "target_tokens"), draw, strict=True))

    def pairs(self, count: int) -> tuple[list[Any], list[Any]]:
        found = inputs.sentences(count + 1, self.data)
        return found[:count], found[1:]

    def plain(self, result: Any) -> Any:
        return result.text

    def limits(self, source: np.ndarray, options: Any) -> np.ndarray:
        """The most tokens of each target."""
        lengths = (source != self.task.preprocessor.pad_id).sum(1)
        found = np.floor(options.max_length_factor * lengths) + options.max_length_extra
        return found.astype(np.int64)

    def amounts(self, raws: list[Any], results: list[Any]) -> dict[str, float]:
        tokens = sum(len(self._encode(text).ids) for text in results)
        return {"sentences": len(raws), "tokens": tokens}


_FAMILIES: dict[str, type[Family]] = {
    "deeploc": Proteins,
    "deepspeech": Sound,
    "handwriting": Writer,
    "handwriting_prediction": Predictor,
    "handwriting_reader": Ink,
    "seq2seq": Translation,
}


def family_of(task: Any, name: str, data: Path | None = None) -> Family:
    """How an entry's model is asked."""
    return _FAMILIES[task.family](task, name, data)


def difference(found: list[Any], wanted: list[Any]) -> float:
    """How far results are from rnnzoo's: of arrays the largest difference of any number, in parts
    of the largest number where that is above 1; of texts the share of those that differ.

    Raises
    ------
    ValueError
        If they differ in number or shape.

    Examples
    --------
    >>> difference(["a", "b"], ["a", "c"])
    0.5
    >>> difference([[0.5, -100.0]], [[0.75, -100.0]])
    0.0025
    """
    if len(found) != len(wanted):
        raise ValueError(f"{len(found):,} results for {len(wanted):,}")
    if not wanted:
        return 0.0
    if isinstance(wanted[0], str):
        return sum(a != b for a, b in zip(found, wanted, strict=True)) / len(wanted)
    pairs = [(np.asarray(a, "f8"), np.asarray(b, "f8")) for a, b in zip(found, wanted, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        raise ValueError(f"shapes {[a.shape for a, _ in pairs]}, not {[b.shape for _, b in pairs]}")
    return max(float(np.abs(a - b).max(initial=0.0) / np.abs(b).max(initial=1.0)) for a, b in pairs)
