"""Accounts, network rights and bans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postlatch.cli.render.policy import reason
from postlatch.cli.render.words import limits, text, when
from postlatch.cli.text import Line, Table


def done(sentence: str) -> Callable[[dict[str, Any]], list[Line | Table]]:
    """A rendering that says what was done; ``{field}`` is taken from the result."""

    def render(data: dict[str, Any]) -> list[Line | Table]:
        return [Line(sentence.format_map(_Fields(data)))]

    return render


class _Fields(dict[str, Any]):
    """A field that the backend left out is no reason to fail after the deed."""

    def __missing__(self, key: str) -> str:
        return f"({key})"


def accounts(data: dict[str, Any]) -> list[Line | Table]:
    """Every account, its state, and as whom it may send."""
    entries = data.get("accounts") or []
    if not entries:
        return [Line("There are no accounts. Add one with: postlatch account add LOGIN")]
    rows = [
        (
            text(entry.get("login")),
            _state(entry),
            text(entry.get("send_as")),
            when(entry.get("created")),
            when(entry.get("last_login")),
        )
        for entry in entries
    ]
    table = Table(("LOGIN", "STATE", "MAY ALSO SEND AS", "CREATED", "LAST LOGIN"), rows)
    if any("last_login" in entry for entry in entries):
        return [table]
    return [Table(table.headings[:-1], [row[:-1] for row in table.rows])]


def _state(entry: dict[str, Any]) -> str:
    state, why = text(entry.get("state")), entry.get("why")
    return f"{state}: {why}" if why else state


def rights(data: dict[str, Any]) -> list[Line | Table]:
    """Every network right by name, also those that hold no more."""
    entries = data.get("rights") or []
    if not entries:
        return [Line("There are no network rights. Add one with: postlatch right add NAME ...")]
    rows = [
        (
            text(entry.get("name")),
            text(entry.get("state")),
            text(entry.get("networks")),
            reason({**entry, "name": None, "state": None}).removeprefix("NETWORK ").removeprefix("- "),
            limits(entry.get("limits")),
            when(entry.get("expires")),
            text(entry.get("owner")),
            text(entry.get("source")),
            when(entry.get("last_used")) + (" (unused)" if entry.get("unused") else ""),
        )
        for entry in entries
    ]
    return [Table(("NAME", "STATE", "NETWORKS", "SCOPE", "HOW MUCH", "UNTIL", "VOUCHED BY", "FROM", "LAST USED"), rows)]


def bans(data: dict[str, Any]) -> list[Line | Table]:
    """Every ban in force."""
    entries = data.get("bans") or []
    if not entries:
        return [Line("Nobody is banned.")]
    rows = [
        (text(entry.get("network")), _until(entry), text(entry.get("why")), when(entry.get("since")), _strikes(entry))
        for entry in entries
    ]
    return [Table(("NETWORK", "UNTIL", "WHY", "SINCE", "TIMES"), rows)]


def ban_added(data: dict[str, Any]) -> list[Line | Table]:
    """What was banned, and how it ends."""
    network = text(data.get("network"))
    if data.get("until") is None:
        return [Line(f"Banned {network} until it is removed: postlatch ban remove {network}")]
    return [Line(f"Banned {network} until {when(data['until'])}.")]


def _strikes(entry: dict[str, Any]) -> str:
    return str(entry.get("strikes") or 1)


def _until(entry: dict[str, Any]) -> str:
    return "it is removed" if entry.get("until") is None else when(entry["until"])
