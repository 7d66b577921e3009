"""The manifest: its schema, and every figure in it recomputed from what ships."""

import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.numpy
from conftest import loaded_once
from hub_server import metadata_errors
from hypothesis import given, settings
from hypothesis import strategies as st
from test_task import close

from rnnzoo import checkpoint, hub, manifest
from rnnzoo.errors import ManifestError, UnsafePathError

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = manifest.package_manifest().entries
SIZE_LIMITS = {
    "deeploc-attn": 8e6,
    "deeploc-multiloc": 3e6,
    "deeploc-multiloc-clean": 3e6,
    "deepspeech-commands": 4e6,
    "deepspeech-digits": 4e6,
    "deepspeech-small": 10e6,
    "deepspeech-streaming": 6e6,
    "graves-handwriting": 7e6,
    "graves-handwriting-reader": 3e6,
    "graves-prediction": 7e6,
    "seq2seq-en-fr": 10e6,
    "seq2seq-en-fr-sutskever": 6e6,
}
SACREBLEU = {"BLEU", "chrF2"}


@pytest.fixture(params=ENTRIES.values(), ids=ENTRIES)
def entry(request):
    return request.param


def test_files_are_those_that_ship(entry):
    folder = hub.bundled_folder(entry.name)
    assert {path.name for path in folder.iterdir()} == set(entry.files)
    for name, record in entry.files.items():
        path = folder / name
        assert (path.stat().st_size, checkpoint.sha256_of(path)) == (record.size, record.sha256)
    assert entry.size <= SIZE_LIMITS[entry.name]


def test_parameters_and_fingerprint_are_those_of_the_weights(entry):
    folder = hub.bundled_folder(entry.name)
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    assert checkpoint.fingerprint(stored) == entry.fingerprint
    assert loaded_once(entry.name).network.count_params() == entry.parameters
    counted = sum(a.size for name, a in stored.items() if not name.endswith(".scale"))
    assert counted == entry.parameters


def test_golden_inputs_give_golden_outputs(entry):
    model = loaded_once(entry.name)
    assert entry.golden
    for golden in entry.golden:
        close(model.predict(golden.input, **golden.options).to_dict(), golden.output)
    inputs = [golden.input for golden in entry.golden if not golden.options]
    expected = [golden.output for golden in entry.golden if not golden.options]
    for found, output in zip(model.predict(inputs[::-1]), expected[::-1], strict=True):
        close({**found.to_dict(), "name": None}, {**output, "name": None})  # a list numbers them


def test_every_figure_names_data_split_command_and_signature(entry):
    assert entry.metrics
    for metric in entry.metrics:
        assert metric.rows > 0
        assert metric.command.startswith("python tools/evaluate.py ")
        if metric.weights == "shipped":
            assert metric.command.split()[2] == entry.name
        assert metric.signature or metric.metric not in SACREBLEU
    for record in entry.data:
        assert record.licence
        assert record.citation
    for key in ("command", "seed", "steps", "minutes", "machine", "settings", "network"):
        assert entry.recipe[key]


def test_the_card_in_the_folder_is_the_manifests(entry):
    from rnnzoo.card import Card

    card = (hub.bundled_folder(entry.name) / "README.md").read_text(encoding="utf-8")
    assert card == Card(entry).hub_readme()


def test_the_hub_reads_each_data_set_once_and_a_licence_it_knows(entry):
    import yaml

    from rnnzoo.card import Card

    def head(one):
        return yaml.safe_load(Card(one).hub_readme().split("---\n")[1])

    (model,) = head(entry)["model-index"]
    names = [result["dataset"]["name"] for result in model["results"]]
    assert len(names) == len(set(names))
    told = sum(len(result["metrics"]) for result in model["results"])
    assert told == sum(metric.weights == "shipped" for metric in entry.metrics)
    unipen = entry.name.startswith("graves-")  # whose two licences do not agree
    assert head(entry)["license"] in (["other"] if unipen else ["cc-by-4.0", "cc-by-sa-4.0"])
    other = dataclasses.replace(entry, licence="as the data says")
    odd = head(other)
    assert odd["license"] == "other"
    for one in (entry, other):
        assert metadata_errors(Card(one).hub_readme()) == []


def test_a_manifest_survives_writing(tmp_path):
    whole = manifest.package_manifest()
    manifest.write_manifest(whole, tmp_path / "manifest.json")
    assert manifest.read_manifest(tmp_path / "manifest.json") == whole


def _fields():
    return json.loads((ROOT / "weights_manifest.json").read_text(encoding="utf-8"))


def _entry(change):
    def apply(raw):
        change(raw["entries"]["seq2seq-en-fr"])

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(version=2), "version"),
        (lambda raw: raw.update(extra=1), "'version' and 'entries'"),
        (lambda raw: raw.update(entries=[]), "entries"),
        (_entry(lambda e: e.update(colour="red")), "colour"),
        (_entry(lambda e: e.pop("licence")), "licence"),
        (_entry(lambda e: e.update(parameters="many")), "parameters"),
        (_entry(lambda e: e.update(languages="en")), "languages"),
        (_entry(lambda e: e.update(name="../x")), "name"),
        (lambda raw: raw["entries"].update({"../x": {}}), "letters"),
        (_entry(lambda e: e["files"].update({"config.json": {"size": 3}})), "sha256"),
        (_entry(lambda e: e["files"]["config.json"].update(sha256="abc")), "sha256"),
        (_entry(lambda e: e["files"]["config.json"].update(size=-1)), "size"),
    ],
)
def test_a_manifest_that_breaks_its_schema_is_refused(tmp_path, change, message):
    raw = _fields()
    change(raw)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(ManifestError, match=message):
        manifest.read_manifest(path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a\\b", "C:\\x", "./x"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, name):
    raw = _fields()
    files = raw["entries"]["seq2seq-en-fr"]["files"]
    files[name] = files["config.json"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(UnsafePathError, match="plain path"):
        manifest.read_manifest(path)


@given(name=st.text(min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_an_accepted_path_stays_inside(name):
    try:
        path = manifest.check_relative_path(name, "test")
    except UnsafePathError:
        return
    root = Path("/root-of-test")
    assert (root / path).resolve().is_relative_to(root)
    assert (root / path) != root


@given(content=st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_manifest_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("manifest") / "m.json"
    path.write_bytes(content)
    with pytest.raises(ManifestError):
        manifest.read_manifest(path)


def test_the_wheel_holds_manifest_types_and_weights(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "-o",
            str(tmp_path),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 100e6
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        inside = json.loads(archive.read("rnnzoo/weights_manifest.json"))
    assert inside == _fields()
    assert "rnnzoo/py.typed" in names
    for name, entry in ENTRIES.items():
        for file in entry.files:
            assert f"rnnzoo/checkpoints/{name}/{file}" in names
    assert not [n for n in names if n.startswith(("tests/", "tools/", "runs/"))]


def test_the_readmes_table_is_current():
    import release

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert release.update_readme(text) == text
