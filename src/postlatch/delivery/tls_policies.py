"""Which TLS a domain's mail hosts must give: DANE before MTA-STS before what the configuration says, host by host.

RFC 7672 (DANE, only where a trusted validating resolver proves the whole chain), RFC 8461 (MTA-STS). DANE wins over MTA-STS
(RFC 8461 section 2). TLSA records of which none is of use demand encryption and prove nothing (RFC 7672 section 2.2), so a
policy of MTA-STS still counts then. What the configuration demands is never weakened: the stricter holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from postlatch.delivery import tls_demand
from postlatch.delivery.cache import SharedCache
from postlatch.delivery.contract import TlsPolicy
from postlatch.delivery.dane import Tlsa, usable
from postlatch.delivery.mta_sts import StsMode, StsPolicy
from postlatch.delivery.mx import MailHost
from postlatch.delivery.secure_dns import Proven, SecureResolver
from postlatch.delivery.tls_demand import NOTHING, Applied, Demand
from postlatch.delivery.tls_seen import DNSSEC_INVALID, GENERAL, TLSA_INVALID, TlsSeen, TlsSession
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError

_REMEMBERED: Final = 86_400.0  # seconds, longer than any connection is kept
_MAX_REMEMBERED: Final = 50_000

_STRICTNESS: Final = {TlsPolicy.OPPORTUNISTIC: 0, TlsPolicy.REQUIRED: 1, TlsPolicy.VERIFY: 2}


class StsFound(NamedTuple):
    """The policy of a domain, None if it has none that is known. ``problem`` and ``reason`` as in `Applied`.

    ``sure`` is False if it could not be asked whether there is one.
    """

    policy: StsPolicy | None = None
    problem: str = ""
    reason: str = ""
    sure: bool = True


class StsSource(Protocol):
    """Knows the MTA-STS policies of others."""

    async def policy(self, domain: str) -> StsFound:
        """Never raises: without an answer there is no policy but the one that is kept."""
        ...


class Judged(NamedTuple):
    """One mail host. ``refused``: it must not be used, because of ``why``; ``result`` is the type of RFC 8460 for that."""

    host: MailHost
    tls: TlsPolicy
    demand: Demand | None = None
    applied: Applied = NOTHING
    why: str = ""
    refused: bool = False
    result: str = ""


class _Dane(NamedTuple):
    """What DANE says of a host: ``records`` as published, ``usable`` of them; ``base`` is their domain. ``failed``: unknown."""

    records: tuple[str, ...] = ()
    usable: tuple[Tlsa, ...] = ()
    base: str = ""
    failed: str = ""


_NO_DANE: Final = _Dane()


class TlsPolicies:
    """``secure`` is None without DANE, ``sts`` without MTA-STS. ``tell`` is told of each connection and what applied to it."""

    def __init__(self, clock: Clock, *, secure: SecureResolver | None, sts: StsSource | None, tell: TlsSeen | None) -> None:
        self._secure = secure
        self._sts = sts
        self._tell = tell
        self._applied: SharedCache[tuple[str, str], Applied] = SharedCache(clock, _MAX_REMEMBERED)

    def use(self, *, secure: SecureResolver | None, sts: StsSource | None) -> None:
        """After a change of the configuration."""
        self._secure, self._sts = secure, sts

    async def judge(self, domain: str, hosts: Sequence[MailHost], level: TlsPolicy) -> list[Judged]:
        """Each of ``hosts``, in their order. ``level`` is what the configuration demands."""
        if domain.startswith("["):
            return [Judged(host, level) for host in hosts]
        proved, sts = await asyncio.gather(self._mx(domain), self._policy(domain))
        danes = await asyncio.gather(*(self._dane(proved, domain, host.name) for host in hosts))
        judged = [
            _judge(host, dane, sts, level, domain, proved=_names(proved, domain, host.name))
            for host, dane in zip(hosts, danes, strict=True)
        ]
        for found in judged:
            self._applied.put((domain, found.host.name), found.applied, _REMEMBERED)
        return judged

    def applied(self, domain: str, host: str) -> Applied:
        """The policy that was applied to this host the last time."""
        return self._applied.peek((domain, host)) or NOTHING

    def note(self, session: TlsSession) -> None:
        """A connection, as `session_setup` tells of it: passed on with the policy, and with what was wrong with that."""
        if self._tell is None:
            return
        applied = self.applied(session.domain, session.host)
        if not session.result and applied.problem:
            session = session._replace(result=applied.problem, reason=applied.reason)
        self._tell(session._replace(applied=applied))

    def note_refused(self, domain: str, judged: Judged) -> None:
        """A host that was not even connected to counts as a session that failed: its domain wants to know."""
        if self._tell is not None:
            self._tell(TlsSession(domain, judged.host.name, "", "", judged.result, judged.why, judged.applied))

    async def _policy(self, domain: str) -> StsFound:
        return await self._sts.policy(domain) if self._sts is not None else StsFound()

    async def _mx(self, domain: str) -> Proven | None:
        """The MX records if they are proved, or are proved to be absent."""
        if self._secure is None:
            return None
        try:
            answer = await self._secure.proven(domain, "MX")
        except DnsError:
            return None  # `mx.mail_hosts` had an answer a moment ago; what it said is not proved now
        return answer if answer.secure else None

    async def _dane(self, mx: Proven | None, domain: str, host: str) -> _Dane:
        """RFC 7672 section 2.2: MX, address and TLSA records are all proved, or there is no DANE."""
        if mx is None or self._secure is None or not _names(mx, domain, host):
            return _NO_DANE
        bases = await self._bases(self._secure, host)
        for base in bases:
            try:
                answer = await self._secure.proven(f"_25._tcp.{base}", "TLSA")
            except DnsError:
                # Section 2.1.2: it may be an attacker who takes the answer away, so the host is not used.
                return _Dane(failed=f"the DNS gave no valid answer for the TLSA records of {base}")
            if answer.secure and answer.records:
                return _Dane(answer.records, usable(answer.records), base)
        return _NO_DANE

    async def _bases(self, secure: SecureResolver, host: str) -> list[str]:
        """The names under which TLSA records are looked for (sections 2.2.2 and 2.2.3); none if the address is not proved."""
        answers = await asyncio.gather(secure.proven(host, "A"), secure.proven(host, "AAAA"), return_exceptions=True)
        found = [answer for answer in answers if isinstance(answer, Proven)]
        behind = next((answer.name for answer in found if answer.name), host)
        if found and all(answer.secure for answer in found):
            return list(dict.fromkeys((behind, host)))
        if behind == host or not found:
            return []
        try:
            alias = await secure.proven(host, "CNAME")
        except DnsError:
            return []
        return [host] if alias.secure and alias.records else []


def _judge(host: MailHost, dane: _Dane, sts: StsFound, level: TlsPolicy, domain: str, *, proved: bool) -> Judged:
    if dane.failed:
        applied = Applied(tls_demand.TLSA)
        return Judged(host, TlsPolicy.VERIFY, None, applied, dane.failed, refused=True, result=DNSSEC_INVALID)
    if dane.usable:
        names = tuple(dict.fromkeys((dane.base, host.name, domain)))
        demand = Demand(tlsa=dane.usable, names=names, sni=dane.base, mx_proved=True)
        return Judged(host, TlsPolicy.VERIFY, demand, Applied(tls_demand.TLSA, dane.records), f"TLSA records of {dane.base}")
    by_sts = _by_sts(host, sts, level, proved=proved)
    if not dane.records:
        return by_sts
    problem = "none of its TLSA records can be used"
    applied = Applied(tls_demand.TLSA, dane.records, problem=TLSA_INVALID, reason=problem)
    why = f"{problem}, so it must encrypt" + (f"; {by_sts.why}" if by_sts.why else "")
    return by_sts._replace(tls=_stricter(by_sts.tls, TlsPolicy.REQUIRED), applied=applied, why=why)


def _by_sts(host: MailHost, sts: StsFound, level: TlsPolicy, *, proved: bool) -> Judged:
    policy = sts.policy
    plain = Demand(mx_proved=True) if proved else None
    if policy is None or policy.mode is StsMode.NONE:
        if plain is None and policy is None and not sts.sure:
            plain = Demand(unsure=True)
        applied = Applied(tls_demand.STS, problem=sts.problem, reason=sts.reason) if sts.problem else NOTHING
        return Judged(host, level, plain, applied, sts.reason)
    applied = Applied(tls_demand.STS, policy.lines, policy.mx, sts.problem, sts.reason)
    if not policy.names(host.name):
        why = f"the MTA-STS policy does not name {host.name}"
        if policy.mode is StsMode.ENFORCE:
            return Judged(host, TlsPolicy.VERIFY, None, applied, why, refused=True, result=GENERAL)
        tested = applied._replace(problem=GENERAL, reason=why)
        return Judged(host, level, plain, tested, f"{why}, which is only tested")
    if policy.mode is StsMode.ENFORCE:
        return Judged(host, TlsPolicy.VERIFY, Demand(by_san=True, mx_proved=True), applied, "MTA-STS policy, enforced")
    if level is TlsPolicy.VERIFY:
        return Judged(host, level, Demand(mx_proved=True), applied, "MTA-STS policy, tested; the configuration demands more")
    return Judged(host, level, Demand(by_san=True, tested=True, mx_proved=True), applied, "MTA-STS policy, tested")


def _stricter(one: TlsPolicy, other: TlsPolicy) -> TlsPolicy:
    return max(one, other, key=_STRICTNESS.__getitem__)


def _names(mx: Proven | None, domain: str, host: str) -> bool:
    """True if the proved answer leads to this host: it may be newer than the one that the hosts came from."""
    if mx is None:
        return False
    if not mx.records:
        return host == domain  # the implicit MX
    return any(text.lower().split(None, 1)[-1].rstrip(".") == host for text in mx.records)
