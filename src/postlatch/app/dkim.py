"""The signing keys of this relay: made by command or by the calendar, used once the whole DNS has them, retired in time.

The rows in the database say what each key is; its private half is a file. All that changes a key goes through here, one change
at a time; `dkim_watch` calls it by the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from postlatch.app import dkim_files, dkim_life
from postlatch.app.answer import CommandError
from postlatch.app.dkim_files import KeyFileProblem, path_of
from postlatch.app.dkim_life import WAITING
from postlatch.app.dkim_servers import Ask, Look, look
from postlatch.app.world import World
from postlatch.delivery.signing import DomainKeys
from postlatch.model.dns import Resolver
from postlatch.model.events import Event, JsonValue
from postlatch.senderauth.dkim import sign
from postlatch.store import dkim_keys as table
from postlatch.store.dkim_keys import ACTIVE, NEW, PUBLISHED, REMOVABLE, RETIRED, StoredKey

LOOK_SECONDS = 15.0  # for one look at all keys, however many name servers are silent
_EVENTS: Mapping[str, str] = {PUBLISHED: "dkim.key_seen", ACTIVE: "dkim.key_active", RETIRED: "dkim.key_retired"}

Use = Callable[[Mapping[str, DomainKeys], float], None]
"""`delivery.signing.Signing.use`."""


class Seen(NamedTuple):
    """A key, and what a look at its name servers found."""

    key: StoredKey
    look: Look


class DkimKeys:
    """The keys. ``use`` is told whenever those that sign have changed; a command without a relay has nobody to tell."""

    def __init__(self, world: World, resolver: Resolver, ask: Ask, use: Use = lambda _keys, _valid: None) -> None:
        self._world = world
        self._resolver = resolver
        self._ask = ask
        self._use = use
        self._lock = asyncio.Lock()
        self._looked: dict[str, float] = {}
        self._used: tuple[object, ...] = ()
        self.rows: list[StoredKey] = []
        self.lost: dict[str, str] = {}  # what is wrong with the files of active keys, by the name of their record

    @property
    def keep(self) -> float:
        """Seconds for which the record of a retired key must stay: mail waits, and then its signature is still checked."""
        return float(self._world.settings.outbound.max_age + self._world.settings.dkim.valid)

    def is_ours(self, domain: str) -> bool:
        """True for a domain of ``[domains]``."""
        return domain in self._world.policy.snapshot.local_domains

    async def load(self) -> None:
        """Read all keys, and use those that are active."""
        self.rows = await self._world.reader.read(table.load)
        await self.refresh()

    async def refresh(self) -> None:
        """Use the active keys as they and the settings are now. Files that could not be read are tried again."""
        chosen = self._world.settings.dkim
        active = [k for k in self.rows if k.state == ACTIVE and k.algorithm in chosen.algorithms and self.is_ours(k.domain)]
        signing = active if chosen.sign else []
        now = (tuple(signing), chosen.valid)
        if now == self._used and not self.lost:
            return
        usable, lost = await asyncio.to_thread(_load_files, self._world.settings.data_dir, signing)
        if now == self._used and lost == self.lost:
            return
        self._used, self.lost = now, lost
        self._use(by_domain(signing, usable, lost), float(chosen.valid))

    async def make(self, domain: str, by: str, *, rotate: bool = False, algorithms: Sequence[str] = ()) -> list[StoredKey]:
        """New keys for a domain of ours, of each algorithm of the settings or of those given. CommandError if it has some."""
        wanted = list(algorithms or self._world.settings.dkim.algorithms)
        async with self._lock:
            self._refuse_stranger(domain)
            mine = [key for key in self.rows if key.domain == domain]
            lost = [] if rotate else await asyncio.to_thread(self._without_file, mine)
            there = [key for key in mine if key not in lost]
            wanted = dkim_life.missing(there, domain, wanted, WAITING if rotate else WAITING | {ACTIVE})
            if not wanted:
                raise CommandError(_already(domain, there, rotate=rotate))
            return await self._make(domain, wanted, lost, by)

    def _refuse_stranger(self, domain: str) -> None:
        if not self.is_ours(domain):
            raise CommandError(f"{domain} is not one of our domains: keys are made for those in [domains]")

    def _without_file(self, keys: Sequence[StoredKey]) -> list[StoredKey]:
        """Those that sign or will, whose file is lost: new ones take their place."""
        folder = self._world.settings.data_dir
        return [key for key in keys if key.state in WAITING | {ACTIVE} and _problem(folder, key)]

    async def _make(self, domain: str, algorithms: Sequence[str], lost: Sequence[StoredKey], by: str) -> list[StoredKey]:
        now, folder = self._world.now(), self._world.settings.data_dir
        taken = {key.selector for key in self.rows if key.domain == domain}
        made = []
        for algorithm in algorithms:
            selector = dkim_life.new_selector(taken, algorithm, now)
            while path_of(folder, domain, selector).exists():  # left by a crash between the file and its row
                taken.add(selector)
                selector = dkim_life.new_selector(taken, algorithm, now)
            taken.add(selector)
            record = await asyncio.to_thread(_make_file, folder, domain, selector, algorithm)
            made.append(StoredKey(domain, selector, algorithm, NEW, record, now))
        retired = [key._replace(state=RETIRED, retired_at=now) for key in lost if key.state == ACTIVE]
        gone = [key for key in lost if key.state != ACTIVE]
        events = [*(_event("dkim.key_made", key, now, by) for key in made), *(_moved(key, now) for key in retired)]
        await self._write([table.replace(retired), table.forget(gone), table.add(made)], events)
        return made

    async def _write(self, operations: Sequence[Any], events: Sequence[Event]) -> None:
        """Into the database, and what it holds then is what is used."""
        await self._world.submit(operations, *events)
        await self.load()

    async def look(self, *, all_waiting: bool = False) -> list[Seen]:
        """Ask the DNS about the keys that wait and are due, or about all that wait; take up what was seen."""
        async with self._lock:
            now = self._world.now()
            due = [k for k in self.rows if self.is_ours(k.domain) and self._is_due(k, now, all_waiting=all_waiting)]
            seen = await self.ask(due)
            for key, found in seen:
                self._looked[key.name] = now
                if found.seen or found.sure:  # a server that is silent for once says nothing
                    await self._move(dkim_life.after_look(self.rows, key, found.seen, now), now)
            return seen

    def _is_due(self, key: StoredKey, now: float, *, all_waiting: bool) -> bool:
        if all_waiting:
            return key.state in WAITING
        return dkim_life.look_due(key, self._looked.get(key.name), now)

    async def ask(self, keys: Sequence[StoredKey]) -> list[Seen]:
        """What the name servers say of these keys. In bounded time: what is not known then is not sure."""
        tasks = [asyncio.ensure_future(look(self._resolver, self._ask, key.name, key.record)) for key in keys]
        if not tasks:
            return []
        done, late = await asyncio.wait(tasks, timeout=LOOK_SECONDS)
        for task in late:
            task.cancel()
        silent = Look(False, False, "the name servers did not answer in time")
        return [Seen(key, task.result() if task in done else silent) for key, task in zip(keys, tasks, strict=True)]

    async def _move(self, changed: Sequence[StoredKey], now: float) -> None:
        if changed:
            await self._write([table.replace(changed)], [_moved(key, now) for key in changed if key.state in _EVENTS])

    async def expire(self) -> list[StoredKey]:
        """Remove the private halves of keys of which no signature holds any more; those keys."""
        async with self._lock:
            now = self._world.now()
            over = dkim_life.ended(self.rows, self.keep, now)
            for key in over:
                await asyncio.to_thread(dkim_files.remove, path_of(self._world.settings.data_dir, key.domain, key.selector))
            if over:
                await self._write([table.replace(over)], [_event("dkim.key_removed", key, now) for key in over])
            return over

    async def forget(self, seen: Sequence[Seen]) -> None:
        """Forget the removable keys whose record is gone."""
        async with self._lock:
            gone = [key for key, found in seen if key.state == REMOVABLE and found.sure and found.why.endswith("has no record")]
            if gone:
                await self._write([table.forget(gone)], [])


def by_domain(
    active: Sequence[StoredKey], usable: Mapping[str, sign.SigningKey], lost: Mapping[str, str]
) -> dict[str, DomainKeys]:
    """What signs for each domain. A domain signs with the keys that it has, and is lost only if it has none of them."""
    found: dict[str, DomainKeys] = {}
    for domain in {key.domain for key in active}:
        names = [key.name for key in active if key.domain == domain]
        ready = tuple(usable[name] for name in names if name in usable)
        found[domain] = DomainKeys(ready, "" if ready else next(lost[name] for name in names if name in lost))
    return found


def _load_files(folder: Any, keys: Sequence[StoredKey]) -> tuple[dict[str, sign.SigningKey], dict[str, str]]:
    usable, lost = {}, {}
    for key in keys:
        try:
            usable[key.name] = dkim_files.load(folder, key)
        except KeyFileProblem as problem:
            lost[key.name] = str(problem)
    return usable, lost


def _problem(folder: Any, key: StoredKey) -> str:
    return next(iter(_load_files(folder, [key])[1].values()), "")


def _make_file(folder: Any, domain: str, selector: str, algorithm: str) -> str:
    """Make a key and its file; the record to publish."""
    pem = sign.generate(algorithm)
    key = sign.SigningKey(domain, selector, algorithm, sign.load_private_key(pem))
    dkim_files.write(path_of(folder, domain, selector), pem)
    return sign.public_record(key)


def _already(domain: str, keys: Sequence[StoredKey], *, rotate: bool) -> str:
    states = WAITING if rotate else WAITING | {ACTIVE}
    there = ", ".join(f"{key.selector} ({key.algorithm}, {key.state})" for key in keys if key.state in states)
    advice = "" if rotate else f"; for new ones: postlatch dkim rotate {domain}"
    waits = "keys that wait for their publication" if rotate else "keys"
    return f"{domain} has {waits} already: {there}; see postlatch dkim list{advice}"


def _moved(key: StoredKey, now: float) -> Event:
    return _event(_EVENTS[key.state], key, now)


def _event(name: str, key: StoredKey, now: float, by: str = "") -> Event:
    fields: dict[str, JsonValue] = {"domain": key.domain, "selector": key.selector, "algorithm": key.algorithm}
    return Event(name, now, {**fields, "operator": by} if by else fields)
