"""`weights_manifest.json` as typed records: what each entry is, how good, and its files.

The records are the schema: an unknown, missing or wrongly typed field is a `ManifestError`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import dacite

from rnnzoo.errors import ManifestError, UnsafePathError

MANIFEST_VERSION = 1
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"

Record = TypeVar("Record")


def read_record(kind: type[Record], fields: Any, where: str) -> Record:
    """`fields` as a `kind`, a dataclass, with unknown, missing and mistyped fields refused.

    Raises
    ------
    ManifestError
        Names the field, and `where` it stands.
    """
    if not isinstance(fields, dict):
        raise ManifestError(f"{where}: expected an object, found {type(fields).__name__}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        value = fields.get(field.name, ())
        if str(field.type).startswith("tuple") and not isinstance(value, (list, tuple)):
            raise ManifestError(f"{where}: {field.name} must be a list, found {value!r:.40}")
    try:
        return dacite.from_dict(kind, fields, dacite.Config(strict=True, cast=[tuple]))
    except (dacite.DaciteError, ValueError, TypeError) as error:
        raise ManifestError(f"{where}: {error}") from error


def check_relative_path(name: str, where: str) -> PurePosixPath:
    """`name` as a path that stays inside its folder.

    Raises
    ------
    UnsafePathError
        For absolute paths, `..`, backslashes, drive letters, control characters and the like.
    """
    path = PurePosixPath(name)
    odd = (
        re.search(r"[\\:\x00-\x1f\x7f\ud800-\udfff]", name)
        or len(name.encode(errors="replace")) > 200
        or name != str(path)
        or name in ("", ".")
    )
    if odd or path.is_absolute() or ".." in path.parts:
        raise UnsafePathError(
            f"{where}: {name!r} is not a plain path inside the checkpoint's folder; "
            "absolute paths, '..', backslashes and colons are refused"
        )
    return path


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """A file's size in bytes and its sha256 (64 hexadecimal digits)."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size must not be negative, found {self.size}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits, found {self.sha256!r}")


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """A data set the weights were trained on, with its licence and citation."""

    name: str
    licence: str
    citation: str
    url: str = ""
    size: str = ""


@dataclasses.dataclass(frozen=True)
class MetricRecord:
    """A measured figure: on what, by which command, with the library's signature.

    `options` are those of `predict` that differ from the entry's own, `overrides` those of
    `rnnzoo.load`; `weights` names others than the shipped ones, such as those before they were
    rounded to int8.
    """

    data: str
    split: str
    metric: str
    value: float | int
    command: str
    rows: int = 0
    signature: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = "shipped"
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class TableRecord:
    """A measured table, such as a confusion matrix; otherwise as `MetricRecord`.

    `cells` holds a row for each line of the table, texts or numbers.
    """

    title: str
    data: str
    split: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str | int | float, ...], ...]
    command: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = "shipped"
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class GoldenRecord:
    """An input and the output that the shipped weights give for it, as `to_dict` has it."""

    input: Any
    output: Any
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class HubRecord:
    """Where an entry is published: a Hugging Face repository and the commit."""

    repo_id: str
    revision: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """Everything the manifest knows of one name."""

    name: str
    family: str
    task: str
    summary: str
    parameters: int
    licence: str
    data: tuple[DataRecord, ...]
    recipe: dict[str, Any]
    metrics: tuple[MetricRecord, ...]
    files: dict[str, FileRecord]
    fingerprint: str
    golden: tuple[GoldenRecord, ...]
    storage: str = "float32"
    bundled: bool = True
    hub: HubRecord | None = None
    languages: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    papers: tuple[str, ...] = ()
    tables: tuple[TableRecord, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The whole of `weights_manifest.json`."""

    version: int
    entries: dict[str, Entry]


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest file.

    Raises
    ------
    ManifestError
        If the file is missing, is not JSON, or does not follow the schema.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"cannot read the manifest {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict) or set(raw) != {"version", "entries"}:
        raise ManifestError(f"{path}: expected an object with 'version' and 'entries'")
    if raw["version"] != MANIFEST_VERSION:
        raise ManifestError(
            f"{path} has version {raw['version']!r}; this rnnzoo reads version "
            f"{MANIFEST_VERSION}: upgrade it with pip install -U rnnzoo"
        )
    if not isinstance(raw["entries"], dict):
        raise ManifestError(f"{path}: 'entries' must be an object, name to record")
    entries = {}
    for name, fields in raw["entries"].items():
        where = f"{path}, entry {name!r}"
        if not re.fullmatch(NAME, name):
            raise UnsafePathError(f"{where}: a name has letters, digits, '.', '_' and '-' only")
        if isinstance(fields, dict):
            if "name" in fields:
                raise ManifestError(f"{where}: the name stands as the key, not as a field")
            fields = {"name": name, **fields}
        entry = read_record(Entry, fields, where)
        for file in entry.files:
            check_relative_path(file, where)
        entries[name] = entry
    return Manifest(MANIFEST_VERSION, entries)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as JSON that `read_manifest` reads, whole or not at all."""
    entries = {name: dataclasses.asdict(entry) for name, entry in manifest.entries.items()}
    for fields in entries.values():
        del fields["name"]
    text = json.dumps(
        {"version": manifest.version, "entries": entries}, indent=1, ensure_ascii=False
    )
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def manifest_path() -> Path:
    """Where the package's manifest lies: inside an installed package, or beside its source."""
    package = Path(__file__).resolve().parent
    inside = package / "weights_manifest.json"
    return inside if inside.exists() else package.parent / "weights_manifest.json"


@functools.cache
def package_manifest() -> Manifest:
    """The manifest that came with this package."""
    return read_manifest(manifest_path())
