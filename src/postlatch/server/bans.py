"""Bans as a fact: is this address banned, and until when? One dictionary look-up per prefix length in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

from postlatch.model.envelope import IPAddress

IPNetwork = IPv4Network | IPv6Network
REMEMBERED: Final = 4096  # changes that a follower may be behind; beyond, it takes up everything


class Changes(NamedTuple):
    """What changed up to ``version``: networks with their end, or None where the ban was lifted. ``whole``: this is all."""

    version: int
    whole: bool
    networks: dict[str, float | None]


def _nobody(_address: IPAddress) -> bool:
    return False


class BanList:
    """The bans in force. Times are seconds since 1970.

    ``allowed`` says whether an address is on the allow-list: then no ban holds, whatever its row says (RELIABILITY case 48).
    """

    def __init__(self, bans: Iterable[tuple[IPNetwork, float]] = (), allowed: Callable[[IPAddress], bool] = _nobody) -> None:
        self._tables: dict[tuple[int, int], dict[int, float]] = {}  # (version, prefix length) → network → its end
        self._lengths: dict[int, tuple[tuple[int, dict[int, float]], ...]] = {4: (), 6: ()}  # bits to drop, table
        self._allowed = allowed
        self.version = 0
        self._changed: deque[tuple[int, IPNetwork]] = deque(maxlen=REMEMBERED)
        self.replace(bans)

    def replace(self, bans: Iterable[tuple[IPNetwork, float]]) -> None:
        """Install another set of bans."""
        self._tables = {}
        for network, end in bans:
            table = self._table(network)
            key = int(network.network_address)
            table[key] = max(end, table.get(key, 0.0))
        self._index()
        self.version += 1
        self._changed.clear()

    def add(self, network: IPNetwork, end: float) -> None:
        """Ban a network until ``end``; a ban that it has is replaced."""
        fresh = (network.version, network.prefixlen) not in self._tables
        self._table(network)[int(network.network_address)] = end
        if fresh:
            self._index()
        self._note(network)

    def remove(self, network: IPNetwork) -> None:
        """Lift a ban, if there is one."""
        table = self._tables.get((network.version, network.prefixlen), {})
        if table.pop(int(network.network_address), None) is not None:
            self._note(network)

    def lapse(self, now: float) -> None:
        """Forget what has run out. Nobody need be told: who follows knows the ends."""
        for table in self._tables.values():
            for key in [key for key, end in table.items() if end <= now]:
                del table[key]
        self._tables = {size: table for size, table in self._tables.items() if table}
        self._index()

    def until(self, address: IPAddress, now: float) -> float | None:
        """The latest end of a ban that covers ``address``, or None."""
        number = int(address)
        latest = 0.0
        for bits, table in self._lengths[address.version]:
            end = table.get(number >> bits << bits)
            if end is not None and end > latest:
                latest = end
        return latest if latest > now and not self._allowed(address) else None

    def holds(self, network: IPNetwork, now: float) -> bool:
        """Is the whole of ``network`` banned, by a ban of its own or of one around it?"""
        number, narrowest = int(network.network_address), network.max_prefixlen - network.prefixlen
        found = self._lengths[network.version]
        return any(bits >= narrowest and table.get(number >> bits << bits, 0.0) > now for bits, table in found)

    def items(self) -> Iterator[tuple[IPNetwork, float]]:
        """All bans with their ends."""
        for (version, length), table in self._tables.items():
            make = IPv4Network if version == 4 else IPv6Network
            yield from ((make((key, length)), end) for key, end in table.items())

    def changes(self, since: int) -> Changes:
        """What has changed since that version; everything, if that is too long ago."""
        behind = self.version - since
        if not 0 <= behind <= len(self._changed):
            return Changes(self.version, True, {str(network): end for network, end in self.items()})
        networks = {network: self._end(network) for version, network in self._changed if version > since}
        return Changes(self.version, False, {str(network): end for network, end in networks.items()})

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def _end(self, network: IPNetwork) -> float | None:
        return self._tables.get((network.version, network.prefixlen), {}).get(int(network.network_address))

    def _table(self, network: IPNetwork) -> dict[int, float]:
        return self._tables.setdefault((network.version, network.prefixlen), {})

    def _note(self, network: IPNetwork) -> None:
        self.version += 1
        self._changed.append((self.version, network))

    def _index(self) -> None:
        for of, size in ((4, 32), (6, 128)):
            lengths = sorted(length for version, length in self._tables if version == of)
            self._lengths[of] = tuple((size - length, self._tables[of, length]) for length in lengths)
