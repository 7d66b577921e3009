"""Translating: what people type, and what they get."""

import re

import numpy as np
import pytest
from conftest import EXAMPLES

from rnnzoo.errors import InputError, MissingDependencyError


def test_greedy_beam_and_sampling_all_translate(any_translator):
    text = "I am happy."
    beam, greedy = any_translator.predict(text), any_translator.predict(text, beam_size=1)
    assert beam.score >= greedy.score - 1e-4
    one, two = (any_translator.predict(text, temperature=1.0, seed=3) for _ in range(2))
    assert one.text == two.text
    samples = any_translator.predict(text, temperature=1.5, num_hypotheses=8, seed=1).hypotheses
    assert len({s.text for s in samples}) > 1
    scores = [s.score for s in samples]
    assert scores == sorted(scores, reverse=True)


def test_hypotheses_are_ranked_and_different(any_translator):
    found = any_translator.predict("Thank you very much.", num_hypotheses=4).hypotheses
    assert len({h.text for h in found}) >= 3
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


def test_split_preprocessing_gives_the_same_answer(any_translator):
    texts = [text for text in EXAMPLES["seq2seq"] if text]
    encoded = [any_translator.preprocessor.encode(text) for text in texts]
    found = any_translator.generate(
        any_translator.preprocessor.source(encoded), any_translator.decoding
    )
    expected = [any_translator.predict(text) for text in texts]
    np.testing.assert_allclose(found["scores"][:, 0], [e.score for e in expected], atol=1e-3)


def test_bytes_and_broken_text_are_refused(translator):
    with pytest.raises(InputError, match="decode"):
        translator.predict(b"bytes")
    with pytest.raises(InputError, match="surrogate"):
        translator.predict("\ud800")


def test_a_very_long_text_is_translated_in_little_memory(translator):
    found = translator.predict("I am happy. " * 20_000)
    assert found.text == " ".join([translator.predict("I am happy.").text] * 20_000)
    assert found.alignment is None
    assert len(found.alignments) == 20_000
    with pytest.raises(InputError, match="too many"):
        found.plot()


def test_numbers_change_a_search_without_a_new_graph(translator):
    text = "She is my sister."
    translator.predict(text)
    graphs = len(translator.generate._compiled)
    scores = [translator.predict(text, length_penalty=p).score for p in (0.5, 1.0, 2.0)]
    assert scores == sorted(scores)
    assert len(translator.generate._compiled) == graphs


def test_places_that_no_hypothesis_filled_are_left_out(translator):
    found = translator.predict("No", num_hypotheses=3, max_length_factor=0, max_length_extra=1)
    assert len(found.hypotheses) == 1


def test_alignment_belongs_to_the_tokens(translator):
    found = translator.predict("The red house is big.")
    assert found.alignment.shape == (len(found.tokens), len(found.source_tokens))
    np.testing.assert_allclose(found.alignment.sum(1), 1, atol=1e-4)
    house = found.source_tokens.index("▁house")
    assert found.tokens[found.alignment[:, house].argmax()] == "▁maison"
    red = found.source_tokens.index("▁red")
    assert found.tokens[found.alignment[:, red].argmax()].startswith("▁rouge")


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_empty_text_stays_empty(any_translator, text):
    found = any_translator.predict(text)
    assert (found.text, found.tokens, found.score) == ("", (), 0.0)


def test_lines_stay_lines_and_sentences_stay_in_order(translator):
    sentences = ["I am happy.", "Where is the station?", "She is my sister."]
    text = " ".join(sentences * 5) + "\n\n" + sentences[0]
    found = translator.predict(text)
    expected = " ".join([translator.predict(s).text for s in sentences] * 5)
    assert found.text == f"{expected}\n\n{translator.predict(sentences[0]).text}"
    assert found.alignment.shape == (len(found.tokens), len(found.source_tokens))
    np.testing.assert_allclose(found.alignment.sum(1), 1, atol=1e-4)


@pytest.mark.parametrize(
    "text",
    ["Привет, мир!", "日本語です。", "😀", "\u202e\u0000\ufeff", "a" * 2000, "1" * 300, "…" * 50],
)
def test_any_text_gives_a_result_that_ends(translator, text):
    found = translator.predict(text)
    assert isinstance(found.text, str)
    assert "<unk>" not in found.text
    assert "⁇" not in found.text


def test_what_the_vocabulary_lacks_is_named_and_carried_over(translator):
    found = translator.predict("I love you 😀.")
    assert found.unknown == ("😀",)
    assert re.search("aime", found.text)
    assert "😀" in found.text


def test_plot_draws_every_piece(translator, tmp_path):
    found = translator.predict("Good morning!")
    ax = found.plot()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [token.replace("▁", "") or "▁" for token in found.tokens]
    ax.figure.savefig(tmp_path / "alignment.png")
    assert (tmp_path / "alignment.png").stat().st_size > 1000
    html = found._repr_html_()
    assert html.count("<td") == len(found.tokens) * (len(found.source_tokens) + 1)


def test_plot_without_alignment_or_matplotlib_says_so(translator, monkeypatch):
    with pytest.raises(InputError, match="no alignment"):
        translator.predict("").plot()
    found = translator.predict("Yes.")
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"rnnzoo\[plot\]"):
        found.plot()
