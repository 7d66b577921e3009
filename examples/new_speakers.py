"""A recognizer for new speakers: `deepspeech-small`, which knows people who read sentences, learns
how three speakers say single digits over a telephone's band (Free Spoken Digit Dataset).

    python new_speakers.py --data DIR

It needs `rnnzoo[audio]`. DIR holds `digits_fsdd_train.zip` and `librispeech_valid.zip`, and
`metadata.tsv`, which has the path, speaker and transcript of each clip in them.

Ten recordings of each digit by each speaker are all there is to learn from. Compared: the released
network; the same fine-tuned as a whole and by low-rank updates (LoRA); and the same network trained
from scratch, for more epochs. Measured: digits that the three said later, those of a fourth man
whom none of these has heard, and, to see what is forgotten, the words of LibriSpeech.

Digits are heard with a grammar that knows all ten words, so that the released network is not blamed
for spelling. FSDD's recordings are cut to the digit: 0.25 s of faint noise goes around each, and
time masks, which would hide whole digits, are switched off.
"""

import argparse
import csv
import io
import os
import time
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own messages

import keras
import numpy as np
import soundfile

import rnnzoo

NAME = "deepspeech-small"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SPEAKERS = ("fsdd-george", "fsdd-jackson", "fsdd-nicolas")
STRANGER = "fsdd-yweweler"
TRAINED, TESTED = range(10), range(40, 50)  # numbers of a speaker's recordings of a digit
SENTENCES = 40
EPOCHS, SCRATCH_EPOCHS, BATCH_SIZE = 10, 30, 16


def whole(recognizer):
    """Everything trains."""
    compile_with(recognizer, 3e-4)


def lora(recognizer):
    """Every kernel of the recurrent and dense layers gets an update of rank 8."""
    recognizer.enable_lora(rank=8)
    compile_with(recognizer, 2e-3)


WAYS = {"whole": whole, "lora": lora}


def compile_with(recognizer, rate):
    recognizer.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0))


def read_clips(data, rows, silence=0.0):
    """((samples, rate), transcript) pairs, with seconds of faint noise at both ends."""
    rng, opened, pairs = np.random.default_rng(1), {}, []
    for row in rows:
        archive = row["path"].split("/")[0]
        if archive not in opened:
            opened[archive] = zipfile.ZipFile(os.path.join(data, f"{archive}.zip"))
        sound = io.BytesIO(opened[archive].read(row["path"]))
        samples, rate = soundfile.read(sound, dtype="float32")
        quiet = 1e-3 * rng.standard_normal((2, int(silence * rate)))
        samples = np.concatenate([quiet[0], samples, quiet[1]]).astype(np.float32)
        pairs.append(((samples, rate), row["transcript"]))
    return pairs


def read_sets(data, limit):
    """Digits to train on, later ones of the same speakers, a stranger's, and sentences."""
    with open(os.path.join(data, "metadata.tsv"), encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines, delimiter="\t"))

    def digits(speakers, numbers):  # a path ends in the digit and its number: -7-05.opus
        rows = [row for row in table if row["speaker"] in speakers]
        rows = [r for r in rows if int(r["path"].rsplit("-", 1)[1].split(".")[0]) in numbers]
        return read_clips(data, rows[:limit], 0.25)

    sentences = [row for row in table if row["path"].startswith("librispeech_valid/")]
    sentences = sentences[:: max(1, len(sentences) // SENTENCES)][: min(limit or 99, SENTENCES)]
    return {
        "training": digits(SPEAKERS, TRAINED),
        "same speakers": digits(SPEAKERS, TESTED),
        "a stranger": digits((STRANGER,), TESTED),
        "LibriSpeech": read_clips(data, sentences),
    }


def word_errors(truth, said):
    """The least number of words to insert, leave out or replace."""
    costs = list(range(len(said) + 1))
    for n, word in enumerate(truth, 1):
        before, costs = costs, [n]
        for m, other in enumerate(said, 1):
            costs.append(min(before[m] + 1, costs[-1] + 1, before[m - 1] + (word != other)))
    return costs[-1]


def error_rate(recognizer, pairs, **options):
    """Wrong words in percent of all that were said."""
    heard = recognizer.predict([clip for clip, _ in pairs], verbose=0, **options)
    wrong = words = 0
    for (_, said), found in zip(pairs, heard, strict=True):
        wrong += word_errors(said.split(), found.text.split())
        words += len(said.split())
    return 100 * wrong / words


def train(recognizer, pairs, epochs):
    """Fit, and the minutes that it took."""
    begin = time.perf_counter()
    recognizer.fit(pairs, epochs=epochs, batch_size=BATCH_SIZE, verbose=2)
    return (time.perf_counter() - begin) / 60


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="the folder of the clips")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--limit", type=int, help="a quick try: so many clips, one epoch")
    args = parser.parse_args(argv)
    sets = read_sets(args.data, args.limit)
    print(", ".join(f"{name}: {len(pairs)} clips" for name, pairs in sets.items()))

    rows = []

    def measure(name, recognizer, minutes=0.0):
        trained = sum(int(np.prod(w.shape)) for w in recognizer.trainable_weights)
        row = {"way": name, "trained": trained if minutes else 0, "minutes": minutes}
        for kind in ("same speakers", "a stranger"):
            row[kind] = error_rate(
                recognizer, sets[kind], grammar="{digit}", slots={"digit": DIGITS}
            )
        # the likeliest letters, without search and language model: to be quick
        row["LibriSpeech"] = error_rate(recognizer, sets["LibriSpeech"], beam_size=1)
        rows.append(row)
        print(name, *(f"{kind} {row[kind]:.1f} %" for kind in list(row)[3:]), sep=", ")

    measure("as released", rnnzoo.load(NAME))
    for way in args.ways:
        print(f"\n{way}: {WAYS[way].__doc__}")
        keras.utils.set_random_seed(1)
        recognizer = rnnzoo.load(NAME, time_masks=0)
        WAYS[way](recognizer)
        measure(way, recognizer, train(recognizer, sets["training"], 1 if args.limit else EPOCHS))
    print("\nfrom scratch: the same network with fresh weights.")
    keras.utils.set_random_seed(1)
    recognizer = rnnzoo.load(NAME, time_masks=0, weights=False)
    compile_with(recognizer, 1e-3)
    epochs = 1 if args.limit else SCRATCH_EPOCHS
    measure("from scratch", recognizer, train(recognizer, sets["training"], epochs))

    print("\nwrong words, %  trained weights  minutes  same speakers  a stranger  LibriSpeech")
    for row in rows:
        print(
            f"{row['way']:14}{row['trained']:17,}{row['minutes']:9.1f}{row['same speakers']:15.1f}"
            f"{row['a stranger']:12.1f}{row['LibriSpeech']:13.1f}"
        )
    for row in rows[1:-1]:
        for kind in ("same speakers", "a stranger"):
            against = "beats" if row[kind] < rows[-1][kind] else "DOES NOT beat"
            gain = row[kind] - rows[0][kind]
            print(
                f"{row['way']}, {kind}: {against} training from scratch; "
                f"{gain:+.1f} points by fine-tuning"
            )
    return rows


if __name__ == "__main__":
    main()
