"""The localizers' recipes and measures, on a handful of proteins."""

import csv
import dataclasses
import gzip
import itertools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from recipes import deeploc, deeploc_card, deeploc_measure, protein_data

import rnnzoo
from rnnzoo import manifest
from rnnzoo.deeploc import Localization
from rnnzoo.deeploc.residues import LETTERS, RESIDUES

RECIPE = deeploc.Recipe(
    network={
        "num_filters": 2, "conv_dim": 6, "hidden_dim": 5, "attention_dim": 4, "decoder_dim": 6,
        "dense_dim": 6, "attention_steps": 2,
    },
    steps=6,
    residues_per_batch=600,
    max_rows=8,
    kept_ends=5,
    short_steps=4,
    short_length=40,
    warmup_steps=2,
    average_every=1,
    dtype="float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A made-up table in the form of DeepLoc's."""
    folder = tmp_path_factory.mktemp("protein")
    (folder / "deeploc1").mkdir()
    rng = np.random.default_rng(0)
    places = list(protein_data.DEEPLOC_LOCATIONS)
    columns = ["accession", "sequence", "location", "membrane", "split", "fold"]
    with gzip.open(folder / "deeploc1" / "deeploc1.tsv.gz", "wt") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(columns)
        for n in range(60):
            chain = "M" + "".join(rng.choice(list(RESIDUES + "X"), int(rng.integers(20, 90))))
            fold = "-" if n % 6 == 5 else str(n % 6)
            split = "test" if fold == "-" else "valid" if fold == "0" else "train"
            table.writerow([f"P{n}", chain, places[n % 10], "MSU?"[n % 4], split, fold])
    return folder


def test_batches_hold_each_protein_once_a_pass_within_their_budget(data):
    train, valid = deeploc.split(protein_data.read_deeploc(data), RECIPE)
    assert (len(train), len(valid)) == (40, 10)
    plain = dataclasses.replace(RECIPE, shorten_share=0.0, substitution_rate=0.0, short_steps=0)
    seen = []
    for residues, candidates, membrane, _ in deeploc.batches(train, plain, 0):
        assert len(residues) <= RECIPE.max_rows
        assert residues.size <= RECIPE.residues_per_batch or len(residues) == 1
        for row, places, bound in zip(residues, candidates, membrane, strict=True):
            (place,) = np.flatnonzero(places)
            seen.append((tuple(row[row > 0]), place, bound))
        if len(seen) >= len(train):
            break
    expected = zip(map(tuple, train.chains), train.location, train.membrane, strict=True)
    assert sorted(seen) == sorted(expected)
    assert set(train.membrane) == {-1, 0, 1}


def test_rare_locations_are_drawn_again():
    location = np.array([0] * 90 + [1] * 8 + [2] * 2)
    rng = np.random.default_rng(0)
    drawn = deeploc.with_rare(location, 0.05, rng)
    assert sorted(drawn)[:1] == [0]
    assert set(drawn) == set(range(100))
    assert np.bincount(location[drawn]).tolist() == [90, 8, 5]
    assert deeploc.with_rare(location, 0.0, rng).tolist() == list(range(100))
    several = np.concatenate([location, np.full(50, -1)])  # counted in no location
    drawn = deeploc.with_rare(several, 0.05, rng)
    assert np.bincount(several[drawn] + 1).tolist() == [50, 90, 8, 5]


def test_what_is_drawn_oftener_is_counted_in():
    location = np.array([0] * 60 + [1] * 20 + [0] * 10 + [2] * 10 + [-1] * 30)
    fold = np.array(["1"] * 80 + ["+"] * 50, dtype=object)
    blank = np.zeros(130, int)
    proteins = protein_data.Proteins(
        [""] * 130, [np.ones(1)] * 130, location, blank, fold, blank == 0, ("a", "b", "c")
    )
    recipe = dataclasses.replace(RECIPE, least_share=0.3, logit_adjustment=True)
    drawn, own = np.array([70, 30, 30]) / 130, np.array([60, 20, 1]) / 80
    offsets = deeploc.logit_offsets(proteins, recipe)
    np.testing.assert_allclose(offsets, np.log(drawn / own), rtol=1e-6)
    assert not deeploc.logit_offsets(proteins, RECIPE).any()


def new_run(folder, recipe, **changes):
    folder.mkdir()
    run = deeploc.Run(dataclasses.replace(recipe, **changes), folder)
    run.begin(folder.name, None)
    run.save()
    return run


def test_a_student_gets_the_mean_of_its_teachers(data, tmp_path, monkeypatch):
    train, _ = deeploc.split(protein_data.read_deeploc(data), RECIPE)
    train = train.take(np.arange(12))
    runs = [new_run(tmp_path / f"{n}", RECIPE, seed=n) for n in range(2)]
    recipe = dataclasses.replace(RECIPE, teachers=tuple(str(run.folder) for run in runs))
    mean = deeploc.teacher_likelihoods(recipe, train, tmp_path / "kept.npz")
    said = [run.predict(train) for run in runs]
    expected = [np.concatenate([s["location"], s["membrane"][:, None]], 1) for s in said]
    np.testing.assert_allclose(mean, np.mean(expected, 0), atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4

    monkeypatch.setattr(deeploc, "_likelihoods", None)  # the second time from the cache
    kept = deeploc.teacher_likelihoods(recipe, train, tmp_path / "kept.npz")
    np.testing.assert_array_equal(kept, mean)
    runs[0].step = 5  # a teacher that has gone on says something else
    runs[0].save()
    with pytest.raises(TypeError):
        deeploc.teacher_likelihoods(recipe, train, tmp_path / "kept.npz")
    other = dataclasses.replace(recipe, logit_adjustment=True)
    with pytest.raises(SystemExit, match="logit_adjustment"):
        deeploc.teacher_likelihoods(other, train, tmp_path / "kept.npz")


def test_the_loss_is_its_formula(data, tmp_path):
    """Labels through adjusted logits, teachers through plain ones; rows without one label have
    their teachers alone, or without teachers any of their labels."""
    teachers = ("somebody",)
    recipe = dataclasses.replace(RECIPE, teachers=teachers, teacher_share=0.3)
    offsets = np.linspace(-1, 1, 10).astype(np.float32)
    (tmp_path / "run").mkdir()
    run = deeploc.Run(recipe, tmp_path / "run", offsets)
    rng = np.random.default_rng(0)
    p, t = rng.dirichlet(np.ones(10), (2, 4)).astype(np.float32)
    bound, told = rng.uniform(0.1, 0.9, (2, 4)).astype(np.float32)
    location, membrane = np.array([3, -1, 0, 9]), np.array([1, 0, -1, -1])
    said = np.concatenate([t, told[:, None]], 1)

    candidates = location[:, None] == np.arange(10)
    candidates[1, [2, 5]] = True
    xent, losses = run._location_losses(p, candidates, said)
    adjusted = p * np.exp(offsets)
    log_probs = np.log(adjusted / adjusted.sum(1, keepdims=True))
    distillation = -(t * np.log(p)).sum(1)
    for n, place in enumerate(location):
        hard = -0.95 * log_probs[n, place] - 0.05 * log_probs[n].mean()
        whole = distillation[n] if place < 0 else 0.7 * hard + 0.3 * distillation[n]
        assert float(losses[n]) == pytest.approx(whole, rel=1e-4)
        assert place < 0 or float(xent[n]) == pytest.approx(-log_probs[n, place], rel=1e-4)

    target = np.where(membrane < 0, told, 0.7 * membrane + 0.3 * told)
    binary = -(target * np.log(bound) + (1 - target) * np.log(1 - bound))
    loss = run._membrane_loss(bound, membrane, said)
    assert float(loss) == pytest.approx(binary.mean(), rel=1e-4)

    (tmp_path / "plain").mkdir()
    plain = deeploc.Run(RECIPE, tmp_path / "plain")
    none = np.zeros((4, 0), np.float32)
    _, losses = plain._location_losses(p, candidates, none)
    for loss, said, likelihood in zip(losses, p, [p[0, 3], p[1, 2] + p[1, 5]], strict=False):
        expected = -0.95 * np.log(likelihood) - 0.05 * np.log(said).mean()
        assert float(loss) == pytest.approx(expected, rel=1e-4)
    loss = plain._membrane_loss(bound, membrane, none)
    assert float(loss) == pytest.approx(-(np.log(bound[0]) + np.log(1 - bound[1])) / 2, rel=1e-4)


def test_a_membrane_that_is_certain_gives_a_finite_loss_in_the_compiled_step(tmp_path):
    """Grappler takes the constants of `(1 - p) + 1e-8` together, and 1 + 1e-8 is 1 in float32."""
    run = deeploc.Run(RECIPE, tmp_path)
    none = np.zeros((2, 0), np.float32)
    compiled = tf.function(lambda p: run._membrane_loss(p, np.array([1, 0], np.int32), none))
    assert float(compiled(tf.constant([1.0, 0.0]))) == pytest.approx(0, abs=1e-6)
    assert float(compiled(tf.constant([0.0, 1.0]))) == pytest.approx(-np.log(1e-8), rel=1e-4)


def test_batches_go_on_where_they_stopped(data):
    train, _ = deeploc.split(protein_data.read_deeploc(data), RECIPE)
    whole, later = deeploc.batches(train, RECIPE, 0), deeploc.batches(train, RECIPE, 7)
    for _ in range(7):
        next(whole)
    for _ in range(4):
        for one, other in zip(next(whole), next(later), strict=True):
            np.testing.assert_array_equal(one, other)


def test_multilocs_splits_are_apart(tmp_path):
    (tmp_path / "multiloc").mkdir()
    with gzip.open(tmp_path / "multiloc" / "multiloc11.tsv.gz", "wt") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["accession", "sequence", "location", "fold", "fold_h"])
        for n in range(50):
            place = list(protein_data.MULTILOC_LOCATIONS)[n % 11]
            table.writerow([f"P{n}", "MKV" * 9, place, n % 5 + 1, n // 10 + 1])
    for name, test in (
        ("deeploc-multiloc", range(4, 50, 5)),
        ("deeploc-multiloc-clean", range(40, 50)),
    ):
        recipe = deeploc.RECIPES[name]
        proteins = deeploc.read_proteins(tmp_path, recipe.data, tmp_path)
        train, valid = deeploc.split(proteins, recipe)
        ((source, split, measured),) = deeploc_measure.read_set(tmp_path, f"{recipe.data}-test")
        assert (len(train), len(valid), source) == (30, 10, "multiloc")
        assert measured.accessions == [f"P{n}" for n in test]
        assert ("clean" in split) == ("clean" in name)
        parts = [set(part.accessions) for part in (train, valid, measured)]
        assert len(set.union(*parts)) == 50
        ((_, _, again),) = deeploc_measure.read_set(tmp_path, f"{recipe.data}-valid")
        assert again.accessions == valid.accessions


def test_what_deeploc2_adds_has_no_homolog_in_what_is_measured(data, tmp_path, monkeypatch):
    own = protein_data.read_deeploc(data)
    letters = ["".join(LETTERS[number - 1] for number in chain) for chain in own.chains]
    rows = [
        ("P0", "M" * 50, "Nucleus", "0"),  # known by its name
        ("Q0", letters[3], "Nucleus", "0"),  # known by its chain
        ("Q2", "MA" * 25, "Cytoplasm|Nucleus", "0"),  # in two places
        ("Q1", "MF" * 25, "Cytoplasm", "0"),
        ("Q5", "MC" * 25, "Cell membrane", "1"),  # near the test's P5
        ("Q3", "MD" * 25, "Golgi apparatus", "1"),  # near folds 0 and 2
        ("Q4", "ME" * 25, "Peroxisome", "0"),  # too short a hit in fold 0
    ]
    (tmp_path / "deeploc2").mkdir()
    (tmp_path / "deeploc1").symlink_to(data / "deeploc1")
    with gzip.open(tmp_path / "deeploc2" / "swissprot_multilabel.tsv.gz", "wt") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["accession", "sequence", "labels", "membrane", "partition"])
        table.writerows([*row, "0"] for row in rows)
    hits = [
        (1, 5, 0.6, 0.3),
        (2, 6, 0.2, 0.5),
        (2, 8, 1, 1),
        (3, 0, 0.4, 0.4),
    ]  # of Q1, Q5, Q3 and Q4

    def homologs(queries, targets):
        """The first hit is found from the added proteins' side alone, the others from the own's."""
        if queries.accessions != own.accessions:
            return np.array(hits[:1])
        return np.array([(there, here, *shares[::-1]) for here, there, *shares in hits[1:]])

    monkeypatch.setattr(protein_data, "homologs", homologs)
    both = protein_data.read_both(tmp_path, tmp_path / "cache")
    assert both.accessions == [*own.accessions, "Q1", "Q3", "Q4"]
    assert both.fold[-3:].tolist() == ["+", "+02", "+"]
    assert both.membrane[-3:].tolist() == [0, 1, 0]
    named = [both.locations[place] for place in both.location[-3:]]
    assert named == ["Cytoplasm", "Golgi apparatus", "Peroxisome"]
    for fold, missing in (("0", {"Q3"}), ("1", set()), ("2", {"Q3"})):
        train, valid = deeploc.split(both, dataclasses.replace(RECIPE, fold=fold))
        assert {"Q1", "Q3", "Q4"} - set(train.accessions) == missing
        assert set(valid.fold) == {fold}
        assert not set(train.fold) & {fold, "-"}

    more = protein_data.read_both(tmp_path, tmp_path / "more", several=True)
    assert more.accessions[len(own) :] == ["Q2", "Q5", "Q3", "Q4"]  # the hits are of Q1, Q5, Q3
    assert more.fold[-4:].tolist() == ["+", "+02", "+", "+"]
    assert more.location[-4] == -1 and min(more.location[-3:]) >= 0
    named = [[more.locations[n] for n in np.flatnonzero(row)] for row in more.candidates[-4:-2]]
    assert named == [["Cytoplasm", "Nucleus"], ["Cell membrane"]]

    (tmp_path / "multiloc").mkdir()
    with gzip.open(tmp_path / "multiloc" / "multiloc11.tsv.gz", "wt") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["accession", "sequence", "location"])
        table.writerow(["P1", "MG" * 25, "Nucleus"])  # DeepLoc 1.0's, by its name
        table.writerow(["R0", letters[2], "Nucleus"])  # by its chain
        table.writerow(["Q2", "MA" * 25, "Nucleus"])  # DeepLoc 2.0 has it in two places
        table.writerow(["R1", "MC" * 25, "Plasma.membrane"])  # DeepLoc 2.0's chain
        table.writerow(["R2", "MH" * 25, "Plasma.membrane"])
        table.writerow(["R3", "MI" * 25, "Vacuole"])
        table.writerow(["R4", "MK" * 25, "Golgi.apparatus"])
    for name, newer in (("2", ["Q1", "Q3", "Q4"]), ("2all", ["Q2", "Q5", "Q3", "Q4"])):
        folder = tmp_path / name
        older = deeploc.read_proteins(tmp_path, f"deeploc1+{name}+multiloc", folder)
        assert older.accessions[len(own) :] == [*newer, "R2", "R3", "R4"]
        assert older.membrane[-3:].tolist() == [-1, -1, -1]
        named = [older.locations[place] for place in older.location[-3:]]
        assert named == ["Cell membrane", "Lysosome/Vacuole", "Golgi apparatus"]
    with pytest.raises(SystemExit, match="no data set"):
        deeploc.read_proteins(tmp_path, "deeploc1+3", tmp_path)
    monkeypatch.setattr(protein_data, "homologs", None)  # the second time from the cache
    again = protein_data.read_both(tmp_path, tmp_path / "cache")
    assert again.fold.tolist() == both.fold.tolist()
    (tmp_path / "cache").write_text("Q9\t\n")
    with pytest.raises(SystemExit, match="delete it"):
        protein_data.read_both(tmp_path, tmp_path / "cache")


def test_a_chain_keeps_its_ends():
    rng = np.random.default_rng(0)
    chain = np.arange(1, 101)
    lengths = set()
    for _ in range(200):
        short = protein_data.shorten(chain, 20, rng)
        assert short[:20].tolist() == list(range(1, 21))
        assert short[-20:].tolist() == list(range(81, 101))
        assert (np.diff(short) > 0).all()
        lengths.add(len(short))
    assert min(lengths) >= 70
    assert max(lengths) == 100
    assert protein_data.shorten(chain[:40], 20, rng).tolist() == list(range(1, 41))


def test_substitutions_are_drawn_as_blosum62_says():
    table = protein_data.replacement_table()
    np.testing.assert_allclose(table.sum(1), 1)
    leucine = table[1 + RESIDUES.index("L"), 1:21]
    assert RESIDUES[leucine.argmax()] == "L"
    assert RESIDUES[leucine.argsort()[-2]] in "IMV"
    rng = np.random.default_rng(0)
    chain = np.full(20_000, 1 + RESIDUES.index("L"))
    changed = protein_data.substitute(chain, 1.0, rng)
    shares = np.bincount(changed, minlength=21)[1:21] / len(chain)
    np.testing.assert_allclose(shares, leucine, atol=0.01)
    unknown = np.full(50, 1 + LETTERS.index("X"))
    np.testing.assert_array_equal(protein_data.substitute(unknown, 1.0, rng), unknown)
    np.testing.assert_array_equal(protein_data.substitute(chain, 0.0, rng), chain)


def test_two_runs_of_a_seed_are_one_and_a_stop_changes_nothing(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, steps=60)
    train, _ = deeploc.split(protein_data.read_deeploc(data), recipe)

    def losses(folder, stops):
        folder.mkdir()
        out = []
        for stop in stops:
            run = deeploc.Run(recipe, folder)
            run.restore()
            for batch in deeploc.batches(train, recipe, run.step):
                if run.step == stop:
                    break
                out.append(run.train_on(batch)[-1])
            run.save()
        return out

    straight = losses(tmp_path / "a", [50])
    np.testing.assert_allclose(losses(tmp_path / "b", [50]), straight, rtol=1e-5)
    np.testing.assert_allclose(losses(tmp_path / "c", [20, 50]), straight, rtol=1e-4)


def test_train_release_and_evaluate_fit_together(data, tmp_path, capsys, monkeypatch):
    import evaluate
    import train

    monkeypatch.setitem(deeploc.RECIPES, "deeploc-attn", RECIPE)
    runs = [tmp_path / f"run{fold}" for fold in "01"]
    for fold, run in enumerate(runs):
        train.main(["deeploc-attn", "--data", str(data), "--run", str(run),
                    "--set", f'fold="{fold}"'])  # fmt: skip
    assert "fold 1" in capsys.readouterr().out
    task, records = deeploc_card.task_of_runs(runs)
    made = deeploc_card.recipe_record("deeploc-attn", records)
    assert made["folds"] == ["0", "1"]
    assert [told.split(":")[0] for told in made["members"]] == ["fold 0", "fold 1"]
    assert "6 steps" in made["members"][1]
    task.save(tmp_path / "model", storage="int8")
    model = rnnzoo.load(tmp_path / "model")
    assert model.config.num_members == 2
    alone, _ = deeploc_card.task_of_runs(runs[1:])
    chain = "MKVLAAGIVGLLLAQWWG"
    for name, member in (("member_0", None), ("member_1", alone)):
        if member is not None:  # each run is the member of its place
            x = model.preprocessor.encode([chain])
            np.testing.assert_allclose(
                model.network.get_layer(name)(x)["location"],
                member.network(x)["location"],
                atol=0.01,
            )
    evaluate.main([str(tmp_path / "model"), "--data", str(data), "--set", "test"])
    found = json.loads(capsys.readouterr().out)
    values = {r["metric"]: r for r in found if "metric" in r}
    assert values["accuracy"]["rows"] == 10
    assert {"Gorodkin", "macro F1", "calibration error", "MCC Nucleus"} <= set(values)
    assert values["membrane accuracy"]["rows"] < 10
    (matrix,) = [r for r in found if "cells" in r]
    assert sum(sum(row[1:]) for row in matrix["cells"]) == 10
    with pytest.raises(SystemExit):
        evaluate.main([str(tmp_path / "model"), "--data", str(data), "--set", "ud-pud"])
    one = [str(tmp_path / "model"), "--data", str(data), "--override", "num_members=1"]
    evaluate.main([*one, "--set", "test"])
    records = json.loads(capsys.readouterr().out)
    assert all(r["overrides"] == {"num_members": 1} and not r["options"] for r in records)
    assert "--override num_members=1" in records[0]["command"]
    with pytest.raises(SystemExit):
        evaluate.main([*one, "--override", 'locations=["here", "there"]'])
    assert "at random" in capsys.readouterr().err


def test_a_run_goes_on_from_another_and_tells_of_it(data, tmp_path):
    first = deeploc.Run(RECIPE, tmp_path)
    train, _ = deeploc.split(protein_data.read_deeploc(data), RECIPE)
    first.begin("first", None)
    for batch in itertools.islice(deeploc.batches(train, RECIPE, 0), 3):
        first.train_on(batch)
    first.save()
    other = dataclasses.replace(RECIPE, substitution_rate=0.2, seed=9)
    (tmp_path / "second").mkdir()
    second = deeploc.Run(other, tmp_path / "second")
    second.begin("second", str(tmp_path))
    for weight, mean in zip(second.network.weights, first.average, strict=True):
        np.testing.assert_array_equal(weight, mean)
    second.train_on(batch)
    second.save()
    _, (record,) = deeploc_card.task_of_runs([tmp_path / "second"])
    told = deeploc_card.recipe_record("deeploc-attn", [record])
    assert told["steps"] == 4
    (before,) = told["before"]
    assert before.startswith("3 steps")
    assert "substitution_rate 0.05" in before
    assert told["settings"]["substitution_rate"] == 0.2


def test_a_member_on_all_folds_begins_with_one_of_a_released_ensemble(data, tmp_path, monkeypatch):
    import train

    recipe = dataclasses.replace(RECIPE, max_learning_rate=0.0)  # what it began with stays
    monkeypatch.setitem(deeploc.RECIPES, "deeploc-attn", recipe)
    members = [tmp_path / f"member{fold}" for fold in "02"]
    for fold, run in zip("02", members, strict=True):
        train.main(["deeploc-attn", "--data", str(data), "--run", str(run),
                    "--set", f'fold="{fold}"', "--set", "max_learning_rate=0.01"])  # fmt: skip
    ensemble, records = deeploc_card.task_of_runs(members)
    ensemble.save(tmp_path / "ensemble")
    made = {
        "recipe": deeploc_card.recipe_record("deeploc-attn", records),
        "checkpoint": "deeploc-attn",
        "fingerprint": "f" * 64,
    }
    origin = deeploc.BaseRun.origin

    def told_of(run, checkpoint):
        return origin(run, checkpoint) if deeploc.is_run(checkpoint) else dict(made)

    monkeypatch.setattr(deeploc.BaseRun, "origin", told_of)
    last = tmp_path / "last"
    command = ["deeploc-attn", "--data", str(data), "--run", str(last), "--set", 'fold="none"',
               "--start-from", str(tmp_path / "ensemble")]  # fmt: skip
    with pytest.raises(SystemExit, match="has 2 members: start_member=2"):
        train.main([*command, "--set", "start_member=2"])
    shutil.rmtree(last)
    train.main([*command, "--set", "start_member=1"])
    refit, (record,) = deeploc_card.task_of_runs([last])
    for path, weight in refit.weights_by_path().items():
        old = ensemble.weights_by_path()[path.replace("member_0", "member_1")]
        np.testing.assert_allclose(weight, old, atol=1e-6)
    assert not (last / "validation.jsonl").exists()
    assert deeploc_card.tables("deeploc-attn", [last]) == ()
    told = deeploc_card.recipe_record("deeploc-attn", [record, records[1]])
    assert told["unseen_folds"] == [] and told["unseen_folds_by_member"] == [[], ["2"]]
    assert told["command"].endswith("--set 'fold=\"none\"' --set 'start_member=1' "
                                    "--start-from CHECKPOINT")  # fmt: skip
    assert told["steps"] == 3 * 6  # both members', and of the first what it began with
    assert told["members"][0].startswith("all folds: 6 steps")
    assert "member 1, fold 2: 6 steps" in told["members"][0]
    record["start"]["member"] = "member 1, fold 2: 1,234 steps, 56 minutes, seed 1"
    counted = deeploc_card.recipe_record("deeploc-attn", [record, records[1]])
    assert counted["steps"] == 1234 + 2 * 6 and counted["minutes"] == 56 + told["minutes"]
    # what a run began with counts, over a run between
    for name, start in (("between", tmp_path / "ensemble"), ("after", tmp_path / "between")):
        train.main(["deeploc-attn", "--data", str(data), "--run", str(tmp_path / name),
                    "--set", 'fold="0"', "--start-from", str(start),
                    "--set", f"start_member={int(name == 'between')}"])  # fmt: skip
        (record,) = deeploc_card.task_of_runs([tmp_path / name])[1]
        assert deeploc_card.unseen_folds(record) == set()
    with_all, _ = deeploc.split(protein_data.read_deeploc(data), deeploc.Recipe({}, 1, fold="none"))
    assert len(with_all) == 50


def result(location, likelihood):
    return Localization(location, "x", "M", {location: likelihood}, 0.2, False, np.ones(1), 1)


def test_measures_of_a_perfect_and_of_a_blind_localizer():
    names = ("a", "b")
    location = np.array([0, 1] * 10)
    membrane = np.array([0] * 5 + [1] * 5 + [-1] * 10)
    measured = np.array([True] * 5 + [False] * 15)
    proteins = protein_data.Proteins(
        [""] * 20, [np.ones(1)] * 20, location, membrane, location, measured, names
    )

    def values(found):
        records = deeploc_measure.score(proteins, found)
        return {r["metric"]: r["value"] for r in records if "metric" in r}

    perfect = values([result(names[n], 1.0) for n in location])
    assert (perfect["accuracy"], perfect["Gorodkin"], perfect["macro F1"]) == (1, 1, 1)
    assert perfect["calibration error"] == 0
    assert perfect["membrane accuracy"] == 1
    blind = values([result("a", 0.9) for _ in location])
    assert (blind["accuracy"], blind["Gorodkin"], blind["MCC a"]) == (0.5, 0, 0)
    assert blind["calibration error"] == pytest.approx(0.4)
    assert blind["membrane accuracy"] == 1 and "membrane accuracy where both occur" not in blind
    proteins.membrane[:4] = [1, 1, 0, 1]  # of a, b, a, b, whose fifth is of a
    assert values([result("a", 1.0)] * 20)["membrane accuracy"] == 0.4
    assert values([result("a", 1.0)] * 20)["membrane accuracy where both occur"] == 0.6667


def test_gorodkins_measure_is_its_formula():
    """R_K (Gorodkin 2004, equation 8) from the confusion matrix C."""
    rng = np.random.default_rng(0)
    truth, said = rng.integers(4, size=(2, 200))
    c = np.zeros((4, 4))
    np.add.at(c, (truth, said), 1)
    total, right = c.sum(), np.trace(c)
    t, p = c.sum(1), c.sum(0)
    expected = (right * total - t @ p) / np.sqrt((total**2 - p @ p) * (total**2 - t @ t))
    assert deeploc_measure.gorodkin(truth, said) == pytest.approx(expected)


def test_a_set_that_was_trained_on_is_refused(monkeypatch):
    entries = dict(manifest.package_manifest().entries)
    one = entries["deeploc-attn"]
    monkeypatch.setitem(manifest.package_manifest().entries, "deeploc-attn", one)
    deeploc_measure.check_unseen("deeploc-attn", "test")
    with pytest.raises(SystemExit, match="trained on deeploc1"):
        deeploc_measure.check_unseen("deeploc-attn", "multiloc-test")
    own = {**one.recipe, "folds": ["0"], "unseen_folds": ["0"]}
    alone = dataclasses.replace(one, recipe=own)
    monkeypatch.setitem(manifest.package_manifest().entries, "deeploc-attn", alone)
    deeploc_measure.check_unseen("deeploc-attn", "valid")
    several = dataclasses.replace(one, recipe={**own, "folds": ["0", "1"], "unseen_folds": []})
    monkeypatch.setitem(manifest.package_manifest().entries, "deeploc-attn", several)
    with pytest.raises(SystemExit, match="fold 0"):
        deeploc_measure.check_unseen("deeploc-attn", "valid")


def test_looking_inside_prints_tables_and_draws(data, tmp_path, capsys):
    import look_inside

    look_inside.main(["deeploc-attn", "--data", str(data), "--pictures", str(tmp_path)])
    tables = json.loads(capsys.readouterr().out)
    assert len(tables) == 3
    for table in tables:
        assert table["cells"]
        assert {len(row) for row in table["cells"]} == {len(table["columns"])}
    for row in tables[0]["cells"]:
        assert all(0 <= value <= 1 for value in row[2:])
    assert {path.suffix for path in tmp_path.iterdir()} == {".png"}


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="MMseqs2 is not installed")
def test_homologs_are_found():
    rng = np.random.default_rng(0)
    chains = [rng.integers(1, 21, 120) for _ in range(12)]
    near = chains[0].copy()
    near[::4] = rng.integers(1, 21, 30)

    def proteins(chains):
        blank = np.zeros(len(chains), int)
        return protein_data.Proteins(
            [""] * len(chains), chains, blank, blank, blank, blank == 0, ("a",)
        )

    found = deeploc_measure.has_homolog(
        proteins([near, chains[1]]), proteins(chains[:1] + chains[2:])
    )
    assert found.tolist() == [True, False]
    twice = protein_data.homologs_both_ways(
        proteins([*chains[2:4], chains[0][:60]]), proteins([near, chains[1]])
    )
    assert twice[:, :2].tolist() == [[2, 0], [2, 0]]
    assert (twice[:, 2] > 0.9).all() and (np.abs(twice[:, 3] - 0.5) < 0.05).all()


def test_without_mmseqs_it_says_so(monkeypatch):
    monkeypatch.setattr(protein_data.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="mmseqs2"):
        protein_data.homologs(None, None)
