"""The meters of one key and kind, and their form in the store."""

from __future__ import annotations

import json
from typing import Final

from postlatch.limits.charge import DOMAINS
from postlatch.limits.distinct import Distinct
from postlatch.limits.gcra import Gcra
from postlatch.limits.limit import SECONDS, Limit
from postlatch.limits.window import Window

Key = tuple[str, str, str]  # scope, key, kind
Meter = Gcra | Window | Distinct

_WARNED: Final = "warned"
_UNITS: Final = {str(seconds): seconds for seconds in SECONDS.values()}


class Cell:
    """The meters of one key and kind: one for each unit in ``limits``."""

    __slots__ = ("dirty", "limits", "meters")

    def __init__(self, limits: tuple[Limit, ...], meters: tuple[Meter, ...]) -> None:
        self.dirty = False  # charged since it was written last
        self.limits = limits
        self.meters = meters

    def bind(self, limits: tuple[Limit, ...], kind: str) -> tuple[Meter, ...]:
        """The limits changed (a reload, or the first use after a start): keep what was counted in the same unit."""
        if self.limits != limits or not self.meters:
            old = {meter.limit.seconds: meter for meter in self.meters}
            self.meters = make_meters(limits, kind)
            for meter in self.meters:
                before = old.get(meter.limit.seconds)
                if before is not None:
                    meter.restore(before.dump())
                    meter.warned_at = before.warned_at
        self.limits = limits
        return self.meters


def make_meters(limits: tuple[Limit, ...], kind: str) -> tuple[Meter, ...]:
    """One meter for each unit: of two limits of the same unit the tighter governs."""
    tightest: dict[int, Limit] = {}
    for limit in sorted(limits, key=lambda limit: limit.amount, reverse=True):
        tightest[limit.seconds] = limit
    return tuple(_make_meter(limit, kind) for limit in tightest.values())


def key_text(key: Key) -> str:
    """The key of a row: scope and kind hold no space."""
    scope, name, kind = key
    return f"{scope} {kind} {name}"


def parse_key(text: str) -> Key:
    """The reverse of ``key_text``; ValueError if it is not one."""
    scope, kind, name = text.split(" ", 2)
    return scope, name, kind


def encode(cell: Cell) -> str:
    """The state of a cell as JSON."""
    state: dict[str, object] = {str(meter.limit.seconds): meter.dump() for meter in cell.meters}
    warned = {str(meter.limit.seconds): meter.warned_at for meter in cell.meters if meter.warned_at}
    if warned:
        state[_WARNED] = warned
    return json.dumps(state, separators=(",", ":"))


def decode(text: str, kind: str) -> tuple[Meter, ...]:
    """The meters of a stored state, bound to no limit yet; ValueError if it is not one."""
    states = json.loads(text)
    if not isinstance(states, dict):
        raise ValueError("the state of a key is an object")  # noqa: TRY004 - the type of what was read is its value
    warned = _warned(states.pop(_WARNED, {}))
    meters = []
    for seconds, state in states.items():
        if seconds not in _UNITS:
            raise ValueError("the state of a key is by units that exist")
        # The amount comes with the first charge; no state depends on it.
        meter = _make_meter(Limit(1, _UNITS[seconds], ""), kind)
        meter.restore(state)
        meter.warned_at = warned.get(seconds, 0.0)
        meters.append(meter)
    return tuple(meters)


def _warned(state: object) -> dict[str, float]:
    if not isinstance(state, dict):
        raise ValueError("when a key was warned of is by units")  # noqa: TRY004 - as above
    for at in state.values():
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e12:
            raise ValueError("when a key was warned of is a time")
    return {str(unit): float(at) for unit, at in state.items()}


def _make_meter(limit: Limit, kind: str) -> Meter:
    if kind == DOMAINS:
        return Distinct(limit)
    return Gcra(limit) if limit.seconds < SECONDS["hour"] else Window(limit)
