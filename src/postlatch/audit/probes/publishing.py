"""What a domain publishes about mail in its name: only what it says can be broken (RFC 7208, RFC 9989)."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.dmarc.walk import discover
from postlatch.senderauth.results import Disposition, Result
from postlatch.senderauth.spf.verify import check_spf

_PATIENCE: Final = 2.0  # seconds for all questions of the DNS
_FAILS: Final = frozenset({Result.FAIL, Result.SOFTFAIL})
_STRICT: Final = frozenset({Disposition.REJECT, Disposition.QUARANTINE})


class Promise(NamedTuple):
    """``spf``: what it says of our address. ``dmarc``: what is to be done with mail that is not proved; None: nothing is.

    ``why`` is a sentence for people. ``known`` is False if the DNS did not answer.
    """

    known: bool
    spf: Result = Result.NONE
    dmarc: Disposition | None = None
    why: str = ""

    @property
    def forbids(self) -> bool:
        """Mail in its name from us is to be refused, or put aside."""
        return self.spf in _FAILS or self.forbids_author

    @property
    def forbids_author(self) -> bool:
        """The same of mail whose From field names the domain, whatever its envelope says."""
        return self.dmarc in _STRICT

    @property
    def allows(self) -> bool:
        """Our address may send for the domain: that it takes our mail says nothing."""
        return self.spf is Result.PASS


async def promise(inquiry: Inquiry, place: Place) -> Promise:
    """What the target's own domain publishes. Never raises for what the DNS says."""
    resolver, domain = inquiry.resolver, inquiry.names.local_domain
    if resolver is None or not domain:
        return Promise(known=False, why="there is no DNS to ask")
    with suppress(DnsError, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            return await _published(inquiry, resolver, domain, own_address(place))
    return Promise(known=False, why=f"the DNS did not say what {domain} publishes")


async def _published(inquiry: Inquiry, resolver: Resolver, domain: str, client: IPAddress) -> Promise:
    spf, policy = await asyncio.gather(
        check_spf(
            resolver,
            client=client,
            helo=inquiry.dial.helo,
            sender=f"postmaster@{domain}",
            receiver=inquiry.names.hostname or domain,
            now=inquiry.clock.now(),
        ),
        discover(resolver, domain),
    )
    if Result.TEMPERROR in {spf.result, policy.problem}:
        return Promise(known=False, why=f"the DNS did not say what {domain} publishes")
    dmarc = policy.asked_for if policy.problem is None else None
    says = f"SPF of {domain} says {spf.result.value} of {client}"
    what = f"its DMARC policy is {dmarc.value}" if dmarc is not None else "it has no DMARC policy"
    return Promise(known=True, spf=spf.result, dmarc=dmarc, why=printable(f"{says}; {what}"))


def own_address(place: Place) -> IPAddress:
    """The address that this machine has towards the target. A datagram socket that is connected sends nothing."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.connect((place.address, place.port))
        return ip_address(str(sock.getsockname()[0]).partition("%")[0])
    return ip_address("::1" if family == socket.AF_INET6 else "127.0.0.1")
