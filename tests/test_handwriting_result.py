"""Ink as arrays, pictures and files."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from rnnzoo.errors import InputError
from rnnzoo.handwriting import Handwriting, InkLine

POINTS = np.array(
    [[0, 1, 0], [0.5, -1, 0], [0.5, 1, 1], [1, 0, 0], [0.1, -0.1, 1], [2, -1, 0], [3, 0, 0]], "f4"
)


def line(text="v.", points=POINTS):
    return InkLine(text, points, np.ones((len(points), len(text)), "f4"), True)


INK = Handwriting("v. & <more>\nsecond", (line("v. & <more>"), line("second", POINTS[:3])))
NOTHING = Handwriting("", (line("", POINTS[:0]),))


def test_strokes_are_cut_where_the_pen_is_lifted():
    assert [len(stroke) for stroke in INK.strokes] == [3, 2, 2, 3]
    first, _, third, lower = INK.strokes
    np.testing.assert_allclose(first, [[0, 1], [0.5, 0], [1, 1]])
    np.testing.assert_allclose(third, [[4.1, -0.1], [7.1, -0.1]], atol=1e-6)
    np.testing.assert_allclose(lower, first - [0, 4])
    assert NOTHING.strokes == [] and str(INK) == INK.text


def test_stroke3_and_stroke5_give_the_strokes_back():
    three, five = INK.stroke3(), INK.stroke5()
    assert three.shape == (10, 3) and five.shape == (11, 5)
    places = np.cumsum(three[:, :2], 0) * [1, -1]
    np.testing.assert_allclose(places, np.concatenate(INK.strokes), atol=1e-5)
    assert np.flatnonzero(three[:, 2]).tolist() == [2, 4, 6, 9]
    np.testing.assert_array_equal(five[:-1, :2], three[:, :2])
    np.testing.assert_array_equal(five[:, 2:].sum(1), 1)
    np.testing.assert_array_equal(five[:-1, 3], three[:, 2])
    assert five[-1].tolist() == [0, 0, 0, 0, 1]
    assert NOTHING.stroke3().shape == (0, 3) and len(NOTHING.stroke5()) == 1


def test_svg_holds_every_stroke_within_its_frame():
    for animated in (False, True):
        root = ET.fromstring(INK.to_svg(animated, color='re"d', scale=10))
        left, top, wide, tall = map(float, root.get("viewBox").split())
        assert float(root.get("width")) == pytest.approx(10 * wide, abs=1)
        assert root.find("{*}title").text == INK.text
        group = root.find("{*}g")
        assert group.get("stroke") == 're"d'
        paths = list(group)
        assert len(paths) == 4
        for path in paths:
            numbers = path.get("d").replace("M", " ").replace("Q", " ").replace("L", " ").split()
            x, y = np.array(numbers, float).reshape(-1, 2).T
            assert (x >= left).all() and (x <= left + wide).all()
            assert (y >= top).all() and (y <= top + tall).all()
            assert (path.get("pathLength") is not None) == animated
    assert INK._repr_svg_() == INK.to_svg()
    ET.fromstring(NOTHING.to_svg())
    with pytest.raises(InputError, match="scale must be above 0"):
        INK.to_svg(scale=0)


def test_pictures_have_ink_where_the_strokes_are():
    image = np.asarray(INK.to_image(scale=10))
    left, top, wide, tall = INK._frame()
    assert image.shape == (round(10 * tall), round(10 * wide))
    assert image.min() < 60 and (image > 250).mean() > 0.9
    for x, y in np.concatenate(INK.strokes):
        row, column = round(10 * (-y - top)), round(10 * (x - left))
        assert image[row - 2 : row + 3, column - 2 : column + 3].min() < 130
    np.testing.assert_array_equal(np.asarray(NOTHING.to_image()), 255)


def test_files_are_what_their_ending_says(tmp_path):
    for name in ("a.svg", "a.PNG", "a.gif", "a.inkml", "a.json"):
        INK.save(tmp_path / name)
    assert (tmp_path / "a.svg").read_text() == INK.to_svg()
    with Image.open(tmp_path / "a.PNG") as still, Image.open(tmp_path / "a.gif") as moving:
        assert still.format == "PNG"
        assert moving.n_frames > 5  # frames that are alike are one
        darkness = []
        for frame in (0, moving.n_frames // 2, moving.n_frames - 1):
            moving.seek(frame)
            darkness.append(255 - np.asarray(moving.convert("L"), float).mean())
    assert darkness == sorted(darkness) and darkness[0] < darkness[1] < darkness[2]
    traces = ET.parse(tmp_path / "a.inkml").getroot().findall(".//{*}trace")
    places = [[point.split() for point in trace.text.split(", ")] for trace in traces]
    for stroke, found in zip(INK.strokes, places, strict=True):
        np.testing.assert_allclose(np.array(found, float) * [0.01, -0.01], stroke, atol=0.006)
    data = json.loads((tmp_path / "a.json").read_text())
    assert data == INK.to_dict()
    assert [len(one["strokes"]) for one in data["lines"]] == [3, 1]
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"a.bmp has to end in .svg, .png"):
        INK.save(tmp_path / "a.bmp")
    with pytest.raises(InputError, match="cannot be written"):
        INK.save(tmp_path / "nowhere" / "a.svg")
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        INK.save(tmp_path / "a.svg")
    assert not list(tmp_path.glob(".*"))


def test_the_window_is_drawn_under_each_line():
    ink, window, *_ = INK.plot()
    assert len(ink.lines) == 3
    assert window.images[0].get_array().shape == (len(INK.lines[0].text), len(POINTS))
