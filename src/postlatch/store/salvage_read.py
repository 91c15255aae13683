"""Reading a table around its damage.

SQLite stops at the first page that it cannot read. A table is a tree in the order of its key, so what cannot be read is a range
of keys: reading goes on behind it. Where it ends is found by asking for ``key >= x LIMIT 1`` with ever larger steps, then by
halving: some dozens of questions for each damaged place, wherever it is and however large. What lies behind a damaged page that
leads to others is not found in this way; ``salvage_pages`` looks for it page by page.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from postlatch.store import schema
from postlatch.store.salvage_quarantine import Quarantine

_WIDTH = 12  # octets of a text key that are told apart when looking for the end of a gap
_LAST_TEXT = 256**_WIDTH - 1
_LAST_NUMBER = 2**63 - 1
_MOST_PLACES = 10_000  # damaged places in one table, then it is given up
# Rows asked for at once. A row is lost to us when the one behind it cannot be read, so near damage they are asked for singly.
_PAGES = (256, 16, 1)
# What a damaged file makes the library raise. A damaged length may ask for more memory than there is.
UNREADABLE = (sqlite3.DatabaseError, MemoryError, OverflowError, UnicodeError, ValueError)

Row = Sequence[Any]
Key = tuple[int | bytes, ...]


class Target:
    """A table of the new database, and which of its columns the damaged one has. An older schema has fewer."""

    def __init__(self, new: sqlite3.Connection, name: str, there: set[str], quarantine: Quarantine) -> None:
        columns = new.execute("SELECT name, type, pk, dflt_value FROM pragma_table_info(?)", (name,)).fetchall()
        keys = sorted((pk, column, kind) for column, kind, pk, _ in columns if pk > 0)
        self.name = name
        self.columns = [column for column, _, _, _ in columns if column in there]
        self._defaults = [default for column, _, _, default in columns if column in there]
        self.keys = [column for _, column, _ in keys]
        self.numeric = keys[0][2] == "INTEGER"
        self._new = new
        self._quarantine = quarantine
        self.rows = 0  # that were read, wherever they went
        self._places = [self.columns.index(key) for key in self.keys]
        names, marks = ", ".join(self.columns), ", ".join("?" * len(self.columns))
        where = " AND ".join(f"{key} = ?" for key in self.keys)
        self._insert = f"INSERT INTO {name} ({names}) VALUES ({marks})"  # noqa: S608 - names of the schema
        self._find = f"SELECT {names} FROM {name} WHERE {where}"  # noqa: S608 - names of the schema

    def key_of(self, row: Row) -> Key | None:
        """The row's key in SQLite's order; None if damage made it something else."""
        values = [row[place] for place in self._places]
        if not all(isinstance(value, int | str | bytes) for value in values) or isinstance(values[0], int) != self.numeric:
            return None
        return tuple(value.encode("utf-8", "replace") if isinstance(value, str) else value for value in values)

    def put(self, row: Row) -> bool:
        """Insert a row; False if it is in quarantine instead, because damage has made it break a rule of the schema."""
        self.rows += 1
        try:
            self._new.execute(self._insert, row)
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            if self.has(row):
                return True  # the same once more: two damaged pages may lead to one place
            self._quarantine.row(self.name, self.columns, row, f"it breaks a rule of the schema: {error}")
            return False
        return True

    def from_record(self, record: list[Any]) -> Row | None:
        """A row from a record of a page: rowid first, and of a table with rowids NULL in the key's own column."""
        if self.numeric and len(self.keys) == 1:
            rowid, *rest = record
            place = self._places[0]
            record = [*rest[:place], rowid, *rest[place + 1 :]]
        # A row from before a column was added is shorter. One that is longer, or lacks more, is not of this table.
        absent = self._defaults[len(record) :]
        if len(record) > len(self.columns) or None in absent:
            return None
        return [*record, *(self._new.execute(f"SELECT {default}").fetchone()[0] for default in absent)]

    def has(self, row: Row) -> bool:
        """Whether a row with this key is there."""
        try:
            return self._new.execute(self._find, [row[place] for place in self._places]).fetchone() is not None
        except (sqlite3.Error, OverflowError, UnicodeError):
            return False


class _Source:
    """A table of the damaged database. Keys are numbers here; of a text key its first octets."""

    def __init__(self, source: sqlite3.Connection, target: Target) -> None:
        self._source = source
        self._target = target
        self.first = -(2**63) if target.numeric else 0
        self.last = _LAST_NUMBER if target.numeric else _LAST_TEXT
        order, names = ", ".join(target.keys), ", ".join(target.columns)
        bound = "?" if target.numeric else "CAST(? AS TEXT)"
        marks = ", ".join([bound, *("?" for _ in target.keys[1:])])
        select = f"SELECT {names} FROM {target.name}"  # noqa: S608 - names of the schema
        self._from = f"{select} WHERE {target.keys[0]} >= {bound} ORDER BY {order} LIMIT ?"
        self._behind = f"{select} WHERE ({order}) > ({marks}) ORDER BY {order} LIMIT ?"

    def bound(self, key: int) -> int | bytes:
        """A number as SQLite compares it: text is ordered by its octets."""
        return key if self._target.numeric else key.to_bytes(_WIDTH, "big").rstrip(b"\0")

    def number(self, key: Key) -> int:
        """The number of a key."""
        first = key[0]
        return first if isinstance(first, int) else int.from_bytes(first[:_WIDTH].ljust(_WIDTH, b"\0"), "big")

    def page(self, start: int, after: Key | None, rows: int) -> list[Row]:
        """The next rows: behind ``after``, or from ``start`` on. Raises what reading raises."""
        if after is None:
            return self._source.execute(self._from, (self.bound(start), rows)).fetchall()
        return self._source.execute(self._behind, (*after, rows)).fetchall()

    def is_readable(self, start: int) -> bool:
        """Whether the first row from ``start`` on can be read, or there is none."""
        try:
            rows = self.page(start, None, 1)
        except UNREADABLE:
            return False
        key = self._target.key_of(rows[0]) if rows else None
        return not rows or (key is not None and self.number(key) >= start)


def copy_table(source: sqlite3.Connection, target: Target, quarantine: Quarantine) -> bool:
    """Copy every row that the tree leads to; whether that was the whole table. What was skipped is in the report."""
    table = _Source(source, target)
    start, whole = table.first, True
    for _ in range(_MOST_PLACES):
        problem, reached = _copy_from(table, target, start)
        if not problem:
            return whole
        whole = False
        before = start - 1 if reached is None else max(table.number(reached), start - 1)
        found = _behind(table, before + 1)
        quarantine.gap(
            target.name, target.keys[0], _shown(table, before), None if found is None else _shown(table, found), problem
        )
        if found is None:
            return False
        start = found
    quarantine.gap(target.name, target.keys[0], _shown(table, start), None, "too many places are damaged")
    return False


def _copy_from(table: _Source, target: Target, start: int) -> tuple[str, Key | None]:
    """Copy from ``start`` on as far as rows can be read: what stopped it (empty at the end), and the last key."""
    reached: Key | None = None
    size = 0
    while True:
        try:
            rows = table.page(start, reached, _PAGES[size])
        except UNREADABLE as error:
            if size == len(_PAGES) - 1:
                return str(error) or type(error).__name__, reached
            size += 1
            continue
        for row in rows:
            key = target.key_of(row)
            if key is None or (reached is not None and key <= reached) or table.number(key) < start:
                return "its keys are damaged or out of order", reached
            target.put(row)
            reached = key
        if len(rows) < _PAGES[size]:
            return "", reached


def _behind(table: _Source, start: int) -> int | None:
    """The smallest key from ``start`` on where reading works again; None if there is none."""
    if start > table.last:
        return None
    failing, step = start - 1, 1
    while not table.is_readable(probe := min(failing + step, table.last)):
        if probe == table.last:
            return None
        failing, step = probe, step * 2
    while probe - failing > 1:
        middle = (probe + failing) // 2
        if table.is_readable(middle):
            probe = middle
        else:
            failing = middle
    return probe


def _shown(table: _Source, key: int) -> int | str | None:
    """A key for people; None before the first."""
    if key < table.first:
        return None
    bound = table.bound(key)
    return bound.decode("utf-8", "replace") if isinstance(bound, bytes) else bound


def columns_of(source: sqlite3.Connection, name: str) -> set[str]:
    """The columns that a table of the damaged database has; none if it cannot be asked: its definition may be damaged."""
    try:
        return {str(column) for (column,) in source.execute("SELECT name FROM pragma_table_info(?)", (name,))}
    except UNREADABLE:
        return set()


def root_of(source: sqlite3.Connection, name: str) -> int:
    """The page where a table's tree begins; 0 if that cannot be known."""
    try:
        row = source.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    except UNREADABLE:
        return 0
    return row[0] if row is not None and isinstance(row[0], int) else 0


def page_size(source: sqlite3.Connection) -> int:
    """Octets of a page."""
    return int(source.execute("PRAGMA page_size").fetchone()[0])


def is_older(source: sqlite3.Connection) -> bool:
    """Whether the damaged database has an older schema, which lacks some tables."""
    try:
        return 0 < int(source.execute("PRAGMA user_version").fetchone()[0]) < schema.SCHEMA_VERSION
    except UNREADABLE:
        return False
