"""What the signing keys need by the clock: looks at the DNS, promotion, retirement, rotation, and that people are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from postlatch.app.dkim import DkimKeys, Seen
from postlatch.app.dkim_life import DAY, HOUR, WAITING, to_rotate
from postlatch.app.world import World
from postlatch.model.events import JsonValue
from postlatch.store.dkim_keys import ACTIVE, REMOVABLE, RETIRED, StoredKey

_CHECKED = frozenset({ACTIVE, RETIRED, REMOVABLE})

AlertTo = Callable[[str, Mapping[str, JsonValue]], None]


class DkimWatch:
    """Looks after the keys. ``every_minute`` is to be called each minute; with no keys it costs nothing."""

    def __init__(self, world: World, keys: DkimKeys, alert: AlertTo) -> None:
        self._world = world
        self._keys = keys
        self._alert = alert
        self._checked: dict[str, float] = {}  # when the record of a key was last known to be right or wrong
        self._tried: dict[str, float] = {}
        self._reminded: dict[str, float] = {}

    async def every_minute(self) -> None:
        """All of it, each as often as it is due."""
        await self._keys.refresh()
        if not self._keys.rows:
            return
        await self._keys.look()
        await self._keys.expire()
        await self._rotate()
        self._remind()
        await self._check()

    async def _rotate(self) -> None:
        after = self._world.settings.dkim.rotate
        if after is None:
            return
        for domain, algorithms in to_rotate(self._keys.rows, after, self._world.now()).items():
            chosen = [name for name in algorithms if name in self._world.settings.dkim.algorithms]
            if not chosen or not self._keys.is_ours(domain):
                continue
            for key in await self._keys.make(domain, "postlatch", rotate=True, algorithms=chosen):
                self._tell_waiting(key)

    def _remind(self) -> None:
        """Whoever made a key by command has seen what to do; a day later it is forgotten work."""
        now = self._world.now()
        for key in self._keys.rows:
            waits = key.state in WAITING and self._keys.is_ours(key.domain)
            if waits and now - self._reminded.get(key.name, key.created_at) >= DAY:
                self._tell_waiting(key)

    def _tell_waiting(self, key: StoredKey) -> None:
        self._reminded[key.name] = self._world.now()
        self._alert("a new signing key waits for its publication in the DNS", _fields(key))

    async def _check(self) -> None:
        """Once a day, is what must be published still there? Where no answer comes it is asked again after an hour."""
        now = self._world.now()
        due = [
            key for key in self._keys.rows if key.state in _CHECKED and self._keys.is_ours(key.domain) and self._due(key, now)
        ]
        seen = await self._keys.ask(due)
        for key, found in seen:
            self._tried[key.name] = now
            if found.seen or found.sure:
                self._checked[key.name] = now
            if not found.seen and found.sure and key.state != REMOVABLE:
                why: dict[str, JsonValue] = {"why": found.why}
                self._alert("the record of a signing key is missing or wrong in the DNS", {**_fields(key), **why})
        await self._keys.forget(seen)
        self._forget_names()

    def _due(self, key: StoredKey, now: float) -> bool:
        checked, tried = self._checked.get(key.name), self._tried.get(key.name)
        long_ago = checked is None or not 0.0 <= now - checked < DAY
        return long_ago and (tried is None or not 0.0 <= now - tried < HOUR)

    def _forget_names(self) -> None:
        names = {key.name for key in self._keys.rows}
        for noted in (self._checked, self._tried, self._reminded):
            for name in noted.keys() - names:
                del noted[name]


def _fields(key: StoredKey) -> dict[str, JsonValue]:
    return {"domain": key.domain, "selector": key.selector, "algorithm": key.algorithm}


__all__ = ["DkimWatch", "Seen"]
