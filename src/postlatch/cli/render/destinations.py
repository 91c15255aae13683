"""Destinations: where mail goes, and how it fares there."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import NOTHING, count, text, when
from postlatch.cli.text import Line, Table


def destinations(data: dict[str, Any]) -> list[Line | Table]:
    """One row a destination."""
    entries = data.get("destinations") or []
    if not entries:
        return [Line("No mail waits, and no destination is paused.")]
    rows = [
        (
            text(entry.get("destination")),
            _state(entry),
            text(entry.get("waiting")),
            text(entry.get("active")),
            text(entry.get("concurrency") or None),
            _rate(entry.get("rate")),
            when(entry.get("next_attempt")),
            text(entry.get("last_reply")),
        )
        for entry in entries
    ]
    headings = ("DESTINATION", "STATE", "WAITING", "ACTIVE", "AT ONCE", "RATE", "NEXT TRY", "LAST REPLY")
    lines: list[Line | Table] = [Table(headings, rows)]
    if data.get("partial"):
        lines += [Line(), Line("The queue is too long to be counted here: more may wait than is shown.")]
    return lines


def resumed(data: dict[str, Any]) -> list[Line | Table]:
    """What goes on, and how much of it waits."""
    woken = data.get("woken")
    waits = f"; {count(woken, 'recipient')} will be tried over the next minutes" if isinstance(woken, int) and woken else ""
    return [Line(f"Resumed {text(data.get('destination'))}{waits}.")]


def _state(entry: dict[str, Any]) -> str:
    """A pause with who made it, when and why."""
    state = text(entry.get("state"))
    if not entry.get("paused_at"):
        return state
    why = f": {entry['why']}" if entry.get("why") else ""
    return f"{state} since {when(entry['paused_at'])} by {text(entry.get('paused_by'))}{why}"


def _rate(value: Any) -> str:
    if not isinstance(value, int | float) or not value:
        return NOTHING
    return f"{value:.3g}/second" if value >= 1 else f"{value * 60:.3g}/minute"
