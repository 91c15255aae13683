"""Application passwords for people."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import text, when
from postlatch.cli.text import Line, Table


def added(data: dict[str, Any]) -> list[Line | Table]:
    """The password, once, and how it is used."""
    login, name = text(data.get("login")), text(data.get("name"))
    return [
        Line(f"Application password {name} of {login}:"),
        Line(),
        Line(f"  {text(data.get('password'))}"),
        Line(),
        Line(f"It is shown only now. Log in as {login}, or as {login}/{name} with SCRAM."),
    ]


def listing(data: dict[str, Any]) -> list[Line | Table]:
    """All of one account, also those that have expired."""
    entries = data.get("app_passwords") or []
    if not entries:
        return [Line("It has no application passwords. Make one with: postlatch account app-password add LOGIN NAME")]
    rows = [
        (
            text(entry.get("name")),
            text(entry.get("state")),
            text(entry.get("senders")) if entry.get("senders") else "all of the account's",
            text(entry.get("networks")) if entry.get("networks") else "anywhere",
            when(entry.get("expires")) if entry.get("expires") else "it is revoked",
            when(entry.get("created")),
            when(entry.get("last_used")),
        )
        for entry in entries
    ]
    return [Table(("NAME", "STATE", "SENDS AS", "FROM WHERE", "UNTIL", "CREATED", "LAST USED"), rows)]
