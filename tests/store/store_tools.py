"""What the tests of the store share: a loop, a database, a connection that fails on demand."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ParamSpec

from postlatch.model.events import Event
from postlatch.store.database import open_database
from postlatch.store.writer import Operation, Writer

P = ParamSpec("P")
HEALING = 0.02  # seconds between two attempts to recover, in these tests


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def eventually(check: Callable[[], bool]) -> None:
    """Wait until something is so, for five seconds at most."""
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - the disk has no event to wait for
            await asyncio.sleep(0.002)


def event(number: int) -> Event:
    """Some event, told apart by its time."""
    return Event("message.accepted", float(number), {"message": str(number)})


class Journal:
    """Writes events into ``meta``, so that a test sees which ones are durable and in what batches."""

    def __init__(self) -> None:
        self.poison: float | None = None

    def seal(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        """As the journal's own: called in the transaction, may be rolled back."""
        if any(e.at == self.poison for e in events):
            raise ValueError("this event cannot be written")
        count = connection.execute("SELECT count(*) FROM meta WHERE key LIKE 'batch%'").fetchone()[0]
        connection.execute("INSERT INTO meta VALUES (?, ?)", (f"batch{count:04}", " ".join(f"{e.at:g}" for e in events)))


def batches(path: Path) -> list[list[int]]:
    """The sealed batches as they are on the disk."""
    connection = open_database(path, create=False)
    try:
        rows = connection.execute("SELECT value FROM meta WHERE key LIKE 'batch%' ORDER BY key").fetchall()
        return [[int(float(at)) for at in value.split()] for (value,) in rows]
    finally:
        connection.close()


def put(key: str, value: str = "") -> Operation[str]:
    """Insert into ``meta``; fails on a key that is there."""

    def run(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO meta VALUES (?, ?)", (key, value))
        return key

    return run


def keys(path: Path) -> list[str]:
    """The keys in ``meta`` that are on the disk."""
    connection = open_database(path, create=False)
    try:
        return [key for (key,) in connection.execute("SELECT key FROM meta WHERE key NOT LIKE 'batch%' ORDER BY key")]
    finally:
        connection.close()


class Faults:
    """Which statement fails next, and how. ``after`` raises only when the statement has been carried out."""

    def __init__(self) -> None:
        self.statement = ""
        self.code = 0
        self.after = False
        self.connecting = False
        self.opened = 0

    def fail(self, statement: str, code: int, *, after: bool = False) -> None:
        """Let statements that begin with ``statement`` fail until `heal`."""
        self.statement, self.code, self.after = statement, code, after

    def heal(self) -> None:
        """Everything works again."""
        self.statement, self.connecting = "", False

    def check(self, sql: str, *, after: bool) -> None:
        """Raise if this is the moment."""
        if self.statement and sql.startswith(self.statement) and after is self.after:
            raise sqlite_error(self.code)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class FailingConnection(sqlite3.Connection):
    """A real connection whose statements can be made to fail."""

    faults: Faults

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """Carry out a statement, or fail as told."""
        self.faults.check(sql, after=False)
        cursor = super().execute(sql, *args)
        self.faults.check(sql, after=True)
        return cursor


def failing(path: Path, faults: Faults) -> Callable[[], sqlite3.Connection]:
    """A connection factory for a writer."""

    def connect() -> sqlite3.Connection:
        if faults.connecting:
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)
        open_database(path, create=True).close()
        connection = sqlite3.connect(path, factory=FailingConnection, isolation_level=None, check_same_thread=False)
        connection.faults = faults
        faults.opened += 1
        return connection

    return connect


def make_writer(path: Path, journal: Journal | None = None, **options: Any) -> Writer:
    """A started writer on a database of its own."""
    writer = Writer(lambda: open_database(path, create=True), (journal or Journal()).seal, retry_after=HEALING, **options)
    writer.start()
    return writer
