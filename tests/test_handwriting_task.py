"""The writer's task: pages, styles, streams, training, checkpoints, command line."""

import dataclasses
import json
import xml.etree.ElementTree as ET

import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.handwriting import (
    Handwriting,
    HandwritingConfig,
    HandwritingPreprocessor,
    HandwritingWriter,
    PreprocessorConfig,
    Style,
)
from rnnzoo.handwriting.decode import Prime
from rnnzoo.handwriting.task import _own_ink

CONFIG = HandwritingConfig(hidden_dim=12, num_components=3, num_windows=2)
RNG = np.random.default_rng(7)


def ink(count, seed=0):
    rng = np.random.default_rng(seed)
    lifted = rng.random((count, 1)) < 0.2
    return np.concatenate([rng.normal(0.2, 0.3, (count, 2)), lifted], 1).astype("f4")


STYLES = [Style("abc", np.round(ink(30, 1), 2), "one"), Style("de f", np.round(ink(41, 2), 2))]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    chosen = PreprocessorConfig(line_characters=12, styles="styles.json")
    model = HandwritingWriter(CONFIG, HandwritingPreprocessor(chosen, STYLES))
    model.decoding = dataclasses.replace(model.decoding, max_points_per_character=4)
    for weight in model.network.weights:
        weight.assign(weight + 0.1 * np.random.default_rng(2).normal(size=weight.shape))
    return model


def same(one, other):
    assert one.text == other.text and len(one.lines) == len(other.lines)
    for a, b in zip(one.lines, other.lines, strict=True):
        assert (a.text, a.finished) == (b.text, b.finished)
        np.testing.assert_allclose(a.points, b.points, atol=1e-4)
        np.testing.assert_allclose(a.attention, b.attention, atol=1e-4)


def test_a_text_gives_a_page_and_a_list_a_list(model):
    page = model.predict("Hello there, Zoë!\n\nBye")
    assert isinstance(page, Handwriting)
    assert [line.text for line in page.lines] == ["Hello there,", "Zoe!", "", "Bye"]
    assert page.text == "Hello there,\nZoe!\n\nBye"
    for line in page.lines:
        assert line.attention.shape == (len(line.points), len(line.text))
        assert bool(len(line.points)) == bool(line.text)
    assert model.predict([]) == []
    (alone,) = model.predict(["Hello there, Zoë!\n\nBye"])
    same(alone, page)
    empty = model.predict("")
    assert empty.text == "" and empty.strokes == []


def test_company_batches_and_order_change_nothing(model):
    texts = ["one", "two lines\nhere", "", "a much longer text than the others"]
    together = model.predict(texts)
    for text, page in zip(texts, together, strict=True):
        same(model.predict(text), page)
    for page, other in zip(model.predict(texts, batch_size=1), together, strict=True):
        same(page, other)
    for page, other in zip(model.predict(texts[::-1])[::-1], together, strict=True):
        same(page, other)


def test_styles_and_seeds_change_the_ink(model):
    pages = [
        model.predict("word", **options)
        for options in ({}, {"seed": 1}, {"style": 0}, {"style": 1}, {"bias": 3.0})
    ]
    points = [page.lines[0].points for page in pages]
    for n, one in enumerate(points):
        for other in points[:n]:
            assert len(one) != len(other) or not np.allclose(one, other)
    own = Style("abc", STYLES[0].points)
    same(model.predict("word", style=own), model.predict("word", style=0))
    first = model.predict("word", style=1).lines[0].points[0]
    assert first[0] == 0  # a line begins at its own left end, whatever led it


def test_a_stream_is_the_line_that_predict_writes(model):
    for options in ({}, {"style": 1}, {"seed": 5, "bias": 1.0}):
        points = np.array(list(model.stream("some word", **options)))
        line = model.predict("some word", **options).lines[0]
        np.testing.assert_allclose(points, line.points, atol=1e-4)
    assert list(model.stream("")) == []
    with pytest.raises(InputError, match="a stream is one line, got 2"):
        model.stream("a\nb")
    long = "x" * 13  # predict breaks it
    assert len(model.predict(long, max_points_per_character=1).lines) == 2
    with pytest.raises(InputError, match="got 2 of at most 12 characters"):
        model.stream(long)
    points = list(model.stream(long, line_characters=50, max_points_per_character=1))
    line = model.predict(long, line_characters=50, max_points_per_character=1).lines[0]
    np.testing.assert_allclose(points, line.points, atol=1e-4)


def test_what_a_prime_s_end_still_gets_is_no_part_of_the_line():
    """The pen goes on with the prime's last letter before it comes to the text."""
    prime = Prime(np.array([[0, 1, 0], [1, -0.75, 1]], "f4"), (1, 2))
    points = np.array(
        [[1, 0, 0], [1, 0.5, 1], [1, 0, 0], [0.5, 0.25, 1], [2, 0, 0], [1, 0, 1]], "f4"
    )
    places = [1, 1, 2, 2, 3, 4]  # the prime's last, the space, the text's two

    def own(places, points=points):
        return list(_own_ink(zip(points, np.eye(5, dtype="f4")[places], strict=True), prime))

    found = own(places)
    np.testing.assert_allclose([p for p, _ in found], [[0, 1.0, 0], [1, 0, 1]])
    np.testing.assert_allclose([phi for _, phi in found], np.eye(2))
    begun = own([1, 1, 2, 3, 3, 4])  # on the way through a stroke: the whole stroke is kept
    np.testing.assert_allclose([p for p, _ in begun][:2], [[0, 0.75, 0], [0.5, 0.25, 1]])
    lost = own([1] * 70, np.full((70, 3), 0.5, "f4"))
    assert len(lost) == 70  # it never comes: nothing is thrown away


def test_a_bound_takes_no_part_in_the_ink(model):
    short, long = (model.predict("words", max_points_per_character=n) for n in (2, 9))
    points = short.lines[0].points
    np.testing.assert_allclose(long.lines[0].points[: len(points)], points, atol=1e-4)


def test_a_line_break_has_no_number(model):
    for style in (Style("a\nb", STYLES[0].points), Style("a\r", STYLES[0].points)):
        with pytest.raises(InputError, match="expected one line"):
            model.predict("word", style=style)
    with pytest.raises(InputError, match="input 0: expected one line"):
        model.check_pairs([("a\nb", STYLES[0].points)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": 2}, "from 0 to 1"),
        ({"style": True}, "from 0 to 1"),
        ({"style": "neat"}, "from 0 to 1"),
        ({"bais": 1}, "Did you mean 'bias'"),
        ({"bias": -1}, "bias must be from 0"),
        ({"line_characters": 0}, "above 0"),
        ({"line_spacing": 0}, "above 0"),
        ({"batch_size": 0}, "above 0"),
    ],
)
def test_wrong_options_are_named(model, options, message):
    with pytest.raises(InputError, match=message):
        model.predict("x", **options)


def test_characters_that_cannot_be_written(model):
    with pytest.raises(InputError, match="'@'"):
        model.predict("me@home")
    assert model.predict("me@home", skip_unknown=True).text == "mehome"


@pytest.mark.parametrize(
    "points", [np.zeros((0, 3)), np.zeros((4, 2)), [[1, 2, "x"]], np.full((2, 3), np.nan),
               np.full((3, 3), 900.0)],
)  # fmt: skip
def test_points_of_a_style_are_checked(points):
    with pytest.raises(InputError):
        Style("a", points)


def test_it_learns_from_lines(model):
    config = dataclasses.replace(CONFIG, num_components=2)
    own = HandwritingWriter(config, HandwritingPreprocessor(PreprocessorConfig()))
    texts, lines = ["ab", "Zoë", "c"], [ink(20, 3), ink(31, 4), ink(7, 5)]
    own.compile(keras.optimizers.Adam(0.01))
    losses = own.fit(texts, lines, epochs=6, batch_size=2, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.1
    assert own.evaluate(texts, lines, verbose=0) < losses[0]
    with pytest.raises(InputError, match=r"target 1: the points must be \[time, 3\]"):
        own.fit(["a", "b"], [ink(5), np.zeros((5, 2))])
    with pytest.raises(InputError, match=r"input 0: .*'@'"):
        own.fit(["@"], [ink(5)])


def test_padding_and_company_leave_the_loss(model):
    def loss(texts, lines):
        x, y, weight = model.training_batch(texts, lines)
        return float(model.compute_loss(x, y, model(x), weight)), weight.sum()

    (one, m), (two, n) = loss(["ab"], [ink(20, 3)]), loss(["c d"], [ink(31, 4)])
    both, count = loss(["ab", "c d"], [ink(20, 3), ink(31, 4)])
    assert count == m + n
    assert both == pytest.approx((one * m + two * n) / (m + n), rel=1e-4)


def test_checkpoints_keep_ink_and_styles(model, tmp_path):
    model.save(tmp_path / "writer")
    again = rnnzoo.load(tmp_path / "writer")
    for options in ({}, {"style": 1}):
        same(again.predict("word", **options), model.predict("word", **options))
    for ours, theirs in zip(again.preprocessor.styles, STYLES, strict=True):
        assert (ours.text, ours.name) == (theirs.text, theirs.name)
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-4)
    model.save(tmp_path / "writer.keras")
    kept = rnnzoo.load(tmp_path / "writer.keras")
    same(kept.predict("word", style=0), model.predict("word", style=0))


@pytest.mark.parametrize(
    "content", [b"no json", b"[1]", b'[{"name": "", "text": "a", "points": [[1]]}]', b"\xff",
                b'[{"name": "", "text": "@", "points": [[1, 1, 0]]}]'],
)  # fmt: skip
def test_a_broken_file_of_styles_is_named(content):
    with pytest.raises(ConfigError):
        HandwritingWriter.open_preprocessor(
            PreprocessorConfig(styles="styles.json"), lambda name: content
        )


def test_an_alphabet_of_another_network_is_refused():
    with pytest.raises(ConfigError, match="belong to different checkpoints"):
        HandwritingWriter(CONFIG, HandwritingPreprocessor(PreprocessorConfig("ab")))


def test_the_command_line_writes_a_file(model, tmp_path, capsys, monkeypatch):
    model.save(tmp_path / "writer")
    writer, out = str(tmp_path / "writer"), tmp_path / "note.svg"
    main(["predict", writer, "Dear reader,", "Yours", "-o", str(out), "--style", "1", "--bias",
          "2"])  # fmt: skip
    root = ET.parse(out).getroot()
    assert root.find("{*}title").text == "Dear reader,\nYours"
    expected = model.predict("Dear reader,\nYours", style=1, bias=2)
    assert len(root.find("{*}g")) == len(expected.strokes)
    capsys.readouterr()
    main(["predict", writer, "Yours", "--json"])
    assert json.loads(capsys.readouterr().out) == model.predict("Yours").to_dict()
    (tmp_path / "text.txt").write_text("Dear\nreader\n")
    main(["predict", writer, "--input", str(tmp_path / "text.txt")])
    assert ET.fromstring(capsys.readouterr().out).find("{*}title").text == "Dear\nreader"
    for arguments in (["x", "-o", "a.bmp"], ["x@"], ["x", "--resume"], ["x", "--style", "9"]):
        assert main(["predict", writer, *arguments]) == 2
        assert "rnnzoo: " in capsys.readouterr().err
