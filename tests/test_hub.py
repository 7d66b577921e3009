"""Fetching from a hub on loopback with the genuine client: verified, pinned, offline."""

import shutil

import pytest

import rnnzoo
from rnnzoo import hub
from rnnzoo.errors import CorruptedFileError, DownloadError, InputError
from rnnzoo.manifest import FileRecord, HubRecord

COMMIT, OLDER = "a" * 40, "b" * 40


@pytest.fixture
def repository(hub_server, tmp_path):
    """A published checkpoint: `hf://zoo/NAME`, branch main at COMMIT, tag v1 at OLDER."""
    folder, older = tmp_path / "new", tmp_path / "old"
    source = hub.bundled_folder("seq2seq-en-fr")
    shutil.copytree(source, folder)
    shutil.copytree(source, older)
    (folder / "evil.pkl").write_bytes(b"cos\nsystem\n")
    name = f"zoo/{tmp_path.name}"
    hub_server.repositories[name] = {
        COMMIT: folder,
        OLDER: older,
        "main": folder,
        "v1": older,
    }
    yield name, folder
    del hub_server.repositories[name]


def fetch(name, tmp_path, revision="main", **options):
    return hub.fetch_repository(HubRecord(name, revision), tmp_path / "cache", **options)


def test_load_by_address_translates_as_the_bundled_model(repository, tmp_path, translator):
    name, _ = repository
    model = rnnzoo.load(f"hf://{name}", cache_dir=tmp_path / "cache")
    text = "Where is the station?"
    assert model.predict(text).to_dict() == translator.predict(text).to_dict()
    offline = rnnzoo.load(f"hf://{name}", cache_dir=tmp_path / "cache", local_files_only=True)
    assert offline.predict(text).text == translator.predict(text).text


def test_only_listed_files_are_asked_for(repository, tmp_path, hub_server):
    name, _ = repository
    hub_server.requests.clear()
    folder = fetch(name, tmp_path)
    assert hub_server.requests
    assert not any("evil" in request for request in hub_server.requests)
    assert not (folder / "evil.pkl").exists()


def test_a_revision_is_pinned(repository, tmp_path):
    name, _ = repository
    assert fetch(name, tmp_path).name == COMMIT
    assert fetch(name, tmp_path, "v1").name == OLDER
    with pytest.raises(InputError, match="another one"):
        rnnzoo.load(f"hf://{name}@v1", revision="main")


def test_a_corrupted_cached_file_is_fetched_again(repository, tmp_path):
    name, source = repository
    folder = fetch(name, tmp_path)
    places = {"model.safetensors": [5000], "files.json": range(0, 500, 45)}
    for cached, offsets in places.items():
        for offset in offsets:
            path = (folder / cached).resolve()
            content = bytearray(path.read_bytes())
            content[offset] ^= 1
            path.write_bytes(content)
            again = fetch(name, tmp_path)
            assert (again / cached).read_bytes() == (source / cached).read_bytes()


def test_a_corrupted_cached_file_and_a_hub_out_of_reach(repository, tmp_path, hub_server):
    name, _ = repository
    path = (fetch(name, tmp_path) / "model.safetensors").resolve()
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    kept = hub_server.repositories.pop(name)
    try:
        with pytest.raises(DownloadError, match=name):
            fetch(name, tmp_path)
    finally:
        hub_server.repositories[name] = kept


@pytest.mark.parametrize("cached", ["model.safetensors", "files.json"])
def test_a_corrupted_cached_file_is_refused_offline(repository, tmp_path, cached):
    name, _ = repository
    path = (fetch(name, tmp_path) / cached).resolve()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptedFileError, match=cached):
        fetch(name, tmp_path, local_files_only=True)


def test_a_repository_that_is_itself_corrupted_is_refused(repository, tmp_path):
    name, source = repository
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(CorruptedFileError, match=r"model\.safetensors"):
        fetch(name, tmp_path)


def test_the_manifests_records_stand_above_the_repositorys_list(repository, tmp_path):
    name, _ = repository
    expected = {"config.json": FileRecord(1, "0" * 64)}
    with pytest.raises(CorruptedFileError, match=r"config\.json"):
        fetch(name, tmp_path, expected=expected)


def test_what_is_missing_is_named(repository, tmp_path):
    name, source = repository
    with pytest.raises(DownloadError, match="no such repository"):
        fetch("zoo/none", tmp_path)
    with pytest.raises(DownloadError, match="no such revision"):
        fetch(name, tmp_path, "v99")
    with pytest.raises(DownloadError, match="not in the cache"):
        hub.fetch_repository(HubRecord(name, "main"), tmp_path / "empty", True)
    (source / "vocabulary.model").unlink()
    with pytest.raises(DownloadError, match=r"no file vocabulary\.model"):
        fetch(name, tmp_path)


@pytest.mark.parametrize(
    "uri", ["hf://", "hf://datasets/a/b", "hf://a/b/file.txt", "hf://a b/c", "hf://one"]
)
def test_an_address_that_is_none_is_refused(uri):
    with pytest.raises(InputError, match="hf://"):
        rnnzoo.load(uri)


def test_a_corrupted_bundled_file_is_refused(translator, tmp_path, monkeypatch):
    shutil.copytree(hub.bundled_folder("seq2seq-en-fr"), tmp_path / "checkpoints/seq2seq-en-fr")
    monkeypatch.setattr(hub, "_PACKAGE", tmp_path)
    rnnzoo.load("seq2seq-en-fr")
    path = tmp_path / "checkpoints/seq2seq-en-fr/vocabulary.model"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptedFileError, match="Reinstall"):
        rnnzoo.load("seq2seq-en-fr")
