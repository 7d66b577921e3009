"""Recipe of the network that reads ink: CTC on UNIPEN's lines, varied."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from recipes.handwriting import plan
from recipes.pen_data import Line, changed, read_lines
from recipes.run import Run as BaseRun
from recipes.run import ahead, learning_rate
from rnnzoo.ctc import NGram
from rnnzoo.handwriting.ink import evenly, lines_of, normalized
from rnnzoo.handwriting.reader import ReaderPreprocessor, ReaderPreprocessorConfig


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a run; all of it stands on the card."""

    network: dict[str, Any]
    steps: int
    joined_share: float = 0.4
    late_joined_share: float = 0.3
    lines_per_pass: int = 4096
    points_per_batch: int = 16_000
    slant: float = 0.15
    stretch: float = 0.12
    max_learning_rate: float = 2e-3
    warmup_steps: int = 200
    average_every: int = 10
    average_decay: float = 0.98
    dtype: str = "mixed_bfloat16"
    lm_order: int = 6
    lm_min_counts: tuple[int, ...] = (1, 1, 1, 1, 2, 2)
    seed: int = 1


RECIPES = {"graves-handwriting-reader": Recipe(network={}, steps=5000)}
LANGUAGE_MODEL = "language_model.ngram"  # in the run's folder, and in the checkpoint
_PREPROCESSOR = ReaderPreprocessor(ReaderPreprocessorConfig())

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_batch(lines: list[Line], points: list[np.ndarray], spacing: float) -> Batch:
    """Points as the network takes them and their counts, labels and their counts."""
    even = [evenly(normalized(lines_of(own)[0]), spacing) for own in points]
    texts = [line.text for line in lines]
    return (*_PREPROCESSOR.pad(even), *_PREPROCESSOR.pad_text(texts))


class Run(BaseRun):
    """A reading network's run."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.handwriting import ReaderConfig, build_reader

        keras.utils.set_random_seed(recipe.seed)
        self.config = ReaderConfig(**recipe.network)
        super().__init__(recipe, folder, build_reader(self.config, recipe.dtype))
        points, counts = tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([None], tf.int32)
        labels, rate = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.float32)
        self._train = tf.function(
            self._train_step,
            input_signature=[points, counts, labels, counts, rate],
            autograph=False,
        )
        self._predict = tf.function(
            lambda points, counts: self.network(
                {"points": points, "counts": counts}, training=False
            ),
            input_signature=[points, counts],
            autograph=False,
        )

    def _train_step(
        self, points: Any, counts: Any, labels: Any, label_lengths: Any, rate: Any
    ) -> Any:
        import tensorflow as tf

        from rnnzoo.ctc import mean_ctc_loss

        with tf.GradientTape() as tape:
            out = self.network({"points": points, "counts": counts}, training=True)
            loss = mean_ctc_loss(out, {"labels": labels, "label_lengths": label_lengths})
        self.descend(tape, loss, rate)
        characters = tf.cast(tf.reduce_sum(label_lengths), tf.float32)
        return loss * characters, characters, tf.reduce_sum(counts), loss

    def update(self, *batch: Any) -> list[Any]:
        return self._train(*batch, np.float32(learning_rate(self.recipe, self.step)))

    def validate(self, lines: list[Line]) -> dict[str, float]:
        """Character and word error rates of the averaged weights, by greedy decoding."""
        import jiwer

        from rnnzoo.ctc import greedy

        said, found = [], []
        order = np.argsort([len(line.points) for line in lines], kind="stable")
        with self.averaged():
            for begin in range(0, len(order), 32):
                some = [lines[n] for n in order[begin : begin + 32]]
                own = [line.points for line in some]
                points, counts, *_ = make_batch(some, own, self.config.spacing)
                out = self._predict(points, counts)
                frames = out["frames"].numpy()
                for line, log_probs, count in zip(
                    some, out["log_probs"].numpy(), frames, strict=True
                ):
                    said.append(line.text)
                    found.append(_PREPROCESSOR.text(greedy(log_probs[:count]).symbols))
        return {"CER": jiwer.cer(said, found), "WER": jiwer.wer(said, found)}


def train_language_model(lines: list[Line], recipe: Recipe, path: Path) -> None:
    """A character n-gram of the texts of lines, unless it is there."""
    if path.exists():
        return
    texts = sorted({line.text for line in lines})
    alphabet = _PREPROCESSOR.config.alphabet
    model = NGram.train(texts, alphabet, recipe.lm_order, recipe.lm_min_counts)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(model.to_bytes())
    temporary.replace(path)


def train(
    name: str, data: Path, folder: Path, overrides: dict[str, Any], checkpoint: str | None = None
) -> None:
    """Train `name`, or go on with the run that `folder` holds."""
    recipe = dataclasses.replace(RECIPES[name], **overrides)
    folder.mkdir(parents=True, exist_ok=True)
    real, joined = (read_lines(data, kind, "train") for kind in ("lines", "joined"))
    valid = read_lines(data, "lines", "valid")
    train_language_model([*real, *joined], recipe, folder / LANGUAGE_MODEL)
    run = Run(recipe, folder)
    run.begin(f"{name}: {len(real):,} lines, {len(joined):,} joined", checkpoint)

    def batch(lines: list[Line], step: int) -> Batch:
        rng = np.random.default_rng([recipe.seed, 7, step])
        points = [changed(line.points, rng, recipe.slant, recipe.stretch) for line in lines]
        return make_batch(lines, points, run.config.spacing)

    def describe(sums: np.ndarray, seconds: float) -> str:
        return f"nats/character {sums[0] / sums[1]:.3f}  {sums[2] / seconds:,.0f} points a second"

    run.loop(
        ahead(batch, plan(real, joined, recipe, run.step)),
        describe,
        lambda: run.validate(valid),
        log_every=50,
        validate_every=250,
    )
