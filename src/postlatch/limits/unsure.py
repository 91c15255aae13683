"""Which counts are not to be trusted: rows that could not be read at the start, and all of them while none can be written.

The counts of a running relay live in its memory and go to the store each second, so the store is asked for nothing while mail
comes in. What can go wrong is that memory knows too little (a row was unreadable: that key counts from nothing), or that
nobody else will know (the rows cannot be written: a crash would lose more than a second). Each limit says what it does then:
``local`` trusts memory, ``defer`` lets the client wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postlatch.limits.charge import Charge, Reached

GRACE: Final = 10.0  # seconds for which the counts may be ahead of the store before a limit with ``defer`` waits
_RETRY: Final = 60.0


class Unsure:
    """Belongs to a limiter. ``any`` is False as long as everything is known: the only thing that accepted mail looks at."""

    __slots__ = ("_lost", "_unsaved_since", "any")

    def __init__(self) -> None:
        self._lost: dict[tuple[str, str, str], float] = {}  # until when what was lost might still count
        self._unsaved_since: float | None = None
        self.any = False

    def lost(self, key: tuple[str, str, str], until: float) -> None:
        """The count of this scope, key and kind could not be read."""
        self._lost[key] = until
        self.any = True

    def forget(self, scope: str, key: str) -> list[tuple[str, str, str]]:
        """An operator says that these count from nothing."""
        named = [full_key for full_key in self._lost if full_key[:2] == (scope, key)]
        for full_key in named:
            del self._lost[full_key]
        self._update()
        return named

    def saved(self) -> None:
        """The counts are on the disk."""
        self._unsaved_since = None
        self._update()

    def unsaved(self, now: float) -> None:
        """They are not."""
        # A clock that went back must not make the store look well for longer.
        self._unsaved_since = now if self._unsaved_since is None else min(self._unsaved_since, now)
        self.any = True

    def look(self, charges: Sequence[Charge], now: float) -> Reached | None:
        """The first of ``charges`` whose limits say to wait, and whose count is not to be trusted."""
        stale = self._unsaved_since is not None and now - self._unsaved_since > GRACE
        for charge in charges:
            if charge.cost < 1 or not any(limit.defer for limit in charge.limits):
                continue
            if stale or self._is_lost((charge.scope, charge.key, charge.kind), now):
                return Reached(f"{charge.scope} {charge.kind}", now + _RETRY, False, unknown=True, key=charge.key)
        return None

    def _is_lost(self, key: tuple[str, str, str], now: float) -> bool:
        until = self._lost.get(key)
        if until is None:
            return False
        if until > now:
            return True
        del self._lost[key]
        self._update()
        return False

    def _update(self) -> None:
        self.any = bool(self._lost) or self._unsaved_since is not None
