"""Greylisting as it is kept. What it means is the server's business, which has all of it in memory as well."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from postlatch.store.merging import insert_rows, parts
from postlatch.store.writer import Operation

_PRUNED = 1_000  # in one step


class Triplet(NamedTuple):
    """One group, sender and recipient. ``passed``: it came back. Times are seconds since 1970, UTC."""

    group: str
    sender: str
    recipient: str
    first_at: float
    last_at: float
    passed: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by."""
        return self[:3]


class Group(NamedTuple):
    """How often somebody of a group came back. ``counted_at``: when the last success was counted."""

    group: str
    successes: int
    counted_at: float
    last_at: float


class Kept(NamedTuple):
    """Everything that is kept, the least recently used first."""

    triplets: list[Triplet]
    groups: list[Group]


class Changes(NamedTuple):
    """What is new or different since the last time, and the keys of what was forgotten."""

    triplets: tuple[Triplet, ...] = ()
    groups: tuple[Group, ...] = ()
    gone: tuple[tuple[str, str, str], ...] = ()
    gone_groups: tuple[str, ...] = ()


def load(connection: sqlite3.Connection, most: int) -> Kept:
    """The ``most`` that were used last."""
    triplets = connection.execute(
        "SELECT grp, sender, recipient, first_at, last_at, passed FROM greylist ORDER BY last_at DESC LIMIT ?", (most,)
    ).fetchall()
    groups = connection.execute(
        "SELECT grp, successes, counted_at, last_at FROM greylist_groups ORDER BY last_at DESC LIMIT ?", (most,)
    ).fetchall()
    return Kept(
        [Triplet._make([*row[:5], bool(row[5])]) for row in reversed(triplets)], [Group._make(row) for row in reversed(groups)]
    )


def save(changes: Changes) -> Operation[None]:
    """Bring the tables up to date."""

    def run(connection: sqlite3.Connection) -> None:
        for part in parts(changes.gone):
            connection.executemany("DELETE FROM greylist WHERE grp = ? AND sender = ? AND recipient = ?", part)
        connection.executemany("DELETE FROM greylist_groups WHERE grp = ?", [(group,) for group in changes.gone_groups])
        insert_rows(connection, "INSERT OR REPLACE INTO greylist VALUES", "(?, ?, ?, ?, ?, ?)", _rows(changes.triplets))
        insert_rows(connection, "INSERT OR REPLACE INTO greylist_groups VALUES", "(?, ?, ?, ?)", changes.groups)

    return run


def _rows(triplets: Sequence[Triplet]) -> list[tuple[object, ...]]:
    return [(*one[:5], int(one.passed)) for one in triplets]


def prune(waiting_since: float, used_since: float) -> Operation[int]:
    """Forget some of those that wait since before the one, or were not used since the other; how many. Repeat until none."""

    def run(connection: sqlite3.Connection) -> int:
        found = connection.execute(
            "SELECT grp, sender, recipient FROM greylist WHERE last_at < ?1 OR (passed = 0 AND first_at < ?2) LIMIT ?3",
            (used_since, waiting_since, _PRUNED),
        ).fetchall()
        connection.executemany("DELETE FROM greylist WHERE grp = ? AND sender = ? AND recipient = ?", found)
        connection.execute("DELETE FROM greylist_groups WHERE last_at < ?", (used_since,))
        return len(found)

    return run
