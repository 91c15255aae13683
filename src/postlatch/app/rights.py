"""Relay rights made by command: between the database's JSON and the policy's Right, through the settings' own checks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

from postlatch.app.answer import CommandError
from postlatch.app.compose import configured_right
from postlatch.policy.snapshot import Right
from postlatch.settings.load import check_right
from postlatch.settings.problem import SettingsError
from postlatch.store.rights import StoredRight

FIELDS = (
    *("name", "networks", "listeners", "senders", "recipients", "owner", "expires", "limits", "wide", "masked"),
    *("fix", "rewrite_from"),
)


def checked(values: dict[str, Any]) -> Right:
    """A right from plain values (dates as text); CommandError names every field that is wrong and what would be right."""
    plain = {key: value for key, value in values.items() if key in FIELDS and value not in (None, (), [], "")}
    try:
        plain["expires"] = date.fromisoformat(str(plain["expires"]))
    except KeyError:
        raise CommandError("expires: a right needs its last day, like --expires 2027-06-30") from None
    except ValueError:
        raise CommandError("expires: not a day; write it like 2027-06-30") from None
    try:
        settings = check_right(plain)
    except SettingsError as error:
        raise CommandError(
            "; ".join(f"{problem.key}: {problem.message}" for problem in error.problems), error.exit_status
        ) from None
    return replace(configured_right(settings), source="command")


def encode(values: dict[str, Any]) -> str:
    """The JSON body to store."""
    return json.dumps({key: values[key] for key in FIELDS if values.get(key)}, sort_keys=True)


def decode(stored: StoredRight) -> Right:
    """A stored right; CommandError if its body does not pass today's checks."""
    return checked({**json.loads(stored.body), "name": stored.name})


def renewed(stored: StoredRight, expires: str) -> dict[str, Any]:
    """The stored values with another last day."""
    return {**json.loads(stored.body), "name": stored.name, "expires": expires}
