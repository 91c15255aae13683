"""What a start does before anything else: nothing that the last run had in its hands stays there."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from postlatch.spool.bodies import body_files, message_of
from postlatch.spool.claims import IN_HAND
from postlatch.store.files import body_path
from postlatch.store.writer import Operation

# Claimed rows are the ones without a due time. After a run that was killed, each may have been delivered without our knowing.
_RETURN_CLAIMS = f"""
UPDATE recipients SET due = ?, possible_duplicate = max(possible_duplicate, ?) WHERE {IN_HAND}
"""  # noqa: S608 - a constant
_WITH_FILE = "SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = 'file'"
_WINDOW = 5000  # messages whose bodies are looked for in one transaction
_WINDOW_END = "SELECT id FROM messages WHERE finished_at IS NULL AND id > ? ORDER BY id LIMIT 1 OFFSET ?"
_LACKS_BODY = """
finished_at IS NULL AND body_kind = 'inline' AND NOT EXISTS (SELECT 1 FROM bodies WHERE message = messages.id)
"""
_HOLD = """
UPDATE recipients SET state = 'held', due = NULL, last_reply = 'held: the body of this message is missing from the disk'
WHERE message = ? AND state IN ('queued', 'deferred')
"""


class SweepReport(NamedTuple):
    """What a sweep found: ``returned`` claimed recipients, ``held`` messages without a body file, ``stray`` files to remove."""

    returned: int
    held: tuple[int, ...]
    stray: tuple[Path, ...]


def sweep(now: float, *, clean: bool, bodies: Path) -> Operation[SweepReport]:
    """Make claimed recipients due, flag them as possible duplicates unless the last stop was clean, and compare the files.

    Only before the first draft of a run: a file that is just being received would count as stray. It reads by index what was
    in hand and what has a file, so that a long queue does not make a long start; `find_bodiless` looks at the rest later.
    """

    def run(connection: sqlite3.Connection) -> SweepReport:
        returned = connection.execute(_RETURN_CLAIMS, (now, not clean)).rowcount
        expected = {row[0] for row in connection.execute(_WITH_FILE)}
        present, stray = _look(bodies, expected)
        held = [message for message in sorted(expected - present) if connection.execute(_HOLD, (message,)).rowcount]
        return SweepReport(returned, tuple(held), tuple(stray))

    return run


class Bodiless(NamedTuple):
    """One step of the search: open ``messages`` whose body is not in the database, and where to go on, None at the end."""

    messages: tuple[int, ...]
    after: int | None


def find_bodiless(connection: sqlite3.Connection, after: int) -> Bodiless:
    """A query: look for the inline bodies of the next 5,000 open messages behind ``after``.

    A claim notices a missing body too; but a message that is due next week should not wait until then to be known as lost.
    """
    row = connection.execute(_WINDOW_END, (after, _WINDOW - 1)).fetchone()
    sql, params = f"SELECT id FROM messages WHERE id > ? AND {_LACKS_BODY}", [after]  # noqa: S608 - a constant
    if row is not None:
        sql, params = sql + " AND id <= ?", [after, row[0]]
    found = connection.execute(sql, params).fetchall()
    return Bodiless(tuple(message for (message,) in found), None if row is None else row[0])


def hold_bodiless(messages: Sequence[int]) -> Operation[list[int]]:
    """Hold those of ``messages`` that really are without a body; which they were. A claimed one is its attempt's to hold."""

    def run(connection: sqlite3.Connection) -> list[int]:
        sql = f"SELECT id FROM messages WHERE id = ? AND {_LACKS_BODY}"  # noqa: S608 - a constant
        lost = [message for message in messages if connection.execute(sql, (message,)).fetchone()]
        return [message for message in lost if connection.execute(f"{_HOLD} AND due IS NOT NULL", (message,)).rowcount]

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
