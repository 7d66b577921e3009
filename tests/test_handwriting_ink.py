"""Ink of any origin: what is read, and that size and place do not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnzoo.errors import InputError
from rnnzoo.handwriting import Handwriting, InkLine
from rnnzoo.handwriting.ink import evenly, lines_of, normalized

RNG = np.random.default_rng(0)
STROKES = [np.cumsum(RNG.normal(0, 0.3, (n, 2)), 0) + np.array([n / 5, 0.4]) for n in (20, 1, 9)]


def line(strokes, text="x"):
    offsets = np.diff(np.concatenate([[[0, 0]], *strokes]), axis=0)
    lifted = np.concatenate([np.eye(1, len(s), len(s) - 1)[0] for s in strokes])
    points = np.concatenate([offsets, lifted[:, None]], 1).astype("f4")
    return InkLine(text, points, np.zeros((len(points), len(text)), "f4"), True)


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
