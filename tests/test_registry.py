"""Names: listing, finding, registering, loading."""

import io

import pytest

import rnnzoo
from rnnzoo import registry
from rnnzoo.errors import (
    CheckpointError,
    ConfigError,
    DownloadError,
    InputError,
    UnknownModelError,
)


@pytest.fixture
def names(monkeypatch):
    """A registry that forgets what a test puts in."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))


def test_wildcards_task_and_natural_order(names):
    for number in (10, 2, 1):
        rnnzoo.register(f"net-{number}", "hf://me/net", task="speech")
    assert rnnzoo.list_models("net-*") == ["net-1", "net-2", "net-10"]
    assert rnnzoo.list_models("NET-1?") == ["net-10"]
    assert rnnzoo.list_models(task="speech") == ["net-1", "net-2", "net-10"]
    assert "seq2seq-en-fr" in rnnzoo.list_models(task="translation")
    assert rnnzoo.list_models("none*") == []


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownModelError, match="seq2seq-en-fr") as caught:
        rnnzoo.load("seq2seq-enfr")
    assert caught.value.nearest[0] == "seq2seq-en-fr"
    with pytest.raises(UnknownModelError, match="list_models"):
        rnnzoo.info("qqqqqqqqqqq")


def test_a_registered_folder_loads_by_its_name(names, translator, tmp_path):
    translator.save(tmp_path / "mine")
    rnnzoo.register("mine", tmp_path / "mine", task="translation", summary="my own")
    text = "I am happy."
    assert rnnzoo.load("mine").predict(text).text == translator.predict(text).text
    with pytest.raises(InputError, match="card"):
        rnnzoo.info("mine")


def test_a_name_never_points_to_other_weights(names):
    rnnzoo.register("mine", "hf://me/one", task="x")
    rnnzoo.register("mine", "hf://me/one", task="x")
    for name in ("mine", "seq2seq-en-fr"):
        with pytest.raises(InputError, match="taken"):
            rnnzoo.register(name, "hf://me/two", task="x")
    with pytest.raises(InputError, match="letters"):
        rnnzoo.register("a/b", "hf://me/two", task="x")


def test_a_family_of_ones_own(names):
    class Mine:
        pass

    rnnzoo.register_family("mine", Mine)
    assert registry.family_class("mine") is Mine
    with pytest.raises(InputError, match="already"):
        rnnzoo.register_family("seq2seq", Mine)
    with pytest.raises(ConfigError, match="no family 'other'"):
        registry.family_class("other")


def test_the_card_says_what_the_manifest_says():
    card = rnnzoo.info("seq2seq-en-fr")
    text = str(card)
    assert card._repr_markdown_() == text
    for record in card.entry.data:
        assert record.licence in text
        assert record.citation in text
    for metric in card.entry.metrics:
        assert f"{metric.value:g}" in text
    assert card.hub_readme().startswith("---\nlibrary_name: rnnzoo\n")
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(card)
    assert "Measured" in console.export_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float8"}, "dtype"),
        ({"revision": "v1"}, "revision"),
        ({"layers": 3}, "layers"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        rnnzoo.load("seq2seq-en-fr", **arguments)


def test_a_keras_file_that_holds_no_model_of_ours_is_named(tmp_path):
    import keras
    import tiny_tasks

    tiny_tasks.build("deeploc").network.save(tmp_path / "network.keras")
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Dense(2)(x)).save(tmp_path / "plain.keras")
    for name in ("network", "plain"):
        with pytest.raises(CheckpointError, match=r"not a model of rnnzoo: keras\.saving"):
            rnnzoo.load(tmp_path / f"{name}.keras")


def test_addresses_and_names_may_end_as_keras_files_do(names, tmp_path):
    with pytest.raises(DownloadError):
        rnnzoo.load("hf://me/net.keras", cache_dir=tmp_path, local_files_only=True)
    rnnzoo.register("net.keras", tmp_path / "none", task="x")
    with pytest.raises(CheckpointError, match="not a folder"):
        rnnzoo.load("net.keras")
    with pytest.raises(CheckpointError, match="there is no file"):
        rnnzoo.load("another.keras")


def test_a_path_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="not a folder"):
        rnnzoo.load(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"files\.json"):
        rnnzoo.load(tmp_path)
