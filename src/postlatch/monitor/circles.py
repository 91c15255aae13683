"""A client and the circle around it: an IPv4 address and its /24, an IPv6 /64 and its /48."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from postlatch.limits.clients import WIDE_FACTOR
from postlatch.model.envelope import IPAddress

IPNetwork = IPv4Network | IPv6Network
FACTORS: Final = (1, WIDE_FACTOR)


def unmapped(address: IPAddress) -> IPAddress:
    """An IPv4-mapped address is the IPv4 address."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def client_network(address: IPAddress) -> IPNetwork:
    """What counts as one client: a single subscriber has a whole IPv6 /64."""
    plain = unmapped(address)
    if isinstance(plain, IPv4Address):
        return IPv4Network(plain)
    return IPv6Network((int(plain) >> 64 << 64, 64))


def wide_network(address: IPAddress) -> IPNetwork:
    """What a guesser moves about in: the /24 of a hoster, the /48 of a tunnel."""
    plain = unmapped(address)
    if isinstance(plain, IPv4Address):
        return IPv4Network((int(plain) >> 8 << 8, 24))
    return IPv6Network((int(plain) >> 80 << 80, 48))


def circles(address: IPAddress) -> tuple[IPNetwork, IPNetwork]:
    """The client and what is around it; their limits are multiplied by ``FACTORS``."""
    return client_network(address), wide_network(address)
