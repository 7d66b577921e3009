"""Text to tokens and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnzoo.errors import CheckpointError, InputError
from rnnzoo.seq2seq import PreprocessorConfig, Seq2SeqPreprocessor

WORDS = st.lists(
    st.sampled_from(["Hello", "the", "Commission", "café", "l'eau", "!", "42"]), max_size=60
)


@pytest.fixture(scope="module")
def preprocessor(translator):
    return translator.preprocessor


@given(text=st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_becomes_tokens_that_name_their_characters(preprocessor, text):
    for line in preprocessor.segments(text):
        for segment in line:
            encoded = preprocessor.encode(segment)
            assert (
                len(encoded.ids) == len(encoded.surfaces) <= preprocessor.config.max_source_tokens
            )
            assert encoded.ids[-1] == preprocessor.eos_id
            assert all(0 < token < preprocessor.vocab_size for token in encoded.ids)
            unknown = preprocessor.unknown(encoded)
            assert len(unknown) == encoded.ids.count(preprocessor.unk_id)


@given(words=WORDS)
@settings(max_examples=100, deadline=None)
def test_known_text_survives_the_round_trip_and_splitting_loses_no_word(preprocessor, words):
    text = " ".join(words)
    segments = [segment for line in preprocessor.segments(text) for segment in line]
    assert " ".join(segments).split() == words
    for segment in segments:
        assert preprocessor.join(preprocessor.encode(segment).surfaces) == segment


def test_a_long_text_is_split_at_sentences(preprocessor):
    text = "Dr. Smith went home. " * 9 + "\n\nIt was late."
    lines = preprocessor.segments(text)
    assert lines[0] == ["Dr. Smith went home."] * 9
    assert lines[1:] == [[], ["It was late."]]


def test_a_word_without_end_is_cut(preprocessor):
    (line,) = preprocessor.segments("x" * 500)
    assert "".join(line) == "x" * 500
    assert len(line) > 1


def test_unknown_pieces_are_copied_by_attention(preprocessor):
    source = preprocessor.encode("I like 😀 and 日本語")
    places = [n for n, token in enumerate(source.ids) if token == preprocessor.unk_id]
    target = [preprocessor.unk_id, 50, preprocessor.unk_id, preprocessor.unk_id]
    alignment = np.zeros((4, len(source.ids)))
    alignment[0, places[1]] = alignment[2, places[0]] = 1
    pieces, kept = preprocessor.copy_unknown(target, alignment, source)
    assert (pieces[0], pieces[2]) == ("日本語", "😀")
    assert kept == [0, 1, 2]  # there is no third unknown piece to copy


def test_reversed_source_and_its_alignment(vocabulary):
    reverse = Seq2SeqPreprocessor(PreprocessorConfig("en", "fr", reverse_source=True), vocabulary)
    encoded = reverse.encode("the cat runs")
    fed = reverse.source([encoded])[0]
    assert tuple(fed) == (*encoded.ids[-2::-1], encoded.ids[-1])
    alignment = np.arange(len(fed))[None]
    assert reverse.reading_order(alignment, len(fed)).tolist() == [
        [*range(len(fed) - 2, -1, -1), len(fed) - 1]
    ]


def test_training_pairs_are_shifted(vocabulary):
    preprocessor = Seq2SeqPreprocessor(PreprocessorConfig("en", "fr"), vocabulary)
    arrays = preprocessor.training_pairs(["the cat", "a"], ["le chat", "un petit chien"])
    bos, eos = preprocessor.bos_id, preprocessor.eos_id
    assert (arrays["target_tokens"][:, 0] == bos).all()
    np.testing.assert_array_equal(arrays["target_tokens"][1, 1:], arrays["labels"][1, :-1])
    assert arrays["labels"][1, -1] == eos


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100, b"\x0a\x03abc"])
def test_a_file_that_is_no_vocabulary_is_refused(content):
    with pytest.raises(CheckpointError, match="SentencePiece"):
        Seq2SeqPreprocessor(PreprocessorConfig("en", "fr"), content)


def test_what_is_not_text_is_refused(preprocessor):
    with pytest.raises(InputError, match="int"):
        preprocessor.segments(3)
    with pytest.raises(ValueError, match="max_source_tokens"):
        PreprocessorConfig("en", "fr", max_source_tokens=1)
