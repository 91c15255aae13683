"""Backup while the relay runs, and restore into an empty directory.

A backup is one uncompressed tar file: body files, then ``postlatch.db``, then ``manifest.json`` with the SHA-256 of each.

Order makes it consistent. The database is copied first, from one snapshot. Every body file that this snapshot refers to
existed at that moment, but while the files are being copied the queue goes on finishing messages and removing theirs. A file
that is gone therefore belongs to a message that was finished meanwhile: the live database is asked, and the copy is brought up
to date for that message. So the backup never holds a message whose body it lost, and never resurrects one that was delivered.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from postlatch.store.database import StoreError, open_reader
from postlatch.store.files import body_path, sync_directory
from postlatch.store.schema import SCHEMA_VERSION

DATABASE = "postlatch.db"  # as a member of the archive
MANIFEST = "manifest.json"
FORMAT = "postlatch.backup/1"
_PAGES = 1024  # copied between two chances for another thread

_OPEN_FILES = "SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = 'file' ORDER BY id"
_DROP = "DELETE FROM recipients WHERE message = ?1"
_TAKE_RECIPIENTS = "INSERT INTO recipients SELECT * FROM live.recipients WHERE message = ?1"
_TAKE_FINISH = "UPDATE messages SET finished_at = (SELECT finished_at FROM live.messages WHERE id = ?1) WHERE id = ?1"
_PURGED = "DELETE FROM messages WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM live.messages WHERE id = ?1)"


class BackupReport(NamedTuple):
    """What a backup holds: ``messages`` unfinished, ``bodies`` in files; ``size`` of the archive in octets.

    ``missing`` are unfinished messages whose body file was not there although it should have been: damage, to be told.
    """

    messages: int
    bodies: int
    size: int
    missing: tuple[int, ...]


class _Entry(NamedTuple):
    size: int
    sha256: str


def backup(
    database: Path,
    bodies: Path,
    target: Path,
    *,
    now: float,
    progress: Callable[[str], None] = lambda _stage: None,
) -> BackupReport:
    """Write a backup to ``target``, whole or not at all; an older file of that name is replaced. StoreError if it cannot be.

    Blocks: run it in a thread, where ``progress`` is told of each stage as it ends. Needs room for the database twice,
    beside ``target``.
    """
    part = target.with_name(f".{target.name}.part")
    copy = target.with_name(f".{target.name}.db")
    try:
        _copy_database(database, copy)
        progress("the database is copied")
        report = _write_archive(database, bodies, copy, part, now)
        part.replace(target)
        sync_directory(target.parent)
        progress("the archive is written")
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        raise StoreError(f"{target} could not be written: {error}") from error
    finally:
        for leftover in (part, copy, copy.with_name(copy.name + "-journal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
    return report


def _copy_database(database: Path, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(open_reader(database)) as source, closing(sqlite3.connect(copy, isolation_level=None)) as destination:
        destination.execute("PRAGMA synchronous = OFF")  # nothing counts until the archive is synced
        # Without a transaction of its own, each write by the relay would make the copy start over: it would never end.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM meta").fetchone()
        source.backup(destination, pages=_PAGES)
        destination.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL


def _write_archive(database: Path, bodies: Path, copy: Path, part: Path, now: float) -> BackupReport:
    files: dict[str, _Entry] = {}
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            with _amendable(copy, database) as connection:
                gone = _add_bodies(archive, connection, bodies, files, now)
                missing = tuple(message for message in gone if not _catch_up(connection, message))
                messages = connection.execute("SELECT count(*) FROM messages WHERE finished_at IS NULL").fetchone()[0]
            with copy.open("rb") as content:
                files[DATABASE] = _add(archive, DATABASE, content, now)
            _add_manifest(archive, files, now)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return BackupReport(messages, len(files) - 1, size, missing)


@contextmanager
def _amendable(copy: Path, database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS live", (f"{database.absolute().as_uri()}?mode=ro",))
        yield connection


def _add_bodies(
    archive: tarfile.TarFile, connection: sqlite3.Connection, bodies: Path, files: dict[str, _Entry], now: float
) -> list[int]:
    """Add every body file that the copy refers to; returns the messages whose file is not there."""
    gone: list[int] = []
    for (message,) in connection.execute(_OPEN_FILES).fetchall():
        path = body_path(bodies, message)
        name = str(Path("bodies", *path.parts[-2:]))
        try:
            content = path.open("rb")  # once open it can be read to its end, whoever removes its name
        except FileNotFoundError:
            gone.append(message)
            continue
        with content:
            files[name] = _add(archive, name, content, now)
    return gone


def _catch_up(connection: sqlite3.Connection, message: int) -> bool:
    """Give the copy the live state of a message that was finished meanwhile; False if it was not: its body is lost."""
    row = connection.execute("SELECT finished_at FROM live.messages WHERE id = ?", (message,)).fetchone()
    if row is not None and row[0] is None:
        return False
    connection.execute("BEGIN")
    for sql in (_DROP, _TAKE_RECIPIENTS, _TAKE_FINISH, _PURGED):
        connection.execute(sql, (message,))
    connection.execute("COMMIT")
    return True


class _Hashing(io.RawIOBase):
    """Passes reads on and hashes what goes by."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._source = source
        self.hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.hash.update(data)
        return data


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], now: float) -> _Entry:
    info = tarfile.TarInfo(name)
    info.size = content.seek(0, os.SEEK_END)
    info.mode = 0o600
    info.mtime = int(now)
    content.seek(0)
    hashing = _Hashing(content)
    archive.addfile(info, hashing)
    return _Entry(info.size, hashing.hash.hexdigest())


def _add_manifest(archive: tarfile.TarFile, files: dict[str, _Entry], now: float) -> None:
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "created_at": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": {name: entry._asdict() for name, entry in files.items()},
    }
    _add(archive, MANIFEST, io.BytesIO(json.dumps(manifest, indent=1).encode()), now)
