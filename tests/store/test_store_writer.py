"""One thread, one commit for all that gathered, and every failure is told to those whom it concerns and to nobody else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from store_tools import (
    FailingConnection,
    Faults,
    Journal,
    batches,
    event,
    eventually,
    failing,
    in_loop,
    keys,
    make_writer,
    put,
    sqlite_error,
)

from postlatch.store import writer as writer_module
from postlatch.store.database import StoreError, open_database, open_reader
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Writer

HEALING = 0.02


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postlatch.db"


class Changes:
    """Records what the writer says of its health."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, str]] = []
        self.threads: set[int] = set()

    def __call__(self, healthy: bool, reason: str) -> None:
        self.seen.append((healthy, reason))
        self.threads.add(threading.get_ident())

    async def until(self, healthy: bool) -> None:
        await eventually(lambda: bool(self.seen) and self.seen[-1][0] is healthy)


def failing_writer(path: Path, faults: Faults, **options: Any) -> Writer:
    writer = Writer(failing(path, faults), Journal().seal, retry_after=HEALING, **options)
    writer.start()
    return writer


class Pause:
    """Keeps the writer busy from its start to `release`, so that what is submitted meanwhile gathers."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._release = threading.Event()

    async def begin(self, writer: Writer) -> None:
        self.future = writer.submit([self._wait])
        await eventually(self._started.is_set)

    def _wait(self, _connection: sqlite3.Connection) -> None:
        self._started.set()
        self._release.wait(10)

    def release(self) -> None:
        self._release.set()


async def paused(writer: Writer) -> Pause:
    pause = Pause()
    await pause.begin(writer)
    return pause


async def outcomes(*futures: asyncio.Future[list[Any]]) -> list[Any]:
    return list(await asyncio.gather(*futures, return_exceptions=True))


@in_loop
async def test_results_come_back_in_order_after_the_commit(path: Path) -> None:
    writer = make_writer(path)
    assert await writer.submit([put("a"), put("b")], [event(1)]) == ["a", "b"]
    assert keys(path) == ["a", "b"]
    assert batches(path) == [[1]]
    await writer.close()


@in_loop
async def test_what_gathers_behind_a_commit_is_committed_together(path: Path) -> None:
    writer = make_writer(path)
    pause = await paused(writer)
    rest = [writer.submit([put(f"{n:03}")], [event(n)]) for n in range(200)]
    pause.release()
    await asyncio.gather(pause.future, *rest)
    assert batches(path) == [list(range(200))]
    await writer.close()


@in_loop
async def test_a_batch_is_bounded_in_number_and_in_octets(path: Path) -> None:
    writer = make_writer(path)
    pause = await paused(writer)
    many = [writer.submit([put(f"n{n}")], [event(n)]) for n in range(writer_module.BATCH_SUBMISSIONS + 1)]
    heavy = [writer.submit([Heavy()], [event(10_000 + n)]) for n in range(4)]
    pause.release()
    await asyncio.gather(pause.future, *many, *heavy)
    # A batch ends when it has grown past the bound in octets: 499 light ones and three times 6 MiB do not.
    assert [len(batch) for batch in batches(path)] == [500, 4, 1]
    await writer.close()


class Heavy:
    """An operation that says that it holds 6 MiB."""

    weight = 6 * 1024 * 1024

    def __call__(self, _connection: sqlite3.Connection) -> None:
        return None


@in_loop
async def test_one_bad_operation_among_a_hundred_fails_alone(path: Path) -> None:
    writer = make_writer(path)
    pause = await paused(writer)
    futures = [writer.submit([put(f"{n:03}"), put("000" if n == 50 else f"x{n:03}")], [event(n)]) for n in range(100)]
    pause.release()
    results = await outcomes(pause.future, *futures)
    bad = results.pop(51)
    assert isinstance(bad, sqlite3.IntegrityError)
    assert not any(isinstance(result, Exception) for result in results)
    good = [n for n in range(100) if n != 50]
    assert keys(path) == sorted([f"{n:03}" for n in good] + [f"x{n:03}" for n in good])
    assert batches(path) == [good], "its event is not told, the others are, and still in one commit"
    assert writer.healthy
    await writer.close()


@in_loop
async def test_a_lone_bad_operation_is_told_its_own_exception(path: Path) -> None:
    writer = make_writer(path)

    def bad(_connection: sqlite3.Connection) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await writer.submit([put("a"), bad])
    assert keys(path) == []
    await writer.close()


@in_loop
async def test_an_event_that_cannot_be_written_takes_its_own_submission_along_and_no_other(path: Path) -> None:
    journal = Journal()
    journal.poison = 2.0
    writer = make_writer(path, journal)
    pause = await paused(writer)
    futures = [writer.submit([put(f"{n}")], [event(n)]) for n in range(5)]
    pause.release()
    results = await outcomes(pause.future, *futures)
    assert [isinstance(result, ValueError) for result in results] == [False, False, False, True, False, False]
    assert keys(path) == ["0", "1", "3", "4"]
    assert batches(path) == [[0], [1], [3], [4]]
    await writer.close()


@in_loop
async def test_an_event_alone_rides_on_the_next_commit(path: Path) -> None:
    writer = make_writer(path, linger=60.0)
    writer.record(event(1))
    writer.record(event(2))
    await writer.submit([put("a")], [event(3)])
    assert batches(path) == [[1, 2, 3]]
    await writer.close()


@in_loop
async def test_an_event_alone_is_on_the_disk_in_a_moment(path: Path) -> None:
    writer = make_writer(path, linger=0.01)
    writer.record(event(1))
    writer.record(event(2))
    await eventually(lambda: batches(path) == [[1, 2]])
    await writer.close()


@in_loop
async def test_a_loose_event_that_cannot_be_written_is_counted_and_given_up(path: Path) -> None:
    journal = Journal()
    journal.poison = 1.0
    writer = make_writer(path, journal, linger=60.0)
    writer.record(event(1))
    await writer.submit([put("a")], [event(2)])
    assert batches(path) == [[2]]
    assert writer.dropped == 1
    await writer.close()


@in_loop
async def test_closing_writes_what_was_submitted_and_recorded(path: Path) -> None:
    writer = make_writer(path, linger=60.0)
    futures = [writer.submit([put(f"{n:04}")]) for n in range(1200)]
    writer.record(event(1))
    await writer.close()
    assert all(future.done() and not future.exception() for future in futures)
    assert len(keys(path)) == 1200
    assert batches(path) == [[1]]
    with pytest.raises(WriteFailed, match="shutting down"):
        await writer.submit([put("late")])
    assert not writer.healthy


@in_loop
async def test_a_stopped_relay_leaves_one_file_though_readers_are_open(path: Path) -> None:
    writer = make_writer(path)
    await writer.submit([put("a", "x" * 10_000)])
    reader = open_reader(path)
    await writer.close()
    assert path.with_name("postlatch.db-wal").stat().st_size == 0
    reader.close()
    assert keys(path) == ["a"]


@in_loop
async def test_a_cancelled_wait_stops_nobody(path: Path) -> None:
    writer = make_writer(path)
    pause = await paused(writer)
    gone, here = writer.submit([put("a")]), writer.submit([put("b")])
    gone.cancel()
    pause.release()
    await here
    assert keys(path) == ["a", "b"]
    await writer.close()


@in_loop
async def test_a_relay_does_not_start_without_its_store(path: Path) -> None:
    writer = Writer(lambda: open_database(path, create=False), Journal().seal)
    with pytest.raises(StoreError, match="does not exist"):
        writer.start()


@in_loop
async def test_a_full_disk_fails_the_batch_and_nothing_else(path: Path) -> None:
    for statement in ("BEGIN", "INSERT", "COMMIT"):
        faults, changes = Faults(), Changes()
        writer = failing_writer(path, faults, on_change=changes)
        faults.fail(statement, sqlite3.SQLITE_FULL)
        failure = (await outcomes(writer.submit([put(statement)], [event(1)])))[0]
        assert isinstance(failure, WriteFailed)
        assert failure.disk_full
        assert not failure.unknown
        assert writer.disk_full
        assert writer.healthy
        faults.heal()
        assert await writer.submit([put(f"{statement} again")])
        assert (writer.healthy, writer.disk_full) == (True, False)
        assert faults.opened == 1, "the connection is good"
        assert changes.seen == []
        await writer.close()
    assert keys(path) == ["BEGIN again", "COMMIT again", "INSERT again"]


@in_loop
async def test_a_lock_held_by_somebody_else_fails_the_batch_and_nothing_else(path: Path) -> None:
    faults = Faults()
    writer = failing_writer(path, faults)
    faults.fail("BEGIN", sqlite3.SQLITE_BUSY)
    failure = (await outcomes(writer.submit([put("a")])))[0]
    assert isinstance(failure, WriteFailed)
    assert not failure.disk_full
    assert writer.healthy
    faults.heal()
    await writer.submit([put("b")])
    assert faults.opened == 1
    await writer.close()


@pytest.mark.parametrize(
    ("statement", "code", "unknown"),
    [
        ("COMMIT", sqlite3.SQLITE_IOERR | 4 << 8, True),  # SQLITE_IOERR_FSYNC
        ("COMMIT", sqlite3.SQLITE_ERROR, True),
        ("INSERT", sqlite3.SQLITE_IOERR | 3 << 8, False),  # SQLITE_IOERR_WRITE
        ("INSERT", sqlite3.SQLITE_CORRUPT, False),
        ("BEGIN", sqlite3.SQLITE_IOERR, False),
        ("BEGIN", sqlite3.SQLITE_READONLY, False),
    ],
)
def test_after_an_io_error_the_connection_is_never_used_again(path: Path, statement: str, code: int, unknown: bool) -> None:
    @in_loop
    async def scenario() -> None:
        faults, changes = Faults(), Changes()
        writer = failing_writer(path, faults, on_change=changes)
        await writer.submit([put("before")])
        faults.fail(statement, code)
        failures = await outcomes(writer.submit([put("a")]), writer.submit([put("b")]))
        await changes.until(healthy=False)
        assert all(isinstance(failure, WriteFailed) for failure in failures)
        assert failures[0].unknown is unknown
        assert not failures[0].disk_full
        assert not writer.healthy
        with pytest.raises(WriteFailed, match="the database does not write") as caught:
            await writer.submit([put("refused at once")])
        assert not caught.value.unknown
        await asyncio.sleep(HEALING * 3)
        assert not writer.healthy, "fresh connections fail as well"
        faults.heal()
        await changes.until(healthy=True)
        assert faults.opened > 1
        await writer.submit([put("after")])
        assert {"before", "after"} <= set(keys(path))
        assert not {"a", "b", "refused at once"} & set(keys(path))
        assert [healthy for healthy, _ in changes.seen] == [False, True]
        assert changes.threads == {threading.get_ident()}
        await writer.close()

    scenario()


@in_loop
async def test_what_gathered_behind_a_failing_commit_is_told_at_once_and_does_not_wait_for_the_disk(path: Path) -> None:
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes)
    pause = await paused(writer)
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR)
    behind = [writer.submit([put(str(n))]) for n in range(writer_module.BATCH_SUBMISSIONS + 10)]
    pause.release()
    async with asyncio.timeout(5):
        failures = await outcomes(pause.future, *behind)
    assert all(isinstance(failure, WriteFailed) for failure in failures)
    assert [failure.unknown for failure in failures[:2]] == [True, False], "what was never begun is not in doubt"
    assert not writer.healthy
    faults.heal()
    await changes.until(healthy=True)
    assert not {"0", "1"} & set(keys(path))
    await writer.close()


@in_loop
async def test_a_commit_that_fails_after_it_took_is_told_as_unknown(path: Path) -> None:
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes)
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR, after=True)
    failure = (await outcomes(writer.submit([put("there all the same")])))[0]
    assert isinstance(failure, WriteFailed)
    assert failure.unknown
    faults.heal()
    await changes.until(healthy=True)
    assert "there all the same" in keys(path)
    await writer.close()


@in_loop
async def test_a_fresh_connection_must_commit_before_it_counts(path: Path) -> None:
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes)
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR)
    await outcomes(writer.submit([put("a")]))
    await asyncio.sleep(HEALING * 4)
    assert faults.opened > 1, "it connects"
    assert not writer.healthy, "but cannot commit"
    faults.connecting = True
    opened = faults.opened
    await asyncio.sleep(HEALING * 3)
    assert faults.opened - opened <= 1
    faults.heal()
    await changes.until(healthy=True)
    await writer.close()


@in_loop
async def test_events_alone_wait_for_the_disk_to_come_back(path: Path) -> None:
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes, linger=0.01)
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR)
    writer.record(event(1))
    await changes.until(healthy=False)
    writer.record(event(2))
    faults.heal()
    await changes.until(healthy=True)
    await eventually(lambda: batches(path) == [[1, 2]])
    await writer.close()


@in_loop
async def test_events_alone_are_bounded_while_the_disk_is_away(path: Path) -> None:
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes)
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR)
    await outcomes(writer.submit([put("a")]))
    await changes.until(healthy=False)
    for n in range(writer_module.LOOSE_EVENTS + 5):
        writer.record(event(n))
    assert writer.dropped == 5
    faults.heal()
    await changes.until(healthy=True)
    await writer.submit([put("b")])
    assert batches(path)[0][:2] == [5, 6]
    await writer.close()


@in_loop
async def test_a_relay_can_stop_while_its_disk_is_away(path: Path) -> None:
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes)
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR)
    await outcomes(writer.submit([put("a")]))
    await changes.until(healthy=False)
    async with asyncio.timeout(5):
        await writer.close()
    faults.heal()


@in_loop
async def test_a_transaction_that_sqlite_gave_up_by_itself_is_not_continued_without_one(path: Path) -> None:
    """An operation that swallows the error must not have its next statements committed one by one."""
    faults, changes = Faults(), Changes()
    writer = failing_writer(path, faults, on_change=changes)

    def swallowing(connection: sqlite3.Connection) -> None:
        assert isinstance(connection, FailingConnection)
        connection.execute("ROLLBACK")  # as SQLite does on some errors

    failure = (await outcomes(writer.submit([put("a"), swallowing])))[0]
    assert isinstance(failure, WriteFailed)
    await changes.until(healthy=True)
    assert "a" not in keys(path)
    await writer.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL])
def test_a_disk_that_fails_while_a_bad_operation_is_being_set_apart_is_not_taken_for_a_bad_operation(
    path: Path, code: int
) -> None:
    @in_loop
    async def scenario() -> None:
        changes = Changes()
        writer = make_writer(path, on_change=changes)
        errors: list[Exception] = [LookupError("mine"), sqlite_error(code)]

        def bad(_connection: sqlite3.Connection) -> None:
            if errors:
                raise errors.pop(0)

        pause = await paused(writer)
        futures = [writer.submit([put("a")]), writer.submit([bad]), writer.submit([put("b")])]
        pause.release()
        failures = await outcomes(*futures)
        assert all(isinstance(failure, WriteFailed) for failure in failures)
        assert {failure.disk_full for failure in failures} == {code == sqlite3.SQLITE_FULL}
        if code == sqlite3.SQLITE_IOERR:
            await changes.until(healthy=True)
        assert not {"a", "b"} & set(keys(path))
        await writer.close()

    scenario()
