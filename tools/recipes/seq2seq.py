"""Recipes of `seq2seq-en-fr` and `seq2seq-en-fr-sutskever`: data order, loss, schedule, loop.

Maximum likelihood with label smoothing; Adam with a linear warm-up and a linear decay to zero;
word alignments guide the attention while it is young. What recipes share stands in `run.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes.en_fr_data import BOS_ID, PAD_ID, VOCAB_SIZE, Corpus, prepare, read_pairs
from recipes.run import Run as BaseRun
from recipes.run import learning_rate


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a run; all of it stands on the card."""

    network: dict[str, Any]
    steps: int
    tokens_per_batch: int = 2000
    max_learning_rate: float = 2e-3
    warmup_steps: int = 500
    label_smoothing: float = 0.1
    guide_weight: float = 1.0
    guide_steps: int = 5000
    short_steps: int = 1000
    tatoeba_share: float = 0.7
    late_tatoeba_share: float = 0.8
    unknown_share: float = 0.02
    average_every: int = 10
    average_decay: float = 0.99
    reverse_source: bool = False
    dtype: str = "mixed_bfloat16"
    seed: int = 1


RECIPES = {
    "seq2seq-en-fr": Recipe(
        network={
            "vocab_size": VOCAB_SIZE,
            "embedding_dim": 256,
            "encoder_dim": 512,
            "decoder_dim": 448,
            "attention_dim": 256,
        },
        steps=28800,
    ),
    "seq2seq-en-fr-sutskever": Recipe(
        network={
            "vocab_size": VOCAB_SIZE,
            "embedding_dim": 256,
            "encoder_dim": 368,
            "decoder_dim": 368,
            "num_encoder_layers": 2,
            "num_bidirectional_layers": 0,
            "attention": None,
            "dropout": 0.15,
        },
        steps=16200,
        short_steps=3500,
        guide_weight=0.0,
        reverse_source=True,
    ),
}

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def pad(rows: list[np.ndarray], value: int, width: int | None = None) -> np.ndarray:
    """Rows side by side, `value` to the right of the shorter ones."""
    out = np.full((len(rows), width or max(map(len, rows))), value, np.int32)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out


def collate(
    corpus: Corpus, rows: np.ndarray, reverse_source: bool, unknown: np.ndarray | None = None
) -> Batch:
    """Source, shifted target, target and links, each [batch, time], of some of the pairs.

    Where `unknown` is 1 or 2, an unknown word is put on both sides before EOS, or before the last
    piece if the two sides end alike: so the network learns to carry over what its vocabulary
    lacks, and the decoder can copy it.
    """
    source, target = [corpus.source[i] for i in rows], [corpus.target[i] for i in rows]
    links = [corpus.links[i] for i in rows]
    for n in np.flatnonzero(unknown) if unknown is not None else ():
        back = int(unknown[n])  # type: ignore[index]
        if len(links[n]) < back or links[n][-back] != len(source[n]) - back:
            back = 1
        at, target_at = len(source[n]) - back, len(target[n]) - back
        moved = np.where(links[n] >= at, links[n] + 2, links[n])
        links[n] = np.insert(moved, target_at, [at, at + 1])
        source[n] = np.insert(source[n], at, corpus.unknown_word)
        target[n] = np.insert(target[n], target_at, corpus.unknown_word)
    if reverse_source:  # Sutskever et al. 2014, section 3.3
        source = [np.concatenate([row[-2::-1], row[-1:]]) for row in source]
    target_in = [np.concatenate([[BOS_ID], row[:-1]]) for row in target]
    return pad(source, PAD_ID), pad(target_in, PAD_ID), pad(target, PAD_ID), pad(links, -1)


def batches(corpus: Corpus, recipe: Recipe, start_step: int) -> Iterator[Batch]:
    """Endless batches of about `tokens_per_batch` target tokens, pairs of a like length together.

    Data come in passes: each draws all of Tatoeba and as much of Europarl as the share asks for,
    going through Europarl in order of a fixed shuffle. The first `short_steps` take Tatoeba alone.
    """
    lengths = np.maximum(corpus.source.lengths, corpus.target.lengths)
    tatoeba, europarl = np.flatnonzero(corpus.is_tatoeba), np.flatnonzero(~corpus.is_tatoeba)
    np.random.default_rng(recipe.seed).shuffle(europarl)
    step, used = 0, 0
    number = 0
    while True:
        rng = np.random.default_rng([recipe.seed, number])
        number += 1
        rows = tatoeba
        if step >= recipe.short_steps:
            late = step > 0.7 * recipe.steps
            share = recipe.late_tatoeba_share if late else recipe.tatoeba_share
            count = int(len(tatoeba) * (1 - share) / share)
            rows = np.concatenate(
                [tatoeba, np.take(europarl, range(used, used + count), mode="wrap")]
            )
            used += count
        rows = rows[np.argsort(lengths[rows] + rng.uniform(0, 0.99, len(rows)), kind="stable")]
        running, begin, cuts = 0, 0, []
        for n, length in enumerate(lengths[rows]):
            running = (n - begin + 1) * int(length)
            if running > recipe.tokens_per_batch and n > begin:
                cuts.append((begin, n))
                begin = n
        cuts.append((begin, len(rows)))
        rng.shuffle(cuts)
        for first, last in cuts:
            chosen = rng.random(last - first) < recipe.unknown_share
            unknown = np.where(chosen, rng.integers(1, 3, last - first), 0)
            if step >= start_step:
                yield collate(corpus, rows[first:last], recipe.reverse_source, unknown)
            step += 1


def smoothed_cross_entropy(logits: Any, target: Any, smoothing: float) -> tuple[Any, Any]:
    """Label-smoothed and plain cross-entropy, [batch, time], with the gradient of the first.

    The gradient softmax(z) - (1 - e) onehot - e / V is written out: left to automatic
    differentiation it took a third of a training step.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def loss(z: Any) -> tuple[Any, Any]:
        vocab = z.shape[-1]
        flat = tf.reshape(z, [-1, vocab])
        gold_at = tf.stack([tf.range(tf.size(target)), tf.reshape(target, [-1])], -1)
        normaliser = tf.reduce_logsumexp(flat, -1)
        gold = tf.gather_nd(flat, gold_at)
        plain = normaliser - gold
        smoothed = plain
        if smoothing:
            smoothed += smoothing * (gold - tf.reduce_mean(flat, -1))

        def gradient(d_smoothed: Any, _: Any) -> Any:
            d = tf.reshape(d_smoothed, [-1])
            dz = d[:, None] * (tf.exp(flat - normaliser[:, None]) - smoothing / vocab)
            dz = tf.tensor_scatter_nd_sub(dz, gold_at, d * (1.0 - smoothing))
            return tf.reshape(dz, tf.shape(z))

        shape = tf.shape(target)
        return (tf.reshape(smoothed, shape), tf.reshape(plain, shape)), gradient

    return loss(logits)


class Run(BaseRun):
    """A translator's run: loss, guided alignment, validation."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.seq2seq import Seq2SeqConfig, build_network

        keras.utils.set_random_seed(recipe.seed)
        super().__init__(
            recipe, folder, build_network(Seq2SeqConfig(**recipe.network), recipe.dtype)
        )
        int_matrix = tf.TensorSpec([None, None], tf.int32)
        scalar = tf.TensorSpec([], tf.float32)
        self._train = tf.function(
            self._train_step, input_signature=[int_matrix] * 4 + [scalar] * 2, autograph=False
        )
        self._measure = tf.function(self._losses, input_signature=[int_matrix] * 4, autograph=False)

    def _losses(self, source: Any, target_in: Any, target: Any, links: Any, training: bool = False):
        """Sums over tokens: cross-entropy, smoothed loss, guide loss, entropy of the alignment;
        and the counts of tokens and of links."""
        import tensorflow as tf

        out = self.network({"source_tokens": source, "target_tokens": target_in}, training=training)
        logits, alignment = out["logits"], out["alignment"]
        real = tf.cast(target != PAD_ID, tf.float32)
        smoothing = self.recipe.label_smoothing if training else 0.0
        smoothed, xent = smoothed_cross_entropy(logits, target, smoothing)
        linked = tf.cast(links >= 0, tf.float32)
        at_link = tf.gather(alignment, tf.maximum(links, 0), batch_dims=2)
        guide = -tf.math.log(at_link + 1e-6) * linked
        entropy = -tf.reduce_sum(alignment * tf.math.log(alignment + 1e-9), -1)
        return (
            tf.reduce_sum(xent * real),
            tf.reduce_sum(smoothed * real),
            tf.reduce_sum(guide),
            tf.reduce_sum(entropy * real),
            tf.reduce_sum(real),
            tf.reduce_sum(linked),
        )

    def _train_step(
        self, source: Any, target_in: Any, target: Any, links: Any, guide_weight: Any, rate: Any
    ):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            sums = self._losses(source, target_in, target, links, training=True)
            _xent, smoothed, guide, _entropy, tokens, linked = sums
            loss = smoothed / tokens
            if self.recipe.guide_weight:
                loss += guide_weight * guide / tf.maximum(linked, 1.0)
        self.descend(tape, loss, rate)
        return *sums, loss

    def update(self, *batch: Any) -> list[Any]:
        rate = np.float32(learning_rate(self.recipe, self.step))
        return self._train(*batch, np.float32(self.guide_weight()), rate)

    def guide_weight(self) -> float:
        return self.recipe.guide_weight * max(0.0, 1 - self.step / self.recipe.guide_steps)

    def validate(self, corpus: Corpus) -> dict[str, float]:
        """Cross-entropy per piece and the attention's entropy of the averaged weights."""
        result = {}
        with self.averaged():
            for name, rows in (
                ("tatoeba", np.flatnonzero(corpus.is_tatoeba)),
                ("europarl", np.flatnonzero(~corpus.is_tatoeba)),
            ):
                rows = rows[np.argsort(corpus.target.lengths[rows])]
                sums = np.zeros(6)
                for begin in range(0, len(rows), 125):
                    batch = collate(corpus, rows[begin : begin + 125], self.recipe.reverse_source)
                    sums += [float(s) for s in self._measure(*batch)]
                result[name] = sums[0] / sums[4]
                result[f"{name}_attention_entropy"] = sums[3] / sums[4]
        return result


def validation_corpus(data: Path, vocabulary: Path) -> Corpus:
    """The validation pairs as token ids, without alignment links."""
    import sentencepiece

    from recipes.en_fr_data import EOS_ID, Ragged

    pairs = read_pairs(data / "valid.tsv.gz")
    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.read_bytes())
    source = [[*row, EOS_ID] for row in processor.encode([p[0] for p in pairs])]
    target = [[*row, EOS_ID] for row in processor.encode([p[1] for p in pairs])]
    return Corpus(
        Ragged.of(source),
        Ragged.of(target),
        Ragged.of([[-1] * len(row) for row in target]),
        np.array([p[2] == "tatoeba" for p in pairs]),
    )


def train(
    name: str, data: Path, folder: Path, overrides: dict[str, Any], checkpoint: str | None = None
) -> None:
    """Train `name`, or go on with the run that `folder` holds, to the recipe's last step.

    A new run begins with the weights and the vocabulary of `checkpoint`, if one is named.
    """
    recipe = dataclasses.replace(RECIPES[name], **overrides)
    if checkpoint:
        take_vocabulary(checkpoint, folder)
    vocabulary, corpus = prepare(data, folder)
    valid = validation_corpus(data, vocabulary)
    run = Run(recipe, folder)
    run.begin(f"{name}: {len(corpus):,} pairs", checkpoint)

    def describe(sums: np.ndarray, seconds: float) -> str:
        return (
            f"xent {sums[0] / sums[4]:.3f}  guide {sums[2] / max(sums[5], 1):.3f}  "
            f"entropy {sums[3] / sums[4]:.2f}  {sums[4] / seconds:,.0f} tokens/s"
        )

    run.loop(batches(corpus, recipe, run.step), describe, lambda: run.validate(valid))


def take_vocabulary(checkpoint: str, folder: Path) -> None:
    """Put a checkpoint's vocabulary into a new run, whose corpus is then made with it."""
    from rnnzoo.registry import locate
    from rnnzoo.seq2seq.preprocess import VOCABULARY

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / VOCABULARY
    if not target.exists():
        target.write_bytes(locate(checkpoint).asset(VOCABULARY).read_bytes())
