"""The model card that a save writes: the manifest's, the one that came along, or a new one."""

import dataclasses

import numpy as np
import pytest
import yaml

import rnnzoo
from rnnzoo.adapter import open_adapter
from rnnzoo.card import Card
from rnnzoo.errors import CheckpointError
from rnnzoo.manifest import DataRecord, package_manifest

NAME = "deeploc-multiloc"


@pytest.fixture
def model():
    return rnnzoo.load(NAME)


def card(folder):
    """The metadata of a folder's card, and its text."""
    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), text


def change(model):
    weight = model.network.trainable_weights[0]
    weight.assign(np.asarray(weight) + 1)


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_an_entrys_weights_have_the_manifests_card(model, tmp_path, storage):
    model.save(tmp_path / "mine", storage=storage)
    entry = dataclasses.replace(package_manifest().entries[NAME], storage=storage)
    found = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert found == Card(entry).hub_readme()


def test_weights_of_ones_own_tell_what_is_known(tiny, tmp_path):
    tiny.fit(["the cat", "a dog"], ["le chat", "un chien"], epochs=2, batch_size=1, verbose=0)
    tiny.save(tmp_path / "mine", storage="float16")
    metadata, text = card(tmp_path / "mine")
    assert metadata["library_name"] == "rnnzoo"
    assert metadata["pipeline_tag"] == "translation"
    assert "seq2seq" in metadata["tags"]
    assert "license" not in metadata  # it is the author's to choose
    for words in (
        "# mine\n",
        'rnnzoo.load("mine")',
        f"{tiny.network.count_params():,}; stored as float16",
        "2 epochs of 2 steps; at its end loss ",
    ):
        assert words in text


def test_weights_trained_further_name_their_base(model, tmp_path):
    change(model)
    model.save(tmp_path / "mine")
    metadata, text = card(tmp_path / "mine")
    base = package_manifest().entries[NAME]
    assert f"Started from rnnzoo's `{NAME}`, whose weights are {base.licence}" in text
    assert base.data[0].citation in text
    assert "model-index" not in metadata  # the figures are the base's
    assert "base_model" not in metadata  # it is on no hub


def test_an_adapter_that_weights_were_loaded_with_is_told(model, tmp_path):
    model.enable_lora(rank=1, targets=["*/recurrent_kernel"])
    model.lora.assign_factors({name: value + 1 for name, value in model.lora.factors().items()})
    model.save_adapter(tmp_path / "tuned")
    rnnzoo.load(NAME, adapter=tmp_path / "tuned").save(tmp_path / "merged")
    fingerprint = open_adapter(tmp_path / "tuned").config.fingerprint
    _, text = card(tmp_path / "merged")
    assert f"Started from rnnzoo's `{NAME}`" in text
    assert f"With low-rank updates (LoRA): `tuned`, fingerprint `{fingerprint}`" in text


def test_a_card_that_came_along_goes_along_while_the_weights_are_the_same(model, tmp_path):
    change(model)
    model.save(tmp_path / "mine")
    again = rnnzoo.load(tmp_path / "mine")
    again.save(tmp_path / "copy")
    assert card(tmp_path / "copy") == card(tmp_path / "mine")
    change(again)
    again.save(tmp_path / "other")
    assert "# other\n" in card(tmp_path / "other")[1]


def test_a_card_that_a_person_wrote_is_kept(model, tmp_path):
    folder = tmp_path / "mine"
    model.save(folder)
    (folder / "README.md").write_text("By hand.")
    again = rnnzoo.load(folder)
    again.save(tmp_path / "copy")
    for _ in range(2):
        change(again)
        again.save(folder)
        again.save(tmp_path / "copy")
        assert (folder / "README.md").read_text() == "By hand."
        assert (tmp_path / "copy" / "README.md").read_text() == "By hand."
    assert rnnzoo.load(folder).family == "deeploc"
    (folder / "README.md").unlink()
    assert rnnzoo.load(folder).family == "deeploc"
    again.save(folder)
    assert "# mine\n" in card(folder)[1]


def test_a_card_that_rnnzoo_wrote_is_renewed(model, tmp_path):
    model.save(tmp_path / "mine")
    change(model)
    model.save(tmp_path / "mine")
    assert "# mine\n" in card(tmp_path / "mine")[1]


def test_a_card_that_links_elsewhere_is_kept_and_never_sent(model, tmp_path):
    from rnnzoo import checkpoint

    folder = tmp_path / "mine"
    model.save(folder)
    (tmp_path / "secret").write_text("secret")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "secret")
    model.save(folder)
    assert (folder / "README.md").is_symlink()
    with pytest.raises(CheckpointError, match="link"):
        checkpoint.read_card(folder)


def test_data_sets_of_the_hub_are_named_as_the_hub_names_them():
    entry = package_manifest().entries[NAME]
    url = "https://huggingface.co/datasets/openslr/librispeech_asr"
    data = (*entry.data, DataRecord("LibriSpeech", "CC BY 4.0", "Panayotov et al.", url))
    readme = Card(dataclasses.replace(entry, data=data)).hub_readme()
    metadata = yaml.safe_load(readme.split("---\n")[1])
    assert metadata["datasets"] == ["openslr/librispeech_asr"]
