"""Bans as files, and the firewall."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, Line, Table

_SETS = {
    "clients4": "banned IPv4 addresses",
    "clients6": "banned IPv6 /64s",
    "banned4": "other banned IPv4 networks",
    "banned6": "other banned IPv6 networks",
    "allowed4": "let through, IPv4",
    "allowed6": "let through, IPv6",
}


def lines(data: dict[str, Any]) -> list[Line | Table]:
    """What is to be piped or pasted, line by line."""
    return [Line(str(line)) for line in data.get("lines") or []]


def imported(data: dict[str, Any]) -> list[Line | Table]:
    """How many, and which lines were not taken."""
    told: list[Line | Table] = [Line(f"Imported {data.get('imported', 0)} bans.")]
    refused, shown = int(data.get("refused") or 0), data.get("not_taken") or []
    if refused:
        told.append(Line(f"Not taken: {refused} lines.", BAD_STYLE))
        told += [Line(f"  line {entry.get('line')}: {entry.get('why')}") for entry in shown]
    if refused > len(shown):
        told.append(Line(f"  and {refused - len(shown)} more"))
    return told


def firewall(data: dict[str, Any]) -> list[Line | Table]:
    """What the kernel has."""
    if not data.get("active"):
        return [Line(f"Not active: {text(data.get('why'))}", BAD_STYLE), Line("Start it with: postlatch firewall run")]
    sets, dropped = data.get("sets") or {}, data.get("dropped") or {}
    rows = [(words, str(sets.get(name, 0))) for name, words in _SETS.items()]
    rows.append(("packets dropped", str(dropped.get("packets", 0))))
    rows.append(("octets dropped", str(dropped.get("octets", 0))))
    return [Line("Active.", GOOD_STYLE), Table(("WHAT", "HOW MANY"), rows)]
