"""The way out of the running relay: its resolver, its fetcher, and what TLS the mail hosts of others must give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postlatch.app.fetch import HttpFetcher
from postlatch.app.mta_sts import StsPolicies
from postlatch.delivery.resolver import DnsResolver
from postlatch.delivery.secure_dns import SecureResolver
from postlatch.delivery.tls_policies import StsSource, TlsPolicies
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError
from postlatch.settings.tree import Settings

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

VALIDATING: Final = "postlatch_dnssec_validating"
_REMINDER: Final = 86_400.0  # seconds between two alerts about a resolver that does not validate
_LOOK: Final = 3_600.0  # seconds between two looks at one that does


def make_resolver(settings: Settings, clock: Clock) -> DnsResolver:
    """The resolver that ``[outbound]`` names; ValueError if there is none."""
    outbound = settings.outbound
    if not outbound.resolver:
        return DnsResolver.of_system(clock)
    return DnsResolver.of_servers(outbound.resolver, clock, validating=outbound.dnssec)


class WayOut:
    """Run ``every_minute`` and ``refresh``; call ``reload`` when the settings have changed."""

    def __init__(self, relay: Relay) -> None:
        world = relay.world
        self._relay = relay
        self.fetcher = HttpFetcher(relay.resolver)
        self._sts = StsPolicies(
            clock=world.clock,
            resolver=relay.resolver,
            fetcher=self.fetcher,
            read=world.reader.read,
            submit=relay.submit,
            counters=world.counters,
        )
        self.policies = TlsPolicies(
            world.clock, secure=self._secure(relay.settings), sts=self._source(relay.settings), tell=relay.tls_reports.note
        )
        self._looked_at = self._told_at = -_REMINDER
        self._validates = False

    def reload(self) -> None:
        """Follow the settings of now."""
        settings = self._relay.settings
        self.policies.use(secure=self._secure(settings), sts=self._source(settings))

    async def refresh(self) -> None:
        """Once an hour: policies that are old or near their end."""
        if self._relay.settings.outbound.mta_sts:
            await self._sts.refresh()

    async def every_minute(self) -> None:
        """See whether the resolver that is declared to validate does: the root is signed, so its answer must say AD."""
        clock = self._relay.world.clock
        now = clock.monotonic()
        if not self._relay.settings.outbound.dnssec or (self._validates and now < self._looked_at + _LOOK):
            return
        self._looked_at = now
        try:
            self._validates = (await self._relay.resolver.proven(".", "SOA")).secure
        except DnsError:
            return  # no network, or no answer: nothing is known, and nothing is delivered either
        self._relay.world.counters.set(VALIDATING, int(self._validates))
        if not self._validates and now >= self._told_at + _REMINDER:
            self._told_at = now
            alert = self._relay.notices.alert
            alert("outbound.dnssec is set, but the resolver does not validate: there is no DANE until it does")

    def _secure(self, settings: Settings) -> SecureResolver | None:
        return self._relay.resolver if settings.outbound.dnssec else None

    def _source(self, settings: Settings) -> StsSource | None:
        return self._sts if settings.outbound.mta_sts else None
