"""What we have seen of others' domains, a day at a time, until it is reported to them (RFC 9990); and what was reported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from postlatch.store.merging import parts
from postlatch.store.writer import Operation

ROWS_A_DAY: Final = 200_000  # beyond, only what is there already is counted on
_REMEMBERED: Final = 30  # days for which is known what was sent


class Seen(NamedTuple):
    """Messages of a day that are alike. ``digest`` is 16 octets of ``alike``, which is JSON."""

    day: int
    domain: str
    digest: bytes
    alike: str
    messages: int


def add(entries: Iterable[Seen]) -> Operation[int]:
    """Count messages; how many entries were left out because their day is full. Running it twice would count twice."""
    kept = tuple(entries)

    def run(connection: sqlite3.Connection) -> int:
        by_day: dict[int, list[Seen]] = {}
        for entry in kept:
            by_day.setdefault(entry.day, []).append(entry)
        return sum(_add_day(connection, day, entries) for day, entries in by_day.items())

    return run


def _add_day(connection: sqlite3.Connection, day: int, entries: Sequence[Seen]) -> int:
    if _rows(connection, day) + len(entries) <= ROWS_A_DAY:
        for part in parts(entries):
            values = ", ".join(["(?, ?, ?, ?, ?)"] * len(part))
            sql = f"INSERT INTO dmarc_seen VALUES {values} ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"  # noqa: S608
            connection.execute(sql, list(chain.from_iterable(part)))
        return 0
    sql = "UPDATE dmarc_seen SET messages = messages + ? WHERE day = ? AND domain = ? AND digest = ?"
    return sum(not connection.execute(sql, (entry.messages, *entry[:3])).rowcount for entry in entries)


def _rows(connection: sqlite3.Connection, day: int) -> int:
    return int(connection.execute("SELECT count(*) FROM dmarc_seen WHERE day = ?", (day,)).fetchone()[0])


def waiting(connection: sqlite3.Connection, before: int, limit: int) -> list[tuple[int, str]]:
    """(day, domain) of what is to be reported of days before ``before``, the oldest first."""
    sql = "SELECT DISTINCT day, domain FROM dmarc_seen WHERE day < ? ORDER BY day, domain LIMIT ?"
    return [(day, domain) for day, domain in connection.execute(sql, (before, limit))]


def rows(connection: sqlite3.Connection, day: int, domain: str, limit: int) -> list[tuple[str, int]]:
    """(alike, messages), the most messages first."""
    sql = "SELECT alike, messages FROM dmarc_seen WHERE day = ? AND domain = ? ORDER BY messages DESC, digest LIMIT ?"
    return [(alike, messages) for alike, messages in connection.execute(sql, (day, domain, limit))]


def sent_to(connection: sqlite3.Connection, day: int, domain: str) -> frozenset[str]:
    """Whom the report of that day about that domain has gone to."""
    sql = "SELECT recipient FROM dmarc_sent WHERE day = ? AND domain = ?"
    return frozenset(recipient for (recipient,) in connection.execute(sql, (day, domain)))


def note_sent(day: int, domain: str, recipient: str, at: float) -> Operation[None]:
    """The report is in the queue for ``recipient``: run it in the same transaction."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO dmarc_sent VALUES (?, ?, ?, ?)", (day, domain, recipient, at))

    return run


def forget(day: int, domain: str) -> Operation[None]:
    """All is reported, or nobody wants it: drop what was seen, and what was sent long ago."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM dmarc_seen WHERE day = ? AND domain = ?", (day, domain))
        connection.execute("DELETE FROM dmarc_sent WHERE day < ?", (day - _REMEMBERED,))

    return run
