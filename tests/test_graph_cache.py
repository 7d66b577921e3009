"""Converted graphs on disk: found again, never stale, and no harm where they cannot be kept."""

import os
import subprocess
import sys

import numpy as np
import pytest

import rnnzoo
from rnnzoo import engine, graph_cache

CHAIN = "MLSLRQSIRFFKPATRTLCSSRYLL"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "graphs"))
    return tmp_path / "graphs"


@pytest.fixture
def conversions(monkeypatch):
    """How often a graph was converted."""
    made = []
    convert = engine.onnx_model
    monkeypatch.setattr(engine, "onnx_model", lambda *graph: [made.append(1), convert(*graph)][1])
    return made


def localized(**options):
    model = rnnzoo.load("deeploc-multiloc-clean", **options)
    model.engine = "onnx"
    return np.array(list(model.predict(CHAIN).likelihoods.values()))


def test_a_graph_is_converted_once(folder, conversions):
    first = localized()
    (path,) = folder.iterdir()
    used = path.stat().st_mtime - 1000
    os.utime(path, (used, used))
    np.testing.assert_array_equal(localized(), first)
    assert len(conversions) == 1
    assert path.stat().st_mtime > used

    small = localized(quantize="int8")
    np.testing.assert_array_equal(localized(quantize="int8"), small)
    assert (len(conversions), len(list(folder.iterdir()))) == (2, 2)
    assert 0 < np.abs(small - first).max() < 0.1


def test_other_weights_and_other_descriptions_have_graphs_of_their_own(folder, conversions):
    model = rnnzoo.load("deeploc-multiloc-clean", engine="onnx")
    before = model.predict(CHAIN).likelihoods
    key = model._graphs_key()
    model.set_weights([0.5 * weight for weight in model.get_weights()])
    after = model.predict(CHAIN).likelihoods
    assert len(conversions) == 2
    assert before != after
    assert model._graphs_key() != key
    again = rnnzoo.load("deeploc-multiloc-clean")
    assert again._graphs_key() == key
    places = rnnzoo.load("deeploc-multiloc")._graphs_key()
    headed = rnnzoo.load("deeploc-multiloc-clean", locations=["here", "there"])._graphs_key()
    assert len({key, places, headed}) == 3

    again.enable_lora(rank=2)  # no checkpoint holds it: it is not kept
    again.engine = "onnx"
    again.predict(CHAIN)
    assert (len(conversions), len(list(folder.iterdir()))) == (3, 2)


def test_code_of_others_is_not_filed(folder):
    class Mine(type(rnnzoo.load("deeploc-multiloc-clean"))):
        pass

    model = rnnzoo.load("deeploc-multiloc-clean")
    mine = Mine(model.config, model.preprocessor, model.decoding)
    assert model._graphs_key() is not None
    assert mine._graphs_key() is None


def test_a_damaged_graph_is_converted_again(folder, conversions):
    first = localized()
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(localized(), first)
    assert len(conversions) == 2
    path.write_bytes(b"short")
    np.testing.assert_array_equal(localized(), first)
    np.testing.assert_array_equal(localized(), first)
    assert len(conversions) == 3


def test_without_a_place_it_works_all_the_same(tmp_path, monkeypatch, conversions):
    (tmp_path / "file").write_text("in the way")
    for place in ("", str(tmp_path / "file" / "below")):
        monkeypatch.setenv("RNNZOO_CACHE", place)
        localized()
    assert len(conversions) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_used_longest_ago_makes_room(folder, monkeypatch):
    monkeypatch.setattr(graph_cache, "_LIMIT", 400)
    for n in range(4):
        graph_cache.write(f"graph{n}", bytes(100))  # and 32 of the hash
        os.utime(folder / f"graph{n}.onnx", (1000 + n, 1000 + n))
    (folder / "notes").write_text("not a graph: it stays")
    assert graph_cache.read("graph1") == bytes(100)
    graph_cache.write("graph4", bytes(100))
    assert sorted(path.name for path in folder.iterdir()) == ["graph1.onnx", "graph3.onnx",
                                                              "graph4.onnx", "notes"]  # fmt: skip


def test_the_place_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RNNZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert graph_cache.cache_folder() == tmp_path / "rnnzoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert graph_cache.cache_folder() == tmp_path / ".cache" / "rnnzoo"


def test_keys_are_the_same_in_another_process(folder):
    code = "import rnnzoo; print(rnnzoo.load('deeploc-multiloc-clean')._graphs_key())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == rnnzoo.load("deeploc-multiloc-clean")._graphs_key()
