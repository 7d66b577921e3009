"""Recipes of the localizers: order of the data, augmentation, loss, members.

Each member is trained apart, on all folds but its own, and validated on that one; `release.py`
puts the members' averaged weights side by side into one network. Cross-entropy with label
smoothing over locations, and over membrane-bound or soluble where that is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.protein_data import (
    ADDED,
    DEEPLOC_LOCATIONS,
    MULTILOC_LOCATIONS,
    Proteins,
    read_both,
    read_deeploc,
    read_multiloc,
    shorten,
    substitute,
)
from recipes.run import Run as BaseRun
from recipes.run import learning_rate
from rnnzoo.deeploc.preprocess import PreprocessorConfig, ProteinPreprocessor


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a member; all of it stands on the card."""

    network: dict[str, Any]
    steps: int
    data: str = "deeploc1"
    fold: str = "0"
    residues_per_batch: int = 32_000
    max_rows: int = 64
    max_length: int = 1000
    short_steps: int = 1500
    short_length: int = 240
    own_steps: int = 0
    max_learning_rate: float = 3e-3
    warmup_steps: int = 100
    label_smoothing: float = 0.05
    membrane_weight: float = 0.5
    shorten_share: float = 0.5
    kept_ends: int = 100
    least_share: float = 0.0
    substitution_rate: float = 0.05
    average_every: int = 5
    average_decay: float = 0.98
    dtype: str = "mixed_bfloat16"
    seed: int = 1


_NETWORK = {
    "num_filters": 20,
    "conv_dim": 128,
    "hidden_dim": 128,
    "attention_dim": 64,
    "decoder_dim": 256,
    "dense_dim": 128,
    "dropout": 0.3,
    "input_dropout": 0.1,
}
_MULTILOC = Recipe(
    network={
        **_NETWORK,
        "conv_dim": 96,
        "hidden_dim": 96,
        "num_locations": 11,
        "membrane": False,
        "attention_steps": 0,
    },
    steps=2600,
    data="multiloc",
    fold="4",
    short_steps=1200,
    least_share=0.02,
)
RECIPES = {
    "deeploc-attn": Recipe(
        network=_NETWORK,
        steps=12_000,
        data="deeploc1+2",
        short_steps=2500,
        max_learning_rate=2e-3,
        substitution_rate=0.15,
        least_share=0.03,
    ),
    "deeploc-multiloc": _MULTILOC,
    "deeploc-multiloc-clean": dataclasses.replace(_MULTILOC, data="multiloc-clean"),
}

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def read_proteins(data: Path, name: str, folder: Path) -> Proteins:
    """A recipe's data set; `folder` keeps what was searched for."""
    if name == "deeploc1+2":
        return read_both(data, folder / "homologs.tsv")
    return read_deeploc(data) if name == "deeploc1" else read_multiloc(data, name)


def read_locations(data: str) -> tuple[str, ...]:
    """The names of a data set's locations, in the order of the network's output."""
    return tuple((DEEPLOC_LOCATIONS if data.startswith("deeploc") else MULTILOC_LOCATIONS).values())


def split(proteins: Proteins, recipe: Recipe) -> tuple[Proteins, Proteins]:
    """What a member is trained on and what it is validated on; the test's fold is in neither, and
    homologs of the validation's fold are not among the proteins added."""
    held_out = {recipe.fold, "5" if recipe.data.startswith("multiloc") else "-"}
    train = np.array([held_out.isdisjoint(fold) for fold in proteins.fold])
    return (
        proteins.take(np.flatnonzero(train)),
        proteins.take(np.flatnonzero(proteins.fold == recipe.fold)),
    )


def cut_batches(lengths: np.ndarray, recipe: Recipe) -> list[tuple[int, int]]:
    """Where batches of chains in order of length begin and end."""
    cuts, begin = [], 0
    for n in range(1, len(lengths) + 1):
        full = n == len(lengths) or (n + 1 - begin) * int(lengths[n]) > recipe.residues_per_batch
        if full or n - begin == recipe.max_rows:
            cuts.append((begin, n))
            begin = n
    return cuts


def batches(proteins: Proteins, recipe: Recipe, start_step: int) -> Iterator[Batch]:
    """Endless batches of chains of like length, each changed anew in every pass.

    The passes that begin before `short_steps` see only the ends of the chains, where most signals
    are: they cost less, and the attention has less to search. Those that begin in the last
    `own_steps` see none of the proteins that were added.
    """
    step = number = 0
    while True:
        rng = np.random.default_rng([recipe.seed, int(recipe.fold), number])
        number += 1
        if step >= recipe.steps - recipe.own_steps:
            own = [not fold.startswith(ADDED) for fold in proteins.fold]
            proteins = proteins.take(np.flatnonzero(own))
        length = recipe.short_length if step < recipe.short_steps else recipe.max_length
        preprocessor = ProteinPreprocessor(PreprocessorConfig(proteins.locations, length))
        drawn = with_rare(proteins.location, recipe.least_share, rng)
        chains = [_changed(proteins.chains[n], recipe, rng) for n in drawn]
        chains = [preprocessor.cut(chain) for chain in chains]
        lengths = np.array([len(chain) for chain in chains])
        order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths)), kind="stable")
        cuts = cut_batches(np.maximum.accumulate(lengths[order]), recipe)
        rng.shuffle(cuts)
        for first, last in cuts:
            rows = order[first:last]
            if step >= start_step:
                padded, labelled = preprocessor.pad([chains[n] for n in rows]), drawn[rows]
                yield padded, proteins.location[labelled], proteins.membrane[labelled]
            step += 1


def with_rare(location: np.ndarray, least_share: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers of all proteins, those of rare locations drawn again until each location has at
    least a `least_share` of what there was."""
    numbers = [np.arange(len(location))]
    for place in np.unique(location):
        own = np.flatnonzero(location == place)
        missing = round(least_share * len(location)) - len(own)
        if missing > 0:
            numbers.append(rng.choice(own, missing))
    return np.concatenate(numbers)


def _changed(chain: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < recipe.shorten_share:
        chain = shorten(chain, recipe.kept_ends, rng)
    return substitute(chain, recipe.substitution_rate, rng)


class Run(BaseRun):
    """A member's run: loss and validation."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.deeploc import DeepLocConfig, build_network

        keras.utils.set_random_seed(1000 * recipe.seed + int(recipe.fold))
        super().__init__(
            recipe, folder, build_network(DeepLocConfig(**recipe.network), recipe.dtype)
        )
        residues, labels = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        signature = [residues, labels, labels, tf.TensorSpec([], tf.float32)]
        self._train = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._predict = tf.function(
            lambda x: self.network(x, training=False), input_signature=[residues], autograph=False
        )

    def _train_step(self, residues: Any, location: Any, membrane: Any, rate: Any) -> Any:
        import tensorflow as tf

        smoothing = self.recipe.label_smoothing
        with tf.GradientTape() as tape:
            out = self.network(residues, training=True)
            log_probs = tf.math.log(out["location"] + 1e-8)
            xent = -tf.gather(log_probs, location, batch_dims=1)
            loss = tf.reduce_mean(
                (1 - smoothing) * xent - smoothing * tf.reduce_mean(log_probs, -1)
            )
            if "membrane" in out:
                known = tf.cast(membrane >= 0, tf.float32)
                p = tf.where(membrane == 1, out["membrane"], 1 - out["membrane"])
                loss -= self.recipe.membrane_weight * (
                    tf.reduce_sum(known * tf.math.log(p + 1e-8))
                    / tf.maximum(tf.reduce_sum(known), 1.0)
                )
        self.descend(tape, loss, rate)
        found = tf.argmax(out["location"], -1, output_type=tf.int32)
        right = tf.reduce_sum(tf.cast(found == location, tf.float32))
        rows, real = tf.size(location), tf.math.count_nonzero(residues)
        return tf.reduce_sum(xent), right, rows, real, loss

    def update(self, *batch: Any) -> list[Any]:
        residues, location, membrane = batch
        rate = np.float32(learning_rate(self.recipe, self.step))
        return self._train(residues, location.astype(np.int32), membrane.astype(np.int32), rate)

    def predict(self, proteins: Proteins) -> dict[str, np.ndarray]:
        """Likelihoods of the averaged weights, in the proteins' order."""
        preprocessor = ProteinPreprocessor(PreprocessorConfig(proteins.locations))
        chains = [preprocessor.cut(chain) for chain in proteins.chains]
        order = np.argsort([len(chain) for chain in chains], kind="stable")
        found: dict[str, list[np.ndarray]] = {}
        with self.averaged():
            for begin in range(0, len(order), 64):
                out = self._predict(preprocessor.pad([chains[n] for n in order[begin:][:64]]))
                for name in out.keys() - {"importance"}:
                    found.setdefault(name, []).append(out[name].numpy())
        back = np.argsort(order)
        return {name: np.concatenate(parts)[back] for name, parts in found.items()}

    def validate(self, proteins: Proteins) -> dict[str, float]:
        """Accuracy, cross-entropy and membrane accuracy of the averaged weights."""
        out = self.predict(proteins)
        likelihood = out["location"][np.arange(len(proteins)), proteins.location]
        figures = {
            "accuracy": float((out["location"].argmax(1) == proteins.location).mean()),
            "xent": float(-np.log(likelihood + 1e-8).mean()),
        }
        if "membrane" in out:
            known = proteins.membrane >= 0
            same = (out["membrane"][known] > 0.5) == (proteins.membrane[known] == 1)
            figures["membrane"] = float(same.mean())
        return figures


def train(
    name: str, data: Path, folder: Path, overrides: dict[str, Any], checkpoint: str | None = None
) -> None:
    """Train a member of `name`, or go on with the run that `folder` holds."""
    recipe = dataclasses.replace(RECIPES[name], **overrides)
    folder.mkdir(parents=True, exist_ok=True)
    proteins, valid = split(read_proteins(data, recipe.data, folder), recipe)
    run = Run(recipe, folder)
    run.begin(f"{name}, fold {recipe.fold}: {len(proteins):,} proteins", checkpoint)

    def describe(sums: np.ndarray, seconds: float) -> str:
        return (
            f"xent {sums[0] / sums[2]:.3f}  accuracy {sums[1] / sums[2]:.3f}  "
            f"{sums[3] / seconds:,.0f} residues/s"
        )

    run.loop(
        batches(proteins, recipe, run.step),
        describe,
        lambda: run.validate(valid),
        log_every=50,
        validate_every=250,
    )
