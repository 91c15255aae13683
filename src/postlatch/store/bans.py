"""Bans, as they are kept. Who is banned for how long is the monitor's decision; looking them up is the server's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

from postlatch.store.writer import Operation

OPERATOR: Final = "operator"
IMPORTED: Final = "imported"


class Ban(NamedTuple):
    """One banned network in CIDR form. ``until`` is None if only an operator can lift it. Seconds since 1970, UTC.

    ``kind`` says who decided. ``strikes`` and ``forget_at`` are of automatic bans: how often, and until when the row is kept
    after the ban has lapsed, so that the next one is longer.
    """

    network: str
    until: float | None
    reason: str
    created_at: float
    kind: str = OPERATOR
    strikes: int = 0
    forget_at: float | None = None


_COLUMNS: Final = ", ".join(Ban._fields)
_ADD: Final = f"INSERT OR REPLACE INTO bans ({_COLUMNS}) VALUES ({', '.join('?' * len(Ban._fields))})"  # noqa: S608 (names of ours)


def load(connection: sqlite3.Connection) -> list[Ban]:
    """All bans, also lapsed ones that have not been pruned yet."""
    return [Ban(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM bans ORDER BY network")]  # noqa: S608 (as above)


def add(ban: Ban) -> Operation[None]:
    """Ban a network; a ban that it has already is replaced."""
    return add_all([ban])


def add_all(bans: Iterable[Ban]) -> Operation[None]:
    """Ban many networks; bans that they have already are replaced."""
    rows = list(bans)

    def run(connection: sqlite3.Connection) -> None:
        connection.executemany(_ADD, rows)

    return run


def remove(network: str) -> Operation[bool]:
    """Lift a ban, and forget that there was one; False if there was none."""

    def run(connection: sqlite3.Connection) -> bool:
        return connection.execute("DELETE FROM bans WHERE network = ?", (network,)).rowcount > 0

    return run


def prune(now: float) -> Operation[list[str]]:
    """Forget bans that have lapsed and whose repetition would count for nothing; returns their networks."""

    def run(connection: sqlite3.Connection) -> list[str]:
        gone = connection.execute(
            "DELETE FROM bans WHERE until <= ? AND coalesce(forget_at, 0) <= ? RETURNING network", (now, now)
        ).fetchall()
        return [row[0] for row in gone]

    return run
