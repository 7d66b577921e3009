"""tools/publish.py: entries on a hub on loopback, and in the manifest."""

import shutil

import publish
import pytest
from hub_server import WRITER
from test_hub import SMALL

from rnnzoo import hub, manifest


@pytest.fixture
def published(hub_server, tmp_path, monkeypatch):
    """Run the tool on a copy of the manifest, as who has logged in; gives the entry of SMALL."""
    path = tmp_path / "weights_manifest.json"
    shutil.copy(publish.MANIFEST, path)
    monkeypatch.setattr(publish, "MANIFEST", path)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    shutil.rmtree(hub_server.repository(f"zoo/{SMALL}").path, ignore_errors=True)

    def run(*arguments, fault=()):
        hub_server.forget()
        if fault:
            hub_server.order(*fault)
        code = publish.main(["--org", "zoo", SMALL, *arguments])
        return code, manifest.read_manifest(path).entries[SMALL]

    return run


def writes(hub_server):
    return [line for line in hub_server.requests() if line.startswith(("POST", "PUT", "DELETE"))]


def test_a_dry_run_says_what_it_would_do_and_touches_nothing(hub_server, published, capsys):
    code, entry = published("--dry-run")
    told = capsys.readouterr().out
    assert code == 0
    for words in (f"create zoo/{SMALL}", "upload 4 files", f"tag {publish.TAG}", "manifest"):
        assert words in told
    assert writes(hub_server) == []
    assert entry.hub is None


def test_an_entry_is_published_tagged_and_loaded_from_there(hub_server, published, tmp_path):
    code, entry = published()
    repository = hub_server.repository(f"zoo/{SMALL}")
    assert code == 0
    assert entry.hub == manifest.HubRecord(f"zoo/{SMALL}", repository.resolve(publish.TAG))
    elsewhere = manifest.Entry(**{**vars(entry), "bundled": False})
    folder = hub.fetch_entry(elsewhere, tmp_path / "cache")
    assert folder.name == entry.hub.revision
    assert {path.name for path in folder.iterdir()} == set(entry.files)


def test_published_again_it_does_nothing(hub_server, published, capsys):
    _, first = published()
    for arguments in ((), ("--dry-run",)):
        capsys.readouterr()
        code, again = published(*arguments)
        assert (code, again) == (0, first)
        assert "nothing to do" in capsys.readouterr().out
        assert writes(hub_server) == []


def test_a_run_that_stopped_before_the_manifest_was_written_goes_on(hub_server, published):
    _, first = published()
    known = manifest.read_manifest(publish.MANIFEST)
    known.entries[SMALL] = manifest.Entry(**{**vars(first), "hub": None})
    manifest.write_manifest(known, publish.MANIFEST)
    code, again = published()
    assert (code, again) == (0, first)
    assert writes(hub_server) == []


def test_a_run_that_stopped_before_the_tag_goes_on(hub_server, published):
    code, entry = published(fault=("400", "POST /tag/"))
    repository = hub_server.repository(f"zoo/{SMALL}")
    pushed = repository.resolve("main")
    assert code == 1 and entry.hub is None and repository.resolve(publish.TAG) is None
    code, entry = published()
    assert (code, entry.hub) == (0, manifest.HubRecord(f"zoo/{SMALL}", pushed))
    assert repository.resolve(publish.TAG) == pushed


def test_a_tag_never_points_to_other_weights(hub_server, published, capsys):
    repository = hub_server.create(f"zoo/{SMALL}")
    repository.git("tag", publish.TAG)
    code, entry = published()
    assert code == 1
    assert "raise the package's version" in capsys.readouterr().err
    assert entry.hub is None
    assert writes(hub_server) == []


def test_who_is_not_logged_in_is_told(hub_server, published, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    code, entry = published()
    assert code == 1
    assert "hf auth login" in capsys.readouterr().err
    assert entry.hub is None


def test_a_name_that_is_none_is_refused(published, capsys):
    with pytest.raises(SystemExit, match="2"):
        publish.main(["--org", "zoo", "none"])
    assert "not in the manifest: none" in capsys.readouterr().err
