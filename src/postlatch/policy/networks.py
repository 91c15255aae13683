"""Networks as the policy sees them: IPv4-mapped forms unmapped, looked up by prefix, and measured as a union."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from typing import Final, Generic, NamedTuple, TypeVar

from postlatch.model.envelope import IPAddress

IPNetwork = IPv4Network | IPv6Network
T = TypeVar("T")

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_MAPPED_HIGH: Final = 0xFFFF
_LOW_32: Final = 0xFFFFFFFF

# Not reachable from the Internet: RFC 1918, RFC 4193, link-local and loopback. 100.64.0.0/10 (RFC 6598) is shared with the
# other customers of a provider, so it counts as public here.
_PRIVATE: Final = tuple(
    map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"))
) + tuple(map(IPv6Network, ("fc00::/7", "fe80::/10", "::1/128")))


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), any other address unchanged."""
    if isinstance(address, IPv6Address) and int(address) >> 32 == _MAPPED_HIGH:
        return IPv4Address(int(address) & _LOW_32)
    return address


def normalise(network: IPNetwork) -> IPNetwork:
    """The IPv4 network that an IPv4-mapped IPv6 network stands for, any other network unchanged."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & _LOW_32, network.prefixlen - 96))
    return network


def overlaps(one: IPNetwork, other: IPNetwork) -> bool:
    """True if they share an address; never across the two families."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def is_private(network: IPNetwork) -> bool:
    """True if no address of it can be met on the Internet."""
    for known in _PRIVATE:
        if isinstance(network, IPv4Network):
            if isinstance(known, IPv4Network) and network.subnet_of(known):
                return True
        elif isinstance(known, IPv6Network) and network.subnet_of(known):
            return True
    return False


class Union(NamedTuple):
    """What some networks cover together, each address once."""

    v4: tuple[IPv4Network, ...]
    v6: tuple[IPv6Network, ...]

    @property
    def v4_addresses(self) -> int:
        """How many IPv4 addresses."""
        return sum(network.num_addresses for network in self.v4)

    @property
    def v6_addresses(self) -> int:
        """How many IPv6 addresses."""
        return sum(network.num_addresses for network in self.v6)


def union(networks: Iterable[IPNetwork]) -> Union:
    """The smallest set of networks that covers the same addresses."""
    normal = [normalise(network) for network in networks]
    return Union(
        tuple(collapse_addresses(n for n in normal if isinstance(n, IPv4Network))),
        tuple(collapse_addresses(n for n in normal if isinstance(n, IPv6Network))),
    )


class NetworkTable(Generic[T]):
    """Values by network: one dictionary look-up for each prefix length in use, not one comparison for each network."""

    __slots__ = ("_v4", "_v6")

    def __init__(self, entries: Iterable[tuple[IPNetwork, T]]) -> None:
        v4: dict[int, dict[int, list[tuple[int, T]]]] = {}
        v6: dict[int, dict[int, list[tuple[int, T]]]] = {}
        for position, (given, value) in enumerate(entries):
            network = normalise(given)
            shift = network.max_prefixlen - network.prefixlen
            level = (v4 if isinstance(network, IPv4Network) else v6).setdefault(shift, {})
            level.setdefault(int(network.network_address) >> shift, []).append((position, value))
        self._v4 = tuple(v4.items())
        self._v6 = tuple(v6.items())

    def find(self, address: IPAddress) -> list[T]:
        """The values of every network that contains ``address``, in the order in which they were given, each entry once."""
        number = int(address)
        levels = self._v4
        if isinstance(address, IPv6Address):
            if number >> 32 == _MAPPED_HIGH:
                number &= _LOW_32
            else:
                levels = self._v6
        hits: list[tuple[int, T]] = []
        for shift, level in levels:
            found = level.get(number >> shift)
            if found is not None:
                hits = hits + found if hits else found
        return [value for _, value in (sorted(hits, key=_position) if len(hits) > 1 else hits)]


def _position(hit: tuple[int, object]) -> int:
    return hit[0]
