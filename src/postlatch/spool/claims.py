"""Claims and outcomes in the database.

A row's ``due`` is the one mark of who has it: a time while the database has it, NULL while a claim in memory has it (or it is
held, or final). So a claim costs one write, and after a crash the rows that were in somebody's hands are exactly known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from postlatch.spool.contract import Claim, Outcome, OutcomeKind, QueuedRecipient, SpoolError
from postlatch.spool.priority import BULK, NORMAL, URGENT, Shares
from postlatch.spool.rows import RECIPIENT_COLUMNS, load_messages, load_recipient
from postlatch.store.files import body_path
from postlatch.store.merging import parts
from postlatch.store.writer import Operation

PURGE_RECIPIENTS: Final = 5_000  # one step forgets no more messages beyond so many
CLAIM_RECIPIENTS: Final = 5_000  # one operation claims no more messages beyond so many: a message may have a thousand

# Read along the index only as far as needed, the backlog may be a million rows; and as one value, because each row that
# Python takes gives the interpreter up and asks for it again.
_DUE: Final = """
SELECT json_group_array(message) FROM (
  SELECT DISTINCT message FROM recipients WHERE priority = ? AND due <= ? ORDER BY due LIMIT ?
)
"""
# The plus keeps SQLite from the index of due times: it is a few rows of a few messages that are wanted.
_CLAIM: Final = f"""
UPDATE recipients SET due = NULL WHERE message IN ({{}}) AND +due <= ? RETURNING message, {RECIPIENT_COLUMNS}
"""  # noqa: S608 - a constant
# What a claim has, or had when its process ended: these conditions are those of the index `recipients_at_hand`.
IN_HAND: Final = "due IS NULL AND finished_at IS NULL AND state IN ('queued', 'deferred')"
# A row that no claim has (any more) is left alone: an outcome may be recorded twice when a commit's fate was unknown.
_FINISH: Final = """
UPDATE recipients SET state = o.column1, due = nullif(o.column2, 0.0), finished_at = nullif(o.column3, 0.0),
  attempts = attempts + 1, last_reply = o.column4, last_remote = o.column5, warned = max(warned, o.column6)
FROM (VALUES {}) AS o
WHERE message = o.column7 AND number = o.column8 AND due IS NULL AND state IN ('queued', 'deferred')
"""
_FINISH_VALUES: Final = "(?, ?, ?, ?, ?, ?, ?, ?)"
_CLOSE: Final = """
UPDATE messages SET finished_at = ? WHERE id IN ({}) AND finished_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM recipients WHERE message = messages.id AND finished_at IS NULL)
"""
_DROP_CLOSED_BODIES: Final = """
DELETE FROM bodies WHERE message IN (SELECT id FROM messages WHERE id IN ({}) AND finished_at IS NOT NULL)
"""
_DROP_BODIES: Final = "DELETE FROM bodies WHERE message IN ({}) RETURNING message"
_GIVE_BACK: Final = f"UPDATE recipients SET due = ? WHERE message = ? AND number = ? AND {IN_HAND}"  # noqa: S608 - a constant
_HOLD_ORPHANS: Final = """
UPDATE recipients SET state = 'held', last_reply = 'the database has lost this message'
WHERE message = ? AND due IS NULL AND state IN ('queued', 'deferred')
"""


def claim_due(limit: int, now: float, epoch: int, shares: Shares) -> Operation[list[Claim]]:
    """Claim what is due of up to ``limit`` messages: each class of priority its share, of it the longest waiting first.

    Fewer messages if they have many recipients: the operation ends behind the one that makes ``CLAIM_RECIPIENTS`` full.
    """

    def run(connection: sqlite3.Connection) -> list[Claim]:
        due = [_due_messages(connection, priority, limit, now) for priority in (URGENT, NORMAL, BULK)]
        counts = shares.split(limit, [len(found) for found in due])
        chosen = [message for found, count in zip(due, counts, strict=True) for message in found[:count]]
        claims: list[Claim] = []
        recipients = 0
        for part in parts(chosen):
            if recipients >= CLAIM_RECIPIENTS:
                break
            claims += _claim(connection, part, now, epoch)
            recipients = sum(len(claim.recipients) for claim in claims)
        return claims

    return run


def _due_messages(connection: sqlite3.Connection, priority: int, limit: int, now: float) -> list[int]:
    found: list[int] = json.loads(connection.execute(_DUE, (priority, now, limit)).fetchone()[0])
    return found


def _claim(connection: sqlite3.Connection, ids: Sequence[int], now: float, epoch: int) -> list[Claim]:
    rows = connection.execute(_CLAIM.format(", ".join("?" * len(ids))), (*ids, now)).fetchall()
    recipients: dict[int, list[QueuedRecipient]] = {message: [] for message in ids}
    for message, *row in rows:
        recipients[message].append(load_recipient(row))
    messages = load_messages(connection, ids)
    for message in recipients.keys() - messages.keys():  # a damaged or hand-edited database: this must not stop all other mail
        connection.execute(_HOLD_ORPHANS, (message,))
    return [
        Claim(messages[message], tuple(sorted(found, key=_number)), epoch)
        for message, found in recipients.items()
        if message in messages
    ]


def _number(recipient: QueuedRecipient) -> int:
    return recipient.number


def next_due(connection: sqlite3.Connection) -> float | None:
    """A query: when the next recipient comes due; None if none will."""
    sql = "SELECT min(due) FROM recipients WHERE priority = ? AND due IS NOT NULL"
    found = [connection.execute(sql, (priority,)).fetchone()[0] for priority in (URGENT, NORMAL, BULK)]
    return min((float(due) for due in found if due is not None), default=None)


def finish(claim: Claim, outcomes: Sequence[Outcome], now: float, bodies: Path) -> Operation[list[Path]]:
    """Record outcomes; the result is the body file that nobody needs any more, if any, for removal after the commit."""
    message_id = claim.message.message_id
    rows = [_outcome_row(message_id, outcome, now) for outcome in outcomes]
    return _Finish(message_id, rows, now, bodies, inline=claim.body is not None)


_FINISHED_AT: Final = 2


class _Finish:
    """Records outcomes of one message."""

    __slots__ = ("bodies", "final", "inline", "message_id", "now", "rows")

    def __init__(self, message_id: int, rows: list[tuple[object, ...]], now: float, bodies: Path, *, inline: bool) -> None:
        self.message_id = message_id
        self.rows = rows
        self.now = now
        self.bodies = bodies
        self.inline = inline  # known to have no body file
        self.final = any(row[_FINISHED_AT] for row in rows)

    def __call__(self, connection: sqlite3.Connection) -> list[Path]:
        return self.run_all(connection, [self])[0]

    @staticmethod
    def run_all(connection: sqlite3.Connection, operations: Sequence[_Finish]) -> list[list[Path]]:
        """Record the outcomes of several messages (`store.merging`)."""
        for part in parts([row for operation in operations for row in operation.rows]):
            sql = _FINISH.format(", ".join([_FINISH_VALUES] * len(part)))
            connection.execute(sql, list(chain.from_iterable(part)))
        final = [operation for operation in operations if operation.final]
        _close_inline(connection, [operation for operation in final if operation.inline])
        others = [operation for operation in final if not operation.inline]
        left = _close_all(connection, [operation.message_id for operation in others], others[0].now) if others else set()
        return [[body_path(o.bodies, o.message_id)] if o.message_id in left else [] for o in operations]


def _close_inline(connection: sqlite3.Connection, operations: Sequence[_Finish]) -> None:
    """As ``_close_all`` where no message has a body file: two steps, however many they are."""
    for part in parts(operations):
        marks = ", ".join("?" * len(part))
        ids = [operation.message_id for operation in part]
        connection.execute(_CLOSE.format(marks), (part[0].now, *ids))
        connection.execute(_DROP_CLOSED_BODIES.format(marks), ids)


def _close_all(connection: sqlite3.Connection, messages: Sequence[int], now: float) -> set[int]:
    """Mark those of ``messages`` finished that have no unfinished recipient, and drop their bodies. Those with a body file."""
    closed: list[int] = []
    for part in parts(messages):
        sql = _CLOSE.format(", ".join("?" * len(part))) + " RETURNING id"
        closed += [row[0] for row in connection.execute(sql, (now, *part)).fetchall()]
    dropped: set[int] = set()
    for part in parts(closed):
        sql = _DROP_BODIES.format(", ".join("?" * len(part)))
        dropped.update(row[0] for row in connection.execute(sql, part).fetchall())
    return set(closed) - dropped


def _outcome_row(message_id: int, outcome: Outcome, now: float) -> tuple[object, ...]:
    kind, due = outcome.kind, outcome.next_attempt
    if (kind is OutcomeKind.DEFERRED) != (due is not None):
        raise SpoolError("a deferred recipient needs the time of its next attempt, and no other has one")
    final = kind is OutcomeKind.DELIVERED or kind is OutcomeKind.BOUNCED
    finished_at = now if final else 0.0  # 0 becomes NULL: rows.py says why
    return str(kind), due or 0.0, finished_at, outcome.reply, outcome.remote, int(outcome.warned), message_id, outcome.number


def close_message(connection: sqlite3.Connection, message_id: int, now: float, bodies: Path) -> list[Path]:
    """If no recipient is unfinished: mark the message finished and drop its body. Its body file, if it has one."""
    return [body_path(bodies, message) for message in _close_all(connection, [message_id], now)]


def recover(now: float, kept: Collection[tuple[int, int]]) -> Operation[int]:
    """Make due every claimed row that is not among ``kept`` (message, number); returns how many there were."""
    known = set(kept)

    def run(connection: sqlite3.Connection) -> int:
        found = connection.execute(f"SELECT message, number FROM recipients WHERE {IN_HAND}").fetchall()  # noqa: S608 - a constant
        lost = [(now, *key) for key in found if key not in known]
        connection.executemany(_GIVE_BACK, lost)
        return len(lost)

    return run


def purge(before: float, limit: int) -> Operation[int]:
    """Forget up to ``limit`` messages that were finished before that time; returns how many.

    Fewer at a time if they have many recipients; repeat while it is not 0.
    """

    def run(connection: sqlite3.Connection) -> int:
        old = connection.execute("SELECT id FROM messages WHERE finished_at < ? LIMIT ?", (before, limit)).fetchall()
        gone: list[tuple[int]] = []
        recipients = 0
        for row in old:
            if recipients >= PURGE_RECIPIENTS:
                break
            recipients += connection.execute("DELETE FROM recipients WHERE message = ?", row).rowcount
            gone.append(row)
        connection.executemany("DELETE FROM messages WHERE id = ?", gone)
        return len(gone)

    return run
