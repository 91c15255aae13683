"""Which addresses may be connected to. A stranger's DNS chooses the next hop, so it must not choose a machine inside.

The lists are ours and not ``ipaddress.is_global``, whose answer has changed between Python releases and which looks through
neither NAT64 nor 6to4. Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890), RFC 6052, RFC 3056.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from postlatch.model.envelope import IPAddress

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and the inside of many a cloud
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of every cloud
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays, deprecated by RFC 7526
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))  # with Teredo
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """What leads back to this relay.

    ``hosts``: the addresses of this machine's interfaces (loopback need not be listed). ``listeners``: address and port as
    bound; the wildcard stands for every address of the machine.
    """

    hosts: frozenset[IPAddress] = frozenset()
    listeners: frozenset[tuple[IPAddress, int]] = frozenset()

    def is_host(self, address: IPAddress) -> bool:
        """True for an address of this machine."""
        address = unmapped(address)
        return address.is_loopback or address in self.hosts or any(address == bound for bound, _ in self.listeners)

    def is_listener(self, address: IPAddress, port: int) -> bool:
        """True if connecting there would reach one of our own listeners."""
        address = unmapped(address)
        if (address, port) in self.listeners:
            return True
        return self.is_host(address) and any(
            bound.is_unspecified and bound_port == port for bound, bound_port in self.listeners
        )


def unmapped(address: IPAddress) -> IPAddress:
    """An IPv4-mapped IPv6 address as the IPv4 address that it reaches; any other unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


def is_public(address: IPAddress) -> bool:
    """True for a unicast address of the public internet, also when it is embedded in NAT64 or 6to4."""
    address = unmapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address in _SIX_TO_FOUR:
        return is_public(IPv4Address(int(address) >> 80 & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_V6)


def permitted(address: IPAddress, port: int, *, explicit: bool, own: OwnAddresses) -> bool:
    """True if delivery may connect to ``address``.

    ``explicit``: a route of the configuration names this host, and then a private or loopback address is what the
    administrator meant. Our own listeners are never permitted: that is a loop, whoever asked for it.
    """
    address = unmapped(address)
    if address.is_unspecified or address.is_multicast or own.is_listener(address, port):
        return False
    return explicit or (is_public(address) and not own.is_host(address))
