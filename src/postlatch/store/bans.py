"""Bans, as they are kept. Who is banned for how long is the monitor's decision; looking them up is the server's."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from postlatch.store.writer import Operation


class Ban(NamedTuple):
    """One banned network in CIDR form. ``until`` is None if only an operator can lift it. Seconds since 1970, UTC."""

    network: str
    until: float | None
    reason: str
    created_at: float


def load(connection: sqlite3.Connection) -> list[Ban]:
    """All bans, also lapsed ones that have not been pruned yet."""
    return [Ban(*row) for row in connection.execute("SELECT network, until, reason, created_at FROM bans ORDER BY network")]


def add(ban: Ban) -> Operation[None]:
    """Ban a network; a ban that it has already is replaced."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO bans (network, until, reason, created_at) VALUES (?, ?, ?, ?)", ban)

    return run


def remove(network: str) -> Operation[bool]:
    """Lift a ban; False if there was none."""

    def run(connection: sqlite3.Connection) -> bool:
        return connection.execute("DELETE FROM bans WHERE network = ?", (network,)).rowcount > 0

    return run


def prune(now: float) -> Operation[list[str]]:
    """Forget lapsed bans; returns their networks."""

    def run(connection: sqlite3.Connection) -> list[str]:
        gone = connection.execute("DELETE FROM bans WHERE until <= ? RETURNING network", (now,)).fetchall()
        return [row[0] for row in gone]

    return run
