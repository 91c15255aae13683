"""How TLS fared with the mail hosts of others, a day at a time, until it is reported to them (RFC 8460)."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from postlatch.store.daily import DailyTable

_KEYS: Final = ("day", "domain", "policy", "result", "host", "address", "local", "reason")
TABLE: Final = DailyTable("tls_seen", "tls_sent", _KEYS, "sessions", 100_000)


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
