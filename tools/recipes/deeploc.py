"""Recipes of the localizers: order of the data, augmentation, loss, members.

Each member is trained apart, on all folds but its own, and validated on that one; `release.py`
puts the members' averaged weights side by side into one network. Cross-entropy with label
smoothing over locations, and over membrane-bound or soluble where that is known.

With `match_shares` the loss counts in how much oftener a location is drawn than it occurs among
the data set's own proteins (Menon et al. 2021, arXiv 2007.07314, equation 10), so that what the
network gives are the likelihoods of these. With `teachers` a part of each target is the mean of
what earlier members say (Hinton et al. 2015, arXiv 1503.02531, at temperature 1); for proteins of
several locations it is the whole.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
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
    spelled,
    substitute,
)
from recipes.run import Run as BaseRun
from recipes.run import is_run, learning_rate
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
    max_learning_rate: float = 3e-3
    warmup_steps: int = 100
    label_smoothing: float = 0.05
    membrane_weight: float = 0.5
    shorten_share: float = 0.5
    kept_ends: int = 100
    least_share: float = 0.0
    match_shares: bool = False
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.5
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
        match_shares=True,
    ),
    "deeploc-multiloc": _MULTILOC,
    "deeploc-multiloc-clean": dataclasses.replace(_MULTILOC, data="multiloc-clean"),
}

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_proteins(data: Path, name: str, folder: Path) -> Proteins:
    """A recipe's data set; `folder` keeps what was searched for."""
    if name in ("deeploc1+2", "deeploc1+2all"):
        return read_both(data, folder / "homologs.tsv", several=name == "deeploc1+2all")
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
    are: they cost less, and the attention has less to search.
    """
    step = number = 0
    while True:
        rng = np.random.default_rng([recipe.seed, int(recipe.fold), number])
        number += 1
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
                yield (
                    padded,
                    *(
                        array[labelled]
                        for array in (proteins.location, proteins.membrane, proteins.taught)
                    ),
                )
            step += 1


def with_rare(location: np.ndarray, least_share: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers of all proteins, those of rare locations drawn again until each location has at
    least a `least_share` of those that have one."""
    numbers = [np.arange(len(location))]
    known = location[location >= 0]
    for place in np.unique(known):
        own = np.flatnonzero(location == place)
        missing = round(least_share * len(known)) - len(own)
        if missing > 0:
            numbers.append(rng.choice(own, missing))
    return np.concatenate(numbers)


def share_offsets(proteins: Proteins, recipe: Recipe) -> np.ndarray:
    """The logarithm of how much oftener each location is drawn than it occurs among the proteins
    of the data set itself, those added aside; zeros without `match_shares`."""
    count = len(proteins.locations)
    if not recipe.match_shares:
        return np.zeros(count, np.float32)
    own = np.array([not fold.startswith(ADDED) for fold in proteins.fold])
    known = proteins.location >= 0
    drawn = np.bincount(proteins.location[known], minlength=count)
    drawn = np.maximum(drawn, round(recipe.least_share * drawn.sum()))
    occurring = np.bincount(proteins.location[known & own], minlength=count)
    log_shares = [np.log(np.maximum(n, 1) / n.sum()) for n in (drawn, occurring)]
    return np.float32(log_shares[0] - log_shares[1])


def teach(teachers: Sequence[str], proteins: Proteins, cache: Path) -> np.ndarray:
    """What teachers say of proteins, on the average: likelihood of each location, and of being
    membrane-bound (0 where the network has no such output), [protein, locations + 1]. A teacher is
    the folder of a run or what `rnnzoo.load` takes; `cache` keeps it."""
    if cache.exists():
        with np.load(cache) as kept:
            if list(kept["teachers"]) == list(teachers) and (
                list(kept["accessions"]) == proteins.accessions
            ):
                return kept["taught"]
    taught = np.mean([_said_by(teacher, proteins) for teacher in teachers], axis=0)
    partial = cache.with_suffix(".partial.npz")
    np.savez(partial, teachers=teachers, accessions=proteins.accessions, taught=taught)
    os.replace(partial, cache)
    return taught


def _said_by(teacher: str, proteins: Proteins) -> np.ndarray:
    import rnnzoo
    from recipes.deeploc_card import task_of_runs

    task = task_of_runs([Path(teacher)])[0] if is_run(teacher) else rnnzoo.load(teacher)
    found = task.predict(spelled(proteins), batch_size=64, verbose=0)
    return np.array([[*one.likelihoods.values(), one.membrane or 0.0] for one in found], np.float32)


def _changed(chain: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < recipe.shorten_share:
        chain = shorten(chain, recipe.kept_ends, rng)
    return substitute(chain, recipe.substitution_rate, rng)


class Run(BaseRun):
    """A member's run: loss and validation; `offsets` are of `share_offsets`."""

    def __init__(self, recipe: Recipe, folder: Path, offsets: np.ndarray | None = None) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.deeploc import DeepLocConfig, build_network

        keras.utils.set_random_seed(1000 * recipe.seed + int(recipe.fold))
        config = DeepLocConfig(**recipe.network)
        super().__init__(recipe, folder, build_network(config, recipe.dtype))
        self.offsets = np.zeros(config.num_locations, np.float32) if offsets is None else offsets
        residues, labels = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        taught = tf.TensorSpec([None, None], tf.float32)
        signature = [residues, labels, labels, taught, tf.TensorSpec([], tf.float32)]
        self._train = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._predict = tf.function(
            lambda x: self.network(x, training=False), input_signature=[residues], autograph=False
        )

    def _train_step(
        self, residues: Any, location: Any, membrane: Any, taught: Any, rate: Any
    ) -> Any:
        import tensorflow as tf

        smoothing, placed = self.recipe.label_smoothing, location >= 0
        with tf.GradientTape() as tape:
            out = self.network(residues, training=True)
            log_likelihoods = tf.math.log(out["location"] + 1e-8)
            log_probs = tf.nn.log_softmax(log_likelihoods + self.offsets)
            xent = -tf.gather(log_probs, tf.maximum(location, 0), batch_dims=1)
            losses = (1 - smoothing) * xent - smoothing * tf.reduce_mean(log_probs, -1)
            share = self._teacher_share(placed)
            if self.recipe.teachers:
                told = -tf.reduce_sum(taught[:, :-1] * log_likelihoods, -1)
                losses = (1 - share) * losses + share * told
            loss = tf.reduce_mean(losses)
            if "membrane" in out:
                known = membrane >= 0
                target = tf.cast(membrane, tf.float32)
                if self.recipe.teachers:
                    share = self._teacher_share(known)
                    target = (1 - share) * target + share * taught[:, -1]
                    known = tf.ones_like(known)
                p, known = out["membrane"], tf.cast(known, tf.float32)
                binary = target * tf.math.log(p + 1e-8) + (1 - target) * tf.math.log(1 - p + 1e-8)
                loss -= self.recipe.membrane_weight * (
                    tf.reduce_sum(known * binary) / tf.maximum(tf.reduce_sum(known), 1.0)
                )
        self.descend(tape, loss, rate)
        found = tf.argmax(out["location"], -1, output_type=tf.int32)
        right = tf.math.count_nonzero(found == location)
        rows, real = tf.math.count_nonzero(placed), tf.math.count_nonzero(residues)
        return tf.reduce_sum(tf.where(placed, xent, 0.0)), right, rows, real, loss

    def _teacher_share(self, labelled: Any) -> Any:
        """How much of each row's target the teachers give."""
        import tensorflow as tf

        return tf.where(labelled, self.recipe.teacher_share, 1.0)

    def update(self, *batch: Any) -> list[Any]:
        residues, location, membrane, taught = batch
        rate = np.float32(learning_rate(self.recipe, self.step))
        labels = location.astype(np.int32), membrane.astype(np.int32)
        return self._train(residues, *labels, taught, rate)

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
    if recipe.teachers:
        proteins.taught = teach(recipe.teachers, proteins, folder / "teachers.npz")
    elif (proteins.location < 0).any():
        raise SystemExit(f"{recipe.data} holds proteins that only teachers can label: name some")
    run = Run(recipe, folder, share_offsets(proteins, recipe))
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
