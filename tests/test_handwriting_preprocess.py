"""Text to characters and lines."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnzoo.errors import InputError
from rnnzoo.handwriting import HandwritingPreprocessor, PreprocessorConfig

WRITE = HandwritingPreprocessor(PreprocessorConfig())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Où est la gare ?", "Ou est la gare ?"),
        ("“Quoted” – it’s…", '"Quoted" - it\'s...'),
        ("Straße, Łódź, Ærø", "Strasse, Lodz, AEro"),
        ("ﬁne\u00a0print", "fine print"),
    ],
)
def test_accents_are_folded_and_what_looks_alike_is_written(text, written):
    assert WRITE.written(text) == written


def test_what_cannot_be_written_is_named_or_skipped():
    with pytest.raises(InputError, match=r"'@', '_', '字'.*skip_unknown=True"):
        WRITE.written("a_b@字")
    assert WRITE.written("a_b@字c", skip_unknown=True) == "abc"
    with pytest.raises(InputError, match="expected text to write, got int"):
        WRITE.written(7)


def test_long_text_is_broken_at_spaces():
    text = "The quick brown fox jumps over the lazy dog, and so on.\n\nYours"
    lines = WRITE.lines(text, width=20)
    assert lines == ["The quick brown fox", "jumps over the lazy", "dog, and so on.", "", "Yours"]
    assert WRITE.lines("") == [""]
    assert WRITE.lines("a well-known word", width=8) == ["a well-k", "nown", "word"]
    assert WRITE.lines("a well-known word", width=12) == ["a well-known", "word"]
    assert WRITE.lines("is well-known here", width=10) == ["is", "well-known", "here"]
    assert WRITE.lines("x" * 45, width=20) == ["x" * 20, "x" * 20, "x" * 5]


@given(st.text(alphabet=WRITE.config.alphabet + "\n", max_size=80), st.integers(1, 50))
def test_lines_hold_all_words_and_are_never_too_long(text, width):
    lines = WRITE.lines(text, width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(text.split())


def test_characters_are_padded_by_one():
    characters, counts = WRITE.pad(["ab", "", "zA9"])
    assert characters.shape == (3, 4) and counts.tolist() == [2, 0, 3]
    assert characters[0].tolist() == [1, 2, 0, 0]
    assert (characters[:, -1] == 0).all()
    assert WRITE.numbers(WRITE.config.alphabet) == list(range(1, 75))


def test_an_alphabet_has_each_character_once():
    with pytest.raises(ValueError, match="each once"):
        PreprocessorConfig(alphabet="aab")


def test_what_the_alphabet_has_is_not_folded():
    german = HandwritingPreprocessor(
        PreprocessorConfig(alphabet="abdefurs\u00df\u00e4\u00f6\u00fc \u00e9\u201c")
    )
    for text in ("für", "daß", "é", "\u201c"):
        assert german.written(text) == text
        assert german.written(unicodedata.normalize("NFD", text)) == text
    assert german.written("fêr") == "fer"
