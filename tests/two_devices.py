"""What training gives on one device and on two; run by test_distribution in a process of its own.

Two devices are two of TensorFlow's logical ones on one processor, which have to be named before it
starts. Prints a JSON object: for each case the losses and the weights' largest difference.
"""

import contextlib
import dataclasses
import json
import sys

import tensorflow as tf

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tiny_tasks  # noqa: E402
from conftest import EXAMPLES, ROOT  # noqa: E402

import rnnzoo  # noqa: E402

WEIGHTS = [1.0, 2.0, 0.5, 3.0, 0.25]
VOCABULARY = ROOT / "rnnzoo" / "checkpoints" / "seq2seq-en-fr" / "vocabulary.model"


def released():
    return rnnzoo.load("deeploc-multiloc", dropout=0.0, input_dropout=0.0)


def proteins():
    names = released().preprocessor.config.locations
    return EXAMPLES["deeploc"], [names[n % 3] for n in range(5)]


def tiny(name):
    def build():
        drawn = tiny_tasks.build(name, VOCABULARY.read_bytes())
        still = {field: 0.0 for field in vars(drawn.config) if field.endswith("dropout")}
        keras.utils.set_random_seed(7)
        return type(drawn)(dataclasses.replace(drawn.config, **still), drawn.preprocessor)

    x, y = tiny_tasks.PAIRS[name]
    return build, ([*x, x[0]], [*y, y[0]])


def low_rank(build):
    def with_updates():
        model = build()
        keras.utils.set_random_seed(7)
        model.enable_lora(rank=2)
        return model

    return with_updates


def cases():
    yield "deeploc-multiloc", released, proteins()
    yield "deeploc", *tiny("deeploc")
    yield "seq2seq", *tiny("seq2seq")
    yield "deepspeech", *tiny("deepspeech")
    yield "handwriting_prediction", *tiny("handwriting_prediction")
    build, pairs = tiny("seq2seq")
    yield "lora", low_rank(build), pairs


def trained(strategy, build, x, y):
    """Losses and weights after two passes in batches of 4 and 1, by steps that are clipped."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = build()
        model.compile(keras.optimizers.SGD(0.1, global_clipnorm=0.05))
    history = model.fit(
        x,
        y,
        batch_size=4,
        epochs=2,
        sample_weight=WEIGHTS,
        validation_data=(x[:3], y[:3]),
        verbose=0,
    ).history
    measured = model.evaluate(x, y, batch_size=4, sample_weight=WEIGHTS, verbose=0)
    losses = [*history["loss"], *history["val_loss"], *np.ravel(measured).tolist()]
    return losses, tiny_tasks.values(model), model


def main():
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    found = {}
    for name, build, (x, y) in cases():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        before = tiny_tasks.values(build())
        losses, weights, _ = trained(None, build, x, y)
        shared, copies, model = trained(two, build, x, y)
        found[name] = {
            "one": losses,
            "two": shared,
            "moved": max(float(abs(weights[p] - before[p]).max()) for p in before),
            "apart": max(float(abs(weights[p] - copies[p]).max()) for p in weights),
        }
        if name == "deeploc-multiloc":
            alone = build()
            alone.assign_weights(copies)
            found[name]["predicted"] = [str(one) for one in model.predict(x)] == [
                str(one) for one in alone.predict(x)
            ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
