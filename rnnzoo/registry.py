"""Names: which model a name means, what names there are, and loading one."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import importlib
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo import hub
from rnnzoo.adapter import Adapter, open_adapter, open_either
from rnnzoo.card import Card
from rnnzoo.checkpoint import Checkpoint, is_checkpoint_folder, open_checkpoint
from rnnzoo.errors import CheckpointError, ConfigError, InputError, UnknownModelError
from rnnzoo.manifest import NAME, Entry, package_manifest

if TYPE_CHECKING:
    from rnnzoo.task import Task

_FAMILIES: dict[str, str | type] = {
    "deeploc": "rnnzoo.deeploc.task:ProteinLocalizer",
    "deepspeech": "rnnzoo.deepspeech.task:SpeechRecognizer",
    "handwriting": "rnnzoo.handwriting.task:HandwritingWriter",
    "handwriting_prediction": "rnnzoo.handwriting.predictor:InkPredictor",
    "handwriting_reader": "rnnzoo.handwriting.reader:InkReader",
    "seq2seq": "rnnzoo.seq2seq.task:Seq2SeqTranslator",
}


@dataclasses.dataclass(frozen=True)
class Registered:
    """A third party's entry: a name for a checkpoint folder or a hub address."""

    name: str
    checkpoint: str
    task: str
    summary: str = ""


_registered: dict[str, Registered] = {}


def register(
    name: str, checkpoint: str | os.PathLike[str], *, task: str, summary: str = ""
) -> None:
    """Give a checkpoint of your own a name that `load` and `list_models` know.

    Parameters
    ----------
    name : str
        Letters, digits, `.`, `_` and `-`; not one that is taken.
    checkpoint : path or str
        A checkpoint folder, or `hf://organisation/name[@revision]`.
    task : str
        What it does, for `list_models(task=...)`: "translation", ...
    summary : str
        One line.

    Raises
    ------
    InputError
        If the name is taken by another checkpoint, or is not a plain name.

    Examples
    --------
    >>> import rnnzoo
    >>> rnnzoo.register("my-en-fr", "hf://me/my-en-fr@v1", task="translation")
    >>> rnnzoo.list_models("my-*")
    ['my-en-fr']
    """
    if not re.fullmatch(NAME, name):
        raise InputError(f"a name has letters, digits, '.', '_' and '-' only; got {name!r}")
    entry = Registered(name, os.fspath(checkpoint), task, summary)
    if name in package_manifest().entries or _registered.get(name, entry) != entry:
        raise InputError(f"the name {name!r} is taken: a name never points to other weights")
    _registered[name] = entry


def register_family(family: str, task_class: str | type) -> None:
    """Make a family of your own known: the `Task` subclass (or "module:Class") that loads the
    checkpoints whose config names `family`.

    Raises
    ------
    InputError
        If the family is known already as another class.

    Examples
    --------
    >>> import rnnzoo
    >>> rnnzoo.register_family("my-family", "my_package.task:MyTask")
    """
    if _FAMILIES.get(family, task_class) != task_class:
        raise InputError(f"the family {family!r} is registered already")
    _FAMILIES[family] = task_class


def _natural(name: str) -> list[Any]:
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)
    ]


def entries() -> dict[str, Entry | Registered]:
    """All entries by name, in natural order (`net-2` before `net-10`)."""
    known: dict[str, Entry | Registered] = {**package_manifest().entries, **_registered}
    return {name: known[name] for name in sorted(known, key=_natural)}


def list_models(pattern: str = "*", task: str | None = None) -> list[str]:
    """Names of models, in natural order.

    Parameters
    ----------
    pattern : str
        With the wildcards `*`, `?` and `[...]`; case does not matter.
    task : str, optional
        Only models of this task, such as "translation".

    Examples
    --------
    >>> import rnnzoo
    >>> rnnzoo.list_models("seq2seq-*", task="translation")
    ['seq2seq-en-fr', 'seq2seq-en-fr-sutskever']
    """
    return [
        name
        for name, entry in entries().items()
        if fnmatch.fnmatchcase(name.lower(), pattern.lower()) and task in (None, entry.task)
    ]


def find(name: str) -> Entry | Registered:
    """The entry of a name.

    Raises
    ------
    UnknownModelError
        With the nearest names.
    """
    known = entries()
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    nearest += [n for n in known if name.lower() in n and n not in nearest]
    raise UnknownModelError(name, nearest[:5])


def info(name: str) -> Card:
    """The model card of a name: use, measured figures, data, licence, limits.

    Raises
    ------
    UnknownModelError
        With the nearest names.
    InputError
        For a registered checkpoint, which has no manifest record.

    Examples
    --------
    >>> import rnnzoo
    >>> rnnzoo.info("seq2seq-en-fr").entry.task
    'translation'
    """
    entry = find(name)
    if isinstance(entry, Registered):
        raise InputError(
            f"{name!r} was registered from {entry.checkpoint}; its card is that folder's README.md"
        )
    return Card(entry)


def locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """The verified checkpoint that a name, a folder or a hub address means; fetched if need be."""
    folder, entry = _fetched(name, revision, cache_dir, local_files_only)
    opened = open_checkpoint(folder)
    if entry is not None and opened.config.fingerprint != entry.fingerprint:
        raise CheckpointError(
            f"{opened.folder} has weights with fingerprint {opened.config.fingerprint}; the "
            f"manifest's {name!r} has {entry.fingerprint}: reinstall rnnzoo"
        )
    return opened


def locate_either(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Adapter | Checkpoint:
    """As `locate`, of an adapter in a folder or on the hub too."""
    folder, entry = _fetched(name, revision, cache_dir, local_files_only)
    if entry is None:
        return open_either(folder)
    return locate(name, cache_dir=cache_dir, local_files_only=local_files_only)


def _fetched(
    name: str | os.PathLike[str],
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
) -> tuple[Path, Entry | None]:
    """The folder that a name, a folder or a hub address means, and the entry of a name; fetched if
    need be."""
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise InputError(f"expected a model's name, a folder or hf://...; got {name!r}")
    text = os.fspath(name)
    if is_keras_file(name):
        raise InputError(NO_CHECKPOINT.format(text))
    if text.startswith("hf://"):
        record = hub.parse_uri(text, revision)
        return hub.fetch_repository(record, cache_dir, local_files_only), None
    if revision is not None:
        raise InputError(f"revision goes with a hub address (hf://...), not with {text!r}")
    looks_like_path = not isinstance(name, str) or any(s and s in text for s in (os.sep, os.altsep))
    if looks_like_path or (text not in entries() and _is_folder(text)):
        return Path(text), None
    entry = find(text)
    if isinstance(entry, Registered):
        place = Path(entry.checkpoint) if "://" not in entry.checkpoint else entry.checkpoint
        return _fetched(place, None, cache_dir, local_files_only)
    return hub.fetch_entry(entry, cache_dir, local_files_only), entry


NO_CHECKPOINT = (
    "{}: a .keras file is no checkpoint, it has no list of its files and their sha256; expected a "
    "model's name, a checkpoint folder or hf://... (rnnzoo.load opens the file)"
)


def is_keras_file(name: str | os.PathLike[str]) -> bool:
    """Whether what `load` is asked for is a `.keras` file, and no name, address or folder.

    Examples
    --------
    >>> from rnnzoo.registry import is_keras_file
    >>> is_keras_file("best.keras"), is_keras_file("hf://me/best.keras")
    (True, False)
    """
    if not isinstance(name, (str, os.PathLike)):
        return False
    text = os.fspath(name)
    if not text.endswith(".keras") or text.startswith("hf://") or os.path.isdir(text):
        return False
    return not isinstance(name, str) or text not in entries()


def _is_folder(text: str) -> bool:
    try:
        return is_checkpoint_folder(Path(text))
    except (OSError, ValueError):
        return False


def family_class(family: str) -> type[Task]:
    """The Task of a family.

    Raises
    ------
    ConfigError
        If this rnnzoo does not have the family.
    """
    found = _FAMILIES.get(family)
    if found is None:
        raise ConfigError(
            f"there is no family {family!r} here; known: {', '.join(sorted(_FAMILIES))}. "
            "A newer rnnzoo may have it, or the package that registers it is not imported."
        )
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = getattr(importlib.import_module(module), attribute)
    return found


def load(
    name: str | os.PathLike[str],
    *,
    dtype: str = "auto",
    weights: bool = True,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    adapter: str | os.PathLike[str] | None = None,
    merge_adapter: bool = True,
    quantize: str | None = None,
    engine: str = "tensorflow",
    **overrides: Any,
) -> Task:
    """Load a model, ready to `predict`.

    Parameters
    ----------
    name : str or path
        A registered name, a checkpoint folder, `hf://organisation/name[@revision]`, or a `.keras`
        file that a model was saved to, which takes no other argument but `quantize` and `engine`.
    dtype : str
        "auto" (float32 on a CPU, mixed float16 on a GPU with tensor cores), or a Keras dtype
        policy such as "mixed_bfloat16".
    weights : bool
        False builds the network with fresh weights, for training from the start.
    revision : str, optional
        Branch, tag or commit of a hub address.
    cache_dir : path, optional
        Hugging Face's cache by default.
    local_files_only : bool
        Never ask the hub.
    adapter : str or path, optional
        Low-rank updates of this model, as `Task.save_adapter` writes them: a folder, or
        `hf://organisation/name[@revision]`. They are loaded if these are the weights that they
        were trained on, with the head that they were trained with.
    merge_adapter : bool
        True makes the adapter part of the kernels; False keeps its updates, to train on.
    quantize : "int8", optional
        Keep kernels and embeddings as int8 with a scale for each output channel, in a quarter of
        the memory and for use alone: see `Task.quantize`.
    engine : "tensorflow" or "onnx"
        What `predict` computes with; "onnx" is onnxruntime, with the extra `export`: see
        `Task.engine`.
    **overrides
        Changes to the network that its family allows, such as `dropout=0.3`, or `num_members=1`
        for the first alone of a localizer's members, which is faster; or a new head, all else
        being kept: other `locations` (a list of names) for a localizer, another `alphabet`
        (a text) for what writes or reads characters, `new_pieces` (a list of texts) for a
        translator. The weights that are new then are told on standard error, and stand in the
        model's `new_weights`: train them with `fit`.

    Returns
    -------
    Task
        A `keras.Model`.

    Raises
    ------
    UnknownModelError
        For an unknown name, with the nearest ones.
    CheckpointError
        If the checkpoint or the adapter is broken, or the adapter belongs to another base; see
        `rnnzoo.errors` for its kinds.
    DownloadError
        If it cannot be fetched.
    InputError
        For an argument that cannot be used.

    Examples
    --------
    >>> import rnnzoo
    >>> translator = rnnzoo.load("seq2seq-en-fr")
    >>> translator.predict("Where is the station?").text
    'Où est la gare ?'
    """
    from rnnzoo import precision

    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise InputError(
            f"rnnzoo runs on Keras' TensorFlow backend; KERAS_BACKEND is {backend!r}: unset it"
        )
    if is_keras_file(name):
        given = {
            "dtype": dtype != "auto",
            "weights": weights is not True,
            "revision": revision is not None,
            "cache_dir": cache_dir is not None,
            "local_files_only": local_files_only is not False,
            "adapter": adapter is not None,
            "merge_adapter": merge_adapter is not True,
            **dict.fromkeys(overrides, True),
        }
        if odd := [argument for argument, changed in given.items() if changed]:
            raise InputError(
                "a .keras file is loaded as it was saved, and takes no argument but quantize and "
                f"engine; got {', '.join(odd)}"
            )
        task = _load_keras_file(os.fspath(name))
        if quantize is not None:
            task.quantize(quantize)
        task.engine = engine
        return task
    if dtype not in precision.POLICIES:
        precision.resolve(dtype)
    opened = locate(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
    task_class = family_class(opened.config.family)
    found = None
    if adapter is not None:
        if not weights:
            raise InputError("an adapter goes with its base's weights: load it with weights=True")
        found = _locate_adapter(adapter, cache_dir, local_files_only)
    task = task_class.from_checkpoint(
        opened, dtype, weights, overrides, found, merge_adapter, quantize
    )
    task._loaded_as.name = _address(name, opened)
    task.engine = engine
    return task


def _locate_adapter(
    adapter: str | os.PathLike[str], cache_dir: str | os.PathLike[str] | None, offline: bool
) -> Adapter:
    """The verified adapter in a folder or at a hub address; fetched if need be."""
    if not isinstance(adapter, (str, os.PathLike)) or not os.fspath(adapter):
        raise InputError(f"expected an adapter's folder or hf://...; got {adapter!r:.60}")
    if not os.fspath(adapter).startswith("hf://"):
        return open_adapter(adapter)
    record = hub.parse_uri(os.fspath(adapter))
    return open_adapter(hub.fetch_repository(record, cache_dir, offline))


def _address(name: str | os.PathLike[str], opened: Checkpoint) -> str | None:
    """By what name another installation knows a model, on the hub with its commit; None for a
    folder."""
    if isinstance(name, str) and isinstance(entries().get(name), Entry):
        return name
    found = hub.repository_of(opened.folder)
    return None if found is None else hub.address_of(found)


# what zipfile, json, h5py and Keras raise of a broken file; RuntimeError where a flag in the zip's
# directory says that a member is encrypted, or packed in a way that zipfile does not know
_UNREADABLE = (
    ValueError,
    TypeError,
    OSError,
    KeyError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def _load_keras_file(path: str) -> Task:
    """A model from Keras' own format, whose classes have to be known before it is read."""
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}")
    import keras

    from rnnzoo.task import Task

    for family in _FAMILIES:  # other packages' have no stand-ins (rnnzoo.keras_files)
        family_class(family)
    try:
        found = keras.saving.load_model(path)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is not a model that Keras can read: {error}") from error
    if not isinstance(found, Task):
        raise CheckpointError(
            f"{path} holds a network, not a model of rnnzoo: keras.saving.load_model opens it"
        )
    return found
