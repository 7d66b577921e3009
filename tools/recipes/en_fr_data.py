"""The English-French corpus as integer arrays: vocabulary, token ids, word alignments.

Three stages, each kept in the run's folder and made once: a joint SentencePiece unigram
vocabulary, the pairs as token ids, and alignment links between the pieces (eflomal, IBM-1 + HMM
+ fertility), which teach the attention where to look (guided alignment, Chen et al. 2016,
arXiv 1607.01628). Without them the attention of a network of this size had not found the source
after half an hour of training.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PAD_ID, UNK_ID, BOS_ID, EOS_ID = 0, 1, 2, 3
VOCAB_SIZE = 5000


def read_pairs(path: Path) -> list[tuple[str, str, str]]:
    """Rows (English, French, source) of one of the corpus' gzipped tables."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [tuple(line.rstrip("\n").split("\t")) for line in lines]  # type: ignore[misc]


def train_vocabulary(pairs: list[tuple[str, str, str]], path: Path) -> None:
    """Write a joint SentencePiece unigram model of `VOCAB_SIZE` pieces to `path`.

    Tatoeba's sentences count twice: they are fewer and shorter than Europarl's, and most of what
    people type is like them.
    """
    import sentencepiece

    def sentences() -> Iterator[str]:
        for english, french, source in pairs:
            for _ in range(2 if source == "tatoeba" else 1):
                yield english
                yield french

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(),
        model_writer=model,
        vocab_size=VOCAB_SIZE,
        model_type="unigram",
        character_coverage=0.9999,
        pad_id=PAD_ID,
        unk_id=UNK_ID,
        bos_id=BOS_ID,
        eos_id=EOS_ID,
        split_digits=True,
        num_threads=2,
        minloglevel=1,
    )
    path.write_bytes(model.getvalue())


@dataclasses.dataclass
class Ragged:
    """Integer sequences of varied length, stored end to end."""

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: list[list[int]]) -> Ragged:
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        values = np.fromiter((v for row in rows for v in row), np.int16, int(lengths.sum()))
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


@dataclasses.dataclass
class Corpus:
    """Pairs as token ids, ending in EOS; `links[i]` holds, for each target position, the aligned
    source position or -1. `unknown_word` is what a word of unknown characters becomes."""

    source: Ragged
    target: Ragged
    links: Ragged
    is_tatoeba: np.ndarray
    unknown_word: tuple[int, ...] = (UNK_ID,)

    def __len__(self) -> int:
        return len(self.is_tatoeba)

    def save(self, path: Path) -> None:
        arrays: dict[str, np.ndarray] = {"is_tatoeba": self.is_tatoeba}
        for name in ("source", "target", "links"):
            ragged = getattr(self, name)
            arrays[f"{name}_values"], arrays[f"{name}_offsets"] = ragged.values, ragged.offsets
        temporary = path.with_suffix(".partial.npz")
        np.savez(temporary, **arrays)
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Corpus:
        with np.load(path) as arrays:
            parts = {
                name: Ragged(arrays[f"{name}_values"], arrays[f"{name}_offsets"])
                for name in ("source", "target", "links")
            }
            return cls(is_tatoeba=arrays["is_tatoeba"], **parts)


def align(source: list[list[int]], target: list[list[int]]) -> list[list[int]]:
    """For each target piece the position of its source piece, or -1 (eflomal, forward links)."""
    try:
        import eflomal
    except ImportError as error:
        raise SystemExit("word alignment needs eflomal: pip install -e '.[train]'") from error
    lines_source = [" ".join(map(str, row)) + "\n" for row in source]
    lines_target = [" ".join(map(str, row)) + "\n" for row in target]
    with tempfile.TemporaryDirectory() as folder:
        forward, reverse = os.path.join(folder, "forward"), os.path.join(folder, "reverse")
        eflomal.Aligner(n_samplers=1).align(
            lines_source, lines_target, links_filename_fwd=forward, links_filename_rev=reverse
        )
        links = []
        with open(forward) as rows:
            for row, pieces in zip(rows, target, strict=True):
                aligned = [-1] * len(pieces)
                for pair in row.split():
                    source_position, target_position = map(int, pair.split("-"))
                    aligned[target_position] = source_position
                links.append(aligned)
    return links


def prepare(data: Path, run: Path) -> tuple[Path, Corpus]:
    """Vocabulary path and training corpus; made in `run` on the first call."""
    import sentencepiece

    run.mkdir(parents=True, exist_ok=True)
    vocabulary, corpus_path = run / "vocabulary.model", run / "corpus.npz"
    if vocabulary.exists() and corpus_path.exists():
        return vocabulary, _with_unknown_word(Corpus.load(corpus_path), vocabulary)
    pairs = read_pairs(data / "train.tsv.gz")
    if not vocabulary.exists():
        train_vocabulary(pairs, vocabulary)
    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.read_bytes())
    source = processor.encode([english for english, _, _ in pairs])
    target = processor.encode([french for _, french, _ in pairs])
    links = align(source, target)
    corpus = Corpus(
        source=Ragged.of([[*row, EOS_ID] for row in source]),
        target=Ragged.of([[*row, EOS_ID] for row in target]),
        links=Ragged.of([[*row, len(pieces)] for row, pieces in zip(links, source, strict=True)]),
        is_tatoeba=np.array([origin == "tatoeba" for _, _, origin in pairs]),
    )
    corpus.save(corpus_path)
    return vocabulary, _with_unknown_word(corpus, vocabulary)


def _with_unknown_word(corpus: Corpus, vocabulary: Path) -> Corpus:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.read_bytes())
    space = processor.piece_to_id("\u2581")
    return dataclasses.replace(corpus, unknown_word=(space, UNK_ID))
