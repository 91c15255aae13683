"""Relay rights made by command, and when each right was last used.

The body is JSON that only the policy's builder reads: the store neither trusts nor understands it, and what it yields is
proved before it is installed like everything else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from postlatch.store.database import StoreError
from postlatch.store.writer import Operation


class StoredRight(NamedTuple):
    """One right. ``revoked_at`` is None while it is in force. Seconds since 1970, UTC."""

    name: str
    body: str
    created_at: float
    created_by: str
    revoked_at: float | None = None


def load(connection: sqlite3.Connection) -> list[StoredRight]:
    """The rights in force, by name."""
    rows = connection.execute(
        "SELECT name, body, created_at, created_by, revoked_at FROM rights WHERE revoked_at IS NULL ORDER BY name"
    )
    return [StoredRight(*row) for row in rows]


def add(name: str, body: str, *, now: float, by: str) -> Operation[None]:
    """Add a right. Raises StoreError if one of that name is in force; a revoked one's name may be used again."""

    def run(connection: sqlite3.Connection) -> None:
        changed = connection.execute(
            "INSERT INTO rights VALUES (?, ?, ?, ?, NULL) ON CONFLICT (name) DO UPDATE SET body = excluded.body, "
            "created_at = excluded.created_at, created_by = excluded.created_by, revoked_at = NULL "
            "WHERE revoked_at IS NOT NULL",
            (name, body, now, by),
        ).rowcount
        if not changed:
            raise StoreError(f"there is a right {name!r} already: revoke or renew it")

    return run


def replace(name: str, body: str) -> Operation[bool]:
    """Give a right in force another body (a new expiry); False if there is none of that name."""

    def run(connection: sqlite3.Connection) -> bool:
        sql = "UPDATE rights SET body = ? WHERE name = ? AND revoked_at IS NULL"
        return connection.execute(sql, (body, name)).rowcount > 0

    return run


def revoke(name: str, *, now: float) -> Operation[bool]:
    """End a right; False if there is none of that name in force."""

    def run(connection: sqlite3.Connection) -> bool:
        sql = "UPDATE rights SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL"
        return connection.execute(sql, (now, name)).rowcount > 0

    return run


def load_usage(connection: sqlite3.Connection) -> dict[str, float]:
    """When each right was last used, by name, also of rights in the configuration."""
    return dict(connection.execute("SELECT name, last_used FROM right_usage"))


def record_usage(used: Mapping[str, float]) -> Operation[None]:
    """Note when rights were last used."""

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO right_usage VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET last_used = max(last_used, excluded.last_used)",
            list(used.items()),
        )

    return run
