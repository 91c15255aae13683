"""How TLS fared with the mail hosts of others, a day at a time, until it is reported to them (RFC 8460)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from postlatch.store.merging import parts
from postlatch.store.writer import Operation

ROWS_A_DAY: Final = 100_000  # beyond, only what is there already is counted on
_REMEMBERED: Final = 30  # days for which is known what was sent


class Seen(NamedTuple):
    """Connections of a day on which TLS fared alike. ``result`` is empty for a success, and so is then all behind it.

    ``policy`` is a text of the caller's that names the policy that was applied, empty for none.
    """

    day: int
    domain: str
    policy: str
    result: str
    host: str
    address: str
    local: str
    reason: str
    sessions: int


class Failure(NamedTuple):
    """Connections of one domain and day that failed alike."""

    policy: str
    result: str
    host: str
    address: str
    local: str
    reason: str
    sessions: int


def add(entries: Iterable[Seen]) -> Operation[int]:
    """Count connections; how many entries were left out because their day is full. Running it twice would count twice."""
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
            values = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(part))
            sql = f"INSERT INTO tls_seen VALUES {values} ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions"  # noqa: S608
            connection.execute(sql, list(chain.from_iterable(part)))
        return 0
    sql = (
        "UPDATE tls_seen SET sessions = sessions + ? WHERE day = ? AND domain = ? AND policy = ? AND result = ? AND host = ? "
        "AND address = ? AND local = ? AND reason = ?"
    )
    return sum(not connection.execute(sql, (entry.sessions, *entry[:8])).rowcount for entry in entries)


def _rows(connection: sqlite3.Connection, day: int) -> int:
    return int(connection.execute("SELECT count(*) FROM tls_seen WHERE day = ?", (day,)).fetchone()[0])


def waiting(connection: sqlite3.Connection, before: int) -> list[tuple[int, str]]:
    """(day, domain) of what is to be reported of days before ``before``, the oldest first."""
    sql = "SELECT DISTINCT day, domain FROM tls_seen WHERE day < ? ORDER BY day, domain"
    return [(day, domain) for day, domain in connection.execute(sql, (before,))]


def sums(connection: sqlite3.Connection, day: int, domain: str) -> list[tuple[str, int, int]]:
    """By policy, the most used first: connections that succeeded, and that failed."""
    sql = (
        "SELECT policy, sum(CASE result WHEN '' THEN sessions ELSE 0 END), sum(CASE result WHEN '' THEN 0 ELSE sessions END) "
        "FROM tls_seen WHERE day = ? AND domain = ? GROUP BY policy ORDER BY sum(sessions) DESC, policy"
    )
    return [(policy, int(good), int(bad)) for policy, good, bad in connection.execute(sql, (day, domain))]


def failures(connection: sqlite3.Connection, day: int, domain: str, limit: int) -> list[Failure]:
    """What failed, the most connections first."""
    sql = (
        "SELECT policy, result, host, address, local, reason, sessions FROM tls_seen WHERE day = ? AND domain = ? "
        "AND result <> '' ORDER BY sessions DESC, policy, result, host, address, local, reason LIMIT ?"
    )
    return [Failure(*row) for row in connection.execute(sql, (day, domain, limit))]


def sent_to(connection: sqlite3.Connection, day: int, domain: str) -> frozenset[str]:
    """Whom the report of that day about that domain has gone to."""
    sql = "SELECT recipient FROM tls_sent WHERE day = ? AND domain = ?"
    return frozenset(recipient for (recipient,) in connection.execute(sql, (day, domain)))


def note_sent(day: int, domain: str, recipient: str, at: float) -> Operation[None]:
    """The report is in the queue for ``recipient``: run it in the same transaction."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO tls_sent VALUES (?, ?, ?, ?)", (day, domain, recipient, at))

    return run


def forget(day: int, domain: str) -> Operation[None]:
    """All is reported, or nobody wants it: drop what was seen, and what was sent long ago."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM tls_seen WHERE day = ? AND domain = ?", (day, domain))
        connection.execute("DELETE FROM tls_sent WHERE day < ?", (day - _REMEMBERED,))

    return run
