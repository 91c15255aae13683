"""Rows as text for a terminal, as JSON, and as a table for the pages of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.figures import OURS, THEIRS, Aim, Plan, Row

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
_NAMES = {OURS: "Postlatch", THEIRS: "Postfix", "haraka": "Haraka", "aiosmtpd": "aiosmtpd + SQLite"}


def number(value: float | None) -> str:
    """Three digits that count, and no more: 1,930, 19.3, 0.193."""
    if value is None:
        return "-"
    if value >= 1000:
        digits = 10 ** (len(str(int(value))) - 3)
        return f"{round(value / digits) * digits:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def verdict(row: Row) -> str:
    """Of the aim, in one word."""
    reached = row.reached()
    return "" if reached is None else "reached" if reached else "missed"


def as_json(rows: Sequence[Row], machine: Mapping[str, object], plan: Plan) -> dict[str, Any]:
    """Schema postlatch.benchmark/1."""
    return {
        "schema": "postlatch.benchmark/1",
        "machine": dict(machine),
        "rounds": plan.rounds,
        "quick": plan.quick,
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    ratio = row.ratio()
    return {
        "key": row.key,
        "title": row.title,
        "unit": row.unit,
        "aim": str(row.aim) if row.aim else None,
        "reached": row.reached(),
        "ratio": round(ratio, 3) if ratio is not None else None,
        "medians": {server: round(row.median(server) or 0.0, 3) for server in row.values},
        "rounds": {server: [round(value, 3) for value in values] for server, values in row.values.items()},
        "absent": row.absent,
        "notes": row.notes,
    }


def rows_of(report: Mapping[str, Any]) -> list[Row]:
    """The rows of a report that ``as_json`` made."""
    return [
        Row(row["key"], row["title"], row["unit"], Aim.parse(row["aim"]), row["rounds"], row["absent"], row["notes"])
        for row in report["rows"]
    ]


def as_text(rows: Sequence[Row], machine: Mapping[str, object], plan: Plan) -> str:
    """For a terminal."""
    lines = [_where(machine, plan), ""]
    wide = max((len(row.title) for row in rows), default=0)
    servers = _servers(rows)
    heads = "".join(f"{_NAMES.get(server, server):>18}" for server in servers)
    lines.append(f"{'':<{wide}}{heads}{'ratio':>8}  {'aim':<8}")
    for row in rows:
        cells = "".join(f"{number(row.median(server)):>18}" for server in servers)
        ratio = number(row.ratio())
        lines.append(f"{row.title:<{wide}}{cells}{ratio:>8}  {row.aim or ''!s:<8} {verdict(row)}  [{row.unit}]".rstrip())
        lines += [f"    {note}" for note in (*row.notes, *_absences(row))]
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row], machine: Mapping[str, object], plan: Plan) -> str:
    """A table and a line that says where it is from."""
    servers = _servers(rows)
    lines = [
        "| | " + " | ".join(_NAMES.get(server, server) for server in servers) + " | ratio | aim | |",
        "|---|" + "---|" * (len(servers) + 3),
    ]
    for row in rows:
        cells = " | ".join(number(row.median(server)) for server in servers)
        lines.append(f"| {row.title}, {row.unit} | {cells} | {number(row.ratio())} | {row.aim or ''} | {verdict(row)} |")
    notes = [f"- {row.title}: {note}" for row in rows for note in (*row.notes, *_absences(row))]
    made = f"Made by `benchmarks/all.py`: {_where(machine, plan)}."
    return "\n".join([*lines, "", made, *([""] if notes else []), *notes])


def _servers(rows: Sequence[Row]) -> list[str]:
    found = {server: None for row in rows for server in (*row.values, *row.absent)}
    return [server for server in _NAMES if server in found or server in {OURS, THEIRS}]


def _absences(row: Row) -> list[str]:
    return [f"{_NAMES.get(server, server)} is not in it: {why}." for server, why in row.absent.items()]


def _where(machine: Mapping[str, Any], plan: Plan) -> str:
    versions = machine.get("versions", {})
    named = [f"{_NAMES.get(name, name.capitalize())} {versions[name]}" for name in ("postfix", "dovecot") if name in versions]
    load = machine.get("load_average_before", ["?"])[0]
    kind = "a quick look, not a result: " if plan.quick else ""
    return (
        f"{kind}medians of {plan.rounds}; {machine.get('cores')} cores ({machine.get('processor')}), "
        f"Linux {machine.get('kernel')}, Python {machine.get('python')}, {', '.join(named)}; "
        f"a sync takes {machine.get('sync_ms')} ms; load average before: {load}"
    )


def put_between_markers(page: str, text: str) -> str:
    """``page`` with ``text`` between its markers. A heading that stands right behind the first one stays.

    ValueError if the markers are not there once, in order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs {BEGIN} and, behind it, {END}, each once")
    before, rest = page.split(BEGIN)
    inside, after = rest.split(END)
    first = inside.strip().partition("\n")[0]
    heading = f"{first}\n\n" if first.startswith("#") else ""
    return f"{before}{BEGIN}\n{heading}{text}\n{END}{after}"
