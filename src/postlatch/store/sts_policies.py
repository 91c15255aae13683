"""The MTA-STS policies of others, as they are kept over restarts (RFC 8461 section 3.3)."""

from __future__ import annotations

import json
import sqlite3
from typing import Final, NamedTuple

from postlatch.store.writer import Operation

MAX_ROWS: Final = 100_000  # beyond, those that are used least make room
_COLUMNS: Final = "domain, id, mode, mx, max_age, fetched_at, expires_at, used_at"
_DAY: Final = 86_400.0


class StoredPolicy(NamedTuple):
    """One policy. ``id`` is that of the TXT record under which it was fetched. Times: seconds since 1970, UTC."""

    domain: str
    id: str
    mode: str
    mx: tuple[str, ...]
    max_age: int
    fetched_at: float
    expires_at: float
    used_at: float


def find(connection: sqlite3.Connection, domain: str, now: float) -> StoredPolicy | None:
    """The policy of a domain that has not expired."""
    sql = f"SELECT {_COLUMNS} FROM sts_policies WHERE domain = ? AND expires_at > ?"  # noqa: S608 - a constant
    row = connection.execute(sql, (domain, now)).fetchone()
    return _policy(row) if row is not None else None


def to_refresh(connection: sqlite3.Connection, now: float, used_since: float, limit: int) -> list[StoredPolicy]:
    """Those that are in use and have either a day left or are a day old: the next to expire first."""
    sql = (
        f"SELECT {_COLUMNS} FROM sts_policies WHERE expires_at > ? AND used_at >= ? "  # noqa: S608 - a constant
        "AND (fetched_at <= ? OR expires_at <= ?) ORDER BY expires_at LIMIT ?"
    )
    return [_policy(row) for row in connection.execute(sql, (now, used_since, now - _DAY, now + _DAY, limit))]


def put(policy: StoredPolicy) -> Operation[None]:
    """Keep a policy in the place of an older one."""
    row = (*policy[:3], json.dumps(policy.mx), *policy[4:])

    def run(connection: sqlite3.Connection) -> None:
        connection.execute(f"INSERT OR REPLACE INTO sts_policies ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608

    return run


def note_used(domain: str, at: float) -> Operation[None]:
    """Mail was sent by it."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE sts_policies SET used_at = ? WHERE domain = ? AND used_at < ?", (at, domain, at))

    return run


def drop_old(now: float) -> Operation[int]:
    """Remove what has expired, and what is too many; how many."""

    def run(connection: sqlite3.Connection) -> int:
        gone = connection.execute("DELETE FROM sts_policies WHERE expires_at <= ?", (now,)).rowcount
        excess = int(connection.execute("SELECT count(*) FROM sts_policies").fetchone()[0]) - MAX_ROWS
        if excess > 0:
            sql = "DELETE FROM sts_policies WHERE domain IN (SELECT domain FROM sts_policies ORDER BY used_at, domain LIMIT ?)"
            gone += connection.execute(sql, (excess,)).rowcount
        return gone

    return run


def _policy(row: tuple[str, str, str, str, int, float, float, float]) -> StoredPolicy:
    domain, identity, mode, mx, max_age, *times = row
    fetched, expires, used = times
    return StoredPolicy(domain, identity, mode, tuple(map(str, json.loads(mx))), max_age, fetched, expires, used)
