"""Tells people what the limits see: that somebody is near one, and that mail is held at one. Once for each key and window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from postlatch.limits.charge import Warned
from postlatch.limits.limit import HOUR, UNITS
from postlatch.model.events import Event, JsonValue

_WHAT: Final[Mapping[str, str]] = {
    "messages": "messages",
    "recipients": "recipients",
    "new_recipients": "first-time recipients",
    "bytes": "octets",
    "domains": "recipient domains",
}
_REMEMBERED: Final = 10_000


class LimitNews:
    """``record`` takes an event, ``alert`` a sentence and fields for the operators."""

    def __init__(self, record: Callable[[Event], None], alert: Callable[[str, Mapping[str, JsonValue]], None]) -> None:
        self._record = record
        self._alert = alert
        self._held: dict[str, float] = {}  # by whom and limit: when it was last told

    def warned(self, told: Iterable[Warned], now: float) -> None:
        """Somebody is near a limit, or beyond what is usual. The limiter says so once for each key and window."""
        for one in told:
            unit = UNITS[one.limit.seconds]
            limit = f"{one.scope} {one.kind} {one.limit.text or f'{one.limit.warn}/{unit}'}"
            fields: dict[str, JsonValue] = {"scope": one.scope, "key": one.key, "limit": limit, "count": one.used}
            self._record(Event("limit.warned", now, fields))
            who = one.scope.replace("_", " ") + ("" if one.scope == "relay" else f" {one.key}")
            self._alert(
                f"much is sent: {who}, {one.used} {_WHAT.get(one.kind, one.kind)} within this {unit}",
                {"limit": limit, "why": "if it is not meant: postlatch account suspend, or right revoke"},
            )

    def held(self, who: str, limit: str, now: float) -> None:
        """Mail of ``who`` is accepted and held, since ``limit`` is reached. Told once an hour for each."""
        key = f"{who} {limit}"
        if now - self._held.get(key, -HOUR) < HOUR:
            return
        if len(self._held) >= _REMEMBERED:
            self._held.clear()
        self._held[key] = now
        fields: dict[str, JsonValue] = {"limit": limit, "why": "look at it with postlatch queue list --state held"}
        self._alert(f"the mail of {who} is held: its limit is reached", fields)
