"""One transaction of the writer, and the two ways in which it can fail: undone, or the connection is lost with it."""

from __future__ import annotations

import sqlite3

from postlatch.store.database import StoreError
from postlatch.store.faults import is_busy, is_disk_full, is_lost
from postlatch.store.place import Place


class WriteFailed(Exception):
    """A submission is not in the database.

    ``disk_full``: for want of space (452 4.3.1), else some other trouble (451 4.3.0). ``unknown``: its COMMIT failed, so it
    may turn out to be there all the same; whoever asked must be told "not accepted" and nothing may be built on either.
    """

    def __init__(self, message: str, *, disk_full: bool = False, unknown: bool = False) -> None:
        super().__init__(message)
        self.disk_full = disk_full
        self.unknown = unknown

    def again(self) -> WriteFailed:
        """The same failure for another waiter: one exception object must not be raised in two places."""
        return WriteFailed(str(self), disk_full=self.disk_full, unknown=self.unknown)


class Lost(Exception):
    """The connection must not be used again."""

    def __init__(self, failure: WriteFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Transaction:
    """BEGIN to COMMIT. Raises WriteFailed (undone, the connection is good), Lost, or what the block raised (undone)."""

    __slots__ = ("_connection", "_place")

    def __init__(self, connection: sqlite3.Connection, place: Place) -> None:
        self._connection = connection
        self._place = place

    def __enter__(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_busy(error) or is_disk_full(error):
                raise WriteFailed(str(error), disk_full=is_disk_full(error)) from error
            raise Lost(WriteFailed(str(error))) from error

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._commit()
            return
        self._undo()
        if is_lost(error):
            raise Lost(WriteFailed(str(error))) from error
        if is_disk_full(error) or is_busy(error):
            raise WriteFailed(str(error), disk_full=is_disk_full(error)) from error

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
            self._place.check()
        except StoreError as moved:
            raise Lost(WriteFailed(str(moved), unknown=True)) from moved
        except sqlite3.Error as error:
            if not is_disk_full(error):
                raise Lost(WriteFailed(str(error), unknown=True)) from error
            # The WAL could not take all pages, the one that ends a transaction is the last of them, and a failing fsync has
            # another code: this one is not in the database.
            self._undo()
            raise WriteFailed(str(error), disk_full=True) from error

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:  # SQLite may have rolled back by itself
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise Lost(WriteFailed(str(error))) from error
