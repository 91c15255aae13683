"""``right masks``, ``right resume`` and the self-test of ``check``."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count, text, when
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Table

_STYLES = {"true": GOOD_STYLE, "local": UNSURE_STYLE, "changed": UNSURE_STYLE}


def masks(data: dict[str, Any]) -> list[Line | Table]:
    """Where addresses are not believed, why, and which rights are suspended for it."""
    entries = data.get("masks") or []
    if not entries:
        return [Line("No mask was found: clients arrive with their own addresses, as far as can be seen.", GOOD_STYLE)]
    lines: list[Line | Table] = []
    for entry in entries:
        lines += [
            Line(f"{text(entry.get('listener'))}: {text(entry.get('sign'))}, since {when(entry.get('since'))}", BAD_STYLE),
            Line(f"  why        {text(entry.get('why'))}"),
            Line(f"  suspended  {', '.join(entry.get('suspended') or ()) or 'no right'}"),
        ]
    return [
        *lines,
        Line(),
        Line("Put right what is in front of the relay (docs/masking.md), then: postlatch right resume LISTENER"),
    ]


def resumed(data: dict[str, Any]) -> list[Line | Table]:
    """Which rights hold again."""
    names = data.get("rights") or []
    what = f"{count(len(names), 'right')} again in force: {', '.join(names)}" if names else "no right was suspended"
    return [Line(f"The addresses of listener {text(data.get('listener'))} are believed again; {what}.", GOOD_STYLE)]


def self_test(rows: list[dict[str, Any]]) -> list[Line | Table]:
    """One sentence a target."""
    return [
        Line(
            f"  {text(row.get('target'))}: {text(row.get('verdict'))}: {text(row.get('why'))}",
            _STYLES.get(str(row.get("verdict")), BAD_STYLE),
        )
        for row in rows
    ]
