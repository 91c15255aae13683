"""What an audit found. The words and their order are the auditor's own; here they get colours."""

from __future__ import annotations

from typing import Any

from postlatch.audit.report import table
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, HEADING_STYLE, UNSURE_STYLE, Line, Style, Table

_STYLES: dict[str, Style] = {"good": GOOD_STYLE, "bad": BAD_STYLE, "unsure": UNSURE_STYLE}


def audit(data: dict[str, Any]) -> list[Line | Table]:
    """Of each target the verdict, what to fix, the evidence and what was asked; or a report as it is to be piped."""
    if data.get("lines") is not None:
        return [Line(str(line)) for line in data["lines"]]
    lines: list[Line | Table] = []
    for target in data.get("targets") or []:
        if lines:
            lines.append(Line())
        lines += [_line(said) for said in table.lines(target)]
    return lines


def _line(said: table.Said) -> Line:
    if said.heading:
        return Line(said.text, HEADING_STYLE)
    return Line(said.text, _STYLES[said.tone] if said.tone else None)
