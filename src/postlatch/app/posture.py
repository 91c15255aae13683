"""``postlatch audit posture``: joins the real DNS, HTTPS and clock with the checks."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any, Final

import dns.resolver

from postlatch import __version__
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.app.clock import SystemClock
from postlatch.app.fetch import HttpFetcher
from postlatch.app.senders import chosen_settings
from postlatch.audit.posture.run import PostureResult, as_data, examine
from postlatch.audit.posture.subject import USUAL_PORTS, Request, Tools
from postlatch.audit.posture.wire.sightings import Sightings
from postlatch.audit.report.html import html
from postlatch.audit.report.sections import posture_section
from postlatch.delivery.guard import is_public
from postlatch.delivery.resolver import DnsResolver
from postlatch.model.envelope import IPAddress
from postlatch.settings.tree import Settings

TIME_LIMIT: Final = 60  # seconds
_LIFETIME: Final = 5.0  # seconds for one question: many are asked, and a silent server must not take all the time
_CONNECTIONS_SHARE: Final = 0.9  # of the time, after which no conversation goes on: its families must still judge
_MOST_PORTS: Final = 12


def posture(config: Path | None, arguments: dict[str, Any]) -> Answer:
    """Status 0: nothing bad; 1: something is; 2: cannot be asked; 3: the DNS did not answer for the domain."""
    try:
        settings = chosen_settings(config)
        result = asyncio.run(_examine(arguments, settings))
    except (OSError, ValueError) as error:
        return Answer(UNUSABLE, {}, str(error))
    data = {"schema": "postlatch.audit-posture/1", **as_data(result)}
    if arguments.get("format") == "html":
        section = posture_section(result.domain, result.checks)._replace(grade=result.grade)
        data["lines"] = html("Mail domain", [section], version=__version__, now=time.time(), things="domains").splitlines()
    return Answer(status_of(result), data)


def status_of(result: PostureResult) -> int:
    """The exit status of one result."""
    if not result.looked_up:
        return UNDECIDED
    return BAD_NEWS if result.bad else GOOD


async def _examine(arguments: dict[str, Any], settings: Settings | None) -> PostureResult:
    clock, dice = SystemClock(), random.SystemRandom()
    seconds = float(arguments.get("time_limit") or TIME_LIMIT)
    resolver = DnsResolver.of_servers(servers(arguments, settings), clock, lifetime=_LIFETIME, validating=True)
    connect = not arguments.get("no_connect")
    may_reach = _anywhere if arguments.get("private") else is_public
    sightings = Sightings(
        clock,
        dice,
        helo=settings.hostname if settings is not None else "localhost.localdomain",
        deadline=clock.monotonic() + seconds * _CONNECTIONS_SHARE,
    )
    fetcher = HttpFetcher(resolver, may_reach=may_reach)
    tools = Tools(resolver, resolver, fetcher if connect else None, clock, dice, sightings if connect else None, may_reach)
    return await examine(_request(arguments, connect=connect), tools, seconds)


def servers(arguments: dict[str, Any], settings: Settings | None) -> tuple[str, ...]:
    """The name servers to ask: those that were named, those of the configuration, those of the system."""
    if arguments.get("resolver"):
        return (str(arguments["resolver"]),)
    if settings is not None and settings.outbound.resolver:
        return tuple(settings.outbound.resolver)
    try:
        found = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        found = []
    if not found:
        raise ValueError("the system names no DNS server: name one with --resolver")
    return tuple(str(server) for server in found)


def _request(arguments: dict[str, Any], *, connect: bool) -> Request:
    ports = [int(port) for port in arguments.get("port", ())]
    if any(port > 65_535 for port in ports):
        raise ValueError("--port: a port is a number from 1 to 65535")
    return Request(
        str(arguments["domain"]),
        selectors=tuple(map(str, arguments.get("selector", ()))),
        dnsbl=tuple(map(str, arguments.get("dnsbl", ()))),
        ports=tuple(dict.fromkeys((*USUAL_PORTS, *ports)))[:_MOST_PORTS],
        connect=connect,
    )


def _anywhere(address: IPAddress) -> bool:
    """With ``--private``: a laboratory of the operator's own. What is no machine's address stays out."""
    return not (address.is_multicast or address.is_unspecified)
