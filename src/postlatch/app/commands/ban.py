"""Bans by command: add, list, remove."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.store import bans
from postlatch.store.bans import Ban

_WIDEST = {4: 8, 6: 19}  # prefixes shorter than these would cut off a good part of the Internet
_OURSELVES = (ip_address("127.0.0.1"), ip_address("::1"))


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise CommandError(f"{text!a} is no address or network; write 192.0.2.7 or 192.0.2.0/24") from None


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """Refuse a client's connections, for ``seconds`` or until the ban is removed."""
    name = _network(arguments["network"])
    network = ip_network(name)
    if network.prefixlen < _WIDEST[network.version]:
        raise CommandError(f"{name} is too wide to ban: at most a /{_WIDEST[network.version]}")
    if any(address in network for address in _OURSELVES if address.version == network.version):
        raise CommandError(f"{name} holds this machine itself: banning it would stop the self-probe and local programs")
    seconds = arguments.get("seconds")
    until = world.now() + float(seconds) if seconds else None
    reason = str(arguments.get("why") or "banned by command")
    event = Event("ban.added", world.now(), {"client": name, "why": reason, "operator": operator()})
    await world.submit([bans.add(Ban(name, until, reason, world.now()))], event)
    await world.reader.read(world.load_bans)
    return good("ban", network=name, until=_when(until), why=reason)


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """Bans in force."""
    now = world.now()
    rows = [ban for ban in await world.reader.read(bans.load) if ban.until is None or ban.until > now]
    shown = [{"network": b.network, "until": _when(b.until), "why": b.reason, "since": rfc3339(b.created_at)} for b in rows]
    return good("bans", bans=shown)


async def remove(world: World, arguments: dict[str, Any]) -> Answer:
    """Lift a ban."""
    name = _network(arguments["network"])
    event = Event("ban.removed", world.now(), {"client": name, "operator": operator()})
    [gone] = await world.submit([bans.remove(name)], event)
    if not gone:
        raise CommandError(f"{name} is not banned; see postlatch ban list")
    await world.reader.read(world.load_bans)
    return good("ban", network=name, removed=True)


def _when(until: float | None) -> str | None:
    return None if until is None else rfc3339(until)
