"""Our TLS reports to others: how TLS fared on our connections is counted by the day, and told once a day to who asks.

RFC 8460. Only with ``reports.send``. A report tells of hosts, addresses and results, never of a person's address.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from postlatch.app.notices import Notices
from postlatch.app.report_mail import Attached, report_metadata
from postlatch.app.tls_report_mail import tls_report_mail
from postlatch.delivery.ports import Submit
from postlatch.delivery.tls_demand import NONE, Applied
from postlatch.delivery.tls_seen import TlsSession
from postlatch.journal.counters import Counters
from postlatch.model.address import Address, AddressError, parse_address
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver
from postlatch.policy.grant import Notification
from postlatch.senderauth.reports.compose import DAY
from postlatch.senderauth.reports.tls_compose import Asked, UnderPolicy, compose_tls, read_record, tls_file_name, tls_report_id
from postlatch.senderauth.reports.values import TlsFailure
from postlatch.settings.tree import Settings
from postlatch.store import tls_seen
from postlatch.store.reader import Query
from postlatch.store.tls_seen import Failure, Seen
from postlatch.store.transaction import WriteFailed

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

MAX_GATHERED: Final = 20_000  # that differ, between two writes
MAX_DETAILS: Final = 1000  # of one report; the sums count all
MAX_POLICIES: Final = 50  # of one report
MAX_POLICY: Final = 4_000  # characters of a policy that are kept
MAX_RECIPIENTS: Final = 10  # of one report
_MAX_REASON: Final = 200  # characters
_LATEST: Final = 2 * DAY  # seconds after its day, a report is not sent any more
_RETRY: Final = 3600.0  # seconds until a domain is asked again whose DNS did not answer
_STEP: Final = 1000  # domains looked at in one round
METRIC: Final = "postlatch_reports_total"

_Key = tuple[int, str, str, str, str, str, str, str]  # all of `Seen` but the number


class TlsReports:
    """``note`` each connection; run ``flush`` every few seconds and ``send_due`` every few minutes.

    ``jitter``: seconds after midnight UTC from which reports are sent, so that not all the world sends them at once.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        settings: Callable[[], Settings],
        resolver: Resolver,
        notices: Notices,
        submit: Submit,
        read: Callable[[Query[Any]], Awaitable[Any]],
        counters: Counters,
        jitter: float,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._resolver = resolver
        self._notices = notices
        self._submit = submit
        self._read = read
        self._counters = counters
        self._jitter = jitter
        self._gathered: dict[_Key, int] = {}
        self._later: dict[tuple[int, str], float] = {}

    def note(self, session: TlsSession) -> None:
        """Count a connection. `delivery` tells only of those for mail to domains of others whose hosts come from the DNS."""
        if not self._settings().reports.send or session.domain.startswith("["):
            return
        key = _key(int(self._clock.now() // DAY), session)
        if key in self._gathered or len(self._gathered) < MAX_GATHERED:
            self._gathered[key] = self._gathered.get(key, 0) + 1

    async def flush(self) -> None:
        """Write what was counted; what a failing disk does not take is kept for the next time."""
        gathered, self._gathered = self._gathered, {}
        if not gathered:
            return
        try:
            await self._submit([tls_seen.add([Seen(*key, count) for key, count in gathered.items()])])
        except WriteFailed as error:
            if not error.unknown:  # else it may be there, and counting twice is worse than once too little
                for key, count in gathered.items():
                    self._gathered[key] = self._gathered.get(key, 0) + count

    async def send_due(self) -> None:
        """Report the days that are over."""
        now = self._clock.now()
        today = int(now // DAY)
        if not self._settings().reports.send or now < today * DAY + self._jitter:
            return
        found: list[tuple[int, str]] = await self._read(partial(tls_seen.waiting, before=today))
        self._later = {place: at for place, at in self._later.items() if at > now}
        failure: Exception | None = None
        for day, domain in [place for place in found if place not in self._later][:_STEP]:
            self._later[day, domain] = now + _RETRY
            try:
                done = await self._report(day, domain)
            except Exception as error:  # noqa: BLE001 - one domain must not keep all others waiting; it is told at the end
                failure = error
                continue
            if done:
                del self._later[day, domain]
                await self._submit([tls_seen.forget(day, domain)])
        if failure is not None:
            raise failure

    async def _report(self, day: int, domain: str) -> bool:
        """True if nothing more is to be done about that day."""
        if self._clock.now() > (day + 1) * DAY + _LATEST:
            self._count("expired")
            return True
        try:
            asked = read_record(await self._resolver.txt(f"_smtp._tls.{domain}"))
        except DnsError as error:
            if error.temporary:
                self._count("dns")
            return not error.temporary
        addresses = _addresses(asked)
        if not addresses:
            if asked.https:
                self._count("https")
            return True
        return await self._send(day, domain, addresses)

    async def _send(self, day: int, domain: str, addresses: Sequence[Address]) -> bool:
        meta = report_metadata(self._settings(), day)
        sums: list[tuple[str, int, int]] = await self._read(partial(tls_seen.sums, day=day, domain=domain))
        rows: list[Failure] = await self._read(partial(tls_seen.failures, day=day, domain=domain, limit=MAX_DETAILS))
        found = [_under_policy(*one, rows) for one in sums[:MAX_POLICIES]]
        content = compose_tls(meta, domain, found)
        attached = Attached(domain, tls_report_id(meta, domain), tls_file_name(meta, domain), content)
        had: frozenset[str] = await self._read(partial(tls_seen.sent_to, day=day, domain=domain))
        for address in addresses:
            if address.text in had:
                continue
            if not await self._mail(day, domain, address, addresses, partial(tls_report_mail, meta, attached)):
                return False
        return True

    async def _mail(
        self,
        day: int,
        domain: str,
        address: Address,
        asked: Sequence[Address],
        make: Callable[[Notification, float], bytes],
    ) -> bool:
        """One recipient's copy, queued in one transaction with the note that it was."""
        prepared = await self._notices.tls_report(address, domain, asked, make)
        if prepared is None:
            return True  # a guard or the cap of the day: not to be tried again
        noted = tls_seen.note_sent(day, domain, address.text, self._clock.now())
        try:
            results = await self._submit([*prepared.operations, noted], prepared.events)
        except WriteFailed:
            prepared.dropped()
            return False
        prepared.committed(results)
        self._count("sent")
        return True

    def _count(self, result: str) -> None:
        self._counters.inc(METRIC, ("tls", result))


def tls_reports_of(relay: Relay, jitter: float) -> TlsReports:
    """Those of the running relay."""
    return TlsReports(
        clock=relay.world.clock,
        settings=lambda: relay.settings,
        resolver=relay.resolver,
        notices=relay.notices,
        submit=relay.submit,
        read=relay.world.reader.read,
        counters=relay.world.counters,
        jitter=jitter,
    )


def _key(day: int, session: TlsSession) -> _Key:
    policy = policy_text(session.applied)
    if not session.result:
        return day, session.domain, policy, "", "", "", "", ""
    reason = session.reason[:_MAX_REASON]
    return day, session.domain, policy, session.result, session.host, session.address, _public(session.local), reason


def policy_text(applied: Applied) -> str:
    """The policy as it is kept; empty if none was found. Of one that is very long, the kind alone."""
    if applied.kind == NONE:
        return ""
    text = json.dumps([applied.kind, applied.lines, applied.mx])
    return text if len(text) <= MAX_POLICY else json.dumps([applied.kind, [], []])


def _under_policy(text: str, successes: int, failures: int, rows: Sequence[Failure]) -> UnderPolicy:
    kind, lines, mx = json.loads(text) if text else (NONE, (), ())
    details = [_detail(row) for row in rows if row.policy == text]
    return UnderPolicy(kind, tuple(lines), tuple(mx), successes, failures, details)


def _public(address: str) -> str:
    """Our address as others see it; one behind NAT would tell them nothing."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return str(found) if found.is_global else ""


def _addresses(asked: Asked) -> tuple[Address, ...]:
    found: dict[str, Address] = {}
    for mailbox in asked.mailboxes[:MAX_RECIPIENTS]:
        try:
            address = parse_address(mailbox)
        except AddressError:
            continue
        found.setdefault(address.text, address)
    return tuple(found.values())


def _detail(row: Failure) -> TlsFailure:
    return TlsFailure(row.result, row.sessions, row.local, row.host, row.address, row.reason)
