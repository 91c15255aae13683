"""From a next hop to the numeric addresses to try, in order. What failed a moment ago comes last; what is parked, never."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from random import Random
from typing import Final

from postlatch.delivery.cache import SharedCache
from postlatch.delivery.config import DeliveryConfig, Route, RouteKind
from postlatch.delivery.contract import Target
from postlatch.delivery.guard import permitted
from postlatch.delivery.hosts import Hosts
from postlatch.delivery.mx import SMTP_PORT, MailHost, RoutingFailed, mail_hosts
from postlatch.delivery.pace import Bounds
from postlatch.delivery.routes import Hop, UseMx, longest_rest
from postlatch.delivery.tls_policies import Judged, TlsPolicies
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.model.reply import Reply
from postlatch.smtp.client_replies import escape

MAX_TARGETS: Final = 5  # addresses tried in one attempt; the next attempt shuffles anew
KEEP: Final = 60.0  # seconds for which the order of a hop's targets is kept, so that its connections are used again
_MAX_HOPS: Final = 20_000

ROUTE_DNS_FAILED: Final = Reply(451, "4.4.4", "the host of the configured route has no usable address in the DNS")
NO_SOURCE: Final = Reply(451, "4.4.4", "the next hop has no address of the family that this sender's mail must leave from")
ROUTE_REFUSED: Final = Reply(451, "4.4.6", "the configured route leads back to this host")


class AllParked(Exception):
    """No host of this hop may be tried before ``until`` (monotonic). ``reply``: what happened when one was."""

    def __init__(self, until: float, reply: str) -> None:
        super().__init__(reply)
        self.until = until
        self.reply = reply


class Targets:
    """Finds targets, and remembers which of them were of no use lately. Without ``parks`` they are only tried last then.

    ``policies`` says what TLS the mail hosts of others must give; None: as the configuration has it for all.
    """

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        random: Random,
        *,
        parks: bool = True,
        policies: TlsPolicies | None = None,
    ) -> None:
        self._policies = policies
        self._parks = parks
        self._resolver = resolver
        self._clock = clock
        self._random = random
        self._found: SharedCache[tuple[Hop, bool], tuple[Target, ...]] = SharedCache(clock, _MAX_HOPS)
        self._hosts: Hosts[Target] = Hosts()
        self._config: DeliveryConfig | None = None

    async def of(self, config: DeliveryConfig, hop: Hop, *, eased: bool = False) -> tuple[Target, ...]:
        """At most `MAX_TARGETS` targets, best first and never none; RoutingFailed or AllParked say why there is none.

        ``eased``: without what DANE and MTA-STS ask for.
        """
        if config is not self._config:
            self._config = config
            self._found.forget()
        key = hop, eased
        targets = self._found.peek(key)
        if targets is None:
            targets = await self._found.get(key, lambda: self._find(config, hop, eased=eased))
        if self._hosts.any:
            return self._tried_now(targets)
        return targets[:MAX_TARGETS]

    def failed(self, hop: Hop, target: Target, reply: str) -> None:
        """``target`` did not answer: try others first, and if it goes on, not at all for a while."""
        self._hosts.failed(target, self._clock.monotonic(), reply, self._random.random(), longest_rest(hop))

    def worked(self, target: Target) -> None:
        """``target`` answered."""
        if self._hosts.any:
            self._hosts.worked(target)

    def pardon(self) -> None:
        """Try everything again: an operator says so."""
        self._hosts.pardon()

    def _tried_now(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        chosen = self._hosts.choose(targets, self._clock.monotonic())
        if not chosen and self._parks:
            raise AllParked(*self._hosts.until(targets))
        return (chosen or targets)[:MAX_TARGETS]

    async def _find(self, config: DeliveryConfig, hop: Hop, *, eased: bool) -> tuple[tuple[Target, ...], float]:
        if isinstance(hop, UseMx):
            targets = await self._of_mx(config, hop, eased=eased)
        else:
            targets = await self._of_route(config, hop)
        return (_from_source(targets, hop.source) if hop.source else targets), KEEP

    async def _of_mx(self, config: DeliveryConfig, hop: UseMx, *, eased: bool) -> tuple[Target, ...]:
        hosts = await mail_hosts(self._resolver, hop.domain, hostname=config.hostname, own=config.own, random=self._random)
        bounds = config.bounds(hop.domain)
        return tuple(
            Target(
                address=str(address),
                port=SMTP_PORT,
                host=judged.host.name,
                tls=judged.tls,
                connections=bounds.most,
                per_connection=bounds.per_connection,
                demand=judged.demand,
            )
            for judged in await self._judged(config, hop.domain, hosts, eased=eased)
            for address in judged.host.addresses
        )

    async def _judged(self, config: DeliveryConfig, domain: str, hosts: list[MailHost], *, eased: bool) -> list[Judged]:
        """The hosts that may be used, each with what TLS it must give; RoutingFailed if there is none."""
        if self._policies is None or eased:
            return [Judged(host, config.tls) for host in hosts]
        judged = await self._policies.judge(domain, hosts, config.tls)
        refused = [host for host in judged if host.refused]
        for host in refused:
            self._policies.note_refused(domain, host)
        if len(refused) == len(judged):
            why = escape(f"no mail host of the recipient's domain may be used: {refused[0].why}")
            raise RoutingFailed(Reply(451, "4.7.5", why))
        return [host for host in judged if not host.refused]

    async def _of_route(self, config: DeliveryConfig, route: Route) -> tuple[Target, ...]:
        if route.path:
            return (Target(path=route.path, lmtp=True),)
        addresses = await self._addresses(route.host)
        allowed = [a for a in addresses if permitted(a, route.port, explicit=True, own=config.own)]
        if not allowed:
            raise RoutingFailed(ROUTE_REFUSED)
        bounds = config.bounds(route.host)
        return tuple(_target(route, address, bounds) for address in allowed)

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


def _target(route: Route, address: IPAddress, bounds: Bounds) -> Target:
    return Target(
        address=str(address),
        port=route.port,
        host=route.host,
        lmtp=route.kind is RouteKind.LMTP,
        tls=route.tls,
        username=route.username,
        password=route.password,
        connections=bounds.most,
        per_connection=bounds.per_connection,
    )


def _from_source(targets: tuple[Target, ...], source: tuple[str, ...]) -> tuple[Target, ...]:
    """Each from our address of its family. A family without one is not used: another address would be a silent fallback."""
    by_family = {ip_address(text).version: text for text in source}
    bound = tuple(
        replace(target, source=by_family[family])
        for target in targets
        if target.address and (family := ip_address(target.address).version) in by_family
    )
    if not bound:
        raise RoutingFailed(NO_SOURCE)
    return bound
