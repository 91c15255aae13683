"""Destinations that an operator has paused. Their mail waits, uncounted and unconnected, until it is resumed or too old.

A pause is named by a recipient domain, or by a next hop as the configuration writes it (``smtp://10.1.0.5:25``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

LOOK_SECONDS: Final = 6 * 3600.0  # between two looks at a message that waits behind a pause
ALERT_AFTER: Final = 3 * 86_400.0  # seconds: a pause so old was probably forgotten
ALERT_AGAIN: Final = 86_400.0


class Pause(NamedTuple):
    """One paused destination."""

    name: str
    since: float
    reason: str = ""


class Pauses:
    """The pauses in force. ``any`` is true if there are some."""

    def __init__(self, pauses: Iterable[Pause] = ()) -> None:
        self._named = {pause.name: pause for pause in pauses}
        self._told: dict[str, float] = {}
        self.any = bool(self._named)

    def __iter__(self) -> Iterator[Pause]:
        return iter(self._named.values())

    def replace(self, pauses: Iterable[Pause]) -> None:
        """Take up what is in force now."""
        self._named = {pause.name: pause for pause in pauses}
        self.any = bool(self._named)

    def of(self, domain: str, hop: str) -> Pause | None:
        """The pause that stops mail for ``domain`` by way of ``hop``."""
        return self._named.get(domain) or self._named.get(hop)

    def forgotten(self, now: float) -> list[Pause]:
        """Pauses so old that an operator should be asked, each once a day."""
        old = [
            pause
            for pause in self._named.values()
            if now - pause.since >= ALERT_AFTER and now - self._told.get(pause.name, 0.0) >= ALERT_AGAIN
        ]
        self._told = {name: at for name, at in self._told.items() if name in self._named}
        self._told.update((pause.name, now) for pause in old)
        return old


def reply_of(name: str) -> str:
    """The last reply of what waits behind a pause: for the queue's listing, and by it a resume finds what to wake."""
    return f"451 4.3.2 paused by an operator: {name}"[:500]
