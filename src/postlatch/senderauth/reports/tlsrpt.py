"""TLS reports (RFC 8460 section 4): JSON, bounded in size, depth and number of values before it is parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from postlatch.model.address import AddressError, parse_domain
from postlatch.senderauth.reports.values import (
    MAX_COUNT,
    MAX_ROWS,
    ReportError,
    TlsFailure,
    TlsPolicyResult,
    TlsReport,
    printable,
)

MAX_OCTETS: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 12
MAX_CONTAINERS: Final = 200_000  # objects and lists: each costs memory, however short it is written
MAX_POLICIES: Final = 1_000
_KINDS: Final = frozenset({"sts", "tlsa", "no-policy-found"})
# A string is one token, closed or not: no place is looked at twice, whatever the text.
_TOKEN: Final = re.compile(rb'[\[\]{}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def parse_tls(pieces: Iterable[bytes]) -> TlsReport:
    """Read a report. ReportError says what is wrong with it, whatever the octets are."""
    found = _object(_json(_whole(pieces)), "the report")
    begin, end = (_moment(_inner(found, "date-range").get(which)) for which in ("start-datetime", "end-datetime"))
    if begin is None or end is None or end < begin:
        raise ReportError("the report does not say which time it covers: date-range with start-datetime and end-datetime")
    report_id, reporter = _text(found, "report-id"), _text(found, "organization-name")
    if not report_id or not reporter:
        raise ReportError("the report does not say who made it and under which id: organization-name and report-id")
    policies = found.get("policies")
    if not isinstance(policies, list) or not policies:
        raise ReportError("the report has no policies: nothing is said about any domain")
    if len(policies) > MAX_POLICIES:
        raise ReportError(f"the report has more than {MAX_POLICIES} policies")
    room = [MAX_ROWS]
    return TlsReport(
        reporter=reporter,
        contact=_text(found, "contact-info"),
        report_id=report_id,
        begin=begin,
        end=end,
        policies=tuple(_policy(_object(item, "a policy of the report"), room) for item in policies),
    )


def _whole(pieces: Iterable[bytes]) -> bytes:
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_OCTETS:
            raise ReportError(f"the report is larger than {MAX_OCTETS // 2**20} MiB")
        gathered.append(piece)
    return b"".join(gathered)


def _json(data: bytes) -> Any:
    depth = containers = 0
    for token in _TOKEN.finditer(data):
        mark = data[token.start()]
        if mark in b"[{":
            depth += 1
            containers += 1
            if depth > MAX_DEPTH:
                raise ReportError(f"the report has values more than {MAX_DEPTH} deep")
            if containers > MAX_CONTAINERS:
                raise ReportError(f"the report has more than {MAX_CONTAINERS} objects and lists")
        elif mark in b"]}":
            depth -= 1
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ReportError("the report is not valid JSON in UTF-8") from None


def _policy(item: dict[str, Any], room: list[int]) -> TlsPolicyResult:
    policy, summary = _inner(item, "policy"), _inner(item, "summary")
    kind = _text(policy, "policy-type").lower()
    domain = _text(policy, "policy-domain")
    try:
        domain = parse_domain(domain.rstrip("."))
    except AddressError:
        raise ReportError(f"the report is about {printable(domain, 100) or 'no domain at all'}, which is no domain") from None
    details = item.get("failure-details")
    kept = details[: room[0]] if isinstance(details, list) else []
    room[0] -= len(kept)
    return TlsPolicyResult(
        kind=kind if kind in _KINDS else printable(kind, 40),
        domain=domain,
        successes=_count(summary, "total-successful-session-count"),
        failures=_count(summary, "total-failure-session-count"),
        details=tuple(_failure(detail) for detail in kept if isinstance(detail, dict)),
    )


def _failure(detail: dict[str, Any]) -> TlsFailure:
    return TlsFailure(
        result=_text(detail, "result-type", 60),
        sessions=_count(detail, "failed-session-count"),
        sending_address=_text(detail, "sending-mta-ip", 100),
        receiving_host=_text(detail, "receiving-mx-hostname", 255).lower(),
        receiving_address=_text(detail, "receiving-ip", 100),
        information=_text(detail, "failure-reason-code") or _text(detail, "additional-information"),
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReportError(f"{what} is no JSON object")
    return value


def _inner(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: dict[str, Any], key: str, most: int = 500) -> str:
    found = value.get(key)
    return printable(found, most) if isinstance(found, str) else ""


def _count(value: dict[str, Any], key: str) -> int:
    """A number of sessions; what is none counts as none. Some senders write it as a text."""
    found = value.get(key)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 15:
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool):
        return 0
    return found if 0 <= found <= MAX_COUNT else 0


def _moment(value: Any) -> int | None:
    """An RFC 3339 time (RFC 8460 section 4.4) as seconds since 1970."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        seconds = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return int(seconds) if 0 <= seconds < 2**33 else None
