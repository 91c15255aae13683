"""Asks the authoritative name servers of a zone, each of them, whether a key's record is there: no cache in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from postlatch.app.dkim_life import problem
from postlatch.delivery.resolver import DnsResolver
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.settings.tree import Settings

MAX_SERVERS: Final = 24
MAX_ADDRESSES: Final = 8  # of one server
_MAX_ALIASES: Final = 3
_LIFETIME: Final = 4.0  # seconds for one question to one server

Ask = Callable[[IPAddress], Resolver]
"""A resolver that asks the server at this address and nobody else, and remembers nothing."""


class Look(NamedTuple):
    """``seen``: all name servers have exactly this key. ``sure``: else it is certain that one of them has not. ``why`` not."""

    seen: bool
    sure: bool = True
    why: str = ""


class _Said(NamedTuple):
    """What one address said: ``why`` is empty if it has the key. Not ``answered``: it said nothing usable."""

    answered: bool
    why: str


def resolver_of(settings: Settings, clock: Clock) -> Resolver:
    """The resolver of the configuration; ValueError if there is none."""
    servers = settings.outbound.resolver
    return DnsResolver.of_servers(servers, clock) if servers else DnsResolver.of_system(clock)


def asking(clock: Clock) -> Ask:
    """Real name servers, at port 53."""
    return lambda address: DnsResolver.of_servers([str(address)], clock, lifetime=_LIFETIME)


async def look(resolver: Resolver, ask: Ask, name: str, record: str, aliases: int = _MAX_ALIASES) -> Look:
    """Whether all name servers have ``record`` at ``name``. Never raises for what the DNS says."""
    try:
        zone, servers = await zone_of(resolver, name.partition(".")[2])
    except DnsError as error:
        return Look(False, False, f"the name servers of {name} cannot be found ({error})")
    if len(servers) > MAX_SERVERS:
        return Look(False, True, f"{zone} has more than {MAX_SERVERS} name servers")
    looks = await asyncio.gather(*(_at_server(resolver, ask, server, name, record, aliases) for server in servers))
    bad = [found for found in looks if not found.seen]
    if not bad:
        return Look(True)
    return next((found for found in bad if found.sure), bad[0])


async def zone_of(resolver: Resolver, name: str) -> tuple[str, list[str]]:
    """The zone that ``name`` is in, and its name servers: the nearest name above with NS records. DnsError if none is found."""
    while name:
        try:
            servers = await resolver.records(name, "NS")
        except DnsError as error:
            if error.temporary:
                raise
            servers = []
        if servers:
            return name, sorted({server.rstrip(".") for server in servers})
        name = name.partition(".")[2]
    raise DnsError("no name above it has NS records", temporary=True)


async def _at_server(resolver: Resolver, ask: Ask, server: str, name: str, record: str, aliases: int) -> Look:
    """One server, at all its addresses. One that is not reached does not count, if another has the key: think of IPv6."""
    try:
        addresses = (await resolver.addresses(server))[:MAX_ADDRESSES]
    except DnsError as error:
        return Look(False, False, f"the name server {server} has no address ({error})")
    looks = await asyncio.gather(*(_at_address(resolver, ask, address, name, record, aliases) for address in addresses))
    for found in looks:
        if not found.seen and found.sure:
            return found._replace(why=f"the name server {server} {found.why}")
    return Look(True) if any(found.seen for found in looks) else Look(False, False, f"the name server {server} does not answer")


async def _at_address(resolver: Resolver, ask: Ask, address: IPAddress, name: str, record: str, aliases: int) -> Look:
    server = ask(address)
    try:
        published = await server.txt(name)
        alias = [] if published else await server.records(name, "CNAME")
    except DnsError as error:
        return Look(False, not error.temporary, "has no record")
    if alias and aliases:
        found = await look(resolver, ask, alias[0].rstrip("."), record, aliases - 1)
        return found._replace(why=found.why and f"has an alias: {found.why}")
    wrong = problem(published, record)
    return Look(not wrong, True, wrong)
