"""Restore: a backup becomes a data directory again, with everything in its queue held.

Nothing of it is trusted: only the names that a backup has are taken, each is compared with the manifest, and the directory is
built under another name and put into place when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from postlatch.store.backup import DATABASE, FORMAT, MANIFEST
from postlatch.store.database import StoreError, open_database
from postlatch.store.files import sync_directory
from postlatch.store.lock import NAME as LOCK_NAME
from postlatch.store.schema import SCHEMA_VERSION

_BODY = re.compile(r"bodies/[0-9A-Z]{2}/[0-9A-Z]{13}")
_MAX_MANIFEST = 256 * 1024 * 1024
_CHUNK = 1024 * 1024
_STAGING = ".restoring"
_IGNORED = {_STAGING, LOCK_NAME, "lost+found"}  # the command that restores holds the lock; a fresh volume has the last

# Much of it may have been delivered since the backup was made; an operator who knows decides.
_HOLD = """
UPDATE recipients SET state = 'held', due = NULL, last_reply = 'restored from backup', possible_duplicate = 1
WHERE state IN ('queued', 'deferred')
"""


class RestoreReport(NamedTuple):
    """What was restored: unfinished ``messages``, recipients ``held``, ``bodies`` in files; when the backup was made."""

    messages: int
    held: int
    bodies: int
    created_at: str


def restore(archive: Path, directory: Path, *, database: str = DATABASE) -> RestoreReport:
    """Fill ``directory``, which must be empty or not exist, from a backup. StoreError if the backup is not whole.

    ``database`` is the file name that the configuration gives the database. Nothing is left behind on failure. The directory
    may be a mount point: everything is built inside it, and the database, which makes it a data directory, moves last.
    """
    if directory.exists() and not _is_empty(directory):
        raise StoreError(f"{directory} is not empty: restore only into a new directory, and stop the relay first")
    staging = directory / _STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700, parents=True)
        report = _build(archive, staging, database)
        for name in ("bodies", database):
            (staging / name).replace(directory / name)
            sync_directory(directory)
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        raise StoreError(f"{archive} cannot be restored: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not {entry.name for entry in directory.iterdir()} - _IGNORED


def _build(archive: Path, staging: Path, database: str) -> RestoreReport:
    found = _extract(archive, staging)
    manifest = _read_manifest(staging / MANIFEST)
    _compare(found, manifest["files"])
    (staging / DATABASE).rename(staging / database)
    (staging / "bodies").mkdir(mode=0o700, exist_ok=True)
    with closing(open_database(staging / database, create=False, keep=False)) as connection:  # the backup is the copy
        held = connection.execute(_HOLD).rowcount
        messages = connection.execute("SELECT count(*) FROM messages WHERE finished_at IS NULL").fetchone()[0]
    for folder, _, _ in os.walk(staging):
        sync_directory(Path(folder))
    return RestoreReport(messages, held, len(found) - 1, str(manifest["created_at"]))


def _extract(archive: Path, staging: Path) -> dict[str, dict[str, Any]]:
    """Write the members to ``staging``; their sizes and digests, without the manifest's."""
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(archive, "r:") as members:
        for member in members:
            name = member.name
            if not member.isreg() or not (name in {DATABASE, MANIFEST} or _BODY.fullmatch(name)):
                raise StoreError(f"{archive} holds something that no backup of Postlatch's does: {name!r}")
            if name in found or (name == MANIFEST and member.size > _MAX_MANIFEST):
                raise StoreError(f"{archive} is not a backup of Postlatch's: {name!r} is there twice, or too large")
            found[name] = _write_member(members, member, staging / name)
    if MANIFEST not in found or DATABASE not in found:
        raise StoreError(f"{archive} is not a whole backup: it was cut short, or is something else")
    del found[MANIFEST]
    return found


def _write_member(members: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> dict[str, Any]:
    source = members.extractfile(member)
    assert source is not None  # a regular file
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
        while piece := source.read(_CHUNK):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return {"size": member.size, "sha256": digest.hexdigest()}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        known = manifest["format"] == FORMAT and isinstance(manifest["files"], dict)
        schema = manifest["schema"]
        manifest["created_at"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("the manifest of this backup cannot be read: it is damaged") from error
    if not known:
        raise StoreError("this backup has a format that this version of Postlatch does not know")
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA_VERSION:
        raise StoreError(
            f"this backup has schema {schema}, and this version of Postlatch knows only those up to {SCHEMA_VERSION}: "
            "restore it with the version that made it"
        )
    return dict(manifest)


def _compare(found: dict[str, dict[str, Any]], expected: dict[str, Any]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise StoreError(f"this backup is damaged: {name} is not what its manifest says")
