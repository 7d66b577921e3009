"""The only room that talks to the network: puts a checkpoint's files on disk, verified.

A checkpoint is bundled with the package, lies in a folder, or is fetched from a Hugging Face
repository into its ordinary cache. huggingface_hub compares sizes only, so every file's sha256 is
checked on every load; a cached file that fails is fetched again, once, or named when offline.
"""

from __future__ import annotations

import os
from pathlib import Path

from rnnzoo.checkpoint import FILES, read_file_list, verify_file
from rnnzoo.errors import (
    CheckpointError,
    CorruptedFileError,
    DownloadError,
    FormatVersionError,
    InputError,
    MissingFileError,
    RnnzooError,
)
from rnnzoo.manifest import Entry, FileRecord, HubRecord

_REMEDY = (
    "It is fetched again when online: load without local_files_only and HF_HUB_OFFLINE, or delete "
    "the file."
)
_PACKAGE = Path(__file__).resolve().parent


def bundled_folder(name: str) -> Path:
    """Where the weights of a bundled entry lie."""
    return _PACKAGE / "checkpoints" / name


def parse_uri(uri: str, revision: str | None = None) -> HubRecord:
    """Repository and revision of `hf://organisation/name[@revision]`.

    Raises
    ------
    InputError
        If `uri` is not such an address, or names a revision beside another one.

    Examples
    --------
    >>> from rnnzoo.hub import parse_uri
    >>> parse_uri("hf://rnnzoo/seq2seq-en-fr@v1")
    HubRecord(repo_id='rnnzoo/seq2seq-en-fr', revision='v1')
    """
    from huggingface_hub.errors import HfUriError
    from huggingface_hub.utils import parse_hf_uri

    try:
        parsed = parse_hf_uri(uri)
    except (HfUriError, ValueError) as error:
        raise InputError(
            f"{uri!r} is not an address of a Hugging Face model: {error}. "
            "Expected hf://organisation/name or hf://organisation/name@revision"
        ) from error
    if parsed.type != "model" or parsed.path_in_repo:
        raise InputError(
            f"{uri!r} names a {parsed.type} or a file; expected a model repository, "
            "hf://organisation/name[@revision]"
        )
    if revision and parsed.revision and revision != parsed.revision:
        raise InputError(f"{uri!r} names a revision, and revision={revision!r} another one")
    return HubRecord(parsed.id, revision or parsed.revision or "main")


def fetch_entry(
    entry: Entry, cache_dir: str | os.PathLike[str] | None = None, local_files_only: bool = False
) -> Path:
    """The verified checkpoint folder of a manifest entry: bundled, or from the hub.

    Raises
    ------
    CorruptedFileError
        If a file's sha256 is not the manifest's.
    DownloadError
        If the entry cannot be fetched.
    """
    folder = bundled_folder(entry.name)
    if entry.bundled and folder.is_dir():
        for name, record in entry.files.items():
            verify_file(folder / name, record, "Reinstall rnnzoo to restore it.")
        return folder
    if entry.hub is None:
        raise DownloadError(
            f"the weights of {entry.name!r} are not in this installation ({folder} is missing) "
            "and are not published on the hub: reinstall rnnzoo"
        )
    return fetch_repository(entry.hub, cache_dir, local_files_only, entry.files)


def fetch_repository(
    record: HubRecord,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    expected: dict[str, FileRecord] | None = None,
) -> Path:
    """The snapshot folder of a hub repository, every listed file verified.

    Only `files.json` and the files it names are fetched.

    Parameters
    ----------
    record : HubRecord
    cache_dir : path, optional
        Hugging Face's cache by default.
    local_files_only : bool
        Use the cache alone; so does the environment variable `HF_HUB_OFFLINE=1`.
    expected : dict, optional
        Records to hold the files to, above those of the repository's own list.

    Raises
    ------
    DownloadError
        If the repository, the revision or a file is missing or out of reach.
    CorruptedFileError
        If a file fails twice, or once when offline.
    """
    fetcher = _Fetcher(record, cache_dir, local_files_only)
    expected = expected or {}
    try:
        return fetcher.verified(expected, mend=False)
    except FormatVersionError:
        raise
    except RnnzooError as error:
        elsewhere = isinstance(error, DownloadError) and not isinstance(error, MissingFileError)
        if fetcher.offline or elsewhere:
            raise
    return fetcher.verified(expected, mend=True)


class _Fetcher:
    """Files of one repository at one commit."""

    def __init__(
        self,
        record: HubRecord,
        cache_dir: str | os.PathLike[str] | None,
        local_files_only: bool,
    ) -> None:
        from huggingface_hub import constants

        self.record, self.cache_dir = record, cache_dir
        self.local_files_only = local_files_only
        self.offline = local_files_only or constants.HF_HUB_OFFLINE

    def verified(self, expected: dict[str, FileRecord], mend: bool) -> Path:
        """The snapshot's folder. With `mend`, the list and every file that fails are fetched
        anew."""
        wrong = f"It is so in the repository {self.record.repo_id} too."
        remedy = wrong if mend else _REMEDY
        list_path = self._download(FILES, self.record.revision, force=mend)
        if FILES in expected:
            verify_file(list_path, expected[FILES], remedy)
        try:
            files = read_file_list(list_path)
        except FormatVersionError:
            raise
        except RnnzooError as error:
            raise CorruptedFileError(
                list_path, "a checkpoint's list of files", f"this: {error}", remedy
            ) from error
        commit = list_path.parent.name  # one commit for all files, whatever the branch does
        for name, listed in files.items():
            path = self._download(name, commit)
            try:
                verify_file(path, expected.get(name, listed), remedy)
            except CheckpointError:
                if not mend:
                    raise
                verify_file(
                    self._download(name, commit, force=True), expected.get(name, listed), wrong
                )
        return list_path.parent

    def _download(self, name: str, revision: str, force: bool = False) -> Path:
        import huggingface_hub
        from huggingface_hub import errors

        place = f"hf://{self.record.repo_id}@{revision}"
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    self.record.repo_id,
                    name,
                    revision=revision,
                    cache_dir=None if self.cache_dir is None else Path(self.cache_dir),
                    local_files_only=self.local_files_only,
                    force_download=force,
                    library_name="rnnzoo",
                )
            )
        except errors.RevisionNotFoundError as error:
            raise DownloadError(f"{place}: the repository has no such revision") from error
        except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
            raise DownloadError(
                f"{place}: there is no such repository, or it needs a token: `hf auth login`"
            ) from error
        except errors.LocalEntryNotFoundError as error:
            raise DownloadError(
                f"{place}: {name} is not in the cache and the hub is out of reach "
                f"(offline, or no connection): {error}"
            ) from error
        except errors.EntryNotFoundError as error:
            raise MissingFileError(
                f"{place} has no file {name}: not an rnnzoo checkpoint, or one pushed in part"
            ) from error
        except Exception as error:  # the client raises its HTTP library's errors, and ValueError
            what = (
                f"a corrupted {name} could not be fetched again"
                if force
                else f"{name} could not be fetched"
            )
            raise DownloadError(f"{place}: {what}: {error}") from error
