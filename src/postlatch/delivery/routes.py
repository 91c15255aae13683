"""Where a recipient's mail goes, decided anew at every attempt: what was true when it was accepted may no longer be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from postlatch.delivery.config import NO_WAY, DeliveryConfig, Route, Way
from postlatch.delivery.hosts import LONGEST, LONGEST_OF_ROUTE
from postlatch.model.envelope import Destination, GrantReason
from postlatch.spool.contract import QueuedRecipient, StoredMessage

Classify = Callable[[str], Destination]
"""Whose domain this is, by the current configuration."""
Recheck = Callable[[QueuedRecipient, StoredMessage], str | None]
"""Why a recipient's grant no longer holds (suspended account, revoked right), as a sentence for the operator; else None."""

# The reasons for which mail may go to any domain. RELAY_DOMAIN is not one: it holds for its route and nothing else.
_MAY_LEAVE: Final = frozenset({GrantReason.ACCOUNT, GrantReason.NETWORK, GrantReason.NOTIFICATION})


class UseMx(NamedTuple):
    """Ask the DNS for the mail hosts of ``domain``, or connect to it if it is an address literal.

    ``source``: our addresses to connect from; empty: as the system chooses.
    """

    domain: str
    source: tuple[str, ...] = ()


class Hold(NamedTuple):
    """Do not deliver: an operator must look. ``reason`` is a sentence for that operator."""

    reason: str


Hop = Route | UseMx

_LOOPBACK: Final = ("127.", "::1", "localhost")


def name_of(hop: Hop) -> str:
    """How people call a next hop: the domain whose MX is asked, or the route as the configuration writes it."""
    return hop.domain if isinstance(hop, UseMx) else str(hop)


def host_of(hop: Hop) -> str:
    """The name under which the configuration may bound what a next hop gets."""
    return hop.domain if isinstance(hop, UseMx) else hop.host


def longest_rest(hop: Hop) -> float:
    """Seconds for which a hop that does not answer is left alone at most."""
    return LONGEST if isinstance(hop, UseMx) else LONGEST_OF_ROUTE


def is_far(hop: Hop) -> bool:
    """True if the network lies between us and this hop: not for a Maildir, a socket of this machine, or its loopback."""
    return isinstance(hop, UseMx) or (bool(hop.host) and not hop.host.startswith(_LOOPBACK))


def route_for(config: DeliveryConfig, destination: Destination, domain: str, way: Way = NO_WAY) -> Hop | Hold:
    """The next hop for a domain of this class, by ``way``. Only foreign domains ever fall back to the DNS.

    A route of the recipient's domain goes before the sender's smarthost, which goes before that of all.
    """
    if destination is Destination.FOREIGN:
        route = config.outbound.get(domain) or way.smarthost or config.smarthost
        if route is None:
            return UseMx(domain, way.source)
        return replace(route, source=way.source) if way.source else route
    routes = config.local if destination is Destination.LOCAL else config.relay
    return routes.get(domain) or Hold(f"the configuration has no route for {domain}")


def choose(
    config: DeliveryConfig, classify: Classify, recheck: Recheck, message: StoredMessage, recipient: QueuedRecipient
) -> Hop | Hold:
    """The next hop for one recipient under the current configuration, rights and accounts."""
    domain = recipient.address.domain
    current = classify(domain)
    if recipient.destination is Destination.LOCAL and current is not Destination.LOCAL:
        return Hold(f"{domain} was ours when this was accepted and no longer is")
    if current is Destination.FOREIGN and recipient.grant_reason not in _MAY_LEAVE:
        return Hold(f"{domain} is no longer relayed to, and nothing else lets this leave")
    if recipient.grant_reason is not None:
        why = recheck(recipient, message)
        if why is not None:
            return Hold(why)
    if message.quarantined and current is Destination.LOCAL and config.quarantine is not None:
        return config.quarantine
    return route_for(config, current, domain, config.way(message.account, message.sender))
