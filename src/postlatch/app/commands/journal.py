"""The journal: tail, search, export, verify."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from functools import partial
from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, Answer, good
from postlatch.app.world import World
from postlatch.journal import read
from postlatch.journal.search import Query, search, tail
from postlatch.journal.verify import VerifyReport, verify
from postlatch.store.database import open_reader

_MOST = 10_000


def _limit(arguments: dict[str, Any], otherwise: int) -> int:
    return min(_MOST, int(arguments.get("limit") or otherwise))


async def read_after(world: World, arguments: dict[str, Any]) -> Answer:
    """Events behind a cursor: what followers ask for."""
    found = await world.reader.read(partial(read.read, after_seq=int(arguments["after"]), limit=_limit(arguments, 500)))
    return good("journal", events=found)


async def tail_now(world: World, arguments: dict[str, Any]) -> Answer:
    """The last events."""
    count = min(_MOST, int(arguments.get("lines") or 20))
    return good("journal", events=await world.reader.read(partial(tail, count=count)))


async def find(world: World, arguments: dict[str, Any]) -> Answer:
    """Events that match."""
    names = ("message", "account", "address", "client", "event", "text")
    query = Query(
        **{name: str(arguments[name]) for name in names if arguments.get(name)},
        since=arguments.get("since", -math.inf),
        until=arguments.get("until", math.inf),
    )
    found = await world.reader.read(partial(search, query=query, limit=_limit(arguments, 100)))
    return Answer(GOOD if found else BAD_NEWS, {"schema": "postlatch.journal/1", "events": found})


async def page(world: World, arguments: dict[str, Any]) -> Answer:
    """One page of an export: records behind ``after`` within the time range, and where to go on."""
    since, until = arguments.get("since", -math.inf), arguments.get("until", math.inf)
    after = int(arguments.get("after") or 0)
    found = await world.reader.read(partial(read.read, after_seq=after, limit=_limit(arguments, 1000)))
    inside = [record for record in found if since <= record["at"] < until]
    return good("journal", events=inside, after=found[-1]["seq"] if found else None)


async def check(world: World, _arguments: dict[str, Any]) -> Answer:
    """Recompute the whole chain."""
    report = await asyncio.to_thread(_verify, world)
    data = {
        "ok": report.ok,
        "batches": report.batches,
        "events": report.events,
        "findings": list(report.findings),
        "failures": list(report.failures),
        "head": report.head._asdict() if report.head is not None else None,
    }
    return Answer(GOOD if report.ok else BAD_NEWS, {"schema": "postlatch.journal-verify/1", **data})


def _verify(world: World) -> VerifyReport:
    # A connection of its own, in autocommit: this may take longer than a read may.
    with closing(open_reader(world.settings.database)) as connection:
        return verify(connection)
