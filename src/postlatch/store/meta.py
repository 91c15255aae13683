"""What the store remembers about itself."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from postlatch.store.writer import Operation


class Run(NamedTuple):
    """One run of the relay: ``epoch`` grows with each; ``clean`` says whether the run before it ended in good order."""

    epoch: int
    clean: bool


def get(connection: sqlite3.Connection, key: str) -> str | None:
    """The value of ``key``, None if it has none."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def put(key: str, value: str) -> Operation[None]:
    """Set ``key``."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    return run


def begin_run(connection: sqlite3.Connection) -> Run:
    """An operation: start a new epoch. Until ``end_run``, the run counts as one that was killed."""
    before = get(connection, "epoch")
    run = Run(int(before or 0) + 1, clean=before is None or get(connection, "stopped") == before)
    put("epoch", str(run.epoch))(connection)
    return run


def end_run(epoch: int) -> Operation[None]:
    """Record that everything of this run has been written and the relay stops in good order."""
    return put("stopped", str(epoch))
