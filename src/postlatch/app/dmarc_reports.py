"""Our aggregate reports to others: what came in their name is counted by the day, and told once a day to those who ask.

RFC 9990. Only with ``reports.send``. A report goes to an address that the domain's record names, after whoever is elsewhere has
confirmed it. It tells of servers, domains and results, never of a person's address.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from postlatch.app.daily_reports import MAX_RECIPIENTS, DailyReports
from postlatch.app.report_mail import Attached, report_mail, report_metadata
from postlatch.model.address import Address, AddressError, parse_address
from postlatch.model.dns import DnsError
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.dmarc.destination import external_destination
from postlatch.senderauth.dmarc.parse import is_record
from postlatch.senderauth.dmarc.walk import Policy, discover
from postlatch.senderauth.reports.compose import (
    DAY,
    MAX_SIGNATURES,
    Metadata,
    Published,
    Record,
    compose,
    file_name,
    report_id,
    size_limit,
)
from postlatch.senderauth.reports.values import AuthResult
from postlatch.senderauth.results import Authentication, Disposition, Result
from postlatch.store import dmarc_seen
from postlatch.store.dmarc_seen import Seen

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

REPORT_HOURS: Final = 4  # after midnight UTC, within which the reports of the day before are sent
MAX_RECORDS: Final = 10_000  # of one report
MAX_OCTETS: Final = 10 * 2**20  # of one report's mail, whatever its reader would take
_LATEST: Final = 3 * DAY  # seconds after its day, a report is not sent any more


class DmarcReports(DailyReports[tuple[int, str, str]]):
    """``note`` what comes in."""

    kind = "dmarc"
    table = dmarc_seen.TABLE

    def note(
        self,
        authentication: Authentication,
        client: IPAddress,
        *,
        applied: str,
        reason: str = "",
        comment: str = "",
    ) -> None:
        """Count a message that was checked, also one that was refused then (RFC 9990 section 3.1).

        ``applied`` is the disposition that was carried out in the end. Where that differs from what the policy asked for,
        ``reason`` is the override's type of section 3.1.6 (``local_policy``, which is meant if it is empty, ``mailing_list``,
        ``trusted_forwarder``, ``other``), and ``comment`` says more, to the domain's owner.
        """
        domain = authentication.dmarc.policy_domain
        if not domain or not self._settings().reports.send:
            return
        self._gather((int(self._clock.now() // DAY), domain, alike(authentication, client, applied, reason, comment)))

    def _entry(self, key: tuple[int, str, str], count: int) -> Seen:
        day, domain, text = key
        return Seen(day, domain, blake2b(text.encode(), digest_size=16).digest(), text, count)

    async def _report(self, day: int, domain: str) -> bool:
        """True if nothing more is to be done about that day."""
        if self._clock.now() > (day + 1) * DAY + _LATEST:
            self._count("expired")
            return True
        policy = await discover(self._resolver, domain)
        if policy.problem is Result.TEMPERROR:
            return False
        if policy.problem is not None or policy.domain != domain or not policy.record.rua:
            return True  # nobody asks for it, or not any more
        destinations = await self._destinations(domain, policy.record.rua)
        if not destinations.addresses:
            return not destinations.unsure
        done = await self._send(day, policy, destinations)
        return done and not destinations.unsure

    async def _destinations(self, domain: str, rua: Sequence[str]) -> _Destinations:
        """The addresses that may get it (RFC 9990 section 4), and their limits."""
        limits = await self._limits(domain)
        found: dict[str, int] = {}
        permitted: set[str] = set()
        unsure = False
        for mailbox in rua[:MAX_RECIPIENTS]:
            host = mailbox.rpartition("@")[2].lower()
            answer = await external_destination(self._resolver, domain, host)
            unsure = unsure or answer.temporary
            if not answer.allowed:
                self._count("not_confirmed" if not answer.temporary else "dns")
                continue
            permitted.add(host)
            for address in answer.addresses or (mailbox,):
                found.setdefault(address, min(size_limit(limits, mailbox) or MAX_OCTETS, MAX_OCTETS))
        addresses = [(parsed, most) for text, most in found.items() if (parsed := _parsed(text)) is not None]
        return _Destinations(tuple(addresses[:MAX_RECIPIENTS]), frozenset(permitted), unsure)

    async def _limits(self, domain: str) -> str:
        """The ``rua`` value as it stands: the parsed record has no sizes."""
        try:
            texts = await self._resolver.txt(f"_dmarc.{domain}")
        except DnsError:
            return ""
        tags = [part.partition("=") for text in texts if is_record(text) for part in text.decode("latin-1").split(";")]
        return next((value for name, _, value in tags if name.strip().lower() == "rua"), "")

    async def _send(self, day: int, policy: Policy, destinations: _Destinations) -> bool:
        domain = policy.domain
        meta = report_metadata(self._settings(), day)
        rows = await self._read(partial(dmarc_seen.rows, day=day, domain=domain, limit=MAX_RECORDS))
        attached = await asyncio.to_thread(_made, meta, policy, rows)
        had = await self._had(day, domain)
        asked = tuple(address for address, _ in destinations.addresses)
        for address, most in destinations.addresses:
            if address.text in had:
                continue
            if attached.mailed_octets > most:
                self._count("too_large")
                continue
            make = partial(report_mail, meta, attached)
            prepared = await self._notices.dmarc_report(address, domain, asked, destinations.permitted, make)
            if not await self._queue(day, domain, address, prepared):
                return False
        return True


class _Destinations(NamedTuple):
    """Addresses with the octets that each takes. ``unsure``: a look-up must be repeated before all are known."""

    addresses: tuple[tuple[Address, int], ...]
    permitted: frozenset[str]
    unsure: bool


def _parsed(text: str) -> Address | None:
    try:
        return parse_address(text)
    except AddressError:
        return None


def alike(authentication: Authentication, client: IPAddress, applied: str, reason: str = "", comment: str = "") -> str:
    """What makes messages alike, as JSON: one record of a report (RFC 9990 section 3.1.1.7)."""
    dmarc, spf = authentication.dmarc, authentication.spf
    passed = dmarc.result is Result.PASS
    if not reason and dmarc.result is Result.FAIL:
        reason = "policy_test_mode" if dmarc.testing else "local_policy" if applied != dmarc.disposition else ""
    told = [["dkim", one.domain, str(one.result), one.selector] for one in authentication.dkim[:MAX_SIGNATURES] if one.domain]
    if spf.domain:
        told.append(["spf", spf.domain, str(spf.result)])
    said = {
        "ip": str(getattr(client, "ipv4_mapped", None) or client),
        "done": "pass" if passed and dmarc.policy is not Disposition.NONE else "none" if passed else str(applied),
        "dkim": dmarc.dkim_aligned,
        "spf": dmarc.spf_aligned,
        "from": dmarc.from_domain,
        "mfrom": spf.domain if spf.scope == "mfrom" else "",
        "why": [reason, comment[:200]] if reason else [],
        "auth": told,
    }
    return json.dumps(said, separators=(",", ":"), sort_keys=True)


def _record(text: str, count: int) -> Record:
    said = json.loads(text)
    reason, comment = said["why"] or ("", "")
    return Record(
        source=said["ip"],
        messages=count,
        disposition=said["done"],
        dkim=said["dkim"],
        spf=said["spf"],
        header_from=said["from"],
        envelope_from=said["mfrom"],
        reason=reason,
        comment=comment,
        auth=tuple(AuthResult(*one) for one in said["auth"]),
    )


def _made(meta: Metadata, policy: Policy, rows: Sequence[tuple[str, int]]) -> Attached:
    """In a thread: it may be some megabytes."""
    record, domain = policy.record, policy.domain
    sub = record.sp if record.sp is not None else record.p
    published = Published(
        domain=domain,
        p=str(record.p),
        sp=str(sub),
        np=str(record.np if record.np is not None else sub),
        adkim="s" if record.strict_dkim else "r",
        aspf="s" if record.strict_spf else "r",
        fo=record.fo,
        testing=record.testing,
    )
    content = compose(meta, published, [_record(text, count) for text, count in rows])
    return Attached(domain, report_id(meta, domain), file_name(meta, domain), content)


def dmarc_reports_of(relay: Relay, jitter: float) -> DmarcReports:
    """Those of the running relay."""
    return DmarcReports(
        clock=relay.world.clock,
        settings=lambda: relay.settings,
        resolver=relay.resolver,
        notices=relay.notices,
        submit=relay.submit,
        read=relay.world.reader.read,
        counters=relay.world.counters,
        jitter=jitter,
    )
