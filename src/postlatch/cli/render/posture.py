"""How a mail domain stands."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, HEADING_STYLE, UNSURE_STYLE, Line, Style, Table

_STATES: dict[str, tuple[str, Style | None]] = {
    "good": ("good", GOOD_STYLE),
    "bad": ("BAD", BAD_STYLE),
    "warn": ("warn", UNSURE_STYLE),
    "absent": ("absent", UNSURE_STYLE),
    "unknown": ("unknown", UNSURE_STYLE),
    "info": ("info", None),
}
_GRADES: dict[str, Style] = {"A": GOOD_STYLE, "B": UNSURE_STYLE, "C": UNSURE_STYLE}


def posture(data: dict[str, Any]) -> list[Line | Table]:
    """The grade, each check with its findings, and what to fix first; or a report as it is to be piped."""
    if data.get("lines") is not None:
        return [Line(str(line)) for line in data["lines"]]
    grade = text(data.get("grade"))
    lines: list[Line | Table] = [Line(f"{data.get('domain')}: {grade}", _GRADES.get(grade[:1], BAD_STYLE))]
    for check in data.get("checks") or []:
        lines += _check(check)
    if wanted := data.get("first") or []:
        lines.append(Line("What to fix first:", HEADING_STYLE))
        lines += [Line(f"  {number}. {one.get('fix')} [{one.get('id')}]") for number, one in enumerate(wanted, 1)]
    lines.append(Line(f"Grades: {text(data.get('rule'))}"))
    return lines


def _check(check: dict[str, Any]) -> list[Line | Table]:
    word, style = _STATES.get(text(check.get("state")), (text(check.get("state")), None))
    lines: list[Line | Table] = [
        Line(f"{word:<8} {check.get('title')}: {text(check.get('detail'))} [{check.get('id')}]", style)
    ]
    for finding in check.get("findings") or []:
        message = "" if finding.get("message") == check.get("detail") else f"{finding.get('message')}: "
        lines.append(Line(f"    {finding.get('severity')}: {message}{text(finding.get('why'))}"))
        lines += [Line(f"    change: {fix}") for fix in (finding.get("fix"),) if fix]
    return lines
