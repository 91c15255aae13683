"""Relay rights by command: add, list, renew, revoke. Each change is proved before it is stored."""

from __future__ import annotations

from typing import Any

from postlatch.app import rights as encoding
from postlatch.app.answer import UNUSABLE, Answer, CommandError, good
from postlatch.app.commands.policy import narrow, right_rows
from postlatch.app.operator import operator
from postlatch.app.policy import Judgement, PolicyRefused
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.snapshot import Snapshot
from postlatch.store import rights as table
from postlatch.store.rights import StoredRight


async def _proved(world: World, stored: list[StoredRight]) -> tuple[Snapshot, Judgement]:
    candidate = world.policy.candidate(stored=stored)
    judgement = await world.policy.judged(candidate)
    if not judgement.closed:
        raise PolicyRefused(judgement)
    return candidate, judgement


async def _change(world: World, stored: list[StoredRight], operation: Any, event: Event) -> None:
    candidate, judgement = await _proved(world, stored)
    [done] = await world.submit([operation], event)
    if done is False:
        raise CommandError("the right changed meanwhile; look at postlatch right list and try again")
    world.policy.stored = stored
    world.policy.install(candidate, judgement=judgement)


def _event(world: World, name: str, right: str, body: str = "") -> Event:
    return Event(name, world.now(), {"right": right, "operator": operator(), **({"why": body} if body else {})})


def _find(world: World, name: str) -> StoredRight:
    for row in world.policy.stored:
        if row.name == name:
            return row
    if any(right.name == name for right in world.settings.rights):
        raise CommandError(f"the right {name} is in the configuration: change it there and reload")
    raise CommandError(f"there is no right {name}; see postlatch right list")


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """A new right: checked, proved, stored, in force at once."""
    right = encoding.checked(arguments)
    if world.policy.snapshot.right(right.name) is not None:
        raise CommandError(f"there is a right {right.name} already: renew or revoke it")
    body = encoding.encode(arguments)
    stored = [*world.policy.stored, StoredRight(right.name, body, world.now(), operator())]
    operation = table.add(right.name, body, now=world.now(), by=operator())
    await _change(world, stored, operation, _event(world, "right.added", right.name, body))
    return good("right", **_row(world, right.name))


async def renew(world: World, arguments: dict[str, Any]) -> Answer:
    """Another last day."""
    row = _find(world, arguments["name"])
    values = encoding.renewed(row, str(arguments["expires"]))
    encoding.checked(values)
    body = encoding.encode(values)
    stored = [other._replace(body=body) if other.name == row.name else other for other in world.policy.stored]
    await _change(world, stored, table.replace(row.name, body), _event(world, "right.renewed", row.name, body))
    return good("right", **_row(world, row.name))


async def revoke(world: World, arguments: dict[str, Any]) -> Answer:
    """End a right now; its queued mail is held at its next attempt. Revoking must work whatever else is wrong."""
    row = _find(world, arguments["name"])
    [done] = await world.submit([table.revoke(row.name, now=world.now())], _event(world, "right.revoked", row.name))
    if not done:
        return Answer(UNUSABLE, {}, f"the right {row.name} was revoked already")
    world.policy.stored = [other for other in world.policy.stored if other.name != row.name]
    await narrow(world)
    return good("right", name=row.name, revoked=True)


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """Network rights of both sources."""
    return good("rights", rights=[row for row in right_rows(world) if row["reason"] == "NETWORK"])


def _row(world: World, name: str) -> dict[str, Any]:
    return next(dict(row) for row in right_rows(world) if row["name"] == name and row["reason"] == "NETWORK")
