"""The greylist by command: who waits and who is let through, and to forget a network or a domain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.reputation import greylist_rules
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.server.greylist import Greylist
from postlatch.store import greylist
from postlatch.store.greylist import Group, Triplet

_MOST = 10_000  # in one answer


async def listing(world: World, arguments: dict[str, Any]) -> Answer:
    """Who waits, who came back, and the groups that are let through."""
    table = await _table(world)
    limit = min(_MOST, int(arguments.get("limit") or 100))
    entries = [_entry(world, table, one) for one in islice(_newest(table.listed()), limit)]
    allowed = [_allowed(table, group) for group in table.allowed(world.now())[-limit:]]
    return good("greylist", entries=entries, allowed=allowed, count=len(table))


async def forget(world: World, arguments: dict[str, Any]) -> Answer:
    """As if nobody of that group had ever been seen."""
    group = str(arguments["group"])
    table = await _table(world)
    gone = table.forget(group)
    if not gone:
        raise CommandError(f"nobody of {group!a} is known; see postlatch greylist list for the names")
    event = Event("greylist.forgotten", world.now(), {"why": group, "operator": operator()})
    await world.submit([], event)
    while any(changes := table.changes()):
        await world.submit([greylist.save(changes)])
    return good("greylist", group=group, forgotten=gone)


async def _table(world: World) -> Greylist:
    """The relay's own, or what is kept, where none runs."""
    if world.relay is not None:
        running: Greylist = world.relay.reputation.greylist
        return running
    table = Greylist(greylist_rules(world.settings))
    table.load(await world.reader.read(partial(greylist.load, most=table.rules.most)))
    return table


def _newest(entries: Iterable[Triplet]) -> list[Triplet]:
    return sorted(entries, key=lambda one: -one.last_at)


def _entry(world: World, table: Greylist, one: Triplet) -> dict[str, Any]:
    ready = one.first_at + table.rules.delay
    state = "passed" if one.passed else "waiting" if world.now() < ready else "ready"
    return {
        "group": one.group,
        "sender": one.sender or "<>",
        "recipient": one.recipient,
        "state": state,
        "first_at": rfc3339(one.first_at),
        "last_at": rfc3339(one.last_at),
        "retry_at": None if one.passed else rfc3339(ready),
    }


def _allowed(table: Greylist, group: Group) -> dict[str, Any]:
    until = rfc3339(group.last_at + table.rules.keep)
    return {"group": group.group, "successes": group.successes, "last_at": rfc3339(group.last_at), "until": until}
