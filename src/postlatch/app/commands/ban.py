"""Bans by command: add, list, remove, import, export; and what the firewall helper asks for."""

from __future__ import annotations

import math
from ipaddress import ip_network
from typing import Any, Final

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.ban_files import MOST_LINES, parse_line
from postlatch.app.operator import operator
from postlatch.app.world import World
from postlatch.model.events import Event, JsonValue
from postlatch.monitor.circles import IPNetwork
from postlatch.policy.replies import rfc3339
from postlatch.store import bans
from postlatch.store.bans import IMPORTED, OPERATOR, Ban

AT_ONCE: Final = 5000  # lines of an import in one transaction
_NAMED: Final = 100  # lines that could not be taken, with their reasons


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise CommandError(f"{text!a} is no address or network; write 192.0.2.7 or 192.0.2.0/24") from None


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """Refuse a client's connections, for ``seconds`` or until the ban is removed."""
    network = _network(arguments["network"])
    refused = world.ban_book.refusal(network)
    if refused is not None:
        raise CommandError(refused)
    seconds = arguments.get("seconds")
    until = world.now() + float(seconds) if seconds else None
    reason = str(arguments.get("why") or "banned by command")
    ban = world.ban_book.order(network, until, OPERATOR, reason)
    fields = {"client": ban.network, "why": reason, "kind": ban.kind, "until": _when(until), "operator": operator()}
    await world.submit([bans.add(ban)], Event("ban.added", world.now(), fields))
    _hit(world, ban.kind)
    return good("ban", network=ban.network, until=_when(until), why=reason)


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """Bans in force."""
    shown = [
        {
            "network": ban.network,
            "until": _when(ban.until),
            "why": ban.reason,
            "since": rfc3339(ban.created_at),
            "kind": ban.kind,
            "strikes": ban.strikes,
        }
        for ban in await _in_force(world)
    ]
    return good("bans", bans=shown)


async def remove(world: World, arguments: dict[str, Any]) -> Answer:
    """Lift a ban."""
    network = _network(arguments["network"])
    event = Event("ban.removed", world.now(), {"client": str(network), "operator": operator()})
    [gone] = await world.submit([bans.remove(str(network))], event)
    world.ban_book.lift(network)
    if not gone:
        raise CommandError(f"{network} is not banned; see postlatch ban list")
    return good("ban", network=str(network), removed=True)


async def export(world: World, _arguments: dict[str, Any]) -> Answer:
    """Bans in force, for the formats of ``ban_files``."""
    shown = [
        {"network": ban.network, "until": ban.until, "since": ban.created_at, "why": ban.reason, "kind": ban.kind}
        for ban in await _in_force(world)
    ]
    return good("bans", bans=shown, now=world.now())


async def take_in(world: World, arguments: dict[str, Any]) -> Answer:
    """Ban what the lines of a file name. ``lines`` are [number, text]; what cannot be taken is named, the rest counts."""
    now = world.now()
    given, refused, taken = list(arguments["lines"])[:MOST_LINES], [], []
    seconds = arguments.get("seconds")
    why = str(arguments.get("why") or "imported")
    for number, text in given:
        try:
            entry = parse_line(str(text), now)
        except ValueError as error:
            refused.append({"line": int(number), "why": str(error)})
            continue
        if entry is None:
            continue
        reason = world.ban_book.refusal(entry.network)
        if reason is not None:
            refused.append({"line": int(number), "why": reason})
            continue
        until = entry.until or (now + float(seconds) if seconds else None)
        taken.append(world.ban_book.order(entry.network, until, IMPORTED, why))
    await _keep(world, taken)
    return good("imported", imported=len(taken), refused=len(refused), not_taken=refused[:_NAMED])


async def _keep(world: World, taken: list[Ban]) -> None:
    if not taken:
        return
    fields: dict[str, JsonValue] = {"count": len(taken), "operator": operator(), "why": taken[0].reason}
    await world.submit([bans.add_all(taken)], Event("ban.imported", world.now(), fields))
    _hit(world, IMPORTED, len(taken))


async def changes(world: World, arguments: dict[str, Any]) -> Answer:
    """For ``postlatch firewall``: what has changed since ``run`` and ``version``, and who is to be let through."""
    run = f"{world.run.epoch}"
    since = int(arguments.get("version", -1)) if arguments.get("run") == run else -1
    found, now = world.bans.changes(since), world.now()
    networks = {network: None if end is None or end <= now else _finite(end) for network, end in found.networks.items()}
    gone = sorted(network for network, end in found.networks.items() if end is None or end <= now)
    return good(
        "firewall",
        run=run,
        version=found.version,
        whole=found.whole,
        bans={network: end for network, end in networks.items() if network not in gone},
        lifted=gone,
        allowed=sorted({str(network) for network in world.ban_book.allow.networks(now)}),
        now=now,
    )


async def _in_force(world: World) -> list[Ban]:
    now = world.now()
    return [ban for ban in await world.reader.read(bans.load) if ban.until is None or ban.until > now]


def _hit(world: World, kind: str, count: int = 1) -> None:
    world.counters.inc("postlatch_bans_total", (kind,), count)
    if world.relay is not None:
        world.relay.server.end_banned()


def _finite(end: float) -> float:
    """0: until it is lifted. JSON has no infinity."""
    return 0.0 if math.isinf(end) else end


def _when(until: float | None) -> str | None:
    return None if until is None else rfc3339(until)
