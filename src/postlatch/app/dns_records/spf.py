"""SPF: what the published record says of our own addresses, and how to mend it. The evaluation itself is ``senderauth``'s."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from postlatch.app.dns_records import wanted
from postlatch.app.dns_records.wanted import Site
from postlatch.model.dns import DnsError, MxRecord, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.results import SpfResult

# An address of nobody (RFC 5737): a record that lets it pass lets anybody pass.
STRANGER = ip_address("203.0.113.113")
MAX_ADDRESSES = 6
_ALL = {"all", "+all", "-all", "~all", "?all"}
_ELSEWHERE = ("include:", "redirect=", "ip4:", "ip6:", "exists:", "a:", "mx:", "a/", "mx/")


class SpfCheck(Protocol):
    """`senderauth.spf.verify.check_spf`."""

    async def __call__(
        self, resolver: Resolver, *, client: IPAddress, helo: str, sender: str | None, receiver: str, now: float
    ) -> SpfResult:
        """RFC 7208 section 4.1."""
        ...


class SpfFindings(NamedTuple):
    """Results by address: of the domain's record, of the host name's (for bounces), and of the domain's for a stranger."""

    ours: tuple[tuple[IPAddress, SpfResult], ...] = ()
    helo: tuple[tuple[IPAddress, SpfResult], ...] = ()
    stranger: SpfResult | None = None


class _AsItWillBe:
    """The DNS once our MX record is published: whoever publishes it first must not be told to list addresses in SPF."""

    def __init__(self, resolver: Resolver, site: Site) -> None:
        self._resolver = resolver
        self._site = site
        self.addresses, self.a, self.aaaa = resolver.addresses, resolver.a, resolver.aaaa
        self.ptr, self.txt, self.records = resolver.ptr, resolver.txt, resolver.records

    async def mx(self, name: str) -> list[MxRecord]:
        """What is published, and this host."""
        ours = MxRecord(wanted.MX_PREFERENCE, self._site.hostname)
        try:
            found = await self._resolver.mx(name)
        except DnsError as error:
            if error.temporary or name.lower() != self._site.domain:
                raise
            found = []
        if name.lower().rstrip(".") != self._site.domain or ours.host in {record.host for record in found}:
            return found
        return [*(record for record in found if record.host), ours]


async def find(site: Site, ours: Sequence[IPAddress], resolver: Resolver, check: SpfCheck) -> SpfFindings:
    """Ask for our addresses and for a stranger's."""
    future: Resolver = _AsItWillBe(resolver, site) if site.receives else resolver

    async def ask(client: IPAddress, sender: str | None) -> SpfResult:
        return await check(future, client=client, helo=site.hostname, sender=sender, receiver=site.hostname, now=site.now)

    sender = f"postmaster@{site.domain}"
    return SpfFindings(
        ours=tuple([(client, await ask(client, sender)) for client in ours[:MAX_ADDRESSES]]),
        helo=tuple([(client, await ask(client, None)) for client in ours[:MAX_ADDRESSES]]),
        stranger=await ask(STRANGER, sender),
    )


def is_spf(text: str) -> bool:
    """RFC 7208 section 4.5: the version is a word of its own."""
    lower = text.lower()
    return lower == "v=spf1" or lower.startswith("v=spf1 ")


def meant_as_spf(text: str) -> bool:
    """True for what is none and was meant to be one: quotes that a form took literally, a version that is not there."""
    plain = text.lower().strip().lstrip("\"'\\").replace(" ", "")
    return not is_spf(text) and plain.startswith(("v=spf", "spf1", "spf2.0"))


def only_local(record: str) -> bool:
    """True if no term permits anything but the domain's own hosts: then no smarthost is among what it permits."""
    return not any(term.lower().lstrip("+-~?").startswith(_ELSEWHERE) for term in record.split()[1:])


def qualifier(record: str) -> str:
    """The ``all`` of a record as it stands there, ``""`` if it has none."""
    return next((term.lower() for term in record.split()[1:] if term.lower() in _ALL), "")


def closed(record: str) -> str:
    """The record with ``-all`` at its end."""
    terms = [term for term in record.split() if term.lower() not in _ALL]
    return " ".join([*terms, "-all"])


def amended(record: str, addresses: Sequence[IPAddress], host: str) -> str:
    """The record with these addresses permitted before anything else: by ``host``, the mechanism that names them, or singly."""
    terms = record.split()
    there = {term.lower().removeprefix("+") for term in terms}
    added = [host] if host and host not in there else wanted.spf_terms(tuple(addresses))
    return " ".join([terms[0], *added, *terms[1:]])


def merged(records: Sequence[str]) -> str:
    """One record that permits what each of several permits; ``""`` if that cannot be said with the terms that are there."""
    terms = [term for record in records for term in record.split()[1:]]
    if any("=" in term for term in terms):
        return ""
    strict = "-all" if any(term.lower() == "-all" for term in terms) else "~all"
    return " ".join(["v=spf1", *dict.fromkeys(term for term in terms if term.lower() not in _ALL), strict])
