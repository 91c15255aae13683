"""Looking through the whole database beside the relay's work: every row of every table, a few at a time.

SQLite's own check reads a table in one transaction, and while that lasts the WAL cannot start over: with a million messages it
would grow by all that is written in many seconds. Here each statement is a transaction of its own and reads 200 rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from postlatch.store import schema
from postlatch.store.database import StoreError, open_reader

_ROWS = 200  # of at most 256 KiB each


def inspect(path: Path, pause: Callable[[], None]) -> str | None:
    """The first damage that is met, None if there is none. Blocks for long; ``pause`` is called between two statements."""
    try:
        with closing(open_reader(path)) as connection:
            connection.execute("PRAGMA cell_size_check = ON")
            for table in sorted(name for kind, name in schema.found(connection) if kind == "table"):
                for _ in _slices(connection, table):
                    pause()
                _indexes(connection, table)
    except (sqlite3.Error, StoreError) as error:
        return str(error)
    return None


def _slices(connection: sqlite3.Connection, table: str) -> Iterator[None]:
    """Read a table in the order of its key, every value to its last octet."""
    columns = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (table,)).fetchall()
    keys = [name for _, name in sorted((pk, name) for name, _, pk in columns if pk > 0)]
    order = ", ".join(keys)
    # The last octet of a long value is at the end of a chain of pages. `length` alone would not follow it.
    ends = [f"ifnull(length(substr({name}, -1)), 0)" for name, kind, _ in columns if kind in {"TEXT", "BLOB"}] or ["0"]
    select = f"SELECT {order}, {' + '.join(ends)} FROM {table}"  # noqa: S608 - names of the schema
    behind = f"WHERE ({order}) > ({', '.join('?' * len(keys))})"
    last: tuple[object, ...] = ()
    while True:
        where = behind if last else ""
        rows = connection.execute(f"{select} {where} ORDER BY {order} LIMIT {_ROWS}", last).fetchall()
        yield
        if len(rows) < _ROWS:
            return
        last = tuple(rows[-1][: len(keys)])


def _indexes(connection: sqlite3.Connection, table: str) -> None:
    """Read every index through: a million entries are a tenth of a second."""
    found = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    for name, sql in connection.execute(found, (table,)).fetchall():
        _, where, condition = sql.partition(" WHERE ")  # a partial index serves only queries with its condition
        connection.execute(f"SELECT count(*) FROM {table} INDEXED BY {name}{where}{condition}").fetchone()  # noqa: S608
