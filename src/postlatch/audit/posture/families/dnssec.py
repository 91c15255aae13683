"""DNSSEC: can anybody on the way change what the DNS says of this domain's mail? RFC 4033."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from postlatch.audit.posture.subject import Prover, Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import DnsError

_DOMAIN: Final = ("dnssec.domain", "DNSSEC of the domain")
_HOSTS: Final = ("dnssec.mx", "DNSSEC of the mail hosts")
_BLIND: Final = "the name server that was asked does not validate DNSSEC: name one that does with --resolver"


class _Told(NamedTuple):
    secure: bool = False
    there: bool = False
    failed: str = ""


async def check_dnssec(subject: Subject, tools: Tools) -> list[Check]:
    """The domain, and each mail host, which may be in other zones."""
    hosts = [host.name for host in subject.hosts.hosts]
    domain, *others = await asyncio.gather(*(_ask(tools.prover, name, "SOA") for name in (subject.domain, *hosts)))
    validates = domain.secure or any(one.secure for one in others) or (await _ask(tools.prover, "", "SOA")).secure
    checks = [await _domain(subject.domain, domain, tools.prover, validates=validates)]
    if hosts and not subject.hosts.null:
        checks.append(_mail_hosts(dict(zip(hosts, others, strict=True)), validates=validates))
    return checks


async def _ask(prover: Prover, name: str, kind: str) -> _Told:
    try:
        answer = await prover.proven(name, kind)
    except DnsError as error:
        return _Told(failed=str(error))
    return _Told(answer.secure, bool(answer.records))


async def _domain(domain: str, told: _Told, prover: Prover, *, validates: bool) -> Check:
    if told.failed:
        why = f"{domain} SOA: {told.failed}; a broken signature looks the same as a broken name server"
        return unknown(*_DOMAIN, why)
    if told.secure:
        return judged(*_DOMAIN, f"{domain} is signed, and the signatures are valid", [])
    if not validates:
        return unknown(*_DOMAIN, _BLIND)
    keys = await _ask(prover, domain, "DNSKEY")
    return check(*_DOMAIN, State.ABSENT, f"{domain} is not protected", [_unsigned(domain, keys)])


def _unsigned(domain: str, keys: _Told) -> Finding:
    why = "who answers faster than your name servers can send your mail, and your records, elsewhere"
    if keys.there:
        return fault(
            "dnssec.no-ds",
            Severity.MEDIUM,
            f"{domain} is signed, but its parent zone has no DS record",
            f"the signatures count nothing: {why}",
            "give the DS record of your key to the registrar of the domain",
        )
    fix = "let your name servers sign the zone, and give the DS record to the registrar"
    return fault("dnssec.unsigned", Severity.LOW, f"{domain} is not signed", why, fix)


def _mail_hosts(told: dict[str, _Told], *, validates: bool) -> Check:
    failed = [name for name, one in told.items() if one.failed]
    unsigned = [name for name, one in told.items() if not one.secure and not one.failed]
    if failed:
        return unknown(*_HOSTS, f"not answered for {several(failed)}")
    if unsigned and not validates:
        return unknown(*_HOSTS, _BLIND)
    faults = []
    if unsigned:
        faults.append(
            fault(
                "dnssec.mx-unsigned",
                Severity.LOW,
                f"the zone of {several(unsigned)} is not signed",
                "the addresses of the mail hosts can be forged, and DANE is not possible",
                "sign their zones, or use mail hosts in a zone that is signed",
            )
        )
    return judged(*_HOSTS, f"signed: {several(told)}", faults)
