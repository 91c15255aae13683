"""What goes to ``nft -f -``: pure, and made of nothing but addresses that were parsed and numbers.

The helper trusts the relay for nothing but who is banned: each network is parsed here and written anew, so that no text of
anybody reaches nftables, let alone a shell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

from postlatch.app.ban_book import WIDEST
from postlatch.monitor.circles import IPNetwork

TABLE: Final = "inet postlatch"
MOST: Final = 200_000
_CHUNK: Final = 500
_CLIENT: Final = {4: 32, 6: 64}  # single clients have hash sets of their own: nft reads an interval set whole at each change
_LONGEST: Final = 366 * 86_400  # seconds; a longer time-out is renewed when the helper next looks
_SOON: Final = 2.0  # what ends so soon is left to the kernel

Bans = dict[IPNetwork, float]  # the end, seconds since 1970; 0: until it is lifted


class Wanted(NamedTuple):
    """What the sets shall hold; no two networks of either overlap."""

    bans: Bans
    allowed: frozenset[IPNetwork]


class BadAnswer(Exception):
    """The relay's answer is not what it should be."""


def read_bans(found: object) -> Bans:
    """The bans of an answer, each parsed; BadAnswer if one is none."""
    if not isinstance(found, dict):
        raise BadAnswer("its bans are no table")
    return {_network(text, narrow=True): _number(end) for text, end in found.items()}


def read_networks(found: object, *, narrow: bool) -> frozenset[IPNetwork]:
    """A list of networks; ``narrow`` refuses those that are too wide to ban."""
    if not isinstance(found, list):
        raise BadAnswer("its networks are no list")
    return frozenset(_network(text, narrow=narrow) for text in found)


def _network(text: object, *, narrow: bool) -> IPNetwork:
    try:
        network = ip_network(text) if isinstance(text, str) and "%" not in text else None
    except ValueError:
        network = None
    if network is None:
        raise BadAnswer(f"{str(text)[:60]!a} is no network")
    if narrow and network.prefixlen < WIDEST[network.version]:
        raise BadAnswer(f"{network} is too wide to ban")
    return network


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise BadAnswer("the end of a ban is no time")
    return float(value)


def wanted(bans: Mapping[IPNetwork, float], allowed: Iterable[IPNetwork], now: float) -> Wanted:
    """Without what has lapsed, and without networks inside others that last as long: interval sets hold no overlaps.

    Where the inner one lasts longer, it takes its turn when the outer one has lapsed.
    """
    in_force = {network: end for network, end in bans.items() if end == 0 or end > now + _SOON}
    return Wanted({network: in_force[network] for network in _outermost(in_force)}, frozenset(_outermost(allowed)))


def _outermost(networks: Iterable[IPNetwork]) -> Iterator[IPNetwork]:
    kept: dict[tuple[int, int], set[int]] = {}
    for network in sorted(networks, key=lambda network: (network.version, network.prefixlen)):
        size, number = network.max_prefixlen, int(network.network_address)
        around = (
            number >> (size - length) << (size - length) in found
            for (version, length), found in kept.items()
            if version == network.version
        )
        if not any(around):
            kept.setdefault((network.version, network.prefixlen), set()).add(number)
            yield network


def ports_of(sockets: Iterable[str]) -> list[int]:
    """The ports of ``ADDRESS:PORT`` texts, without 0 (any)."""
    return sorted({port for text in sockets if (port := int(text.rpartition(":")[2]))})


def install(ports: Iterable[int]) -> str:
    """The table anew, empty. Whatever a helper before this one has left goes in the same step."""
    listed = ", ".join(str(int(port)) for port in ports)
    return f"""add table {TABLE}
delete table {TABLE}
table {TABLE} {{
  set clients4 {{ type ipv4_addr; flags timeout; }}
  set clients6 {{ type ipv6_addr; flags timeout; }}
  set banned4 {{ type ipv4_addr; flags interval, timeout; }}
  set banned6 {{ type ipv6_addr; flags interval, timeout; }}
  set allowed4 {{ type ipv4_addr; flags interval; }}
  set allowed6 {{ type ipv6_addr; flags interval; }}
  counter dropped4 {{ }}
  counter dropped6 {{ }}
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    tcp dport != {{ {listed} }} return
    meta l4proto != tcp return
    iif "lo" return
    ip saddr @allowed4 return
    ip6 saddr @allowed6 return
    ip saddr @clients4 counter name dropped4 drop
    ip6 saddr & ffff:ffff:ffff:ffff:: @clients6 counter name dropped6 drop
    ip saddr @banned4 counter name dropped4 drop
    ip6 saddr @banned6 counter name dropped6 drop
  }}
}}
"""


def remove() -> str:
    """The table away, whether it is there or not."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def fill(new: Wanted, now: float) -> str:
    """All sets anew, in one step."""
    lines = [f"flush set {TABLE} {name}{version}" for name in ("clients", "banned", "allowed") for version in (4, 6)]
    lines += _elements("add", "allowed", ((network, "") for network in new.allowed))
    lines += _elements("add", "banned", ((network, _timeout(end, now)) for network, end in new.bans.items()))
    return "\n".join(lines) + "\n"


def change(old: Wanted, new: Wanted, now: float) -> str:
    """From ``old`` to ``new``; empty if nothing is to be done. What lapses by itself is not touched."""
    gone = [network for network, end in old.bans.items() if new.bans.get(network) != end and not 0 < end <= now + _SOON]
    come = {network: end for network, end in new.bans.items() if old.bans.get(network) != end}
    lines = _elements("delete", "allowed", ((network, "") for network in old.allowed - new.allowed))
    lines += _elements("delete", "banned", ((network, "") for network in gone))
    lines += _elements("add", "allowed", ((network, "") for network in new.allowed - old.allowed))
    lines += _elements("add", "banned", ((network, _timeout(end, now)) for network, end in come.items()))
    return "\n".join(lines) + "\n" if lines else ""


def _timeout(end: float, now: float) -> str:
    return f" timeout {max(1, min(_LONGEST, int(end - now)))}s" if end else ""


def _elements(verb: str, name: str, elements: Iterable[tuple[IPNetwork, str]]) -> list[str]:
    texts: dict[str, list[str]] = {}
    for network, more in elements:
        single = name == "banned" and network.prefixlen == _CLIENT[network.version]
        key = f"{'clients' if single else name}{network.version}"
        texts.setdefault(key, []).append(f"{network.network_address if single else network}{more}")
    return [
        f"{verb} element {TABLE} {key} {{ {', '.join(group[start : start + _CHUNK])} }}"
        for key, group in texts.items()
        for start in range(0, len(group), _CHUNK)
    ]


def counted(listing: Mapping[str, Any]) -> dict[str, int]:
    """Packets and octets that were dropped, from ``nft -j list counters``."""
    found = {"packets": 0, "octets": 0}
    for entry in listing.get("nftables", ()):
        counter = entry.get("counter")
        if counter is not None and str(counter.get("name", "")).startswith("dropped"):
            found["packets"] += int(counter["packets"])
            found["octets"] += int(counter["bytes"])
    return found
