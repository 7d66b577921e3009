"""The only room that talks to the network: fetches a checkpoint's files, verified, and publishes.

A checkpoint is bundled with the package, lies in a folder, or is fetched from a Hugging Face
repository into its ordinary cache. huggingface_hub compares sizes only, so every file's sha256 is
checked on every load; a cached file that fails is fetched again, once, or named when offline.
A push is one commit, so that a repository shows the old checkpoint or the new one.

==============================================  ================================================
what goes wrong                                 what comes of it
==============================================  ================================================
the server stops within a file, and comes back  the client goes on where it was; if it stays away
                                                a `DownloadError`, and the next load goes on
no connection                                   the cached checkpoint, after one attempt; a
                                                `DownloadError` if there is none
a truncated file, a flipped byte in the cache   fetched again; offline a `CorruptedFileError`
a file that is broken in the repository too     `CorruptedFileError`
no such repository, revision or file            `DownloadError` that names it
no token, a wrong one, one without permission   `DownloadError` or `UploadError`: `hf auth login`
a full disk                                     `DownloadError`; with room again, the next load
                                                goes on
a cache that cannot be written                  what it holds is loaded; otherwise a `DownloadError`
two processes load into an empty cache          both load
a push that is interrupted or refused           the repository shows the old checkpoint, or the
                                                new one if only the answer was lost; push again
a `.gitignore` that leaves files of it out      `UploadError` that names them
a change to the repository during a push        `UploadError`; push again
other files in the repository (pickle, Python)  never fetched, never opened
a family that is not known here                 `ConfigError`
a `README.md` that a person changed             loads, and is kept by a push
==============================================  ================================================
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo.adapter import Adapter, open_either
from rnnzoo.checkpoint import (
    CARD,
    FILES,
    WEIGHTS,
    Checkpoint,
    read_card,
    read_file_list,
    verify_file,
)
from rnnzoo.errors import (
    CheckpointError,
    CorruptedFileError,
    DownloadError,
    FormatVersionError,
    InputError,
    MissingFileError,
    RnnzooError,
    UploadError,
)
from rnnzoo.manifest import Entry, FileRecord, HubRecord

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi

_REMEDY = (
    "It is fetched again when online: load without local_files_only and HF_HUB_OFFLINE, or delete "
    "the file."
)
_PACKAGE = Path(__file__).resolve().parent
_MAIN = "main"
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


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
    return HubRecord(parsed.id, revision or parsed.revision or _MAIN)


def address_of(record: HubRecord) -> str:
    """The address that `rnnzoo.load` takes, as short as can be.

    Examples
    --------
    >>> from rnnzoo.hub import address_of, parse_uri
    >>> address_of(parse_uri("hf://rnnzoo/seq2seq-en-fr@main"))
    'hf://rnnzoo/seq2seq-en-fr'
    """
    revision = "" if record.revision == _MAIN else f"@{record.revision}"
    return f"hf://{record.repo_id}{revision}"


def repository_of(folder: Path) -> HubRecord | None:
    """Repository and commit of a snapshot in the hub's cache; None for any other folder."""
    owner = re.fullmatch(r"models--(.+)--(.+)", folder.parent.parent.name)
    if folder.parent.name != "snapshots" or owner is None:
        return None
    return HubRecord(f"{owner[1]}/{owner[2]}", folder.name)


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

    Only `files.json` and the files it names are fetched; the card is for people, who may have
    changed it, and is not verified.

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
        if fetcher.offline or elsewhere or fetcher.why_out_of_reach() is not None:
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

        self.record, self.cache_dir = record, None if cache_dir is None else Path(cache_dir)
        self.local_files_only = local_files_only
        self.offline = local_files_only or constants.HF_HUB_OFFLINE

    def verified(self, expected: dict[str, FileRecord], mend: bool) -> Path:
        """The snapshot's folder. With `mend`, the list and every file that fails are fetched
        anew."""
        if not mend and not self.offline and not self._is_cached(FILES):
            reason = self.why_out_of_reach()
            if reason is not None:
                raise DownloadError(
                    f"{address_of(self.record)} is not in the cache and the hub is out of reach: "
                    f"{_reason(reason)}"
                )
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
        complete = (list_path.parent / WEIGHTS).exists()
        for name, listed in files.items():
            if name == CARD and complete:  # it does not have to be there: not worth a request
                continue
            if name == CARD:
                with contextlib.suppress(DownloadError):
                    self._download(name, commit)
                continue
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

    def _is_cached(self, name: str) -> bool:
        import huggingface_hub

        found = huggingface_hub.try_to_load_from_cache(
            self.record.repo_id, name, cache_dir=self.cache_dir, revision=self.record.revision
        )
        return isinstance(found, str)

    def why_out_of_reach(self) -> Exception | None:
        """What keeps one request from an answer of any kind, or None.

        Asked before the client's own requests, which try for 23 seconds where there is no network.
        """
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError

        url = huggingface_hub.hf_hub_url(self.record.repo_id, FILES, revision=self.record.revision)
        try:
            huggingface_hub.get_hf_file_metadata(url, token=False)
        except HfHubHTTPError:  # an answer
            return None
        except Exception as error:  # the client raises its HTTP library's errors
            return error
        return None

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
                    cache_dir=self.cache_dir,
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
            what = f"{place}: {name} is not in the cache"
            if self.offline:
                raise DownloadError(f"{what}, and nothing is fetched when offline") from error
            raise DownloadError(f"{what} and could not be fetched: {_reason(error)}") from error
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
            raise DownloadError(f"{place}: {what}: {_reason(error)}") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status of the answer that an error of the client is about."""
    for part in _chain(error):
        status = getattr(getattr(part, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _reason(error: BaseException, pushing: bool = False) -> str:
    """Why the client failed, and what mends it."""
    from huggingface_hub.errors import LocalTokenNotFoundError

    status = _status(error)
    login = f"{_LOGIN}, or give token=..." if pushing else _LOGIN
    if status == 401 or isinstance(error, LocalTokenNotFoundError):
        return f"no token, or one that the hub does not know (401): {login}"
    if status == 403:
        place = "name a place of yours, or " if pushing else ""
        return f"the token has no permission for that (403): {place}{login}"
    for part in _chain(error):
        number = part.errno if isinstance(part, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"the disk is full: {part}. Make room, or name another cache_dir"
        unwritable = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
        if number in unwritable and part.filename is not None:  # type: ignore[attr-defined]
            return f"the cache cannot be written: {part}. Name another cache_dir, or set HF_HOME"
    *_, first = _chain(error)
    words = " ".join(str(error if status else first).split())
    return words or type(first).__name__


# --- publishing ----------------------------------------------------------------------------


def check_target(repo_id: str, revision: str | None = None) -> HubRecord:
    """Where a push goes.

    Raises
    ------
    InputError
        If there can be no such repository or branch.

    Examples
    --------
    >>> from rnnzoo.hub import check_target
    >>> check_target("me/my-translator")
    HubRecord(repo_id='me/my-translator', revision='main')
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    expected = "expected organisation/name, or user/name"
    if not isinstance(repo_id, str) or repo_id.count("/") != 1:
        raise InputError(f"{repo_id!r} is no repository: {expected}")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"{repo_id!r} is no repository: {expected}; {error}") from error
    branch = _MAIN if revision is None else revision
    if not re.fullmatch(r"(?!.*\.\.)[\w][\w./-]*(?<![./])", branch):
        raise InputError(f"revision={revision!r} is not a branch's name")
    if re.fullmatch(r"[0-9a-f]{40}", branch):
        raise InputError(f"revision={revision!r} is a commit: a push goes to a branch")
    return HubRecord(repo_id, branch)


def push_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> CommitInfo:
    """Publish a checkpoint's folder, or an adapter's, as one commit, after verifying it; for the
    arguments see `Task.push_to_hub`.

    What `files.json` names is sent, and the card; files that the repository's own list names and
    the new one does not are deleted in the same commit.

    Raises
    ------
    CheckpointError
        If the folder is not whole; nothing is sent then.
    InputError
        If there can be no such repository or branch.
    UploadError
        If the hub does not take it.
    """
    target = check_target(repo_id, revision)
    opened = open_either(folder)
    version = importlib.metadata.version("rnnzoo")
    message = commit_message or f"{opened.config.family}, saved by rnnzoo {version}"
    with _asking(address_of(target), token) as api:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if target.revision != _MAIN:
            _make_branch(api, target)
        parent, changes = _changes(api, target, opened)
        _send_large(api, target, changes)
        return api.create_commit(
            repo_id,
            changes,
            commit_message=message,
            revision=target.revision,
            parent_commit=parent,
        )


@contextlib.contextmanager
def _asking(place: str, token: str | None) -> Iterator[HfApi]:
    """The client, its errors turned into ours."""
    import huggingface_hub

    version = importlib.metadata.version("rnnzoo")
    try:
        yield huggingface_hub.HfApi(token=token, library_name="rnnzoo", library_version=version)
    except RnnzooError:
        raise
    except Exception as error:  # the client raises its HTTP library's errors, and ValueError
        if _status(error) == 412:
            raise UploadError(
                f"{place} was changed by somebody else meanwhile: try again"
            ) from error
        raise UploadError(
            f"{place}: the push failed: {_reason(error, pushing=True)}; push again"
        ) from error


def _send_large(api: HfApi, target: HubRecord, changes: list[Any]) -> None:
    """Send what is large, and refuse a commit that the client would leave files out of."""
    from huggingface_hub import CommitOperationAdd

    added = [change for change in changes if isinstance(change, CommitOperationAdd)]
    api.preupload_lfs_files(target.repo_id, added, revision=target.revision, free_memory=False)
    if ignored := [change.path_in_repo for change in added if change._should_ignore]:
        raise UploadError(
            f"{address_of(target)}: the repository's .gitignore leaves out {', '.join(ignored)}, "
            "and a checkpoint is whole or not there: change .gitignore, then push again"
        )


def _make_branch(api: HfApi, target: HubRecord) -> None:
    refs = api.list_repo_refs(target.repo_id)
    if target.revision in {tag.name for tag in refs.tags}:
        raise InputError(f"revision={target.revision!r} is a tag of {target.repo_id}, not a branch")
    if target.revision not in {branch.name for branch in refs.branches}:
        api.create_branch(target.repo_id, branch=target.revision, exist_ok=True)


def _changes(
    api: HfApi, target: HubRecord, opened: Adapter | Checkpoint
) -> tuple[str | None, list[Any]]:
    """The head of the branch, and what makes it the checkpoint that was opened."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    head = api.model_info(target.repo_id, revision=target.revision)
    there = {file.rfilename for file in head.siblings or ()}
    with tempfile.TemporaryDirectory() as temporary:
        for name in {FILES, CARD} & there:
            api.hf_hub_download(target.repo_id, name, revision=head.sha, local_dir=temporary)
        hubs_card = read_card(Path(temporary))
        try:
            old = set(read_file_list(Path(temporary) / FILES))
        except CheckpointError:  # none, or none of ours
            old = set()
    card = read_card(opened.folder)
    names = set(opened.files) - {CARD} | {FILES}
    if card is not None and (not card.ours or hubs_card is None or hubs_card.ours):
        names.add(CARD)
    changes: list[Any] = [CommitOperationAdd(name, opened.folder / name) for name in sorted(names)]
    gone = old & there - set(opened.files) - {CARD, FILES}
    if card is None and hubs_card is not None and hubs_card.ours:  # it is of what was there
        gone |= {CARD}
    return head.sha, changes + [CommitOperationDelete(name) for name in sorted(gone)]


def published_tags(repo_id: str, token: str | None = None) -> dict[str, str] | None:
    """The commits of a repository's tags; None if there is no such repository."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with _asking(f"hf://{repo_id}", token) as api:
        try:
            refs = api.list_repo_refs(repo_id)
        except RepositoryNotFoundError:
            return None
    return {tag.name: tag.target_commit for tag in refs.tags}


def is_published(record: HubRecord, folder: Path, token: str | None = None) -> bool:
    """Whether a commit has the same list of files, and so the same files, as a folder."""
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError as NoRevision

    missing = (EntryNotFoundError, RepositoryNotFoundError, NoRevision)
    with tempfile.TemporaryDirectory() as temporary, _asking(address_of(record), token) as api:
        try:
            found = api.hf_hub_download(
                record.repo_id, FILES, revision=record.revision, local_dir=temporary
            )
        except missing:
            return False
        return Path(found).read_bytes() == (folder / FILES).read_bytes()


def tag_commit(record: HubRecord, tag: str, token: str | None = None) -> None:
    """Tag a commit.

    Raises
    ------
    UploadError
        If there is such a tag already.
    """
    with _asking(f"hf://{record.repo_id}@{tag}", token) as api:
        api.create_tag(record.repo_id, tag=tag, revision=record.revision)
