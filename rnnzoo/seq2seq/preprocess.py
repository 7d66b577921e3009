"""Text to padded token ids, and back: a joint SentencePiece vocabulary for both languages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnnzoo.config import check_range, check_types
from rnnzoo.errors import CheckpointError, InputError

VOCABULARY = "vocabulary.model"


@dataclasses.dataclass(frozen=True)
class PreprocessorConfig:
    """How text becomes tokens.

    Attributes
    ----------
    source_language, target_language : str
        ISO 639-1 codes; the source's chooses the rules for splitting sentences.
    reverse_source : bool
        Feed the source's pieces from last to first (Sutskever et al. 2014, section 3.3).
    max_source_tokens : int
        Longer lines are split into sentences, and these, if need be, into clauses.

    Examples
    --------
    >>> from rnnzoo.seq2seq import PreprocessorConfig
    >>> PreprocessorConfig("en", "fr").max_source_tokens
    32
    """

    source_language: str
    target_language: str
    reverse_source: bool = False
    max_source_tokens: int = 32

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, max_source_tokens=(4, 10_000))
        for code in (self.source_language, self.target_language):
            if not re.fullmatch(r"[a-z]{2,3}", code):
                raise ValueError(
                    f"a language must be an ISO 639 code such as 'en', got {code!r:.40}"
                )


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A piece of source text as tokens, EOS included, in reading order.

    `surfaces` has what the text shows for each token: an unknown piece keeps its characters.
    """

    ids: tuple[int, ...]
    surfaces: tuple[str, ...]


class Seq2SeqPreprocessor:
    """Splits, encodes, pads; and writes tokens as text.

    Parameters
    ----------
    config : PreprocessorConfig
    vocabulary : bytes
        A SentencePiece model with PAD, UNK, BOS and EOS pieces.

    Raises
    ------
    CheckpointError
        If `vocabulary` is not such a model.

    Examples
    --------
    >>> import rnnzoo
    >>> preprocessor = rnnzoo.load("seq2seq-en-fr").preprocessor
    >>> preprocessor.encode("Thank you!").surfaces
    ('▁Thank', '▁you', '!', '</s>')
    """

    def __init__(self, config: PreprocessorConfig, vocabulary: bytes) -> None:
        import sentencepiece

        self.config, self.vocabulary = config, vocabulary
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(vocabulary)
            self.vocab_size = int(self._processor.vocab_size())
            for token in range(self.vocab_size):  # a piece may hold bytes that are not text
                self._processor.id_to_piece(token)
        except (RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{VOCABULARY} is not a SentencePiece model ({len(vocabulary):,} bytes): {error}. "
                "Restore the file from where the checkpoint came."
            ) from error
        self.pad_id, self.unk_id = self._processor.pad_id(), self._processor.unk_id()
        self.bos_id, self.eos_id = self._processor.bos_id(), self._processor.eos_id()
        if min(self.pad_id, self.unk_id, self.bos_id, self.eos_id) < 0:
            raise CheckpointError(
                f"{VOCABULARY} lacks one of the pieces PAD, UNK, BOS, EOS; train it with all four"
            )

    # --- text to tokens --------------------------------------------------------------------

    def encode(self, text: str) -> Encoded:
        """The tokens of one segment."""
        pieces = self._processor.encode(text, out_type=str)
        ids = [self._processor.piece_to_id(piece) for piece in pieces]
        return Encoded((*ids, self.eos_id), (*pieces, "</s>"))

    def unknown(self, encoded: Encoded) -> tuple[str, ...]:
        """The characters of a segment that the vocabulary lacks."""
        pairs = zip(encoded.ids, encoded.surfaces, strict=True)
        return tuple(surface.strip() for token, surface in pairs if token == self.unk_id)

    def segments(self, text: str) -> list[list[str]]:
        """A text as lines of segments, each of at most `max_source_tokens` tokens.

        A line that is short enough is one segment; an empty line has none.
        """
        if not isinstance(text, str):
            raise InputError(
                f"expected a text (str) to translate, got {type(text).__name__}: {text!r:.80}"
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"the text is not valid Unicode (a lone surrogate at character {error.start}): "
                "decode its bytes as what they are, for example .decode('latin-1')"
            ) from error
        return [self._split(line.strip()) for line in text.splitlines()]

    def _fits(self, text: str) -> bool:
        """Whether a segment's tokens, EOS included, are few enough; one character always fits."""
        return len(self._processor.encode(text)) < self.config.max_source_tokens or len(text) < 2

    def _split(self, line: str) -> list[str]:
        if not self._processor.encode(line):  # empty, or invisible characters alone
            return []
        if self._fits(line):
            return [line]
        import sentencex

        sentences = sentencex.segment(self.config.source_language, line)
        return [
            part
            for sentence in sentences
            if sentence.strip()
            for part in self._cut(sentence.strip())
        ]

    def _cut(self, sentence: str) -> list[str]:
        """A sentence that is too long, cut after the punctuation or space nearest its middle."""
        if self._fits(sentence):
            return [sentence]
        middle = len(sentence) // 2
        for pattern in (r"[;:,–—)]\s+", r"\s+"):
            ends = [m.end() for m in re.finditer(pattern, sentence)]
            ends = [end for end in ends if 0 < end < len(sentence)]
            near = [end for end in ends if abs(end - middle) < len(sentence) // 4]
            if near:
                middle = min(near, key=lambda end: abs(end - middle))
                break
        halves = sentence[:middle].strip(), sentence[middle:].strip()
        return [part for half in halves if half for part in self._cut(half)]

    def pad(self, rows: Iterable[Sequence[int]]) -> np.ndarray:
        """Rows as one int32 array, padded on the right; at least one column."""
        rows = list(rows)
        out = np.full((len(rows), max([1, *map(len, rows)])), self.pad_id, np.int32)
        for line, row in zip(out, rows, strict=True):
            line[: len(row)] = row
        return out

    def source(self, encoded: Iterable[Encoded]) -> np.ndarray:
        """Source tokens [batch, source] as the network reads them."""
        return self.pad(self._ordered(e.ids) for e in encoded)

    def _ordered(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        return (*ids[-2::-1], *ids[-1:]) if self.config.reverse_source else ids

    def training_pairs(self, sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
        """Token arrays for teacher forcing: `source_tokens`, `target_tokens` (shifted right) and
        `labels`, each [batch, time]."""
        labels = [self.encode(text).ids for text in targets]
        return {
            "source_tokens": self.source(self.encode(text) for text in sources),
            "target_tokens": self.pad((self.bos_id, *row[:-1]) for row in labels),
            "labels": self.pad(labels),
        }

    def reading_order(self, alignment: np.ndarray, length: int) -> np.ndarray:
        """An alignment [target, source] over the network's source order, in reading order."""
        alignment = alignment[:, :length]
        if not self.config.reverse_source:
            return alignment
        return np.concatenate([alignment[:, -2::-1], alignment[:, -1:]], axis=1)

    # --- tokens to text --------------------------------------------------------------------

    def pieces(self, ids: Iterable[int]) -> tuple[str, ...]:
        """The pieces of token ids, as the vocabulary writes them."""
        return tuple(self._processor.id_to_piece(int(i)) for i in ids)

    def copy_unknown(
        self, ids: Sequence[int], alignment: np.ndarray, source: Encoded
    ) -> tuple[list[str], list[int]]:
        """Pieces of a target, each unknown one replaced by an unknown piece of the source.

        Takes the source's unknown pieces in turn of attention (Luong et al. 2015, arXiv
        1410.8206); unknown targets beyond those are left out. Returns the pieces and the
        positions that were kept.
        """
        left = [n for n, token in enumerate(source.ids) if token == self.unk_id]
        pieces, positions = [], []
        for position, token in enumerate(ids):
            if token == self.unk_id:
                if not left:
                    continue
                chosen = max(left, key=lambda n: alignment[position, n])
                left.remove(chosen)
                pieces.append(source.surfaces[chosen])
            else:
                pieces.append(self._processor.id_to_piece(int(token)))
            positions.append(position)
        return pieces, positions

    @staticmethod
    def join(pieces: Iterable[str]) -> str:
        """Text of pieces: `▁` begins a word."""
        return "".join(p for p in pieces if p != "</s>").replace("▁", " ").strip()


def extended_vocabulary(vocabulary: bytes, pieces: Sequence[str]) -> bytes:
    """A SentencePiece model with more pieces, behind the others, so that no number changes.

    A new piece is never split, and is found wherever its text stands; one that begins with `▁`
    only where a word begins. It has to be written as the vocabulary writes text, in its letter
    case.

    Parameters
    ----------
    vocabulary : bytes
    pieces : sequence of str

    Raises
    ------
    InputError
        For a piece that is there already, or has white space in it.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.seq2seq.preprocess import Seq2SeqPreprocessor, extended_vocabulary
    >>> old = rnnzoo.load("seq2seq-en-fr").preprocessor
    >>> more = extended_vocabulary(old.vocabulary, ["▁paracetamol"])
    >>> new = Seq2SeqPreprocessor(old.config, more)
    >>> new.encode("Take paracetamol!").surfaces
    ('▁Take', '▁paracetamol', '!', '</s>')
    """
    import sentencepiece.sentencepiece_model_pb2 as sentencepiece_model

    messages: Any = sentencepiece_model  # made when it is imported
    model = messages.ModelProto()
    model.ParseFromString(vocabulary)
    known = {piece.piece for piece in model.pieces}
    for piece in pieces:
        if piece in known:
            raise InputError(f"new_pieces: {piece!r} is in the vocabulary already")
        if piece != "".join(piece.split()) or not piece.strip("▁"):
            raise InputError(
                f"new_pieces: {piece!r} must be text without white space: \u2581 begins a word"
            )
        kind = messages.ModelProto.SentencePiece.USER_DEFINED
        model.pieces.add(piece=piece, score=0.0, type=kind)
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString()
