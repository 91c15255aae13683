"""Addresses lent to accounts until a date."""

from __future__ import annotations

import sqlite3

from postlatch.policy.sending import Delegation
from postlatch.store.database import StoreError
from postlatch.store.writer import Operation


def load(connection: sqlite3.Connection) -> list[Delegation]:
    """All of them, lapsed ones too."""
    rows = connection.execute("SELECT login, address, owner, expires_at FROM delegations ORDER BY login, address")
    return [Delegation(*row) for row in rows]


def add(delegation: Delegation, *, now: float, by: str) -> Operation[None]:
    """Lend an address; StoreError if that is so already, unless it has lapsed."""
    one = delegation

    def run(connection: sqlite3.Connection) -> None:
        changed = connection.execute(
            "INSERT INTO delegations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (login, address) DO UPDATE SET "
            "owner = excluded.owner, expires_at = excluded.expires_at, created_at = excluded.created_at, "
            "created_by = excluded.created_by WHERE expires_at <= excluded.created_at",
            (one.login, one.address, one.owner, one.expires, now, by),
        ).rowcount
        if not changed:
            raise StoreError(f"{one.login} may send as {one.address} already: revoke that first")

    return run


def revoke(login: str, address: str) -> Operation[bool]:
    """End a delegation; False if there is none."""

    def run(connection: sqlite3.Connection) -> bool:
        sql = "DELETE FROM delegations WHERE login = ? AND address = ?"
        return connection.execute(sql, (login, address)).rowcount > 0

    return run
