"""How full the limits are."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import size, text, when
from postlatch.cli.text import Line, Table


def usage(data: dict[str, Any]) -> list[Line | Table]:
    """Every limit that counts something."""
    entries = data.get("limits") or []
    if not entries:
        return [Line("Nothing is counted of that.")]
    rows = [
        (
            text(entry.get("scope")),
            text(entry.get("key")),
            text(entry.get("kind")),
            text(entry.get("unit")),
            _amount(entry, "used"),
            _amount(entry, "limit"),
            _amount(entry, "warn"),
            _state(entry),
        )
        for entry in entries
    ]
    found: list[Line | Table] = [Table(("SCOPE", "KEY", "WHAT", "IN A", "USED", "LIMIT", "WARNS AT", "STATE"), rows)]
    count = data.get("count")
    if isinstance(count, int) and count > len(entries):
        found.append(Line(f"{len(entries)} of {count}; more with --limit."))
    return found


def _amount(entry: dict[str, Any], field: str) -> str:
    value = entry.get(field)
    return size(value) if value is not None and entry.get("kind") == "bytes" else text(value)


def _state(entry: dict[str, Any]) -> str:
    state = text(entry.get("state"))
    return f"{state}, until {when(entry['retry_at'])}" if entry.get("retry_at") else state
