"""Publish entries on the Hugging Face Hub, and write into the manifest where they are.

python tools/publish.py --org ORG [NAME ...]              all bundled entries, or those named
python tools/publish.py --org ORG [NAME ...] --dry-run    what it would do; it only looks

Each entry becomes the repository ORG/NAME, made if it is missing, one commit that holds its
checkpoint folder, and a tag with the package's version. What is published already is left as it is;
a stopped run goes on where it was. Log in first: `hf auth login`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import rnnzoo  # noqa: E402
from rnnzoo import hub, manifest  # noqa: E402
from rnnzoo.errors import RnnzooError, UploadError  # noqa: E402

MANIFEST = ROOT / "weights_manifest.json"
TAG = f"v{rnnzoo.__version__}"


def publish(name: str, org: str, private: bool, dry_run: bool) -> None:
    """Publish an entry, unless the hub has it as it is."""
    entry = manifest.read_manifest(MANIFEST).entries[name]
    folder, repo_id = hub.bundled_folder(name), f"{org}/{name}"
    tags = hub.published_tags(repo_id)
    record = entry.hub
    if record is None or record.repo_id != repo_id or not hub.is_published(record, folder):
        tagged = (tags or {}).get(TAG)
        record = manifest.HubRecord(repo_id, tagged) if tagged else None
        if record is not None and not hub.is_published(record, folder):
            raise UploadError(
                f"hf://{repo_id}@{TAG} has other files, and a tag never points to other weights: "
                "raise the package's version first"
            )
    todo = [f"create {repo_id}"] if tags is None else []
    if record is None:
        todo.append(f"upload {len(entry.files)} files, {entry.size:,} bytes")
    if TAG not in (tags or {}):
        todo.append(f"tag {TAG}")
    if record is None or record != entry.hub:
        todo.append("write it into the manifest")
    if not todo or dry_run:
        print(f"{name}: {', '.join(todo) if todo else 'published as it is, nothing to do'}")
        return
    if record is None:
        message = f"{name}, rnnzoo {rnnzoo.__version__}"
        commit = hub.push_folder(folder, repo_id, private=private or None, commit_message=message)
        record = manifest.HubRecord(repo_id, commit.oid)
    if TAG not in (tags or {}):
        hub.tag_commit(record, TAG)
    known = manifest.read_manifest(MANIFEST)
    known.entries[name] = dataclasses.replace(known.entries[name], hub=record)
    manifest.write_manifest(known, MANIFEST)
    print(f"{name}: {hub.address_of(record)}, {TAG}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--org", required=True)
    parser.add_argument("--private", action="store_true", help="make new repositories private")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(arguments)
    entries = manifest.read_manifest(MANIFEST).entries
    unknown = sorted(set(options.names) - set(entries))
    if unknown:
        parser.error(f"not in the manifest: {', '.join(unknown)}")
    names = options.names or [name for name, entry in entries.items() if entry.bundled]
    try:
        for name in names:
            publish(name, options.org, options.private, options.dry_run)
    except RnnzooError as error:
        print(f"publish.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
