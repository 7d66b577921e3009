"""What is measured of every entry: one input, a batch, a mixed set, growth."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench.families import Family, difference
from bench.floor import floor
from bench.peers import Engine, engine_of
from bench.record import ORDER, OURS, RNNZOO, ROUNDED, XLA, Row
from bench.timing import exponent, interleaved, summary

BATCH, MIXED, QUICK_MIXED = 32, 1000, 64
_SAME_TEXTS = 0.02  # share of texts and lines in which a near tie may fall another way
_SAME_POINTS = 20  # of sampled ink: rounding grows from point to point
_GROWN_BATCHES = (1, 4, 16, 64)
_LATENCY_SECONDS = 0.3  # of a turn, so that there are calls enough for percentiles
_MIXED_SHAPES = {XLA: "it would compile the shape of each batch anew"}


class Measurement:
    """An entry's engines and how long they are timed.

    Parameters
    ----------
    family : Family
    engines : list of Engine
        rnnzoo's first.
    missing : dict
        Engines that are not there, and why.
    rounds : int
    quick : bool
        Fewer and shorter turns, smaller sets.
    peaks : dict, optional
        The machine's (`peaks.measured_peaks`); without them rows have no floor.
    """

    def __init__(
        self,
        family: Family,
        engines: list[Engine],
        missing: dict[str, str],
        rounds: int,
        quick: bool,
        peaks: Mapping[str, float] | None = None,
    ) -> None:
        self.family, self.engines, self.missing = family, engines, missing
        self.rounds, self.quick, self.peaks = rounds, quick, peaks
        self.seconds = 0.05 if quick else 0.5

    @classmethod
    def of(
        cls,
        family: Family,
        threads: int,
        folder: Path,
        rounds: int,
        quick: bool,
        asked: Collection[str] = ORDER,
        peaks: Mapping[str, float] | None = None,
    ) -> Self:
        """With every engine that is asked for and can be had; rnnzoo always."""
        engines, missing = [], {}
        for name in ORDER:
            if name not in (RNNZOO, *asked):
                missing[name] = "it was not asked for"
                continue
            try:
                engines.append(engine_of(name, family, threads, folder))
            except LookupError as error:
                missing[name] = str(error)
        return cls(family, engines, missing, rounds, quick, peaks)

    def row(
        self,
        row: str,
        case: str,
        part: str,
        given: Any,
        amounts: bool = False,
        note: str = "",
        warm: Any = None,
        seconds: float = 0.0,
        without: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Row | None:
        """Time a part ("network", "predict" or "search") of all engines on one input, once their
        results are found to be rnnzoo's; None if no engine of rnnzoo's has it. Where that takes
        long, after a call with `warm`, it is the first turn itself whose results are looked at.
        Turns take `seconds` at the least; the engines `without` are left out, and why."""
        calls, left_out, differences = {}, dict(self.missing), {}
        firsts: dict[str, float] = {}
        own_amounts: dict[str, dict[str, float]] = {}
        wanted: Any = None
        for engine in self.engines:
            run = getattr(engine, part)
            if run is None or engine.name in (without or {}):
                left_out[engine.name] = (without or engine.left_out).get(engine.name) or (
                    engine.left_out[part]
                )
                continue
            try:
                if warm is not None:
                    run(warm, **options)
                begun = time.perf_counter()
                results = run(given, **options)
            except Exception as error:
                if engine.name in OURS:
                    raise
                left_out[engine.name] = f"it failed: {str(error).splitlines()[0]:.100}"
                continue
            took = time.perf_counter() - begun
            if part == "network":
                results = self.family.real(results, given)
            wanted = results if wanted is None else wanted
            if not self._alike(engine.name, results, wanted, differences, left_out):
                continue
            if engine.name in ROUNDED and amounts:
                own_amounts[engine.name] = self.family.amounts(given, results)
            calls[engine.name] = _bound(run, given, options)
            if warm is not None:
                firsts[engine.name] = took
        if RNNZOO not in calls:
            return None
        turns = self.rounds if warm is None else min(self.rounds, 3) - 1
        found = interleaved(calls, turns, seconds or self.seconds, firsts)
        found = {name: [*own, *([firsts[name]] if firsts else [])] for name, own in found.items()}
        return Row(
            self.family.name,
            row,
            case,
            {name: summary(samples) for name, samples in found.items()},
            amounts=self.family.amounts(given, wanted) if amounts else {},
            own_amounts=own_amounts if amounts else {},
            differences=differences,
            left_out=left_out,
            note=note,
            floor=self._floor(part, given),
        )

    def _floor(self, part: str, given: Any) -> dict[str, float]:
        """What the arithmetic of a network's call, or of the batches of `predict` and `search`,
        takes at the least; nothing of `predict` where it goes step by step, how often depends on
        what is found."""
        if not self.peaks or (part == "predict" and self.family.loops):
            return {}
        runs = [given] if part == "network" else [run for _, run in self.family.batched(given)]
        found = [floor(self.family.task, tensors, self.peaks) for tensors in runs]
        return {name: sum(one[name] for one in found) for name in found[0]}

    def floors(self, sizes: list[tuple[int, Any]]) -> list[list[float]]:
        """The floor's seconds at each size of a network's tensors; none without peaks."""
        found = [(size, self._floor("network", tensors)) for size, tensors in sizes]
        return [[size, one["seconds"]] for size, one in found if one]

    def _alike(
        self,
        name: str,
        results: list[Any],
        wanted: list[Any],
        differences: dict[str, float],
        left_out: dict[str, str],
    ) -> bool:
        """Whether an engine gives rnnzoo's results; how far they are apart is kept."""
        family = self.family
        least = family.tolerance
        if isinstance(wanted[0], str):
            least = _SAME_TEXTS
        elif family.task.family in ("handwriting", "handwriting_prediction") and (
            np.shape(wanted[0])[-1] == 3
        ):
            pairs = list(zip(results, wanted, strict=True))
            alike = [(own, line) for own, line in pairs if len(own) == len(line)]
            if len(pairs) - len(alike) > _SAME_TEXTS * len(pairs):
                if name not in ROUNDED:
                    others = f"{len(pairs) - len(alike):,} of {len(pairs):,}"
                    left_out[name] = f"{others} lines are of other lengths"
                return name in ROUNDED
            results, wanted = (
                [line[:_SAME_POINTS] for line in x] for x in zip(*alike, strict=True)
            )
        try:
            apart = difference(results, wanted)
        except ValueError as error:
            left_out[name] = f"its results differ: {error}"
            return False
        differences[name] = apart
        if name in ROUNDED:
            return True
        if apart > least:
            left_out[name] = f"its results differ by {apart:.2g}, more than {least:g}"
        return apart <= least

    def alike_at(
        self,
        size: int,
        engine: Engine,
        tensors: Any,
        wanted: dict[int, list[Any]],
        left_out: dict[str, str],
    ) -> float:
        """How far an engine's network is from rnnzoo's at one size; `wanted` keeps rnnzoo's."""
        results = self.family.real(engine.network(tensors), tensors)
        differences: dict[str, float] = {}
        wanted.setdefault(size, results)
        self._alike(engine.name, results, wanted[size], differences, left_out)
        return differences.get(engine.name, 0.0)


def _bound(run: Callable[..., Any], given: Any, options: dict[str, Any]) -> Callable[[], Any]:
    return lambda: run(given, **options)


def latency(m: Measurement) -> Iterator[Row | None]:
    """One input, warm."""
    one = m.family.raws(1)
    seconds = max(m.seconds, _LATENCY_SECONDS)
    yield m.row("latency", "predict, one input", "predict", one, amounts=True, seconds=seconds)
    yield m.row("latency", "network, one input", "network", m.family.tensors(one), seconds=seconds)


def batch(m: Measurement) -> Iterator[Row | None]:
    """A batch of 32."""
    many = m.family.raws(BATCH)
    yield m.row("batch", f"predict, {BATCH} inputs", "predict", many, amounts=True)
    yield m.row("batch", f"network, {BATCH} inputs", "network", m.family.tensors(many))


def mixed(m: Measurement) -> Iterator[Row | None]:
    """A set of mixed length."""
    if m.family.task.family == "handwriting_prediction":
        return  # its lines are all as long as they are asked to be
    many = m.family.raws(QUICK_MIXED if m.quick else MIXED)
    case = f"predict, {len(many):,} inputs of mixed length"
    warm = many[: min(len(many) // 2, QUICK_MIXED)]
    yield m.row("mixed", case, "predict", many, amounts=True, warm=warm, without=_MIXED_SHAPES)


def growth(m: Measurement) -> Iterator[Row | None]:
    """Time over length, and over batch."""
    lengths = m.family.growing[:3] if m.quick else m.family.growing
    batches = _GROWN_BATCHES[:3] if m.quick else _GROWN_BATCHES
    by_length = [(n, m.family.grown(n, 1)) for n in lengths]
    by_batch = [(n, m.family.grown(lengths[1], n)) for n in batches]
    for case, sizes in (("network, length", by_length), ("network, batch", by_batch)):
        points: dict[str, list[list[float]]] = {}
        left_out, differences = dict(m.missing), {}
        calls, wanted = {}, {}
        for engine in m.engines:
            if engine.network is None:
                left_out[engine.name] = engine.left_out["network"]
                continue
            apart = [m.alike_at(size, engine, tensors, wanted, left_out) for size, tensors in sizes]
            if engine.name in left_out:
                continue
            differences[engine.name], points[engine.name] = max(apart), []
            for size, tensors in sizes:
                calls[engine.name, size] = _bound(engine.network, tensors, {})
        found = {}
        for size, _ in sizes:
            at_size = {call: run for call, run in calls.items() if call[1] == size}
            found |= interleaved(at_size, m.rounds, m.seconds / 4)
        for (name, size), samples in found.items():
            points[name].append([size, summary(samples)["median"]])
        figures = {name: {"median": exponent(*zip(*p, strict=True))} for name, p in points.items()}
        note = f"sizes {', '.join(str(size) for size, _ in sizes)}"
        yield Row(
            m.family.name, "growth", case, figures, "exponent", differences=differences,
            left_out=left_out, points=points, floors=m.floors(sizes), note=note,
        )  # fmt: skip


def decode(m: Measurement) -> Iterator[Row | None]:
    """Searches and loops: beams, ink, sound as it comes, a proteome."""
    name = m.family.task.family
    count = 16 if m.quick else 100
    if name == "seq2seq":
        for beam in (1, 5, 10):
            raws, options = m.family.raws(count), {"beam_size": beam}
            yield m.row("decode", f"beam {beam}", "predict", raws, amounts=True, **options)
    elif name == "handwriting_prediction":
        for lines in (1, BATCH):
            options = {"num_points": 100 if m.quick else 700}
            case = f"{lines} lines of {options['num_points']} points"
            yield m.row("decode", case, "predict", m.family.raws(lines), amounts=True, **options)
    elif name == "handwriting":
        for lines in (1, BATCH):
            yield m.row("decode", f"{lines} lines", "predict", m.family.raws(lines), amounts=True)
    elif name == "deeploc":
        raws = m.family.raws(count)
        source = "DeepLoc 1.0's first proteins" if m.family.data else "lognormal lengths"
        yield m.row("decode", f"{count} proteins, {source}", "predict", raws, amounts=True)
    else:
        yield from _searched(m, m.family.raws(8 if m.quick else 32))
    if name == "deepspeech":
        yield from _streamed(m)


def _searched(m: Measurement, raws: list[Any]) -> Iterator[Row | None]:
    """With the checkpoint's own search, language model or grammar."""
    beam = m.family.task.decoding.beam_size
    own = [engine for engine in m.engines if engine.search is not None]
    why = "it has no search of CTC's: the rows before have its network, greedy"
    missing = {e.name: e.left_out.get("search", why) for e in m.engines if e.search is None}
    missing |= m.missing
    searched = Measurement(m.family, own, missing, m.rounds, m.quick, m.peaks)
    options: dict[str, Any] = {"beam_size": beam, "grammar": None}
    note = (
        "the peers' search is the benchmark's own, on PyTorch; they give the text alone, without "
        "confidence, and of speech without times and spectrogram; the floor is the network's"
    )
    if m.family.task.preprocessor.grammar is not None:
        note = f"with the checkpoint's grammar, without its least confidence; {note}"
        options["min_confidence"] = 0.0
    case = f"whole inputs, beam {beam}"
    yield searched.row("decode", case, "search", raws, amounts=True, note=note, **options)


def _streamed(m: Measurement) -> Iterator[Row | None]:
    """A piece of 100 ms of sound that comes in, and what is known then."""
    config = m.family.task.config
    if config.bidirectional or config.normalization != "running":
        return
    rate = config.sampling_rate
    piece = rate // 10
    clip = np.resize(m.family.clip, 10 * rate)
    pieces = [clip[begin : begin + piece] for begin in range(0, len(clip), piece)]
    openers = {e.name: e.stream for e in m.engines if e.stream is not None}
    samples: dict[str, list[float]] = {name: [] for name in openers}
    texts: dict[str, str] = {}
    for number in range(1 + m.rounds):
        for name, opened in openers.items():
            stream = opened()
            took = [_seconds(stream.feed, own) for own in pieces]
            texts[name] = stream.finish()
            samples[name] += took[10:] if number else []  # the first stream traces the graphs
    left_out = {e.name: e.left_out["stream"] for e in m.engines if e.stream is None} | m.missing
    differences = {}
    for name, text in texts.items():
        if name in ROUNDED:
            differences[name] = difference([text], [texts[RNNZOO]])
        elif text != texts[RNNZOO]:
            left_out[name] = f"it heard {text!r}, not {texts[RNNZOO]!r}"
            del samples[name]
    yield Row(
        m.family.name,
        "decode",
        "stream, a piece of 100 ms",
        {name: summary(own) for name, own in samples.items()},
        amounts={"seconds of audio": 0.1},
        differences=differences,
        left_out=left_out,
        note="rnnzoo keeps the spectrogram for the transcript's picture, which the others do not; "
        "ONNX Runtime has the exported step, for any batch, rnnzoo onnx one for a stream alone",
    )


def _seconds(call: Callable[[Any], Any], given: Any) -> float:
    begun = time.perf_counter()
    call(given)
    return time.perf_counter() - begun


ROWS: dict[str, Callable[[Measurement], Iterator[Row | None]]] = {
    "latency": latency,
    "batch": batch,
    "mixed": mixed,
    "growth": growth,
    "decode": decode,
}
