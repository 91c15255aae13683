"""The queue: list, show, hold, release, retry, bounce, delete. Each change is journalled for every recipient it met."""

from __future__ import annotations

from collections.abc import Callable
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
from postlatch.spool.queue import QueueFilter, QueueRow, header, list_recipients, parse_queue_id, tally
from postlatch.spool.queue import show as find_message
from postlatch.store.writer import Operation

_PAGE = 1000
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
    """One page of recipients."""
    limit = int(arguments.get("limit") or _PAGE)
    query = partial(list_recipients, filters=_filter(arguments), limit=limit, after=arguments.get("after") or "")
    rows = await world.reader.read(query)
    return good("queue", recipients=[row.as_json() for row in rows], next=rows[-1].id if len(rows) == limit else None)


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


async def _act(world: World, event: str, make: Callable[[], Operation[AdminResult]]) -> Answer:
    """Repeat in steps until nothing more matches: mail is accepted between them."""
    changed: list[QueueRow] = []
    active: dict[str, QueueRow] = {}
    while True:
        [result] = await world.submit([make()])
        active |= {row.id: row for row in result.active}
        if not result.changed:
            break
        changed += result.changed
        await _tell(world, event, result)
    return _answer(world, changed, active)


def _answer(world: World, changed: list[QueueRow], active: dict[str, QueueRow]) -> Answer:
    if world.relay is not None:
        world.relay.dispatcher.wake(due=True)
    data = {"changed": [row.as_json() for row in changed], "active": [row.as_json() for row in active.values()]}
    return Answer(GOOD if changed else BAD_NEWS, {"schema": "postlatch.queue-changed/1", **data})


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
    filters = _filter(arguments, needed=True)
    return await _act(world, "queue.held", lambda: admin.hold(filters))


async def release(world: World, arguments: dict[str, Any]) -> Answer:
    """Let held recipients go on, now."""
    filters = _filter(arguments, needed=True)
    return await _act(world, "queue.released", lambda: admin.release(filters, world.now()))


async def retry(world: World, arguments: dict[str, Any]) -> Answer:
    """Try waiting recipients now."""
    filters, now = _filter(arguments), world.now()
    return await _act(world, "queue.retried", lambda: admin.retry(filters, now))


async def delete(world: World, arguments: dict[str, Any]) -> Answer:
    """Drop recipients; nobody is told, and the journal says who did it."""
    filters = _filter(arguments, needed=True)
    return await _act(world, "queue.deleted", lambda: admin.delete(filters, world.now(), bodies_of(world.settings)))


async def bounce(world: World, arguments: dict[str, Any]) -> Answer:
    """Give up on recipients, and tell senders whom an account or a right vouches for."""
    filters = _filter(arguments, needed=True)
    changed: list[QueueRow] = []
    active: dict[str, QueueRow] = {}
    while True:
        [result] = await world.submit([admin.bounce(filters, world.now(), bodies_of(world.settings), reply=_REASON)])
        active |= {row.id: row for row in result.active}
        if not result.changed:
            break
        changed += result.changed
        for notice in await bounce_notices(world, result.claims, _REASON):
            await _send(world, notice)
        await _tell(world, "queue.bounced", result)
    return _answer(world, changed, active)


async def _send(world: World, notice: PreparedNotice) -> None:
    notice.committed(await world.submit(notice.operations, *notice.events))
