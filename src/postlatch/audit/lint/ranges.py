"""Ranges of addresses, as Windows programs write them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range
from typing import NamedTuple

from postlatch.audit.lint.survey import Network, networks_of


class Range(NamedTuple):
    """From ``first`` to ``last``, both included."""

    first: int
    last: int
    version: int

    def __contains__(self, client: object) -> bool:
        if not isinstance(client, IPv4Address | IPv6Address):
            return False
        return client.version == self.version and self.first <= int(client) <= self.last

    @property
    def size(self) -> int:
        """How many addresses."""
        return self.last - self.first + 1

    def networks(self) -> list[Network]:
        """The same as networks."""
        if self.version == 4:
            return list(summarize_address_range(IPv4Address(self.first), IPv4Address(self.last)))
        return list(summarize_address_range(IPv6Address(self.first), IPv6Address(self.last)))


def range_of(text: str) -> Range | None:
    """``10.0.0.1-10.0.0.9``, ``10.0.0.0/8``, ``10.0.0.0(255.0.0.0)``, ``::1``; None: it is none of these."""
    text = text.strip().replace("(", "/").replace(")", "")
    if len(text) > 120:
        return None
    low, dash, high = text.partition("-")
    if dash:
        try:
            return between(ip_address(low.strip().split("%")[0]), ip_address(high.strip().split("%")[0]))
        except ValueError:
            return None
    network = networks_of(text)
    if network is None:
        return None
    return Range(int(network.network_address), int(network.broadcast_address), network.version)


def between(low: IPv4Address | IPv6Address, high: IPv4Address | IPv6Address) -> Range | None:
    """None if they are of two kinds or in the wrong order."""
    if low.version != high.version or int(low) > int(high):
        return None
    return Range(int(low), int(high), low.version)
