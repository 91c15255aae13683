"""One audit of one target, from the first connection to the verdict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from postlatch.audit.canary.values import Arrival, Canary, CanaryError
from postlatch.audit.fingerprint import Recognised, recognise
from postlatch.audit.probes.controls import control
from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.ended import Why
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.names import Names
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.reach import Reached, Unreached, reach
from postlatch.audit.probes.values import Outcome
from postlatch.audit.result import TargetResult
from postlatch.audit.values import AuditVerdict, Evidence
from postlatch.audit.verdict import Facts, judge
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver

_POLL: Final = 0.1  # seconds between two looks at the canary
_QUIET: Final = 1.0  # seconds without anything new, once something came


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask of whom. ``names`` holds no address and no host name yet; ``places`` are those to try.

    ``time_limit`` and ``window`` are seconds: for all questions together, and for a message to arrive after the last one.
    """

    target: str
    places: Sequence[Place]
    names: Names
    time_limit: float
    window: float
    deep: bool = False
    source: str = ""
    patience: float = 5.0
    messages: int = 60
    rate: float = 25.0
    only: str = ""  # the auditor's one mailbox at a domain that others use too


def dialer(request: Request, manners: Manners) -> Dialer:
    """Real connections."""
    return Dialer(manners, helo=request.names.helo, source=request.source, patience=request.patience)


@dataclass(frozen=True, slots=True)
class Means:
    """What an audit is done with: arguments for tests, the real ones from ``app``."""

    clock: Clock
    dice: random.Random
    ask_all: Callable[[Inquiry], Awaitable[list[Outcome]]]
    run: str
    dial: Callable[[Request, Manners], Dialer] = dialer
    canary: Canary | None = None
    mailbox_reader: Canary | None = None
    resolver: Resolver | None = None


async def audit(request: Request, means: Means) -> TargetResult:
    """The result. Never raises for what a server does; what could not be found out is inconclusive."""
    began, began_at = means.clock.monotonic(), means.clock.now()
    manners = Manners(
        means.clock,
        domains=_domains(request),
        messages=request.messages,
        connections=4000 if request.deep else 400,
        rate=request.rate,
        only=request.only,
    )
    dial = means.dial(request, manners)
    reached, unreached = await reach(dial, request.places)
    if reached:
        hostname = await _own_name(_hostname(reached[0].banner), request, means, manners)
        inquiry = _inquiry(request, means, reached, dial, manners, began, hostname)
        result = await _ask(request, means, inquiry, unreached)
    else:
        result = _unreachable(request, unreached)
    return result._replace(
        messages=manners.messages,
        connections=manners.connections,
        seconds=means.clock.monotonic() - began,
        at=began_at,
    )


def _domains(request: Request) -> list[str]:
    names = request.names
    mine = [names.canary_domain, names.other_domain]
    return [*mine, names.local_domain, *(place.host for place in request.places), *(place.address for place in request.places)]


def _inquiry(
    request: Request,
    means: Means,
    reached: Sequence[Reached],
    dial: Dialer,
    manners: Manners,
    began: float,
    hostname: str,
) -> Inquiry:
    first = reached[0]
    names = request.names._replace(address=first.place.address, port=first.place.port, hostname=hostname)
    if not names.local_domain:
        names = names._replace(local_domain=hostname)
    manners.allow(hostname)
    return Inquiry(
        names=names,
        places=[one.place for one in reached],
        dial=dial,
        manners=manners,
        clock=means.clock,
        dice=means.dice,
        deadline=began + request.time_limit,
        canary=means.canary,
        mailbox_reader=means.mailbox_reader,
        resolver=means.resolver,
        deep=request.deep,
        server=recognise(first.banner, list(first.offers)),
        features={one.place: one.offers for one in reached},
        run=means.run,
    )


def _hostname(banner: str) -> str:
    """The name in a banner (RFC 5321 section 4.2: its first word), if it is one that can be written into an address."""
    word = banner.split(" ")[1].lower().strip(".") if " " in banner else ""
    letters = word.replace(".", "").replace("-", "")
    return word if "." in word and letters.isascii() and letters.isalnum() and len(word) <= 253 else ""


async def _own_name(hostname: str, request: Request, means: Means, manners: Manners) -> str:
    """The name by which it greets, if that is its own: it may call itself as it likes, and nobody else may get mail for it."""
    if not hostname or manners.stranger(hostname.encode()) is None:
        return hostname
    if means.resolver is None:
        return ""
    try:
        addresses = {str(address) for address in await means.resolver.addresses(hostname)}
    except DnsError:
        return ""
    return hostname if addresses & {place.address for place in request.places} else ""


async def _ask(request: Request, means: Means, inquiry: Inquiry, unreached: Sequence[Unreached]) -> TargetResult:
    controls = await control(inquiry)
    outcomes = await means.ask_all(inquiry)
    arrivals, trouble = await _arrivals(request, means, [outcome.token for outcome in outcomes if outcome.token])
    judged = judge(
        Facts(
            controls,
            [*controls.outcomes, *outcomes],
            arrivals,
            inquiry.server.product,
            canary=means.canary is not None and not trouble,
            port=inquiry.places[0].port,
            near=ip_address(inquiry.places[0].address).is_loopback,
        )
    )
    notes = " ".join(filter(None, (judged.decide, judged.unasked, trouble, _not_reached(unreached))))
    return TargetResult(
        request.target,
        judged.verdict,
        judged.evidence,
        judged.grade,
        judged.summary,
        notes,
        _server(inquiry.server),
        tuple(str(place) for place in inquiry.places),
        judged.findings,
        judged.outcomes,
    )


async def _arrivals(request: Request, means: Means, tokens: Sequence[str]) -> tuple[list[Arrival], str]:
    """What the canary saw, after the window, or as soon as all is there; and what was wrong with the canary, if anything."""
    if means.canary is None or not tokens:
        return [], ""
    ends = means.clock.monotonic() + request.window
    seen: list[Arrival] = []
    quiet_since = means.clock.monotonic()
    try:
        while means.clock.monotonic() < ends:
            before = len(seen)
            seen = [arrival for arrival in await means.canary.arrivals() if arrival.token in tokens]
            if len(seen) > before:
                quiet_since = means.clock.monotonic()
            if {arrival.token for arrival in seen} >= set(tokens):
                break
            if seen and means.clock.monotonic() - quiet_since > _QUIET:
                break
            await asyncio.sleep(_POLL)
    except CanaryError as error:
        return seen, f"The canary could not be read: {error}"
    return seen, ""


def _not_reached(unreached: Sequence[Unreached]) -> str:
    """A place that is there and would not speak is a place that was not asked."""
    return " ".join(f"{one.place} was not asked: {one.text}." for one in unreached if one.why is not Why.UNREACHABLE)


def _unreachable(request: Request, unreached: Sequence[Unreached]) -> TargetResult:
    why = "; ".join(f"{one.place}: {one.text}" for one in unreached) or "it has no address"
    return TargetResult(
        request.target,
        AuditVerdict.INCONCLUSIVE,
        Evidence.E0,
        "-",
        f"It does not speak SMTP with us: {why}"[:500],
        "See whether a firewall stands before it, or whether it refuses this address; ask from elsewhere.",
    )


def _server(server: Recognised) -> str:
    return " ".join(filter(None, (server.product, server.version)))
