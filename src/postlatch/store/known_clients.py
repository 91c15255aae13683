"""From where accounts logged in lately, as it is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from postlatch.store.writer import Operation


class KnownClient(NamedTuple):
    """One account at one client (an IPv4 address or an IPv6 /64). ``seen_at`` is seconds since 1970, UTC."""

    login: str
    prefix: str
    generation: int
    seen_at: float


def load(connection: sqlite3.Connection) -> list[KnownClient]:
    """All of them, the oldest first."""
    rows = connection.execute("SELECT login, prefix, generation, seen_at FROM known_clients ORDER BY seen_at")
    return [KnownClient(*row) for row in rows]


def save(clients: Iterable[KnownClient]) -> Operation[None]:
    """Keep these; what was known of the same account and client before is replaced."""
    rows = list(clients)

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO known_clients (login, prefix, generation, seen_at) VALUES (?, ?, ?, ?)", rows
        )

    return run


def forget(login: str, prefix: str | None = None) -> Operation[None]:
    """An account is nowhere known any more, or not at that client."""

    def run(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM known_clients WHERE login = ? AND prefix = coalesce(?, prefix)", (login, prefix))

    return run


def prune(before: float) -> Operation[int]:
    """Forget those that were not seen since; returns how many."""

    def run(connection: sqlite3.Connection) -> int:
        return connection.execute("DELETE FROM known_clients WHERE seen_at < ?", (before,)).rowcount

    return run
