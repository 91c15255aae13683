"""Joins the masking guard to the relay: what is around it, what follows from a mask, and who has come for a self-test."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postlatch.app import masks
from postlatch.app.commands.policy import narrow
from postlatch.app.interfaces import container_gateways, default_gateways, local_addresses
from postlatch.app.masks import Mask
from postlatch.app.probe import NAME as PROBE
from postlatch.model.envelope import IPAddress
from postlatch.model.events import Event, JsonValue
from postlatch.model.sighting import Sighting
from postlatch.monitor.masking import Finding, MaskingGuard, Surroundings
from postlatch.monitor.masking_advice import fixes
from postlatch.policy.danger_networks import GATEWAYS
from postlatch.policy.networks import IPNetwork, normalise
from postlatch.policy.snapshot import Snapshot
from postlatch.settings.tree import Settings

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

_IN_CONTAINER: Final = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
_TOKENS: Final = 64
_TOKEN_SECONDS: Final = 600.0


def surroundings(settings: Settings, snapshot: Snapshot) -> Surroundings:
    """What is around this relay. In a container, the gateway is the container engine's bridge."""
    gateways = default_gateways()
    bridges = container_gateways() | frozenset(GATEWAYS)
    if any(Path(path).exists() for path in _IN_CONTAINER):
        bridges |= gateways
    listed: dict[str, frozenset[IPAddress]] = {}
    covering: dict[str, tuple[IPNetwork, ...]] = {}
    for name in snapshot.listeners:
        rights = [right for right in snapshot.rights if name in right.listeners and not right.masked]
        networks = tuple(normalise(network) for right in rights for network in right.networks)
        covering[name] = networks
        listed[name] = frozenset(network.network_address for network in networks if network.num_addresses == 1)
    return Surroundings(
        bridges=bridges,
        gateways=gateways,
        here=local_addresses(),
        proxies=tuple(network for listener in settings.listeners for network in listener.proxies),
        listed=listed,
        covering=covering,
        ipv6=frozenset(x.name for x in settings.listeners if any(text.startswith("[") for text in x.address)),
    )


class Masking:
    """One relay's guard."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._world = relay.world
        self.guard = MaskingGuard(surroundings(relay.settings, relay.world.policy.snapshot))
        self._tasks: set[asyncio.Task[None]] = set()
        self._tokens: dict[str, tuple[float, Sighting | None]] = {}
        for mask in self._world.policy.masks:
            self.guard.know(mask.listener, ip_address(mask.address))
        self._world.policy.listeners.append(self._policy_installed)
        relay.services.seen = self.seen
        self.publish()

    def seen(self, sighting: Sighting) -> None:
        """A session has ended."""
        if self._tokens and sighting.helo in self._tokens:
            self._tokens[sighting.helo] = (self._tokens[sighting.helo][0], sighting)
            return
        if sighting.helo == PROBE and (sighting.client.is_loopback or sighting.client in self.guard.around.here):
            return  # we ourselves, at the start
        if self._is_accepted(sighting):
            return
        finding = self.guard.see(sighting)
        if finding is not None:
            task = asyncio.get_running_loop().create_task(self._found(finding))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_accepted(self, sighting: Sighting) -> bool:
        """Somebody answers in writing for everyone behind this address."""
        rights = self._world.policy.snapshot.rights_of(sighting.listener, sighting.client)
        return any(right.masked for right in rights)

    async def _found(self, finding: Finding) -> None:
        """Take the rights away first, in memory; a database that does not write must not keep them alive."""
        world, relay = self._world, self._relay
        mask = Mask(
            finding.listener,
            str(finding.address),
            finding.place.value,
            finding.sign.value,
            finding.everybody,
            finding.why,
            round(world.now(), 3),
        )
        async with world.changing:
            before = {right.name for right in world.policy.snapshot.rights if right.suspended}
            world.policy.masks = (*world.policy.masks, mask)
            await narrow(world)
            taken = sorted({right.name for right in world.policy.snapshot.rights if right.suspended} - before)
            fields: dict[str, JsonValue] = {
                "listener": mask.listener,
                "client": mask.address,
                "sign": mask.sign,
                "rights": taken,
                "why": mask.why,
            }
            told = Event("masking.found", mask.at, fields)
            self.publish()
            consequence = "their network rights are suspended" if taken else "limits and bans meet them all at once"
            advice = {f"fix {number}": text for number, text in enumerate(fixes(finding), 1)}
            relay.notices.alert(
                f"clients of listener {mask.listener} do not arrive with their own addresses: {consequence}",
                {**fields, **advice, "then": f"postlatch right resume {mask.listener}"},
            )
            await world.submit([masks.save(world.policy.masks)], told)

    def _policy_installed(self, snapshot: Snapshot) -> None:
        self.guard.around = surroundings(self._world.settings, snapshot)

    def publish(self) -> None:
        """For the metrics."""
        for name in self._relay.ports:
            here = sum(mask.listener == name for mask in self._world.policy.masks)
            self._world.counters.set("postlatch_masks", here, (name,))

    # The self-test

    def expect(self, token: str) -> None:
        """Whoever says this in EHLO within the next minutes is a self-test."""
        now = self._world.clock.monotonic()
        self._tokens = {name: entry for name, entry in self._tokens.items() if now - entry[0] < _TOKEN_SECONDS}
        if len(self._tokens) >= _TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = (now, None)

    def came(self, token: str) -> Sighting | None:
        """Who has said it; None if nobody has yet."""
        return self._tokens.get(token, (0.0, None))[1]
