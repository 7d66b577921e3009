"""Training as Keras users know it, on raw pairs: containers, weights, callbacks, resuming."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_tasks import PAIRS, build, values

import rnnzoo
from rnnzoo.errors import InputError

SOURCES, TARGETS = PAIRS["seq2seq"]
CHAINS, PLACES = PAIRS["deeploc"]


@pytest.fixture
def model(vocabulary):
    model = build("seq2seq", vocabulary)
    model.compile(keras.optimizers.Adam(0.01))
    return model


def losses(model, *data, **options):
    return model.fit(*data, verbose=0, **options).history["loss"]


def test_every_container_of_pairs_trains_alike(vocabulary):
    found = []
    pairs = list(zip(SOURCES, TARGETS, strict=True))
    weights = [1.0, 2.0, 0.0, 1.0]
    triples = [(*pair, weight) for pair, weight in zip(pairs, weights, strict=True)]
    dataset = tf.data.Dataset.from_tensor_slices((SOURCES, TARGETS))
    weighted = tf.data.Dataset.from_tensor_slices((SOURCES, TARGETS, weights))
    model = build("seq2seq", vocabulary)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)  # so that all begin alike
    generator = ((source, target) for source, target in pairs)
    for data in ((SOURCES, TARGETS), (pairs,), (dataset,), (dataset.batch(3),), (generator,)):
        found.append(model.evaluate(*data, verbose=0))
    assert found == pytest.approx([found[0]] * 5, rel=1e-5)
    found = [
        model.evaluate(*data, verbose=0, **options)
        for data, options in (
            ((SOURCES, TARGETS), {"sample_weight": weights}),
            ((triples,), {}),
            ((weighted,), {}),
            ((weighted.batch(2),), {}),
            ((iter(triples),), {}),
        )
    ]
    assert found == pytest.approx([found[0]] * 5, rel=1e-5)
    kept = [SOURCES[n] for n in (0, 1, 1, 3)], [TARGETS[n] for n in (0, 1, 1, 3)]
    assert found[0] == pytest.approx(model.evaluate(*kept, verbose=0), rel=1e-5)
    for validation in ((SOURCES, TARGETS, weights), triples, weighted, iter(triples)):
        history = model.fit(
            iter(pairs),
            batch_size=2,
            validation_data=validation,
            validation_batch_size=4,
            verbose=0,
        )
        assert history.history["val_loss"] == pytest.approx(found[:1], rel=1e-5)


def test_a_weight_of_zero_trains_nothing():
    model = build("deeploc")
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    before = values(model)
    model.fit(CHAINS, PLACES, sample_weight=[0, 0, 0, 0], verbose=0)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])
    model.fit(CHAINS, PLACES, sample_weight=np.array([0, 0, 1, 0]), verbose=0)
    assert any((value != before[path]).any() for path, value in values(model).items())


def test_sources_without_an_end(model):
    pairs = list(zip(SOURCES, TARGETS, strict=True))
    for endless in (
        itertools.cycle(pairs),
        tf.data.Dataset.from_tensor_slices((SOURCES, TARGETS)).repeat(),
        tf.data.Dataset.from_tensor_slices((SOURCES, TARGETS)).batch(3).repeat(),
    ):
        found = losses(model, endless, steps_per_epoch=3, batch_size=2, epochs=2)
        assert len(found) == 2 and np.isfinite(found).all()
    assert int(model.optimizer.iterations) == 18
    repeated = tf.data.Dataset.from_tensors(("a", "b")).repeat()
    with pytest.raises(InputError, match="steps_per_epoch"):
        losses(model, repeated)
    with pytest.raises(InputError, match="validation_steps"):
        losses(model, SOURCES, TARGETS, validation_data=repeated)
    with pytest.raises(InputError, match="say with steps how"):
        model.evaluate(repeated, verbose=0)
    text = tf.TensorSpec([], tf.string)

    def from_generator(spec=text):  # its cardinality is unknown
        return tf.data.Dataset.from_generator(
            lambda: itertools.cycle(pairs), output_signature=(spec, spec)
        )

    assert len(losses(model, from_generator(), steps_per_epoch=2, batch_size=2)) == 1
    with pytest.raises(InputError, match="texts of unknown rank"):
        losses(model, from_generator(tf.TensorSpec(None, tf.string)), steps_per_epoch=1)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    expected = model.evaluate(SOURCES[:3], TARGETS[:3], verbose=0)
    few = {"validation_steps": 3, "validation_batch_size": 1, "epochs": 2}
    for endless in (lambda: itertools.cycle(pairs), from_generator):
        found = model.evaluate(endless(), steps=1, batch_size=3, verbose=0)
        assert found == pytest.approx(expected)
        history = model.fit(SOURCES, TARGETS, verbose=0, validation_data=endless(), **few).history
        assert history["val_loss"][0] == history["val_loss"][1]

    def soon_wrong():
        yield from pairs
        yield "the cat", 7

    with pytest.raises(InputError, match="target 0 must be a text"):
        losses(model, soon_wrong(), steps_per_epoch=9, batch_size=4)


def test_batches_of_tensors_are_keras_own(model):
    x, y, weights = model.training_batch(SOURCES, TARGETS)

    def batches():
        while True:
            yield x, y, weights

    assert len(losses(model, batches(), steps_per_epoch=2)) == 1
    assert len(losses(model, x, y, sample_weight=weights, batch_size=2)) == 1
    assert len(losses(model, tf.data.Dataset.from_tensors((x, y, weights)))) == 1
    assert int(model.optimizer.iterations) == 5
    arrays = (x, y, weights)
    for validation in (arrays, tf.data.Dataset.from_tensors(arrays), (SOURCES, TARGETS)):
        history = model.fit(x, y, 2, 1, 0, validation_data=validation, validation_batch_size=4)
        found = [*history.history["val_loss"], model.evaluate(x, y, 4, 0, sample_weight=weights)]
        assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_what_cannot_be_trained_on_is_named_before_anything_trains(model):
    before = values(model)
    for data, options, words in (
        ((SOURCES, TARGETS), {"sample_weight": [1, 2]}, "2 weights for 4 pairs"),
        ((SOURCES, TARGETS), {"sample_weight": ["x"] * 4}, "weight must be a number"),
        (([("a", "b", "c")],), {}, "weight must be a number, got 'c'"),
        (([("a", "b", 1, 2)],), {}, "triples with a weight"),
        ((iter(()),), {}, "x is empty"),
        ((iter(["a", "b"]),), {}, "pairs"),
        ((iter([("a", "b"), ("c", 3)]),), {}, "target 1 must be a text"),
        ((iter(()),), {"steps_per_epoch": 2}, "x is empty"),
    ):
        with pytest.raises(InputError, match=words):
            losses(model, *data, **options)
    for size in (0, -1, 1.5, "x"):
        for options in ({"batch_size": size}, {"validation_batch_size": size}):
            with pytest.raises(InputError, match="batch_size must be a whole number"):
                losses(model, SOURCES, TARGETS, **options)
        with pytest.raises(InputError, match="batch_size must be a whole number"):
            model.evaluate(SOURCES, TARGETS, batch_size=size)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_datasets_of_sound_and_of_nested_targets_are_raw_pairs():
    for name in ("deepspeech", "deeploc"):
        model = build(name)
        model.compile(run_eagerly=True)
        inputs, targets = PAIRS[name]
        if name == "deeploc":
            targets = [(place, True) for place in ("Nucleus", "Plastid", "Nucleus", "Cytoplasm")]
            spec = (
                tf.TensorSpec([], tf.string),
                (tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.bool)),
            )
        else:
            sound = (tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32))
            spec = (sound, tf.TensorSpec([], tf.string))
        pairs = list(zip(inputs, targets, strict=True))
        dataset = tf.data.Dataset.from_generator(lambda p=pairs: iter(p), output_signature=spec)
        expected = model.evaluate(inputs, targets, verbose=0)
        for data in (dataset, dataset.batch(2)):
            assert model.evaluate(data, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_early_stopping_gives_the_best_weights_back(model):
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    model.compile(keras.optimizers.Adam(0.5))  # so large that it gets worse
    validation = (["the dog"], ["le chien"])
    history = model.fit(
        SOURCES, TARGETS, validation_data=validation, epochs=30, callbacks=stop, verbose=0
    ).history["val_loss"]
    assert len(history) < 30
    assert model.evaluate(*validation, verbose=0) == pytest.approx(min(history), rel=1e-4)


def test_checkpoints_and_logs(model, tmp_path):
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "loss", save_best_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    found = losses(model, SOURCES, TARGETS, epochs=3, callbacks=callbacks)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    best = rnnzoo.load(tmp_path / "best.keras")
    assert found[-1] == min(found)
    assert best.predict("the cat").score == pytest.approx(model.predict("the cat").score, abs=1e-5)
    again = build("seq2seq", model.preprocessor.vocabulary)
    again.load_weights(tmp_path / "last.weights.h5")
    for path, value in values(model).items():
        np.testing.assert_array_equal(values(again)[path], value)


def test_tensorboard_gets_the_losses(vocabulary, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorFlow writes its summaries with it")
    model = build("seq2seq", vocabulary)
    model.compile(run_eagerly=True)
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    validation = (SOURCES, TARGETS)
    losses(model, SOURCES, TARGETS, validation_data=validation, callbacks=board)
    assert list((tmp_path / "train").iterdir()) and list((tmp_path / "validation").iterdir())


class _StoppedError(Exception):
    pass


class _PowerCut(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise _StoppedError


def _begun(name, vocabulary, low_rank, seed):
    model = build(name, vocabulary)
    model.compile(run_eagerly=name == "deeploc")  # its graph takes longer to make than to run
    if low_rank:
        model.enable_lora(rank=2)
    if seed:  # another process draws other numbers: what counts has to come from the files
        for state in model._random_states():
            state.assign([seed, seed])
    return model


@pytest.mark.parametrize(
    ("name", "low_rank"), [("seq2seq", False), ("deeploc", True), ("deepspeech", False)]
)
def test_a_training_that_was_interrupted_resumes_to_the_same_numbers(
    name, low_rank, vocabulary, tmp_path
):
    data = PAIRS[name]
    whole = _begun(name, vocabulary, low_rank, 0)
    expected = losses(whole, *data, epochs=4, batch_size=2)

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(_StoppedError):
        losses(
            _begun(name, vocabulary, low_rank, 0),
            *data, epochs=4, batch_size=2, callbacks=[backup, _PowerCut()],
        )  # fmt: skip
    resumed = _begun(name, vocabulary, low_rank, 5)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    found = losses(resumed, *data, epochs=4, batch_size=2, callbacks=[backup])
    assert found == pytest.approx(expected[2:], rel=1e-5)
    for path, value in values(whole).items():
        np.testing.assert_allclose(values(resumed)[path], value, rtol=1e-4, atol=1e-6)


def test_a_keras_file_and_initial_epoch_go_on_where_it_stopped(model, tmp_path):
    whole = build("seq2seq", model.preprocessor.vocabulary)
    whole.compile(keras.optimizers.Adam(0.01))
    expected = losses(whole, SOURCES, TARGETS, epochs=4, batch_size=2)
    losses(model, SOURCES, TARGETS, epochs=2, batch_size=2)
    model.save(tmp_path / "half.keras")
    again = rnnzoo.load(tmp_path / "half.keras")
    found = losses(again, SOURCES, TARGETS, epochs=4, initial_epoch=2, batch_size=2)
    assert found == pytest.approx(expected[2:], rel=1e-5)
