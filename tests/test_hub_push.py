"""Publishing on a hub on loopback with the genuine client: whole or not at all."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from hub_server import READER, WRITER
from test_hub import SMALL, command

import rnnzoo
from rnnzoo import checkpoint, hub, registry
from rnnzoo.cli import main
from rnnzoo.errors import CorruptedFileError, InputError, UploadError

MADE_BY_THE_HUB = {".gitattributes"}


@pytest.fixture
def name(tmp_path):
    """A repository's name that nobody has."""
    return f"zoo/{tmp_path.name}"


@pytest.fixture
def token(monkeypatch):
    """As after `hf auth login`."""
    monkeypatch.setenv("HF_TOKEN", WRITER)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint folder of one's own."""
    shutil.copytree(hub.bundled_folder(SMALL), tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def other(tmp_path):
    """Another checkpoint folder, with a file that the first has not."""
    checkpoint.save_checkpoint(
        tmp_path / "other",
        family="other",
        network={},
        preprocessor={},
        decoder={},
        weights={"kernel": np.ones((2, 3))},
        assets={"vocabulary.model": b"a b c"},
        card=checkpoint.CardFile(b"# other\n"),
    )
    return tmp_path / "other"


def test_a_model_that_was_pushed_is_loaded_as_it_was(hub_server, tiny_saved, name, tmp_path):
    model, text = tiny_saved[0], "the cat runs"
    commit = model.push_to_hub(name, token=WRITER, commit_message="a tiny one")
    assert commit == commit.commit_url
    again = rnnzoo.load(f"hf://{name}@{commit.oid}", cache_dir=tmp_path / "cache")
    assert again.predict(text).to_dict() == model.predict(text).to_dict()
    repository = hub_server.repository(name)
    assert repository.git("log", "--format=%s", "main") == "a tiny one\ninitial commit"
    assert f'rnnzoo.load("hf://{name}").predict' in repository.files()["README.md"].decode()
    weight = again.network.trainable_weights[0]
    weight.assign(np.asarray(weight) + 1)
    again.push_to_hub(f"{name}-tuned", token=WRITER)
    card = hub_server.repository(f"{name}-tuned").files()["README.md"].decode()
    assert f"base_model: {name}" in card


@pytest.mark.usefixtures("token")
def test_what_is_listed_is_sent_and_nothing_else(hub_server, folder, name):
    (folder / "evil.pkl").write_bytes(b"cos\nsystem\n")
    (folder / "notes.txt").write_text("mine")
    hub.push_folder(folder, name)
    files = hub_server.repository(name).files()
    listed = set(checkpoint.read_file_list(folder / "files.json"))
    assert set(files) - MADE_BY_THE_HUB == listed | {"files.json"}
    for one in listed:
        assert files[one] == (folder / one).read_bytes()


@pytest.mark.usefixtures("token")
def test_a_broken_folder_sends_nothing(hub_server, folder, name):
    with (folder / "config.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(CorruptedFileError):
        hub.push_folder(folder, name)
    assert hub_server.requests() == []


@pytest.mark.usefixtures("token")
def test_the_same_again_makes_no_commit(hub_server, folder, name):
    first, second = (hub.push_folder(folder, name) for _ in range(2))
    assert first.oid == second.oid == hub_server.repository(name).resolve("main")


@pytest.mark.usefixtures("token")
def test_files_of_the_last_checkpoint_go_and_those_of_others_stay(hub_server, other, folder, name):
    hub.push_folder(other, name)
    repository = hub_server.repository(name)
    repository.commit({"results.csv": b"a person's"})
    hub.push_folder(folder, name)
    files = set(repository.files())
    assert "vocabulary.model" not in files
    assert "results.csv" in files


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("line", ["*.safetensors", "config.json"])
def test_what_the_repository_ignores_is_named_and_nothing_is_committed(
    hub_server, folder, name, line
):
    before = hub_server.create(name).commit({".gitignore": f"{line}\n".encode()})
    ignored = line.replace("*", "model")
    with pytest.raises(UploadError, match=rf"\.gitignore leaves out {ignored}, and"):
        hub.push_folder(folder, name)
    assert hub_server.repository(name).resolve("main") == before


@pytest.mark.usefixtures("token")
def test_private_and_a_branch(hub_server, folder, name, tmp_path):
    commit = hub.push_folder(folder, name, private=True, revision="dev")
    repository = hub_server.repository(name)
    assert repository.is_private
    assert repository.resolve("dev") == commit.oid != repository.resolve("main")
    assert set(repository.files("main")) == MADE_BY_THE_HUB
    hub.push_folder(folder, name, revision="dev")
    repository.git("tag", "v1", "dev")
    with pytest.raises(InputError, match="is a tag"):
        hub.push_folder(folder, name, revision="v1")


@pytest.mark.parametrize(
    "repo_id", ["", "one", "a/b/c", "a b/c", "hf://a/b", "a/", "../b", "a/b.git", None]
)
def test_what_is_no_repository_is_named(hub_server, folder, repo_id):
    with pytest.raises(InputError, match="is no repository"):
        hub.push_folder(folder, repo_id)
    assert hub_server.requests() == []


@pytest.mark.parametrize("revision", ["", "a b", "a..b", "/a", "a/", "-a", "0" * 40])
def test_what_is_no_branch_is_named(hub_server, folder, name, revision):
    with pytest.raises(InputError, match="revision="):
        hub.push_folder(folder, name, revision=revision)
    assert hub_server.requests() == []


@pytest.mark.parametrize(
    ("token", "owner", "message"),
    [
        (None, "zoo", "hf auth login"),
        ("hf_wrong", "zoo", "hf auth login"),
        (READER, "zoo", "no permission"),
        (WRITER, "google", "no permission"),
    ],
)
def test_who_may_not_push_is_told_why(hub_server, folder, tmp_path, token, owner, message):
    with pytest.raises(UploadError, match=message):
        hub.push_folder(folder, f"{owner}/{tmp_path.name}", token=token)
    assert not hub_server.repository(f"{owner}/{tmp_path.name}").path.exists()


def test_who_may_read_alone_changes_nothing(hub_server, folder, name):
    hub.push_folder(folder, name, token=WRITER)
    before = hub_server.repository(name).resolve("main")
    with (folder / "README.md").open("a") as file:
        file.write("more")
    with pytest.raises(UploadError, match="no permission"):
        hub.push_folder(folder, name, token=READER)
    assert hub_server.repository(name).resolve("main") == before


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("status", "request_", "message"),
    [
        ("412", "POST /commit/", "changed by somebody else"),
        ("400", "POST /commit/", "the push failed: .*a fault was ordered.*; push again"),
        ("403", "PUT /_lfs/", "no permission"),
    ],
)
def test_a_push_that_is_refused_midway_shows_nothing_and_is_pushed_again(
    hub_server, folder, name, status, request_, message
):
    hub_server.order(status, request_)
    with pytest.raises(UploadError, match=message):
        hub.push_folder(folder, name)
    assert set(hub_server.repository(name).files()) == MADE_BY_THE_HUB
    assert hub.push_folder(folder, name).oid == hub_server.repository(name).resolve("main")


@pytest.mark.usefixtures("token")
def test_a_process_killed_while_it_pushes_leaves_the_old_checkpoint(
    hub_server, other, folder, name, tmp_path
):
    hub.push_folder(other, name)
    before = hub_server.repository(name).resolve("main")
    hub_server.forget()
    hub_server.order("hang", "PUT /_lfs/")
    arguments = [sys.executable, "-m", "rnnzoo", "push", str(folder), name]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    hub_server.wait_for("PUT /_lfs/")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert hub_server.repository(name).resolve("main") == before
    for pushed in (other, folder):
        found = registry.locate(f"hf://{name}", cache_dir=tmp_path / "cache")
        assert found.config == checkpoint.open_checkpoint(pushed).config
        hub.push_folder(folder, name)


def test_no_hub_and_no_network(folder, name):
    with socket.socket() as bound:  # and not listening: whoever comes is refused
        bound.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{bound.getsockname()[1]}"
        refused = command("push", folder, name, HF_ENDPOINT=gone, HF_TOKEN=WRITER)
    offline = command("push", folder, name, HF_HUB_OFFLINE="1", HF_TOKEN=WRITER)
    for found, message in ((refused, "refused"), (offline, "HF_HUB_OFFLINE")):
        assert found.returncode == 3
        assert message in found.stderr
        assert "Traceback" not in found.stderr


# --- the card --------------------------------------------------------------------------------


@pytest.mark.usefixtures("token")
def test_a_card_of_ours_is_renewed_and_one_that_a_person_wrote_on_the_hub_is_kept(
    hub_server, other, folder, name
):
    hub.push_folder(other, name)
    hub.push_folder(folder, name)
    repository = hub_server.repository(name)
    assert repository.files()["README.md"] == (folder / "README.md").read_bytes()
    repository.commit({"README.md": b"---\nlicense: mit\n---\nBy hand.\n"})
    for pushed in (other, folder):
        hub.push_folder(pushed, name)
        assert repository.files()["README.md"] == b"---\nlicense: mit\n---\nBy hand.\n"


@pytest.mark.usefixtures("token")
def test_a_card_that_a_person_wrote_in_the_folder_is_sent(hub_server, folder, name, tmp_path):
    hub.push_folder(folder, name)
    (folder / "README.md").write_text("By hand, here.\n")
    hub.push_folder(folder, name)
    repository = hub_server.repository(name)
    assert repository.files()["README.md"] == b"By hand, here.\n"
    loaded = rnnzoo.load(folder)
    loaded.push_to_hub(name)
    assert repository.files()["README.md"] == b"By hand, here.\n"
    assert rnnzoo.load(f"hf://{name}", cache_dir=tmp_path / "cache").family == "deeploc"


@pytest.mark.usefixtures("token")
def test_a_card_that_the_hub_refuses_is_named(hub_server, folder, name):
    (folder / "README.md").write_text("---\nlicense: my own\n---\nBy hand.\n")
    with pytest.raises(UploadError, match='"license" must be one of'):
        hub.push_folder(folder, name)


# --- the command line ------------------------------------------------------------------------


def test_push_on_the_command_line(hub_server, folder, name, capsys, monkeypatch):
    assert main(["push", str(folder), name]) == 3
    assert "hf auth login" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", WRITER)
    options = ["--private", "--revision", "dev", "--message", "hello", "--json"]
    assert main(["push", str(folder), name, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    repository = hub_server.repository(name)
    assert told["commit"] == repository.resolve("dev")
    assert told["address"] == f"hf://{name}@{told['commit']}"
    assert repository.git("log", "-1", "--format=%s", "dev") == "hello"
    assert main(["push", str(folder), name]) == 0
    url = capsys.readouterr().out.strip()
    assert url == f"{os.environ['HF_ENDPOINT']}/{name}/commit/{repository.resolve('main')}"
