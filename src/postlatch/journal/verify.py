"""Checking everything again: each batch against its hash and its neighbours, each segment against its seal, and the clock.

Failures are what no honest relay writes. Findings are worth reading and fine. A chain without a secret shows every change that
does not recompute all that follows; against somebody who does, and against a cut-off end, compare exported heads (``heads``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from postlatch.journal.chain import START, Batch, Head, Segment, batch_hash, segment_seal
from postlatch.journal.codec import Record, keys_of, unpack
from postlatch.journal.read import batches, head

MAX_REVERSAL = 60.0  # seconds that `at` may go back without a clock.jumped event
# A jump is journalled when the relay notices it, so some events with the new time may stand before it (and the reverse).
JUMP_WINDOW = 120.0  # seconds of journal time
_MAX_LISTED = 100

_SEGMENTS = """
SELECT segment, day, writer, first_seq, last_seq, last_batch, first_at, last_at, closed_at, head, seal, pruned_at
FROM journal_segments ORDER BY segment
"""
_PRUNED_NOW = "SELECT pruned_at IS NOT NULL FROM journal_segments WHERE segment = ?"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome: ``ok`` means no failures. ``batches`` and ``events`` were checked; the sentences are for people."""

    ok: bool
    batches: int
    events: int
    findings: tuple[str, ...]
    failures: tuple[str, ...]
    head: Head | None


def verify(
    connection: sqlite3.Connection, on_progress: Progress = lambda _done, _total: None, heads: Iterable[Head] = ()
) -> VerifyReport:
    """Check the whole journal, also while the relay writes; what is appended meanwhile is not looked at.

    ``on_progress(done, total)`` counts events. ``heads`` were exported earlier and must still be part of the chain. Never raises
    for what the database holds: damage is a failure in the report.
    """
    check = _Check(connection, on_progress, tuple(heads))
    try:
        check.run()
    except sqlite3.DatabaseError as error:
        check.fail(f"The database cannot be read: {error}. Restore a backup, or salvage it.")
    return check.report()


@dataclass(slots=True)
class _Position:
    """What the next batch must continue. ``link`` is None behind a gap: the next hash cannot be judged."""

    link: bytes | None = START
    seq: int = 0
    batch: int = 0


@dataclass(slots=True)
class _Extent:
    """The extent of the segment that is being walked."""

    first_seq: int
    first_at: float
    last_at: float


@dataclass(slots=True)
class _Check:
    connection: sqlite3.Connection
    on_progress: Progress
    heads: tuple[Head, ...]
    batches: int = 0
    events: int = 0
    total: int = 0
    findings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    hidden: int = 0
    last: Head | None = None
    seen_heads: set[Head] = field(default_factory=set)
    pruned_through: int = 0  # the highest segment that a journal.pruned event names
    at: _Position = field(default_factory=_Position)
    time: _TimeWatch = field(default_factory=lambda: _TimeWatch())

    def fail(self, sentence: str) -> None:
        if len(self.failures) < _MAX_LISTED:
            self.failures.append(sentence)
        else:
            self.hidden += 1
