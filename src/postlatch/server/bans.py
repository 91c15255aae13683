"""Bans as a fact: is this address banned, and until when? One dictionary look-up per prefix length in use."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from postlatch.model.envelope import IPAddress

IPNetwork = IPv4Network | IPv6Network


class BanList:
    """The bans in force, replaced as a whole. Times are seconds since 1970."""

    def __init__(self, bans: Iterable[tuple[IPNetwork, float]] = ()) -> None:
        self._until: dict[tuple[int, int, int], float] = {}
        self._lengths: tuple[tuple[int, int], ...] = ()
        self.replace(bans)

    def replace(self, bans: Iterable[tuple[IPNetwork, float]]) -> None:
        """Install another set of bans."""
        until: dict[tuple[int, int, int], float] = {}
        for network, end in bans:
            key = (network.version, network.prefixlen, int(network.network_address))
            until[key] = max(end, until.get(key, 0.0))
        self._until = until
        self._lengths = tuple(sorted({(version, length) for version, length, _ in until}))

    def until(self, address: IPAddress, now: float) -> float | None:
        """The latest end of a ban that covers ``address``, or None."""
        ends = [
            self._until.get((version, length, _masked(address, length)), 0.0)
            for version, length in self._lengths
            if version == address.version
        ]
        latest = max(ends, default=0.0)
        return latest if latest > now else None

    def __len__(self) -> int:
        return len(self._until)


def _masked(address: IPv4Address | IPv6Address, length: int) -> int:
    shift = address.max_prefixlen - length
    return int(address) >> shift << shift
