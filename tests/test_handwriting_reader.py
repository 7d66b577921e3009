"""A reader taught three letters: network, fit, predict, checkpoints, command line."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.ctc import NGram
from rnnzoo.errors import ConfigError, InputError
from rnnzoo.handwriting import (
    Handwriting,
    InkLine,
    InkReader,
    ReaderConfig,
    ReaderPreprocessor,
    ReaderPreprocessorConfig,
    build_reader,
)
from rnnzoo.handwriting.ink import points_of
from rnnzoo.handwriting.reader_network import reader_weight_shapes

CONFIG = ReaderConfig(
    num_symbols=5, conv_channels=12, conv_width=5, num_layers=1, hidden_dim=24, dropout=0.0
)
SHAPES = {
    "i": [[(0, 1), (0, 0)], [(0, 1.4)]],
    "v": [[(0, 1), (0.3, 0), (0.6, 1)]],
    "o": [[(0.3 + 0.3 * np.sin(t), 0.5 + 0.5 * np.cos(t)) for t in np.linspace(0, 6.3, 12)]],
}


def written(text, seed=0, size=1.0, shake=0.03):
    rng = np.random.default_rng(seed)
    strokes, x = [], 3.0
    for letter in text:
        for stroke in SHAPES.get(letter, []):
            corners = np.array(stroke) + rng.normal(0, shake, (len(stroke), 2)) + [x, 0.0]
            count = len(corners)
            at = np.linspace(0, count - 1, 8 * count - 7)  # a pen's points lie close
            places = [np.interp(at, np.arange(count), axis) for axis in corners.T]
            strokes.append(size * np.stack(places, 1))
        x += 0.9
    return strokes


def texts(count, seed):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("ivo"), int(rng.integers(2, 5)))) for _ in range(2 * count)]
    return [f"{a} {b}" for a, b in zip(words[::2], words[1::2], strict=True)]


SAID = texts(20, 2)
INKS = [written(text, 100 + n) for n, text in enumerate(SAID)]


def untaught(language_model=None, **changes):
    name = "language.ngram" if language_model else None
    chosen = ReaderPreprocessorConfig(" iov", name)
    preprocessor = ReaderPreprocessor(chosen, language_model)
    return InkReader(dataclasses.replace(CONFIG, **changes), preprocessor)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = untaught()
    said = texts(150, 1)
    model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0))
    inks = [written(text, n) for n, text in enumerate(said)]
    losses = model.fit(inks, said, epochs=8, batch_size=10, verbose=0).history["loss"]
    assert losses[-1] < 0.1 * losses[0]
    return model


def test_it_reads_what_it_was_taught_in_any_size(model):
    assert np.mean([str(a) == b for a, b in zip(model.predict(INKS), SAID, strict=True)]) > 0.8
    large = [written(text, 100 + n, 37.0) for n, text in enumerate(SAID)]
    down = [[stroke * [1, -1] for stroke in ink] for ink in large]
    found = [str(one) for one in model.predict(INKS)]
    assert [str(one) for one in model.predict(large)] == found
    assert [str(one) for one in model.predict(down, y_down=True)] == found


@pytest.mark.parametrize("options", [{}, {"beam_size": 1}])
def test_company_batches_and_order_change_nothing(model, options):
    alone = [model.predict(ink, **options) for ink in INKS]
    for found in (
        model.predict(INKS, **options),
        model.predict(tuple(INKS), batch_size=1, **options),
        reversed(model.predict(INKS[::-1], batch_size=7, **options)),
    ):
        for one, other in zip(found, alone, strict=True):
            assert one.text == other.text
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
            assert one.alternatives[0][1] == pytest.approx(other.alternatives[0][1], abs=1e-3)


def test_a_reading_says_how_sure_it_is(model):
    found = model.predict(INKS[0], num_hypotheses=3)
    assert str(found) == found.text == found.alternatives[0][0]
    assert 0 < found.confidence <= 1
    assert len(found.alternatives) == 3
    assert found.alternatives[0][1] >= found.alternatives[1][1]
    assert found.to_dict()["alternatives"][0]["text"] == found.text
    axes = found.plot()
    assert axes.get_title(loc="left") == found.text
    assert len(axes.lines) == len(INKS[0])


def test_several_inks_may_come_in_any_container(model, tmp_path):
    paths = []
    for number, ink in enumerate(INKS[:2]):
        points = points_of([np.round(100 * stroke) for stroke in ink])
        line = InkLine("", points, np.zeros((len(points), 0), "f4"), True)
        Handwriting("", (line,)).save(tmp_path / f"{number}.inkml")
        paths.append(str(tmp_path / f"{number}.inkml"))
    expected = [str(model.predict(path)) for path in paths]
    for inputs in (
        paths,
        np.array(paths),
        (path for path in paths),
        tf.data.Dataset.from_tensor_slices(paths),
        tf.constant(paths),
    ):
        assert [str(one) for one in model.predict(inputs)] == expected


RNG = np.random.default_rng(0)


def test_a_page_is_read_line_by_line(model):
    def line(ink):
        points = points_of(ink)
        return InkLine("", points, np.zeros((len(points), 0), "f4"), True)

    page = Handwriting("", (line(INKS[0]), line(INKS[1])))
    expected = "\n".join(str(model.predict(ink)) for ink in INKS[:2])
    assert str(model.predict(page)) == expected
    (in_list, single) = model.predict([page, page.lines[0]])
    assert str(in_list) == expected and str(single) == expected.split("\n")[0]
    (offsets,) = model.predict([page.lines[1].points])
    assert str(offsets) == expected.split("\n")[1]


def test_nothing_is_read_as_nothing(model):
    assert model.predict([]) == []
    assert model.predict(Handwriting("", ())).text == ""
    assert [str(one) for one in model.predict([[], INKS[0]])] == ["", str(model.predict(INKS[0]))]


def test_a_grammar_and_a_language_model_help(model):
    found = model.predict(INKS[0], grammar=[SAID[1], SAID[0]])
    assert found.text == SAID[0]
    assert model.predict(INKS[0], grammar="v v").text == "v v"
    assert model.predict(INKS[0], grammar="v v", min_confidence=0.3).text == ""
    language = NGram.train(SAID * 3, " iov", 4, (1, 1, 1, 1))
    helped = untaught(language)
    helped.network.set_weights(model.network.get_weights())

    shaky = [written(text, 200 + n, shake=0.13) for n, text in enumerate(SAID)]

    def right(reader):
        return sum(str(a) == b for a, b in zip(reader.predict(shaky), SAID, strict=True))

    assert right(helped) > right(model)
    with pytest.raises(ConfigError, match="they belong to different checkpoints"):
        ReaderPreprocessor(ReaderPreprocessorConfig(" iv", "x"), language)
    with pytest.raises(ConfigError, match="both or neither"):
        ReaderPreprocessor(ReaderPreprocessorConfig(" iov"), language)


@pytest.mark.parametrize(
    ("inks", "targets", "message"),
    [
        ([INKS[0]], ["ix"], "target 0: .*'x'"),
        ([7], ["i"], "input 0: expected ink"),
        ([written("i")], ["ioioioioioioioioioio"], "pair 0: 20 characters, which need"),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_named(model, inks, targets, message):
    with pytest.raises(InputError, match=message):
        model.fit(inks, targets)


def test_wrong_input_is_named(model):
    with pytest.raises(InputError, match="input 1: expected ink"):
        model.predict([INKS[0], 7])
    with pytest.raises(InputError, match="Did you mean 'beam_size'"):
        model.predict(INKS[0], beamsize=3)


def test_checkpoints_and_files_keep_the_reader(model, tmp_path):
    model.save(tmp_path / "reader")
    model.save(tmp_path / "reader.keras")
    for path in ("reader", "reader.keras"):
        again = rnnzoo.load(tmp_path / path)
        assert [str(a) for a in again.predict(INKS)] == [str(a) for a in model.predict(INKS)]


def test_the_command_line_reads_inkml(model, tmp_path, capsys):
    model.save(tmp_path / "reader")
    paths = []
    for number in range(2):
        traces = "".join(
            "<trace>{}</trace>".format(", ".join(f"{x} {-y}" for x, y in stroke.tolist()))
            for stroke in INKS[number]
        )
        path = tmp_path / f"{number}.inkml"
        path.write_text(f'<ink xmlns="http://www.w3.org/2003/InkML">{traces}</ink>')
        paths.append(str(path))
    expected = [str(model.predict(ink)) for ink in INKS[:2]]
    reader = str(tmp_path / "reader")
    main(["predict", reader, paths[0]])
    assert capsys.readouterr().out == f"{expected[0]}\n"
    main(["predict", reader, *paths, "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["name"], line["text"]) for line in lines] == list(
        zip(paths, expected, strict=True)
    )
    bad = tmp_path / "bad.inkml"
    bad.write_text("<ink")
    assert main(["predict", reader, str(bad)]) == 2
    assert "is not InkML" in capsys.readouterr().err
    main(["predict", reader, str(bad), paths[1], "--skip-invalid"])
    out, err = capsys.readouterr()
    assert out == f"{paths[1]}\t{expected[1]}\n" and "left out: " in err


# --- the network ---------------------------------------------------------------------------


def test_the_network_is_what_its_config_says():
    config = ReaderConfig(num_layers=2, hidden_dim=8)
    network = build_reader(config)
    shapes = {weight.path: tuple(weight.shape) for weight in network.weights}
    assert shapes == reader_weight_shapes(config)
    points = RNG.normal(0, 0.2, (2, 11, 3)).astype("f4")
    out = network({"points": points, "counts": np.array([11, 6])})
    assert out["log_probs"].shape == (2, 6, 75)
    assert out["frames"].numpy().tolist() == [6, 3]
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(out["log_probs"]), -1), 1, atol=1e-5)
    short = network({"points": points[1:, :6], "counts": np.array([6])})
    np.testing.assert_allclose(out["log_probs"][1, :3], short["log_probs"][0], atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_the_network_runs_in_mixed_precision(dtype):
    whole, mixed = build_reader(CONFIG), build_reader(CONFIG, dtype)
    mixed.set_weights(whole.get_weights())
    points = RNG.normal(0, 0.2, (2, 30, 3)).astype("f4")
    inputs = {"points": points, "counts": np.array([30, 17])}
    layer, given = mixed.get_layer("reader"), []
    plain = layer.features
    layer.features = lambda points, mask: given.append(points) or plain(points, mask)
    np.testing.assert_allclose(mixed(inputs)["log_probs"], whole(inputs)["log_probs"], atol=0.05)
    np.testing.assert_array_equal(given[0], points)  # heights are sums of many: not rounded before


def test_a_config_says_what_is_wrong():
    for field, value in (("conv_width", 4), ("spacing", 0), ("conv_stride", 9)):
        with pytest.raises(ValueError, match=field):
            ReaderConfig(**{field: value})
