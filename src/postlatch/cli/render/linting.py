"""What a linter found."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, HEADING_STYLE, UNSURE_STYLE, Line, Style, Table

_VERDICTS: dict[str, tuple[str, Style]] = {
    "closed": ("Closed: strangers cannot relay by this configuration.", GOOD_STYLE),
    "open": ("Open: strangers can relay by this configuration.", BAD_STYLE),
    "unknown": ("Unknown: whether strangers can relay does not stand in this configuration alone.", UNSURE_STYLE),
}
_STYLES: dict[str, Style | None] = {"critical": BAD_STYLE, "high": BAD_STYLE, "medium": UNSURE_STYLE}


def lint(data: dict[str, Any]) -> list[Line | Table]:
    """The verdict, who could relay, and each finding with its place and change; or a report as it is to be piped."""
    if data.get("lines") is not None:
        return [Line(str(line)) for line in data["lines"]]
    words, style = _VERDICTS.get(text(data.get("verdict")), (text(data.get("verdict")), UNSURE_STYLE))
    lines: list[Line | Table] = [Line(words, style)]
    if told := data.get("can_relay") or []:
        lines.append(Line("Without logging in:", HEADING_STYLE))
        lines += [Line(f"  {sentence}") for sentence in told]
    for finding in data.get("findings") or []:
        lines += _finding(finding)
    if "patch" in data:
        lines.append(
            Line(f"The changes are in {data['patch']}." if data["patch"] else "No change can be written down as a patch.")
        )
    return lines


def _finding(finding: dict[str, Any]) -> list[Line | Table]:
    severity = text(finding.get("severity"))
    place = (
        f"{finding.get('file')}:{finding['line']}: "
        if finding.get("line")
        else f"{finding['file']}: "
        if finding.get("file")
        else ""
    )
    lines: list[Line | Table] = [
        Line(f"{severity}: {place}{finding.get('message')} [{finding.get('id')}]", _STYLES.get(severity))
    ]
    lines += [Line(f"    {why}") for why in (finding.get("why"),) if why]
    lines += [Line(f"    change: {fix}") for fix in (finding.get("fix"),) if fix]
    return lines
