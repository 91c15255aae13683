"""Appending: one batch, one row, in the transaction of the messages that it tells of."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from postlatch.journal.chain import SECONDS_A_DAY, START, Batch, Segment, batch_hash, segment_seal
from postlatch.journal.codec import compress, pack
from postlatch.model.clock import Clock
from postlatch.model.events import Event

_LAST_BATCH: Final = """
SELECT first_seq, last_seq, batch, segment, day, writer, first_at, last_at,
    segment_first_seq, segment_first_at, segment_last_at, hash, NULL, NULL
FROM journal_batches ORDER BY first_seq DESC LIMIT 1
"""
_INSERT_BATCH: Final = "INSERT INTO journal_batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LAST_SEGMENT: Final = """
SELECT segment, day, writer, first_seq, last_seq, last_batch, first_at, last_at, closed_at, head, seal, pruned_at
FROM journal_segments ORDER BY segment DESC LIMIT 1
"""
_INSERT_SEGMENT: Final = "INSERT INTO journal_segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class _Place(NamedTuple):
    """Where the next batch goes. ``open_*`` are the segment's extent so far; None in a new segment."""

    seq: int
    batch: int
    segment: int
    day: int
    link: bytes
    open_seq: int | None = None
    open_first_at: float = 0.0
    open_last_at: float = 0.0


class Sealer:
    """Appends batches to the journal. Used by one thread at a time: the writer's.

    It keeps nothing between calls but its name: each call reads the last row inside the caller's transaction (4 µs a batch), so
    a rollback, a retry or a fresh connection cannot leave it believing in a batch that was never committed.
    """

    def __init__(self, writer_id: str, clock: Clock) -> None:
        self._writer = writer_id
        self._clock = clock

    def seal(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        """Append ``events`` as one batch. The caller begins and commits. sqlite3.Error is the only error."""
        if not events:
            return
        now = self._clock.now()
        place = self._next_place(connection, now)
        packed = pack(events, place.seq, now)
        new = place.open_seq is None
        batch = Batch(
            first_seq=place.seq,
            last_seq=place.seq + len(events) - 1,
            batch=place.batch,
            segment=place.segment,
            day=place.day,
            writer=self._writer,
            first_at=packed.first_at,
            last_at=packed.last_at,
            segment_first_seq=place.seq if place.open_seq is None else place.open_seq,
            segment_first_at=packed.first_at if new else min(place.open_first_at, packed.first_at),
            segment_last_at=packed.last_at if new else max(place.open_last_at, packed.last_at),
            hash=b"",
            keys=packed.keys,
            payload=compress(packed.lines),
        )
        row = batch._replace(hash=batch_hash(place.link, batch, packed.lines))
        connection.execute(_INSERT_BATCH, row)

    def _next_place(self, connection: sqlite3.Connection, now: float) -> _Place:
        day = int(now // SECONDS_A_DAY)
        row = connection.execute(_LAST_BATCH).fetchone()
        if row is None:
            return _after_last_segment(connection, day)
        last = Batch(*row)
        if self._belongs(last, day):
            return _Place(
                last.last_seq + 1,
                last.batch + 1,
                last.segment,
                last.day,
                last.hash,
                last.segment_first_seq,
                last.segment_first_at,
                last.segment_last_at,
            )
        seal = _close(connection, last, now)
        return _Place(last.last_seq + 1, last.batch + 1, last.segment + 1, day, seal)

    def _belongs(self, last: Batch, day: int) -> bool:
        """Whether a batch of today still goes into the open segment.

        A clock that steps back over midnight reopens nothing: yesterday stays closed and its late events go into today. Only a
        day that was never real (the clock stood in the future) is left, else the segment would be open until it comes.
        """
        return last.writer == self._writer and last.day - 1 <= day <= last.day


def _after_last_segment(connection: sqlite3.Connection, day: int) -> _Place:
    row = connection.execute(_LAST_SEGMENT).fetchone()
    if row is None:
        return _Place(1, 1, 1, day, START)
    last = Segment(*row)
    return _Place(last.last_seq + 1, last.last_batch + 1, last.segment + 1, day, last.seal)


def _close(connection: sqlite3.Connection, last: Batch, now: float) -> bytes:
    """Write the row of the segment that ends with ``last``; its seal, which is the next batch's link."""
    before = connection.execute(_LAST_SEGMENT).fetchone()
    segment = Segment(
        segment=last.segment,
        day=last.day,
        writer=last.writer,
        first_seq=last.segment_first_seq,
        last_seq=last.last_seq,
        last_batch=last.batch,
        first_at=last.segment_first_at,
        last_at=last.segment_last_at,
        # Not before its latest event: a clock that starts in 1970 must not make yesterday look old to the retention.
        closed_at=max(now, last.segment_last_at),
        head=last.hash,
        seal=b"",
        pruned_at=None,
    )
    seal = segment_seal(START if before is None else Segment(*before).seal, segment)
    connection.execute(_INSERT_SEGMENT, segment._replace(seal=seal))
    return seal
