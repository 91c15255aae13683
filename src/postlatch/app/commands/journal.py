"""The journal: tail, search, export, verify; its signed heads and their key."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from pathlib import Path
from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, Answer, CommandError, good
from postlatch.app.attesting import key_event
from postlatch.app.operator import operator
from postlatch.app.verifying import verify_whole
from postlatch.app.world import World
from postlatch.journal import read
from postlatch.journal.heads import SignedHead, parse
from postlatch.journal.keys import HEADS_FILE, KeyProblem, known_keys, make_key
from postlatch.journal.search import Query, search, tail
from postlatch.journal.times import when

_MOST = 10_000
_SETTLING = 1.0  # seconds


def _limit(arguments: dict[str, Any], otherwise: int) -> int:
    return min(_MOST, int(arguments.get("limit") or otherwise))


async def _settled(world: World) -> None:
    """What happened before a question is in its answer: waits for the events on their way, but not for a disk that hangs."""
    written = world.writer.submit(())
    await asyncio.wait((written,), timeout=_SETTLING)
    if written.done():
        written.exception()  # a store that fails can still be read


async def read_after(world: World, arguments: dict[str, Any]) -> Answer:
    """Events behind a cursor: what followers ask for."""
    found = await world.reader.read(partial(read.read, after_seq=int(arguments["after"]), limit=_limit(arguments, 500)))
    return good("journal", events=found)


async def tail_now(world: World, arguments: dict[str, Any]) -> Answer:
    """The last events."""
    count = min(_MOST, int(arguments.get("lines") or 20))
    await _settled(world)
    return good("journal", events=await world.reader.read(partial(tail, count=count)))


async def find(world: World, arguments: dict[str, Any]) -> Answer:
    """Events that match."""
    names = ("message", "account", "address", "client", "event", "text")
    query = Query(
        **{name: str(arguments[name]) for name in names if arguments.get(name)},
        since=arguments.get("since", -math.inf),
        until=arguments.get("until", math.inf),
    )
    await _settled(world)
    found = await world.reader.read(partial(search, query=query, limit=_limit(arguments, 100)))
    return Answer(GOOD if found else BAD_NEWS, {"schema": "postlatch.journal/1", "events": found})


async def page(world: World, arguments: dict[str, Any]) -> Answer:
    """One page of an export: records behind ``after`` within the time range, and where to go on."""
    since, until = arguments.get("since", -math.inf), arguments.get("until", math.inf)
    after = int(arguments.get("after") or 0)
    found = await world.reader.read(partial(read.read, after_seq=after, limit=_limit(arguments, 1000)))
    inside = [record for record in found if since <= record["at"] < until]
    return good("journal", events=inside, after=found[-1]["seq"] if found else None)


async def heads(world: World, arguments: dict[str, Any]) -> Answer:
    """One page of the signed heads behind number ``after``, and where to go on: for a copy elsewhere."""
    after, limit = int(arguments.get("after") or 0), _limit(arguments, 1000)
    found = await asyncio.to_thread(_signed, world.settings.data_dir, after, limit)
    return good("journal", events=[signed.as_record() for signed in found], after=found[-1].number if found else None)


def _signed(folder: Path, after: int, limit: int) -> list[SignedHead]:
    try:
        content = (folder / HEADS_FILE).read_bytes()
    except FileNotFoundError:
        return []
    try:
        found = [parse(line) for line in content.split(b"\n")[:-1]]
    except ValueError as error:
        raise CommandError(f"{folder / HEADS_FILE} is damaged ({error}): see postlatch journal verify", BAD_NEWS) from None
    return [signed for signed in found if signed.number > after][:limit]


async def key(world: World, arguments: dict[str, Any]) -> Answer:
    """The public key that checks the newest heads; with ``new``, one that is made now and journalled."""
    folder = world.settings.data_dir
    try:
        if arguments.get("new"):
            made = await asyncio.to_thread(make_key, folder, world.now())
            await world.submit([], key_event(made, world.now(), f"asked for by {operator()}"))
        known = list((await asyncio.to_thread(known_keys, folder)).values())
    except KeyProblem as error:
        raise CommandError(str(error)) from None
    if not known:
        raise CommandError("there is no key yet: the relay makes it when it starts, or use --new")
    return good("journal.key", key=known[-1].name, since=when(known[-1].since), public=known[-1].pem(), keys=len(known))


async def check(world: World, arguments: dict[str, Any]) -> Answer:
    """Recompute the whole chain, and compare the signed heads with it."""
    given = [Path(arguments[name]) if arguments.get(name) else None for name in ("heads", "public_key")]
    report = await asyncio.to_thread(verify_whole, world, *given)
    data = {
        "ok": report.ok,
        "batches": report.batches,
        "events": report.events,
        "findings": list(report.findings),
        "failures": list(report.failures),
        "head": report.head._asdict() if report.head is not None else None,
    }
    return Answer(GOOD if report.ok else BAD_NEWS, {"schema": "postlatch.journal-verify/1", **data})
