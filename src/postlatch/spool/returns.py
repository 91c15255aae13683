"""What goes back into the queue without an attempt, and what may have been delivered twice.

A destination that is paused, full or out of reach gives its mail back: it waits, and nothing is counted against it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.spool.contract import Claim, Outcome
from postlatch.store.writer import Operation

# As for an outcome: a row that no claim has (any more) is left alone.
_PUT_BACK: Final = """
UPDATE recipients SET due = ?, last_reply = ?, warned = max(warned, ?)
WHERE message = ? AND number = ? AND due IS NULL AND (state = 'queued' OR state = 'deferred')
"""
_DOUBT: Final = "UPDATE recipients SET possible_duplicate = 1 WHERE message = ? AND number = ?"
_OPEN: Final = "SELECT id FROM messages WHERE finished_at IS NULL AND id > ? ORDER BY id LIMIT ?"
_WAKE: Final = """
UPDATE recipients SET due = ? + (message + number * 7) % 1000 / 1000.0 * ?
WHERE message = ? AND due > ? AND last_reply = ?
"""
_BY_DOMAIN: Final = """
SELECT domain, count(*), min(due), max(last_reply) FROM (
  SELECT domain, due, last_reply FROM recipients WHERE due IS NOT NULL LIMIT ?
) GROUP BY domain
"""


def put_back(claim: Claim, outcomes: Sequence[Outcome]) -> Operation[list[Path]]:
    """Make recipients of a claim due at ``next_attempt``, without counting an attempt. No body file is left by it."""
    message_id = claim.message.message_id
    rows = [(o.next_attempt, o.reply, int(o.warned), message_id, o.number) for o in outcomes]

    def run(connection: sqlite3.Connection) -> list[Path]:
        connection.executemany(_PUT_BACK, rows)
        return []

    return run


def doubt(claim: Claim, numbers: Collection[int]) -> Operation[None]:
    """Note that these recipients may have the message already: the relay did not hear the answer (RFC 1047)."""
    rows = [(claim.message.message_id, number) for number in numbers]

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(_DOUBT, rows)

    return run


class Woken(NamedTuple):
    """One step of a wake. ``last``: the id of the last message that was looked at, None at the end."""

    last: int | None
    recipients: int


def wake(reply: str, after: int, now: float, start: float, seconds: float, *, limit: int = 500) -> Operation[Woken]:
    """Of up to ``limit`` open messages behind the id ``after``: make due what waits with this last reply.

    Spread over ``seconds`` from ``start`` on. Repeat with ``last`` until it is None: between the steps other mail is committed.
    """

    def run(connection: sqlite3.Connection) -> Woken:
        ids = [row[0] for row in connection.execute(_OPEN, (after, limit)).fetchall()]
        rows = [(start, seconds, message_id, now, reply) for message_id in ids]
        changed = connection.executemany(_WAKE, rows).rowcount if rows else 0
        return Woken(ids[-1] if len(ids) == limit else None, changed)

    return run


class Waiting(NamedTuple):
    """What waits in the database for one recipient domain. ``reply``: the last one of any of them."""

    domain: str
    recipients: int
    next_attempt: float
    reply: str


def waiting_by_domain(connection: sqlite3.Connection, limit: int = 100_000) -> list[Waiting]:
    """A query: what waits in the database, by domain; of at most ``limit`` recipients, so that it is quick in any queue."""
    return [Waiting(*row) for row in connection.execute(_BY_DOMAIN, (limit,))]
