"""The mail hosts of a domain: its MX records, and the addresses of each."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from postlatch.audit.posture.asking import ask
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.spf.names import can_be_asked

MOST_HOSTS: Final = 5  # that are looked at closely
MOST_ADDRESSES: Final = 8  # of one host


class MailHost(NamedTuple):
    """One host. ``failed`` says why its addresses are not known; ``alias`` is where a CNAME leads (RFC 2181 section 10.3)."""

    name: str
    preference: int
    addresses: tuple[IPAddress, ...] = ()
    failed: str = ""
    alias: str = ""


class MailHosts(NamedTuple):
    """``null``: the domain takes no mail (RFC 7505). ``implicit``: there is no MX record, and mail goes to the domain itself.

    ``listed`` is how many MX records there are, ``names`` are theirs as they stand; ``hosts`` are at most five, the best first.
    """

    hosts: tuple[MailHost, ...] = ()
    names: tuple[str, ...] = ()
    null: bool = False
    implicit: bool = False
    exists: bool = True
    failed: str = ""

    @property
    def closely(self) -> tuple[MailHost, ...]:
        """Those with addresses."""
        return tuple(host for host in self.hosts if host.addresses)


async def find_hosts(resolver: Resolver, domain: str) -> MailHosts:
    """RFC 5321 section 5.1."""
    found = await ask(resolver.mx(domain))
    if found.failed or not found.exists:
        return MailHosts(exists=found.exists, failed=found.failed)
    records = sorted(found.records)
    names = tuple(record.host for record in records)
    preferences = {record.host: record.preference for record in reversed(records) if record.host}
    if not records:
        return await _implicit(resolver, domain)
    wanted = sorted(preferences, key=lambda name: (preferences[name], name))[:MOST_HOSTS]
    hosts = await asyncio.gather(*(_host(resolver, name, preferences[name]) for name in wanted))
    return MailHosts(tuple(hosts), names, null="" in names)


async def _implicit(resolver: Resolver, domain: str) -> MailHosts:
    host = await _host(resolver, domain, 0)
    if host.failed or not host.addresses:
        return MailHosts(failed=host.failed)
    return MailHosts((host._replace(alias=""),), implicit=True)


async def _host(resolver: Resolver, name: str, preference: int) -> MailHost:
    if not can_be_asked(name):
        return MailHost(name, preference)
    found, aliases = await asyncio.gather(ask(resolver.addresses(name)), ask(_alias(resolver, name)))
    alias = aliases.records[0] if aliases.records else ""
    return MailHost(name, preference, found.records[:MOST_ADDRESSES], found.failed, alias)


async def _alias(resolver: Resolver, name: str) -> list[str]:
    try:
        return await resolver.records(name, "CNAME")
    except DnsError:
        return []
