"""Our TLS reports to others: how TLS fared on our connections is counted by the day, and told once a day to who asks.

RFC 8460. Only with ``reports.send``. A report tells of hosts, addresses and results, never of a person's address.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from postlatch.app.daily_reports import MAX_RECIPIENTS, DailyReports
from postlatch.app.report_mail import Attached, report_metadata
from postlatch.app.tls_report_mail import tls_report_mail
from postlatch.delivery.tls_demand import NONE, Applied
from postlatch.delivery.tls_seen import TlsSession
from postlatch.model.address import Address, AddressError, parse_address
from postlatch.model.dns import DnsError
from postlatch.senderauth.reports.compose import DAY
from postlatch.senderauth.reports.tls_compose import Asked, UnderPolicy, compose_tls, read_record, tls_file_name, tls_report_id
from postlatch.senderauth.reports.values import TlsFailure
from postlatch.store import tls_seen
from postlatch.store.tls_seen import Failure, Seen

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

MAX_DETAILS: Final = 1000  # of one report; the sums count all
MAX_POLICIES: Final = 50  # of one report
MAX_POLICY: Final = 4_000  # characters of a policy that are kept
_MAX_REASON: Final = 200  # characters
_LATEST: Final = 2 * DAY  # seconds after its day, a report is not sent any more

_Key = tuple[int, str, str, str, str, str, str, str]  # all of `Seen` but the number


class TlsReports(DailyReports[_Key]):
    """``note`` each connection."""

    kind = "tls"
    table = tls_seen.TABLE

    def note(self, session: TlsSession) -> None:
        """Count a connection. `delivery` tells only of those for mail to domains of others whose hosts come from the DNS."""
        if not self._settings().reports.send or session.domain.startswith("["):
            return
        self._gather(_key(int(self._clock.now() // DAY), session))

    def _entry(self, key: _Key, count: int) -> Seen:
        return Seen(*key, count)

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
        had = await self._had(day, domain)
        for address in addresses:
            if address.text in had:
                continue
            prepared = await self._notices.tls_report(address, domain, addresses, partial(tls_report_mail, meta, attached))
            if not await self._queue(day, domain, address, prepared):
                return False
        return True


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
