"""A process that upgrades a database and is killed in the middle: after so many steps of SQLite's virtual machine."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

from postlatch.store.migrate import migrate


def main() -> None:
    """``migration_child.py DATABASE STEPS``: STEPS in thousands."""
    path, thousands = Path(sys.argv[1]), int(sys.argv[2])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA cache_size = 10")  # pages of the transaction reach the WAL before its end
    left = [thousands]

    def tick() -> int:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    connection.set_progress_handler(tick, 1000)
    migrate(connection, path, 1, keep=False, say=lambda _sentence: None)


if __name__ == "__main__":
    main()
