"""Reading beside the writer: a few connections that cannot write, and no read that lasts.

In WAL mode a reader never waits for the writer nor the writer for it, but the WAL cannot start over while an old snapshot is
being read. So each read is one transaction of at most two seconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from postlatch.store.database import StoreError, open_reader

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], T]

_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock: well below a millisecond


class ReadTimeout(StoreError):
    """A query took longer than it may; ask for less."""


class Reader:
    """Runs queries in a small thread pool. ``monotonic`` gives seconds; ``limit`` is the longest transaction in seconds."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float], threads: int = 2, limit: float = 2.0) -> None:
        self._path = path
        self._monotonic = monotonic
        self._limit = limit
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="postlatch-reader")
        self._idle: deque[sqlite3.Connection] = deque()

    async def read(self, query: Query[T]) -> T:
        """What ``query`` returns, from one consistent snapshot. Raises StoreError, ReadTimeout, or what the query raises."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.read_now, query)

    def read_now(self, query: Query[T]) -> T:
        """The same in the calling thread, for commands that run without a loop."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = open_reader(self._path)
        try:
            result = self._transaction(connection, query)
        except BaseException as error:
            connection.close()  # rolls back; and what it knows of the file may be what is wrong
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{self._path} cannot be read: {error}") from error
            raise
        self._idle.append(connection)
        return result

    def close(self) -> None:
        """Wait for running queries and close the connections."""
        self._pool.shutdown()
        while self._idle:
            with suppress(sqlite3.Error):
                self._idle.pop().close()

    def _transaction(self, connection: sqlite3.Connection, query: Query[T]) -> T:
        end = self._monotonic() + self._limit
        connection.set_progress_handler(lambda: self._monotonic() > end, _STEPS)
        try:
            connection.execute("BEGIN")
            result = query(connection)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise ReadTimeout(f"the query took longer than {self._limit:g} seconds") from error
            raise
        return result
