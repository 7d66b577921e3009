"""A checkpoint folder: config, weights, assets, and the list of its files.

`files.json` names every other file with its size and sha256 and is itself checked to the byte
against its canonical form, so that one flipped byte anywhere is found. A folder is written beside
its place, verified, and moved there whole.

`README.md`, the model card, is for people, who may change it here or on the Hub: nothing reads it,
so neither it nor its record is verified. A card that the list names to the byte is ours and is
written anew by the next save; any other is a person's, and is kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.config import read_config
from rnnzoo.errors import (
    CheckpointError,
    CorruptedFileError,
    FormatVersionError,
    ManifestError,
    RnnzooError,
    UnsafePathError,
)
from rnnzoo.manifest import FileRecord, check_relative_path, read_record
from rnnzoo.weights import (
    RESTORE,
    Integers,
    Shapes,
    fingerprint,
    read_stored,
    read_weights,
    store_weights,
)

FORMAT_VERSION = 1
CONFIG, WEIGHTS, FILES, CARD = "config.json", "model.safetensors", "files.json", "README.md"
_MAX_JSON = 2**20
_MAX_FILES = 1000


@dataclasses.dataclass(frozen=True)
class Config:
    """`config.json`: what to build, and the fingerprint of the weights that belong to it."""

    format_version: int
    family: str
    network: dict[str, Any]
    preprocessor: dict[str, Any]
    decoder: dict[str, Any]
    fingerprint: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind = {"int": int, "str": str}.get(str(field.type), dict)
            if not isinstance(value, kind):
                raise ValueError(
                    f"{field.name} must be of type {kind.__name__}, found {value!r:.40}"
                )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint folder, its weights not yet read."""

    folder: Path
    config: Config
    files: dict[str, FileRecord]

    def asset(self, name: str) -> Path:
        """The path of a listed file.

        Raises
        ------
        CheckpointError
            If the folder's list does not name it.
        """
        if name not in self.files:
            raise CheckpointError(f"{self.folder} lists no file {name!r} in {FILES}")
        return self.folder / name

    def read_weights(self, expected: Shapes) -> dict[str, np.ndarray]:
        """The weights in float32 by name, after checking them against `expected` shapes."""
        return read_weights(self.asset(WEIGHTS), expected, self.config.fingerprint)

    def read_stored(self, expected: Shapes) -> dict[str, np.ndarray]:
        """The weights as they are stored, by name, int8 with scales; checked alike."""
        return read_stored(self.asset(WEIGHTS), expected, self.config.fingerprint)


@dataclasses.dataclass(frozen=True)
class CardFile:
    """The content of a folder's `README.md`, and whether rnnzoo wrote it or a person."""

    content: bytes
    ours: bool = True


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_of(content: bytes) -> FileRecord:
    return FileRecord(len(content), hashlib.sha256(content).hexdigest())


def _canonical(files: Mapping[str, FileRecord], version: int = FORMAT_VERSION) -> bytes:
    listed = {name: dataclasses.asdict(files[name]) for name in sorted(files)}
    text = json.dumps({"format_version": version, "files": listed}, indent=1)
    return (text + "\n").encode()


def _read_json(path: Path) -> tuple[Any, bytes]:
    """What a JSON file holds, and its bytes."""
    try:
        if not path.is_file():
            raise CheckpointError(
                f"there is no file {path}: a checkpoint folder holds {CONFIG}, {WEIGHTS}, {FILES}"
            )
        if path.stat().st_size > _MAX_JSON:
            raise CheckpointError(f"{path} is larger than {_MAX_JSON:,} bytes: not one of ours")
        content = path.read_bytes()
        return json.loads(content), content
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}. {RESTORE}") from error


def _check_version(version: Any, path: Path) -> None:
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{path}: format_version must be a whole number, found {version!r}")
    if version > FORMAT_VERSION:
        raise FormatVersionError(
            f"{path} has format version {version}; this rnnzoo reads up to {FORMAT_VERSION}. "
            "Upgrade it with: pip install -U rnnzoo"
        )


def read_file_list(path: Path) -> dict[str, FileRecord]:
    """The records of a `files.json`.

    Raises
    ------
    CheckpointError
        If it is not one; `CorruptedFileError` if a byte of it was changed.
    """
    raw, content = _read_json(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("files"), dict):
        raise CheckpointError(f"{path}: expected an object with 'format_version' and 'files'")
    _check_version(raw.get("format_version"), path)
    if len(raw["files"]) > _MAX_FILES:
        raise CheckpointError(f"{path} lists over {_MAX_FILES:,} files: not one of ours")
    files = {}
    for name, fields in raw["files"].items():
        check_relative_path(name, str(path))
        try:
            files[name] = read_record(FileRecord, fields, f"{path}, file {name!r}")
        except ManifestError as error:
            raise CheckpointError(f"{error}. {RESTORE}") from error
    if content != _canonical(files, raw["format_version"]):
        raise CorruptedFileError(path, "its canonical form", "other bytes", RESTORE)
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise CheckpointError(f"{path} does not list {name}, which every checkpoint has")
    return files


def verify_file(path: Path, record: FileRecord, remedy: str = RESTORE) -> None:
    """Compare a file's size and sha256 with its record.

    Raises
    ------
    CheckpointError
        If it is missing; `CorruptedFileError` if it differs.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, though the checkpoint lists it. {remedy}")
        size = path.stat().st_size
        if size != record.size:
            raise CorruptedFileError(path, f"{record.size:,} bytes", f"{size:,}", remedy)
        digest = sha256_of(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    if digest != record.sha256:
        raise CorruptedFileError(path, f"sha256 {record.sha256}", digest, remedy)


def _check_inside(folder: Path, name: str) -> None:
    """Refuse a link out of the folder; the hub's cache links from snapshots to its own blobs."""
    try:
        real, root = (folder / name).resolve(), folder.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, for example
        raise UnsafePathError(f"cannot follow {folder / name}: {error}") from error
    allowed = [root]
    if root.parent.name == "snapshots":
        allowed.append(root.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise UnsafePathError(
            f"{folder / name} is a link to {real}, outside its checkpoint folder: "
            "copy the file into the folder"
        )


def verify_folder(folder: Path) -> dict[str, FileRecord]:
    """Check every listed file of a checkpoint folder but the card, and return the list."""
    _check_inside(folder, FILES)
    files = read_file_list(folder / FILES)
    for name, record in files.items():
        _check_inside(folder, name)
        if name != CARD:
            verify_file(folder / name, record)
    return files


def read_card(folder: Path) -> CardFile | None:
    """The model card of a folder, if there is one.

    Raises
    ------
    CheckpointError
        If it is a link out of the folder, or cannot be read.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    _check_inside(folder, CARD)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    try:
        listed = read_file_list(folder / FILES).get(CARD)
    except CheckpointError:  # no list says that it is ours
        listed = None
    return CardFile(content, listed == _record_of(content))


def is_checkpoint_folder(folder: Path) -> bool:
    """Whether there is a folder, or what a stopped save put aside of it."""
    return folder.is_dir() or bool(
        folder.name and not folder.exists() and _previous(folder).is_dir()
    )


def open_folder(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, FileRecord], Any]:
    """Where a verified folder is, its files, and what its `config.json` holds.

    If a save was stopped between its two last moves, the old folder is opened where it was put
    aside.

    Raises
    ------
    CheckpointError
        Or one of its kinds, if the folder is not whole.
    """
    folder = Path(folder)
    try:
        if not is_checkpoint_folder(folder):
            raise CheckpointError(f"{folder} is not a folder: expected a checkpoint folder")
        if not folder.is_dir():
            folder = _previous(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot open {str(folder)[:200]}: {error}") from error
    files = verify_folder(folder)
    raw, _ = _read_json(folder / CONFIG)
    if isinstance(raw, dict):
        _check_version(raw.get("format_version"), folder / CONFIG)
    return folder, files, raw


def open_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint:
    """Verify a checkpoint folder and read its config, as `open_folder`.

    Raises
    ------
    CheckpointError
        Or one of its kinds, if the folder is not whole.
    """
    folder, files, raw = open_folder(folder)
    if isinstance(raw, dict) and "adapter" in raw:
        raise CheckpointError(
            f"{folder} is an adapter, which has no network of its own: "
            f"rnnzoo.load({raw.get('base') or 'its base'!r}, adapter={str(folder)!r})"
        )
    return Checkpoint(folder, read_config(Config, raw, str(folder / CONFIG)), files)


# --- writing -------------------------------------------------------------------------------


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def save_checkpoint(
    folder: str | os.PathLike[str],
    *,
    family: str,
    network: Mapping[str, Any],
    preprocessor: Mapping[str, Any],
    decoder: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    assets: Mapping[str, bytes] | None = None,
    storage: str = "float32",
    integers: Integers | None = None,
    card: CardFile | None = None,
) -> Checkpoint:
    """Write a checkpoint folder, whole or not at all.

    An older checkpoint at the place stays readable until the new one is complete and verified;
    files there that the old checkpoint did not list are kept, and so is a card that a person
    wrote. A folder that holds other things and no checkpoint is not touched. `integers` has what
    `storage` "int8" takes as it is, of weights that are known to be such.

    Raises
    ------
    CheckpointError
        If the place holds something else, is a mount point or above the working directory, or
        cannot be written.
    """
    stored = store_weights(weights, storage, integers)
    config = Config(
        FORMAT_VERSION,
        family,
        dict(network),
        dict(preprocessor),
        dict(decoder),
        fingerprint(stored),
    )
    contents = dict(assets or {})
    for name in contents:
        check_relative_path(name, f"assets of {folder}")
        if name in (CONFIG, WEIGHTS, FILES, CARD):
            raise CheckpointError(
                f"an asset cannot be called {name!r}: every checkpoint has its own"
            )
    contents[CONFIG] = (json.dumps(dataclasses.asdict(config), indent=1) + "\n").encode()
    contents[WEIGHTS] = _safetensors(stored)
    return _write_folder(Path(folder), contents, card)


def save_described(
    folder: Path,
    config: Mapping[str, Any],
    stored: Mapping[str, np.ndarray],
    opening: Callable[[Path], Any],
    card: CardFile | None = None,
) -> Any:
    """Write a folder of stored weights and another kind of `config.json` than a checkpoint's, whole
    or not at all; `opening` reads and verifies it. A card that a person wrote there is kept.

    Raises
    ------
    CheckpointError
        If the place holds something else, or cannot be written.
    """
    contents = {
        CONFIG: (json.dumps(config, indent=1) + "\n").encode(),
        WEIGHTS: _safetensors(stored),
    }
    return _write_folder(folder, contents, card, opening)


def replace_card(folder: Path, card: str) -> Checkpoint:
    """Give a checkpoint folder another model card of ours, whole or not at all.

    Raises
    ------
    CheckpointError
        If a person wrote the card that is there.
    """
    opened = open_checkpoint(folder)
    present = read_card(folder)
    if present is not None and not present.ours:
        raise CheckpointError(f"{folder / CARD} was written by hand: move it first")
    contents = {n: opened.asset(n).read_bytes() for n in opened.files if n != CARD}
    return _write_folder(folder, contents, CardFile(card.encode()))


def _safetensors(stored: Mapping[str, np.ndarray]) -> bytes:
    import safetensors.numpy

    return safetensors.numpy.save({n: np.ascontiguousarray(stored[n]) for n in sorted(stored)})


def _write_folder(
    folder: Path,
    contents: Mapping[str, bytes],
    card: CardFile | None = None,
    opening: Callable[[Path], Any] = open_checkpoint,
) -> Any:
    building: Path | None = None
    try:
        folder = folder.resolve()
        check_movable(folder)
        if not folder.exists() and _previous(folder).is_dir():
            _previous(folder).rename(folder)
        kept = _kept_files(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        building.mkdir()
        if card is not None and card.ours and CARD not in kept:
            contents = {CARD: card.content, **contents}
        for name, content in contents.items():
            _write_synced(building / name, content)
        if card is not None and not card.ours and CARD not in kept:
            _write_synced(building / CARD, card.content)
        files = {name: _record_of(content) for name, content in contents.items()}
        _write_synced(building / FILES, _canonical(files))
        opening(building)
        for name in kept:
            if (building / name).exists():
                raise CheckpointError(f"{folder / name} is not the checkpoint's own: move it first")
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, building / name, follow_symlinks=False)
        swap(building, folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {folder}: {error.strerror or error}. This save changed nothing there."
        ) from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    return opening(folder)


def check_movable(folder: Path, error: type[RnnzooError] = CheckpointError) -> None:
    """Raise an `error` for a resolved place that cannot be put aside for a new folder."""
    try:
        working = Path.cwd().resolve()
    except OSError:  # it was deleted
        working = None
    if working is not None and working.is_relative_to(folder):
        raise error(
            f"{folder} holds the working directory, and is replaced as a whole: name a new "
            "folder in it, or work elsewhere"
        )
    if folder.is_mount():
        raise error(f"{folder} is a mount point, which cannot be replaced: name a new folder in it")


def _kept_files(folder: Path) -> list[str]:
    """The files of an existing folder that its checkpoint did not write."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: name a folder to save into")
    if not (folder / FILES).is_file() and next(folder.iterdir(), None) is not None:
        raise CheckpointError(
            f"{folder} holds other files and no checkpoint: name a new or an empty folder"
        )
    present = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    ]
    if not present:
        return []
    try:
        listed = set(read_file_list(folder / FILES))
    except CheckpointError:  # a broken list: what it cannot name is kept, but for the usual files
        listed = {CONFIG, WEIGHTS}
    if not _has_card_of_ours(folder):
        listed -= {CARD}
    return [name for name in present if name not in listed | {FILES}]


def _has_card_of_ours(folder: Path) -> bool:
    try:
        card = read_card(folder)
    except CheckpointError:  # a link to elsewhere
        return False
    return card is not None and card.ours


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def swap(building: Path, folder: Path) -> None:
    """Put a finished folder in its place; if that fails, the old one is put back."""
    previous = _previous(folder)
    shutil.rmtree(previous, ignore_errors=True)
    replaced = folder.exists()
    if replaced:
        folder.rename(previous)
    try:
        building.rename(folder)
    except OSError:
        if replaced:
            previous.rename(folder)
        raise
    shutil.rmtree(previous, ignore_errors=True)
