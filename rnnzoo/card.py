"""The model card: what an entry is, does, was made of, and where it falls short."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from rnnzoo.manifest import Entry, MetricRecord, TableRecord

_PIPELINES = ("automatic-speech-recognition", "translation")
_MANY = 6


@dataclasses.dataclass(frozen=True, repr=False)
class Card:
    """An entry's card; prints as text in a terminal, shows itself as Markdown in a notebook.

    Attributes
    ----------
    entry : Entry
        The manifest's record that the card was written from.

    Examples
    --------
    >>> import rnnzoo
    >>> print(rnnzoo.info("seq2seq-en-fr").markdown().splitlines()[0])
    # seq2seq-en-fr
    """

    entry: Entry

    def __str__(self) -> str:
        return self.markdown()

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def __rich__(self) -> Any:
        from rich.markdown import Markdown

        return Markdown(self.markdown())

    def to_dict(self) -> dict[str, Any]:
        """The whole record as plain values."""
        return dataclasses.asdict(self.entry)

    def markdown(self) -> str:
        """The card without the hub's metadata."""
        e = self.entry
        parts = [
            f"# {e.name}",
            e.summary,
            _usage(e),
            f"- Task: {e.task}; family: `{e.family}`\n"
            f"- Parameters: {e.parameters:,}; stored as {e.storage}\n"
            f"- Licence of the weights: {e.licence}",
        ]
        if e.papers:
            parts.append("## Papers\n\n" + "\n".join(f"- {paper}" for paper in e.papers))
        parts.append("## Measured\n\n" + metrics_table(e))
        parts += [_table(table) for table in e.tables]
        if e.notes:
            parts.append("## What was seen\n\n" + "\n".join(f"- {note}" for note in e.notes))
        training = "\n".join(f"- {key}: {_shown(value)}" for key, value in e.recipe.items())
        parts.append(f"## Training\n\n{training}")
        parts.append("## Data\n\n" + "\n".join(_data_line(d) for d in e.data))
        if e.limits:
            parts.append("## Limits\n\n" + "\n".join(f"- {limit}" for limit in e.limits))
        return "\n\n".join(parts) + "\n"

    def hub_readme(self) -> str:
        """The card with the metadata that the Hugging Face Hub reads."""
        import yaml

        e = self.entry
        metadata: dict[str, Any] = {
            "library_name": "rnnzoo",
            **_licence(e.licence),
            "tags": [e.family, "keras", "recurrent", "lstm"],
        }
        if e.task in _PIPELINES:
            metadata["pipeline_tag"] = e.task
        if e.languages:
            metadata["language"] = list(e.languages)
        metadata["model-index"] = [
            {
                "name": e.name,
                "results": [
                    {
                        "task": {"type": e.task},
                        "dataset": {"name": f"{data} ({split})", "type": data},
                        "metrics": [{"type": m.metric, "value": m.value} for m in found],
                    }
                    for (data, split), found in _by_data(e.metrics).items()
                ],
            }
        ]
        head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
        return f"---\n{head}---\n\n{self.markdown()}"


def _by_data(metrics: Sequence[MetricRecord]) -> dict[tuple[str, str], list[MetricRecord]]:
    """The metrics of the weights that ship, by data and split."""
    found: dict[tuple[str, str], list[MetricRecord]] = {}
    for metric in metrics:
        if metric.weights == "shipped":
            found.setdefault((metric.data, metric.split), []).append(metric)
    return found


def _licence(text: str) -> dict[str, str]:
    """The hub's identifier of a licence; of what it has none for, the words themselves."""
    if re.fullmatch(r"CC BY(-SA)? [0-9.]+|Apache-2.0|MIT", text):
        return {"license": text.lower().replace(" ", "-")}
    return {"license": "other", "license_name": text}


def _usage(entry: Entry) -> str:
    example = entry.golden[0].input if entry.golden else "..."
    if entry.task in ("automatic-speech-recognition", "online-handwriting-recognition"):
        example = PurePosixPath(example).name  # of the project's own files
    if entry.task == "handwriting-prediction":
        example = 1  # of points there are too many to show
    call = f'rnnzoo.load("{entry.name}").predict({json.dumps(example, ensure_ascii=False)})'
    return f"```python\nimport rnnzoo\n\n{call}\n```"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_shown, value))
    return f"{value:,}" if type(value) is int and value > 9999 else str(value)


def _data_line(data: Any) -> str:
    url = f" <{data.url}>" if data.url else ""
    size = f" ({data.size})" if data.size else ""
    return f"- **{data.name}**{size}. Licence: {data.licence}. {data.citation}{url}"


def metrics_table(entry: Entry) -> str:
    """The measured figures: a row for each data set and split and a column for each metric, or,
    where metrics are many, the other way round."""
    metrics = list(dict.fromkeys(m.metric for m in entry.metrics))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    rows: dict[tuple[str, str], int] = {}
    for m in entry.metrics:
        notes = [m.split, *(f"{k} {v}" for k, v in m.options.items())]
        if m.weights != "shipped":
            notes.append(f"weights: {m.weights}")
        place = (m.data, ", ".join(notes))
        count = rows.setdefault(place, m.rows)
        value = f"{m.value:.{_decimals(entry, m.metric)}f}"
        if m.rows != count:
            value += f" (on {m.rows:,})"
        cells.setdefault(place, {})[m.metric] = value
    if len(metrics) > _MANY:
        heads = ["", *(f"{data}, {notes}" for data, notes in cells)]
        body = [["rows", *(f"{count:,}" for count in rows.values())]]
        body += [[m, *(values.get(m, "") for values in cells.values())] for m in metrics]
        left = 1
    else:
        heads = ["data", "split", "rows", *metrics]
        body = [
            [*place, f"{rows[place]:,}", *(values.get(m, "") for m in metrics)]
            for place, values in cells.items()
        ]
        left = 2
    return _markdown_table(heads, body, left) + _signatures(entry)


def _markdown_table(heads: Sequence[Any], body: Sequence[Sequence[Any]], left: int) -> str:
    """A Markdown table whose first `left` columns are text, the others numbers."""
    rule = "|" + "---|" * left + "--:|" * (len(heads) - left)
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (heads, *body)]
    return "\n".join([lines[0], rule, *lines[1:]])


def _decimals(entry: Entry, metric: str) -> int:
    """As many decimals as the most exact of the figures that are computed alike has."""
    of_metric = {m.signature for m in entry.metrics if m.metric == metric}
    texts = [str(m.value) for m in entry.metrics if m.signature in of_metric]
    return max(len(text.partition(".")[2]) for text in texts)


def _signatures(entry: Entry) -> str:
    """How the figures were computed; a second signature of a metric says for which rows."""
    splits: dict[tuple[str, str], list[str]] = {}
    for m in entry.metrics:
        if m.signature:
            splits.setdefault((m.metric, m.signature), []).append(f"{m.data}, {m.split}")
    by_signature: dict[str, list[str]] = {}
    first: set[str] = set()
    for (metric, signature), places in splits.items():
        where = "" if metric not in first else f" ({'; '.join(dict.fromkeys(places))})"
        first.add(metric)
        by_signature.setdefault(signature, []).append(metric + where)
    lines = [
        f"{', '.join(metrics) if len(metrics) <= _MANY else 'All'}: `{signature}`"
        for signature, metrics in by_signature.items()
    ]
    return "\n\n" + "  \n".join(lines) if lines else ""


def _table(table: TableRecord) -> str:
    """A measured table as Markdown."""
    title = f"{table.title[:1].upper()}{table.title[1:]} ({table.data}, {table.split}):"
    return f"{title}\n\n{_markdown_table(table.columns, table.cells, 1)}"
