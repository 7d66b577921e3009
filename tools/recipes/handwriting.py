"""Recipes of the writing networks: nats per point by teacher forcing, validation by parts."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.pen_data import Line, changed, continuous, read_lines
from recipes.run import Run as BaseRun
from recipes.run import ahead, learning_rate
from rnnzoo.handwriting.preprocess import HandwritingPreprocessor, PreprocessorConfig, begun


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a run; all of it stands on the card."""

    network: dict[str, Any]
    steps: int
    joined_share: float = 0.3
    late_joined_share: float = 0.0
    lines_per_pass: int = 4096
    points_per_batch: int = 16_000
    slant: float = 0.1
    stretch: float = 0.08
    max_learning_rate: float = 1e-3
    warmup_steps: int = 100
    average_every: int = 10
    average_decay: float = 0.98
    dtype: str = "mixed_bfloat16"
    seed: int = 1


RECIPES = {
    "graves-handwriting": Recipe(network={"hidden_dim": 400}, steps=4600),
    "graves-prediction": Recipe(network={"hidden_dim": 400, "num_symbols": 0}, steps=1000),
}

_PREPROCESSOR = HandwritingPreprocessor(PreprocessorConfig())
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def make_batch(lines: list[Line], points: list[np.ndarray]) -> Batch:
    """Points with the one before the line [batch, 1 + time, 3], their counts, and characters."""
    counts = np.array([len(p) for p in points], np.int32)
    whole = np.zeros((len(lines), 1 + counts.max(), 3), np.float32)
    for row, own in enumerate(points):
        whole[row, : 1 + len(own)] = begun(own)
    characters, _ = _PREPROCESSOR.pad([line.text for line in lines])
    return whole, counts, characters


def cut_batches(lines: list[Line], recipe: Any, rng: np.random.Generator) -> list[list[Line]]:
    """Batches of lines of like length, bounded in points, in a random order."""
    noise = rng.uniform(0.9, 1.1, len(lines))
    lengths = [len(line.points) for line in lines]
    batches: list[list[Line]] = [[]]
    longest = 0
    for n in np.argsort(lengths * noise):
        longest = max(longest, lengths[n])
        if batches[-1] and (len(batches[-1]) + 1) * longest > recipe.points_per_batch:
            batches.append([])
            longest = lengths[n]
        batches[-1].append(lines[n])
    rng.shuffle(batches)
    return batches


def plan(
    real: list[Line], joined: list[Line], recipe: Any, start_step: int
) -> Iterator[tuple[list[Line], int]]:
    """Endless (lines of a batch, step): real lines, and ones joined of real words in the share of
    the step."""
    step = 0
    for number in itertools.count():
        rng = np.random.default_rng([recipe.seed, number])
        progress = min(1.0, step / recipe.steps)
        share = recipe.joined_share + progress * (recipe.late_joined_share - recipe.joined_share)
        drawn = []
        for lines, part in ((real, 1 - share), (joined, share)):
            count = round(part * recipe.lines_per_pass)
            drawn += [lines[n] for n in _drawn(len(lines), count, rng)]
        for batch in cut_batches(drawn, recipe, rng):
            if step >= start_step:
                yield batch, step
            step += 1


def _drawn(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` numbers below `size`, each as often as the others but for one."""
    passes = [rng.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate([*passes, np.zeros(0, int)])[:count]


def nats(
    network: Any, points: Any, counts: Any, characters: Any, training: bool = False
) -> tuple[Any, Any]:
    """The nats of position and pen over each line of a batch, in x-heights (equation 26)."""
    import tensorflow as tf

    from rnnzoo.layers import log_density, log_lift, mixture_of

    config = network.get_layer("writer").config
    inputs = {"points": points[:, :-1]}
    if config.writes:
        inputs["characters"] = characters
    mixture = mixture_of(network(inputs, training=training)["y"])
    real = tf.sequence_mask(counts, tf.shape(points)[1] - 1, tf.float32)
    scale = config.offset_scale
    position = log_density(mixture, points[:, 1:, :2] / scale) - 2 * math.log(scale)
    lift = log_lift(mixture, points[:, 1:, 2])
    return -tf.reduce_sum(real * position, 1), -tf.reduce_sum(real * lift, 1)


def nats_of_lines(measure: Callable[..., Any], lines: list[Line]) -> np.ndarray:
    """[lines, 3] Nats of position and pen, and points, of each line; `measure` is `nats` of a
    network."""
    order = np.argsort([len(line.points) for line in lines], kind="stable")
    found = np.zeros((len(lines), 3))
    for begin in range(0, len(order), 32):
        rows = order[begin : begin + 32]
        rng = np.random.default_rng(begin)
        some = [lines[n] for n in rows]
        batch = make_batch(some, [continuous(line.points, rng) for line in some])
        found[rows] = np.stack([*measure(*batch), batch[1]], 1)
    return found


class Run(BaseRun):
    """A writing network's run."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.handwriting import HandwritingConfig, build_network

        keras.utils.set_random_seed(recipe.seed)
        network = build_network(HandwritingConfig(**recipe.network), recipe.dtype)
        super().__init__(recipe, folder, network)
        signature = [
            tf.TensorSpec([None, None, 3], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
        ]
        self._train = tf.function(
            self._train_step,
            input_signature=[*signature, tf.TensorSpec([], tf.float32)],
            autograph=False,
        )
        self._measure = tf.function(
            lambda *batch: nats(self.network, *batch),
            input_signature=signature,
            autograph=False,
        )

    def _train_step(self, points: Any, counts: Any, characters: Any, rate: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            position, lift = nats(self.network, points, counts, characters, training=True)
            count = tf.cast(tf.reduce_sum(counts), tf.float32)
            loss = (tf.reduce_sum(position) + tf.reduce_sum(lift)) / count
        self.descend(tape, loss, rate)
        return tf.reduce_sum(position), tf.reduce_sum(lift), count, loss

    def update(self, *batch: Any) -> list[Any]:
        return self._train(*batch, np.float32(learning_rate(self.recipe, self.step)))

    def validate(self, lines: list[Line]) -> dict[str, float]:
        """Nats per point of the averaged weights."""
        with self.averaged():
            position, lift, count = nats_of_lines(self._measure, lines).sum(0)
        return {
            "nats/point": (position + lift) / count,
            "position": position / count,
            "pen": lift / count,
        }


def train(
    name: str, data: Path, folder: Path, overrides: dict[str, Any], checkpoint: str | None = None
) -> None:
    """Train `name`, or go on with the run that `folder` holds."""
    recipe = dataclasses.replace(RECIPES[name], **overrides)
    folder.mkdir(parents=True, exist_ok=True)
    real, joined = (read_lines(data, kind, "train") for kind in ("lines", "joined"))
    valid = read_lines(data, "lines", "valid")
    run = Run(recipe, folder)
    run.begin(f"{name}: {len(real):,} lines, {len(joined):,} joined", checkpoint)

    def batch(lines: list[Line], step: int) -> Batch:
        rng = np.random.default_rng([recipe.seed, 7, step])
        points = [changed(line.points, rng, recipe.slant, recipe.stretch) for line in lines]
        return make_batch(lines, points)

    def describe(sums: np.ndarray, seconds: float) -> str:
        return (
            f"nats/point {(sums[0] + sums[1]) / sums[2]:.3f}  pen {sums[1] / sums[2]:.4f}  "
            f"{sums[2] / seconds:,.0f} points a second"
        )

    run.loop(
        ahead(batch, plan(real, joined, recipe, run.step)),
        describe,
        lambda: run.validate(valid),
        log_every=50,
        validate_every=250,
    )
