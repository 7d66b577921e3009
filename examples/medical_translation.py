"""A translator taken to a new domain: `seq2seq-en-fr`, which knows everyday sentences and
parliament, learns from six hundred sentences about COVID-19 (TICO-19, Anastasopoulos et al. 2020).

    python medical_translation.py --data DIR

It needs rnnzoo and sacrebleu. DIR holds tab-separated English and French: `ood/tico19-all.tsv.gz`,
TICO-19's 3,071 pairs in their own order, and `valid.tsv.gz`, whose third column says which
sentences are Tatoeba's.

Compared by BLEU (sacrebleu) on both domains: the translator as it is released; fine-tuned as a
whole, with the encoder and embedding frozen, and by low-rank updates (LoRA); and a network of the
same shape trained on the same sentences from scratch, for twice as many epochs.

The file names no documents, but keeps them together. Two whole ones are held out, which begin and
end where the line numbers below say (read off the text), and what they share with others, such as
advice that two articles quote, is left out of training.
"""

import argparse
import gzip
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages

import keras
import numpy as np
import sacrebleu

import rnnzoo

NAME, BLEU = "seq2seq-en-fr", sacrebleu.BLEU()
HELD_OUT = {"Hand washing": (1700, 1859), "Coronavirus disease 2019": (2840, 3071)}  # from 0
TRAINING_PAIRS, LONGEST_TRAINED = 600, 25  # words of English
TEST_PAIRS, LONGEST_TESTED = 300, 30
EPOCHS, SCRATCH_EPOCHS, BATCH_SIZE = 4, 8, 32


def whole(translator):
    """Everything trains."""
    compile_with(translator, 5e-4)


def frozen_encoder(translator):
    """What reads English stays the same to the bit; the decoder learns."""
    translator.freeze("encoder", "embedding")
    compile_with(translator, 5e-4)


def lora(translator):
    """Every kernel gets an update of rank 16, which `save_adapter` would save alone."""
    translator.enable_lora(rank=16)
    compile_with(translator, 3e-3)


WAYS = {"whole": whole, "frozen-encoder": frozen_encoder, "lora": lora}


def compile_with(translator, rate):
    translator.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0))


def read_pairs(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [tuple(line.rstrip("\n").split("\t")) for line in lines]


def split(rows):
    """Pairs to train on, and those of the held-out documents."""
    if len(rows) != 3071:
        raise SystemExit(f"expected TICO-19's 3,071 pairs, found {len(rows):,}")
    held_out = {n for first, last in HELD_OUT.values() for n in range(first, last)}
    test = [rows[n][:2] for n in sorted(held_out)]
    known = {english.casefold() for english, _ in test}
    train = [row[:2] for n, row in enumerate(rows) if n not in held_out]
    return [pair for pair in train if pair[0].casefold() not in known], test


def some(pairs, count, longest=1000):
    """At most `count` pairs of up to so many English words, drawn at random."""
    short = [pair for pair in pairs if len(pair[0].split()) <= longest]
    rows = np.random.default_rng(1).permutation(len(short))[:count]
    return [short[row] for row in sorted(rows)]


def bleu(translator, pairs):
    english, french = zip(*pairs, strict=True)
    found = [result.text for result in translator.predict(list(english), verbose=0)]
    return BLEU.corpus_score(found, [list(french)]).score


def train(translator, pairs, epochs):
    """Fit, and the minutes that it took."""
    begin = time.perf_counter()
    english, french = zip(*pairs, strict=True)
    translator.fit(list(english), list(french), epochs=epochs, batch_size=BATCH_SIZE, verbose=2)
    return (time.perf_counter() - begin) / 60


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="the folder with the pairs")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--limit", type=int, help="a quick try: so many pairs, one epoch")
    args = parser.parse_args(argv)
    count = args.limit or 10**9
    training, medical = split(read_pairs(os.path.join(args.data, "ood", "tico19-all.tsv.gz")))
    valid = read_pairs(os.path.join(args.data, "valid.tsv.gz"))
    training = some(training, min(count, TRAINING_PAIRS), LONGEST_TRAINED)
    medical = some(medical, min(count, TEST_PAIRS), LONGEST_TESTED)
    everyday = some([row[:2] for row in valid if row[2] == "tatoeba"], min(count, TEST_PAIRS))
    print(f"{len(training):,} medical pairs to train on, {len(medical)} of other documents to test")

    rows = []

    def measure(name, translator, minutes=0.0):
        trained = sum(int(np.prod(w.shape)) for w in translator.trainable_weights)
        row = {
            "way": name,
            "trained": trained if minutes else 0,
            "minutes": minutes,
            "medical": bleu(translator, medical),
            "everyday": bleu(translator, everyday),
        }
        rows.append(row)
        print(f"{name}: BLEU {row['medical']:.1f} medical, {row['everyday']:.1f} everyday")

    measure("as released", rnnzoo.load(NAME))
    for way in args.ways:
        print(f"\n{way}: {WAYS[way].__doc__}")
        keras.utils.set_random_seed(1)
        translator = rnnzoo.load(NAME)
        WAYS[way](translator)
        measure(way, translator, train(translator, training, 1 if args.limit else EPOCHS))
    print("\nfrom scratch: the same network and vocabulary, with fresh weights.")
    keras.utils.set_random_seed(1)
    translator = rnnzoo.load(NAME, weights=False)
    compile_with(translator, 1e-3)
    epochs = 1 if args.limit else SCRATCH_EPOCHS
    measure("from scratch", translator, train(translator, training, epochs))

    print(f"\n{'':16}{'trained weights':>16}{'minutes':>9}{'medical':>9}{'everyday':>10}  BLEU")
    for row in rows:
        print(
            f"{row['way']:16}{row['trained']:16,}{row['minutes']:9.1f}{row['medical']:9.1f}"
            f"{row['everyday']:10.1f}"
        )
    print(f"BLEU: {BLEU.get_signature()}")
    before, scratch = rows[0]["medical"], rows[-1]["medical"]
    for row in rows[1:-1]:
        against = "beats" if row["medical"] > scratch else "DOES NOT beat"
        gain = row["medical"] - before
        print(f"{row['way']} {against} training from scratch; {gain:+.1f} BLEU by fine-tuning")
    return rows


if __name__ == "__main__":
    main()
