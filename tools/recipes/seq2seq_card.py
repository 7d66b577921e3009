"""What the cards of the English-French translators say, measured figures aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipes.run import read_run, training_record

_GOLDEN_INPUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Where is the station?", {}),
    ("I love you.", {}),
    ("Thank you very much.", {"num_hypotheses": 3}),
    ("She has been learning French for three years.", {"beam_size": 1}),
    ("We must protect the rights of all European citizens.", {}),
)

_DATA = (
    {
        "name": "Tatoeba (tatoeba.org and manythings.org/anki)",
        "licence": "CC BY 2.0 FR",
        "citation": "Sentences of the Tatoeba project, selected and paired by ManyThings.org.",
        "url": "https://tatoeba.org",
        "size": "156,038 pairs",
    },
    {
        "name": "Europarl v7, through Europarl-ConcoDisco",
        "licence": "no formal licence; (c) European Union, 1996-2011, Source: European Parliament",
        "citation": "Koehn, Europarl: A Parallel Corpus for Statistical Machine Translation, "
        "MT Summit 2005; Laali and Kosseim, RANLP 2017.",
        "url": "https://www.statmt.org/europarl/",
        "size": "245,000 pairs",
    },
)

_LIMITS = (
    "Trained on 401,038 pairs of at most some 20 words, everyday sentences and parliament: news, "
    "medicine and encyclopaedic text come out poorly, as the figures show.",
    "Lines longer than 32 pieces are split into sentences, which are translated one by one.",
    "English `you` becomes tu or vous as the data had it; gender is guessed.",
    "Names and words that the data lack are often mistranslated; characters that the vocabulary "
    "lacks (emoji, other scripts) are copied or left out.",
    "It may say what its data say; it is no match for a large transformer. Do not rely on it for "
    "anything that matters.",
)

_BAHDANAU = "Bahdanau, Cho and Bengio, Neural Machine Translation by Jointly Learning to Align and "
_PAPERS = {
    "seq2seq-en-fr": (
        _BAHDANAU + "Translate, 2014, arXiv 1409.0473",
        "Wu et al., Google's Neural Machine Translation System, 2016, arXiv 1609.08144 (which "
        "decoder layer asks the attention; length and coverage penalty)",
    ),
    "seq2seq-en-fr-sutskever": (
        "Sutskever, Vinyals and Le, Sequence to Sequence Learning with Neural Networks, 2014, "
        "arXiv 1409.3215",
    ),
}
_SUMMARIES = {
    "seq2seq-en-fr": "English to French with attention (Bahdanau et al. 2014): bidirectional LSTM "
    "encoder, additive attention, two-layer LSTM decoder",
    "seq2seq-en-fr-sutskever": "English to French without attention (Sutskever et al. 2014): "
    "stacked LSTMs, source reversed",
}


def golden_inputs(name: str) -> tuple[tuple[Any, dict[str, Any]], ...]:
    """What an entry's golden outputs are of, with options."""
    return _GOLDEN_INPUTS


def description(name: str) -> dict[str, Any]:
    """Task, summary, licence, data, limits and papers of an entry."""
    from rnnzoo.manifest import DataRecord

    return {
        "task": "translation",
        "summary": _SUMMARIES[name],
        "licence": "CC BY 4.0",
        "data": tuple(DataRecord(**fields) for fields in _DATA),
        "limits": _LIMITS,
        "papers": _PAPERS[name],
        "languages": ("en", "fr"),
    }


def headline(figures: dict[tuple[str, str, str], float]) -> str:
    """The README's figures, of records by data, split and metric."""
    place = ("tatoeba-challenge-v2021-08-07", "test")
    if (*place, "BLEU") not in figures:
        return ""
    return (
        f"BLEU {figures[*place, 'BLEU']:.1f}, chrF {figures[*place, 'chrF2']:.1f} "
        "(official Tatoeba-Challenge test)"
    )


def task_of_runs(runs: list[Path]) -> tuple[Any, list[dict[str, Any]]]:
    """The translator with a run's averaged weights, and the run's record."""
    from rnnzoo.seq2seq import (
        DecodingOptions,
        PreprocessorConfig,
        Seq2SeqConfig,
        Seq2SeqPreprocessor,
        Seq2SeqTranslator,
    )

    (run,) = runs
    record, weights = read_run(run)
    preprocessor = Seq2SeqPreprocessor(
        PreprocessorConfig("en", "fr", reverse_source=record["recipe"]["reverse_source"]),
        (run / "vocabulary.model").read_bytes(),
    )
    config = Seq2SeqConfig(**record["recipe"]["network"])
    translator = Seq2SeqTranslator(config, preprocessor, DecodingOptions(), "float32")
    paths = [weight.path for weight in translator.network.weights]
    translator.assign_weights(dict(zip(paths, weights, strict=True)))
    return translator, [record]


def recipe_record(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the weights were trained."""
    return training_record(f"python tools/train.py {name} --data DIR", runs)
