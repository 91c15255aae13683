"""Paused destinations, as they are kept. What a pause means is delivery's business."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from postlatch.store.writer import Operation


class Paused(NamedTuple):
    """One paused destination: a recipient domain or a next hop. ``paused_at``: seconds since 1970, UTC."""

    name: str
    reason: str
    paused_by: str
    paused_at: float


def load(connection: sqlite3.Connection) -> list[Paused]:
    """All that are paused."""
    sql = "SELECT name, reason, paused_by, paused_at FROM paused_destinations ORDER BY name"
    return [Paused(*row) for row in connection.execute(sql)]


def add(paused: Paused) -> Operation[bool]:
    """Pause a destination; False if it was paused already, and then its reason and time stay."""

    def run(connection: sqlite3.Connection) -> bool:
        sql = "INSERT INTO paused_destinations (name, reason, paused_by, paused_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return connection.execute(sql, paused).rowcount > 0

    return run


def remove(name: str) -> Operation[bool]:
    """Let a destination go on; False if it was not paused."""

    def run(connection: sqlite3.Connection) -> bool:
        return connection.execute("DELETE FROM paused_destinations WHERE name = ?", (name,)).rowcount > 0

    return run
