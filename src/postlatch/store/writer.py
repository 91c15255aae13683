"""The group-commit writer: one thread owns the writing connection, and one commit answers everything that has gathered.

While a commit waits for the disk the next batch gathers, so the number of messages to a commit follows the load by itself;
there is no delay to tune. Operations run without savepoints at first. Only when one raises is the batch rolled back and run
again with a savepoint around each submission: the bad one fails alone, and the usual case pays nothing for that.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from postlatch.model.events import Event
from postlatch.store.database import StoreError
from postlatch.store.faults import is_busy, is_disk_full, is_lost
from postlatch.store.merging import run_together
from postlatch.store.place import Place
from postlatch.store.transaction import Lost, Transaction, WriteFailed

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
Seal = Callable[[sqlite3.Connection, Sequence[Event]], None]

BATCH_SUBMISSIONS: Final = 500
BATCH_OCTETS: Final = 16 * 1024 * 1024
LOOSE_EVENTS: Final = 10_000  # kept while the disk does not take them


class _Submission:
    """Operations and events that stand or fall together. Without a future it holds loose events."""

    __slots__ = ("events", "future", "operations", "weight")

    def __init__(
        self, operations: Sequence[Operation[Any]], events: Sequence[Event], future: asyncio.Future[list[Any]] | None
    ) -> None:
        self.operations = operations
        self.events = events
        self.future = future
        # An operation that carries a body says how many octets it holds, so that a batch stays small enough to be quick.
        self.weight = sum(getattr(operation, "weight", 0) for operation in operations)

    def run(self, connection: sqlite3.Connection) -> list[Any]:
        return [operation(connection) for operation in self.operations]


_Outcome = list[Any] | Exception


class Writer:
    """Takes operations on the loop's thread, runs them on its own. ``start`` it on the loop that will submit.

    ``connect`` makes a fresh connection (``open_database``), again after a failure. ``seal`` writes the events of a batch
    within its transaction; it may be called for a transaction that is rolled back later, so it must keep no state of its
    own beside the database. ``on_change(healthy, reason)`` is called on the loop's thread, and so is
    ``on_commit(seconds, submissions)`` after each batch, timed with ``monotonic``. ``retry_after`` and ``linger`` are
    seconds: between two attempts to get a working connection, and how long an event alone may wait.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        seal: Seal,
        *,
        on_change: Callable[[bool, str], None] = lambda _healthy, _reason: None,
        on_commit: Callable[[float, int], None] = lambda _seconds, _submissions: None,
        monotonic: Callable[[], float] = lambda: 0.0,
        retry_after: float = 1.0,
        linger: float = 0.2,
    ) -> None:
        self._connect = connect
        self._seal = seal
        self._on_change = on_change
        self._on_commit = on_commit
        self._monotonic = monotonic
        self._retry_after = retry_after
        self._linger = linger
        self._queue: SimpleQueue[_Submission | None] = SimpleQueue()
        self._halt = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._failure: WriteFailed | None = WriteFailed("the writer has not been started")
        self._closed: WriteFailed | None = None
        self._disk_full = False
        self._loose: list[Event] = []
        self._loose_timer: asyncio.TimerHandle | None = None
        self._dropped = 0

    # On the loop's thread

    def start(self) -> None:
        """Open the connection and start the thread. Raises StoreError, so that a relay refuses to start without a store."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._connection = self._connect()
        self._place = Place(self._connection)
        self._failure = None
        threading.Thread(target=self._main, name="postlatch-writer", daemon=True).start()

    def submit(self, operations: Sequence[Operation[Any]], events: Sequence[Event] = ()) -> asyncio.Future[list[Any]]:
        """Run ``operations`` in one transaction together with ``events``; the future holds their results once it is durable.

        The future's exception is WriteFailed, or what an operation raised. Cancelling it does not undo anything.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if (failure := self._closed or self._failure) is not None:
            future.set_exception(failure.again())
            return future
        if self._loose:
            self._send_loose()
        self._queue.put(_Submission(operations, events, future))
        return future

    def record(self, event: Event) -> None:
        """Write one event with the next commit, or in ``linger`` seconds. While nothing can be written the last 10,000 wait."""
        self._loose.append(event)
        if len(self._loose) > LOOSE_EVENTS and self._failure is None:
            self._send_loose()  # a flood faster than the timer: nothing is given up while the database writes
            return
        if len(self._loose) > LOOSE_EVENTS:
            del self._loose[0]
            self._dropped += 1
        if self._loose_timer is None:
            self._loose_timer = self._loop.call_later(self._linger, self._send_loose)

    async def close(self) -> None:
        """Write all that was submitted, then end the thread and close the connection."""
        self._send_loose()
        self._closed = WriteFailed("the relay is shutting down")
        self._halt.set()
        self._queue.put(None)
        await self._ended

    @property
    def healthy(self) -> bool:
        """False from an I/O error until a fresh connection has committed a trial transaction, and before and after work."""
        return self._failure is None and self._closed is None

    @property
    def disk_full(self) -> bool:
        """True if the last transaction failed for want of space."""
        return self._disk_full

    @property
    def dropped(self) -> int:
        """Loose events that were given up."""
        return self._dropped

    def _send_loose(self) -> None:
        if self._loose_timer is not None:
            self._loose_timer.cancel()
            self._loose_timer = None
        if self._loose and self._failure is None:
            self._queue.put(_Submission((), self._loose, None))
            self._loose = []

    def _resolve(self, batch: list[_Submission], outcomes: Sequence[_Outcome]) -> None:
        for submission, outcome in zip(batch, outcomes, strict=True):
            future = submission.future
            if future is None:
                self._settle_loose(submission, outcome)
            elif future.done():
                pass  # cancelled meanwhile
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _settle_loose(self, submission: _Submission, outcome: _Outcome) -> None:
        if isinstance(outcome, WriteFailed):
            waiting, self._loose = self._loose, []
            for event in (*submission.events, *waiting):
                self.record(event)
        elif isinstance(outcome, Exception):
            self._dropped += len(submission.events)  # an event that cannot be written must not stop all that follow

    def _changed(self, reason: str) -> None:
        if self.healthy and self._loose and self._loose_timer is None:
            self._loose_timer = self._loop.call_later(self._linger, self._send_loose)
        self._on_change(self.healthy, reason)

    # On the writer's thread

    def _main(self) -> None:
        try:
            while (batch := self._gather()) is not None:
                self._write(batch)
                if self._connection is None:
                    self._revive()
        finally:
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    # Readers may still be open, and then closing does not do it: a stopped relay is one file to copy.
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                _close(self._connection)
            self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _gather(self) -> list[_Submission] | None:
        """Wait for a submission and take what has gathered behind it; None at the end."""
        item = self._queue.get()
        return None if item is None else [item, *self._gather_now(BATCH_SUBMISSIONS - 1, BATCH_OCTETS - item.weight)]

    def _gather_now(self, submissions: int = BATCH_SUBMISSIONS, octets: int = BATCH_OCTETS) -> list[_Submission]:
        """What is there already, until a bound is reached."""
        batch: list[_Submission] = []
        while len(batch) < submissions and octets > 0:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is None:
                self._queue.put(None)  # nothing follows it: the batch first, then the end
                break
            batch.append(item)
            octets -= item.weight
        return batch

    def _write(self, batch: list[_Submission]) -> None:
        outcomes: list[_Outcome] = []
        lost: WriteFailed | None = None
        began = self._monotonic()
        try:
            self._transact(batch, outcomes)
            self._disk_full = False
        except WriteFailed as failure:
            self._disk_full = failure.disk_full
            outcomes += [failure.again() for _ in batch[len(outcomes) :]]
        except Lost as loss:
            lost = loss.failure
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever or be told 250
            lost = WriteFailed(f"the writer failed: {error!r}", unknown=True)
        if lost is not None:
            outcomes += [lost.again() for _ in batch[len(outcomes) :]]
            self._lose(lost)
        self._loop.call_soon_threadsafe(self._resolve, batch, outcomes)
        self._loop.call_soon_threadsafe(self._on_commit, self._monotonic() - began, len(batch))
        if lost is not None:
            self._loop.call_soon_threadsafe(self._changed, str(lost))

    def _transact(self, batch: list[_Submission], outcomes: list[_Outcome]) -> None:
        """One transaction for all; on a bad operation one with savepoints; on a bad event one for each.

        Fills ``outcomes`` as far as it gets: what is in there is durable, or the submission's own fault.
        """
        connection = self._connection
        if connection is None:  # submitted just before the connection was lost
            raise self._failure or WriteFailed("the database does not write")
        for attempt in (self._together, self._with_savepoints):
            try:
                outcomes += attempt(connection, batch)
                return
            except (WriteFailed, Lost):
                raise
            except Exception as error:  # noqa: BLE001 - an operation may raise anything
                if len(batch) == 1:
                    outcomes.append(error)
                    return
        for submission in batch:  # with savepoints only the seal is left to raise: some event cannot be written
            self._transact([submission], outcomes)

    def _together(self, connection: sqlite3.Connection, batch: list[_Submission]) -> Sequence[_Outcome]:
        with Transaction(connection, self._place):
            results = run_together(connection, [submission.operations for submission in batch])
            self._seal_all(connection, batch)
        return results

    def _with_savepoints(self, connection: sqlite3.Connection, batch: list[_Submission]) -> Sequence[_Outcome]:
        with Transaction(connection, self._place):
            outcomes = [_run_in_savepoint(connection, submission) for submission in batch]
            good = [s for s, outcome in zip(batch, outcomes, strict=True) if not isinstance(outcome, Exception)]
            self._seal_all(connection, good)
        return outcomes

    def _seal_all(self, connection: sqlite3.Connection, batch: list[_Submission]) -> None:
        events = [event for submission in batch for event in submission.events]
        if events:
            self._seal(connection, events)

    def _lose(self, failure: WriteFailed) -> None:
        self._failure = WriteFailed(f"the database does not write: {failure}", disk_full=failure.disk_full)
        if self._connection is not None:
            _close(self._connection)
            self._connection = None

    def _revive(self) -> None:
        """Try a fresh connection every now and then until one commits, or until the relay stops."""
        self._reject_queued()
        while not self._halt.wait(self._retry_after):
            self._reject_queued()
            try:
                self._connection = self._tried()
            except (sqlite3.Error, StoreError, OSError) as error:
                self._failure = WriteFailed(f"the database does not write: {error}", disk_full=is_disk_full(error))
                continue
            self._failure = None
            self._loop.call_soon_threadsafe(self._changed, "the database writes again")
            return

    def _reject_queued(self) -> None:
        """Answer what was submitted before the loop's thread knew: nobody waits for a disk to come back."""
        while (batch := self._gather_now()) and self._failure is not None:
            outcomes = [self._failure.again() for _ in batch]
            self._loop.call_soon_threadsafe(self._resolve, batch, outcomes)

    def _tried(self) -> sqlite3.Connection:
        self._place.check()
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('trial', '')")
            connection.execute("COMMIT")
        except BaseException:
            _close(connection)
            raise
        return connection


def _run_in_savepoint(connection: sqlite3.Connection, submission: _Submission) -> _Outcome:
    connection.execute("SAVEPOINT submission")
    try:
        result = submission.run(connection)
    except Exception as error:
        if is_lost(error) or is_disk_full(error) or is_busy(error):
            raise
        connection.execute("ROLLBACK TO submission")
        connection.execute("RELEASE submission")
        return error
    connection.execute("RELEASE submission")
    return result


def _close(connection: sqlite3.Connection) -> None:
    # Without a checkpoint of our own: closing the last connection does one, and it syncs the WAL before it relies on it.
    with suppress(sqlite3.Error):
        connection.close()
