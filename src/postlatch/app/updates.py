"""``postlatch updates``: the real network, machine and clock for the room that compares versions. It needs no running relay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from postlatch import __version__
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.app.clock import SystemClock
from postlatch.app.fetch import HttpFetcher
from postlatch.app.senders import chosen_resolver, chosen_settings
from postlatch.audit.fingerprint import recognise
from postlatch.audit.printable import printable
from postlatch.audit.updates import banner, dependencies, index, local, osv, packages, programs, refresh
from postlatch.audit.updates.data import STALE, Data
from postlatch.audit.updates.dependencies import Dependency
from postlatch.audit.updates.server import Server, judge
from postlatch.audit.updates.values import Item, Kind, State
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.model.fetch import Fetcher
from postlatch.settings.problem import SettingsError

_OFFLINE: Final = "The network was not asked: Postlatch and the Python packages are unknown. --online asks."
_MOST_BANNER: Final = 8_192
_MOST_ADDRESSES: Final = 3  # of one name that are tried


class World(NamedTuple):
    """What the command meets outside itself; arguments, so that a test brings its own."""

    clock: Clock
    resolver: Resolver
    fetcher: Fetcher
    run: programs.Run = programs.run
    listen: Callable[[IPAddress, int], banner.Heard] = banner.listen
    version: str = __version__
    installed: Callable[[], list[Dependency]] = dependencies.installed
    lists: Path = packages.LISTS
    os_release: Path = local.OS_RELEASE


def command(config: Path | None, arguments: dict[str, Any]) -> Answer:
    """Status 0: nothing that must be done; 1: a security fix is missing; 2: unusable input; 3: nothing at all is known."""
    try:
        settings = chosen_settings(config)
    except SettingsError as error:
        return Answer(UNUSABLE, {}, str(error))
    clock = SystemClock()
    resolver = chosen_resolver(arguments, settings, clock)
    kept = settings.data_dir / refresh.NAME if settings is not None else None
    return asyncio.run(updates(World(clock, resolver, HttpFetcher(resolver)), arguments, kept))


async def updates(world: World, arguments: dict[str, Any], kept: Path | None) -> Answer:
    """``kept`` is where the fetched file is, unless an argument says otherwise."""
    path = Path(str(arguments["data"])) if arguments.get("data") else kept
    now = world.clock.now()
    data, trouble = refresh.held(path)
    notes = [trouble] if trouble else []
    if arguments.get("refresh"):
        if wrong := _wrong_refresh(arguments, path):
            return Answer(UNUSABLE, {}, wrong)
        data, told = await _refreshed(world.fetcher, str(arguments["data_url"]), path, data)
        notes.append(told)
    if data.stale(now):
        notes.append(f"The data of known faults is {data.age(now)} days old, more than {STALE}: newer faults are not in it.")
    asked = _server_asked(arguments)
    if isinstance(asked, str):
        return Answer(UNUSABLE, {}, asked)
    alone = bool(arguments.get("banner") or asked)
    items: list[Item] = []
    if not alone or arguments.get("online"):
        items += await _network(world, arguments, notes)
    if not alone:
        items += packages.look(world.run, now, world.lists)
        items += [judge(server, data) for server in local.servers(world.run, world.os_release)]
    items += await _named(world, arguments, asked, data)
    return Answer(_status(items), _told(data, now, notes, items, online=bool(arguments.get("online"))))


def _wrong_refresh(arguments: dict[str, Any], path: Path | None) -> str:
    if not arguments.get("data_url"):
        return "--refresh needs --data-url URL: where the newer file is"
    if path is None:
        return "--refresh needs --data FILE, or a configuration with a data_dir: where the newer file is to be kept"
    return ""


async def _refreshed(fetcher: Fetcher, url: str, path: Path | None, data: Data) -> tuple[Data, str]:
    """The newest data, and what is to be said. Not getting any is a normal state."""
    assert path is not None
    try:
        fetched = await refresh.refresh(fetcher, url, path, data)
    except refresh.RefreshError as error:
        return data, f"The data was not refreshed: {error}. The data of {data.date} is used."
    return fetched, f"The data was refreshed: it is of {fetched.date}, and kept in {path}."


async def _network(world: World, arguments: dict[str, Any], notes: list[str]) -> list[Item]:
    """Postlatch and the packages that it runs on."""
    wanted, site = bool(arguments.get("online")), str(arguments.get("index") or "")
    installed = world.installed()
    if not wanted:
        notes.append(_OFFLINE)
        asking = "postlatch updates --online"
        return [
            index.unasked(world.version, online=False),
            *osv.unasked(installed, "The network was not asked.", fix=asking),
        ]
    ours = Dependency(dependencies.ROOT, world.version)
    at = str(arguments.get("osv") or "https://api.osv.dev")
    own, found = await asyncio.gather(
        index.look(world.fetcher, site, world.version) if site else _no_index(world.version),
        osv.look(world.fetcher, at, [ours, *installed]),
    )
    return [_joined(own, found[0]), *found[1:]]


async def _no_index(version: str) -> Item:
    return index.unasked(version, online=True)


def _joined(own: Item, known: Item) -> Item:
    """What the index says of Postlatch's version, and OSV of its faults."""
    if known.state is State.VULNERABLE:
        fix = own.fix or known.fix
        return own._replace(state=State.VULNERABLE, advisories=known.advisories, fix=fix, security=True)
    return own._replace(note=f"{own.note} {known.note}".strip())


def _server_asked(arguments: dict[str, Any]) -> tuple[str, int] | str | None:
    """HOST or HOST:PORT, an IPv6 address in brackets; a sentence if it is neither."""
    given = str(arguments.get("server") or "")
    if not given:
        return None
    if given.startswith("["):
        host, closed, rest = given[1:].partition("]")
        host, port = host if closed else "", rest.removeprefix(":") or "25"
    else:
        host, mark, port = given.partition(":")
        port = port if mark else "25"
    if host and port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535:
        return host, int(port)
    return f"--server: {given!a} must be HOST or HOST:PORT"


async def _named(world: World, arguments: dict[str, Any], asked: tuple[str, int] | None, data: Data) -> list[Item]:
    """The servers that the arguments name."""
    items = []
    if arguments.get("banner"):
        found = recognise(str(arguments["banner"])[:_MOST_BANNER])
        items.append(judge(Server(found.product, found.version, "banner", found.how), data))
    if asked is not None:
        items.append(await _heard(world, *asked, data))
    return items


async def _heard(world: World, host: str, port: int, data: Data) -> Item:
    where = printable(f"{host}:{port}", 300)
    try:
        addresses = await _addresses(world.resolver, host)
    except DnsError as error:
        return _silent(where, f"its name was not found: {printable(str(error), 200)}")
    if not addresses:
        return _silent(where, "its name has no address")
    heard = await asyncio.to_thread(world.listen, addresses[0], port)
    for address in addresses[1:_MOST_ADDRESSES]:
        if not heard.banner:
            heard = await asyncio.to_thread(world.listen, address, port)
    if not heard.banner:
        return _silent(where, heard.trouble)
    found = recognise(heard.banner, heard.ehlo)
    item = judge(Server(found.product, found.version, where, found.how), data)
    greeting = heard.banner.partition("\n")[0][:200]
    return item._replace(note=f'{item.note} It greets with "{greeting}".')


async def _addresses(resolver: Resolver, host: str) -> list[IPAddress]:
    try:
        return [ip_address(host)]
    except ValueError:
        return await resolver.addresses(host)


def _silent(where: str, why: str) -> Item:
    return Item(Kind.SERVER, where, "", "", State.UNKNOWN, (), "", f"It was not heard: {why}.")


def _status(items: list[Item]) -> int:
    if any(item.state is State.VULNERABLE or (item.state is State.OUTDATED and item.security) for item in items):
        return BAD_NEWS
    return UNDECIDED if all(item.state is State.UNKNOWN for item in items) else GOOD


def _told(data: Data, now: float, notes: list[str], items: list[Item], *, online: bool) -> dict[str, Any]:
    rows = [
        {
            **item._asdict(),
            "kind": item.kind.value,
            "state": item.state.value,
            "advisories": [advisory._asdict() for advisory in item.advisories],
        }
        for item in items
    ]
    return {
        "schema": "postlatch.updates/1",
        "date_of_data": data.date.isoformat(),
        "age_of_data": data.age(now),
        "online": online,
        "notes": notes,
        "items": rows,
    }
