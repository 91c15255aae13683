"""From a next hop to the numeric addresses to try, in order. What failed a moment ago comes last."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from random import Random

from postlatch.delivery.cache import SharedCache
from postlatch.delivery.config import DeliveryConfig, Route, RouteKind
from postlatch.delivery.contract import Target
from postlatch.delivery.guard import permitted
from postlatch.delivery.mx import SMTP_PORT, RoutingFailed, mail_hosts
from postlatch.delivery.routes import Hop, UseMx
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.model.reply import Reply

MAX_TARGETS = 5  # addresses tried in one attempt; the next attempt shuffles anew
KEEP = 60.0  # seconds for which the order of a hop's targets is kept, so that its connections are used again
AVOID = 120.0  # seconds for which a target that did not answer comes after the others
_MAX_HOPS = 20_000
_MAX_AVOIDED = 10_000

ROUTE_DNS_FAILED = Reply(451, "4.4.4", "the host of the configured route has no usable address in the DNS")
ROUTE_REFUSED = Reply(451, "4.4.6", "the configured route leads back to this host")


class Targets:
    """Finds targets, and remembers which of them were of no use lately."""

    def __init__(self, resolver: Resolver, clock: Clock, random: Random) -> None:
        self._resolver = resolver
        self._clock = clock
        self._random = random
        self._found: SharedCache[Hop, tuple[Target, ...]] = SharedCache(clock, _MAX_HOPS)
        self._avoided: dict[Target, float] = {}  # until, monotonic
        self._config: DeliveryConfig | None = None

    async def of(self, config: DeliveryConfig, hop: Hop) -> tuple[Target, ...]:
        """At most `MAX_TARGETS` targets, best first and never none; RoutingFailed says why there is none."""
        if config is not self._config:
            self._config = config
            self._found.forget()
        targets = self._found.peek(hop)
        if targets is None:
            targets = await self._found.get(hop, lambda: self._find(config, hop))
        return self._worst_last(targets) if self._avoided else targets[:MAX_TARGETS]

    def failed(self, target: Target) -> None:
        """``target`` did not answer: prefer others for a while."""
        if len(self._avoided) >= _MAX_AVOIDED:
            now = self._clock.monotonic()
            self._avoided = {old: until for old, until in self._avoided.items() if until > now}
        if len(self._avoided) < _MAX_AVOIDED:
            self._avoided[target] = self._clock.monotonic() + AVOID

    def worked(self, target: Target) -> None:
        """``target`` answered."""
        if self._avoided:
            self._avoided.pop(target, None)

    def _worst_last(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        now = self._clock.monotonic()
        return tuple(sorted(targets, key=lambda target: self._avoided.get(target, 0.0) > now))[:MAX_TARGETS]

    async def _find(self, config: DeliveryConfig, hop: Hop) -> tuple[tuple[Target, ...], float]:
        targets = await self._of_mx(config, hop) if isinstance(hop, UseMx) else await self._of_route(config, hop)
        return targets, KEEP

    async def _of_mx(self, config: DeliveryConfig, hop: UseMx) -> tuple[Target, ...]:
        hosts = await mail_hosts(self._resolver, hop.domain, hostname=config.hostname, own=config.own, random=self._random)
        return tuple(
            Target(address=str(address), port=SMTP_PORT, host=host.name, tls=config.tls)
            for host in hosts
            for address in host.addresses
        )

    async def _of_route(self, config: DeliveryConfig, route: Route) -> tuple[Target, ...]:
        if route.path:
            return (Target(path=route.path, lmtp=True),)
        addresses = await self._addresses(route.host)
        allowed = [a for a in addresses if permitted(a, route.port, explicit=True, own=config.own)]
        if not allowed:
            raise RoutingFailed(ROUTE_REFUSED)
        return tuple(_target(route, address) for address in allowed)

    async def _addresses(self, host: str) -> list[IPAddress]:
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        try:
            found = await self._resolver.addresses(host)
        except DnsError:
            found = []
        if not found:
            # Never permanent, not even for NXDOMAIN: a slip in the configuration must not bounce everybody's mail.
            raise RoutingFailed(ROUTE_DNS_FAILED)
        self._random.shuffle(found)
        # IPv4 first: an explicit next hop is a server room's machine, and where its name has both, either serves.
        return sorted(found, key=lambda address: isinstance(address, IPv6Address))


def _target(route: Route, address: IPAddress) -> Target:
    return Target(
        address=str(address),
        port=route.port,
        host=route.host,
        lmtp=route.kind is RouteKind.LMTP,
        tls=route.tls,
        username=route.username,
        password=route.password,
    )
