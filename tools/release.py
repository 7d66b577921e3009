"""Make a released checkpoint and its manifest entry of a finished run.

python tools/release.py NAME --run DIR [--storage int8]   weights into the package
python tools/release.py NAME --metrics FILE [FILE ...]    evaluate.py's records into the card
python tools/release.py --readme                          the README's table and picture
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from recipes import seq2seq_card  # noqa: E402

from rnnzoo import checkpoint, manifest, weights  # noqa: E402
from rnnzoo.card import Card  # noqa: E402

MANIFEST = ROOT / "weights_manifest.json"
LENGTHS = (
    "What attention brings, by the length of the source (BLEU on the Tatoeba-Challenge and\n"
    "Europarl tests together, after figure 2 of Bahdanau et al.; the network without attention\n"
    "was trained for a third of the time, so the gap is not attention's alone):"
)
PICTURED = "The little boy was afraid of the big black dog."
TABLE_START, TABLE_END = "<!-- models: made by tools/release.py -->", "<!-- /models -->"


def translator_of_run(run: Path) -> Any:
    """The translator with a run's averaged weights, and the recipe's record."""
    from rnnzoo.seq2seq import (
        DecodingOptions,
        PreprocessorConfig,
        Seq2SeqConfig,
        Seq2SeqPreprocessor,
        Seq2SeqTranslator,
    )

    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    preprocessor = Seq2SeqPreprocessor(
        PreprocessorConfig("en", "fr", reverse_source=recipe["recipe"]["reverse_source"]),
        (run / "vocabulary.model").read_bytes(),
    )
    config = Seq2SeqConfig(**recipe["recipe"]["network"])
    translator = Seq2SeqTranslator(config, preprocessor, DecodingOptions(), "float32")
    with np.load(run / "state.npz") as state:
        recipe["steps_done"], recipe["seconds"] = int(state["step"]), float(state["seconds"])
        translator.assign_weights(
            {w.path: state[f"average_{n}"] for n, w in enumerate(translator.network.weights)}
        )
    return translator, recipe


def release_weights(name: str, run: Path, storage: str, options: dict[str, Any]) -> None:
    """Write the checkpoint folder in the package, and an entry without metrics."""
    translator, recipe = translator_of_run(run)
    translator.decoding = dataclasses.replace(translator.decoding, **options)
    translator.save(ROOT / "rnnzoo" / "checkpoints" / name, storage=storage)
    entry = manifest.Entry(
        name=name,
        family="seq2seq",
        parameters=translator.network.count_params(),
        storage=storage,
        recipe=seq2seq_card.recipe_record(name, recipe),
        metrics=(),
        files={},
        fingerprint="",
        golden=(),
        **seq2seq_card.description(name),
    )
    finish(entry)


def finish(entry: manifest.Entry) -> None:
    """Golden outputs, card, file list and manifest, from the bytes that ship."""
    from rnnzoo.registry import family_class

    folder = ROOT / "rnnzoo" / "checkpoints" / entry.name
    opened = checkpoint.open_checkpoint(folder)
    task = family_class(opened.config.family).from_checkpoint(opened, "float32", True, {})
    golden = tuple(
        manifest.GoldenRecord(text, task.predict(text, **options).to_dict(), options)
        for text, options in seq2seq_card.GOLDEN_INPUTS
    )
    entry = dataclasses.replace(
        entry,
        golden=golden,
        fingerprint=opened.config.fingerprint,
        **seq2seq_card.description(entry.name),
    )
    files = checkpoint.replace_card(folder, Card(entry).hub_readme()).files
    listed = folder / checkpoint.FILES
    files[checkpoint.FILES] = manifest.FileRecord(
        listed.stat().st_size, checkpoint.sha256_of(listed)
    )
    entry = dataclasses.replace(entry, files=dict(sorted(files.items())))
    known = manifest.read_manifest(MANIFEST).entries if MANIFEST.exists() else {}
    whole = manifest.Manifest(
        manifest.MANIFEST_VERSION, dict(sorted({**known, entry.name: entry}.items()))
    )
    manifest.write_manifest(whole, MANIFEST)
    print(
        f"{entry.name}: {entry.parameters:,} parameters, {entry.size:,} bytes, {entry.fingerprint}"
    )


def add_metrics(name: str, paths: list[Path]) -> None:
    """Put records of `evaluate.py` into an entry; a newer record replaces an older one."""
    entry = manifest.read_manifest(MANIFEST).entries[name]
    records = {(m.data, m.split, m.metric, m.command): m for m in entry.metrics}
    for path in paths:
        for fields in json.loads(path.read_text()):
            m = manifest.read_record(manifest.MetricRecord, fields, str(path))
            if "--limit" in m.command:
                raise SystemExit(f"{path} was measured on part of the rows (--limit): not recorded")
            records[m.data, m.split, m.metric, m.command] = m
    finish(dataclasses.replace(entry, metrics=tuple(records.values())))


def models_table() -> str:
    """The README's table, from the manifest."""
    lines = [
        "| name | what | parameters | size | BLEU, chrF on the official Tatoeba-Challenge test |",
        "|---|---|--:|--:|---|",
    ]
    for entry in manifest.read_manifest(MANIFEST).entries.values():
        figures = {
            m.metric: m.value
            for m in entry.metrics
            if m.data == "tatoeba-challenge-v2021-08-07" and m.split == "test" and not m.options
        }
        measured = ", ".join(
            f"{figures[name]:.1f}" for name in ("BLEU", "chrF2") if name in figures
        )
        lines.append(
            f"| `{entry.name}` | {entry.summary} | {entry.parameters / 1e6:.1f} M "
            f"| {entry.size / 1e6:.1f} MB | {measured} |"
        )
    return "\n".join(lines)


def lengths_table() -> str:
    """BLEU of each entry by the source's length, from the manifest."""
    entries = manifest.read_manifest(MANIFEST).entries.values()
    rows: dict[str, dict[str, float]] = {}
    for entry in entries:
        for m in entry.metrics:
            words = re.search(r"(\d+ to \d+) source words", m.split)
            if words and m.metric == "BLEU" and m.weights == "shipped":
                rows.setdefault(words[1], {})[entry.name] = m.value
    names = [entry.name for entry in entries]
    lines = [
        f"| words | {' | '.join(f'`{name}`' for name in names)} |",
        "|---|" + "--:|" * len(names),
    ]
    for words, figures in rows.items():
        cells = " | ".join(f"{figures[n]:.1f}" if n in figures else "" for n in names)
        lines.append(f"| {words} | {cells} |")
    return "\n".join(lines)


def update_readme(text: str) -> str:
    """README text with its tables made new."""
    head, rest = text.split(TABLE_START)
    tables = f"{models_table()}\n\n{LENGTHS}\n\n{lengths_table()}"
    return f"{head}{TABLE_START}\n{tables}\n{TABLE_END}{rest.split(TABLE_END)[1]}"


def draw_alignment(path: Path) -> None:
    """The README's picture: a translated sentence with its alignment."""
    import rnnzoo

    path.parent.mkdir(exist_ok=True)
    translation = rnnzoo.load("seq2seq-en-fr").predict(PICTURED)
    translation.plot().figure.savefig(path, dpi=110)
    print(f"{PICTURED} -> {translation}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--storage", choices=weights.STORAGES, default="int8")
    parser.add_argument("--export", type=Path)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--metrics", type=Path, nargs="+")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args(arguments)
    if options.export:
        translator_of_run(options.run)[0].save(options.export)
    elif options.run:
        decoding = {n: json.loads(v) for n, v in (o.split("=", 1) for o in options.option)}
        release_weights(options.name, options.run, options.storage, decoding)
    if options.metrics:
        add_metrics(options.name, options.metrics)
    if options.readme:
        readme = ROOT / "README.md"
        readme.write_text(update_readme(readme.read_text(encoding="utf-8")), encoding="utf-8")
        draw_alignment(ROOT / "tools" / "pictures" / "alignment.png")


if __name__ == "__main__":
    main()
