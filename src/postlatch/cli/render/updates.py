"""What is out of date."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from postlatch.cli.render.words import text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, HEADING_STYLE, UNSURE_STYLE, Line, Style, Table

_STYLES: dict[str, Style] = {
    "vulnerable": BAD_STYLE,
    "outdated": UNSURE_STYLE,
    "possible": UNSURE_STYLE,
    "unknown": UNSURE_STYLE,
    "current": GOOD_STYLE,
}
_KINDS = {
    "postlatch": "Postlatch",
    "dependency": "Python packages that it runs on",
    "package": "Mail packages of this system",
    "server": "Mail servers",
}
_QUIET = {"current", "unknown"}  # told in one line where many are alike


def updates(data: dict[str, Any]) -> list[Line | Table]:
    """The notes, then each kind: what is wrong in full, the rest in one line for each reason."""
    age = data.get("age_of_data")
    lines: list[Line | Table] = [
        Line(f"Known faults of mail servers: the data is of {data.get('date_of_data')}, {age} days old.")
    ]
    lines += [Line(text(note), UNSURE_STYLE) for note in data.get("notes") or []]
    for kind, items in groupby(data.get("items") or [], key=lambda item: text(item.get("kind"))):
        lines.append(Line(_KINDS.get(kind, kind), HEADING_STYLE))
        lines += _kind(list(items))
    return lines


def _kind(items: list[dict[str, Any]]) -> list[Line]:
    loud = [item for item in items if item.get("state") not in _QUIET or len(items) == 1]
    lines = [line for item in loud for line in _item(item)]
    for (state, note, fix), alike in groupby(
        sorted((item for item in items if item not in loud), key=_reason),
        key=_reason,
    ):
        names = ", ".join(f"{item.get('name')} {item.get('installed')}".strip() for item in alike)
        lines.append(Line(f"  {state}: {names}. {note}".rstrip(), _STYLES.get(state)))
        lines += [Line(f"    do: {fix}")] if fix else []
    return lines


def _reason(item: dict[str, Any]) -> tuple[str, str, str]:
    return str(item.get("state")), str(item.get("note") or ""), str(item.get("fix") or "")


def _item(item: dict[str, Any]) -> list[Line]:
    state = text(item.get("state"))
    newest = f" (newest {item['newest']})" if item.get("newest") and item.get("newest") != item.get("installed") else ""
    security = ", security" if item.get("security") and state == "outdated" else ""
    lines = [Line(f"  {state}{security}: {item.get('name')} {item.get('installed')}{newest}".rstrip(), _STYLES.get(state))]
    lines += [Line(f"    {note}") for note in (item.get("note"),) if note]
    for advisory in item.get("advisories") or []:
        fixed = f" Mended in {advisory['fixed']}." if advisory.get("fixed") else ""
        doubt = "" if advisory.get("confirmed", True) else " (unconfirmed)"
        lines.append(Line(f"    {advisory.get('id')}, {advisory.get('severity')}{doubt}: {advisory.get('summary')}{fixed}"))
        lines += [Line(f"      {source}") for source in (advisory.get("source"),) if source]
    lines += [Line(f"    do: {fix}") for fix in (item.get("fix"),) if fix]
    return lines
