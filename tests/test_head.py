"""A new head: other labels, another alphabet, more words; everything else is what it was."""

import functools

import keras
import numpy as np
import pytest
from tiny_tasks import PAIRS, SPEECH, build, localizer, values

import rnnzoo
from rnnzoo.ctc import NGram
from rnnzoo.deepspeech import (
    DeepSpeechConfig,
    PreprocessorConfig,
    SpeechPreprocessor,
    SpeechRecognizer,
)
from rnnzoo.errors import InputError
from rnnzoo.handwriting import (
    HandwritingConfig,
    HandwritingPreprocessor,
    HandwritingWriter,
    Style,
)
from rnnzoo.handwriting import PreprocessorConfig as AlphabetConfig

INSULIN = "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQ"


def same_but(before, after, new):
    """All weights are the same to the bit, but those of the paths."""
    assert set(before) == set(after)
    odd = {path for path in before if not np.array_equal(before[path], after[path])}
    assert odd == set(new)


def test_new_locations_make_the_head_anew(tmp_path, caplog):
    model = localizer(num_members=2)
    model.save(tmp_path / "base")
    places = ["Vacuole", "Nucleus"]
    tuned = rnnzoo.load(tmp_path / "base", locations=places)
    new = [f"member_{n}/location/{kind}" for n in (0, 1) for kind in ("kernel", "bias")]
    assert sorted(tuned.new_weights) == sorted(new)
    same_but(values(model), values(tuned), new)  # the membrane's head is kept
    (record,) = caplog.records
    assert "member_1/location/kernel" in record.message and "fit()" in record.message
    assert f"other {len(values(model)) - 4} weights are loaded" in record.message
    assert tuned.config.num_locations == 2
    assert list(tuned.predict("MKVLAAG").likelihoods) == places
    tuned.compile(run_eagerly=True)
    tuned.fit(["MKV", "MSD"], ["Vacuole", ("Nucleus", True)], verbose=0)
    with pytest.raises(InputError, match=r"unknown location 'Plastid'.*Vacuole, Nucleus"):
        tuned.fit(["MKV"], ["Plastid"], verbose=0)
    tuned.save(tmp_path / "tuned")
    again = rnnzoo.load(tmp_path / "tuned")
    assert again.new_weights == () and len(caplog.records) == 1
    assert again.predict("MKVLAAG").to_dict() == tuned.predict("MKVLAAG").to_dict()
    tuned.save(tmp_path / "tuned.keras")
    again = rnnzoo.load(tmp_path / "tuned.keras")
    assert again.predict("MKVLAAG").location == tuned.predict("MKVLAAG").location

    unchanged = rnnzoo.load(tmp_path / "base", locations=["Nucleus", "Cytoplasm", "Plastid"])
    same_but(values(model), values(unchanged), [])
    fresh = rnnzoo.load(tmp_path / "base", weights=False, locations=places)
    assert fresh.config.num_locations == 2 and fresh.new_weights == ()
    assert len(caplog.records) == 1


def test_one_of_several_members_is_loaded_alone(tmp_path, caplog):
    model = localizer(num_members=3)
    model.save(tmp_path / "base")
    one = rnnzoo.load(tmp_path / "base", num_members=1)
    assert one.config.num_members == 1
    whole = values(model)
    assert values(one).keys() == {path for path in whole if path.startswith("member_0/")}
    for path, value in values(one).items():
        np.testing.assert_array_equal(value, whole[path])
    x = model.preprocessor.encode(["MKVLAAG"])
    member = model.network.get_layer("member_0")(x)["location"]
    np.testing.assert_allclose(one.network(x)["location"], member, atol=1e-6)
    assert not caplog.records and one.new_weights == ()
    one.save(tmp_path / "one")
    assert rnnzoo.load(tmp_path / "one").predict("MKV").to_dict() == one.predict("MKV").to_dict()
    both = rnnzoo.load(tmp_path / "base", num_members=2, locations=["here", "there"])
    assert len(both.new_weights) == 4 and len(caplog.records) == 1
    assert list(both.predict("MKV").likelihoods) == ["here", "there"]
    small = rnnzoo.load(tmp_path / "base", num_members=1, quantize="int8")
    assert small.predict("MKV").location

    one.enable_lora(rank=1, targets=["encoder"])
    one.save_adapter(tmp_path / "adapter")
    again = rnnzoo.load(tmp_path / "base", adapter=tmp_path / "adapter")
    assert again.config.num_members == 1
    for wrong, words in (
        (4, "has 3 members, got num_members=4"),
        (0, "from 1"),
        ("1", "whole number"),
    ):
        with pytest.raises(InputError, match=words):
            rnnzoo.load(tmp_path / "base", num_members=wrong)


def test_labels_that_are_none_are_refused(tmp_path):
    localizer().save(tmp_path / "base")
    for wrong in ("Nucleus", [], ["a", "a"], [""], 3, [1, 2], None):
        with pytest.raises(InputError, match="locations must be a list of texts that differ"):
            rnnzoo.load(tmp_path / "base", locations=wrong)
    with pytest.raises(InputError, match="num_locations must be from 2"):
        rnnzoo.load(tmp_path / "base", locations=["Nucleus"])
    with pytest.raises(InputError, match=r"another 'alphabet'; what can be changed: locations, nu"):
        rnnzoo.load(tmp_path / "base", alphabet="abc")


def test_a_released_localizer_learns_new_labels_with_the_rest_frozen():
    model = rnnzoo.load("deeploc-attn", locations=["here", "there"], num_members=1)
    before = values(model)
    model.freeze()
    model.unfreeze(*model.new_weights)
    model.compile(keras.optimizers.Adam(0.05))
    chains, places = [INSULIN, "MSDEEKLLKKAAEEA"] * 2, ["here", "there"] * 2
    history = model.fit(chains, places, epochs=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    same_but(before, values(model), model.new_weights)
    assert [found.location for found in model.predict(chains[:2])] == ["here", "there"]


def test_an_alphabet_keeps_the_rows_of_the_characters_it_shares(tmp_path, caplog):
    language = NGram.train(["ab ba", "a b"], " ab", order=2)
    model = SpeechRecognizer(
        DeepSpeechConfig(**SPEECH),
        SpeechPreprocessor(PreprocessorConfig(" ab", language_model="lm.ngram"), language),
    )
    model.save(tmp_path / "base")
    tuned = rnnzoo.load(tmp_path / "base", alphabet="b cä")
    kernel = "recognizer/symbols/kernel"
    assert tuned.new_weights == (kernel, "recognizer/symbols/bias")
    same_but(values(model), values(tuned), tuned.new_weights)
    old, new = values(model)[kernel], values(tuned)[kernel]
    np.testing.assert_array_equal(new[:, [0, 1, 2]], old[:, [0, 3, 1]])  # blank, b, space
    assert not np.isin(new[:, 3:], old).any()
    assert tuned.preprocessor.language_model is None
    assert "left out, as it does not fit: the language model" in caplog.records[-1].message
    sound = PAIRS["deepspeech"][0][0]
    assert set(tuned.predict(sound).text) <= set("b cä")
    tuned.compile(run_eagerly=True)
    tuned.fit([sound], ["c b"], verbose=0)
    tuned.save(tmp_path / "tuned")
    assert rnnzoo.load(tmp_path / "tuned").predict(sound).text == tuned.predict(sound).text

    reordered = rnnzoo.load(tmp_path / "base", alphabet="ba ")
    assert reordered.new_weights == ()
    np.testing.assert_array_equal(values(reordered)[kernel], old[:, [0, 3, 2, 1]])
    shorter = rnnzoo.load(tmp_path / "base", alphabet="ba")  # nothing is new, but it differs
    with pytest.raises(InputError, match=f"^{kernel} train in full already"):
        shorter.enable_lora(rank=1, targets=["head"])
    shorter.enable_lora(rank=1)
    assert shorter.lora.whole == tuned.new_weights
    shorter.save_adapter(tmp_path / "adapter")
    again = rnnzoo.load(tmp_path / "base", adapter=tmp_path / "adapter")
    assert again.preprocessor.config.alphabet == "ba"
    same_but(values(shorter), values(again), [])
    same = rnnzoo.load(tmp_path / "base", alphabet=" ab")
    assert same.preprocessor.language_model is not None
    for wrong in ("", "aa", 3, ["a", "b"]):
        with pytest.raises(InputError, match="alphabet must be a text of characters that differ"):
            rnnzoo.load(tmp_path / "base", alphabet=wrong)


def test_a_grammar_stays_where_the_alphabet_has_its_letters(tmp_path):
    chosen = PreprocessorConfig(" ab", grammar=("{word}",), slots={"word": ("ab", "ba")})
    SpeechRecognizer(DeepSpeechConfig(**SPEECH), SpeechPreprocessor(chosen)).save(tmp_path / "base")
    assert rnnzoo.load(tmp_path / "base", alphabet=" abc").preprocessor.grammar is not None
    assert rnnzoo.load(tmp_path / "base", alphabet=" bc").preprocessor.grammar is None


def test_a_reader_and_a_writer_take_another_alphabet(tmp_path, caplog):
    model = build("handwriting_reader")
    model.save(tmp_path / "reader")
    tuned = rnnzoo.load(tmp_path / "reader", alphabet="xb")
    kernel = "reader/symbols/kernel"
    np.testing.assert_array_equal(
        values(tuned)[kernel][:, [0, 2]], values(model)[kernel][:, [0, 3]]
    )
    ink = PAIRS["handwriting_reader"][0][0]
    assert set(tuned.predict([ink])[0].text) <= set("xb")

    styles = [Style("ab", PAIRS["handwriting"][1][0])]
    chosen = AlphabetConfig(" ab", styles="styles.json")
    config = HandwritingConfig(num_symbols=3, hidden_dim=6, num_components=2, num_windows=2)
    model = HandwritingWriter(config, HandwritingPreprocessor(chosen, styles))
    model.save(tmp_path / "writer")
    before = values(model)
    reordered = rnnzoo.load(tmp_path / "writer", alphabet="ba ")
    assert len(reordered.preprocessor.styles) == 1 and reordered.new_weights == ()
    inputs, targets = PAIRS["handwriting"]
    np.testing.assert_allclose(
        reordered.nats_per_point(inputs, targets), model.nats_per_point(inputs, targets), rtol=1e-4
    )
    tuned = rnnzoo.load(tmp_path / "writer", alphabet="b!")
    assert "the styles" in caplog.records[-1].message
    above = "writer/lstm_2/lstm_cell/kernel"
    after = values(tuned)
    np.testing.assert_array_equal(after[above][:4], before[above][[0, 1, 2, 5]])
    np.testing.assert_array_equal(after[above][5:], before[above][6:])
    text_kernel = "writer/lstm_1/text_kernel"
    np.testing.assert_array_equal(after[text_kernel][0], before[text_kernel][2])
    assert set(tuned.new_weights) == {above, text_kernel, above.replace("2", "3", 1)}


def test_a_vocabulary_grows(vocabulary, tmp_path):
    model = build("seq2seq", vocabulary)
    model.save(tmp_path / "base")
    tuned = rnnzoo.load(tmp_path / "base", new_pieces=["▁aspirin", "▁œdème"])
    (path,) = tuned.new_weights
    old, new = values(model)[path], values(tuned)[path]
    same_but(
        {p: v for p, v in values(model).items() if p != path},
        {p: v for p, v in values(tuned).items() if p != path},
        [],
    )
    np.testing.assert_array_equal(new[: len(old)], old)
    np.testing.assert_allclose(new[len(old) :], [old.mean(0)] * 2, rtol=1e-6)
    size = model.preprocessor.vocab_size
    assert tuned.preprocessor.encode("aspirin").ids == (size, 3)
    assert tuned.preprocessor.encode("the cat").ids == model.preprocessor.encode("the cat").ids
    inputs = {"source_tokens": np.array([[5, 6, 3]]), "target_tokens": np.array([[2, 7]])}
    logits = [np.asarray(m.network(inputs)["logits"]) for m in (model, tuned)]
    np.testing.assert_allclose(logits[1][..., :size], logits[0], atol=1e-5)
    tuned.compile(keras.optimizers.Adam(0.05))
    tuned.fit(["the aspirin"], ["un œdème"], epochs=20, verbose=0)
    assert tuned.predict("the aspirin", beam_size=1).text == "un œdème"
    tuned.save(tmp_path / "tuned")
    assert rnnzoo.load(tmp_path / "tuned").predict("the aspirin", beam_size=1).text == "un œdème"
    for wrong, words in (
        (["▁cats", model.preprocessor.pieces([9])[0]], "in the vocabulary already"),
        (["a b"], "without white space"),
        (["▁▁"], "without white space"),
        ("x", "list of texts"),
    ):
        with pytest.raises(InputError, match=words):
            rnnzoo.load(tmp_path / "base", new_pieces=wrong)


def test_a_head_and_low_rank_updates_travel_together(tmp_path, caplog):
    localizer().save(tmp_path / "base")
    model = rnnzoo.load(tmp_path / "base", locations=["here", "there"])
    model.enable_lora(rank=1, targets=["encoder"])
    assert model.lora.whole == ("member_0/location/kernel", "member_0/location/bias")
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    model.fit(["MKV", "MSD"], ["here", "there"], epochs=2, verbose=0)
    model.save_adapter(tmp_path / "adapter")
    caplog.clear()
    for merge in (True, False):
        again = rnnzoo.load(tmp_path / "base", adapter=tmp_path / "adapter", merge_adapter=merge)
        assert again.predict("MKVLAAG").location == model.predict("MKVLAAG").location
        for path, value in values(model).items():
            np.testing.assert_allclose(values(again)[path], value, atol=1e-6)
    assert not caplog.records  # nothing is new: the adapter has it
    load = functools.partial(rnnzoo.load, tmp_path / "base", adapter=tmp_path / "adapter")
    same = load(locations=("here", "there"), dropout=0.3, quantize="int8")
    assert list(same.predict("MKVLAAG").likelihoods) == ["here", "there"]
    for others in (["there", "here"], ["here", "there", "Plastid"], np.array(["here", "there"]), 3):
        with pytest.raises(InputError, match=r"locations=.'here', 'there'., got"):
            load(locations=others)
    plain = rnnzoo.load(tmp_path / "base")
    plain.enable_lora(rank=1, targets=["encoder"])
    plain.save_adapter(tmp_path / "adapter")
    assert load(num_members=1).predict("MKV").to_dict() == load().predict("MKV").to_dict()
    with pytest.raises(InputError, match=r"with locations=the base's own, got \['x', 'y'\]"):
        load(locations=["x", "y"])
