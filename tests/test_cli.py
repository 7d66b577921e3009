"""The command line: output, exit codes, files, noise."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import rnnzoo
from rnnzoo import hub
from rnnzoo.cli import main

NAME = "seq2seq-en-fr"
pytestmark = pytest.mark.usefixtures("shared_by_commands")


def test_list(capsys):
    assert main(["list", "seq2seq-*"]) == 0
    assert NAME in capsys.readouterr().out
    assert main(["list", "--json", "--task", "translation"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == set(rnnzoo.list_models(task="translation"))
    assert main(["list", "none-*"]) == 2


def test_info(capsys):
    assert main(["info", NAME]) == 0
    assert "## Data" in capsys.readouterr().out
    assert main(["info", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == NAME
    assert main(["info", "seq2seq-en-fx"]) == 2
    assert NAME in capsys.readouterr().err


def test_predict_texts_and_json(capsys, translator):
    texts = ["I am happy.", "Yes."]
    assert main(["predict", NAME, *texts]) == 0
    expected = [translator.predict(text) for text in texts]
    assert capsys.readouterr().out.splitlines() == [str(e) for e in expected]
    assert (
        main(["predict", NAME, texts[0], "--json", "--num-hypotheses", "2", "--beam-size=3"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == translator.predict(texts[0], beam_size=3).text
    assert len(found["hypotheses"]) == 2


def test_predict_files_and_standard_input(capsys, tmp_path, monkeypatch, translator):
    (tmp_path / "in.txt").write_text("\ufeffI am happy.\r\n\nYes.\n", encoding="utf-8")
    out = tmp_path / "out.txt"
    assert main(["predict", NAME, "-i", str(tmp_path / "in.txt"), "-o", str(out)]) == 0
    expected = [str(translator.predict(text)) for text in ("I am happy.", "", "Yes.")]
    assert out.read_text(encoding="utf-8").splitlines() == expected
    stdin = SimpleNamespace(buffer=io.BytesIO(b"Yes.\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["predict", NAME]) == 0
    assert capsys.readouterr().out == expected[2] + "\n"


def test_several_hypotheses_are_printed(capsys, translator):
    assert main(["predict", NAME, "I am happy.", "--num-hypotheses", "3"]) == 0
    expected = translator.predict("I am happy.", num_hypotheses=3).hypotheses
    assert capsys.readouterr().out.splitlines() == [h.text for h in expected]


def test_predict_in_int8(capsys, translator):
    assert main(["predict", NAME, "I am happy.", "--quantize", "int8"]) == 0
    assert capsys.readouterr().out == f"{translator.predict('I am happy.')}\n"


def test_help_lists_the_options_of_the_model(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["predict", NAME, "--help"])
    assert "--length-penalty" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["predict", "--help"])
    assert "options are listed" in capsys.readouterr().out


def test_every_broken_folder_is_named_with_its_reason(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    told = capsys.readouterr()
    assert told.out.count("NOT whole") == 2
    for name in "ab":
        assert f"{tmp_path / name} is not a folder" in told.err


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_is_no_traceback(redirect):
    command = f"{sys.executable} -m rnnzoo list {redirect}"
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in found.stderr
    assert found.returncode == (1 if "full" in redirect else 0)


def test_an_encoding_that_lacks_a_letter_shows_a_question_mark():
    found = subprocess.run(
        [sys.executable, "-m", "rnnzoo", "info", NAME],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, b"")


def test_predict_plots(tmp_path):
    assert main(["predict", NAME, "Yes.", "--plot", str(tmp_path / "a.svg")]) == 0
    assert "<svg" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict", NAME, "x", "--beam-size", "0"], 2, "beam_size"),
        (["predict", NAME, "x", "--bem-size", "3"], 2, "beam_size"),
        (["predict", NAME, "x", "--beam-size"], 2, "needs a value"),
        (["predict", NAME, "-i", "/none/such"], 2, "cannot read"),
        (["predict", NAME, "x", "-i", "y"], 2, "not both"),
        (["predict", NAME, "x", "-b", "3"], 2, "unknown option -b"),
        (["predict", NAME, "x", "--quantize", "int4"], 2, "quantize must be 'int8'"),
        (["listen", "deepspeech-digits", "--quantize", "int4"], 2, "quantize must be 'int8'"),
        (["listen", "deepspeech-digits", "--adapter", "./none"], 1, "not a folder"),
        (["export", NAME, "out", "--quantize", "int4"], 2, "quantize must be 'int8'"),
        (["export", NAME, "out", "--adapter", "./none"], 1, "not a folder"),
        (["export", NAME, "out", "--length", "=5"], 2, "the axis has no name"),
        (["export", NAME, "out", "--length", "a=5", "--length", "a=6"], 2, "it has one already"),
        (["verify", "a.keras"], 2, "a .keras file is no checkpoint"),
        (["download", "a.keras"], 2, "a .keras file is no checkpoint"),
        (["predict", "--beam-size", "3", NAME], 2, "follow its name"),
        (["list", "--task", "none"], 2, "of the task 'none'"),
        (["list", "none", "--json"], 2, "no model"),
        (["verify", "nope"], 2, "no model named 'nope'"),
        (["predict", "seq2seq-en-fr-sutskever", "x", "--plot", "a.svg"], 2, "no attention"),
        (["predict", NAME, "x", "-o", "/none/such"], 2, "cannot write"),
        (["predict", "seq2seq", "x"], 2, "no model named"),
        (["predict", "./none", "x"], 1, "not a folder"),
        (["verify", "hf://none/none"], 3, "no such repository"),
        (["predict", NAME, "x", "--plot", "/none/a.svg"], 2, "no such folder"),
        (["predict", NAME, "x", "--plot", "a.xyz"], 2, "ending"),
        (["predict", NAME, "x", "--inputs", "y"], 2, "not an option"),
        (["predict", NAME, "x", "-o", "/"], 2, "it is a folder"),
        (["download", "hf://"], 2, "hf://"),
        (["push", "./none", "zoo/x"], 1, "not a folder"),
        (["push", "./none", "x"], 2, "organisation/name"),
    ],
)
def test_exit_codes_and_messages(arguments, code, message, capsys, hub_server):
    assert main(arguments) == code
    assert message in capsys.readouterr().err


def test_input_that_is_not_text_is_named_and_no_output_is_left(capsys, tmp_path):
    (tmp_path / "in.bin").write_bytes(b"\xff\xfe\x00")
    out = tmp_path / "out.txt"
    assert main(["predict", NAME, "-i", str(tmp_path / "in.bin"), "-o", str(out)]) == 2
    assert "UTF-8" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.bin"]


def test_output_goes_into_devices_and_through_links(tmp_path, translator):
    assert main(["predict", NAME, "--json", "Yes.", "-o", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    assert main(["predict", NAME, "-o", str(tmp_path / "link.txt"), "Yes."]) == 0
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == f"{translator.predict('Yes.')}\n"


def test_odd_line_ends_do_not_make_lines(tmp_path, capsys):
    (tmp_path / "in.txt").write_text("Yes.\x0cNo.\u2028Good.\nYes.\n", encoding="utf-8")
    assert main(["predict", NAME, "-i", str(tmp_path / "in.txt")]) == 0
    assert capsys.readouterr().out.count("\n") == 2


def test_verify_and_download(capsys, tmp_path, monkeypatch):
    assert main(["verify"]) == 0
    assert capsys.readouterr().out.count("all whole") == len(rnnzoo.list_models())
    assert main(["download", NAME, "--json"]) == 0
    folder = json.loads(capsys.readouterr().out)["folder"]
    assert folder == str(hub.bundled_folder(NAME))
    import shutil

    shutil.copytree(folder, tmp_path / "broken")
    path = tmp_path / "broken" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[5000] ^= 4
    path.write_bytes(content)
    assert main(["verify", str(tmp_path / "broken"), NAME, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["ok"] for row in rows] == [False, True]


def test_a_real_process_is_quiet_and_lists_without_tensorflow():
    def run(*arguments, **options):
        return subprocess.run(
            [sys.executable, "-m", "rnnzoo", *arguments],
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    found = run("predict", NAME, input="I am happy.\n")
    assert (found.returncode, found.stderr) == (0, "")
    assert len(found.stdout.splitlines()) == 1
    code = "import sys, rnnzoo.cli; rnnzoo.cli.main(['list']); print('tensorflow' in sys.modules)"
    listed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert listed.stdout.splitlines()[-1] == "False"
