"""Retention: whole closed segments go, their heads stay."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from postlatch.model.events import Event
from postlatch.store.writer import Operation

# Batches that one transaction deletes: some milliseconds, because mail waits behind it.
STEP = 500

_STALE = """
SELECT ifnull(min(segment), 0), ifnull(max(segment), 0), ifnull(sum(last_seq - first_seq + 1), 0)
FROM journal_segments
WHERE pruned_at IS NULL AND segment <= (SELECT max(segment) FROM journal_segments WHERE closed_at < ?)
"""
_LEFT = """
SELECT EXISTS (SELECT 1 FROM journal_batches WHERE first_seq <=
    (SELECT max(last_seq) FROM journal_segments WHERE pruned_at IS NOT NULL))
"""
_MARK = "UPDATE journal_segments SET pruned_at = ? WHERE pruned_at IS NULL AND segment <= ?"
_DELETE = """
DELETE FROM journal_batches WHERE first_seq IN (
    SELECT first_seq FROM journal_batches
    WHERE first_seq <= (SELECT max(last_seq) FROM journal_segments WHERE pruned_at IS NOT NULL)
    ORDER BY first_seq LIMIT ?)
"""


class Pruning(NamedTuple):
    """One step: ``operation`` and ``events`` belong into the same ``Writer.submit``, for ``verify`` wants the event."""

    operation: Operation[None]
    events: tuple[Event, ...]


def prune(connection: sqlite3.Connection, before: float, now: float) -> Pruning | None:
    """The next step of dropping the segments that were closed before ``before``; None if nothing is left to do.

    Only reads. Submit the step and ask again until None: a step deletes at most ``STEP`` batches. Segments go from the oldest
    on and without a hole: what comes before a segment that is old is old, whatever the clock said that day. So a clock that
    stood in the future for a while keeps nothing for ever.
    """
    first, last, count = connection.execute(_STALE, (before,)).fetchone()
    if last:
        event = Event("journal.pruned", now, {"first_segment": first, "last_segment": last, "events": count})
        return Pruning(_step(now, last), (event,))
    if connection.execute(_LEFT).fetchone()[0]:
        return Pruning(_step(now, 0), ())
    return None


def _step(now: float, through: int) -> Operation[None]:
    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(_MARK, (now, through))
        connection.execute(_DELETE, (STEP,))

    return operation
