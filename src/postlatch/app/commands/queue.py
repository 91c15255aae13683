"""The queue: list, show, hold, release, retry, bounce, delete. Each change is journalled for every recipient it met."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.reports import bounce_notices
from postlatch.app.world import World, bodies_of
from postlatch.delivery.ports import PreparedNotice
from postlatch.journal.search import Query, search
from postlatch.model.events import Event
from postlatch.model.ids import format_id
from postlatch.policy.replies import rfc3339
from postlatch.spool import admin
from postlatch.spool.admin import AdminResult
from postlatch.spool.contract import RecipientState
from postlatch.spool.priority import NAMES
from postlatch.spool.queue import OPEN_STATES, QueueFilter, QueueRow, header, list_page, parse_queue_id, tally
from postlatch.spool.queue import show as find_message
from postlatch.store.writer import Operation

_PAGE = 1000
_STEP = 250  # recipients that one transaction changes: mail waits for it
_BOUNCE_STEP = 100  # fewer, because each message's header is read for a report
_LOOKING = 5.0  # seconds that a listing searches before it gives what it has and says where to go on
_WORKING = 30.0  # seconds that an action works before it does the same
_SHOWN = 10_000  # rows of an action's result; beyond that they are only counted
_REASON = "550 5.7.1 given up by the operator"


def _filter(arguments: dict[str, Any], *, needed: bool = False) -> QueueFilter:
    state = arguments.get("state")
    if state and state not in set(RecipientState):
        raise CommandError(f"there is no state {state!a}; there are: {', '.join(RecipientState)}")
    found = QueueFilter(
        ids=tuple(arguments.get("ids") or ()),
        sender=arguments.get("sender") or "",
        recipient=arguments.get("recipient") or "",
        domain=arguments.get("domain") or "",
        state=RecipientState(state) if state else None,
        account=arguments.get("account") or "",
    )
    if needed and found.empty:
        raise CommandError("name what you mean: message ids, or --sender, --recipient, --domain, --state, --account")
    return found


async def listing(world: World, arguments: dict[str, Any]) -> Answer:
    """One page of recipients. In a long queue with few matches it may be short, or empty, and still have a ``next``."""
    limit, filters = int(arguments.get("limit") or _PAGE), _filter(arguments)
    rows: list[QueueRow] = []
    after: str | None = arguments.get("after") or ""
    end = world.clock.monotonic() + _LOOKING
    while after is not None and len(rows) < limit:
        page = await world.reader.read(partial(list_page, filters=filters, limit=limit - len(rows), after=after))
        rows += page.rows
        after = page.next
        if world.clock.monotonic() > end:
            break
    return good("queue", recipients=[row.as_json() for row in rows], next=after)


async def counts(world: World, _arguments: dict[str, Any]) -> Answer:
    """Recipients by state."""
    found = await world.reader.read(tally)
    return good("queue-counts", states={str(state): count for state, count in found.items() if count})


async def show(world: World, arguments: dict[str, Any]) -> Answer:
    """Messages: envelope, recipients, header, history."""
    return good("messages", messages=[await _show(world, text) for text in arguments["ids"]])


async def _show(world: World, text: str) -> dict[str, Any]:
    message_id, _ = parse_queue_id(text)
    shown = await world.reader.read(partial(find_message, message_id=message_id))
    if shown is None:
        raise CommandError(
            f"there is no message {text!a} in the queue; journal search --message {text!a} may know it", BAD_NEWS
        )
    block = await world.reader.read(partial(header, message_id=message_id, bodies=bodies_of(world.settings)))
    history = await world.reader.read(partial(search, query=Query(message=format_id(message_id)), limit=200))
    message = shown.message
    return {
        "message_id": format_id(message_id),
        "sender": str(message.sender or "<>"),
        "received_at": rfc3339(message.received_at),
        "size": message.size,
        "listener": message.listener,
        "client": str(message.client or ""),
        "helo": message.helo,
        "account": message.account,
        "kind": message.kind,
        "priority": NAMES[message.priority],
        "header_message_id": message.header_message_id,
        "recipients": [_long(row) for row in shown.recipients],
        "header": block.decode("utf-8", "backslashreplace"),
        "history": history,
    }


def _long(row: QueueRow) -> dict[str, Any]:
    return {
        **row.as_json(),
        "destination": row.destination,
        "grant_ref": row.grant_ref,
        "last_remote": row.last_remote,
        "possible_duplicate": row.possible_duplicate,
        "finished_at": None if row.finished_at is None else rfc3339(row.finished_at),
    }


Make = Callable[[QueueFilter], Operation[AdminResult]]
Then = Callable[[AdminResult], Awaitable[None]]


@dataclass(slots=True)
class _Work:
    """One action on whatever matches ``filters``: ``make`` is one step of it, ``then`` what follows each step."""

    world: World
    filters: QueueFilter
    make: Make
    then: Then
    step: int = _STEP
    changed: list[QueueRow] = field(default_factory=list)
    active: dict[str, QueueRow] = field(default_factory=dict)
    counted: int = 0

    async def run(self, after: str) -> Answer:
        """Look for rows beside the writer, change them in steps: mail is accepted between them, and no row is met twice."""
        clock = self.world.clock
        end = clock.monotonic() + _WORKING
        rest = await (self._named() if self.filters.ids else self._search(after, end))
        if self.world.relay is not None:
            self.world.relay.dispatcher.wake(due=True)
        data: dict[str, Any] = {
            "changed": [row.as_json() for row in self.changed],
            "active": [row.as_json() for row in self.active.values()],
        }
        data |= {"changed_count": self.counted, "next": rest}
        return Answer(GOOD if self.counted else BAD_NEWS, {"schema": "postlatch.queue-changed/1", **data})

    async def _named(self) -> None:
        while await self._change(self.filters):
            continue

    async def _search(self, after: str, end: float) -> str | None:
        """From behind ``after``; where to go on if that is not the end. Mail that comes in meanwhile is not waited for."""
        states = [state for state in OPEN_STATES if self.filters.state in (None, state)]
        if not states:
            return None  # what is final is never changed
        newest = await self.world.reader.read(_newest)
        cursor: str | None = after
        while cursor is not None and (not cursor or parse_queue_id(cursor)[0] <= newest):
            query = partial(list_page, filters=self.filters, limit=self.step, after=cursor, states=states)
            page = await self.world.reader.read(query)
            if page.rows:
                await self._change(replace(self.filters, ids=tuple(row.id for row in page.rows)))
            cursor = page.next
            if self.world.clock.monotonic() > end:
                return cursor
        return None

    async def _change(self, filters: QueueFilter) -> bool:
        [result] = await self.world.submit([self.make(filters)])
        for row in result.active[: _SHOWN - len(self.active)]:
            self.active[row.id] = row
        if not result.changed:
            return False
        self.counted += len(result.changed)
        self.changed += result.changed[: _SHOWN - len(self.changed)]
        await self.then(result)
        return True


def _newest(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT ifnull(max(id), 0) FROM messages").fetchone()[0])


async def _act(world: World, event: str, arguments: dict[str, Any], filters: QueueFilter, make: Make) -> Answer:
    return await _Work(world, filters, make, partial(_tell, world, event)).run(arguments.get("after") or "")


async def _tell(world: World, event: str, result: AdminResult) -> None:
    events = [
        Event(
            event,
            world.now(),
            {
                "message": format_id(row.message_id),
                "sender": row.sender,
                "recipient": row.recipient,
                "account": row.account,
                "operator": operator(),
            },
        )
        for row in result.changed
    ]
    await world.submit([], *events)
    world.spool.cleanup(result.paths)


async def hold(world: World, arguments: dict[str, Any]) -> Answer:
    """Keep recipients until they are released."""
    return await _act(world, "queue.held", arguments, _filter(arguments, needed=True), admin.hold)


async def release(world: World, arguments: dict[str, Any]) -> Answer:
    """Let held recipients go on, now."""
    make = partial(admin.release, now=world.now())
    return await _act(world, "queue.released", arguments, _filter(arguments, needed=True), make)


async def retry(world: World, arguments: dict[str, Any]) -> Answer:
    """Try waiting recipients now."""
    return await _act(world, "queue.retried", arguments, _filter(arguments), partial(admin.retry, now=world.now()))


async def delete(world: World, arguments: dict[str, Any]) -> Answer:
    """Drop recipients; nobody is told, and the journal says who did it."""
    make = partial(admin.delete, now=world.now(), bodies=bodies_of(world.settings))
    return await _act(world, "queue.deleted", arguments, _filter(arguments, needed=True), make)


async def bounce(world: World, arguments: dict[str, Any]) -> Answer:
    """Give up on recipients, and tell senders whom an account or a right vouches for."""
    filters = _filter(arguments, needed=True)
    bodies = bodies_of(world.settings)
    make = partial(admin.bounce, now=world.now(), bodies=bodies, reply=_REASON, limit=_BOUNCE_STEP)

    async def then(result: AdminResult) -> None:
        for notice in await bounce_notices(world, result.claims, _REASON):
            await _send(world, notice)
        await _tell(world, "queue.bounced", result)

    return await _Work(world, filters, make, then, _BOUNCE_STEP).run(arguments.get("after") or "")


async def _send(world: World, notice: PreparedNotice) -> None:
    notice.committed(await world.submit(notice.operations, *notice.events))
