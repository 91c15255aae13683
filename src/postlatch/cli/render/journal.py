"""Events, and the proof that none is missing."""

from __future__ import annotations

import json
import re
from typing import Any

from postlatch.cli.render.words import count, when
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, Line, Table

_HEAD = ("seq", "at", "event", "schema")
_PLAIN = re.compile(r"[^\s\"'=\\]+")


def events(data: dict[str, Any]) -> list[Line | Table]:
    """One line an event, oldest first."""
    found = data.get("events") or []
    return [event(record) for record in found] or [Line("No events.")]


def event(record: dict[str, Any]) -> Line:
    """``2026-11-24T08:20:00Z recipient.refused client=198.51.100.7 reply="550 5.7.1 …"``."""
    fields = (f"{name}={_value(value)}" for name, value in record.items() if name not in _HEAD and value not in (None, "", []))
    return Line(" ".join([when(record.get("at")), str(record.get("event", "?")), *fields]))


def _value(value: Any) -> str:
    """Quoted where a reader could take it for something else."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def verified(data: dict[str, Any]) -> list[Line | Table]:
    """The verdict, what speaks against it, and what is worth knowing."""
    failures, findings = data.get("failures") or [], data.get("findings") or []
    checked = f"{count(int(data.get('events') or 0), 'event')} in {count(int(data.get('batches') or 0), 'batch', 'batches')}"
    if data.get("ok"):
        lines: list[Line | Table] = [Line(f"Intact: {checked}, none changed, none missing.", GOOD_STYLE)]
    else:
        lines = [Line(f"NOT INTACT: {count(len(failures), 'failure')} ({checked} were read):", BAD_STYLE)]
    lines += [Line(f"  {number}. {sentence}") for number, sentence in enumerate(failures, 1)]
    lines += [Line(f"Note: {sentence}") for sentence in findings]
    head = data.get("head")
    if isinstance(head, dict):
        lines.append(Line(f"Head: event {head.get('seq')}, {head.get('hash')}"))
    return lines


def key(data: dict[str, Any]) -> list[Line | Table]:
    """The key alone, so that it can go into a file as it is."""
    return [Line(line) for line in str(data.get("public") or "").splitlines()]
