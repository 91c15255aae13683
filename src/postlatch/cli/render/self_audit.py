"""How the relay's audit of itself came out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Table

_UNSURE = ("inconclusive", "failed", "")


def self_audit(data: dict[str, Any]) -> list[Line | Table]:
    """The verdict, a sentence for each address, and the change that each fault needs."""
    verdict = str(data.get("verdict") or "")
    when = _moment(data.get("at"))
    if verdict == "closed":
        lines: list[Line | Table] = [Line(f"[+] Every listener is closed ({when}).", GOOD_STYLE)]
    elif verdict in _UNSURE:
        lines = [
            Line(
                f"[?] It is not known whether every listener is closed ({when}). {data.get('why') or ''}".rstrip(), UNSURE_STYLE
            )
        ]
    else:
        lines = [Line(f"[x] Not closed: {verdict} ({when}).", BAD_STYLE)]
    for row in data.get("addresses") or ():
        lines += _row(row)
    lines += [Line(f"  - {text}") for text in data.get("left_out") or ()]
    return lines


def _row(row: dict[str, Any]) -> list[Line | Table]:
    bad = row["verdict"] not in ("closed", *_UNSURE)
    sign = "x" if bad else "+" if row["verdict"] == "closed" else "?"
    lines: list[Line | Table] = [
        Line(f"  {sign} {row['listener']} at {row['address']}, asked from {row['source']}: {row['grade']}. {row['summary']}")
    ]
    if row.get("decide"):
        lines.append(Line(f"      {row['decide']}"))
    if row.get("loopback_only"):
        lines.append(Line("      Only loopback was possible: what other addresses may do was not asked."))
    for finding in row.get("findings") or ():
        lines.append(Line(f"      {finding['title']}. {finding['fix']}"))  # noqa: PERF401 - reads as what is printed
    return lines


def _moment(at: object) -> str:
    if not isinstance(at, int | float):
        return "never audited"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
