"""Translate with an exported network: numpy, onnxruntime and sentencepiece are all that it needs.

Greedy search over two ONNX files, as `predict(line, beam_size=1)` does it: the encoder runs once,
then one step for each piece of the translation, the state going from step to step. Make the files
once, where rnnzoo is installed:

    rnnzoo export seq2seq-en-fr exported/encoder.onnx --format onnx --graph encoder
    rnnzoo export seq2seq-en-fr exported/step.onnx --format onnx --graph step
    cp "$(rnnzoo download seq2seq-en-fr)/vocabulary.model" exported/

Then, on any machine:

    pip install numpy onnxruntime sentencepiece
    python onnx_translate.py exported "Where is the station?"

Each argument is a sentence of at most some thirty words: `predict` splits longer texts first. For
seq2seq-en-fr-sutskever, whose encoder reads backwards, add --reverse-source.
"""

import argparse
import pathlib

import numpy as np
import onnxruntime
import sentencepiece


class Translator:
    """The two graphs and the vocabulary of a folder."""

    def __init__(self, folder, reverse_source=False):
        folder = pathlib.Path(folder)
        self.encoder = onnxruntime.InferenceSession(str(folder / "encoder.onnx"))
        self.step = onnxruntime.InferenceSession(str(folder / "step.onnx"))
        model = str(folder / "vocabulary.model")
        self.vocabulary = sentencepiece.SentencePieceProcessor(model_file=model)
        self.reverse_source = reverse_source

    def translate(self, line):
        """The likeliest piece at every step."""
        words = self.vocabulary
        surfaces = words.encode(line.strip(), out_type=str)
        if not surfaces:
            return ""
        source = [words.piece_to_id(piece) for piece in surfaces]
        order = list(range(len(source)))[:: -1 if self.reverse_source else 1]
        source_tokens = np.array([[source[n] for n in order] + [words.eos_id()]], np.int32)

        tensors = dict(run(self.encoder, {"source_tokens": source_tokens}))
        tensors["source_tokens"] = source_tokens
        tokens, looks = [words.bos_id()], []
        for _ in range(2 * source_tokens.size + 10):
            tensors["tokens"] = np.array(tokens[-1:], np.int32)
            out = run(self.step, tensors)
            logits = out["logits"][0]
            logits[[words.pad_id(), words.bos_id()]] = -np.inf
            tokens.append(int(logits.argmax()))
            looks.append(out["alignment"][0, :-1] if "alignment" in out else np.zeros(len(order)))
            if tokens[-1] == words.eos_id():
                break
            state = {name: part for name, part in out.items() if name.startswith("next_")}
            tensors |= {name.removeprefix("next_"): part for name, part in state.items()}
        return self.written(tokens[1:], looks, surfaces, source, order)

    def written(self, tokens, looks, surfaces, source, order):
        """Text of pieces; one that the vocabulary lacks is copied from where it was looked at."""
        words, pieces = self.vocabulary, []
        unknown = [n for n, token in enumerate(source) if token == words.unk_id()]
        for token, look in zip(tokens, looks, strict=True):
            if token == words.eos_id():
                break
            if token != words.unk_id():
                pieces.append(words.id_to_piece(token))
            elif unknown:
                copied = max(unknown, key=lambda n: look[order.index(n)])
                unknown.remove(copied)
                pieces.append(surfaces[copied])
        return "".join(pieces).replace("▁", " ").strip()


def run(session, tensors):
    """A session's outputs by name; it gets of the tensors what it takes."""
    taken = {value.name: tensors[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, taken), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="with encoder.onnx, step.onnx and vocabulary.model")
    parser.add_argument("lines", nargs="+", help="a sentence each")
    parser.add_argument("--reverse-source", action="store_true", help="the encoder reads backwards")
    options = parser.parse_args()
    translator = Translator(options.folder, options.reverse_source)
    for line in options.lines:
        print(translator.translate(line))


if __name__ == "__main__":
    main()
