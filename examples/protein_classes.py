"""A localizer with new labels: `deeploc-attn`, which gives a protein one of ten places, learns to
tell proteins of one place from those that are at home in two (DeepLoc 2.0, Thumuluri et al. 2022).

    python protein_classes.py --data DIR

It needs rnnzoo. DIR holds DeepLoc's tables: `deeploc1/deeploc1.tsv.gz` and
`deeploc2/swissprot_multilabel.tsv.gz`.

Nucleus, cytoplasm, cell membrane, and "cytoplasm and nucleus" make four classes, of each of which
at most 100 proteins are learned from. Compared: the released network, which has no name for two
places; the same with a new head (`load(..., locations=[...])`), which trains with the layer before
it or with all the rest; and the same network from scratch, for more epochs.

Of the released model's members the first one is taken. Training, validation and test are DeepLoc
2.0's own partitions, which share no homologs. Taken are only proteins that this member never read:
those of DeepLoc 1.0's official test, and of the proteins of two places the homologs of that test
too. These were left out of its training; `unread_pairs.txt`, beside this file, has their accessions
(of the list that the recipe makes, `homologs.tsv`, those marked "-"). Most of the homologs have
others that it did read, told what its teachers say of their places; the teachers had read 38 of
the list.
"""

import argparse
import csv
import gzip
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages

import keras
import numpy as np

import rnnzoo

NAME = "deeploc-attn"
UNREAD_PAIRS = Path(__file__).with_name("unread_pairs.txt")
CLASSES = {
    "Nucleus": "Nucleus",
    "Cytoplasm": "Cytoplasm",
    "Cell membrane": "Cell membrane",
    "Cytoplasm|Nucleus": "Cytoplasm and nucleus",
}
PARTITIONS = {"training": "01", "validation": "2", "test": "34"}
PER_CLASS = {"training": 100, "validation": 40, "test": 80}  # at most
LONGEST = 600  # residues; longer chains are left out to be quick
EPOCHS, SCRATCH_EPOCHS, BATCH_SIZE = 10, 24, 32


def whole(localizer):
    """Everything trains, the new head too."""
    compile_with(localizer, 5e-4)


def new_head(localizer):
    """What reads the chain stays as it is; the new head and the layer before it learn."""
    localizer.freeze("encoder", "decoder")
    compile_with(localizer, 2e-3)


WAYS = {"whole": whole, "new-head": new_head}


def compile_with(localizer, rate):
    localizer.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0))


def read_table(*path):
    with gzip.open(os.path.join(*path), "rt", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def read_proteins(data, limit):
    """(sequence, class) pairs of each split."""
    deeploc1 = read_table(data, "deeploc1", "deeploc1.tsv.gz")
    official_test = {row["accession"] for row in deeploc1 if row["split"] == "test"}
    unread = official_test.union(UNREAD_PAIRS.read_text(encoding="utf-8").split())
    deeploc2 = read_table(data, "deeploc2", "swissprot_multilabel.tsv.gz")

    splits = {}
    for split, partitions in PARTITIONS.items():
        rng = np.random.default_rng(1)
        splits[split] = []
        for labels, name in CLASSES.items():
            own = [
                row["sequence"]
                for row in deeploc2
                if row["labels"] == labels
                and row["partition"] in partitions
                and len(row["sequence"]) <= LONGEST
                and row["accession"] in unread
            ]
            count = min(limit or PER_CLASS[split], PER_CLASS[split])
            chosen = rng.permutation(len(own))[:count]
            splits[split] += [(own[n], name) for n in chosen]
        if not splits[split]:
            raise SystemExit(f"found no protein for {split} in {data}")
    return splits


def figures(localizer, pairs):
    """Accuracy, and the mean of the classes' own accuracies, in percent."""
    named = [(str(n), sequence) for n, (sequence, _) in enumerate(pairs)]
    found = localizer.predict(named, verbose=0)
    truth = np.array([name for _, name in pairs])
    right = truth == np.array([result.location for result in found])
    return 100 * right.mean(), 100 * np.mean([right[truth == name].mean() for name in set(truth)])


def train(localizer, splits, epochs):
    """Fit as long as validation gets better, and the minutes that it took."""
    begin = time.perf_counter()
    localizer.fit(
        splits["training"],
        validation_data=splits["validation"],
        epochs=epochs,
        batch_size=BATCH_SIZE,
        callbacks=keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True),
        verbose=2,
    )
    return (time.perf_counter() - begin) / 60


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="the folder of the tables")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--limit", type=int, help="a quick try: so many of a class, one epoch")
    args = parser.parse_args(argv)
    splits = read_proteins(args.data, args.limit)
    print(", ".join(f"{len(pairs)} proteins for {split}" for split, pairs in splits.items()))

    rows = []

    def measure(name, localizer, minutes=0.0):
        accuracy, balanced = figures(localizer, splits["test"])
        trained = sum(int(np.prod(w.shape)) for w in localizer.trainable_weights)
        row = {"way": name, "trained": trained if minutes else 0, "minutes": minutes}
        rows.append({**row, "accuracy": accuracy, "balanced": balanced})
        print(f"{name}: {accuracy:.1f} % right, {balanced:.1f} % as the mean of the classes")

    measure("as released", rnnzoo.load(NAME, num_members=1))
    changes = {"locations": list(CLASSES.values()), "num_members": 1}
    for way in args.ways:
        print(f"\n{way}: {WAYS[way].__doc__}")
        keras.utils.set_random_seed(1)
        localizer = rnnzoo.load(NAME, **changes)
        WAYS[way](localizer)
        measure(way, localizer, train(localizer, splits, 1 if args.limit else EPOCHS))
    print("\nfrom scratch: the same network with fresh weights.")
    keras.utils.set_random_seed(1)
    localizer = rnnzoo.load(NAME, **changes, weights=False)
    compile_with(localizer, 1e-3)
    epochs = 1 if args.limit else SCRATCH_EPOCHS
    measure("from scratch", localizer, train(localizer, splits, epochs))

    print(f"\nright, %{'trained weights':>24}{'minutes':>9}{'all':>10}{'mean of classes':>20}")
    for row in rows:
        print(
            f"{row['way']:16}{row['trained']:16,}{row['minutes']:9.1f}{row['accuracy']:10.1f}"
            f"{row['balanced']:20.1f}"
        )
    print(f"chance: {100 / len(CLASSES):.1f} % as the mean of the classes")
    scratch = rows[-1]["balanced"]
    for row in rows[1:-1]:
        against = "beats" if row["balanced"] > scratch else "DOES NOT beat"
        gain = row["balanced"] - scratch
        print(f"{row['way']} {against} training from scratch ({gain:+.1f} points of the mean)")
    return rows


if __name__ == "__main__":
    main()
