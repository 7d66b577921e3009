"""Recipes of the localizers: order of the data, augmentation, loss, members.

Each member is trained apart, on all folds but its own, and validated on that one; of fold "none" on
all, with settings that were chosen with others, and validated on nothing. `release.py` puts the
members' averaged weights side by side into one network. A member may begin with one of a released
checkpoint (`--start-from NAME`, `start_member`). Cross-entropy with label smoothing over locations,
and over membrane-bound or soluble where that is known.

With `logit_adjustment` the loss counts in how much oftener a location is drawn than it occurs among
the data set's own proteins (Menon et al. 2021, arXiv 2007.07314, equation 10; label smoothing is
spread over what is drawn), so that what the network gives are the likelihoods of these; proteins of
several locations are not counted in. With
`teachers`, folders of members' runs, a part of each target is the mean of their likelihoods
(knowledge distillation, Hinton et al. 2015, arXiv 1503.02531, at temperature 1); it is the whole
where there is no label: for proteins of several locations, and where membrane-bound or soluble is
not known. Without teachers the latter give no membrane loss, and the former are told that they are
in one of their locations, whichever the network finds likely: minus the logarithm of the sum of
these likelihoods (Jin and Ghahramani 2002, "Learning with multiple labels").
"""

from __future__ import annotations

import dataclasses
import os
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
    spelled,
    substitute,
)
from recipes.run import Run as BaseRun
from recipes.run import is_run, learning_rate, read_run
from rnnzoo.deeploc.preprocess import PreprocessorConfig, ProteinPreprocessor


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a member; all of it stands on the card."""

    network: dict[str, Any]
    steps: int
    data: str = "deeploc1"
    fold: str = "0"
    start_member: int = 0
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
    logit_adjustment: bool = False
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
        logit_adjustment=True,
    ),
    "deeploc-multiloc": _MULTILOC,
    "deeploc-multiloc-clean": dataclasses.replace(_MULTILOC, data="multiloc-clean"),
}

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_proteins(data: Path, name: str, folder: Path) -> Proteins:
    """A recipe's data set; `folder` keeps what was searched for."""
    if name.startswith("deeploc1+"):
        _, newer, *others = name.split("+")
        if newer not in ("2", "2all") or others not in ([], ["multiloc"]):
            raise SystemExit(f"no data set {name!r}: deeploc1+2, deeploc1+2all, each + multiloc")
        return read_both(data, folder / "homologs.tsv", newer == "2all", bool(others))
    return read_deeploc(data) if name == "deeploc1" else read_multiloc(data, name)


def read_locations(data: str) -> tuple[str, ...]:
    """The names of a data set's locations, in the order of the network's output."""
    return tuple((DEEPLOC_LOCATIONS if data.startswith("deeploc") else MULTILOC_LOCATIONS).values())


NO_FOLD = "none"


def split(proteins: Proteins, recipe: Recipe) -> tuple[Proteins, Proteins]:
    """What a member is trained on and what it is validated on; the test's fold is in neither, and
    homologs of the validation's fold are not among the proteins added. With `NO_FOLD` nothing is
    held out."""
    held_out = {recipe.fold, "5" if recipe.data.startswith("multiloc") else "-"}
    train = np.array([held_out.isdisjoint(fold) for fold in proteins.fold])
    return (
        proteins.take(np.flatnonzero(train)),
        proteins.take(np.flatnonzero(proteins.fold == recipe.fold)),
    )


def _seed(recipe: Recipe) -> tuple[int, int]:
    """The recipe's seed and its fold's number, after the last fold's without one."""
    return recipe.seed, 6 if recipe.fold == NO_FOLD else int(recipe.fold)


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
        rng = np.random.default_rng([*_seed(recipe), number])
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
                labels = proteins.candidates[labelled], proteins.membrane[labelled]
                yield padded, *labels, proteins.teacher_likelihoods[labelled]
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


def logit_offsets(proteins: Proteins, recipe: Recipe) -> np.ndarray:
    """The logarithm of how much oftener each location is drawn than it occurs among the proteins
    of the data set itself, those added aside; zeros without `logit_adjustment`."""
    count = len(proteins.locations)
    if not recipe.logit_adjustment:
        return np.zeros(count, np.float32)
    own = np.array([not fold.startswith(ADDED) for fold in proteins.fold])
    known = proteins.location >= 0
    drawn = np.bincount(proteins.location[known], minlength=count)
    drawn = np.maximum(drawn, round(recipe.least_share * drawn.sum()))
    occurring = np.bincount(proteins.location[known & own], minlength=count)
    log_shares = [np.log(np.maximum(n, 1) / n.sum()) for n in (drawn, occurring)]
    return np.float32(log_shares[0] - log_shares[1])


def teacher_likelihoods(recipe: Recipe, proteins: Proteins, cache: Path) -> np.ndarray:
    """The mean of what the teachers say of proteins: the likelihood of each location, and of being
    membrane-bound if they tell, [protein, locations (+ 1)]. `cache` keeps it."""
    from recipes.deeploc_card import task_of_runs

    tasks, states = [], []
    for teacher in recipe.teachers:
        task, (record,) = task_of_runs([Path(teacher)])
        names, other = task.preprocessor.config.locations, record["recipe"]
        if (
            names != proteins.locations
            or other.get("logit_adjustment", False) != recipe.logit_adjustment
        ):
            raise SystemExit(f"{teacher} has other locations, or another logit_adjustment")
        if task.config.membrane != recipe.network.get("membrane", True):
            raise SystemExit(
                f"{teacher} and its student have to tell the membrane both, or neither"
            )
        tasks.append(task)
        states.append(f"{teacher}, step {record['steps_done']}, {record['seconds']} seconds")
    if cache.exists():
        with np.load(cache) as kept:
            same = kept["teachers"].tolist() == states
            if same and kept["accessions"].tolist() == proteins.accessions:
                return kept["likelihoods"]
    likelihoods = np.mean([_likelihoods(task, proteins) for task in tasks], axis=0)
    partial = cache.with_suffix(".partial.npz")
    np.savez(partial, teachers=states, accessions=proteins.accessions, likelihoods=likelihoods)
    os.replace(partial, cache)
    return likelihoods


def _likelihoods(task: Any, proteins: Proteins) -> np.ndarray:
    found = task.predict(spelled(proteins), batch_size=64, verbose=0)
    membrane = [[one.membrane] if task.config.membrane else [] for one in found]
    return np.array(
        [[*one.likelihoods.values(), *bound] for one, bound in zip(found, membrane, strict=True)],
        np.float32,
    )


def _changed(chain: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < recipe.shorten_share:
        chain = shorten(chain, recipe.kept_ends, rng)
    return substitute(chain, recipe.substitution_rate, rng)


class Run(BaseRun):
    """A member's run: loss and validation; `offsets` are of `logit_offsets`."""

    def __init__(self, recipe: Recipe, folder: Path, offsets: np.ndarray | None = None) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.deeploc import DeepLocConfig, build_network

        seed, fold = _seed(recipe)
        keras.utils.set_random_seed(1000 * seed + fold)
        config = DeepLocConfig(**recipe.network)
        super().__init__(recipe, folder, build_network(config, recipe.dtype))
        self.offsets = np.zeros(config.num_locations, np.float32) if offsets is None else offsets
        residues, labels = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        candidates = tf.TensorSpec([None, None], tf.bool)
        teachers, rate = tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([], tf.float32)
        signature = [residues, candidates, labels, teachers, rate]
        self._train = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._predict = tf.function(
            lambda x: self.network(x, training=False), input_signature=[residues], autograph=False
        )

    def weights_to_start_with(self, checkpoint: str) -> dict[str, np.ndarray]:
        """Of a released ensemble those of the member that the recipe names, as the only one's."""
        values = super().weights_to_start_with(checkpoint)
        count = len({path.split("/")[0] for path in values})
        member = self.recipe.start_member
        if not 0 <= member < count:
            raise SystemExit(f"{checkpoint} has {count} members: start_member={member} is none")
        prefix = f"member_{member}/"
        return {
            f"member_0/{path.removeprefix(prefix)}": value
            for path, value in values.items()
            if path.startswith(prefix)
        }

    def origin(self, checkpoint: str) -> dict[str, Any]:
        """Of a released ensemble what is told of the member that the recipe names; of a run also
        which folds nothing in it has seen."""
        from recipes.deeploc_card import unseen_folds

        start = super().origin(checkpoint)
        made_by = start.get("recipe", {})
        if is_run(checkpoint):
            made_by["unseen_folds"] = sorted(unseen_folds(read_run(Path(checkpoint))[0]))
        if isinstance(made_by.get("members"), list):
            member = self.recipe.start_member
            del start["recipe"]
            start |= {
                "member": f"member {member}, {made_by['members'][member]}",
                "unseen_folds": made_by.get(
                    "unseen_folds_by_member", [[fold] for fold in made_by["folds"]]
                )[member],
            }
        return start

    def _train_step(
        self, residues: Any, candidates: Any, membrane: Any, teachers: Any, rate: Any
    ) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            out = self.network(residues, training=True)
            xent, losses = self._location_losses(out["location"], candidates, teachers)
            loss = tf.reduce_mean(losses)
            if "membrane" in out:
                loss += self.recipe.membrane_weight * self._membrane_loss(
                    out["membrane"], membrane, teachers
                )
        self.descend(tape, loss, rate)
        found = tf.argmax(out["location"], -1)
        of_one = _of_one_location(candidates)
        right = of_one & tf.gather(candidates, found, batch_dims=1)
        counts = [tf.math.count_nonzero(which) for which in (right, of_one, residues)]
        return tf.reduce_sum(tf.where(of_one, xent, 0.0)), *counts, loss

    def _location_losses(self, likelihoods: Any, candidates: Any, teachers: Any) -> Any:
        """Cross-entropy with the labels, of several candidates with any of them; and the loss with
        smoothing and teachers, each [batch]."""
        import tensorflow as tf

        smoothing = self.recipe.label_smoothing
        log_likelihoods = tf.math.log(likelihoods + 1e-8)
        log_probs = tf.nn.log_softmax(log_likelihoods + self.offsets)
        xent = -tf.reduce_logsumexp(tf.where(candidates, log_probs, log_probs.dtype.min), -1)
        losses = (1 - smoothing) * xent - smoothing * tf.reduce_mean(log_probs, -1)
        if self.recipe.teachers:
            share = self._teacher_share(_of_one_location(candidates))
            teachers = teachers[:, : likelihoods.shape[-1]]
            distillation = -tf.reduce_sum(teachers * log_likelihoods, -1)
            losses = (1 - share) * losses + share * distillation
        return xent, losses

    def _membrane_loss(self, likelihood: Any, membrane: Any, teachers: Any) -> Any:
        """Mean binary cross-entropy over the rows with a label, or with teachers over all."""
        import tensorflow as tf

        known, target = membrane >= 0, tf.cast(membrane, tf.float32)
        if self.recipe.teachers:
            share = self._teacher_share(known)
            target = (1 - share) * target + share * teachers[:, -1]
            known = tf.ones_like(known)
        known = tf.cast(known, tf.float32)
        least = 1e-8  # not added: 1 - p + 1e-8 is compiled to (1 + 1e-8) - p, 0 where p is 1
        log_probs = target * tf.math.log(tf.maximum(likelihood, least))
        log_probs += (1 - target) * tf.math.log(tf.maximum(1 - likelihood, least))
        return -tf.reduce_sum(known * log_probs) / tf.maximum(tf.reduce_sum(known), 1.0)

    def _teacher_share(self, labelled: Any) -> Any:
        """How much of each row's target the teachers give."""
        import tensorflow as tf

        return tf.where(labelled, self.recipe.teacher_share, 1.0)

    def update(self, *batch: Any) -> list[Any]:
        residues, candidates, membrane, teachers = batch
        rate = np.float32(learning_rate(self.recipe, self.step))
        return self._train(residues, candidates, membrane.astype(np.int32), teachers, rate)

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
        """Accuracy, cross-entropy and membrane accuracy of the averaged weights; nothing of no
        proteins."""
        if not len(proteins):
            return {}
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


def _of_one_location(candidates: Any) -> Any:
    import tensorflow as tf

    return tf.math.count_nonzero(candidates, -1) == 1


def train(
    name: str, data: Path, folder: Path, overrides: dict[str, Any], checkpoint: str | None = None
) -> None:
    """Train a member of `name`, or go on with the run that `folder` holds."""
    recipe = dataclasses.replace(RECIPES[name], **overrides)
    folder.mkdir(parents=True, exist_ok=True)
    proteins, valid = split(read_proteins(data, recipe.data, folder), recipe)
    if recipe.teachers:
        cache = folder / "teachers.npz"
        proteins.teacher_likelihoods = teacher_likelihoods(recipe, proteins, cache)
    run = Run(recipe, folder, logit_offsets(proteins, recipe))
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
