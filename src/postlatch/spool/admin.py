"""What an operator does to queued recipients.

Only rows that are not final change. A row that a claim in memory has right now (``active``) is not touched either: its attempt
is under way and what it does to the other side cannot be taken back. Such rows are returned as ``active``, "try again".

Each operation takes up to ``limit`` rows. A long queue is worked through in steps between which mail is still accepted: look
for rows with `queue.list_page`, beside the writer, then name them here by their ids with the same filters: what has become of
them meanwhile is judged once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from postlatch.spool.claims import close_message
from postlatch.spool.contract import Claim, RecipientState
from postlatch.spool.queue import QueueFilter, QueueRow, select_rows
from postlatch.spool.rows import RECIPIENT_COLUMNS, load_message, load_recipient
from postlatch.store.writer import Operation

LIMIT = 1000
_WAITING = (RecipientState.QUEUED, RecipientState.DEFERRED)
_UNFINISHED = (*_WAITING, RecipientState.HELD)


@dataclass(frozen=True, slots=True)
class AdminResult:
    """What was done. ``changed`` shows the rows as they are now; ``paths`` are body files for `Spool.cleanup` after the commit.

    ``claims``, of `bounce` alone, hold what a report to the sender is made of: the recipients by message, with the body
    where it was inline. A body file is there until ``paths`` are cleaned up.
    """

    changed: tuple[QueueRow, ...]
    active: tuple[QueueRow, ...]
    claims: tuple[Claim, ...] = ()
    paths: tuple[Path, ...] = ()


def hold(filters: QueueFilter, *, limit: int = LIMIT) -> Operation[AdminResult]:
    """Keep waiting recipients until they are released."""

    def run(connection: sqlite3.Connection) -> AdminResult:
        rows, active = _choose(connection, filters, _WAITING, limit)
        connection.executemany("UPDATE recipients SET state = 'held', due = NULL WHERE message = ? AND number = ?", _keys(rows))
        return AdminResult(_again(connection, rows), active)

    return run


def release(filters: QueueFilter, now: float, *, limit: int = LIMIT) -> Operation[AdminResult]:
    """Let held recipients go on: due now."""

    def run(connection: sqlite3.Connection) -> AdminResult:
        rows, active = _choose(connection, filters, (RecipientState.HELD,), limit)
        sql = """
        UPDATE recipients SET state = CASE WHEN attempts > 0 THEN 'deferred' ELSE 'queued' END, due = ?
        WHERE message = ? AND number = ?
        """
        connection.executemany(sql, [(now, *key) for key in _keys(rows)])
        return AdminResult(_again(connection, rows), active)

    return run


def retry(filters: QueueFilter, now: float, *, limit: int = LIMIT) -> Operation[AdminResult]:
    """Try waiting recipients now. Those that are due anyway stay as they are; held ones need `release`."""

    def run(connection: sqlite3.Connection) -> AdminResult:
        rows, active = _choose(connection, filters, _WAITING, limit, due_after=now)
        sql = "UPDATE recipients SET due = ? WHERE message = ? AND number = ?"
        connection.executemany(sql, [(now, *key) for key in _keys(rows)])
        return AdminResult(_again(connection, rows), active)

    return run


def bounce(filters: QueueFilter, now: float, bodies: Path, *, reply: str, limit: int = LIMIT) -> Operation[AdminResult]:
    """Give up on recipients. ``reply`` is the reason, for the row and the report: printable ASCII, at most 500 characters."""

    def run(connection: sqlite3.Connection) -> AdminResult:
        rows, active = _choose(connection, filters, _UNFINISHED, limit)
        claims = tuple(_as_claims(connection, rows))
        return _end(connection, rows, active, RecipientState.BOUNCED, reply, now, bodies, claims)

    return run


def delete(filters: QueueFilter, now: float, bodies: Path, *, limit: int = LIMIT) -> Operation[AdminResult]:
    """Drop recipients without telling anybody; the caller journals who did it."""

    def run(connection: sqlite3.Connection) -> AdminResult:
        rows, active = _choose(connection, filters, _UNFINISHED, limit)
        return _end(connection, rows, active, RecipientState.DELETED, None, now, bodies)

    return run


def _choose(
    connection: sqlite3.Connection,
    filters: QueueFilter,
    states: Sequence[RecipientState],
    limit: int,
    due_after: float | None = None,
) -> tuple[list[QueueRow], tuple[QueueRow, ...]]:
    """The rows to change, and those that match but are being delivered."""
    wanted = [state for state in states if filters.state in (None, state)]
    rows = select_rows(connection, filters, wanted, limit=limit, due_after=due_after)
    if filters.state not in (None, RecipientState.ACTIVE):
        return rows, ()
    return rows, tuple(select_rows(connection, filters, (RecipientState.ACTIVE,), limit=limit))


def _keys(rows: Sequence[QueueRow]) -> list[tuple[int, int]]:
    return [(row.message_id, row.number) for row in rows]


def _again(connection: sqlite3.Connection, rows: Sequence[QueueRow]) -> tuple[QueueRow, ...]:
    if not rows:
        return ()
    named = QueueFilter(ids=tuple(row.id for row in rows))
    return tuple(select_rows(connection, named, tuple(RecipientState), limit=len(rows)))


def _end(
    connection: sqlite3.Connection,
    rows: Sequence[QueueRow],
    active: tuple[QueueRow, ...],
    state: RecipientState,
    reply: str | None,
    now: float,
    bodies: Path,
    claims: tuple[Claim, ...] = (),
) -> AdminResult:
    sql = """
    UPDATE recipients SET state = ?, due = NULL, finished_at = ?, last_reply = coalesce(?, last_reply)
    WHERE message = ? AND number = ?
    """
    connection.executemany(sql, [(state, now, reply, *key) for key in _keys(rows)])
    messages = dict.fromkeys(row.message_id for row in rows)
    paths = [path for message in messages for path in close_message(connection, message, now, bodies)]
    return AdminResult(_again(connection, rows), active, claims, tuple(paths))


def _as_claims(connection: sqlite3.Connection, rows: Sequence[QueueRow]) -> Iterator[Claim]:
    sql = f"SELECT {RECIPIENT_COLUMNS} FROM recipients WHERE message = ? AND number = ?"  # noqa: S608 - a constant
    for message_id, group in groupby(rows, key=lambda row: row.message_id):
        message = load_message(connection, message_id)
        body = connection.execute("SELECT data FROM bodies WHERE message = ?", (message_id,)).fetchone()
        if message is None:
            continue
        found = [load_recipient(connection.execute(sql, (message_id, row.number)).fetchone()) for row in group]
        yield Claim(message, tuple(found), epoch=0, body=None if body is None else body[0])
