"""What counts as one client, and the wider circles around it for guessing passwords.

One IPv4 address, or one IPv6 /64 (what a single subscriber has), is one client. A guesser who moves on within a wider range
(the /24 of a hoster, the /48 of a tunnel) meets the same limits there with ``WIDE_FACTOR`` times the amount: enough for the
neighbours of an honest mistake, far too little for rotation over 65,536 networks. mox does the same with three circles.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from postlatch.limits.charge import CLIENT, Charge
from postlatch.limits.limit import Limit
from postlatch.model.envelope import IPAddress

WIDE_FACTOR: Final = 3


class ClientPrefix(NamedTuple):
    """A bucket: its ``key``, and by how much its limits exceed those of a single client."""

    key: str
    factor: int


def client_prefix(address: IPAddress) -> str:
    """The key of one client: ``192.0.2.7``, or the /64 as ``2001:db8::/64``. An IPv4-mapped address counts as IPv4."""
    plain = _unmapped(address)
    return str(plain) if isinstance(plain, IPv4Address) else f"{IPv6Address(int(plain) >> 64 << 64)}/64"


def client_prefixes(address: IPAddress) -> tuple[ClientPrefix, ...]:
    """The client itself, then its /24 (IPv4) or /48 (IPv6)."""
    plain = _unmapped(address)
    if isinstance(plain, IPv4Address):
        wide = f"{IPv4Address(int(plain) >> 8 << 8)}/24"
    else:
        wide = f"{IPv6Address(int(plain) >> 80 << 80)}/48"
    return ClientPrefix(client_prefix(plain), 1), ClientPrefix(wide, WIDE_FACTOR)


def client_charges(address: IPAddress, kind: str, limits: tuple[Limit, ...], cost: int = 1) -> tuple[Charge, ...]:
    """The charges of one action on every circle around ``address``; made for ``auth_failures``."""
    return tuple(Charge(CLIENT, key, kind, _widened(limits, factor), cost) for key, factor in client_prefixes(address))


@lru_cache(maxsize=256)
def _widened(limits: tuple[Limit, ...], factor: int) -> tuple[Limit, ...]:
    """Cached, so that the limiter sees the same tuple each time."""
    if factor == 1:
        return limits
    return tuple(
        Limit(one.amount * factor, one.seconds, f"{one.amount * factor}/{one.text.partition('/')[2]}") for one in limits
    )


def _unmapped(address: IPAddress) -> IPAddress:
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
