"""The model card: what an entry is, does, was made of, and where it falls short."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from rnnzoo.manifest import Entry

_PIPELINES = {"translation": "translation"}


@dataclasses.dataclass(frozen=True, repr=False)
class Card:
    """An entry's card; prints as text in a terminal, shows itself as Markdown in a notebook.

    Attributes
    ----------
    entry : Entry
        The manifest's record that the card was written from.
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
            "license": e.licence.lower().replace(" ", "-"),
            "tags": [e.family, "keras", "recurrent", "lstm"],
        }
        if e.task in _PIPELINES:
            metadata["pipeline_tag"] = _PIPELINES[e.task]
        if e.languages:
            metadata["language"] = list(e.languages)
        metadata["model-index"] = [
            {
                "name": e.name,
                "results": [
                    {
                        "task": {"type": e.task},
                        "dataset": {"name": f"{m.data} ({m.split})", "type": m.data},
                        "metrics": [{"type": m.metric, "value": m.value, "name": m.metric}],
                    }
                    for m in e.metrics
                    if m.weights == "shipped"
                ],
            }
        ]
        head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
        return f"---\n{head}---\n\n{self.markdown()}"


def _usage(entry: Entry) -> str:
    example = entry.golden[0].input if entry.golden else "..."
    call = f'rnnzoo.load("{entry.name}").predict({json.dumps(example, ensure_ascii=False)})'
    return f"```python\nimport rnnzoo\n\n{call}\n```"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return f"{value:,}" if type(value) is int and value > 9999 else str(value)


def _data_line(data: Any) -> str:
    url = f" <{data.url}>" if data.url else ""
    size = f" ({data.size})" if data.size else ""
    return f"- **{data.name}**{size}. Licence: {data.licence}. {data.citation}{url}"


def metrics_table(entry: Entry) -> str:
    """The measured figures, a row for each data set and split, a column for each metric."""
    metrics = list(dict.fromkeys(m.metric for m in entry.metrics))
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for m in entry.metrics:
        notes = [m.split, *(f"{k} {v}" for k, v in m.options.items())]
        if m.weights != "shipped":
            notes.append(f"weights: {m.weights}")
        rows.setdefault((m.data, ", ".join(notes), f"{m.rows:,}"), {})[m.metric] = m.value
    lines = [
        "| data | split | rows | " + " | ".join(metrics) + " |",
        "|---|---|--:|" + "--:|" * len(metrics),
    ]
    for names, values in rows.items():
        cells = [f"{values[m]:g}" if m in values else "" for m in metrics]
        lines.append("| " + " | ".join([*names, *cells]) + " |")
    signatures = dict.fromkeys(f"{m.metric}: `{m.signature}`" for m in entry.metrics if m.signature)
    return "\n".join(lines) + ("\n\n" + "  \n".join(signatures) if signatures else "")
