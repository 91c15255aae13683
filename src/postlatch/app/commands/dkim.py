"""Signing keys by command: make them, list them, replace them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.dkim import DkimKeys, Seen
from postlatch.app.dkim_files import KeyFileProblem
from postlatch.app.dkim_life import what_next
from postlatch.app.dkim_servers import asking, resolver_of
from postlatch.app.operator import operator
from postlatch.app.world import World
from postlatch.policy.replies import rfc3339
from postlatch.store.dkim_keys import StoredKey


async def _keys_of(world: World) -> DkimKeys:
    """Those of the relay, or the same without one."""
    if world.relay is not None:
        running: DkimKeys = world.relay.dkim
        return running
    keys = DkimKeys(world, resolver_of(world.settings, world.clock), asking(world.clock))
    await keys.load()
    return keys


async def keygen(world: World, arguments: dict[str, Any]) -> Answer:
    """The first keys of a domain, or new ones in the place of lost ones."""
    return await _make(world, str(arguments["domain"]), rotate=False)


async def rotate(world: World, arguments: dict[str, Any]) -> Answer:
    """The successors of a domain's keys."""
    return await _make(world, str(arguments["domain"]), rotate=True)


async def _make(world: World, domain: str, *, rotate: bool) -> Answer:
    keys = await _keys_of(world)
    try:
        made = await keys.make(domain, operator(), rotate=rotate)
    except KeyFileProblem as problem:
        raise CommandError(str(problem)) from None
    return good("keys", keys=_shown(world, keys, made, ()))


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """All keys. Those that wait are looked for in the DNS now: whoever has just published a record asks with this.

    The same holds for files that were lost and are back.
    """
    keys = await _keys_of(world)
    await keys.refresh()
    seen = await keys.look(all_waiting=True)
    return good("keys", keys=_shown(world, keys, keys.rows, seen))


def _shown(world: World, keys: DkimKeys, rows: Iterable[StoredKey], seen: Iterable[Seen]) -> list[dict[str, Any]]:
    why = {key.name: found.why for key, found in seen if found.why}
    return [_row(world, keys, key, why.get(key.name, "")) for key in rows]


def _row(world: World, keys: DkimKeys, key: StoredKey, why: str) -> dict[str, Any]:
    rotate = world.settings.dkim.rotate
    follows = what_next(key, ours=keys.is_ours(key.domain), keep=keys.keep, rotate=float(rotate) if rotate else None)
    if key.name in keys.lost:
        follows = f"cannot sign: {keys.lost[key.name]}"
    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state,
        "created": rfc3339(key.created_at),
        "published_at": _when(key.published_at),
        "active_at": _when(key.active_at),
        "retired_at": _when(key.retired_at),
        "name": key.name,
        "record": key.record,
        "next": f"{follows} ({why})" if why else follows,
    }


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
