"""Converted graphs on disk: found again, never stale, and no harm where they cannot be kept."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import rnnzoo
from rnnzoo import engine, graph_cache
from rnnzoo.engine import _pairs_overflow
from rnnzoo.export import network_graph

CHAIN = "MLSLRQSIRFFKPATRTLCSSRYLL"
KEY = 64 * "a"
X = np.array([[1.0, 2.0]], np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


@pytest.fixture
def conversions(monkeypatch):
    """How often a graph was converted."""
    made = []
    convert = engine.onnx_model

    def counted(*graph):
        made.append(graph)
        return convert(*graph)

    monkeypatch.setattr(engine, "onnx_model", counted)
    return made


@pytest.fixture(scope="module")
def network():
    x = keras.Input((2,), name="x")
    return keras.Model({"x": x}, {"y": keras.layers.Dense(3)(x)})


def answer(network, key=lambda: KEY, **options):
    graphs = {"network": network_graph(network, x="batch", y="batch")}
    return engine.OnnxEngine(graphs, network, key=key, **options).run("network", {"x": X})["y"]


def test_a_released_model_is_converted_once(folder, conversions):
    found = [
        rnnzoo.load("deeploc-multiloc-clean", engine="onnx").predict(CHAIN).likelihoods
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len(conversions) == 1
    (path,) = folder.iterdir()
    if os.name == "posix":
        assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_differs_is_filed_apart_and_what_is_trained_is_not_filed():
    model = rnnzoo.load("deeploc-multiloc-clean")
    key = model._graphs_key()
    assert rnnzoo.load("deeploc-multiloc-clean")._graphs_key() == key
    assert rnnzoo.load("deeploc-multiloc-clean", dropout=0.5)._graphs_key() not in (None, key)
    keys = [rnnzoo.load("deeploc-multiloc", quantize=scheme)._graphs_key() for scheme in
            (None, "int8")]  # fmt: skip
    assert len({key, *keys, None}) == 4

    model.enable_lora(rank=2)
    assert model._graphs_key() is None
    model.merge_lora()
    assert model._graphs_key() == key  # updates begin at zero
    model.set_weights([0.5 * weight for weight in model.get_weights()])
    assert model._graphs_key() is None
    headed = rnnzoo.load("deeploc-multiloc-clean", locations=["here", "there"])
    assert headed._graphs_key() is None

    class Mine(type(model)):
        pass

    mine = Mine(model.config, model.preprocessor, model.decoding)
    mine.origin = model.origin
    mine.assign_weights(rnnzoo.load("deeploc-multiloc-clean").weight_values())
    assert mine._graphs_key() is None


@pytest.mark.parametrize("name", ["deepspeech-digits", "graves-prediction", "seq2seq-en-fr"])
def test_every_family_has_keys(name):
    keys = {rnnzoo.load(name)._graphs_key() for _ in range(2)}
    assert len(keys) == 1 and None not in keys


def test_code_that_was_edited_meanwhile_is_not_filed(monkeypatch):
    assert graph_cache.key_of({"a": 1}, {}) is not None
    monkeypatch.setattr(graph_cache, "_IMPORTED", b"what was imported before an edit")
    assert graph_cache.key_of({"a": 1}, {}) is None
    monkeypatch.setattr(graph_cache, "_IMPORTED", None)  # no code to be had
    assert graph_cache.key_of({"a": 1}, {}) is None


def test_int8_is_kept_apart(folder, conversions, network):
    plain, small = answer(network), answer(network, int8=True)
    np.testing.assert_array_equal(answer(network), plain)
    np.testing.assert_array_equal(answer(network, int8=True), small)
    assert len(conversions) == 2
    names = sorted(path.name for path in folder.iterdir())
    kind = "uint8" if _pairs_overflow() else "int8"
    assert names == [f"{KEY}-network-{kind}.onnx", f"{KEY}-network.onnx"]


def test_a_model_that_changes_while_it_is_converted_is_not_kept(folder, network):
    keys = iter(["a" * 64, "b" * 64])
    answer(network, key=lambda: next(keys))
    assert not folder.exists()


def test_what_is_damaged_or_refused_is_converted_again(folder, conversions, network):
    first = answer(network)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for number, broken in enumerate((bytes(content), b"short", b""), 2):
        path.write_bytes(broken)
        np.testing.assert_array_equal(answer(network), first)
        assert len(conversions) == number
    graph_cache.write(f"{KEY}-network", b"whole, and no graph")
    np.testing.assert_array_equal(answer(network), first)
    np.testing.assert_array_equal(answer(network), first)
    assert len(conversions) == 5


def test_without_a_place_of_ones_own_it_works_all_the_same(
    tmp_path, monkeypatch, conversions, network
):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "open" / "graphs").mkdir(parents=True)
    (tmp_path / "open" / "graphs").chmod(0o777)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "graphs").symlink_to(tmp_path / "open" / "graphs")
    places = ["", "file/below", *(["open", "linked"] if os.name == "posix" else [])]
    for place in places:
        monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / place) if place else "")
        answer(network)
    assert len(conversions) == len(places)
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize("kind", ["", "-int8", "-uint8"])
def test_what_was_used_longest_ago_makes_room_and_nothing_else(folder, monkeypatch, kind):
    monkeypatch.setattr(graph_cache, "_LIMIT", 400)
    names = [f"{n:064d}-network{kind}" for n in range(5)]
    for n, name in enumerate(names[:4]):
        graph_cache.write(name, bytes(100))  # and 32 of the hash
        os.utime(folder / f"{name}.onnx", (1000 + n, 1000 + n))
    (folder / "mine.onnx").write_bytes(bytes(1000))
    assert graph_cache.read(names[1]) == bytes(100)  # used: the last to go
    graph_cache.write(names[4], bytes(100))
    left = sorted(path.stem for path in folder.iterdir())
    assert left == [names[1], names[3], names[4], "mine"]


def test_the_place_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNZOO_CACHE", "~/mine")
    assert graph_cache.cache_folder() == tmp_path / "mine" / "graphs"
    monkeypatch.delenv("RNNZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert graph_cache.cache_folder() == tmp_path / "caches" / "rnnzoo" / "graphs"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert graph_cache.cache_folder() == tmp_path / ".cache" / "rnnzoo" / "graphs"


def test_keys_are_the_same_in_another_process():
    parts, weights = {"b": 1, "a": [2.5, "é"], "assets": {"x": b"1"}}, {"w": X}
    code = f"""
import sys
import numpy as np
from rnnzoo import graph_cache
graph_cache._versions = lambda: ""  # what they are costs seconds to ask
print(graph_cache.key_of({parts!r}, {{"w": np.array({X.tolist()}, np.float32)}}))
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_cache, "_versions", lambda: "")
        assert done.stdout.strip() == graph_cache.key_of(parts, weights)
    with pytest.raises(TypeError, match="no place"):
        graph_cache.key_of({"a": object()}, {})
