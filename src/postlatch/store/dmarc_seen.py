"""What we have seen of others' domains, a day at a time, until it is reported to them (RFC 9990)."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from postlatch.store.daily import DailyTable

TABLE: Final = DailyTable("dmarc_seen", "dmarc_sent", ("day", "domain", "digest"), "messages", 200_000)


class Seen(NamedTuple):
    """Messages of a day that are alike. ``digest`` is 16 octets of ``alike``, which is JSON."""

    day: int
    domain: str
    digest: bytes
    alike: str
    messages: int


def rows(connection: sqlite3.Connection, day: int, domain: str, limit: int) -> list[tuple[str, int]]:
    """(alike, messages), the most messages first."""
    sql = "SELECT alike, messages FROM dmarc_seen WHERE day = ? AND domain = ? ORDER BY messages DESC, digest LIMIT ?"
    return [(alike, messages) for alike, messages in connection.execute(sql, (day, domain, limit))]
