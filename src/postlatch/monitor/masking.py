"""The masking guard: do clients arrive with their own addresses, or does one address stand for many of them?

A fold over the newest ``WINDOW`` sessions of each listener. Pure: no clock, no I/O; memory is bounded by the window. What it
looks for is one address with many names. A printer or an application server is one address with one name, an office is many
addresses with one name each; a NAT box, a container bridge or a proxy is one address with the names of everybody behind it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_network
from typing import Final, NamedTuple, TypeVar

from postlatch.model.envelope import IPAddress
from postlatch.model.sighting import Header, Sighting
from postlatch.policy.networks import IPNetwork, is_private

WINDOW: Final = 200  # sessions of a listener that are remembered
LEAST: Final = 20  # sessions that an address must have had before anything is said of it
NEARLY_ALL: Final = 0.95  # the share of the sessions that makes an address "everybody's"
HEADERS_LEAST: Final = 10  # sessions with a missing or unexpected header before that is a sign
NOBODY: Final = frozenset({"localhost", "localhost.localdomain", "self-probe.invalid"})  # names that tell no two clients apart
_LONGEST: Final = 64  # characters of a name that are compared


K = TypeVar("K")


class Place(StrEnum):
    """What an address is, seen from here."""

    BRIDGE = "the gateway of a container bridge"
    GATEWAY = "the gateway of this machine's own network"
    PROXY = "a proxy that the configuration lists"
    HERE = "this machine itself"
    PRIVATE = "a private address"
    PUBLIC = "a public address"


class Sign(StrEnum):
    """What gave it away. The values are stable: they are stored, and fields of events."""

    EVERYBODY = "every client comes from one address"
    MANY = "one address has the names of many clients"
    IPV6 = "IPv6 clients come from an IPv4 gateway"
    HEADER_MISSING = "the proxy sends no PROXY header"
    HEADER_UNEXPECTED = "a proxy sends PROXY headers, and is not listed"


# How many different names one address may have: (if nearly all sessions come from it, else). None: any number.
_NAMES: Final[Mapping[Place, tuple[int | None, int | None]]] = {
    Place.BRIDGE: (5, 5),
    Place.PROXY: (5, 5),
    Place.GATEWAY: (5, 8),
    Place.HERE: (8, None),  # programs of one machine may have several names
    Place.PRIVATE: (8, 16),
    Place.PUBLIC: (None, None),  # an office behind its router; strangers at one public address are not ours to judge
}
_FEWEST: Final = 5
# What may be the router of a small office has a name for each of its machines: an address that a right lists by itself, one on
# a listener without rights, and a bridge before a proxy of ours.
OFFICE_NAMES: Final = 40
OTHERS: Final = 5  # so many other addresses lately, and one that is suddenly busy is no mask: it is busy
LATELY: Final = 2000  # sessions
_REMEMBERED: Final = 64  # other addresses


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the addresses around. ``listed``: addresses that a right in force lists by itself, by listener.

    ``covering``: networks of rights in force, by listener; ``ipv6``: listeners that also listen on IPv6.
    """

    bridges: frozenset[IPAddress] = frozenset()
    gateways: frozenset[IPAddress] = frozenset()
    here: frozenset[IPAddress] = frozenset()
    proxies: tuple[IPNetwork, ...] = ()
    listed: Mapping[str, frozenset[IPAddress]] = field(default_factory=dict)
    covering: Mapping[str, tuple[IPNetwork, ...]] = field(default_factory=dict)
    ipv6: frozenset[str] = frozenset()

    def place(self, address: IPAddress) -> Place:
        """What this address is."""
        if address in self.bridges:
            return Place.BRIDGE
        if any(address in network for network in self.proxies):
            return Place.PROXY
        if address in self.gateways:
            return Place.GATEWAY
        if address.is_loopback or address in self.here:
            return Place.HERE
        return Place.PRIVATE if is_private(ip_network(address)) else Place.PUBLIC


class Finding(NamedTuple):
    """A mask. ``sessions`` of the last ``window`` came from ``address``, under so many ``names``."""

    listener: str
    address: IPAddress
    place: Place
    sign: Sign
    sessions: int
    window: int
    names: int

    @property
    def everybody(self) -> bool:
        """No address on this listener can be believed; else only this one cannot."""
        return self.sign is not Sign.MANY or self.place in {Place.BRIDGE, Place.PROXY}

    @property
    def why(self) -> str:
        """A sentence."""
        who = f"{self.address} ({self.place})"
        if self.sign is Sign.HEADER_MISSING:
            return f"the proxy {self.address} sent no PROXY header in {self.sessions} of the last {self.window} connections"
        if self.sign is Sign.HEADER_UNEXPECTED:
            return f"{who} sent a PROXY header in {self.sessions} of the last {self.window} connections, and is not listed"
        text = f"{self.sessions} of the last {self.window} sessions came from {who}, under {self.names} different names"
        return f"{text}, and none over IPv6" if self.sign is Sign.IPV6 else text


class _Listener:
    """The window of one listener, and counts of what is in it."""

    def __init__(self) -> None:
        self.window: deque[tuple[IPAddress, str, str, Header]] = deque()
        self.sessions: Counter[IPAddress] = Counter()
        self.helos: dict[IPAddress, Counter[str]] = {}
        self.accounts: dict[IPAddress, Counter[str]] = {}
        self.headers: Counter[tuple[IPAddress, Header]] = Counter()
        self.ipv6 = 0
        self.number = 0
        self.last: OrderedDict[IPAddress, int] = OrderedDict()

    def add(self, address: IPAddress, helo: str, account: str, header: Header) -> None:
        self.number += 1
        self.last[address] = self.number
        self.last.move_to_end(address)
        if len(self.last) > _REMEMBERED:
            self.last.popitem(last=False)
        self.window.append((address, helo, account, header))
        self._count(address, helo, account, header, 1)
        if len(self.window) > WINDOW:
            self._count(*self.window.popleft(), -1)

    def _count(self, address: IPAddress, helo: str, account: str, header: Header, by: int) -> None:
        _add(self.sessions, address, by)
        self.ipv6 += by * (address.version == 6)
        _add(self.headers, (address, header), by)
        for table, name in ((self.helos, helo), (self.accounts, account)):
            if name:
                names = table.setdefault(address, Counter())
                _add(names, name, by)
                if not names:
                    del table[address]

    def is_everybody(self, address: IPAddress) -> bool:
        """Does nearly all come from this address, and did it lately?"""
        if self.sessions[address] < NEARLY_ALL * len(self.window):
            return False
        others = sum(number > self.number - LATELY for other, number in self.last.items() if other != address)
        return others < OTHERS

    def names(self, address: IPAddress, *, accounts: bool) -> int:
        """How many clients there must be behind this address, by their names."""
        known = len(self.helos.get(address, ()))
        return max(known, len(self.accounts.get(address, ()))) if accounts else known


def _add(counts: Counter[K], key: K, by: int) -> None:
    left = counts.get(key, 0) + by
    if left:
        counts[key] = left
    else:
        del counts[key]


class MaskingGuard:
    """``see`` each session; what it returns is a mask that was not known. ``around`` may be replaced at any time."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._listeners: dict[str, _Listener] = {}
        self._known: set[tuple[str, IPAddress]] = set()

    def know(self, listener: str, address: IPAddress) -> None:
        """This mask has been found before: say nothing more of it."""
        self._known.add((listener, address))

    def forget(self, listener: str) -> None:
        """Begin anew with a listener: a person says that its addresses are true now."""
        self._listeners.pop(listener, None)
        self._known = {(name, address) for name, address in self._known if name != listener}

    def see(self, seen: Sighting) -> Finding | None:
        """One session at its end."""
        if seen.header is Header.ANONYMOUS:
            return None  # whoever it is, it has no rights
        table = self._listeners.setdefault(seen.listener, _Listener())
        helo = seen.helo[:_LONGEST].lower()
        table.add(seen.client, "" if helo in NOBODY else helo, seen.account, seen.header)
        if (seen.listener, seen.client) in self._known:
            return None
        finding = self._judge(table, seen)
        if finding is not None and len(self._known) < 1000:
            self._known.add((seen.listener, seen.client))
        return finding

    def _judge(self, table: _Listener, seen: Sighting) -> Finding | None:
        address, size = seen.client, len(table.window)
        if seen.header in {Header.MISSING, Header.UNEXPECTED}:
            return self._headers(table, seen, self.around.place(address))
        sessions, names = table.sessions[address], table.names(address, accounts=True)
        if sessions < LEAST or names < _FEWEST:  # nearly always; the rest costs more
            return None
        place = self.around.place(address)
        most, sign = self._allowed(table, seen, place)
        if place is Place.HERE:
            names = table.names(address, accounts=False)
        return (
            Finding(seen.listener, address, place, sign, sessions, size, names) if most is not None and names >= most else None
        )

    def _allowed(self, table: _Listener, seen: Sighting, place: Place) -> tuple[int | None, Sign]:
        """How many names make it a mask, and of which kind."""
        address, listener = seen.client, seen.listener
        everybody = table.is_everybody(address)
        sign = Sign.EVERYBODY if everybody else Sign.MANY
        if seen.header is Header.TRUSTED:  # our own proxy says so, and it sees true addresses unless a bridge is before it
            return (OFFICE_NAMES if place is Place.BRIDGE else None), sign
        if place is Place.BRIDGE and not everybody and not table.ipv6 and address.version == 4 and listener in self.around.ipv6:
            sign = Sign.IPV6
        most = _NAMES[place][0 if everybody else 1]
        sure = place in {Place.BRIDGE, Place.PROXY}
        rights = self.around.covering.get(listener, ())
        # Where others do arrive with their own addresses, one with many names matters only if a right believes it.
        if most is None or not (sure or everybody or any(address in network for network in rights)):
            return None, sign
        office = not rights or address in self.around.listed.get(listener, frozenset())
        return (OFFICE_NAMES if office and not sure else most), sign

    def _headers(self, table: _Listener, seen: Sighting, place: Place) -> Finding | None:
        """A proxy and this relay disagree on whether it sends headers. A stranger must not be able to pretend that."""
        count = table.headers[seen.client, seen.header]
        if place is Place.PUBLIC or count < HEADERS_LEAST or count < NEARLY_ALL * len(table.window):
            return None
        sign = Sign.HEADER_MISSING if seen.header is Header.MISSING else Sign.HEADER_UNEXPECTED
        return Finding(seen.listener, seen.client, place, sign, count, len(table.window), 0)
