"""Does the next hop know this recipient? Asked at RCPT, so that mail for nobody is refused and never has to be bounced."""

from __future__ import annotations

from enum import StrEnum
from random import Random

from postlatch.delivery.cache import SharedCache
from postlatch.delivery.config import DeliveryConfig, Route, RouteKind
from postlatch.delivery.contract import ConnectFailed
from postlatch.delivery.mx import RoutingFailed
from postlatch.delivery.ports import PoolPort
from postlatch.delivery.targets import Targets
from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.reply import Reply

KNOWN_SECONDS = 3600.0
UNKNOWN_SECONDS = 300.0  # short: a mailbox that was just made must not stay unknown for an hour
UNDECIDED_SECONDS = 10.0  # a next hop that is down is not asked again for every RCPT
STALE_SECONDS = 86_400.0  # a mailbox that was there today is taken to be there while the next hop is down
MAX_ENTRIES = 50_000
MAX_PROBES = 50  # at once; a dictionary attack on us must not become one on the next hop

_CODES = frozenset({550, 551, 553})


class _Answer(StrEnum):
    KNOWN = "known"
    UNKNOWN = "unknown"
    UNDECIDED = "undecided"


class Callout:
    """Asks next hops for recipients, and remembers. For domains with ``recipients = "callout"``."""

    def __init__(self, config: DeliveryConfig, *, pool: PoolPort, resolver: Resolver, clock: Clock, random: Random) -> None:
        self._config = config
        self._pool = pool
        self._targets = Targets(resolver, clock, random, parks=False)
        self._answers: SharedCache[str, _Answer] = SharedCache(clock, MAX_ENTRIES)
        self._seen: SharedCache[str, _Answer] = SharedCache(clock, MAX_ENTRIES)

    def reload(self, config: DeliveryConfig) -> None:
        """Ask by ``config`` from now on; what was remembered may come from another next hop and is dropped."""
        self._config = config
        self._answers.forget()
        self._seen.forget()

    async def known(self, address: Address) -> bool | None:
        """True or False as the next hop says; None if it cannot be asked now (then the answer to RCPT is 451)."""
        route = self._config.local.get(address.domain) or self._config.relay.get(address.domain)
        if route is None or route.kind is RouteKind.MAILDIR:
            return None
        key = address.key
        answer = self._answers.peek(key)
        if answer is None:
            if self._answers.asking >= MAX_PROBES and not self._answers.is_asking(key):
                return None
            answer = await self._answers.get(key, lambda: self._ask(route, address))
        return None if answer is _Answer.UNDECIDED else answer is _Answer.KNOWN

    async def _ask(self, route: Route, address: Address) -> tuple[_Answer, float]:
        answer = await self._probe(route, address)
        if answer is _Answer.KNOWN:
            self._seen.put(address.key, answer, STALE_SECONDS)
            return answer, KNOWN_SECONDS
        if answer is _Answer.UNKNOWN:
            return answer, UNKNOWN_SECONDS
        return self._seen.peek(address.key) or answer, UNDECIDED_SECONDS

    async def _probe(self, route: Route, address: Address) -> _Answer:
        try:
            for target in await self._targets.of(self._config, route):
                try:
                    reply = await self._pool.probe(target, address)
                except ConnectFailed as error:
                    self._targets.failed(route, target, error.reply)
                    continue
                self._targets.worked(target)
                return judge(reply)
        except RoutingFailed:
            pass
        return _Answer.UNDECIDED


def judge(reply: Reply) -> _Answer:
    """Only a refusal of the address itself makes it unknown.

    A refusal of *us* (550 5.7.1 "blocked") would otherwise make every mailbox of the domain unknown, and lose its mail.
    """
    if 200 <= reply.code < 300:
        return _Answer.KNOWN
    if not reply.permanent:
        return _Answer.UNDECIDED
    if reply.enhanced:
        return _Answer.UNKNOWN if reply.enhanced.startswith(("5.1.", "5.2.1")) else _Answer.UNDECIDED
    return _Answer.UNKNOWN if reply.code in _CODES else _Answer.UNDECIDED
