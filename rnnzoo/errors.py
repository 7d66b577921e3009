"""The exceptions that callers catch; every one is a `RnnzooError`.

Messages say what was expected, what came and how to mend it.
"""

from __future__ import annotations


class RnnzooError(Exception):
    """The root of all errors that rnnzoo raises on purpose."""


class UnknownModelError(RnnzooError, LookupError):
    """A name that the registry does not hold; `nearest` has the names most like it."""

    def __init__(self, name: str, nearest: list[str]) -> None:
        self.name, self.nearest = name, nearest
        hint = (
            f"Did you mean {', '.join(repr(n) for n in nearest)}? " if nearest else ""
        ) + "rnnzoo.list_models() names all of them."
        super().__init__(f"There is no model named {name!r}. {hint}")


class InputError(RnnzooError, ValueError):
    """An input or option of `predict`, `fit` or `load` that cannot be used."""


class ManifestError(RnnzooError):
    """A manifest that does not follow its schema."""


class CheckpointError(RnnzooError):
    """A checkpoint folder that cannot be read or written."""


class ConfigError(CheckpointError):
    """A `config.json` that does not describe a network of its family."""


class FormatVersionError(CheckpointError):
    """A checkpoint written by a newer rnnzoo."""


class WeightsError(CheckpointError):
    """A weights file that is broken or does not fit the network."""


class CorruptedFileError(CheckpointError):
    """A file whose size or sha256 is not what its list says."""

    def __init__(self, path: object, expected: str, found: str, remedy: str) -> None:
        self.path = str(path)
        super().__init__(f"{path} is corrupted: expected {expected}, found {found}. {remedy}")


class UnsafePathError(CheckpointError, ManifestError):
    """A file name that leads out of its checkpoint folder."""


class DownloadError(RnnzooError):
    """A checkpoint that could not be fetched."""


class UploadError(RnnzooError):
    """A checkpoint that could not be published; the hub shows what it did, or the new one if only
    its answer was lost."""


class ExportError(RnnzooError):
    """A network that could not be written for another runtime; nothing is left of it."""


class WorkerError(RnnzooError):
    """A bulk prediction that its workers could not do; what was written before is kept."""


class MissingFileError(DownloadError):
    """A file that a repository does not have, though it should."""


class MissingDependencyError(RnnzooError, ImportError):
    """A feature that needs an extra that is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs {package}, which is not installed. "
            f"Install it with: pip install 'rnnzoo[{extra}]'"
        )
