"""``postlatch firewall rules``: a ruleset to paste, made from the listeners and the network rights. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses, ip_address, ip_network
from typing import Any, NamedTuple

from postlatch.model.envelope import Role
from postlatch.monitor.circles import IPNetwork
from postlatch.settings.tree import ListenerSettings, Settings


class Door(NamedTuple):
    """A listener's ports and who may come to them; ``networks`` empty: everybody, None: nobody."""

    listener: ListenerSettings
    ports: list[int]
    networks: list[IPNetwork] | None


def rules(settings: Settings, rights: Iterable[dict[str, Any]], submission: Iterable[str]) -> list[str]:
    """The lines. ``rights`` are those of ``right.list``; ``submission`` are the only networks that may log in, if any."""
    held = [right for right in rights if right.get("state") == "active"]
    return list(_lines([_door(listener, held, list(submission)) for listener in settings.listeners]))


def _door(listener: ListenerSettings, rights: list[dict[str, Any]], submission: list[str]) -> Door:
    ports = sorted({int(text.rpartition(":")[2]) for text in listener.address if not _loopback(text)} - {0})
    if listener.proxies:
        return Door(listener, ports, list(listener.proxies))
    if listener.role is Role.RELAY:
        named = [ip_network(text) for right in rights if listener.name in right["listeners"] for text in right["networks"]]
        return Door(listener, ports, named or None)
    if listener.role is Role.MX:
        return Door(listener, ports, [])
    return Door(listener, ports, [ip_network(text) for text in submission])


def _loopback(text: str) -> bool:
    return ip_address(text.rpartition(":")[0].strip("[]")).is_loopback


def _lines(doors: list[Door]) -> Iterator[str]:
    yield "# Printed by `postlatch firewall rules`; for /etc/nftables.conf. It says who may come to the ports of the relay,"
    yield "# and leaves all other ports alone. Bans are in a table of their own, kept by `postlatch firewall run`."
    yield "table inet postlatch_ports {"
    yield "  chain input {"
    yield "    type filter hook input priority filter; policy accept;"
    yield '    iif "lo" accept'
    for door in doors:
        if not door.ports:
            continue
        yield f"    # {door.listener.name}, role {door.listener.role.value}"
        ports = ", ".join(map(str, door.ports))
        if door.networks == []:
            yield f"    tcp dport {{ {ports} }} accept"
            continue
        yield from _limited(ports, door.networks or [])
    yield "  }"
    yield "}"


def _limited(ports: str, networks: list[IPNetwork]) -> Iterator[str]:
    for version, word in ((4, "ip"), (6, "ip6")):
        group = [str(network) for network in collapse_addresses(n for n in networks if n.version == version)]  # type: ignore[type-var]
        if group:
            yield f"    tcp dport {{ {ports} }} {word} saddr {{ {', '.join(group)} }} accept"
    yield f"    tcp dport {{ {ports} }} drop"
