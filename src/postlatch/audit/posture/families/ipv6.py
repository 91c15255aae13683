"""IPv6: can a sender that has nothing else deliver mail?"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from typing import Final

from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.posture.wire.line import Place
from postlatch.audit.values import Severity

_ADDRESSES: Final = ("ipv6.mx", "IPv6 addresses of the mail hosts")
_REACHED: Final = ("ipv6.reach", "Mail hosts reached over IPv6")


async def check_ipv6(subject: Subject, tools: Tools) -> list[Check]:
    """The addresses, and whether something listens there."""
    hosts = subject.hosts
    if hosts.failed or hosts.null or not hosts.hosts:
        return (
            [unknown(*_ADDRESSES, hosts.failed)]
            if hosts.failed
            else [check(*_ADDRESSES, State.INFO, "there are no mail hosts")]
        )
    failed = [host.name for host in hosts.hosts if host.failed]
    have = {host.name: [a for a in host.addresses if isinstance(a, IPv6Address)] for host in hosts.hosts}
    with_v6 = [name for name, addresses in have.items() if addresses]
    if failed and not with_v6:
        return [unknown(*_ADDRESSES, f"not answered for {several(failed)}")]
    if not with_v6:
        name = hosts.hosts[0].name
        missing = fault(
            "ipv6.none",
            Severity.LOW,
            "no mail host has an IPv6 address",
            "senders without IPv4 cannot deliver",
            f"publish: {name}. AAAA with an address of the host, and let it listen there",
        )
        return [check(*_ADDRESSES, State.ABSENT, missing.message, [missing])]
    return [judged(*_ADDRESSES, f"{several(with_v6)}", []), await _reach(have, subject, tools)]


async def _reach(have: dict[str, list[IPv6Address]], subject: Subject, tools: Tools) -> Check:
    port = subject.request.smtp_port
    places = [Place(name, a, port) for name, found in have.items() for a in found[:2] if tools.may_reach(a)]
    if tools.sightings is None or not places:
        return unknown(*_REACHED, "nothing may be connected to there")
    answers = await asyncio.gather(*(tools.sightings.reach(place) for place in places))
    faults, unseen = [], []
    for place, failure in zip(places, answers, strict=True):
        if failure is not None and failure.no_route:
            unseen.append(f"{place.address} ({failure})")
        elif failure is not None:
            faults.append(
                fault(
                    "ipv6.unreachable",
                    Severity.MEDIUM,
                    f"{place.host} does not answer at {place.address}: {failure}",
                    "senders that prefer IPv6 lose time there, and those without IPv4 cannot deliver",
                    "let the server listen on IPv6 and the firewall let port 25 through, or take the AAAA record out",
                )
            )
    detail = f"not to be reached from here: {several(unseen)}" if unseen else several(str(place.address) for place in places)
    return judged(*_REACHED, detail, faults, seen=not unseen)
