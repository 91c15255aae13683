"""All limits of all keys in one bounded table, with what is needed to survive a restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from postlatch.limits.cell import Cell, Key, decode, encode, key_text, make_meters, parse_key
from postlatch.limits.charge import CLIENT, DOMAINS, FORGETTABLE, Charge, Reached, Usage, Warned
from postlatch.limits.limit import DAY, Limit
from postlatch.limits.unsure import Unsure

__all__ = ["CLIENT", "Charge", "Limiter", "Reached", "Usage", "Warned"]

PRUNED_AT_ONCE: Final = 500  # keys looked at by one call of prune: a millisecond or two


class Limiter:
    """Checks and counts charges. Not thread-safe: it belongs to the loop's thread.

    Memory is bounded by ``max_keys``: past it, of the keys that others choose (clients, networks, sender domains) those that
    were charged longest ago are forgotten. Keys of accounts, credentials and rights never are; the configuration bounds them.
    Times may go back: what was counted in the future then counts as of now, so that a jump admits at most twice an amount and
    locks nobody out for longer than the limit's own window.
    """

    def __init__(self, max_keys: int = 200_000) -> None:
        self._max_keys = max_keys
        self._cells: dict[Key, Cell] = {}
        self._order: OrderedDict[Key, None] = OrderedDict()  # of the forgettable: least recently charged first
        self._dirty: set[Key] = set()
        self._gone: set[Key] = set()
        self._sweep: list[Key] = []
        self.unsure = Unsure()

    def __len__(self) -> int:
        return len(self._cells)

    def check(self, charges: Sequence[Charge], now: float) -> Reached | None:
        """Would all of them fit? Counts nothing. Of several limits reached, the one that takes longest is named.

        One that refuses goes before one that holds. One call has at most one charge of a (scope, key, kind): each is judged
        by itself.
        """
        found: list[tuple[Charge, Limit, float, bool]] | None = None
        cells = self._cells
        for charge in charges:
            cost: Any = charge.cost
            if cost < 1:
                continue
            limits = charge.limits
            cell = cells.get(charge.full_key)
            if cell is None:
                # Nothing is counted: it fits unless it is more than the whole.
                for limit in limits:
                    if cost > limit.amount:
                        found = [*(found or ()), (charge, limit, now + limit.seconds, False)]
                continue
            if charge.items:
                cost = charge.items
            for meter in cell.meters if cell.limits is limits else cell.bind(limits, charge.kind):
                retry_at = meter.retry_at(now, cost)
                if retry_at:
                    limit = meter.limit
                    hold = limit.hold and meter.holds(now, cost)
                    found = [*(found or ()), (charge, limit, retry_at, hold)]
        if found is not None:
            return _worst(found)
        return self.unsure.look(charges, now) if self.unsure.any else None

    def charge(self, charges: Sequence[Charge], now: float) -> Sequence[Warned]:
        """Count them all, even past a limit: what has happened has happened. What somebody should be told of now."""
        warned: list[Warned] | None = None
        for charge in charges:
            cost: Any = charge.cost
            limits = charge.limits
            if cost < 1 or not limits:
                continue
            cell = self._cells.get(charge.full_key)
            if cell is None:
                cell = self._make(charge.full_key, limits)
            elif charge.scope in FORGETTABLE:
                self._order.move_to_end(charge.full_key)
            if charge.items:
                cost = charge.items
            for meter in cell.meters if cell.limits is limits else cell.bind(limits, charge.kind):
                if meter.add(now, cost):
                    told = Warned(charge.scope, charge.key, charge.kind, meter.limit, meter.used(now))
                    warned = [*(warned or ()), told]
            if not cell.dirty:
                cell.dirty = True
                self._dirty.add(charge.full_key)
        return warned or ()

    def spend(self, charges: Sequence[Charge], now: float) -> Reached | None:
        """Count them all if they all fit; else count none and say why."""
        reached = self.check(charges, now)
        if reached is None:
            self.charge(charges, now)
        return reached

    def usage(self, now: float, limits_of: Callable[[str, str, str], tuple[Limit, ...]]) -> Iterator[Usage]:
        """How full every limit of every key is that counts anything. ``limits_of`` gives the limits of scope, key and kind."""
        for key in list(self._cells):
            cell = self._cells.get(key)
            limits = limits_of(*key)
            if cell is None or not limits:
                continue
            scope, name, kind = key
            one: Any = frozenset({"\0"}) if kind == DOMAINS else 1  # a domain that there cannot be
            for meter in cell.bind(limits, kind):
                if used := meter.used(now):
                    yield Usage(scope, name, kind, meter.limit, used, meter.retry_at(now, one), meter.warned_at)

    def reset(self, scope: str, key: str) -> list[str]:
        """Forget all that is counted of a key: rows to delete. Empty if nothing is."""
        named = [full_key for full_key in self._cells if full_key[:2] == (scope, key)]
        for full_key in named:
            self._drop(full_key)
        lost = self.unsure.forget(scope, key)
        return [key_text(full_key) for full_key in {*named, *lost}]

    def dirty(self) -> list[tuple[str, str]]:
        """(key, state as JSON) of everything charged since the last call: rows to upsert, each second and at the end.

        Say ``saved`` when they are on the disk, or ``unsaved`` when they could not be written.
        """
        rows = []
        for key in self._dirty:
            cell = self._cells.get(key)
            if cell is not None:
                cell.dirty = False
                rows.append((key_text(key), encode(cell)))
        self._dirty.clear()
        return rows

    def saved(self) -> None:
        """What ``dirty`` gave is on the disk."""
        self.unsure.saved()

    def unsaved(self, rows: Iterable[tuple[str, str]], now: float) -> None:
        """It is not: these come again with the next ``dirty``."""
        for text, _ in rows:
            key = parse_key(text)
            cell = self._cells.get(key)
            if cell is not None:
                cell.dirty = True
                self._dirty.add(key)
        self.unsure.unsaved(now)

    def load(self, rows: Iterable[tuple[str, str]], now: float) -> list[str]:
        """Take up stored rows at start. Returns the keys of those that could not be read, which then count from nothing."""
        unreadable = []
        for text, state in rows:
            try:
                key = parse_key(text)
            except ValueError:
                unreadable.append(text)
                continue
            try:
                meters = decode(state, key[2])
            except (ValueError, RecursionError):
                unreadable.append(text)
                self.unsure.lost(key, now + DAY)
                continue
            for meter in meters:
                meter.used(now)  # clamps what a wrong clock left in the future
            self._cells[key] = Cell((), meters)  # bound to the limits of the day at its first charge
            if key[0] in FORGETTABLE:
                self._order[key] = None
        self._evict()
        return unreadable

    def prune(self, now: float) -> list[str]:
        """Forget keys that hold nothing any more: rows to delete. Looks at a slice of the table each call, in turn."""
        if not self._sweep:
            self._sweep = [*self._cells]
        batch = self._sweep[-PRUNED_AT_ONCE:]
        del self._sweep[-PRUNED_AT_ONCE:]
        for key in batch:
            cell = self._cells.get(key)
            if cell is not None and all(meter.idle(now) for meter in cell.meters):
                self._drop(key)
                self._gone.add(key)
        gone = [key_text(key) for key in self._gone]
        self._gone.clear()
        return gone

    def _make(self, key: Key, limits: tuple[Limit, ...]) -> Cell:
        cell = self._cells[key] = Cell(limits, make_meters(limits, key[2]))
        if key[0] in FORGETTABLE:
            self._order[key] = None
        self._gone.discard(key)
        self._evict()
        return cell

    def _drop(self, key: Key) -> None:
        del self._cells[key]
        self._order.pop(key, None)
        self._dirty.discard(key)

    def _evict(self) -> None:
        # Never the newest: it is the one being charged.
        while len(self._cells) > self._max_keys and len(self._order) > 1:
            key = next(iter(self._order))
            self._drop(key)
            self._gone.add(key)


def _worst(found: list[tuple[Charge, Limit, float, bool]]) -> Reached:
    """What is told of several limits in the way."""
    refusing = [one for one in found if not one[3]]
    charge, limit, retry_at, hold = max(refusing or found, key=lambda one: one[2])
    name = f"{charge.scope} {charge.kind} {limit.text}"
    return Reached(name, retry_at, limit.seconds == DAY, hold, key=charge.key)
