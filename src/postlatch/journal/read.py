"""Reading in order: a cursor for followers, the head, an export.

Each function reads a page at a time and keeps no transaction open between pages (a long one would keep the WAL from being
checkpointed), so give ``export`` a connection in autocommit. A record is the flat object that ``codec.record`` makes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from postlatch.journal.chain import SCHEMA, Batch, Head
from postlatch.journal.codec import Record, unpack

PAGE = 64  # batches
_EXPORT_PREFIX = b'{"schema":"' + SCHEMA.encode() + b'",'

_HOLDING = "SELECT ifnull(max(first_seq), ?1) FROM journal_batches WHERE first_seq <= ?1"
_PAGE = """
SELECT first_seq, last_seq, batch, segment, day, writer, first_at, last_at,
    segment_first_seq, segment_first_at, segment_last_at, hash, keys, payload
FROM journal_batches
WHERE first_seq BETWEEN ? AND ? AND last_seq >= ? ORDER BY first_seq LIMIT ?
"""
_HEAD = (
    "SELECT last_seq, lower(hex(hash)), batch, segment, writer, last_at FROM journal_batches ORDER BY first_seq DESC LIMIT 1"
)
_SEALED_HEAD = """
SELECT last_seq, lower(hex(head)), last_batch, segment, writer, last_at
FROM journal_segments ORDER BY segment DESC LIMIT 1
"""
_END = 2**63 - 1


class JournalDamaged(Exception):
    """A batch cannot be unpacked: run ``postlatch journal verify``. Not temporary."""


def head(connection: sqlite3.Connection) -> Head | None:
    """The end of the chain; None while nothing was ever written. Kept elsewhere, it shows later that nothing was cut off."""
    row = connection.execute(_HEAD).fetchone() or connection.execute(_SEALED_HEAD).fetchone()
    return None if row is None else Head(*row)


def read(connection: sqlite3.Connection, after_seq: int, limit: int) -> list[Record]:
    """Up to ``limit`` records behind number ``after_seq`` (0: from the start), oldest first.

    The last record's ``seq`` is the next cursor. What was pruned is skipped. JournalDamaged if a batch cannot be unpacked.
    """
    found: list[Record] = []
    for batch in batches(connection, after_seq + 1, _END):
        found.extend(record for record in records(batch) if record["seq"] > after_seq)
        if len(found) >= limit:
            break
    return found[:limit]


def batches(connection: sqlite3.Connection, first_seq: int, last_seq: int, page: int = PAGE) -> Iterator[Batch]:
    """The batches that hold the events ``first_seq`` to ``last_seq``, oldest first."""
    (start,) = connection.execute(_HOLDING, (first_seq,)).fetchone()
    while True:
        rows = connection.execute(_PAGE, (start, last_seq, first_seq, page)).fetchall()
        yield from map(Batch._make, rows)
        if len(rows) < page:
            return
        start = rows[-1][0] + 1


def records(batch: Batch) -> list[Record]:
    """The events of one batch; JournalDamaged if it cannot be unpacked."""
    with _told(batch):
        return unpack(batch.lines())


def lines_of(batch: Batch) -> bytes:
    """The JSON lines of one batch; JournalDamaged if it cannot be unpacked."""
    with _told(batch):
        return batch.lines()


@contextmanager
def _told(batch: Batch) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise JournalDamaged(f"batch {batch.batch} of the journal is damaged: run `postlatch journal verify`") from error


def export(connection: sqlite3.Connection, since: float, until: float) -> Iterator[str]:
    """All events with ``since <= at < until`` as NDJSON lines (without newline), each with ``schema``; pure ASCII.

    Lines are passed on as they were sealed, not made anew. JournalDamaged if a batch cannot be unpacked.
    """
    for batch in batches(connection, *span(connection, since, until)):
        if batch.last_at < since or batch.first_at >= until:
            continue
        with _told(batch):
            lines = batch.lines()
            times = [record["at"] for record in unpack(lines)]
        for at, line in zip(times, lines.split(b"\n"), strict=True):
            if since <= at < until:
                yield (_EXPORT_PREFIX + line[1:]).decode("ascii")


_SPAN = """
SELECT
    (SELECT min(first_seq) FROM journal_segments WHERE last_at >= ?1 AND first_at < ?2),
    (SELECT max(last_seq) FROM journal_segments WHERE last_at >= ?1 AND first_at < ?2),
    (SELECT ifnull(max(last_seq), 0) FROM journal_segments),
    (SELECT max(last_seq) FROM (SELECT last_seq FROM journal_batches ORDER BY first_seq DESC LIMIT 1))
"""


def span(connection: sqlite3.Connection, since: float, until: float) -> tuple[int, int]:
    """Event numbers between which all events of a time range lie, by the segments' extents; (1, 0) if there are none.

    The open segment has no row yet: it always belongs to the range, and its batches are asked one by one.
    """
    first, last, closed, end = connection.execute(_SPAN, (since, until)).fetchone()
    if end is None:
        return 1, 0
    if end > closed:
        return (closed + 1 if first is None else first), end
    return (1, 0) if first is None else (first, last)
