"""The model card: what a model is, does, was made of, and where it falls short.

`Card` tells of an entry all that the manifest records; `TrainedCard` of other weights what the task
itself knows, which is neither a licence nor a measured figure: these are their author's to add.
`AdapterCard` tells of low-rank updates which base they belong to, and its licence.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo import hub
from rnnzoo.adapter import Adapter, AdapterConfig
from rnnzoo.checkpoint import CardFile, read_card
from rnnzoo.errors import CheckpointError
from rnnzoo.manifest import DataRecord, Entry, MetricRecord, TableRecord, package_manifest

if TYPE_CHECKING:
    from rnnzoo.task import Task

_PIPELINES = ("automatic-speech-recognition", "translation")
_MANY = 6
_HUB_DATA = re.compile(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)/?")


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
            _usage(e, e.name),
            f"- Task: {e.task}; family: `{e.family}`\n"
            f"- Parameters: {e.parameters:,}; stored as {e.storage}\n"
            f"- Licence of the weights: {e.licence}",
        ]
        if e.papers:
            parts.append("## Papers\n\n" + "\n".join(f"- {paper}" for paper in e.papers))
        parts.append("## Measured\n\n" + metrics_table(e))
        parts += [_table(table) for table in e.tables]
        if e.metrics or e.tables:
            parts.append(_commands(e))
        if e.notes:
            parts.append("## What was seen\n\n" + "\n".join(f"- {note}" for note in e.notes))
        told = {key: _shown(value) for key, value in e.recipe.items()}
        training = "\n".join(
            f"- {key}: {value}" for key, value in told.items() if value.strip("; ")
        )
        parts.append(f"## Training\n\n{training}")
        parts.append("## Data\n\n" + "\n".join(_data_line(d) for d in e.data))
        if e.limits:
            parts.append("## Limits\n\n" + "\n".join(f"- {limit}" for limit in e.limits))
        return "\n\n".join(parts) + "\n"

    def hub_readme(self) -> str:
        """The card with the metadata that the Hugging Face Hub reads."""
        e = self.entry
        metadata: dict[str, Any] = {
            "library_name": "rnnzoo",
            **_licence(e),
            "tags": [e.family, "keras", "recurrent", "lstm"],
            **_purpose(e.task, e.languages),
            **_data_sets(e.data),
        }
        metadata["model-index"] = [
            {
                "name": e.name,
                "results": [
                    {
                        "task": {"type": e.task},
                        "dataset": {"name": f"{data} ({split})", "type": _identifier(data)},
                        "metrics": [{"type": m.metric, "value": m.value} for m in found],
                    }
                    for (data, split), found in _by_data(e.metrics).items()
                ],
            }
        ]
        return _with_metadata(metadata, self.markdown())


@dataclasses.dataclass(frozen=True)
class TrainedCard:
    """The card of weights that are no entry's.

    Attributes
    ----------
    name : str
        The heading.
    address : str
        What `rnnzoo.load` takes.
    family, storage : str
    parameters : int
    trained : str
        What the last `fit` did; empty if there was none.
    base : Entry, optional
        The entry whose weights they started from.
    base_repository : str
        The hub repository that they started from; empty if there is none.
    adapter : str
        The adapter that they were loaded with, and its fingerprint; empty if there was none.
    """

    name: str
    address: str
    family: str
    parameters: int
    storage: str
    trained: str = ""
    base: Entry | None = None
    base_repository: str = ""
    adapter: str = ""

    @property
    def _relative(self) -> Entry | None:
        """An entry that does the same: the base, or any of the family."""
        family = (e for e in package_manifest().entries.values() if e.family == self.family)
        return self.base or next(family, None)

    def markdown(self) -> str:
        """The card without the hub's metadata."""
        relative = self._relative
        kind = f"a {self.family} network" if relative is None else relative.task
        parts = [
            f"# {self.name}",
            f"Weights of {kind}, saved by rnnzoo {importlib.metadata.version('rnnzoo')}.",
            _usage(relative, self.address),
            f"- Family: `{self.family}`\n"
            f"- Parameters: {self.parameters:,}; stored as {self.storage}",
        ]
        training = [f"- {line}" for line in (self._origin(), self.adapter, self.trained) if line]
        if training:
            parts.append("## Training\n\n" + "\n".join(training))
        if self.base is not None:
            data = "\n".join(_data_line(d) for d in self.base.data)
            parts.append(f"## Data of `{self.base.name}`\n\n{data}")
        return "\n\n".join(parts) + "\n"

    def _origin(self) -> str:
        if self.base is not None:
            licence = f"whose weights are {self.base.licence}"
            return f"Started from rnnzoo's `{self.base.name}`, {licence}"
        if self.base_repository:
            return f"Started from `hf://{self.base_repository}`"
        return ""

    def hub_readme(self) -> str:
        """The card with the metadata that the Hugging Face Hub reads."""
        relative = self._relative
        metadata: dict[str, Any] = {
            "library_name": "rnnzoo",
            "tags": [self.family, "keras", "recurrent"],
        }
        if relative is not None:
            languages = self.base.languages if self.base is not None else ()
            metadata |= _purpose(relative.task, languages)
        if self.base_repository:
            metadata |= {"base_model": self.base_repository, "base_model_relation": "finetune"}
        return _with_metadata(metadata, self.markdown())


@dataclasses.dataclass(frozen=True)
class AdapterCard:
    """The card of low-rank updates.

    Attributes
    ----------
    name : str
        The heading, and the folder that `rnnzoo.load` takes as `adapter`.
    family : str
    base : str or None
        The base's name or hf:// address; None for one that was a folder.
    fingerprint : str
        Of the base's weights.
    rank, parameters : int
    trained : str
        What the last `fit` did; empty if there was none.
    entry : Entry, optional
        The entry that the base is.
    """

    name: str
    family: str
    base: str | None
    fingerprint: str
    rank: int
    parameters: int
    trained: str = ""
    entry: Entry | None = None

    def markdown(self) -> str:
        """The card without the hub's metadata."""
        version = importlib.metadata.version("rnnzoo")
        base = f"`{self.base}`" if self.base else f"weights of the family `{self.family}`"
        call = f'rnnzoo.load("{self.base or "folder-of-the-base"}", adapter="{self.name}")'
        training = [f"Base: {base}, with the fingerprint `{self.fingerprint}`", self.trained]
        if self.entry is not None:
            training.insert(1, f"Licence of the base's weights: {self.entry.licence}")
        parts = [
            f"# {self.name}",
            f"Low-rank updates (LoRA) of {base}, saved by rnnzoo {version}.",
            f"```python\nimport rnnzoo\n\nmodel = {call}\n```",
            "`adapter` is this folder, or `hf://organisation/name` where it was pushed to. It "
            "loads on the weights that it was trained on, and on no others.",
            f"- Family: `{self.family}`\n- Rank: {self.rank}; parameters: {self.parameters:,}",
            "## Training\n\n" + "\n".join(f"- {line}" for line in training if line),
        ]
        return "\n\n".join(parts) + "\n"

    def hub_readme(self) -> str:
        """The card with the metadata that the Hugging Face Hub reads."""
        metadata: dict[str, Any] = {
            "library_name": "rnnzoo",
            "tags": [self.family, "keras", "recurrent", "lora"],
        }
        if self.entry is not None:
            metadata |= _licence(self.entry) | _purpose(self.entry.task, ())
        published = self.entry.hub if self.entry is not None else None
        if self.base is not None and self.base.startswith("hf://"):
            published = hub.parse_uri(self.base)
        if published is not None:
            metadata |= {"base_model": published.repo_id, "base_model_relation": "adapter"}
        return _with_metadata(metadata, self.markdown())


def _entry_of(fingerprint: str) -> Entry | None:
    """The entry that has weights of a fingerprint."""
    known = package_manifest().entries.values()
    return next((entry for entry in known if entry.fingerprint == fingerprint), None)


def adapter_card(config: AdapterConfig, name: str, parameters: int, history: Any) -> CardFile:
    """The card to save with low-rank updates.

    Parameters
    ----------
    config : AdapterConfig
    name : str
        The heading, and the folder that it is saved to.
    parameters : int
        How many numbers it holds.
    history : keras.callbacks.History, optional
        Of the last `fit`.
    """
    text = AdapterCard(
        name=name,
        family=config.family,
        base=config.base,
        fingerprint=config.base_fingerprint,
        rank=config.rank,
        parameters=parameters,
        trained=_trained(history),
        entry=_entry_of(config.base_fingerprint),
    ).hub_readme()
    return CardFile(text.encode())


def card_of(task: Task, name: str, address: str, storage: str) -> CardFile:
    """The card to save with a task: of an entry's weights the manifest's, of weights that are as
    they were loaded the one they came with, of others what the task knows.

    Parameters
    ----------
    task : Task
    name, address : str
        The heading, and what `rnnzoo.load` takes.
    storage : str
        How the weights are stored.
    """
    entry, repository = None, ""
    if task.origin is not None:
        entry = _entry_of(task.origin.config.fingerprint)
        published = entry.hub if entry is not None else hub.repository_of(task.origin.folder)
        repository = published.repo_id if published is not None else ""
        if is_as_loaded(task):
            if entry is not None:
                text = Card(dataclasses.replace(entry, storage=storage)).hub_readme()
                return CardFile(text.encode())
            loaded = read_card(task.origin.folder)
            if loaded is not None:
                return loaded
    text = TrainedCard(
        name=name,
        address=address,
        family=task.family,
        parameters=sum(value.size for value in task.weight_values().values()),
        storage=storage,
        trained=_trained(getattr(task, "history", None)),
        base=entry,
        base_repository=repository,
        adapter=_loaded_adapter(task._loaded_as.adapter),
    ).hub_readme()
    return CardFile(text.encode())


def _loaded_adapter(adapter: Adapter | None) -> str:
    """What a card tells of the adapter that a model was loaded with, in a line."""
    if adapter is None:
        return ""
    published = hub.repository_of(adapter.folder)
    name = adapter.folder.name if published is None else hub.address_of(published)
    return f"With low-rank updates (LoRA): `{name}`, fingerprint `{adapter.config.fingerprint}`"


def is_as_loaded(task: Task) -> bool:
    """Whether all weights of a checkpoint are there, with the values that it holds.

    Examples
    --------
    >>> import rnnzoo
    >>> from rnnzoo.card import is_as_loaded
    >>> is_as_loaded(rnnzoo.load("deeploc-multiloc"))
    True
    """
    weights = task.weight_values()
    shapes = {name: weight.shape for name, weight in weights.items()}
    try:
        loaded = task.origin.read_weights(shapes) if task.origin is not None else None
    except CheckpointError:  # the folder has gone, or holds other weights by now
        return False
    return loaded is not None and all(
        np.array_equal(loaded[name], weight) for name, weight in weights.items()
    )


def _trained(history: Any) -> str:
    """What a `keras.callbacks.History` tells of the last `fit`, in a line."""
    if not getattr(history, "epoch", None):
        return ""
    steps = history.params.get("steps")
    length = f"{len(history.epoch)} epochs" + (f" of {steps:,} steps" if steps else "")
    figures = [f"{name} {values[-1]:.4g}" for name, values in history.history.items() if values]
    return f"The last fit: {length}; at its end {', '.join(figures)}"


def _with_metadata(metadata: Mapping[str, Any], text: str) -> str:
    import yaml

    head = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{text}"


def _purpose(task: str, languages: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"pipeline_tag": task} if task in _PIPELINES else {}
    return {**found, "language": list(languages)} if languages else found


def _data_sets(data: Sequence[DataRecord]) -> dict[str, list[str]]:
    """Those data sets that are the hub's own, by their names there."""
    found = [match[1] for record in data if (match := _HUB_DATA.fullmatch(record.url))]
    return {"datasets": found} if found else {}


def _by_data(metrics: Sequence[MetricRecord]) -> dict[tuple[str, str], list[MetricRecord]]:
    """The metrics of the weights that ship, by data and split."""
    found: dict[tuple[str, str], list[MetricRecord]] = {}
    for metric in metrics:
        if metric.weights == "shipped":
            found.setdefault((metric.data, _split_of(metric)), []).append(metric)
    return found


def _identifier(words: str) -> str:
    """Words as the hub takes an identifier: letters, digits, `.`, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words).strip("-")


def _licence(entry: Entry) -> dict[str, str]:
    """The hub's identifier of a licence; where it has none, that of the data whose terms the
    weights are under, and where these are read."""
    if re.fullmatch(r"CC BY(-SA)? [0-9.]+|Apache-2.0|MIT", entry.licence):
        return {"license": entry.licence.lower().replace(" ", "-")}
    source = next(iter(entry.data), None)
    name = _identifier(source.name if source else entry.name).lower().replace("_", "-")
    link = {"license_link": source.url} if source and source.url else {}
    return {"license": "other", "license_name": name, **link}


def _usage(entry: Entry | None, address: str) -> str:
    """How to load and run it, on an example of `entry`, which does the same."""
    if entry is None:
        return f'```python\nimport rnnzoo\n\nmodel = rnnzoo.load("{address}")\n```'
    example = entry.golden[0].input if entry.golden else "..."
    if entry.task in ("automatic-speech-recognition", "online-handwriting-recognition"):
        example = PurePosixPath(example).name  # of the project's own files
    if entry.task == "handwriting-prediction":
        example = 1  # of points there are too many to show
    call = f'rnnzoo.load("{address}").predict({json.dumps(example, ensure_ascii=False)})'
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
        notes = [_split_of(m), *(f"{k} {v}" for k, v in m.options.items())]
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


def _commands(entry: Entry) -> str:
    """What printed the figures and tables."""
    commands = [m.command for m in entry.metrics] + [table.command for table in entry.tables]
    return "\n".join(
        ["Printed by:", "", *(f"- `{command}`" for command in dict.fromkeys(commands))]
    )


def _split_of(record: MetricRecord | TableRecord) -> str:
    """The split, and how the model was loaded if not as by default."""
    return ", ".join([record.split, *(f"{k} {v}" for k, v in record.overrides.items())])


def _table(table: TableRecord) -> str:
    """A measured table as Markdown."""
    title = f"{table.title[:1].upper()}{table.title[1:]} ({table.data}, {_split_of(table)}):"
    return f"{title}\n\n{_markdown_table(table.columns, table.cells, 1)}"
