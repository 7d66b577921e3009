"""Searches and sampling by onnxruntime beside TensorFlow's, on the released weights."""

import numpy as np
import pytest

import rnnzoo
from rnnzoo.onnx_loops import free_loops

SENTENCES = [
    "Thank you.",
    "I love you.",
    "Tom is not at home.",
    "I do not know what to do with all these old books.",
    "She said that she would come back before the end of the week.",
]
SEARCHES = {
    "seq2seq-en-fr": [
        {"beam_size": 5, "num_hypotheses": 3},
        {"beam_size": 10, "length_penalty": 0.0, "max_length_extra": 3},
    ],
    "seq2seq-en-fr-sutskever": [
        {"temperature": 0.7, "top_p": 0.9, "num_hypotheses": 2, "seed": 3},
    ],
}


def both(model, predict):
    """What is predicted by TensorFlow, and by onnxruntime."""
    found = []
    for engine in ("tensorflow", "onnx"):
        model.engine = engine
        found.append(predict(model))
    return found


@pytest.mark.parametrize("name", SEARCHES)
def test_onnxruntime_finds_the_same_translations(name):
    model = rnnzoo.load(name, dtype="float32")

    def translate(model):
        return [model.predict(SENTENCES, **options) for options in SEARCHES[name]]

    for ours, theirs in zip(*both(model, translate), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert [h.text for h in other.hypotheses] == [h.text for h in one.hypotheses]
            for field in ("score", "log_prob"):
                values = ([getattr(h, field) for h in each.hypotheses] for each in (one, other))
                np.testing.assert_allclose(*values, atol=1e-4)
            assert other.tokens == one.tokens
            if one.alignment is not None:
                np.testing.assert_allclose(other.alignment, one.alignment, atol=1e-4)
    options = SEARCHES[name][-1]
    alone = model.predict(SENTENCES, batch_size=1, **options)  # company changes nothing
    assert [found.text for found in alone] == [found.text for found in theirs]


def test_onnxruntime_writes_the_same_ink():
    model = rnnzoo.load("graves-handwriting", dtype="float32")

    def write(model):
        return [
            model.predict(["of this", "Yes"], seed=4, max_points_per_character=12),
            model.predict(["so"], style=2, bias=2.0),
            [np.array(list(model.stream("of this", seed=4, max_points_per_character=12)))],
        ]

    (ours, primed, [stream]), (theirs, their_primed, [their_stream]) = both(model, write)
    for one, other in zip([*ours, *primed], [*theirs, *their_primed], strict=True):
        for line, their_line in zip(one.lines, other.lines, strict=True):
            assert their_line.points.shape == line.points.shape
            assert their_line.finished == line.finished
            np.testing.assert_allclose(their_line.points, line.points, atol=1e-3)
            np.testing.assert_allclose(their_line.attention, line.attention, atol=1e-3)
    np.testing.assert_allclose(stream, ours[0].lines[0].points, atol=1e-5)
    np.testing.assert_allclose(their_stream, theirs[0].lines[0].points, atol=1e-5)


def test_onnxruntime_goes_on_with_the_same_ink():
    model = rnnzoo.load("graves-prediction", dtype="float32")
    given = np.array([[0.1, 0.3, 0], [0.2, -0.1, 0], [0.3, 0.0, 1]], np.float32)

    def go_on(model):
        return [*model.predict(2, num_points=40), model.predict(given, num_points=40)]

    for one, other in zip(*both(model, go_on), strict=True):
        np.testing.assert_allclose(other.lines[0].points, one.lines[0].points, atol=1e-3)


def test_loops_carry_only_what_they_change():
    import onnx
    import onnxruntime

    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]>
        nested (int64 times, float one, float two) => (float last, float shown) {
            go_on = Constant <value = bool {1}> ()
            last, shown, unused = Loop (times, go_on, one, two, one) <body = body (
                int64 step, bool before, float x, float by, float plus
            ) => (bool after, float y, float by, float plus) {
                after = Identity (before)
                y, same = Loop (times, before, x, by) <body = inner (
                    int64 inner_step, bool inner_before, float inner_x, float inner_by
                ) => (bool inner_after, float inner_y, float inner_by) {
                    inner_after = Identity (inner_before)
                    product = Mul (inner_x, inner_by)
                    inner_y = Add (product, plus)
                }>
            }>
        }""")
    inputs = {"times": np.array(2), "one": np.array(1, "f4"), "two": np.array(2, "f4")}

    def run():
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return [float(value) for value in session.run(None, inputs)]

    before = run()
    free_loops(model.graph)
    assert run() == before == [31.0, 2.0]
    outer = model.graph.node[1]
    inner = outer.attribute[0].g.node[1]
    assert list(outer.output) == ["last", "shown"]  # what is asked for stays
    assert list(inner.output) == ["y"]
    assert len(inner.attribute[0].g.input) == 3


def test_loops_side_by_side_may_share_names():
    import onnx
    import onnxruntime

    body = """body = body (int64 step, bool before, float x, float by)
        => (bool after, float y, float by) { after = Identity (before) y = Mul (x, by) }"""
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18]>
        beside (int64 times, float one, float two, float three) => (float first, float second) {{
            go_on = Constant <value = bool {{1}}> ()
            first, a = Loop (times, go_on, one, two) <{body}>
            second, b = Loop (times, go_on, one, three) <{body}>
        }}""")
    free_loops(model.graph)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inputs = {"times": 2, "one": 1, "two": 2, "three": 3}
    given = {n: np.array(v, "i8" if n == "times" else "f4") for n, v in inputs.items()}
    assert [float(value) for value in session.run(None, given)] == [4.0, 9.0]
