"""``dns``: each record with what is to be said of it, and what to paste into the zone."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count, text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, HEADING_STYLE, UNSURE_STYLE, Line, Table

_BAD = {"missing", "wrong", "extra"}


def records(data: dict[str, Any]) -> list[Line | Table]:
    """What is to be mended comes first; then all records; then the fragment, which can be pasted as it is."""
    entries = data.get("records") or []
    rows = [tuple(text(entry.get(field)) for field in ("status", "type", "name", "why")) for entry in entries]
    lines: list[Line | Table] = [_verdict(entries), Line(), Table(("STATUS", "TYPE", "NAME", "WHY"), rows)]
    fragment = str(data.get("fragment") or "").splitlines()
    if fragment:
        lines += [Line(), Line("For the zone file, or record by record for your provider's form:", HEADING_STYLE)]
        lines += [Line(line) for line in fragment]
    return lines


def _verdict(entries: list[dict[str, Any]]) -> Line:
    bad = sum(entry.get("status") in _BAD for entry in entries)
    unknown = sum(entry.get("status") == "unknown" for entry in entries)
    if bad:
        return Line(f"{count(bad, 'record is', 'records are')} to be mended.", BAD_STYLE)
    if unknown:
        return Line(f"{count(unknown, 'record is', 'records are')} not known: the DNS gave no answer.", UNSURE_STYLE)
    return Line("The records are right.", GOOD_STYLE)
