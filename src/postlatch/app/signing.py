"""What joins signing at delivery with the rest: the policy in force, the reading of From at acceptance, the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from postlatch.app.dkim import DkimKeys
from postlatch.app.dkim_servers import asking
from postlatch.app.world import World
from postlatch.delivery.ports import Alert
from postlatch.delivery.signing import Signing
from postlatch.model.address import Address
from postlatch.model.dns import Resolver
from postlatch.model.events import Event
from postlatch.server.headers import read_facts


def make_signing(world: World, record: Callable[[Event], None], alert: Alert) -> Signing:
    """Signs under the policy in force."""
    return Signing(
        snapshot=lambda: world.policy.snapshot,
        authors=authors,
        clock=world.clock,
        record=record,
        alert=alert,
        count=world.counters.inc,
    )


def make_keys(world: World, resolver: Resolver, signing: Signing) -> DkimKeys:
    """The keys of this relay, for ``signing``."""
    return DkimKeys(world, resolver, asking(world.clock), signing.use)


def authors(block: bytes) -> Sequence[Address] | None:
    """The addresses in From, read as they were read when the message was accepted."""
    return read_facts(block).header_from
