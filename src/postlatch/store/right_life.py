"""What was said of rights that end or are not used: kept, so that a restart does not say it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from postlatch.policy.reminders import Remembered
from postlatch.store.writer import Operation


def load(connection: sqlite3.Connection) -> dict[tuple[str, str], Remembered]:
    """By kind and name."""
    rows = connection.execute("SELECT kind, name, first_seen, expires_at, reminded_days, unused_alert_at FROM right_life")
    return {(row[0], row[1]): Remembered(*row) for row in rows}


def save(rows: Iterable[Remembered], gone: Iterable[tuple[str, str]]) -> Operation[None]:
    """Keep these, and forget what there is no more."""
    kept, lost = [tuple(row) for row in rows], list(gone)

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO right_life VALUES (?, ?, ?, ?, ?, ?)", kept)
        connection.executemany("DELETE FROM right_life WHERE kind = ? AND name = ?", lost)

    return run
