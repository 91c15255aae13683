"""Reports by command: what others say about our domains, and for each failing source what it means."""

from __future__ import annotations

from functools import partial
from typing import Any

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.world import World
from postlatch.model.address import AddressError, parse_domain
from postlatch.policy.replies import rfc3339
from postlatch.store import reports
from postlatch.store.reports import ReportRow, StoredReport, Wanted

_MOST = 1000
_SOURCES = 20  # of one report


async def listing(world: World, arguments: dict[str, Any]) -> Answer:
    """Reports, the newest first."""
    wanted = Wanted(
        domain=_domain(arguments.get("domain")),
        kind=str(arguments.get("kind") or ""),
        since=float(arguments.get("since") or 0.0),
        limit=min(_MOST, int(arguments.get("limit") or 100)),
    )
    found = await world.reader.read(partial(reports.load, wanted=wanted, failures=_SOURCES))
    return good("reports", reports=[_shown(report) for report in found])


def _domain(given: Any) -> str:
    if not given:
        return ""
    try:
        return parse_domain(str(given))
    except AddressError as error:
        raise CommandError(f"{given!a} is no domain: {error}") from None


def _shown(report: StoredReport) -> dict[str, Any]:
    return {
        "id": report.number,
        "kind": report.kind,
        "domain": report.domain,
        "reporter": report.reporter,
        "report_id": report.report_id,
        "begin": rfc3339(report.begins),
        "end": rfc3339(report.ends),
        "received_at": rfc3339(report.received_at),
        "messages": report.messages,
        "passed": report.passed,
        "failed": report.failed,
        "verified": bool(report.author),
        "author": report.author or None,
        "sources": [_source(report, row) for row in report.failures],
    }


def _source(report: StoredReport, row: ReportRow) -> dict[str, Any]:
    """One failing source with a sentence about it."""
    told: dict[str, Any] = {"source": row.source, "messages": row.messages}
    if report.kind == "tls":
        return {**told, "result": row.result, "why": _tls_sentence(row)}
    return {
        **told,
        "disposition": row.disposition,
        "header_from": row.header_from,
        "envelope_from": row.envelope_from,
        "result": row.result,
        "why": _dmarc_sentence(report, row),
    }


def _dmarc_sentence(report: StoredReport, row: ReportRow) -> str:
    who = row.header_from or report.domain
    fate = {"reject": ", and it was rejected", "quarantine": ", and it was quarantined"}.get(row.disposition, "")
    override = f" (the receiver says: {row.result})" if row.result else ""
    return f"{row.source} sends as {who} without an aligned SPF or DKIM: {_count(row.messages, 'message')}{fate}{override}"


def _tls_sentence(row: ReportRow) -> str:
    who = f"{row.source} could" if row.source else "senders could"
    return f"{who} not deliver over TLS as asked, {row.result or 'for no reason given'}: {_count(row.messages, 'session')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
