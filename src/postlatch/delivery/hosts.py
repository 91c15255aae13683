"""Hosts that do not answer are parked: left alone for a time that grows with each failure, then tried with one message.

A host is one address and port, whichever domains use it: a dead provider costs one probe, not one for each of its customers.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)

# Seconds after the first, second … failure in a row.
RESTS: Final[tuple[float, ...]] = (1.0, 5.0, 60.0, 120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0)
LONGEST: Final = 3600.0  # for hosts that the DNS names
LONGEST_OF_ROUTE: Final = 300.0  # for hosts that the configuration names: a machine of ours, that somebody is repairing
PARKED_AFTER: Final = 3  # failures in a row; before that a host is only tried after the others
AVOID: Final = 120.0  # seconds after its rest for which it still comes after the others
LEASE: Final = 60.0  # seconds for which the message that is tried first keeps the others away
MAX_HOSTS: Final = 20_000


class Health(NamedTuple):
    """``failures`` in a row; until ``until`` (monotonic) it is not tried, or not first. ``reply``: what happened last.

    ``probing``: somebody is trying it, and ``until`` is for the others.
    """

    failures: int
    until: float
    reply: str
    probing: bool = False


def rest_of(failures: int, spread: float, longest: float = LONGEST) -> float:
    """Seconds to leave alone what has failed so often. ``spread``: 0 to 1, at random; takes up to a fifth off."""
    return min(RESTS[min(max(failures, 1), len(RESTS)) - 1], longest) * (1 - 0.2 * spread)


def after_failure(health: Health | None, now: float, reply: str, spread: float, longest: float = LONGEST) -> Health:
    """One more failure. Attempts that began before the last one was known do not count again."""
    if health is not None and now < health.until and not health.probing:
        return health
    failures = 1 if health is None else health.failures + 1
    return Health(failures, now + rest_of(failures, spread, longest), reply)


class Hosts(Generic[T]):
    """The hosts that have failed lately. Who answers is forgotten, so this is empty while all is well (``any`` is false)."""

    def __init__(self, most: int = MAX_HOSTS) -> None:
        self._sick: dict[T, Health] = {}
        self._most = most
        self.any = False

    def __len__(self) -> int:
        return len(self._sick)

    def failed(self, host: T, now: float, reply: str, spread: float, longest: float = LONGEST) -> None:
        """It could not be reached."""
        health = after_failure(self._sick.get(host), now, reply, spread, longest)
        if len(self._sick) >= self._most and host not in self._sick:
            self._forget_oldest()
        self._sick[host] = health
        self.any = True

    def worked(self, host: T) -> None:
        """It answered."""
        self._sick.pop(host, None)
        self.any = bool(self._sick)

    def health(self, host: T) -> Health | None:
        """What is known of it; None if it is well."""
        return self._sick.get(host)

    def choose(self, hosts: tuple[T, ...], now: float) -> tuple[T, ...]:
        """Those that may be tried now: the well ones first, then those that failed lately; empty if all are parked.

        Whoever gets a parked host whose time is over has it alone for `LEASE` seconds.
        """
        if not self._sick or not any(host in self._sick for host in hosts):
            return hosts
        first = tuple(host for host in hosts if self._is_back(host, now))
        last = tuple(host for host in hosts if host not in first and self._is_doubtful(host, now))
        for host in first or last:
            health = self._sick.get(host)
            if health is not None and health.failures >= PARKED_AFTER:
                self._sick[host] = health._replace(until=now + LEASE, probing=True)
        return (*first, *last)

    def until(self, hosts: tuple[T, ...]) -> tuple[float, str]:
        """When the first of these parked hosts may be tried again, and what the last of them said."""
        known = [health for host in hosts if (health := self._sick.get(host)) is not None]
        first = min(known, key=lambda health: health.until)
        return first.until, first.reply

    def pardon(self) -> None:
        """Try everything again now: an operator says so."""
        self._sick = {host: health._replace(until=0.0) for host, health in self._sick.items()}

    def _is_back(self, host: T, now: float) -> bool:
        """Well, or left alone for so long that it gets its place again."""
        health = self._sick.get(host)
        return health is None or now >= health.until + AVOID

    def _is_doubtful(self, host: T, now: float) -> bool:
        health = self._sick[host]
        return health.failures < PARKED_AFTER or now >= health.until

    def _forget_oldest(self) -> None:
        for host in list(self._sick)[: self._most // 8 + 1]:
            del self._sick[host]
