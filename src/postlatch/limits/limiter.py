"""All limits of all keys in one bounded table, with what is needed to survive a restart."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from postlatch.limits.gcra import Gcra
from postlatch.limits.limit import DAY, SECONDS, Limit
from postlatch.limits.window import Window

CLIENT: Final = "client"
PRUNED_AT_ONCE: Final = 500  # keys looked at by one call of prune: a millisecond or two

_UNITS: Final = {str(seconds): seconds for seconds in SECONDS.values()}

_Key = tuple[str, str, str]
_Meter = Gcra | Window


@dataclass(init=False, slots=True, unsafe_hash=True)
class Charge:
    """What one action costs one key.

    ``scope`` is ``account``, ``right`` or ``client``; ``key`` the login, the right's name or the client's prefix; ``kind``
    ``messages``, ``recipients``, ``new_recipients``, ``commands`` or ``auth_failures``. ``scope`` and ``kind`` hold no space.
    Pass the same ``limits`` tuple each time (a setting's, not a copy): it is compared by identity first. A ``cost`` below 1
    always fits and counts nothing.
    """

    scope: str
    key: str
    kind: str
    limits: tuple[Limit, ...]
    cost: int

    def __init__(self, scope: str, key: str, kind: str, limits: tuple[Limit, ...], cost: int = 1) -> None:
        self.scope = scope
        self.key = key
        self.kind = kind
        self.limits = limits
        self.cost = cost


class Reached(NamedTuple):
    """A limit that is spent.

    ``name`` is like ``account messages 30/minute``. ``retry_at`` (seconds since 1970) is the first time at which the same
    charges fit, if nothing else is charged meanwhile. ``day_spent`` is true if that limit is one of a day.
    """

    name: str
    retry_at: float
    day_spent: bool


class _Cell:
    """The meters of one key and kind: one for each unit in ``limits``."""

    __slots__ = ("limits", "meters")

    def __init__(self, limits: tuple[Limit, ...], meters: tuple[_Meter, ...]) -> None:
        self.limits = limits
        self.meters = meters


class Limiter:
    """Checks and counts charges. Not thread-safe: it belongs to the loop's thread.

    Memory is bounded by ``max_keys``: past it the client keys that were charged longest ago are forgotten. Keys of accounts and
    rights never are; the configuration bounds them. Times may go back: what was counted in the future then counts as of now, so
    that a jump admits at most twice an amount and locks nobody out for longer than the limit's own window.
    """

    def __init__(self, max_keys: int = 200_000) -> None:
        self._max_keys = max_keys
        self._cells: dict[_Key, _Cell] = {}  # accounts and rights
        self._clients: OrderedDict[_Key, _Cell] = OrderedDict()  # least recently charged first
        self._dirty: set[_Key] = set()
        self._gone: set[_Key] = set()
        self._sweep: list[_Key] = []

    def __len__(self) -> int:
        return len(self._cells) + len(self._clients)

    def check(self, charges: Sequence[Charge], now: float) -> Reached | None:
        """Would all of them fit? Counts nothing. Of several limits reached, the one that takes longest is named.

        One call has at most one charge of a (scope, key, kind): each is judged by itself.
        """
        worst: Reached | None = None
        for charge in charges:
            cost = charge.cost
            if cost < 1:
                continue
            cell = (self._clients if charge.scope == CLIENT else self._cells).get((charge.scope, charge.key, charge.kind))
            if cell is None:
                meters = _make_meters(charge.limits)
            elif cell.limits is charge.limits:
                meters = cell.meters
            else:
                meters = _rebind(cell, charge.limits)
            for meter in meters:
                retry_at = meter.retry_at(now, cost)
                if retry_at and (worst is None or retry_at > worst.retry_at):
                    limit = meter.limit
                    worst = Reached(f"{charge.scope} {charge.kind} {limit.text}", retry_at, limit.seconds == DAY)
        return worst

    def charge(self, charges: Sequence[Charge], now: float) -> None:
        """Count them all, even past a limit: what has happened has happened."""
        for charge in charges:
            cost, limits = charge.cost, charge.limits
            if cost < 1 or not limits:
                continue
            full_key = (charge.scope, charge.key, charge.kind)
            cell = self._touch(full_key, limits)
            for meter in cell.meters if cell.limits is limits else _rebind(cell, limits):
                meter.add(now, cost)
            self._dirty.add(full_key)

    def spend(self, charges: Sequence[Charge], now: float) -> Reached | None:
        """Count them all if they all fit; else count none and say why."""
        reached = self.check(charges, now)
        if reached is None:
            self.charge(charges, now)
        return reached

    def dirty(self) -> list[tuple[str, str]]:
        """(key, state as JSON) of everything charged since the last call: rows to upsert, each second and at the end."""
        rows = []
        for key in self._dirty:
            cell = self._find(key)
            if cell is not None:
                rows.append((_key_text(key), _encode(cell)))
        self._dirty.clear()
        return rows

    def load(self, rows: Iterable[tuple[str, str]], now: float) -> list[str]:
        """Take up stored rows at start. Returns the keys of those that could not be read, which then count from nothing."""
        unreadable = []
        for text, state in rows:
            try:
                key, meters = _parse_key(text), _decode(state)
            except (ValueError, RecursionError):
                unreadable.append(text)
                continue
            for meter in meters:
                meter.retry_at(now, 1)  # clamps what a wrong clock left in the future
            table = self._clients if key[0] == CLIENT else self._cells
            table[key] = _Cell((), meters)  # bound to the limits of the day at its first charge
        self._evict()
        return unreadable

    def prune(self, now: float) -> list[str]:
        """Forget keys that hold nothing any more: rows to delete. Looks at a slice of the table each call, in turn."""
        if not self._sweep:
            self._sweep = [*self._cells, *self._clients]
        batch = self._sweep[-PRUNED_AT_ONCE:]
        del self._sweep[-PRUNED_AT_ONCE:]
        for key in batch:
            cell = self._find(key)
            if cell is not None and all(meter.idle(now) for meter in cell.meters):
                (self._clients if key[0] == CLIENT else self._cells).pop(key)
                self._dirty.discard(key)
                self._gone.add(key)
        gone = [_key_text(key) for key in self._gone]
        self._gone.clear()
        return gone

    def _find(self, key: _Key) -> _Cell | None:
        return (self._clients if key[0] == CLIENT else self._cells).get(key)

    def _touch(self, key: _Key, limits: tuple[Limit, ...]) -> _Cell:
        """The cell of ``key``, made if need be; a client's moves to the end of the queue for eviction."""
        if key[0] != CLIENT:
            cell = self._cells.get(key)
            return self._make(self._cells, key, limits) if cell is None else cell
        cell = self._clients.get(key)
        if cell is None:
            return self._make(self._clients, key, limits)
        self._clients.move_to_end(key)
        return cell

    def _make(self, table: dict[_Key, _Cell], key: _Key, limits: tuple[Limit, ...]) -> _Cell:
        cell = table[key] = _Cell(limits, _make_meters(limits))
        self._gone.discard(key)
        self._evict()
        return cell

    def _evict(self) -> None:
        # Never the newest client: it is the one being charged.
        while len(self) > self._max_keys and len(self._clients) > 1:
            key, _ = self._clients.popitem(last=False)
            self._dirty.discard(key)
            self._gone.add(key)


def _make_meter(limit: Limit) -> _Meter:
    return Gcra(limit) if limit.seconds < SECONDS["hour"] else Window(limit)


def _make_meters(limits: tuple[Limit, ...]) -> tuple[_Meter, ...]:
    """One meter for each unit: of two limits of the same unit the tighter governs."""
    tightest: dict[int, Limit] = {}
    for limit in sorted(limits, key=lambda limit: limit.amount, reverse=True):
        tightest[limit.seconds] = limit
    return tuple(_make_meter(limit) for limit in tightest.values())


def _rebind(cell: _Cell, limits: tuple[Limit, ...]) -> tuple[_Meter, ...]:
    """The limits changed (a reload, or the first use after a start): keep what was counted in the same unit."""
    if cell.limits != limits or not cell.meters:
        old = {meter.limit.seconds: meter for meter in cell.meters}
        cell.meters = _make_meters(limits)
        for meter in cell.meters:
            before = old.get(meter.limit.seconds)
            if before is not None:
                meter.restore(before.dump())
    cell.limits = limits
    return cell.meters


def _key_text(key: _Key) -> str:
    scope, name, kind = key
    return f"{scope} {kind} {name}"


def _parse_key(text: str) -> _Key:
    scope, kind, name = text.split(" ", 2)
    return scope, name, kind


def _encode(cell: _Cell) -> str:
    return json.dumps({str(meter.limit.seconds): meter.dump() for meter in cell.meters}, separators=(",", ":"))


def _decode(text: str) -> tuple[_Meter, ...]:
    states = json.loads(text)
    if not isinstance(states, dict):
        raise ValueError("the state of a key is an object")  # noqa: TRY004 - the type of what was read is its value
    meters = []
    for seconds, state in states.items():
        if seconds not in _UNITS:
            raise ValueError("the state of a key is by units that exist")
        # The amount comes with the first charge; no state depends on it.
        meter = _make_meter(Limit(1, _UNITS[seconds], ""))
        meter.restore(state)
        meters.append(meter)
    return tuple(meters)
