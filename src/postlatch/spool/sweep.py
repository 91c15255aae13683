"""What a start does before anything else: nothing that the last run had in its hands stays there."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from postlatch.spool.bodies import body_files, message_of
from postlatch.store.files import body_path
from postlatch.store.writer import Operation

# Claimed rows are the ones without a due time. After a run that was killed, each may have been delivered without our knowing.
_RETURN_CLAIMS = """
UPDATE recipients SET due = ?, possible_duplicate = max(possible_duplicate, ?)
WHERE due IS NULL AND state IN ('queued', 'deferred') AND message IN (SELECT id FROM messages WHERE finished_at IS NULL)
"""
_WITH_FILE = "SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = 'file'"
_WITHOUT_BODY = """
SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = 'inline'
  AND NOT EXISTS (SELECT 1 FROM bodies WHERE message = messages.id)
"""
_HOLD = """
UPDATE recipients SET state = 'held', due = NULL, last_reply = 'held: the body of this message is missing from the disk'
WHERE message = ? AND state IN ('queued', 'deferred')
"""


class SweepReport(NamedTuple):
    """What a sweep found: ``returned`` claimed recipients, ``held`` messages without a body, ``stray`` files to remove."""

    returned: int
    held: tuple[int, ...]
    stray: tuple[Path, ...]


def sweep(now: float, *, clean: bool, bodies: Path) -> Operation[SweepReport]:
    """Make claimed recipients due, flag them as possible duplicates unless the last stop was clean, and compare the files.

    Only before the first draft of a run: a file that is just being received would count as stray.
    """

    def run(connection: sqlite3.Connection) -> SweepReport:
        returned = connection.execute(_RETURN_CLAIMS, (now, not clean)).rowcount
        expected = {row[0] for row in connection.execute(_WITH_FILE)}
        present, stray = _look(bodies, expected)
        missing = [row[0] for row in connection.execute(_WITHOUT_BODY)] + sorted(expected - present)
        held = [message for message in missing if connection.execute(_HOLD, (message,)).rowcount]
        return SweepReport(returned, tuple(held), tuple(stray))

    return run


def _look(bodies: Path, expected: set[int]) -> tuple[set[int], list[Path]]:
    """Which expected messages have their file, and the files that nothing refers to."""
    present: set[int] = set()
    stray: list[Path] = []
    for path in body_files(bodies):
        message = message_of(path)
        if message in expected and path == body_path(bodies, message):
            present.add(message)
        else:
            stray.append(path)
    return present, stray
