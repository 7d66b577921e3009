"""Checkpoint folders: whole or refused, old or new, never half."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnzoo
from rnnzoo import checkpoint, weights
from rnnzoo.errors import (
    CheckpointError,
    ConfigError,
    FormatVersionError,
    InputError,
    RnnzooError,
    UnsafePathError,
    WeightsError,
)
from rnnzoo.manifest import FileRecord

TEXTS = ["the cat runs", "a dog"]


@pytest.fixture
def folder(tiny_saved, tmp_path):
    """A copy of a checkpoint, to be broken."""
    shutil.copytree(tiny_saved[1], tmp_path / "model")
    return tmp_path / "model"


def relist(folder):
    """Make the folder's list agree with its files, as somebody hostile would."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name != checkpoint.FILES:
            files[path.name] = FileRecord(path.stat().st_size, checkpoint.sha256_of(path))
    (folder / checkpoint.FILES).write_bytes(checkpoint._canonical(files))


def edit_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    relist(folder)


def edit_weights(folder, change):
    """Change the stored tensors, with a fingerprint that fits them."""
    path = folder / "model.safetensors"
    stored = safetensors.numpy.load_file(path)
    change(stored)
    safetensors.numpy.save_file(stored, path)
    edit_config(folder, lambda c: c.update(fingerprint=weights.fingerprint(stored)))


def test_save_and_load_give_the_same_translations(tiny_saved, folder):
    tiny, again = tiny_saved[0], rnnzoo.load(folder)
    for text in TEXTS:
        assert again.predict(text).to_dict() == tiny.predict(text).to_dict()


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_smaller_storage_rounds_each_weight_a_little(tiny_saved, tmp_path, storage):
    tiny = tiny_saved[0]
    tiny.save(tmp_path / "small", storage=storage)
    again = rnnzoo.load(tmp_path / "small")
    for name, weight in tiny.weights_by_path().items():
        before, after = np.asarray(weight), np.asarray(again.weights_by_path()[name])
        step = np.abs(before).max() / (127 if storage == "int8" else 1024)
        assert np.abs(before - after).max() <= step


@pytest.mark.parametrize("rows_taller", [True, False])
def test_quantisation_has_a_scale_for_each_output_channel(rows_taller):
    array = np.random.default_rng(0).normal(size=(50, 8) if rows_taller else (8, 50))
    values, scale = weights.quantize(array.astype(np.float32))
    assert scale.shape == ((50, 1) if rows_taller else (1, 50))
    assert np.abs(values * scale - array).max() <= scale.max() / 2 + 1e-6


def test_a_flipped_byte_in_any_file_is_found(folder):
    """But in the card, which is for people, and in what the list says of it."""
    rng = np.random.default_rng(0)
    for path in folder.iterdir():
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *rng.integers(len(whole), size=25).tolist()}
        if path.name == "README.md":
            continue
        if path.name == "files.json":
            of_card = range(whole.index(b"README"), whole.index(b"config.json"))
            places -= set(of_card)
        for place in places:
            for bit in (0, 5):
                broken = bytearray(whole)
                broken[place] ^= 1 << bit
                path.write_bytes(broken)
                with pytest.raises(RnnzooError):
                    checkpoint.open_checkpoint(folder)
        path.write_bytes(whole)
    checkpoint.open_checkpoint(folder)


def test_a_missing_file_is_named(folder):
    (folder / "vocabulary.model").unlink()
    with pytest.raises(CheckpointError, match=r"vocabulary\.model is missing"):
        rnnzoo.load(folder)


def test_a_file_that_is_not_listed_is_never_opened(folder):
    (folder / "evil.pkl").write_bytes(b"cos\nsystem\n")
    opened = checkpoint.open_checkpoint(folder)
    with pytest.raises(CheckpointError, match="lists no file"):
        opened.asset("evil.pkl")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "C:x", "", "."])
def test_a_path_out_of_the_folder_is_refused(folder, name):
    files = json.loads((folder / "files.json").read_text())
    files["files"][name] = files["files"]["config.json"]
    (folder / "files.json").write_text(json.dumps(files))
    with pytest.raises(UnsafePathError, match="plain path"):
        rnnzoo.load(folder)


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    secret = tmp_path / "secret"
    shutil.move(folder / "vocabulary.model", secret)
    (folder / "vocabulary.model").symlink_to(secret)
    with pytest.raises(UnsafePathError, match="link"):
        rnnzoo.load(folder)


def test_a_snapshot_of_the_hubs_cache_may_link_to_its_blobs(folder, tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(folder, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert rnnzoo.load(snapshot).family == "seq2seq"


# --- hostile and broken weights ------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x08\x00",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 50) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b"not json",
    ],
)
def test_a_broken_safetensors_header_is_refused(folder, header):
    (folder / "model.safetensors").write_bytes(header)
    relist(folder)
    with pytest.raises(WeightsError, match="safetensors"):
        rnnzoo.load(folder)


def test_a_truncated_weights_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    relist(folder)
    with pytest.raises(WeightsError, match="safetensors"):
        rnnzoo.load(folder)


KERNEL = "decoder/readout/kernel"


def _wrong_shape(stored):
    stored[KERNEL] = stored[KERNEL][:, :-1].copy()


def _transposed(stored):
    stored[KERNEL] = np.ascontiguousarray(stored[KERNEL].T)


def _wrong_dtype(stored):
    stored[KERNEL] = stored[KERNEL].astype(np.float64)


def _missing(stored):
    del stored[KERNEL]


def _extra(stored):
    stored["decoder/lambda/code"] = np.zeros(3, np.float32)


def _int8_without_scale(stored):
    stored[KERNEL] = stored[KERNEL].astype(np.int8)


def _scale_of_wrong_shape(stored):
    stored[KERNEL] = stored[KERNEL].astype(np.int8)
    stored[KERNEL + ".scale"] = np.ones((2, 2), np.float32)


def _not_finite(stored):
    stored[KERNEL][0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_wrong_shape, "has shape"),
        (_transposed, "has shape"),
        (_wrong_dtype, "dtype F64"),
        (_missing, "1 tensors missing"),
        (_extra, "1 not expected"),
        (_int8_without_scale, "go together"),
        (_scale_of_wrong_shape, "scale"),
        (_not_finite, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, change, message):
    edit_weights(folder, change)
    with pytest.raises(WeightsError, match=message):
        rnnzoo.load(folder)


def test_weights_of_another_checkpoint_are_refused(folder):
    edit_config(folder, lambda c: c.update(fingerprint="0" * 64))
    with pytest.raises(WeightsError, match="fingerprint"):
        rnnzoo.load(folder)


# --- hostile and broken configs ------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.update(format_version=99), FormatVersionError, "upgrade|Upgrade"),
        (lambda c: c.update(format_version="1"), CheckpointError, "whole number"),
        (lambda c: c.update(lambda_layer="os.system"), ConfigError, "lambda_layer"),
        (lambda c: c.pop("decoder"), ConfigError, "decoder"),
        (lambda c: c.update(family="transformer"), ConfigError, "transformer"),
        (lambda c: c["network"].update(shape=3), ConfigError, "shape"),
        (lambda c: c["network"].pop("embedding_dim"), ConfigError, "embedding_dim"),
        (lambda c: c["network"].update(decoder_dim="16"), ConfigError, "decoder_dim"),
        (lambda c: c["network"].update(embedding_dim=-1), ConfigError, "embedding_dim"),
        (lambda c: c["preprocessor"].update(tokenizer="x"), ConfigError, "tokenizer"),
        (lambda c: c["preprocessor"].update(reverse_source="no"), ConfigError, "reverse_source"),
        (lambda c: c["preprocessor"].update(source_language=5), ConfigError, "source_language"),
        (lambda c: c["decoder"].update(beam_size=10**9), ConfigError, "beam_size"),
        (lambda c: c["network"].update(num_encoder_layers=10**6), ConfigError, "num_encoder"),
        (lambda c: c["network"].update(num_decoder_layers=1), WeightsError, "not expected"),
        (lambda c: c["network"].update(vocab_size=10**400), ConfigError, "vocab_size"),
        (lambda c: c["network"].update(dropout=10**400), ConfigError, "dropout"),
        (lambda c: c["decoder"].update(seed=10**400), ConfigError, "seed"),
        (lambda c: c["decoder"].update(temperature=1e-38), ConfigError, "temperature"),
        (lambda c: c["preprocessor"].update(source_language="\ud800"), ConfigError, "language"),
    ],
)
def test_a_config_that_is_wrong_is_refused(folder, change, error, message):
    edit_config(folder, change)
    with pytest.raises(error, match=message):
        rnnzoo.load(folder)


def test_a_config_of_monstrous_size_allocates_nothing(folder):
    import tracemalloc

    edit_config(folder, lambda c: c["network"].update(decoder_dim=60_000, encoder_dim=60_000))
    tracemalloc.start()
    for weights_too in (True, False):
        with pytest.raises(ConfigError, match="parameters"):
            rnnzoo.load(folder, weights=weights_too)
    edit_config(folder, lambda c: c["network"].update(decoder_dim=4000, encoder_dim=4000))
    with pytest.raises(WeightsError, match="has shape"):
        rnnzoo.load(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_a_vocabulary_that_is_none_is_refused(folder):
    (folder / "vocabulary.model").write_bytes(b"hello")
    relist(folder)
    with pytest.raises(CheckpointError, match="SentencePiece"):
        rnnzoo.load(folder)


def test_a_vocabulary_with_a_piece_that_is_no_text_is_refused(folder):
    path = folder / "vocabulary.model"
    content = path.read_bytes()
    assert content.count(b"chat") >= 1
    path.write_bytes(content.replace(b"chat", b"ch\xffat"[:4]))
    relist(folder)
    with pytest.raises(CheckpointError, match="SentencePiece"):
        rnnzoo.load(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
RECORDS = st.dictionaries(
    st.sampled_from(["config.json", "model.safetensors", "../x", "a\ud800"]) | st.text(max_size=8),
    st.fixed_dictionaries(
        {"size": st.integers(), "sha256": st.text("0123456789abcdef", max_size=64)}
    )
    | JSON,
    max_size=3,
)


@given(
    content=st.fixed_dictionaries({"format_version": st.just(1) | JSON, "files": RECORDS | JSON})
    | JSON
)
@settings(max_examples=150, deadline=None)
def test_no_list_of_files_does_harm(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "files.json").write_text(json.dumps(content, indent=1) + "\n")
    with pytest.raises(CheckpointError):
        checkpoint.open_checkpoint(folder)


@given(
    part=st.sampled_from(["network", "preprocessor", "decoder"]),
    key=st.text(max_size=9),
    value=JSON,
    known=st.booleans(),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_no_value_in_a_config_does_harm(tiny_saved, part, key, value, known, data):
    """Whatever stands in a config, it is refused by an error of ours or is a fine value."""
    from rnnzoo.config import read_config
    from rnnzoo.seq2seq import DecodingOptions, PreprocessorConfig, Seq2SeqConfig

    kinds = {
        "network": Seq2SeqConfig,
        "preprocessor": PreprocessorConfig,
        "decoder": DecodingOptions,
    }
    fields = dict(tiny_saved[0].saved_parts()[part])
    fields[data.draw(st.sampled_from(sorted(fields))) if known else key] = value
    try:
        config = read_config(kinds[part], fields, "config.json")
    except ConfigError:
        return
    assert isinstance(config, kinds[part])


def test_a_circle_of_links_and_a_pipe_are_refused(folder):
    (folder / "vocabulary.model").unlink()
    (folder / "vocabulary.model").symlink_to("vocabulary.model")
    with pytest.raises(CheckpointError):
        rnnzoo.load(folder)
    (folder / "files.json").unlink()
    os.mkfifo(folder / "files.json")
    with pytest.raises(CheckpointError, match="no file"):
        rnnzoo.load(folder)


# --- saving --------------------------------------------------------------------------------


@pytest.mark.parametrize("files_written", [1, 2, 4])
def test_an_interrupted_save_leaves_the_old_checkpoint(
    tiny_saved, folder, monkeypatch, files_written
):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    synced = []

    def stop(handle):
        synced.append(handle)
        if len(synced) == files_written:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        tiny_saved[0].save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("tiny_saved", [True], ids=["attention"], indirect=True)
def test_a_process_killed_while_it_saves_leaves_a_checkpoint_that_loads(folder):
    code = (
        "import os, sys, rnnzoo\n"
        "model, real = rnnzoo.load(sys.argv[1]), os.rename\n"
        "def rename(a, b, **options):\n"
        "    real(a, b)\n"
        "    os._exit(9)\n"
        "os.rename = rename\n"
        "model.save(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, check=False
    )
    assert done.returncode == 9
    assert not folder.exists()  # killed between the two moves
    assert rnnzoo.load(folder).family == "seq2seq"


def test_what_a_stopped_save_put_aside_is_found_by_a_bare_name(folder, monkeypatch):
    folder.rename(folder.with_name(f".{folder.name}.previous"))
    monkeypatch.chdir(folder.parent)
    assert rnnzoo.load(folder.name).family == "seq2seq"


def test_the_working_directory_and_mount_points_are_not_replaced(tiny_saved, folder, monkeypatch):
    (folder / "in").mkdir()
    before = sorted(path.name for path in folder.iterdir())
    for working in (folder, folder / "in"):
        monkeypatch.chdir(working)
        with pytest.raises(CheckpointError, match="holds the working directory"):
            tiny_saved[0].save(os.path.relpath(folder))
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == folder.resolve())
    with pytest.raises(CheckpointError, match="is a mount point"):
        tiny_saved[0].save(folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_path_that_no_system_takes_is_an_error_of_ours():
    for path in ("/" + "x" * 5000, "/\0"):
        with pytest.raises(CheckpointError, match=r"cannot open|not a folder"):
            rnnzoo.load(path)


def test_a_list_is_read_once(folder, monkeypatch):
    """Another process may replace the folder between two reads."""
    reads = []
    real = Path.read_bytes

    def counted(path):
        reads.append(path.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    checkpoint.read_file_list(folder / "files.json")
    assert reads == ["files.json"]


def test_a_save_after_a_stopped_one_puts_things_right(tiny_saved, folder):
    folder.rename(folder.with_name(f".{folder.name}.previous"))
    assert rnnzoo.load(folder).family == "seq2seq"
    tiny_saved[0].save(folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_full_disk_is_an_error_and_loses_nothing(tiny_saved, folder, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        tiny_saved[0].save(folder)
    monkeypatch.undo()
    assert rnnzoo.load(folder).family == "seq2seq"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_linked_folder_is_saved_into_where_it_lies(tiny_saved, folder):
    link = folder.with_name("link")
    link.symlink_to(folder)
    for _ in range(2):
        tiny_saved[0].save(link)
    assert link.is_symlink()
    assert rnnzoo.load(link).family == "seq2seq"


def test_weights_too_large_for_float16_are_not_saved(tiny, folder):
    weight = tiny.weights_by_path()[KERNEL]
    weight.assign(np.full(weight.shape, 1e6))
    with pytest.raises(WeightsError, match="not finite in float16"):
        tiny.save(folder, storage="float16")
    assert rnnzoo.load(folder).family == "seq2seq"


def test_keywords_of_save_are_honoured(tiny_saved, folder):
    with pytest.raises(CheckpointError, match="overwrite=False"):
        tiny_saved[0].save(folder, overwrite=False)
    with pytest.raises(InputError, match="storge"):
        tiny_saved[0].save(folder, storge="int8")
    with pytest.raises(CheckpointError, match="storage must be"):
        tiny_saved[0].save(folder, storage="int4")


def test_a_persons_own_files_are_kept_and_a_folder_of_other_things_is_not_touched(
    tiny_saved, folder
):
    tiny = tiny_saved[0]
    (folder / "notes.txt").write_text("mine")
    (folder / "assets").mkdir()
    (folder / "assets" / "more.txt").write_text("mine too")
    tiny.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "assets" / "more.txt").read_text() == "mine too"
    other = folder.parent / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        tiny.save(other)
    assert os.listdir(other) == ["chapter.tex"]
    with pytest.raises(CheckpointError, match="is a file"):
        tiny.save(other / "chapter.tex")


def test_weights_that_are_not_finite_are_not_saved(tiny, tmp_path):
    weight = tiny.weights_by_path()[KERNEL]
    weight.assign(np.full(weight.shape, np.inf))
    with pytest.raises(WeightsError, match="not finite"):
        tiny.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_loading_without_weights_and_with_overrides(folder):
    fresh = rnnzoo.load(folder, weights=False, dropout=0.5)
    assert fresh.config.dropout == 0.5
    with pytest.raises(InputError, match="what can be changed"):
        rnnzoo.load(folder, vocab_size=7)


def test_fingerprint_depends_on_names_shapes_dtypes_and_bytes_alone():
    a = {"x": np.zeros((2, 3), np.float32), "y": np.ones(2, np.float32)}
    same = {"y": a["y"].copy(), "x": np.asfortranarray(a["x"])}
    assert weights.fingerprint(a) == weights.fingerprint(same)
    others = [
        {"z": a["x"], "y": a["y"]},
        {**a, "x": a["x"].reshape(3, 2)},
        {**a, "x": a["x"].astype(np.float16)},
        {**a, "y": np.array([1, 2], np.float32)},
    ]
    assert len({weights.fingerprint(o) for o in [a, *others]}) == 5
