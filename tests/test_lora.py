"""Low-rank updates: their mathematics, what trains, adapters on disk and on the hub."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from hub_server import WRITER
from tiny_tasks import PAIRS, build, changed, values

import rnnzoo
from rnnzoo import hub
from rnnzoo.adapter import open_adapter
from rnnzoo.cli import main
from rnnzoo.errors import (
    CheckpointError,
    ConfigError,
    CorruptedFileError,
    InputError,
    RnnzooError,
    WeightsError,
)
from rnnzoo.layers import LSTM
from rnnzoo.lora import LowRank, choose_kernels

SOURCES, TARGETS = PAIRS["seq2seq"]


def outputs(model, name):
    inputs, *_ = model.training_batch(*PAIRS[name])
    found = model.network(inputs, training=False)
    return np.asarray(found["logits" if name == "seq2seq" else next(iter(found))])


def base_of(model):
    return {path: model.lora.base(path) for path in model.lora.targets}


@pytest.fixture
def saved(vocabulary, tmp_path):
    """A tiny translator's folder, and the translator loaded from it."""
    build("seq2seq", vocabulary).save(tmp_path / "base")
    return tmp_path / "base", rnnzoo.load(tmp_path / "base")


@pytest.fixture
def tuned(saved, tmp_path):
    """A base's folder, its adapter's folder, and the model that was tuned."""
    folder, model = saved
    model.enable_lora(rank=3, alpha=6, targets=["encoder", "decoder"])
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    model.fit(SOURCES, TARGETS, epochs=3, verbose=0)
    model.save_adapter(tmp_path / "adapter")
    return folder, tmp_path / "adapter", model


@pytest.mark.parametrize("name", PAIRS)
def test_only_the_factors_train_and_merging_changes_nothing(name, vocabulary):
    model = build(name, vocabulary)
    model.compile(keras.optimizers.Adam(0.02), run_eagerly=name not in ("seq2seq", "deeploc"))
    before, out = values(model), outputs(model, name)
    names = {path for path in before if path.endswith("kernel") and before[path].ndim == 2}
    model.enable_lora(rank=2, alpha=4)
    assert set(model.lora.targets) == names
    assert {w.path.rsplit(".", 1)[-1] for w in model.trainable_weights} == {"a", "b"}
    assert not changed(before, values(model))
    np.testing.assert_array_equal(outputs(model, name), out)
    factors = model.lora.factors()
    assert all(not factors[f"{path}.b"].any() and factors[f"{path}.a"].any() for path in names)

    inputs, targets = PAIRS[name]
    history = model.fit(inputs, targets, batch_size=2, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert changed(before, values(model)) == names  # the sums; all else to the bit, ...
    for path, kernel in base_of(model).items():
        np.testing.assert_array_equal(kernel, before[path])  # ... the bases among it
        a, b = (model.lora.factors()[f"{path}.{letter}"] for letter in "ab")
        assert (a != factors[f"{path}.a"]).any() and b.any()
        np.testing.assert_allclose(values(model)[path], kernel + 2 * a @ b, atol=1e-6)

    out = outputs(model, name)
    assert model.count_params() > model.network.count_params()
    model.merge_lora()
    np.testing.assert_array_equal(outputs(model, name), out)
    assert model.count_params() == model.network.count_params()
    assert {id(w) for w in model.trainable_weights} == {
        id(w) for w in model.network.weights if "moving" not in w.path
    }


@pytest.mark.parametrize("kind", ["ours", "lstm", "gru", "cell", "bidirectional", "dense"])
def test_gradients_are_those_of_the_sum_inside_the_layer(kind):
    """Against central differences along a random direction."""
    keras.utils.set_random_seed(5)
    layer = {
        "ours": lambda: LSTM(4),
        "lstm": lambda: keras.layers.LSTM(4),
        "gru": lambda: keras.layers.GRU(4),
        "cell": lambda: keras.layers.RNN(keras.layers.LSTMCell(4)),
        "bidirectional": lambda: keras.layers.Bidirectional(LSTM(4)),
        "dense": lambda: keras.layers.Dense(4, activation="tanh"),
    }[kind]()
    x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype("f4")
    layer(x)
    kernels = {w.path: w for w in layer.weights if w.path.endswith("kernel")}
    low_rank = LowRank(kernels, rank=2, alpha=3)
    rng = np.random.default_rng(2)
    low_rank.assign_factors(
        {n: 0.3 * rng.normal(size=v.shape) for n, v in low_rank.factors().items()}
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(x, training=True)))
    pairs = low_rank.gradients(tape, loss, [])
    assert [id(v) for _, v in pairs] == [id(v) for v in low_rank.trainable_weights]
    step = 1e-2
    for slope, variable in pairs:
        value = np.array(variable)
        way = rng.normal(size=value.shape).astype("f4")
        sides = []
        for sign in (1, -1):
            variable.assign(value + sign * step * way)
            low_rank.update_kernels()
            sides.append(float(tf.reduce_sum(tf.square(layer(x)))))
        variable.assign(value)
        low_rank.update_kernels()
        found = float(np.sum(np.asarray(slope) * way))
        assert found == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=0.02, abs=2e-3)


def test_targets_that_match_nothing_are_refused(vocabulary):
    model = build("seq2seq", vocabulary)
    with pytest.raises(InputError, match=r"'enc' is no part.*encoder"):
        model.enable_lora(targets=["enc"])
    with pytest.raises(InputError, match=r"no kernel among.*bias"):
        model.enable_lora(targets=["*/bias"])
    with pytest.raises(InputError, match="'nothing' is no part"):
        model.enable_lora(whole=["nothing"])
    for rank in (0, -1, 1.5, True, None):
        with pytest.raises(InputError, match="rank must be a whole number"):
            model.enable_lora(rank=rank)
    for alpha in (0, -1.0, float("nan"), "x"):
        with pytest.raises(InputError, match="alpha must be a number above 0"):
            model.enable_lora(alpha=alpha)
    assert model.lora is None and all(w.trainable for w in model.network.weights)
    for call in (model.merge_lora, lambda: model.save_adapter("nowhere")):
        with pytest.raises(InputError, match="enable_lora"):
            call()
    model.enable_lora(targets="encoder")
    with pytest.raises(InputError, match="merge_lora"):
        model.enable_lora()
    with pytest.raises(InputError, match="merge_lora"):
        model.unfreeze("encoder")
    assert choose_kernels({"e/embeddings": (9, 3)}, {}, ["e/*"]) == ["e/embeddings"]


def test_frozen_before_is_frozen_after_and_whole_weights_train(vocabulary):
    model = build("seq2seq", vocabulary)
    model.freeze("encoder")
    model.enable_lora(rank=2, targets=["attention"], whole=["readout"])
    before = values(model)
    model.compile(keras.optimizers.Adam(0.02), run_eagerly=True)
    model.fit(SOURCES, TARGETS, verbose=0)
    assert {path.rsplit("/", 1)[0] for path in changed(before, values(model))} == {
        "decoder/attention/query", "decoder/attention/key", "decoder/readout",
    }  # fmt: skip
    model.merge_lora()
    trained = {w.path for w in model.trainable_weights}
    assert trained == {path for path in before if not path.startswith("encoder/")}
    for named in ({"targets": ["encoder"]}, {"targets": ["attention"], "whole": "encoder"}):
        with pytest.raises(InputError, match=r"frozen, and named to be trained: encoder/"):
            model.enable_lora(**named)
    assert {w.path for w in model.trainable_weights} == trained and model.lora is None
    model.enable_lora(rank=2)
    assert not any(path.startswith("encoder/") for path in model.lora.targets)
    before = values(model)
    model.fit(SOURCES, TARGETS, verbose=0)
    assert changed(before, values(model)) == set(model.lora.targets)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_other_precisions_train_too(saved, dtype):
    folder, _ = saved
    model = rnnzoo.load(folder, dtype=dtype)
    model.enable_lora(rank=2, targets=["encoder"])
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    before = values(model)
    model.fit(SOURCES, TARGETS, epochs=2, verbose=0)
    assert all(weight.dtype == "float32" for weight in model.trainable_weights)
    assert changed(before, values(model)) == set(model.lora.targets)


def test_an_adapter_is_small_and_loads_on_its_base(tuned):
    folder, adapter, model = tuned
    assert {path.name for path in adapter.iterdir()} == {
        "config.json", "files.json", "model.safetensors", "README.md",
    }  # fmt: skip
    card = (adapter / "README.md").read_text()
    assert 'adapter="adapter")' in card and "- Rank: 3; parameters: " in card
    assert "The last fit: 3 epochs" in card and "license" not in card
    config = open_adapter(adapter).config
    fingerprint = json.loads((folder / "config.json").read_text())["fingerprint"]
    assert (config.base, config.base_fingerprint) == (None, fingerprint)
    assert (config.rank, config.alpha, config.family) == (3, 6.0, "seq2seq")
    merged = rnnzoo.load(folder, adapter=adapter)
    assert merged.lora is None
    for path, value in values(model).items():
        np.testing.assert_allclose(values(merged)[path], value, atol=1e-6)
    assert merged.predict("the cat").score == pytest.approx(model.predict("the cat").score, 1e-4)

    going_on = rnnzoo.load(folder, adapter=adapter, merge_adapter=False)
    for name, value in model.lora.factors().items():
        np.testing.assert_array_equal(going_on.lora.factors()[name], value)
    going_on.compile(run_eagerly=True)
    going_on.fit(SOURCES, TARGETS, verbose=0)
    (adapter / "README.md").write_text("By hand.\n")
    going_on.save_adapter(adapter)  # in its place
    assert (adapter / "README.md").read_text() == "By hand.\n"
    again = rnnzoo.load(folder, adapter=adapter)
    for path, value in values(going_on).items():
        np.testing.assert_allclose(values(again)[path], value, atol=1e-6)


def test_whole_weights_and_overrides_travel_with_the_adapter(saved, tmp_path):
    folder, _ = saved
    model = rnnzoo.load(folder, dropout=0.4)
    model.enable_lora(rank=1, targets=["encoder"], whole=["readout"])
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    model.fit(SOURCES, TARGETS, verbose=0)
    model.save_adapter(tmp_path / "adapter")
    for merge in (True, False):
        again = rnnzoo.load(folder, adapter=tmp_path / "adapter", merge_adapter=merge)
        assert again.config.dropout == 0.4
        for path, value in values(model).items():
            np.testing.assert_allclose(values(again)[path], value, atol=1e-6)


def test_averages_of_norms_that_train_travel_with_the_adapter(tmp_path):
    build("deepspeech").save(tmp_path / "base")
    model = rnnzoo.load(tmp_path / "base")
    model.enable_lora(rank=1, targets=["recurrent"], whole=["convolutions"])
    averages = {path for path in model.lora.whole if "/moving_" in path}
    assert averages and all("conv" in path for path in averages)
    model.compile(run_eagerly=True)
    before = values(model)
    model.fit(*PAIRS["deepspeech"], verbose=0)
    assert changed(before, values(model)) == {*model.lora.targets, *model.lora.whole}
    model.save_adapter(tmp_path / "adapter")
    model.save(tmp_path / "model.keras")
    for again in (
        rnnzoo.load(tmp_path / "base", adapter=tmp_path / "adapter"),
        rnnzoo.load(tmp_path / "base", adapter=tmp_path / "adapter", merge_adapter=False),
        rnnzoo.load(tmp_path / "model.keras"),
    ):
        for path, value in values(model).items():
            np.testing.assert_allclose(values(again)[path], value, atol=1e-6)
    assert again.lora.whole == model.lora.whole
    assert len(again.trainable_weights) == len(model.trainable_weights)


def test_saving_the_whole_model_saves_the_sums(tuned, tmp_path):
    _, _, model = tuned
    expected = model.predict("the cat").score
    model.save(tmp_path / "whole")
    assert rnnzoo.load(tmp_path / "whole").predict("the cat").score == pytest.approx(expected, 1e-5)
    model.save(tmp_path / "model.keras")
    again = rnnzoo.load(tmp_path / "model.keras")
    assert again.lora.targets == model.lora.targets
    assert again.predict("the cat").score == pytest.approx(expected, 1e-5)
    for name, value in model.lora.factors().items():
        np.testing.assert_array_equal(again.lora.factors()[name], value)


def test_an_adapter_of_another_base_is_refused(tuned, vocabulary, tmp_path):
    _, adapter, _ = tuned
    keras.utils.set_random_seed(1)
    other = build("seq2seq", vocabulary)
    other.network.weights[0].assign(other.network.weights[0] + 1)
    other.save(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"trained on a base with fingerprint \w+; the wei"):
        rnnzoo.load(tmp_path / "other", adapter=adapter)
    with pytest.raises(CheckpointError, match="family 'seq2seq'"):
        rnnzoo.load("deeploc-attn", adapter=adapter)
    with pytest.raises(CheckpointError, match="is no adapter but a whole checkpoint"):
        rnnzoo.load(tmp_path / "other", adapter=tmp_path / "other")
    with pytest.raises(CheckpointError, match="is an adapter, which has no network of its own"):
        rnnzoo.load(adapter)
    with pytest.raises(InputError, match="weights=True"):
        rnnzoo.load("deeploc-attn", weights=False, adapter=adapter)
    with pytest.raises(InputError, match="adapter's folder"):
        rnnzoo.load("deeploc-attn", adapter=3)


def test_an_adapter_of_weights_that_were_trained_besides_is_refused(saved, tmp_path):
    _, model = saved
    bias = model.weights_by_path()["decoder/readout/bias"]
    bias.assign(bias + 1)
    model.enable_lora(rank=1)
    with pytest.raises(InputError, match=r"1 weights differ .*decoder/readout/bias"):
        model.save_adapter(tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
    made = build("seq2seq", model.preprocessor.vocabulary)
    made.enable_lora(rank=1)
    with pytest.raises(InputError, match=r"a \.keras file, for one, does not hold its base"):
        made.save_adapter(tmp_path / "adapter")


class _Saved(keras.callbacks.Callback):
    """Saves the model at the end of each epoch."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        self.model.save(self.path)


def test_averaged_factors_are_validated_and_saved(vocabulary, tmp_path):
    model = build("seq2seq", vocabulary)
    model.enable_lora(rank=2, targets=["decoder"])
    optimizer = keras.optimizers.Adam(0.3, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, run_eagerly=True)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    history = model.fit(
        SOURCES, TARGETS, epochs=2, verbose=0, validation_data=(SOURCES, TARGETS),
        callbacks=[swap, _Saved(tmp_path / "averaged")],
    ).history  # fmt: skip
    again = rnnzoo.load(tmp_path / "averaged")
    again.compile(run_eagerly=True)
    found = again.evaluate(SOURCES, TARGETS, verbose=0)
    assert found == pytest.approx(history["val_loss"][-1], rel=1e-4)
    assert found != pytest.approx(history["loss"][-1], rel=1e-3)
    for path, kernel in base_of(model).items():
        a, b = (model.lora.factors()[f"{path}.{letter}"] for letter in "ab")
        np.testing.assert_allclose(values(model)[path], kernel + a @ b, atol=1e-5)
    with pytest.raises(InputError, match=r"merge_lora\(\) first"):
        model.assign_weights(values(model))


def test_an_adapter_is_written_whole_or_not_at_all(tuned, tmp_path, monkeypatch):
    folder, adapter, model = tuned
    with pytest.raises(CheckpointError, match="is no adapter but a whole checkpoint"):
        model.save_adapter(folder)  # never in its base's place
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(CheckpointError, match="holds other files"):
        model.save_adapter(tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnzoo.checkpoint._write_synced", full)
    with pytest.raises(CheckpointError, match="No space left"):
        model.save_adapter(adapter)
    with pytest.raises(CheckpointError, match="No space left"):
        model.save_adapter(tmp_path / "new")
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter", "mine"}


def test_broken_adapters_are_named(tuned, tmp_path):
    folder, adapter, _ = tuned

    def spoilt(change):
        shutil.rmtree(tmp_path / "spoilt", ignore_errors=True)
        shutil.copytree(adapter, tmp_path / "spoilt")
        change(tmp_path / "spoilt")
        return tmp_path / "spoilt"

    def flip(name):
        def change(place):
            content = bytearray((place / name).read_bytes())
            content[-3] ^= 1
            (place / name).write_bytes(content)

        return change

    for name in ("config.json", "model.safetensors"):
        with pytest.raises(CorruptedFileError, match="sha256"):
            rnnzoo.load(folder, adapter=spoilt(flip(name)))
    with pytest.raises(CheckpointError, match="missing"):
        rnnzoo.load(folder, adapter=spoilt(lambda place: (place / "model.safetensors").unlink()))
    with pytest.raises(CheckpointError, match="not a folder"):
        rnnzoo.load(folder, adapter=tmp_path / "nowhere")

    def with_config(**fields):
        from rnnzoo.checkpoint import FileRecord, _canonical, sha256_of

        def change(place):
            config = {**json.loads((place / "config.json").read_text()), **fields}
            (place / "config.json").write_text(json.dumps(config))
            names = ("config.json", "model.safetensors")
            files = {n: FileRecord((place / n).stat().st_size, sha256_of(place / n)) for n in names}
            (place / "files.json").write_bytes(_canonical(files))

        return change

    for fields, kind, words in (
        ({"targets": ["no/such/kernel"]}, ConfigError, "no/such/kernel"),
        ({"rank": 2}, WeightsError, "has shape"),
        ({"rank": -1}, ConfigError, "above 0"),
        ({"adapter": "other"}, ConfigError, "adapter must be 'lora'"),
        ({"overrides": 3}, ConfigError, "overrides"),
        ({"overrides": {"vocab_size": 9}}, InputError, "vocab_size"),
        ({"format_version": 99}, CheckpointError, "Upgrade"),
        ({"targets": "x"}, ConfigError, "targets"),
        ({"fingerprint": "0"}, WeightsError, "fingerprint"),
    ):
        with pytest.raises(kind, match=words):
            rnnzoo.load(folder, adapter=spoilt(with_config(**fields)))
        assert issubclass(kind, RnnzooError)


def test_an_adapter_comes_from_the_hub(tuned, hub_server, tmp_path):
    folder, adapter, model = tuned
    hub_server.create("me/base").commit_folder(folder)
    hub.push_folder(adapter, "me/tuned", token=WRITER, revision="v1")
    options = {"cache_dir": tmp_path / "cache"}
    merged = rnnzoo.load("hf://me/base", adapter="hf://me/tuned@v1", **options)
    assert merged.predict("the cat").score == pytest.approx(model.predict("the cat").score, 1e-4)
    again = rnnzoo.load("hf://me/base@main", adapter="hf://me/tuned@v1", **options)
    again.enable_lora(rank=1, targets=["attention"])
    with pytest.raises(InputError, match="weights differ"):  # merged: no longer the base
        again.save_adapter(tmp_path / "other")
    going_on = rnnzoo.load(
        "hf://me/base", adapter="hf://me/tuned@v1", merge_adapter=False, **options
    )
    going_on.save_adapter(tmp_path / "other")
    commit = hub_server.repository("me/base").resolve("main")
    assert open_adapter(tmp_path / "other").config.base == f"hf://me/base@{commit}"
    card = (tmp_path / "other" / "README.md").read_text()
    assert "base_model: me/base\nbase_model_relation: adapter\n" in card
    hub.push_folder(folder, "me/both", token=WRITER)
    hub.push_folder(tmp_path / "other", "me/both", token=WRITER)
    assert hub_server.repository("me/both").files()["README.md"].decode() == card
    hub.push_folder(folder, "me/both", token=WRITER)
    (tmp_path / "other" / "README.md").unlink()
    hub.push_folder(tmp_path / "other", "me/both", token=WRITER)
    assert "README.md" not in hub_server.repository("me/both").files()


def test_the_command_line_knows_adapters(tuned, hub_server, tmp_path, capsys):
    folder, adapter, model = tuned
    assert main(["verify", str(adapter), str(folder)]) == 0
    assert capsys.readouterr().out.count("all whole") == 2
    hub.push_folder(adapter, "me/told", token=WRITER)
    assert main(["download", "hf://me/told", "--cache-dir", str(tmp_path / "cache")]) == 0
    fetched = capsys.readouterr().out.strip()
    assert open_adapter(fetched).config == open_adapter(adapter).config
    assert main(["predict", str(folder), "the cat", "--adapter", fetched, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["score"] == pytest.approx(model.predict("the cat").score, 1e-4)
    (adapter / "model.safetensors").write_bytes(b"")
    assert main(["verify", str(adapter)]) == 1


def test_a_released_translator_learns_by_lora(tmp_path):
    model = rnnzoo.load("seq2seq-en-fr")
    before, said = values(model), model.predict("Where is the station?").text
    model.enable_lora(rank=2, targets=["decoder"])
    model.compile(keras.optimizers.Adam(5e-3))
    pair = (["Where is the station?"], ["Le médecin arrive."])
    history = model.fit(*pair, epochs=12, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    tuned = model.predict("Where is the station?").text
    assert tuned != said
    for path, kernel in base_of(model).items():
        np.testing.assert_array_equal(kernel, before[path])
    model.save_adapter(tmp_path / "adapter")
    assert open_adapter(tmp_path / "adapter").config.base == "seq2seq-en-fr"
    card = (tmp_path / "adapter" / "README.md").read_text()
    licence = rnnzoo.info("seq2seq-en-fr").entry.licence
    assert "license: " in card and f"Licence of the base's weights: {licence}" in card
    size = (tmp_path / "adapter" / "model.safetensors").stat().st_size
    assert size < 0.02 * 4 * model.network.count_params()
    again = rnnzoo.load("seq2seq-en-fr", adapter=str(tmp_path / "adapter"))
    assert again.predict("Where is the station?").text == tuned
