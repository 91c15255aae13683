"""Salvage: what can still be read of a damaged database goes into a new one, and waits there for an operator.

SQLite stops at the first page that it cannot read. So each table is read from its beginning and from its end, which passes
around one damaged place, and what lies between two is asked for by the message ids that other tables know. The damaged file
is only read: it stays as it is, for whoever can do better.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from postlatch.store import schema
from postlatch.store.database import StoreError, open_database

# By which column a row is asked for, and which queries (of what was salvaged) know values of it.
_BY_MESSAGE = (
    ("messages", "id", "SELECT DISTINCT message FROM recipients EXCEPT SELECT id FROM messages"),
    ("recipients", "message", "SELECT id FROM messages WHERE finished_at IS NULL"),
    ("bodies", "message", "SELECT id FROM messages WHERE finished_at IS NULL EXCEPT SELECT message FROM bodies"),
)
_HOLD = """
UPDATE recipients SET state = 'held', due = NULL, last_reply = 'salvaged from a damaged database', possible_duplicate = 1
WHERE state IN ('queued', 'deferred')
"""


class SalvageReport(NamedTuple):
    """``rows`` saved by table; ``damaged`` tables could not be read through; ``held`` recipients; unfinished ``messages``."""

    rows: dict[str, int]
    damaged: tuple[str, ...]
    messages: int
    held: int


def salvage(damaged: Path, target: Path) -> SalvageReport:
    """Fill a new database ``target`` with what ``damaged`` still holds; body files stay where they are and serve both.

    StoreError if there is nothing to be read, or if ``target`` exists. With the relay stopped only.
    """
    if target.exists():
        raise StoreError(f"{target} exists already: salvage goes into a new file")
    with closing(_open_damaged(damaged)) as source:
        try:
            with closing(open_database(target, create=True)) as new:
                new.execute("PRAGMA synchronous = OFF")  # it counts when it is whole, and the checkpoint below syncs it
                new.execute("BEGIN")
                report = _copy_all(source, new)
                new.execute("COMMIT")
                new.execute("PRAGMA synchronous = FULL")
                new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            raise
    return report


def _open_damaged(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"{path} does not exist")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        tables = schema.found(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"nothing can be read of {path} ({error}): put a backup back with `postlatch restore FILE`") from error
    if ("table", "messages") not in tables:
        connection.close()
        raise StoreError(f"{path} is not a database of Postlatch's")
    return connection


def _copy_all(source: sqlite3.Connection, new: sqlite3.Connection) -> SalvageReport:
    tables = sorted(name for kind, name in schema.expected() if kind == "table")
    damaged = tuple(table for table in tables if not _copy_table(source, new, table))
    for table, column, known in _BY_MESSAGE:
        if table in damaged:
            _copy_named(source, new, table, column, known)
    rows = {table: _count(new, f"SELECT count(*) FROM {table}") for table in tables}  # noqa: S608 - names of the schema
    held = new.execute(_HOLD).rowcount
    return SalvageReport(rows, damaged, _count(new, "SELECT count(*) FROM messages WHERE finished_at IS NULL"), held)


def _count(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def _copy_table(source: sqlite3.Connection, new: sqlite3.Connection, table: str) -> bool:
    """Copy from the beginning, and if that does not reach the end, from the end; whether the table could be read through."""
    key = ", ".join(_key_of(new, table))
    if _insert(new, table, _rows(source, f"SELECT * FROM {table} ORDER BY {key}")):  # noqa: S608 - names of the schema
        return True
    backwards = ", ".join(f"{column} DESC" for column in _key_of(new, table))
    _insert(new, table, _rows(source, f"SELECT * FROM {table} ORDER BY {backwards}"))  # noqa: S608 - names of the schema
    return False


def _key_of(connection: sqlite3.Connection, table: str) -> list[str]:
    columns = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,))
    return [name for (name,) in columns]


def _copy_named(source: sqlite3.Connection, new: sqlite3.Connection, table: str, column: str, known: str) -> None:
    for (message,) in new.execute(known).fetchall():
        sql = f"SELECT * FROM {table} WHERE {column} = ?"  # noqa: S608 - names of the schema
        _insert(new, table, _rows(source, sql, message))


def _rows(source: sqlite3.Connection, sql: str, *params: object) -> Iterator[Sequence[Any] | None]:
    """The rows as far as they can be read, then None if that was not to the end."""
    try:
        yield from source.execute(sql, params)
    except sqlite3.DatabaseError:
        yield None


def _insert(new: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any] | None]) -> bool:
    for row in rows:
        if row is None:
            return False
        marks = ", ".join("?" * len(row))
        # What damage has made of a row may be against every rule of the schema; such a row is left behind.
        with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):
            new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - names of the schema
    return True
