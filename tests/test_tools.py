"""The recipes and tools, on a handful of pairs."""

import dataclasses
import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from recipes import en_fr_data, run, seq2seq, seq2seq_card, seq2seq_measure

import rnnzoo

WORDS = {
    "the": "le", "cat": "chat", "dog": "chien", "house": "maison", "sees": "voit", "big": "grand",
    "red": "rouge", "my": "mon", "your": "votre", "friend": "ami", "loves": "aime", "and": "et",
}  # fmt: skip


def pairs(count, seed):
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        words = rng.choice(list(WORDS), rng.integers(3, 9)).tolist()
        origin = "tatoeba" if n % 2 else "europarl"
        french = [WORDS[word] for word in words]
        rows.append((" ".join(words) + ".", " ".join(french) + ".", origin))
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("train", 300), ("valid", 20), ("test", 20)):
        with gzip.open(folder / f"{name}.tsv.gz", "wt", encoding="utf-8") as file:
            file.writelines("\t".join(row) + "\n" for row in pairs(count, len(name)))
    return folder


@pytest.fixture(scope="module")
def corpus_and_vocabulary(data, tmp_path_factory):
    """The prepared corpus; its alignments are made up, as eflomal is no dependency of the tests."""
    run = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(en_fr_data, "VOCAB_SIZE", 45)
        patch.setattr(
            en_fr_data,
            "align",
            lambda source, target: [
                [min(n, len(s) - 1) for n in range(len(t))]
                for s, t in zip(source, target, strict=True)
            ],
        )
        vocabulary, corpus = en_fr_data.prepare(data, run)
    return corpus, vocabulary


RECIPE = seq2seq.Recipe(
    network={
        "vocab_size": 45,
        "embedding_dim": 12,
        "encoder_dim": 16,
        "decoder_dim": 16,
        "attention_dim": 8,
    },
    steps=12,
    tokens_per_batch=120,
    warmup_steps=2,
    short_steps=4,
    guide_steps=6,
    unknown_share=0.2,
    dtype="float32",
)


def test_batches_hold_whole_pairs_within_their_budget(corpus_and_vocabulary):
    corpus, _ = corpus_and_vocabulary
    stream = seq2seq.batches(corpus, RECIPE, 0)
    known = {
        (tuple(corpus.source[n]), tuple(corpus.target[n])): bool(corpus.is_tatoeba[n])
        for n in range(len(corpus))
    }
    origins = []
    for _ in range(40):
        source, target_in, target, links = next(stream)
        assert source.size <= 2 * RECIPE.tokens_per_batch
        assert target_in.shape == target.shape == links.shape
        np.testing.assert_array_equal(
            target_in[:, 1:][target[:, 1:] > 0], target[:, :-1][target[:, 1:] > 0]
        )
        assert (links < source.shape[1]).all()
        for s, t in zip(source, target, strict=True):
            row = (tuple(s[s > 0]), tuple(t[t > 0]))
            if 1 not in row[0]:  # no unknown piece was put in
                origins.append(known[row])
    assert all(origins[:20])  # Tatoeba alone at first
    assert not all(origins)


def test_batches_go_on_where_they_stopped(corpus_and_vocabulary):
    corpus, _ = corpus_and_vocabulary
    whole, later = seq2seq.batches(corpus, RECIPE, 0), seq2seq.batches(corpus, RECIPE, 9)
    for _ in range(9):
        next(whole)
    for _ in range(5):
        for one, other in zip(next(whole), next(later), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("back", [1, 2])
def test_an_unknown_word_is_put_near_the_end_of_both_sides(corpus_and_vocabulary, back):
    corpus, _ = corpus_and_vocabulary
    like = [
        n for n in range(len(corpus)) if corpus.links[n][-2] == len(corpus.source[n]) - 2
    ]  # the last pieces before EOS are aligned
    rows = np.array(like[:2])
    source, _, target, links = seq2seq.collate(corpus, rows, False, np.array([back, 0]))
    plain_source, plain_target = corpus.source[rows[0]], corpus.target[rows[0]]
    at, target_at = len(plain_source) - back, len(plain_target) - back
    word = corpus.unknown_word
    expected = [*plain_source[:at], *word, *plain_source[at:]]
    assert source[0, : len(expected)].tolist() == expected
    expected = [*plain_target[:target_at], *word, *plain_target[target_at:]]
    assert target[0, : len(expected)].tolist() == expected
    aligned = links[0, target_at : target_at + len(word)].tolist()
    assert aligned == [at, at + 1]
    assert links[0, len(expected) - 1] == len(plain_source) + 1  # EOS with EOS
    assert source[1][source[1] > 0].tolist() == corpus.source[rows[1]].tolist()


def test_a_run_resumed_ends_as_one_that_was_not_stopped(corpus_and_vocabulary, tmp_path):
    corpus, _ = corpus_and_vocabulary

    recipe = dataclasses.replace(RECIPE, network={**RECIPE.network, "dropout": 0.2})

    def trained(folder, stop_at):
        folder.mkdir(exist_ok=True)
        made = seq2seq.Run(recipe, folder)
        made.restore()
        for batch in seq2seq.batches(corpus, recipe, made.step):
            if made.step >= stop_at:
                break
            made.train_on(batch)
        made.save()
        return made

    straight = trained(tmp_path / "a", 12)
    trained(tmp_path / "b", 5)
    resumed = trained(tmp_path / "b", 12)
    for one, other in zip(straight.average, resumed.average, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)


def test_the_smoothed_loss_has_the_gradient_of_its_definition():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(2, 3, 7)).astype("float32"))
    target = tf.constant(rng.integers(7, size=(2, 3)).astype("int32"))
    weight = tf.constant(rng.normal(size=(2, 3)).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        smoothed, plain = seq2seq.smoothed_cross_entropy(logits, target, 0.1)
        log_probs = tf.nn.log_softmax(logits)
        soft = 0.9 * tf.one_hot(target, 7) + 0.1 / 7
        expected = -tf.reduce_sum(soft * log_probs, -1)
        ours, theirs = (tf.reduce_sum(weight * loss) for loss in (smoothed, expected))
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5)
    np.testing.assert_allclose(plain, -tf.gather(log_probs, target, batch_dims=2), rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(ours, logits), tape.gradient(theirs, logits), atol=1e-6
    )


def test_the_learning_rate_rises_and_falls_to_zero():
    rates = [run.learning_rate(RECIPE, step) for step in range(RECIPE.steps + 1)]
    assert rates[0] < rates[1] == max(rates)
    assert rates[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(rates[2:]))


def test_train_release_and_evaluate_fit_together(
    data, corpus_and_vocabulary, tmp_path, capsys, monkeypatch
):
    """A run of the command line becomes a checkpoint that loads and is measured."""
    import shutil

    import evaluate
    import train

    folder = tmp_path / "run"
    shutil.copytree(corpus_and_vocabulary[1].parent, folder)
    monkeypatch.setitem(seq2seq.RECIPES, "seq2seq-en-fr", RECIPE)
    arguments = ["seq2seq-en-fr", "--data", str(data), "--run", str(folder)]
    train.main([*arguments, "--set", "steps=4"])
    assert "from the start" in capsys.readouterr().out
    train.main([*arguments, "--set", "steps=6"])
    assert "going on from step 4" in capsys.readouterr().out
    translator, (record,) = seq2seq_card.task_of_runs([folder])
    assert record["steps_done"] == 6
    translator.save(tmp_path / "model", storage="int8")
    again = tmp_path / "again"
    shutil.copytree(corpus_and_vocabulary[1].parent, again)
    train.main([*arguments[:-1], str(again), "--start-from", str(tmp_path / "model"), "--set",
                "steps=0"])  # fmt: skip
    assert f"from {tmp_path / 'model'}" in capsys.readouterr().out
    started, (record,) = seq2seq_card.task_of_runs([again])
    made = seq2seq_card.recipe_record("seq2seq-en-fr", [record])
    assert record["start"]["fingerprint"] in made["before"][0]
    record["start"]["recipe"] = seq2seq_card.recipe_record(
        "seq2seq-en-fr", [{**record, "start": None, "steps_done": 6, "seconds": 60}]
    )
    made = seq2seq_card.recipe_record(
        "seq2seq-en-fr", [{**record, "steps_done": 4, "seconds": 120}]
    )
    assert (made["steps"], made["minutes"]) == (10, 3)
    assert made["before"][0].startswith("6 steps, 1 minutes, tokens_per_batch 120")
    for name, value in rnnzoo.load(tmp_path / "model").weights_by_path().items():
        np.testing.assert_array_equal(started.weights_by_path()[name], value)
    evaluate.main([str(tmp_path / "model"), "--data", str(data), "--set", "test"])
    records = json.loads(capsys.readouterr().out)
    assert {(r["data"], r["metric"]) for r in records} == {
        (source, metric) for source in ("tatoeba", "europarl") for metric in ("BLEU", "chrF2")
    }
    assert all(r["rows"] == 10 and r["signature"] for r in records)


def test_measuring_a_perfect_translator_gives_100():
    rows = [("a b", ["le chat court vite ici.", "x"]), ("c", ["un grand chien noir dort."])]
    results = seq2seq_measure.score(lambda texts: [refs[0] for _, refs in rows], rows)
    assert [r["value"] for r in results] == [100.0, 100.0]


def test_gpu_check_says_what_it_did(capsys):
    import gpu_check
    import tensorflow as tf

    code = gpu_check.main()
    if tf.config.list_physical_devices("GPU"):
        assert code == 0
    else:
        assert code == gpu_check.NO_GPU
        assert "nothing was checked" in capsys.readouterr().out


def test_the_readmes_test_command_is_what_ci_runs():
    root = Path(__file__).resolve().parent.parent
    readme = (root / "README.md").read_text(encoding="utf-8")
    script = (root / ".ci" / "run").read_text().splitlines()
    assert script[-1] == "pip install -e '.[dev]' && pytest -n 2"
    assert f"```sh\n{script[-1]}\n```" in readme
