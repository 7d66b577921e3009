"""The README's Python runs as it stands."""

import doctest
import re
import shutil

import soundfile
from conftest import ROOT
from hub_server import WRITER

README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIPS = ROOT / "tests" / "data" / "speech"
RECORDINGS = {
    "recording.wav": "2277-149874-0011.mp3",
    "order.wav": "pv-08b22cb8.opus",
    "digits.wav": "fsdd-yweweler-3-1-4.opus",
}


def test_the_first_example_prints_what_it_says():
    assert ">>> " in README
    test = doctest.DocTestParser().get_doctest(README, {}, "README.md", "README.md", 0)
    result = doctest.DocTestRunner(verbose=False).run(test)
    assert result.attempted >= 3
    assert result.failed == 0


def test_the_code_blocks_run_in_order(tmp_path, monkeypatch, hub_server):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    for name, clip in RECORDINGS.items():
        soundfile.write(tmp_path / name, *soundfile.read(CLIPS / clip))
    shutil.copy(ROOT / "tests" / "data" / "ink" / "foot.inkml", tmp_path / "line.inkml")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["command"].slots == {"what": "else"}
    assert names["heard"].text == names["listener"].predict("recording.wav").text != ""
    assert names["order"].slots == {"coffeeDrink": "iced coffee", "sugarAmount": "brown sugar"}
    assert names["reading"].text == names["reader"].predict(names["reading"].strokes).text != ""
    assert (tmp_path / "note.svg").read_text() == names["note"].to_svg()
    assert len(names["said"]) == 2 and "reader" in names["said"][0]
    assert (tmp_path / "medical" / "model.safetensors").stat().st_size < 500_000
    assert names["tuned"].predict("Yes.").text == names["translator"].predict("Yes.").text
    assert set(names["sorter"].preprocessor.config.locations) == {"secreted", "elsewhere"}
    assert (tmp_path / "my-translator" / "files.json").exists()
    assert hub_server.repository("me/my-translator").is_private


def test_the_commands_it_names_are_known(capsys):
    import pytest

    from rnnzoo.cli import main

    for command in set(
        re.findall(
            r"^(?:(?:cat|arecord) .*\| )?rnnzoo "
            r"(list|info|predict|listen|verify|download|push|export)\b",
            README,
            re.MULTILINE,
        )
    ):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
    assert "usage: rnnzoo" in capsys.readouterr().out


def test_pictures_are_there():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).stat().st_size > 1000
