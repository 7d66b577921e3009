"""Recipes of the recognizers: order of the data, augmentation, CTC, validation.

Each pass draws clips of real and of made-up speech in the shares that the recipe names, sorts
them by length into batches, and begins with the shortest (SortaGrad, Amodei et al. 2015, section
3.3). Made-up speech has few voices, so that their speed, pitch and vocal tract are varied more.
"""

from __future__ import annotations

import dataclasses
import gzip
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipes import digits
from recipes.run import Run as BaseRun
from recipes.run import ahead, learning_rate
from recipes.speech_data import (
    ENGINES,
    RATE,
    Clip,
    Corpus,
    changed,
    read_real,
    sentences,
    synthesize,
)
from recipes.vocabularies import VOCABULARIES
from rnnzoo.ctc import NGram
from rnnzoo.deepspeech.preprocess import PreprocessorConfig, SpeechPreprocessor

VALID = {
    "librispeech": "librispeech-dev-clean",
    "speechocean": "speechocean762",
    "commands": "picovoice-s2i",
    "digits": "fsdd",
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a run; all of it stands on the card. `data` is "speech", or the name of a closed
    vocabulary with its own share of every pass: six tenths of that are real clips as they were
    said, four tenths made up, by a voice or joined of real digits."""

    network: dict[str, Any]
    steps: int
    data: str = "speech"
    piper_hours: float = 9.0
    flite_hours: float = 5.0
    synthetic_share: float = 0.6
    late_synthetic_share: float = 0.3
    speechocean_share: float = 0.25
    closed_hours: float = 0.0
    closed_share: float = 0.0
    digit_strings: int = 0
    silence: float = 0.0
    clips_per_pass: int = 2000
    seconds_per_batch: float = 120.0
    max_rows: int = 48
    sorted_passes: int = 3
    speed: float = 0.12
    synthetic_speed: float = 0.25
    max_learning_rate: float = 1e-3
    warmup_steps: int = 300
    average_every: int = 10
    average_decay: float = 0.98
    dtype: str = "mixed_bfloat16"
    lm_order: int = 7
    lm_min_counts: tuple[int, ...] = (1, 1, 1, 2, 2, 3, 3)
    seed: int = 1


_NETWORK = {
    "conv_channels": (32, 32),
    "conv_times": (11, 7),
    "conv_frequencies": (11, 5),
    "time_strides": (3, 1),
    "frequency_strides": (4, 2),
    "num_layers": 3,
    "hidden_dim": 384,
    "dropout": 0.2,
}
_FORWARD = {
    **_NETWORK,
    "num_layers": 4,
    "hidden_dim": 320,
    "bidirectional": False,
    "lookahead": 16,
    "normalization": "running",
}
_CLOSED: dict[str, Any] = {
    "closed_hours": 1.0,
    "closed_share": 0.7,
    "sorted_passes": 0,
    "max_learning_rate": 3e-4,
}
RECIPES = {
    "deepspeech-small": Recipe(network=_NETWORK, steps=8600),
    "deepspeech-streaming": Recipe(network=_FORWARD, steps=12_000),
    "deepspeech-commands": Recipe(network=_FORWARD, steps=2000, data="commands", **_CLOSED),
    "deepspeech-digits": Recipe(
        network={**_FORWARD, "time_masks": 0},  # as long as a digit
        steps=1200,
        data="digits",
        digit_strings=3000,
        silence=0.3,
        **_CLOSED,
    ),
}

LANGUAGE_MODEL = "language_model.ngram"  # in the run's folder, and in the checkpoint

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def share_of(clip: Clip, recipe: Recipe) -> str:
    """Which of the recipe's shares a clip is drawn in; commands are read speech to a recipe that
    has no share of its own for them."""
    if clip.source in ENGINES:
        return "synthetic"
    if clip.source.endswith(f" {recipe.data}"):
        return "made-up closed"
    if recipe.data in VOCABULARIES and clip.source == VOCABULARIES[recipe.data].source:
        return "closed"
    return "speechocean" if clip.source == "speechocean762" else "read"


def draw(clips: list[Clip], recipe: Recipe, step: int, rng: np.random.Generator) -> list[Clip]:
    """The clips of a pass, in the shares of the step."""
    progress = min(1.0, step / recipe.steps)
    synthetic = recipe.synthetic_share + progress * (
        recipe.late_synthetic_share - recipe.synthetic_share
    )
    kinds: dict[str, list[Clip]] = {}
    for clip in clips:
        kinds.setdefault(share_of(clip, recipe), []).append(clip)
    others, closed = 1 - recipe.closed_share, recipe.closed_share
    shares = {
        "synthetic": others * synthetic,
        "speechocean": others * (1 - synthetic) * recipe.speechocean_share,
        "read": others * (1 - synthetic) * (1 - recipe.speechocean_share),
        "closed": 0.6 * closed,
        "made-up closed": 0.4 * closed,
    }
    drawn: list[Clip] = []
    for kind, found in kinds.items():
        count = round(shares[kind] * recipe.clips_per_pass / sum(shares[k] for k in kinds))
        order = itertools.chain.from_iterable(
            rng.permutation(len(found)) for _ in itertools.count()
        )
        drawn += [found[n] for n in itertools.islice(order, count)]
    return drawn


def cut_batches(clips: list[Clip], recipe: Recipe, rng: np.random.Generator) -> list[list[Clip]]:
    """Batches of clips of like length, of a bounded time and number."""
    noise = rng.uniform(0.9, 1.1, len(clips))
    batches: list[list[Clip]] = [[]]
    for n in np.argsort([clip.length * x for clip, x in zip(clips, noise, strict=True)]):
        longest = max([clips[n].length, *(clip.length for clip in batches[-1])]) / RATE
        full = (len(batches[-1]) + 1) * longest > recipe.seconds_per_batch
        if batches[-1] and (full or len(batches[-1]) == recipe.max_rows):
            batches.append([])
        batches[-1].append(clips[n])
    return batches


def plan(clips: list[Clip], recipe: Recipe, start_step: int) -> Iterator[tuple[int, list[Clip]]]:
    """Endless (step, clips of its batch)."""
    step = 0
    for number in itertools.count():
        rng = np.random.default_rng([recipe.seed, number])
        batches = cut_batches(draw(clips, recipe, step, rng), recipe, rng)
        if number >= recipe.sorted_passes:
            rng.shuffle(batches)
        for batch in batches:
            if step >= start_step:
                yield step, batch
            step += 1


def make_batch(
    clips: list[Clip],
    step: int,
    recipe: Recipe,
    sound: Callable[[Clip], np.ndarray],
    preprocessor: SpeechPreprocessor,
) -> Batch:
    """Samples, their lengths, labels and their lengths; the same for the same step."""
    rng = np.random.default_rng([recipe.seed, 7, step])
    chunks = []
    for n, clip in enumerate(clips):
        few_voices = clip.source.split()[0] in (*ENGINES, "fsdd")
        speed = recipe.synthetic_speed if few_voices else recipe.speed
        other = sound(clips[n - 1]) if len(clips) > 1 else None
        own = sound(clip)
        if recipe.silence and rng.random() < 0.5:  # of up to so many seconds, mostly shorter
            own = np.pad(own, (recipe.silence * RATE * rng.random(2) ** 2).astype(int))
        chunks.append(changed(own, rng, speed, other))
    samples, lengths = preprocessor.pad(chunks)
    return (samples, lengths, *preprocessor.pad_text([clip.transcript for clip in clips]))


class Run(BaseRun):
    """A recognizer's run: CTC and validation."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import keras
        import tensorflow as tf

        from rnnzoo.deepspeech import DeepSpeechConfig, build_network

        keras.utils.set_random_seed(recipe.seed)
        super().__init__(
            recipe, folder, build_network(DeepSpeechConfig(**recipe.network), recipe.dtype)
        )
        self.preprocessor = SpeechPreprocessor(PreprocessorConfig())
        samples, lengths = tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)
        labels, rate = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.float32)
        self._train = tf.function(
            self._train_step,
            input_signature=[samples, lengths, labels, lengths, rate],
            autograph=False,
        )
        self._predict = tf.function(
            lambda samples, lengths: self.network(
                {"samples": samples, "lengths": lengths}, training=False
            ),
            input_signature=[samples, lengths],
            autograph=False,
        )

    def _train_step(
        self, samples: Any, lengths: Any, labels: Any, label_lengths: Any, rate: Any
    ) -> Any:
        import tensorflow as tf

        from rnnzoo.ctc import ctc_loss

        with tf.GradientTape() as tape:
            out = self.network({"samples": samples, "lengths": lengths}, training=True)
            nats = ctc_loss(out["log_probs"], out["frames"], labels, label_lengths)
            characters = tf.cast(tf.reduce_sum(label_lengths), tf.float32)
            loss = tf.reduce_sum(nats) / characters
        self.descend(tape, loss, rate)
        return tf.reduce_sum(nats), characters, tf.reduce_sum(lengths), loss

    def update(self, *batch: Any) -> list[Any]:
        return self._train(*batch, np.float32(learning_rate(self.recipe, self.step)))

    def transcribe(self, chunks: list[np.ndarray]) -> list[str]:
        """The averaged weights' greedy transcripts, in the chunks' order."""
        from rnnzoo.ctc import greedy

        order = np.argsort([len(chunk) for chunk in chunks], kind="stable")
        texts: dict[int, str] = {}
        with self.averaged():
            for begin in range(0, len(order), 16):
                rows = order[begin : begin + 16]
                out = self._predict(*self.preprocessor.pad([chunks[n] for n in rows]))
                frames = out["frames"].numpy()
                for n, log_probs, count in zip(rows, out["log_probs"].numpy(), frames, strict=True):
                    texts[n] = self.preprocessor.text(greedy(log_probs[:count]).symbols)
        return [texts[n] for n in range(len(chunks))]

    def validate(self, clips: list[Clip], sound: Callable[[Clip], np.ndarray]) -> dict[str, float]:
        """Word and character error rates by source."""
        import jiwer

        found = self.transcribe([sound(clip) for clip in clips])
        figures = {}
        for name, source in VALID.items():
            rows = [n for n, clip in enumerate(clips) if clip.source == source]
            if not rows:
                continue
            truth, said = [clips[n].transcript for n in rows], [found[n] for n in rows]
            figures[f"{name} WER"] = jiwer.wer(truth, said)
            figures[f"{name} CER"] = jiwer.cer(truth, said)
        return figures


def made_up_speech(data: Path, recipe: Recipe, folder: Path) -> list[Corpus]:
    """The corpora that are spoken for the recipe, kept in a folder for all runs."""
    corpora = []
    for seed, (engine, hours) in enumerate(
        {"piper": recipe.piper_hours, "flite": recipe.flite_hours}.items(), 1
    ):
        own = folder / f"speech-{engine}"
        if hours:
            corpora.append(synthesize(sentences(data, seed=seed), own, hours, engine, engine, seed))
        if recipe.closed_hours:
            said, source = VOCABULARIES[recipe.data].lines(seed), f"{engine} {recipe.data}"
            own = own.with_name(f"{own.name}-{recipe.data}")
            corpora.append(synthesize(said, own, recipe.closed_hours, engine, source, seed))
    return corpora


def train_language_model(data: Path, recipe: Recipe, path: Path) -> None:
    """A character n-gram of the text of LibriSpeech's training part, unless it is there."""
    if path.exists():
        return
    with gzip.open(data / "lm_text.txt.gz", "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in lines]
    model = NGram.train(texts, PreprocessorConfig().alphabet, recipe.lm_order, recipe.lm_min_counts)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(model.to_bytes())
    temporary.replace(path)


def train(
    name: str, data: Path, folder: Path, overrides: dict[str, Any], checkpoint: str | None = None
) -> None:
    """Train `name`, or go on with the run that `folder` holds."""
    recipe = dataclasses.replace(RECIPES[name], **overrides)
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.data not in VOCABULARIES:
        train_language_model(data, recipe, folder / LANGUAGE_MODEL)
    real = read_real(data, folder.parent / "speech-real")
    corpora = [real]
    corpora += made_up_speech(data, recipe, folder.parent)
    if recipe.data == "digits":
        own = folder.parent / "speech-fsdd-digits"
        corpora.append(digits.real_strings(real, own, "fsdd digits", recipe.digit_strings))
    home = {clip: corpus for corpus in corpora for clip in corpus.clips}

    def sound(clip: Clip) -> np.ndarray:
        return home[clip].samples(clip)

    clips = [clip for clip in home if clip.split == "train"]
    valid = [clip for clip in real.clips if clip.split == "valid"]
    if recipe.data == "digits":
        valid += [clip for clip in clips if clip.speaker == digits.VALID_SPEAKER]
        clips = [clip for clip in clips if clip.speaker != digits.VALID_SPEAKER]
    else:  # digits are under another licence
        clips = [clip for clip in clips if clip.source != "fsdd"]
    run = Run(recipe, folder)
    hours = sum(clip.length for clip in clips) / RATE / 3600
    run.begin(f"{name}: {len(clips):,} clips, {hours:.1f} hours", checkpoint)
    calls = ((batch, step) for step, batch in plan(clips, recipe, run.step))

    def describe(sums: np.ndarray, seconds: float) -> str:
        return (
            f"nats/character {sums[0] / sums[1]:.3f}  "
            f"{sums[2] / RATE / seconds:,.0f} s of speech a second"
        )

    run.loop(
        ahead(lambda batch, step: make_batch(batch, step, recipe, sound, run.preprocessor), calls),
        describe,
        lambda: run.validate(valid, sound),
        log_every=50,
        validate_every=500,
    )
