"""The limiter's state, so that a restart does not give everybody a fresh allowance."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from postlatch.store.writer import Operation


def load(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """All (key, state as JSON)."""
    return connection.execute("SELECT key, state FROM counters").fetchall()


def save(rows: Sequence[tuple[str, str]]) -> Operation[None]:
    """Store the states that changed."""

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO counters (key, state) VALUES (?, ?)", rows)

    return run


def delete(keys: Sequence[str]) -> Operation[None]:
    """Forget keys that hold nothing any more."""

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM counters WHERE key = ?", [(key,) for key in keys])

    return run
