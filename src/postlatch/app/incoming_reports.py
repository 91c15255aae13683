"""Reports that came by mail: read one at a time in a thread, after their delivery and never in its way, and kept if they are
about domains of ours."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from postlatch.delivery.ports import Submit
from postlatch.journal.counters import Counters
from postlatch.model.address import parse_address
from postlatch.model.clock import Clock
from postlatch.model.events import Event, JsonValue
from postlatch.model.ids import format_id
from postlatch.policy.snapshot import Snapshot
from postlatch.senderauth.authres import vouched_for
from postlatch.senderauth.reports import AggregateReport, ReportError, TlsReport, read_report
from postlatch.settings.tree import Settings
from postlatch.store import reports
from postlatch.store.reports import Added, NewReport, ReportRow
from postlatch.store.transaction import WriteFailed

MAX_WAITING: Final = 100  # messages
MAX_WAITING_OCTETS: Final = 32 * 1024 * 1024
METRIC: Final = "postlatch_reports_total"
_REST: Final = 0.02  # seconds between two pieces: a long report is read at the pace of a bystander
_TOO_MANY: Final = f"more than {reports.REPORTS_A_DAY} reports, or {reports.ROWS_A_DAY} rows of them, came within a day"
_BUSY: Final = "too many reports came at once; the mail itself was delivered"
_TOO_LARGE: Final = "the message is larger than 10 MiB"


class _Waiting(NamedTuple):
    message_id: int
    address: str
    body: bytes
    author: str  # the domain that vouched for it, empty if nobody did


class IncomingReports:
    """``offer`` it what was delivered; run ``work`` as a task, and ``drain`` at a stop."""

    def __init__(
        self,
        *,
        clock: Clock,
        snapshot: Callable[[], Snapshot],
        authserv_id: Callable[[], str],
        submit: Submit,
        record: Callable[[Event], None],
        counters: Counters,
    ) -> None:
        self._authserv_id = authserv_id
        self._clock = clock
        self._snapshot = snapshot
        self._submit = submit
        self._record = record
        self._counters = counters
        self._waiting: deque[_Waiting] = deque()
        self._octets = 0
        self._offered = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(self, message_id: int, address: str, body: bytes | None, own: bool) -> None:
        """A message that was delivered to a report address; ``body`` None: it is too large to be one. ``own``: we made it."""
        if body is None:
            self._refuse(message_id, address, "unknown", "unreadable", _TOO_LARGE)
        elif len(self._waiting) >= MAX_WAITING or self._octets + len(body) > MAX_WAITING_OCTETS:
            self._refuse(message_id, address, "unknown", "busy", _BUSY)
        else:
            author = address.rpartition("@")[2] if own else vouched_for(body, self._authserv_id())
            self._waiting.append(_Waiting(message_id, address, body, author))
            self._octets += len(body)
            self._idle.clear()
            self._offered.set()

    async def work(self) -> None:
        """Read what is offered, until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            while self._waiting:
                one = self._waiting.popleft()
                self._octets -= len(one.body)
                await self._read(one)
            self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until everything is read, for so long at most."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return

    async def _read(self, one: _Waiting) -> None:
        try:
            report = await asyncio.to_thread(read_report, one.body, partial(time.sleep, _REST))
            kept = await asyncio.to_thread(_to_keep, report, self._clock.now())
        except ReportError as error:
            self._refuse(one.message_id, one.address, "unknown", "unreadable", str(error))
            return
        except Exception as error:  # noqa: BLE001 - a fault in the reading of one must not end the reading of all
            why = f"the report could not be read ({type(error).__name__})"
            self._refuse(one.message_id, one.address, "unknown", "unreadable", why)
            return
        for new in kept:
            await self._keep(one, new._replace(author=one.author))

    async def _keep(self, one: _Waiting, new: NewReport) -> None:
        if not is_ours(self._snapshot(), new.domain):
            why = f"it is about {new.domain}, which is no domain of ours"
            self._refuse(one.message_id, one.address, new.kind, "foreign", why, new)
            return
        try:
            [added] = await self._submit([reports.add(new)])
        except WriteFailed as error:
            self._refuse(one.message_id, one.address, new.kind, "store", f"it could not be stored: {error}", new)
            return
        if added is Added.TOO_MANY:
            self._refuse(one.message_id, one.address, new.kind, str(added), _TOO_MANY, new)
            return
        self._counters.inc(METRIC, (new.kind, str(added)))
        counts = {"messages": new.passed + new.failed, "passed": new.passed, "failures": new.failed}
        fields: dict[str, JsonValue] = {
            "message": format_id(one.message_id),
            "recipient": one.address,
            **_about(new),
            **counts,
            "duplicate": added is Added.KNOWN,
        }
        self._record(Event("report.received", self._clock.now(), fields))

    def _refuse(self, message_id: int, address: str, kind: str, result: str, why: str, new: NewReport | None = None) -> None:
        self._counters.inc(METRIC, (kind, result))
        about = _about(new) if new is not None else {}
        fields: dict[str, JsonValue] = {"message": format_id(message_id), "recipient": address, **about, "why": why}
        self._record(Event("report.refused", self._clock.now(), fields))


def _about(new: NewReport) -> dict[str, JsonValue]:
    return {
        "kind": new.kind,
        "domain": new.domain,
        "reporter": new.reporter,
        "report_id": new.report_id,
        "verified": bool(new.author),
        "from_domain": new.author,
    }


def report_addresses(settings: Settings) -> frozenset[str]:
    """The addresses whose mail is read, as they are compared."""
    given = (settings.reports.dmarc, settings.reports.tls)
    return frozenset(parse_address(text, smtputf8=True).key for text in given if text is not None)


def is_ours(snapshot: Snapshot, domain: str) -> bool:
    """One of our domains, or below one."""
    labels = domain.split(".")
    names = (".".join(labels[start:]) for start in range(len(labels)))
    return any(name in snapshot.local_domains or name in snapshot.relay_domains for name in names)


def _to_keep(report: AggregateReport | TlsReport, now: float) -> list[NewReport]:
    """One for each domain that the report is about."""
    return [_dmarc(report, now)] if isinstance(report, AggregateReport) else _tls(report, now)


def _dmarc(report: AggregateReport, now: float) -> NewReport:
    rows = _merged(
        ReportRow(
            source=str(row.source),
            messages=row.messages,
            passed=row.passed,
            dkim=row.dkim,
            spf=row.spf,
            disposition=row.disposition,
            header_from=row.header_from,
            envelope_from=row.envelope_from,
            result="; ".join(row.reasons)[:500],
        )
        for row in report.rows
    )
    policy: dict[str, Any] = {**report.policy}
    if report.left_out:
        policy["left_out"] = {"rows": report.left_out, "messages": report.left_out_messages}
    if report.errors:
        policy["errors"] = list(report.errors)
    return NewReport(
        kind="dmarc",
        reporter=report.reporter,
        report_id=report.report_id,
        domain=report.domain,
        contact=report.contact,
        begins=report.begin,
        ends=report.end,
        received_at=now,
        policy=json.dumps(policy),
        rows=rows,
    )


def _tls(report: TlsReport, now: float) -> list[NewReport]:
    rows: dict[str, list[ReportRow]] = {}
    for policy in report.policies:
        mine = rows.setdefault(policy.domain, [])
        if policy.successes:
            mine.append(_sessions("", policy.successes, policy.kind, "", passed=True))
        for detail in policy.details:
            where = detail.receiving_host or detail.receiving_address
            mine.append(_sessions(detail.sending_address, detail.sessions, policy.kind, _failure(detail.result, where)))
        told = sum(detail.sessions for detail in policy.details)
        if policy.failures > told:
            mine.append(_sessions("", policy.failures - told, policy.kind, "no details were given"))
    make = partial(
        NewReport, kind="tls", reporter=report.reporter, report_id=report.report_id, contact=report.contact, policy="{}"
    )
    return [
        make(domain=domain, begins=report.begin, ends=report.end, received_at=now, rows=_merged(mine))
        for domain, mine in rows.items()
    ]


def _failure(result: str, where: str) -> str:
    return f"{result} at {where}" if where else result


def _sessions(source: str, count: int, kind: str, result: str, *, passed: bool = False) -> ReportRow:
    return ReportRow(source, count, passed, False, False, kind, "", "", result)


def _merged(rows: Iterable[ReportRow]) -> tuple[ReportRow, ...]:
    """Rows that differ in nothing that is kept, as one."""
    found: dict[ReportRow, int] = {}
    for row in rows:
        key = row._replace(messages=0)
        found[key] = found.get(key, 0) + row.messages
    return tuple(row._replace(messages=count) for row, count in found.items())
