"""Bringing an older database up to date, at start and under the lock of its data directory.

Each step is one transaction that also sets the version: whenever the machine stops, the file has the old schema or the new
one. Before the first step the database as it is goes into a file beside it, for whoever must go back to the older version.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from postlatch.store.files import sync_directory
from postlatch.store.migrations import steps

_PAGES = 4096  # copied in one step
_ROOM = 64 * 1024 * 1024  # octets that stay free for the mail of the next hours
_MIB = 1024 * 1024


def tell(sentence: str) -> None:
    """On standard error: the log is opened after the database."""
    sys.stderr.write(f"{sentence}\n")


def free_octets(folder: Path) -> int:
    """What the file system of ``folder`` has room for."""
    return shutil.disk_usage(folder).free


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    version: int,
    *,
    keep: bool,
    say: Callable[[str], None] = tell,
    room: Callable[[Path], int] = free_octets,
) -> None:
    """Apply every step behind ``version``. ``keep`` makes the copy first. sqlite3.Error if a step fails: nothing changed then.

    ``connection`` must be in autocommit, and nobody else may write.
    """
    pending = [step for step in steps() if step.version > version]
    if keep:
        _keep(connection, path, version, room(path.parent), say)
    for step in pending:
        say(f"{path}: upgrading the database to schema {step.version} ({step.name})")
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\nPRAGMA user_version = {step.version};\nCOMMIT;")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def copy_path(path: Path, version: int) -> Path:
    """Where the database of that older version is kept."""
    return path.with_name(f"{path.name}.schema-{version}")


def _keep(connection: sqlite3.Connection, path: Path, version: int, free: int, say: Callable[[str], None]) -> None:
    """Copy the database, whole or not at all, if there is room; the upgrade itself goes on either way."""
    kept = copy_path(path, version)
    size = _octets(connection)
    needed = size + size // 2 + _ROOM  # the copy, and the pages that the upgrade writes
    if free < needed:
        say(
            f"{path}: no room for a copy before the upgrade ({needed // _MIB} MiB needed, {free // _MIB} MiB free): "
            "it is upgraded without one, and the older version can only be gone back to with a backup"
        )
        return
    part = kept.with_name(f".{kept.name}.part")
    try:
        _copy(connection, part)
        part.replace(kept)
        sync_directory(path.parent)
        say(f"{path}: the database as it was is kept as {kept.name}; remove it when the new version has proved itself")
    except (OSError, sqlite3.Error) as error:
        say(f"{path}: no copy could be made before the upgrade ({error}): it is upgraded without one")
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _octets(connection: sqlite3.Connection) -> int:
    pages, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    return pages * size


def _copy(connection: sqlite3.Connection, part: Path) -> None:
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(part, isolation_level=None)) as destination:
        destination.execute("PRAGMA synchronous = OFF")  # it counts when it is whole and synced, below
        connection.backup(destination, pages=_PAGES)
        destination.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
