"""Destinations by command: list, pause, resume. A pause is a row; what it means is delivery's business."""

from __future__ import annotations

from functools import partial
from typing import Any

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.world import World
from postlatch.delivery.config import parse_route
from postlatch.delivery.destinations import State
from postlatch.delivery.pauses import Pause, reply_of
from postlatch.delivery.view import Shown
from postlatch.model.address import AddressError, parse_domain
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.spool.returns import Waiting, Woken, waiting_by_domain, wake
from postlatch.store import paused
from postlatch.store.paused import Paused
from postlatch.store.reader import ReadTimeout

COUNTED = 100_000  # recipients in the queue that a listing looks at
WAKE_RATE = 200.0  # recipients a second that come due after a resume
_MAX_REASON = 200
_STEP = 500  # messages woken in one step


def _named(text: str) -> str:
    """A domain as A-labels, or a route in the form in which delivery knows it."""
    try:
        return str(parse_route(text)) if "://" in text or text.startswith("maildir:") else parse_domain(text)
    except (AddressError, ValueError) as error:
        raise CommandError(
            f"{text!a} is no destination: write a domain, or a next hop like smtp://10.1.0.5:25 ({error})"
        ) from None


async def pause(world: World, arguments: dict[str, Any]) -> Answer:
    """Send nothing there until it is resumed."""
    name = _named(arguments["destination"])
    reason = str(arguments.get("reason") or "")[:_MAX_REASON]
    row = Paused(name, reason, operator(), world.now())
    event = Event("destination.paused", world.now(), {"destination": name, "why": reason, "operator": operator()})
    if name in {known.name for known in await world.reader.read(paused.load)}:
        raise CommandError(f"{name} is paused already; see postlatch destination list")
    await world.submit([paused.add(row)], event)
    await load_pauses(world)
    return good("destination", destination=name, paused_at=rfc3339(row.paused_at))


async def resume(world: World, arguments: dict[str, Any]) -> Answer:
    """Let it go on. What waits comes due little by little; a destination that was only parked is tried now."""
    name = _named(arguments["destination"])
    event = Event("destination.resumed", world.now(), {"destination": name, "operator": operator()})
    if name not in {known.name for known in await world.reader.read(paused.load)}:
        return good("destination", destination=name, woken=_try_now(world, name))
    await world.submit([paused.remove(name)], event)
    await load_pauses(world)
    woken = await _wake(world, name)
    if world.relay is not None:
        world.relay.dispatcher.pardon(name)
    return good("destination", destination=name, woken=woken)


async def load_pauses(world: World) -> None:
    """Tell delivery what is paused now, if it runs."""
    if world.relay is not None:
        rows = await world.reader.read(paused.load)
        await world.relay.dispatcher.pause([Pause(row.name, row.paused_at, row.reason) for row in rows])


def _try_now(world: World, name: str) -> int:
    shown = {one.name: one for one in world.relay.dispatcher.destinations()} if world.relay is not None else {}
    if name not in shown or shown[name].state is State.MOVING:
        raise CommandError(f"{name} is neither paused nor parked; see postlatch destination list")
    world.relay.dispatcher.pardon(name)
    return 0


async def _wake(world: World, name: str) -> int:
    """Spread what waited: a storm of retries would only have it paused again, by the other side."""
    now, after, total = world.now(), 0, 0
    while True:
        step = wake(reply_of(name), after, now, now + total / WAKE_RATE, _STEP / WAKE_RATE, limit=_STEP)
        [done] = await world.submit([step])
        assert isinstance(done, Woken)
        total += done.recipients
        if done.last is None:
            return total
        after = done.last


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """Where mail goes and how it fares there: delivery's own view, and what waits in the queue."""
    pauses = {row.name: row for row in await world.reader.read(paused.load)}
    shown = {one.name: one for one in world.relay.dispatcher.destinations()} if world.relay is not None else {}
    waiting, partial_count = await _waiting(world)
    found = {name: _row(name, one) for name, one in shown.items()}
    for one in waiting:
        name = world.relay.dispatcher.hop_of(one.domain) if world.relay is not None else one.domain
        _add(found, one.domain if one.domain in pauses else name, one)
    for name, row in pauses.items():
        entry = found.setdefault(name, _row(name, Shown(name, State.PAUSED)))
        entry |= {"state": State.PAUSED.value, "next_attempt": None}
        entry |= {"paused_at": rfc3339(row.paused_at), "paused_by": row.paused_by, "why": row.reason}
    return good("destination", destinations=[found[name] for name in sorted(found)], partial=partial_count)


async def _waiting(world: World) -> tuple[list[Waiting], bool]:
    """What waits in the database, by domain, and whether that is not all."""
    try:
        found = await world.reader.read(partial(waiting_by_domain, limit=COUNTED))
    except ReadTimeout:
        return [], True
    return found, sum(one.recipients for one in found) >= COUNTED


def _row(name: str, one: Shown) -> dict[str, Any]:
    return {
        "destination": name,
        "state": one.state.value,
        "waiting": one.waiting,
        "active": one.active,
        "concurrency": one.concurrency,
        "rate": one.rate,
        "last_reply": one.last_reply,
        "next_attempt": None if one.next_attempt is None else rfc3339(one.next_attempt),
        "paused_at": None,
        "paused_by": "",
        "why": "",
    }


def _add(found: dict[str, dict[str, Any]], name: str, one: Waiting) -> None:
    """What waits on the disk is added to what waits in memory."""
    entry = found.setdefault(name, _row(name, Shown(name, State.MOVING)))
    entry["waiting"] += one.recipients
    entry["last_reply"] = entry["last_reply"] or one.reply
    due = rfc3339(one.next_attempt)
    if entry["state"] == State.MOVING.value:
        entry["next_attempt"] = min(entry["next_attempt"] or due, due)
