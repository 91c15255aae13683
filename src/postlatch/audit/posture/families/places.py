"""Which places are looked at for TLS: the mail hosts, and the submission hosts that the DNS names (RFC 6186)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.wire.line import Place
from postlatch.audit.posture.wire.sight import Sight
from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.spf.names import can_be_asked

_SERVICES: Final = ("_submissions._tcp", "_submission._tcp")
_MOST: Final = 24  # places
_MOST_SERVICES: Final = 3


async def look(subject: Subject, tools: Tools) -> list[Sight]:
    """What was seen, the mail port first. A port on which nobody listens is left out, but for the mail port."""
    if tools.sightings is None:
        return []
    places = await _places(subject, tools)
    sights = await asyncio.gather(*(tools.sightings.see(place) for place in places))
    return [s for s in sights if s.place.port == subject.request.smtp_port or s.failure is None or not s.failure.refused]


async def _places(subject: Subject, tools: Tools) -> list[Place]:
    ports = dict.fromkeys((subject.request.smtp_port, *subject.request.ports))
    hosts = [(host.name, host.addresses) for host in subject.hosts.closely]
    found = [
        Place(name, address, port) for port in ports for name, all_of in hosts if (address := choose(all_of, tools)) is not None
    ]
    return list(dict.fromkeys((*found, *await _submission(subject.domain, tools))))[:_MOST]


async def _submission(domain: str, tools: Tools) -> list[Place]:
    answers = await asyncio.gather(*(ask(tools.resolver.records(f"{service}.{domain}", "SRV")) for service in _SERVICES))
    named = [one for answer in answers for text in answer.records if (one := _service(text)) is not None]
    places = []
    for name, port in list(dict.fromkeys(named))[:_MOST_SERVICES]:
        addresses = await _addresses(tools.resolver, name)
        if (address := choose(addresses, tools)) is not None:
            places.append(Place(name, address, port))
    return places


async def _addresses(resolver: Resolver, name: str) -> tuple[IPAddress, ...]:
    return (await ask(resolver.addresses(name))).records


def _service(text: str) -> tuple[str, int] | None:
    parts = text.split()
    if len(parts) != 4 or not parts[2].isascii() or not parts[2].isdigit() or len(parts[2]) > 5:
        return None
    name, port = parts[3].lower().rstrip("."), int(parts[2])
    return (name, port) if can_be_asked(name) and 0 < port < 65_536 else None


def choose(addresses: Sequence[IPAddress], tools: Tools) -> IPAddress | None:
    """The same program answers on all addresses of a host: IPv4 first, which more machines can reach."""
    reachable = [address for address in addresses if tools.may_reach(address)]
    return min(reachable, key=lambda address: not isinstance(address, IPv4Address), default=None)
