"""Make a released checkpoint and its manifest entry of a finished run.

python tools/release.py NAME --run DIR [DIR ...]          weights into the package
python tools/release.py NAME --metrics FILE [FILE ...]    evaluate.py's records into the card
python tools/release.py NAME                              the card anew
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

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import recipes  # noqa: E402

from rnnzoo import checkpoint, manifest, weights  # noqa: E402
from rnnzoo.card import Card  # noqa: E402

MANIFEST = ROOT / "weights_manifest.json"
LENGTHS = (
    "What attention brings, by the length of the source (BLEU on the Tatoeba-Challenge and\n"
    "Europarl tests together, after figure 2 of Bahdanau et al.; trained for {}):"
)
PICTURED = "The little boy was afraid of the big black dog."
WRITTEN = {"inputs": "rnnzoo", "bias": 1.0, "seed": 8}
RECORDED = "tests/data/speech/2277-149874-0011.mp3"
TABLE_START, TABLE_END = "<!-- models: made by tools/release.py -->", "<!-- /models -->"


def release_weights(name: str, runs: list[Path], storage: str, options: dict[str, Any]) -> None:
    """Write the checkpoint folder in the package, and an entry without metrics."""
    card = recipes.card(recipes.family_of(name))
    task, records = card.task_of_runs(runs)
    task.decoding = dataclasses.replace(task.decoding, **options)
    task.save(ROOT / "rnnzoo" / "checkpoints" / name, storage=storage)
    entry = manifest.Entry(
        name=name,
        family=task.family,
        parameters=task.network.count_params(),
        storage=storage,
        recipe=card.recipe_record(name, records),
        metrics=(),
        files={},
        fingerprint="",
        golden=(),
        tables=card.tables(name, runs) if hasattr(card, "tables") else (),
        **card.description(name),
    )
    finish(entry)


def finish(entry: manifest.Entry) -> None:
    """Golden outputs, card, file list and manifest, from the bytes that ship."""
    from rnnzoo.registry import family_class

    described = recipes.card(entry.family)
    folder = ROOT / "rnnzoo" / "checkpoints" / entry.name
    opened = checkpoint.open_checkpoint(folder)
    task = family_class(opened.config.family).from_checkpoint(opened, "float32", True, {})
    golden = tuple(
        manifest.GoldenRecord(raw, task.predict(raw, **options).to_dict(), options)
        for raw, options in described.golden_inputs(entry.name)
    )
    entry = dataclasses.replace(
        entry,
        golden=golden,
        fingerprint=opened.config.fingerprint,
        **described.description(entry.name),
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
    tables = {(t.data, t.split, t.title, t.command): t for t in entry.tables}
    for path in paths:
        for fields in json.loads(path.read_text()):
            if "--limit" in fields["command"]:
                raise SystemExit(f"{path} was measured on part of the rows (--limit): not recorded")
            if "cells" in fields:
                t = manifest.read_record(manifest.TableRecord, fields, str(path))
                tables[t.data, t.split, t.title, t.command] = t
            else:
                m = manifest.read_record(manifest.MetricRecord, fields, str(path))
                records[m.data, m.split, m.metric, m.command] = m
    finish(
        dataclasses.replace(entry, metrics=tuple(records.values()), tables=tuple(tables.values()))
    )


def models_table() -> str:
    """The README's table, from the manifest."""
    lines = [
        "| name | what | parameters | size | measured |",
        "|---|---|--:|--:|---|",
    ]
    for entry in manifest.read_manifest(MANIFEST).entries.values():
        figures = {
            (m.data, m.split, m.metric): m.value
            for m in entry.metrics
            if m.weights == "shipped" and not m.options and not m.overrides
        }
        lines.append(
            f"| `{entry.name}` | {entry.summary} | {entry.parameters / 1e6:.1f} M "
            f"| {entry.size / 1e6:.1f} MB | {recipes.card(entry.family).headline(figures)} |"
        )
    return "\n".join(lines)


def lengths_table() -> str:
    """BLEU of each entry by the source's length, from the manifest."""
    entries = [
        entry
        for entry in manifest.read_manifest(MANIFEST).entries.values()
        if entry.family == "seq2seq"
    ]
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
    minutes = " and ".join(
        f"{entry.recipe['minutes']} minutes"
        for entry in manifest.read_manifest(MANIFEST).entries.values()
        if entry.family == "seq2seq"
    )
    tables = f"{models_table()}\n\n{LENGTHS.format(minutes)}\n\n{lengths_table()}"
    return f"{head}{TABLE_START}\n{tables}\n{TABLE_END}{rest.split(TABLE_END)[1]}"


def draw_results(folder: Path) -> None:
    """The README's pictures: a sentence with its alignment, a protein with its attention, a
    recording with its words, and the package's name by hand."""
    import rnnzoo

    folder.mkdir(exist_ok=True)
    translation = rnnzoo.load("seq2seq-en-fr").predict(PICTURED)
    translation.plot().figure.savefig(folder / "alignment.png", dpi=110)
    chain, _ = recipes.card("deeploc").golden_inputs("deeploc-attn")[0]
    localization = rnnzoo.load("deeploc-attn").predict(("human insulin, precursor", chain))
    localization.plot().figure.savefig(folder / "localization.png", dpi=80)
    heard = rnnzoo.load("deepspeech-small").predict(ROOT / RECORDED)
    heard.plot().figure.savefig(folder / "transcript.png", dpi=80)
    rnnzoo.load("graves-handwriting").predict(**WRITTEN).save(folder / "handwriting.png")
    print(f"{PICTURED} -> {translation}; {localization.name} -> {localization}; {heard}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?")
    parser.add_argument("--run", type=Path, nargs="+")
    parser.add_argument("--storage", choices=weights.STORAGES, default="int8")
    parser.add_argument("--export", type=Path)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--metrics", type=Path, nargs="+")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args(arguments)
    if options.export:
        recipes.card(recipes.family_of(options.name)).task_of_runs(options.run)[0].save(
            options.export
        )
    elif options.run:
        decoding = {n: json.loads(v) for n, v in (o.split("=", 1) for o in options.option)}
        release_weights(options.name, options.run, options.storage, decoding)
    elif options.name:
        add_metrics(options.name, options.metrics or [])
    if options.run and options.metrics:
        add_metrics(options.name, options.metrics)
    if options.readme:
        readme = ROOT / "README.md"
        readme.write_text(update_readme(readme.read_text(encoding="utf-8")), encoding="utf-8")
        draw_results(ROOT / "tools" / "pictures")


if __name__ == "__main__":
    main()
