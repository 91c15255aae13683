"""Looking at the queue: what `queue list` and `queue show` print, and the pages of the dashboard."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from postlatch.model.ids import format_id, parse_id
from postlatch.spool.claims import IN_HAND
from postlatch.spool.contract import RecipientState, SpoolError, StoredMessage
from postlatch.spool.priority import NAMES
from postlatch.spool.rows import load_message
from postlatch.store.files import body_path

MAX_HEADER: Final = 64 * 1024  # octets that `header` returns at most

# ``active`` is not stored: it is what a row without a due time is while it is neither held nor final.
_STATE: Final = "CASE WHEN r.due IS NULL AND r.state IN ('queued', 'deferred') THEN 'active' ELSE r.state END"
_COLUMNS: Final = f"""
SELECT m.id, r.number, r.address, m.sender, {_STATE}, r.attempts, r.due, r.last_reply, r.grant_reason, m.size,
  m.account, m.received_at, r.grant_ref, r.destination, r.last_remote, r.possible_duplicate, r.finished_at, m.priority
"""
_SELECT: Final = f"{_COLUMNS} FROM messages m CROSS JOIN recipients r ON r.message = m.id"
_ORDER: Final = "ORDER BY m.id, r.number LIMIT ?"
# By way of the index of what waits for no time, for who asks only for that: the rest of the queue is not looked at.
_SELECT_AT_HAND: Final = f"{_COLUMNS} FROM recipients r CROSS JOIN messages m ON m.id = r.message"
_AT_HAND: Final = "r.due IS NULL AND r.finished_at IS NULL"
_ORDER_AT_HAND: Final = "ORDER BY r.message, r.number LIMIT ?"


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which recipients. ``ids`` are message ids, or ``ID.n`` for one recipient; ``sender`` may be ``<>``; empty means any.

    Without ``ids`` and ``state`` only recipients that are not final are meant. Addresses compare without case.
    """

    ids: tuple[str, ...] = ()
    sender: str = ""
    recipient: str = ""
    domain: str = ""
    state: RecipientState | None = None
    account: str = ""

    @property
    def empty(self) -> bool:
        """True if it names nothing, that is, everything that is not final."""
        return self == QueueFilter()


class QueueRow(NamedTuple):
    """One recipient as people see it. ``sender`` is ``<>`` for the null sender; ``next_attempt`` None if none is planned."""

    message_id: int
    number: int
    recipient: str
    sender: str
    state: RecipientState
    attempts: int
    next_attempt: float | None
    last_reply: str
    grant: str | None
    size: int
    account: str
    received_at: float
    grant_ref: str
    destination: str
    last_remote: str
    possible_duplicate: bool
    finished_at: float | None
    priority: int

    @property
    def id(self) -> str:
        """``MESSAGEID.n``."""
        return f"{format_id(self.message_id)}.{self.number}"

    def as_json(self) -> dict[str, str | int | None]:
        """The row of `queue list --json` (DESIGN section 9)."""
        return {
            "id": self.id,
            "message_id": format_id(self.message_id),
            "recipient": self.recipient,
            "sender": self.sender,
            "state": str(self.state),
            "attempts": self.attempts,
            "next_attempt": None if self.next_attempt is None else _rfc3339(self.next_attempt),
            "last_reply": self.last_reply,
            "grant": self.grant,
            "size": self.size,
            "priority": NAMES[self.priority],
        }


class ShownMessage(NamedTuple):
    """One message with all its recipients."""

    message: StoredMessage
    recipients: tuple[QueueRow, ...]


def parse_queue_id(text: str) -> tuple[int, int | None]:
    """``MESSAGEID`` or ``MESSAGEID.n`` as numbers. SpoolError if it is neither."""
    name, dot, number = text.strip().partition(".")
    try:
        message_id = parse_id(name)
    except ValueError as error:
        raise SpoolError(str(error)) from None
    if not dot:
        return message_id, None
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise SpoolError("a recipient is named like 01K3F9Q2ZB7NM.0")
    return message_id, int(number)


OPEN_STATES: Final = (RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.ACTIVE, RecipientState.HELD)
WINDOW: Final = 5000  # messages, or held recipients, that one page looks at
_LAST: Final = 999_999_999  # beyond every recipient's number


class Page(NamedTuple):
    """Some rows in the order of their ids. ``next`` is the ``after`` of the page behind it, None if there is nothing."""

    rows: list[QueueRow]
    next: str | None


def list_page(
    connection: sqlite3.Connection,
    filters: QueueFilter,
    *,
    limit: int,
    after: str = "",
    states: Sequence[RecipientState] | None = None,
) -> Page:
    """A query: one page in the order of message ids, from behind the row whose ``id`` is ``after``. SpoolError on a bad id.

    It looks at so many messages at most as a few hundredths of a second permit, whatever the filters are: no index serves each
    of them, because each would cost every message on its way. So a page may hold less than ``limit`` rows, even none, and
    still have a ``next``. ``states`` replaces those that the filters mean.
    """
    wanted = _states(filters) if states is None else states
    end = None if filters.ids else _window_end(connection, wanted, after)
    rows = select_rows(connection, filters, wanted, limit=limit, after=after, until=end)
    if len(rows) == limit:
        return Page(rows, rows[-1].id)
    return Page(rows, None if end is None else f"{format_id(end)}.{_LAST}")


def _states(filters: QueueFilter) -> Sequence[RecipientState]:
    if filters.state is not None:
        return [filters.state]
    return list(RecipientState) if filters.ids else OPEN_STATES


def _window_end(connection: sqlite3.Connection, states: Sequence[RecipientState], after: str) -> int | None:
    """The last message of this window; None if it reaches the end."""
    message, number = parse_queue_id(after) if after else (0, 0)
    if list(states) == [RecipientState.HELD]:
        sql = f"SELECT r.message FROM recipients r WHERE {_AT_HAND} AND r.state = 'held' AND r.message >= ? ORDER BY 1"  # noqa: S608
    elif list(states) == [RecipientState.ACTIVE]:
        return None  # never more than one process has in hand
    elif all(state in OPEN_STATES for state in states):
        sql = "SELECT id FROM messages WHERE finished_at IS NULL AND id >= ? ORDER BY id"
    else:
        sql = "SELECT id FROM messages WHERE id >= ? ORDER BY id"
    row = connection.execute(f"{sql} LIMIT 1 OFFSET ?", (message + (number == _LAST), WINDOW - 1)).fetchone()
    return None if row is None else int(row[0])


def select_rows(
    connection: sqlite3.Connection,
    filters: QueueFilter,
    states: Sequence[RecipientState],
    *,
    limit: int,
    after: str = "",
    until: int | None = None,
    due_after: float | None = None,
) -> list[QueueRow]:
    """The rows up to message ``until`` that match ``filters`` and are in one of ``states``, whatever ``filters.state`` says."""
    clauses, params = _conditions(filters)
    select, order, message = _SELECT, _ORDER, "m.id"
    if list(states) == [RecipientState.HELD] or list(states) == [RecipientState.ACTIVE]:
        clauses += [_AT_HAND, "r.state = 'held'" if states[0] is RecipientState.HELD else "r.state IN ('queued', 'deferred')"]
        if not filters.ids:
            select, order, message = _SELECT_AT_HAND, _ORDER_AT_HAND, "r.message"
    else:
        clauses.append(f"{_STATE} IN (SELECT value FROM json_each(?))")  # noqa: S608 - a constant
        params.append(json.dumps(states))
        if all(state in OPEN_STATES for state in states):
            clauses.append("m.finished_at IS NULL")  # the index: history costs a listing of the queue nothing
    if after:
        message_id, number = parse_queue_id(after)
        clauses += [f"{message} >= ?", f"({message}, r.number) > (?, ?)"]
        params += [message_id, message_id, number or 0]
    if until is not None:
        clauses.append(f"{message} <= ?")
        params.append(until)
    if due_after is not None:
        clauses.append("r.due > ?")
        params.append(due_after)
    sql = f"{select} WHERE {' AND '.join(clauses)} {order}"  # every clause is a constant of this file
    return [_row(row) for row in connection.execute(sql, (*params, limit))]


def _conditions(filters: QueueFilter) -> tuple[list[str], list[Any]]:
    clauses: list[str] = []
    params: list[Any] = []
    if filters.ids:
        condition, values = _named(filters.ids)
        clauses.append(condition)
        params += values
    if filters.sender == "<>":
        clauses.append("m.sender IS NULL")
    for clause, value in (
        ("m.sender = ? COLLATE NOCASE", "" if filters.sender == "<>" else filters.sender),
        ("r.address = ? COLLATE NOCASE", filters.recipient),
        ("r.domain = ?", filters.domain.lower()),
        ("m.account = ?", filters.account),
    ):
        if value:
            clauses.append(clause)
            params.append(value)
    return clauses, params


def _named(ids: Sequence[str]) -> tuple[str, list[Any]]:
    parsed = [parse_queue_id(text) for text in ids]
    every = json.dumps([message for message, _ in parsed])
    whole = json.dumps([message for message, number in parsed if number is None])
    single = json.dumps([f"{message}.{number}" for message, number in parsed if number is not None])
    condition = (
        "m.id IN (SELECT value FROM json_each(?)) AND (m.id IN (SELECT value FROM json_each(?)) "
        "OR m.id || '.' || r.number IN (SELECT value FROM json_each(?)))"
    )
    return condition, [every, whole, single]


def _row(row: Sequence[Any]) -> QueueRow:
    message_id, number, recipient, sender, state, *rest = row
    attempts, due, last_reply, reason, size, account, received_at, ref, destination, remote, duplicate, finished_at = rest[:-1]
    return QueueRow(
        message_id=message_id,
        number=number,
        recipient=recipient,
        sender="<>" if sender is None else sender,
        state=RecipientState(state),
        attempts=attempts,
        next_attempt=due,
        last_reply=last_reply,
        grant=reason,
        size=size,
        account=account,
        received_at=received_at,
        grant_ref=ref or "",
        destination=destination,
        last_remote=remote,
        possible_duplicate=bool(duplicate),
        finished_at=finished_at,
        priority=rest[-1],
    )


def show(connection: sqlite3.Connection, message_id: int) -> ShownMessage | None:
    """A query: a message and its recipients, final ones too; None if there is none of that id (any more)."""
    message = load_message(connection, message_id)
    if message is None:
        return None
    rows = connection.execute(f"{_SELECT} WHERE m.id = ? ORDER BY r.number", (message_id,))
    return ShownMessage(message, tuple(_row(row) for row in rows))


def header(connection: sqlite3.Connection, message_id: int, bodies: Path) -> bytes:
    """A query: the header block without the empty line, at most 64 KiB; empty if the body is gone."""
    row = connection.execute("SELECT substr(data, 1, ?) FROM bodies WHERE message = ?", (MAX_HEADER, message_id)).fetchone()
    # An empty body's beginning is NULL to SQLite.
    block: bytes = (row[0] or b"") if row is not None else _head_of(body_path(bodies, message_id))
    if block.startswith(b"\r\n"):
        return b""
    end = block.find(b"\r\n\r\n")
    return block if end < 0 else block[: end + 2]


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_HEADER)
    except OSError:
        return b""


def tally(connection: sqlite3.Connection) -> dict[RecipientState, int]:
    """A query: how many recipients are in each state that is not final. Exact, and as quick with a million (spool.sql)."""
    counts = dict.fromkeys(OPEN_STATES, 0)
    kept = connection.execute("SELECT state, recipients FROM queue_counts").fetchall()
    counts.update((RecipientState(state), count) for state, count in kept)
    sql = f"SELECT count(*) FROM recipients WHERE {IN_HAND}"  # noqa: S608 - a constant
    counts[RecipientState.ACTIVE] = connection.execute(sql).fetchone()[0]
    return counts


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
