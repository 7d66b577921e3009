"""What goes into the networks: bundled fixtures and made-up sets that anyone has, or real data.

Made-up sets are drawn with a fixed seed. Lengths of proteins are lognormal: the mean and the
deviation of the logarithm are those of DeepLoc 1.0's 13,857 proteins (median 421 residues, mean
522), cut to 40..2,000; residues are drawn evenly.
"""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = ROOT / "tests" / "data"
INSULIN = (
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQ"
    "CCTSICSLYQLENYCN"
)
LOG_LENGTH_MEAN, LOG_LENGTH_DEVIATION = 5.9726, 0.7801
CLIPS = {  # what is said in each, as the fixtures' README has it
    "2277-149874-0011.mp3": "he seemed to be thinking of something else",
    "2902-9008-0008.mp3": "what do i care for food",
    "so-024380247.opus": "at the cost of what",
    "pv-08b22cb8.opus": "i want a iced coffee with brown sugar",
    "fsdd-yweweler-3-1-4.opus": "three one four",
}
INKS = {  # and what is written in each, as their InkML has it
    "foot.inkml": "foot doth not thy",
    "hearkens.inkml": "hearkens after",
    "third.inkml": "the marquis dorsets fled to richmond",
}
_CLIP_OF = {
    "deepspeech-commands": "pv-08b22cb8.opus",
    "deepspeech-digits": "fsdd-yweweler-3-1-4.opus",
}
_SENTENCE = "She has been learning French for three years and she likes it very much."
_WHO = ["I", "My friend", "The old man", "Her brother", "The teacher", "A child in the street"]
_DOES = ["likes", "has never seen", "is looking for", "wants to buy", "was talking about"]
_WHAT = ["the red house", "a cup of coffee", "that book", "the train to Paris", "music", "our dog"]
_WHEN = ["", " today", " when it rains", " because it is very beautiful", " after the meeting"]
_RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def sentences(count: int, data: Path | None = None) -> list[str]:
    """English sentences that all differ: the test set's, or made of parts."""
    if data is not None:
        with gzip.open(data / "en-fr" / "test.tsv.gz", "rt", encoding="utf-8") as file:
            lines = dict.fromkeys(line.split("\t")[0] for line in file)
        return list(itertools.islice(lines, count))
    parts = list(itertools.product(_WHO, _DOES, _WHAT, _WHEN))
    made = [f"{who} {does} {what}{when}." for who, does, what, when in parts]
    made += [f"{a[:-1]}, and {b}" for a, b in zip(made, made[7:], strict=False)]
    order = np.random.default_rng(1).permutation(len(made))
    return [_SENTENCE, *(made[n] for n in order)][:count]


def proteins(count: int, data: Path | None = None) -> list[str]:
    """Chains as long as a proteome's: DeepLoc 1.0's first, or drawn."""
    if data is not None:
        with gzip.open(data / "protein" / "deeploc1" / "deeploc1.tsv.gz", "rt") as file:
            place = next(file).split("\t").index("sequence")
            return [line.split("\t")[place] for line in itertools.islice(file, count)]
    rng = np.random.default_rng(1)
    lengths = rng.lognormal(LOG_LENGTH_MEAN, LOG_LENGTH_DEVIATION, count).clip(40, 2000)
    letters = np.array(list(_RESIDUES))
    return ["".join(rng.choice(letters, int(length))) for length in lengths]


def clip_of(name: str) -> tuple[str, str]:
    """A bundled recording that an entry understands, and what is said in it."""
    file = _CLIP_OF.get(name, "2277-149874-0011.mp3")
    return str(FIXTURES / "speech" / file), CLIPS[file]


def sound(count: int, clip: np.ndarray, rate: int) -> list[tuple[np.ndarray, int]]:
    """Recordings of 1 to 10 seconds, cut out of a clip that goes on and on."""
    rng, found = np.random.default_rng(1), []
    endless = np.tile(clip, 2 + 10 * rate // len(clip))
    for seconds in rng.uniform(1, 10, count):
        begin = int(rng.integers(0, len(clip)))
        found.append((endless[begin : begin + int(seconds * rate)], rate))
    return found


def inks(count: int) -> list[tuple[list[np.ndarray], str]]:
    """Lines of ink with their texts: strokes of one to four of the bundled lines side by side."""
    from rnnzoo.handwriting.ink import lines_of

    words = [(lines_of(str(FIXTURES / "ink" / name))[0], text) for name, text in INKS.items()]
    rng, found = np.random.default_rng(1), []
    for number in rng.integers(1, 5, count):
        line: list[np.ndarray] = []
        chosen = [words[n] for n in rng.integers(0, len(words), number)]
        for strokes, _ in chosen:
            left, right = (f(f(s[:, 0]) for s in strokes) for f in (min, max))
            end = max((stroke[:, 0].max() for stroke in line), default=left)
            shift = np.array([end - left + 0.15 * (right - left), 0.0])
            line += [stroke + shift for stroke in strokes]
        found.append((line, " ".join(word for _, word in chosen)))
    return found


def texts(count: int) -> list[str]:
    """Lines to write, of two to five words."""
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "and", "runs home"]
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(words, rng.integers(2, 6))) for _ in range(count)]
