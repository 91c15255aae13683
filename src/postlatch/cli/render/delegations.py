"""Delegations for people."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import text, when
from postlatch.cli.text import Line, Table


def listing(data: dict[str, Any]) -> list[Line | Table]:
    """Who may send as whom, and until when."""
    entries = data.get("delegations") or []
    if not entries:
        return [Line("Nothing is delegated. Do so with: postlatch account delegate add LOGIN ADDRESS ...")]
    rows = [
        (
            text(entry.get("login")),
            text(entry.get("address")),
            text(entry.get("state")),
            when(entry.get("expires")),
            text(entry.get("owner")),
            when(entry.get("last_used")),
        )
        for entry in entries
    ]
    return [Table(("ACCOUNT", "SENDS AS", "STATE", "UNTIL", "VOUCHED BY", "LAST USED"), rows)]
