"""An inquiry for a server on loopback, and what a family of questions found out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping

from postlatch.app.clock import SystemClock
from postlatch.audit.canary.values import Arrival, Canary
from postlatch.audit.fingerprint import Recognised
from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.names import Names
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.reach import reach
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.model.dns import Resolver

CANARY_DOMAIN = "canary.test"
LOCAL_DOMAIN = "local.test"
MAILBOX = "alice"

Ask = Callable[[Inquiry], Awaitable[list[Outcome]]]


class Mailbox:
    """A mailbox that is read; ``tokens`` says what is in there, whenever it is asked."""

    def __init__(self, tokens: Callable[[], Iterable[str]] = tuple) -> None:
        self._tokens = tokens

    async def arrivals(self) -> list[Arrival]:
        return [Arrival(token) for token in self._tokens()]


def inquiry(
    *ports: int,
    deep: bool = False,
    canary: Canary | None = None,
    reader: Canary | None = None,
    mailbox: str = MAILBOX,
    resolver: Resolver | None = None,
    seconds: float = 20.0,
    patience: float = 3.0,
    messages: int = 60,
) -> Inquiry:
    clock = SystemClock()
    manners = Manners(clock, domains=(CANARY_DOMAIN, LOCAL_DOMAIN), messages=messages, connections=4000, rate=400.0)
    names = Names(
        canary="probe",
        canary_domain=CANARY_DOMAIN,
        other_domain="other.example",
        helo="auditor.canary.test",
        address="127.0.0.1",
        hostname="mx.local.test",
        local_domain=LOCAL_DOMAIN,
        mailbox=mailbox,
        unknown="nobody-1f2e3d4c",
        port=ports[0],
    )
    return Inquiry(
        names=names,
        places=[Place("", "127.0.0.1", port) for port in ports],
        dial=Dialer(manners, helo=names.helo, patience=patience),
        manners=manners,
        clock=clock,
        dice=random.Random(7),
        deadline=clock.monotonic() + seconds,
        canary=canary,
        mailbox_reader=reader,
        resolver=resolver,
        deep=deep,
        server=Recognised("postfix"),
        run="pl0a1b2c3d",
    )


async def found_places(asked: Inquiry) -> Inquiry:
    """What its places offer, as an audit finds it out first."""
    reached, _ = await reach(asked.dial, asked.places)
    if reached:
        asked.places = [one.place for one in reached]
        asked.features = {one.place: one.offers for one in reached}
    return asked


def run(ask: Ask, asked: Inquiry, *more: Ask) -> list[Outcome]:
    """Of one family, or of several one after the other."""

    async def whole() -> list[Outcome]:
        found = await found_places(asked)
        return [outcome for family in (ask, *more) for outcome in await family(found)]

    return asyncio.run(whole())


def stands(outcomes: Iterable[Outcome]) -> Mapping[str, set[Stand]]:
    """By question."""
    found: dict[str, set[Stand]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.vector, set()).add(outcome.stand)
    return found


def bad(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """All that a server must not do."""
    return [one for one in outcomes if one.stand in {Stand.TAKEN, Stand.BROKE} or one.finding is not None]
