"""Signing keys: what to publish, as lines of a zone file, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from postlatch.cli.render.words import text, when
from postlatch.cli.text import Line, Table

_STRING = 255  # octets of one character-string (RFC 1035 section 3.3)
_TTL = 3600


def made(data: dict[str, Any]) -> list[Line | Table]:
    """The records of new keys."""
    entries = data.get("keys") or []
    lines: list[Line | Table] = [Line("Publish this in the zone:"), Line()]
    for entry in entries:
        lines += [*map(Line, zone_lines(text(entry.get("name")), str(entry.get("record") or ""))), Line()]
    lines.append(
        Line("The relay looks for it, each minute in the first hour, and signs with a key once all name servers have it.")
    )
    lines.append(Line("To see how far that is: postlatch dkim list"))
    return lines


def listing(data: dict[str, Any]) -> list[Line | Table]:
    """Every key with its state, and the records that are still to be published."""
    entries = data.get("keys") or []
    if not entries:
        return [Line("There are no signing keys. Make them with: postlatch dkim keygen DOMAIN")]
    rows = [
        (
            text(entry.get("domain")),
            text(entry.get("selector")),
            text(entry.get("algorithm")),
            text(entry.get("state")),
            when(_since(entry)),
            text(entry.get("next")),
        )
        for entry in entries
    ]
    lines: list[Line | Table] = [Table(("DOMAIN", "SELECTOR", "ALGORITHM", "STATE", "SINCE", "NEXT"), rows)]
    waiting = [entry for entry in entries if entry.get("state") == "new"]
    if waiting:
        lines += [Line(), Line("To be published:")]
    for entry in waiting:
        lines += [Line(), *map(Line, zone_lines(text(entry.get("name")), str(entry.get("record") or "")))]
    return lines


def _since(entry: dict[str, Any]) -> Any:
    times = [entry.get(name) for name in ("retired_at", "active_at", "published_at", "created")]
    return next((time for time in times if time), None)


def zone_lines(name: str, record: str) -> Iterator[str]:
    """A TXT record for a zone file. What is longer than 255 octets is several strings, which readers join: RFC 6376 3.6.2.2."""
    strings = [record[start : start + _STRING] for start in range(0, len(record), _STRING)]
    if len(strings) == 1:
        yield f'{name}. {_TTL} IN TXT "{record}"'
        return
    yield f"{name}. {_TTL} IN TXT ("
    for string in strings:
        yield f'  "{string}"'
    yield ")"
