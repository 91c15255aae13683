"""Is the database still where it was? What is committed to a file that was taken away is lost when its process ends."""

from __future__ import annotations

import os
import sqlite3

from postlatch.store.database import StoreError


class Place:
    """The file of a connection, as it was when the connection was opened. A database in memory is always in its place."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._path: str = connection.execute("PRAGMA database_list").fetchone()[2]
        self._file = self._look()

    def check(self) -> None:
        """StoreError if another file, or none, has the database's name now."""
        if self._look() != self._file:
            raise StoreError(
                f"{self._path} was moved, removed or replaced while it was in use: put it back as it was, or stop the relay "
                "and put a backup back"
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116  (at every commit: half the cost of Path.stat)
        except OSError:
            return None
        return found.st_dev, found.st_ino
