"""Ink of any origin: what is read, and that size and place do not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnzoo.errors import InputError
from rnnzoo.handwriting import Handwriting, InkLine, Style
from rnnzoo.handwriting.ink import evenly, in_pen_time, lines_of, normalized, points_of

RNG = np.random.default_rng(0)
STROKES = [np.cumsum(RNG.normal(0, 0.3, (n, 2)), 0) + np.array([n / 5, 0.4]) for n in (20, 1, 9)]


def line(strokes, text="x"):
    offsets = np.diff(np.concatenate([[[0, 0]], *strokes]), axis=0)
    lifted = np.concatenate([np.eye(1, len(s), len(s) - 1)[0] for s in strokes])
    points = np.concatenate([offsets, lifted[:, None]], 1).astype("f4")
    return InkLine(text, points, np.zeros((len(points), len(text)), "f4"), True)


EMPTY = np.zeros((0, 3), "f4"), np.zeros((0, 0), "f4")
PAGE = Handwriting("x\ny", (line(STROKES), line(STROKES[:1], "y")))


def same(found, expected, atol=1e-5):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def test_every_kind_of_ink_gives_the_same_strokes(tmp_path):
    one = Handwriting("x", (line(STROKES),))
    one.save(tmp_path / "one.inkml")
    for ink, size, atol in (
        (one, 1, 1e-5),
        (one.lines[0], 1, 1e-5),
        (one.lines[0].points, 1, 1e-5),
        (STROKES, 1, 1e-9),
        ([stroke.tolist() for stroke in STROKES], 1, 1e-9),
        (tmp_path / "one.inkml", 100, 0.006),
        (str(tmp_path / "one.inkml"), 100, 0.006),
        (one.to_inkml(), 100, 0.006),
    ):
        (found,) = lines_of(ink)
        same([stroke / size for stroke in found], STROKES, atol)
    (down,) = lines_of([stroke * [1, -1] for stroke in STROKES], y_down=True)
    same(down, STROKES)
    assert [len(strokes) for strokes in lines_of(PAGE)] == [3, 1]


@pytest.mark.parametrize(
    ("ink", "message"),
    [
        (7, "expected ink: .* got int"),
        ([(0, 0), (1, 1)], "stroke 0 must be places"),
        ([[(0, 0, 1, 1)]], "stroke 0 must be places .* shape"),
        ([[("a", "b")]], "no numbers"),
        ([STROKES[0], [(np.nan, 0)]], "stroke 1 has places that are no finite numbers"),
        ("nowhere.inkml", "cannot read nowhere.inkml"),
        (np.array([[0, np.nan, 1.0]]), r"offsets \[time, 3\] .* not finite"),
        ('<ink xmlns="http://www.w3.org/2003/InkML"><trace>1, 2</trace></ink>', "plain numbers"),
        ('<ink xmlns="http://www.w3.org/2003/InkML"><trace>1 nan</trace></ink>', "plain numbers"),
        ("<ink", "the text is not InkML"),
        ("<ink xmlns='http://www.w3.org/2003/InkML'></ink>", "no trace"),
        ("<ink xmlns='http://www.w3.org/2003/InkML'><trace>'1 '2</trace></ink>", "plain numbers"),
    ],
)
def test_what_is_no_ink_is_named(ink, message):
    with pytest.raises(InputError, match=message):
        lines_of(ink)


@given(st.floats(1e-3, 1e4), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_size_and_place_do_not_matter(size, x, y):
    expected = evenly(normalized(STROKES), 0.2)
    found = evenly(normalized([size * stroke + [x, y] for stroke in STROKES]), 0.2)
    assert abs(len(found) - len(expected)) <= 2  # of roundings
    if len(found) == len(expected):
        np.testing.assert_allclose(found, expected, atol=1e-3 * max(1, (abs(x) + abs(y)) / size))


@pytest.mark.parametrize(
    "strokes", [[np.array([[3.0, 4.0]])], [np.array([[0.0, 0.0], [9.0, 0.0]])],
                [np.array([[5.0, 5.0]] * 3)], []],
)  # fmt: skip
def test_dots_dashes_and_nothing_are_ink_too(strokes):
    points = evenly(normalized(strokes), 0.2)
    assert np.isfinite(points).all() and points.shape[1] == 3
    assert points[:, 2].sum() == len(strokes)
    assert np.abs(points).max(initial=0) < 3


def test_points_are_even_along_a_stroke_and_keep_its_ends():
    points = evenly(STROKES, 0.1)
    places = np.cumsum(points[:, :2], 0)
    ends = np.flatnonzero(points[:, 2])
    assert len(ends) == 3
    np.testing.assert_allclose(places[0], STROKES[0][0], atol=1e-5)
    np.testing.assert_allclose(places[ends[0]], STROKES[0][-1], atol=1e-5)
    steps = np.hypot(*points[1 : ends[0] + 1, :2].T)
    assert steps.min() > 0.03 and steps.max() < 0.11  # corners are cut
    assert np.median(steps) == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(places[[ends[0] + 1, ends[1]]].mean(0), STROKES[1][0], atol=1e-5)


def test_points_are_the_strokes_again():
    np.testing.assert_allclose(points_of(line(STROKES).strokes), line(STROKES).points, atol=1e-5)
    assert points_of([]).shape == (0, 3)


@pytest.mark.parametrize("radius", [0.3, 1.0, 5.0])
def test_a_pen_slows_down_where_it_turns(radius):
    """On a circle by the law, from end to end."""
    angle = np.linspace(0, 1.9 * np.pi, 400)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    found = in_pen_time(circle)
    slowness = (1 + (1 / (1.2 * radius)) ** 2) ** (1 / 6)
    expected = 1 + 1.9 * np.pi * radius * slowness / 0.36
    assert len(found) == pytest.approx(expected, rel=0.06, abs=1)
    np.testing.assert_allclose(np.hypot(*found.T), radius, atol=0.03)
    np.testing.assert_allclose(found[[0, -1]], circle[[0, -1]], atol=1e-9)
    gaps = np.hypot(*np.diff(found, axis=0).T)
    assert gaps.max() < 1.2 * gaps.min() + 0.01


def test_a_style_of_a_person_does_not_depend_on_size_and_place():
    curves = [np.stack([np.arange(60) / 9 + x, np.sin(np.arange(60) / 3)], 1) for x in (0, 7)]
    one = Style.from_ink("words", curves, "mine")
    screen = [np.array([40.0, 300.0]) + 25 * curve * [1, -1] for curve in curves]
    other = Style.from_ink("words", screen, y_down=True)
    np.testing.assert_allclose(one.points, other.points, atol=1e-4)
    assert one.points[:, 2].sum() == 2 and one.name == "mine"
    assert len(in_pen_time(np.zeros((1, 2)))) == len(in_pen_time(np.zeros((5, 2)))) == 2
    with pytest.raises(InputError, match="one line of ink, got 2"):
        Style.from_ink("x", PAGE)
    with pytest.raises(InputError, match="expected ink"):
        Style.from_ink("x", 5)


def test_a_page_of_lines_stays_one(tmp_path):
    page = Handwriting("x\n\ny", (PAGE.lines[0], InkLine("", *EMPTY, True), PAGE.lines[1]))
    page.save(tmp_path / "page.inkml")
    top, bottom = lines_of(tmp_path / "page.inkml")
    same([stroke / 100 for stroke in top], STROKES, 0.006)
    lower = STROKES[0] - [0, 2 * page.line_spacing]
    same([stroke / 100 for stroke in bottom], [lower], 0.006)


@pytest.mark.parametrize(
    "xml",
    [
        "<ink><trace>1 2, 3 4</trace></ink>",
        '<ink xmlns="http://www.w3.org/2003/InkML"><trace>1 2, 3 4</trace></ink>',
        '<ink><traceFormat><channel name="T"/><channel name="Y"/><channel name="X"/></traceFormat>'
        "<trace>0 2 1, 1 4 3</trace></ink>",
        "<ink><traceGroup><traceGroup><trace>1 2, 3 4</trace></traceGroup></traceGroup></ink>",
        "<ink><traceGroup/><trace>1 2, 3 4</trace></ink>",
    ],
)
def test_inkml_says_where_x_and_y_are(xml):
    assert [[s.tolist() for s in line] for line in lines_of(xml)] == [[[[1.0, -2.0], [3.0, -4.0]]]]


def test_a_style_is_a_line():
    (found,) = lines_of(Style("x", line(STROKES).points))
    same(found, STROKES)
