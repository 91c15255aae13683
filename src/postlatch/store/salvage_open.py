"""Opening a damaged database without changing it, also one that SQLite itself would refuse.

Without its first page nothing of a database can be found, and with one wrong octet in it SQLite refuses the file. But the first
pages of ours are the same in every database of one version: the roots of the tables are where the schema puts them. So where
nothing else helps, a copy gets the first page, and the schema, of an empty database.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from postlatch.store import schema
from postlatch.store.database import PAGE_SIZE, StoreError, open_database
from postlatch.store.salvage_read import columns_of, is_older

_NO_DATABASE = "put a backup back with `postlatch restore FILE`"
_LARGEST = 512 * 1024 * 1024  # octets of one value: damage may claim any length
_HEADER = 100  # octets of the file's header, on its first page
_INTERIOR, _LEAF = 5, 13  # kinds of pages of a table, https://www.sqlite.org/fileformat.html section 1.6
_NEW_FIRST_PAGE = "the first page was destroyed; that of an empty database of this version was used in its place"
_SUFFIXES = ("", "-wal", "-shm", "-journal")


class Opened(NamedTuple):
    """A damaged database that can be read: ``path`` is the file itself, or a copy; ``note`` says what is odd about it."""

    connection: sqlite3.Connection
    path: Path
    note: str


@contextmanager
def opened(damaged: Path, target: Path) -> Iterator[Opened]:
    """Open a damaged database in a way that changes nothing in it; a copy of it may stand beside ``target`` meanwhile."""
    if not damaged.is_file():
        raise StoreError(f"{damaged} does not exist")
    copy = target.with_name(f".{target.name}.source")
    try:
        found = _open(damaged, copy)
        with closing(found.connection):
            yield found
    except OSError as error:
        raise StoreError(f"{damaged} cannot be salvaged: {error}") from error
    finally:
        _remove(copy)


def _open(damaged: Path, copy: Path) -> Opened:
    """As it is if all tables are in its schema, else with the schema of this version, else as it is after all."""
    problem: StoreError | None = None
    try:
        found = _as_it_is(damaged, copy)
        if _has_all(found.connection):
            return found
        found.connection.close()
    except StoreError as error:
        problem = error
    _remove(copy)
    connection = _with_new_first_page(damaged, copy)
    if connection is not None:
        return Opened(connection, copy, _NEW_FIRST_PAGE)
    if problem is not None:
        raise problem
    return _as_it_is(damaged, copy)


def _has_all(connection: sqlite3.Connection) -> bool:
    """Whether the schema names every table and no definition is damaged. One of an older version is never completed by ours."""
    if is_older(connection):
        return True
    return all(columns_of(connection, name) for kind, name in schema.expected() if kind == "table")


def _as_it_is(damaged: Path, copy: Path) -> Opened:
    wal = damaged.with_name(f"{damaged.name}-wal")
    if not (wal.exists() and wal.stat().st_size > 0):
        return Opened(_connect(damaged, damaged, "mode=ro&immutable=1"), damaged, "")
    # Whoever reads a WAL writes its index beside it, so both are copied.
    shutil.copyfile(damaged, copy)
    shutil.copyfile(wal, copy.with_name(f"{copy.name}-wal"))
    connection = _connect(copy, damaged, "mode=rw")
    with suppress(sqlite3.DatabaseError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # so that the copy alone has every page
    return Opened(connection, copy, "")


def _connect(path: Path, named: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST)
    try:
        # Without this, a file that is shorter than its header says is refused, and so is one with a damaged definition.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        tables = schema.found(connection)
    except (sqlite3.DatabaseError, MemoryError) as error:
        connection.close()
        raise StoreError(f"nothing can be read of {named} ({error}): {_NO_DATABASE}") from error
    if ("table", "messages") not in tables:
        connection.close()
        raise StoreError(f"{named} is not a database of Postlatch's, or has lost its schema: {_NO_DATABASE}")
    return connection


def _with_new_first_page(damaged: Path, copy: Path) -> sqlite3.Connection | None:
    """A connection to a copy that got the schema of this version; None if what it then reads is not a database of ours."""
    fresh = copy.with_name(f"{copy.name}.fresh")
    try:
        open_database(fresh, create=True).close()
        shutil.copyfile(damaged, copy)
        if not _transplant(fresh.read_bytes(), copy):
            return None
        connection = _connect(copy, damaged, "mode=ro&immutable=1")
    except StoreError:
        return None
    finally:
        _remove(fresh)
    with suppress(sqlite3.DatabaseError, MemoryError):
        if connection.execute("SELECT 1 FROM meta WHERE key = 'epoch'").fetchone() is not None:
            return connection
    connection.close()
    return None


def _transplant(fresh: bytes, copy: Path) -> bool:
    """Put the first page of ``fresh`` over that of ``copy``, and the pages with the schema's definitions behind its end."""
    pages = copy.stat().st_size // PAGE_SIZE
    first = bytearray(fresh[:PAGE_SIZE])
    if pages < 2 or first[_HEADER] not in {_INTERIOR, _LEAF}:
        return False
    moved = []
    for place in _children(first):
        child = int.from_bytes(first[place : place + 4], "big")
        page = fresh[(child - 1) * PAGE_SIZE : child * PAGE_SIZE]
        if page[:1] != bytes([_LEAF]):
            return False  # a schema so large has another shape
        moved.append(page)
        first[place : place + 4] = (pages + len(moved)).to_bytes(4, "big")
    first[28:32] = (pages + len(moved)).to_bytes(4, "big")
    first[32:40] = bytes(8)  # no list of free pages
    with copy.open("r+b") as file:
        file.truncate(pages * PAGE_SIZE)
        file.write(first)
        file.seek(pages * PAGE_SIZE)
        file.write(b"".join(moved))
    return True


def _children(page: bytearray) -> list[int]:
    """Where on the first page the numbers of its children are."""
    if page[_HEADER] == _LEAF:
        return []
    cells = int.from_bytes(page[_HEADER + 3 : _HEADER + 5], "big")
    starts = range(_HEADER + 12, _HEADER + 12 + 2 * cells, 2)
    return [*(int.from_bytes(page[start : start + 2], "big") for start in starts), _HEADER + 8]


def _remove(path: Path) -> None:
    for suffix in _SUFFIXES:
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
