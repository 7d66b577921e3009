"""Fetching from a hub on loopback with the genuine client: verified, pinned, offline."""

import concurrent.futures
import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hub_server import READER

import rnnzoo
from rnnzoo import checkpoint, hub
from rnnzoo.errors import ConfigError, CorruptedFileError, DownloadError, InputError
from rnnzoo.manifest import FileRecord, HubRecord

SMALL = "deeploc-multiloc"


@pytest.fixture
def repository(hub_server, tmp_path):
    """A published checkpoint, the tag v1 on it, and a commit later files that are no business of
    ours."""
    made = hub_server.create(f"zoo/{tmp_path.name}")
    made.commit_folder(hub.bundled_folder(SMALL))
    made.git("tag", "v1")
    made.commit({"evil.pkl": b"cos\nsystem\n", "config.py": b"raise SystemExit"})
    return made


def fetch(name, tmp_path, revision="main", **options):
    return hub.fetch_repository(HubRecord(name, revision), tmp_path / "cache", **options)


def flip(path, offset):
    """Change a bit of a cached blob."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.resolve().write_bytes(content)


def command(*arguments, **environment):
    """Run `rnnzoo` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rnnzoo", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_load_by_address_translates_as_the_bundled_model(hub_server, tmp_path, translator):
    made = hub_server.create(f"zoo/{tmp_path.name}")
    made.commit_folder(hub.bundled_folder("seq2seq-en-fr"))
    text, cache = "Where is the station?", tmp_path / "cache"
    model = rnnzoo.load(f"hf://{made.name}", cache_dir=cache)
    assert model.predict(text).to_dict() == translator.predict(text).to_dict()
    offline = rnnzoo.load(f"hf://{made.name}", cache_dir=cache, local_files_only=True)
    assert offline.predict(text).text == translator.predict(text).text


def test_only_listed_files_are_asked_for(repository, tmp_path, hub_server):
    folder = fetch(repository.name, tmp_path)
    asked = {line.rpartition("/")[2] for line in hub_server.requests()}
    assert asked == {"files.json", *checkpoint.read_file_list(folder / "files.json")}
    assert not {"evil.pkl", "config.py"} & {path.name for path in folder.iterdir()}


def test_a_revision_is_pinned(repository, tmp_path):
    name, head = repository.name, repository.resolve("main")
    assert fetch(name, tmp_path).name == head
    assert fetch(name, tmp_path, "v1").name == repository.resolve("v1") != head
    with pytest.raises(InputError, match="another one"):
        rnnzoo.load(f"hf://{name}@v1", revision="main")


def test_a_corrupted_cached_file_is_fetched_again(repository, tmp_path):
    folder = fetch(repository.name, tmp_path)
    places = {"model.safetensors": [5000], "files.json": range(180, 400, 80)}
    for cached, offsets in places.items():
        for offset in offsets:
            whole = (folder / cached).read_bytes()
            flip(folder / cached, offset)
            assert (fetch(repository.name, tmp_path) / cached).read_bytes() == whole


def test_a_cached_file_that_was_cut_is_fetched_again(repository, tmp_path):
    path = fetch(repository.name, tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    path.resolve().write_bytes(whole[:1000])
    assert (fetch(repository.name, tmp_path) / path.name).read_bytes() == whole


def test_a_corrupted_cached_file_and_a_repository_that_has_gone(repository, tmp_path):
    flip(fetch(repository.name, tmp_path) / "model.safetensors", 5000)
    shutil.rmtree(repository.path)
    with pytest.raises(DownloadError, match=repository.name):
        fetch(repository.name, tmp_path)


@pytest.mark.parametrize("cached", ["model.safetensors", "files.json"])
def test_a_corrupted_cached_file_is_refused_offline(repository, tmp_path, cached):
    path = fetch(repository.name, tmp_path) / cached
    flip(path, path.stat().st_size // 2)
    with pytest.raises(CorruptedFileError, match="fetched again when online"):
        fetch(repository.name, tmp_path, local_files_only=True)


def test_a_repository_that_is_itself_corrupted_is_refused(repository, tmp_path):
    content = repository.files()["model.safetensors"]
    repository.commit({"model.safetensors": content[:-1] + b"\x00\x00"})
    with pytest.raises(CorruptedFileError, match=r"model\.safetensors"):
        fetch(repository.name, tmp_path)


def test_the_manifests_records_stand_above_the_repositorys_list(repository, tmp_path):
    expected = {"config.json": FileRecord(1, "0" * 64)}
    with pytest.raises(CorruptedFileError, match=r"config\.json"):
        fetch(repository.name, tmp_path, expected=expected)


def test_what_is_missing_is_named(repository, tmp_path):
    name = repository.name
    with pytest.raises(DownloadError, match="no such repository"):
        fetch("zoo/none", tmp_path)
    with pytest.raises(DownloadError, match="no such revision"):
        fetch(name, tmp_path, "v99")
    with pytest.raises(DownloadError, match="not in the cache"):
        hub.fetch_repository(HubRecord(name, "main"), tmp_path / "empty", True)
    repository.commit({"config.json": None})
    with pytest.raises(DownloadError, match=r"no file config\.json"):
        fetch(name, tmp_path)


def test_a_card_that_a_person_changed_on_the_hub_does_no_harm(repository, tmp_path):
    repository.commit({"README.md": b"what a person wrote"})
    folder = fetch(repository.name, tmp_path)
    assert (folder / "README.md").read_bytes() == b"what a person wrote"
    repository.commit({"README.md": None})
    folder = fetch(repository.name, tmp_path)
    assert not (folder / "README.md").exists()
    assert checkpoint.open_checkpoint(folder).config.family == "deeploc"


def test_a_family_that_is_not_known_is_named(repository, tmp_path):
    folder = tmp_path / "odd"
    shutil.copytree(hub.bundled_folder(SMALL), folder)
    config = json.loads((folder / "config.json").read_text())
    content = json.dumps({**config, "family": "transformer"}).encode()
    listed = json.loads((folder / "files.json").read_text())
    listed["files"]["config.json"] = {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    files = (json.dumps(listed, indent=1) + "\n").encode()
    repository.commit({"config.json": content, "files.json": files})
    with pytest.raises(ConfigError, match="no family 'transformer' here"):
        rnnzoo.load(f"hf://{repository.name}", cache_dir=tmp_path / "cache")


def test_tokens(hub_server, tmp_path, monkeypatch):
    made = hub_server.create(f"zoo/{tmp_path.name}", private=True)
    made.commit_folder(hub.bundled_folder(SMALL))
    with pytest.raises(DownloadError, match="hf auth login"):
        fetch(made.name, tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DownloadError, match="hf auth login"):
        fetch(made.name, tmp_path)
    monkeypatch.setenv("HF_TOKEN", READER)
    assert fetch(made.name, tmp_path).name == made.resolve("main")


def test_without_a_connection_the_cache_is_used_or_missed_at_once(repository, tmp_path):
    folder = fetch(repository.name, tmp_path)
    with socket.socket() as bound:  # and not listening: whoever comes is refused
        bound.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{bound.getsockname()[1]}"

        def download(cache):
            place = ("--cache-dir", tmp_path / cache)
            return command("download", f"hf://{repository.name}", *place, HF_ENDPOINT=gone)

        found = download("cache")
        assert (found.returncode, found.stdout.strip()) == (0, str(folder))
        missed = download("empty")
        assert "Retrying" not in missed.stderr  # as the client alone does for 23 seconds
        assert missed.returncode == 3
        assert "the hub is out of reach" in missed.stderr
        flip(folder / "model.safetensors", 5000)
        broken = download("cache")
        assert broken.returncode == 1
        assert "fetched again when online" in broken.stderr


def test_a_server_that_stops_within_a_file_and_comes_back(repository, tmp_path, hub_server):
    hub_server.order("stop", "GET model.safetensors", after=100_000)
    with hub_server.restarted_when_it_stops():
        folder = fetch(repository.name, tmp_path)
    assert checkpoint.open_checkpoint(folder).config.family == "deeploc"
    gets = [line for line in hub_server.requests() if "GET" in line and "model.safe" in line]
    assert len(gets) >= 2


def test_an_answer_that_is_cut_short_is_an_error_and_leaves_no_half_file(
    repository, tmp_path, hub_server
):
    hub_server.order("truncate", "GET model.safetensors", after=100_000)
    with pytest.raises(DownloadError, match="Consistency check failed"):
        fetch(repository.name, tmp_path)
    assert checkpoint.open_checkpoint(fetch(repository.name, tmp_path)).files


@pytest.fixture
def small_disk(tmp_path):
    """A place for 100 kB: a file system in memory, or where nobody may mount one, a limit."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield place
        subprocess.run(["umount", str(place)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield place
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_a_full_disk_is_an_error_and_nothing_half_is_opened(repository, small_disk):
    with pytest.raises(DownloadError, match=r"the disk is full.*another cache_dir"):
        fetch(repository.name, small_disk)
    with pytest.raises(DownloadError, match="not in the cache"):
        fetch(repository.name, small_disk, local_files_only=True)


@pytest.fixture
def read_only(tmp_path):
    """A place of our own that cannot be written; root is somebody else for the while."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    os.seteuid(os.getuid())
    shutil.rmtree(place)


def test_a_cache_that_cannot_be_written(repository, read_only):
    folder = fetch(repository.name, read_only)
    (read_only / "empty").mkdir()
    for path in (read_only / "empty", *(read_only / "cache").rglob("*"), read_only / "cache"):
        if path.is_dir():
            path.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        assert fetch(repository.name, read_only) == folder
        with pytest.raises(DownloadError, match=r"cannot be written.*another cache_dir"):
            fetch(repository.name, read_only / "empty")
    finally:
        os.seteuid(os.getuid())
        for path in (read_only / "cache", *(read_only / "cache").rglob("*")):
            if path.is_dir():
                path.chmod(0o755)


def test_two_processes_load_into_an_empty_cache_at_once(repository, tmp_path):
    arguments = ["verify", f"hf://{repository.name}", "--cache-dir", str(tmp_path / "cache")]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: command(*arguments), range(2)))
    assert [one.returncode for one in both] == [0, 0], both
    assert fetch(repository.name, tmp_path, local_files_only=True)


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
