"""The keys that sign our mail, as they are kept. The private halves are files; what a state means is `app.dkim`'s business."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from postlatch.store.writer import Operation

NEW, PUBLISHED, ACTIVE, RETIRED, REMOVABLE = "new", "published", "active", "retired", "removable"
_COLUMNS = "domain, selector, algorithm, state, record, created_at, published_at, active_at, retired_at"
_MARKS = "?, ?, ?, ?, ?, ?, ?, ?, ?"


class StoredKey(NamedTuple):
    """One key. ``record`` is what is to be published at ``selector._domainkey.domain``. Times: seconds since 1970, UTC."""

    domain: str
    selector: str
    algorithm: str
    state: str
    record: str
    created_at: float
    published_at: float | None = None
    active_at: float | None = None
    retired_at: float | None = None

    @property
    def name(self) -> str:
        """Where its record belongs."""
        return f"{self.selector}._domainkey.{self.domain}"


def load(connection: sqlite3.Connection) -> list[StoredKey]:
    """All keys, by domain, the oldest first."""
    sql = f"SELECT {_COLUMNS} FROM dkim_keys ORDER BY domain, created_at, selector"  # noqa: S608 - a constant
    return [StoredKey(*row) for row in connection.execute(sql)]


def add(keys: Sequence[StoredKey]) -> Operation[None]:
    """Add keys. The database refuses a name that is there already, and a second active key of an algorithm."""

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(f"INSERT INTO dkim_keys ({_COLUMNS}) VALUES ({_MARKS})", keys)  # noqa: S608 - constants

    return run


def replace(keys: Sequence[StoredKey]) -> Operation[None]:
    """Write the state and the times of these keys, in this order: whoever activates one retires the other first."""

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "UPDATE dkim_keys SET state = ?, published_at = ?, active_at = ?, retired_at = ? WHERE domain = ? AND selector = ?",
            [(key.state, key.published_at, key.active_at, key.retired_at, key.domain, key.selector) for key in keys],
        )

    return run


def forget(keys: Sequence[StoredKey]) -> Operation[None]:
    """Remove the rows of these keys."""

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "DELETE FROM dkim_keys WHERE domain = ? AND selector = ?", [(key.domain, key.selector) for key in keys]
        )

    return run
