"""Rights end, and nobody notices; or nobody uses them, and nobody notices. Who is told what, and when: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from postlatch.policy.snapshot import Snapshot

DAY: Final = 86_400.0
REMINDERS: Final = (14, 3, 1)  # days before the end, once each
UNUSED: Final = 90  # days
RIGHT: Final = "right"
RELAY_DOMAIN: Final = "relay domain"
DELEGATION: Final = "delegation"
_NEVER: Final = 10_000


class Permission(NamedTuple):
    """Something that ends. ``used`` is when it was last used, None if that was never seen; seconds since 1970, UTC."""

    kind: str
    name: str
    owner: str
    expires: float
    used: float | None

    @property
    def key(self) -> tuple[str, str]:
        """What it is remembered by."""
        return self.kind, self.name


class Remembered(NamedTuple):
    """What was said of one. ``reminded_days`` belongs to ``expires``: after a renewal it begins anew."""

    kind: str
    name: str
    first_seen: float
    expires: float
    reminded_days: int | None = None
    unused_at: float | None = None


class Reminder(NamedTuple):
    """One alert. ``days`` is None for one that is not used."""

    permission: Permission
    days: int | None


class Due(NamedTuple):
    """What is to be said now, what to remember of it, and what to forget."""

    reminders: tuple[Reminder, ...]
    changed: tuple[Remembered, ...]
    gone: tuple[tuple[str, str], ...]


def permissions(snapshot: Snapshot, last_used: Mapping[tuple[str, str], float]) -> list[Permission]:
    """All that ends: rights, relay domains, delegations. ``last_used`` by kind and name."""
    found = [
        *((RIGHT, right.name, right.owner, right.expires) for right in snapshot.rights),
        *((RELAY_DOMAIN, domain.name, domain.owner, domain.expires) for domain in snapshot.relay_domains.values()),
        *((DELEGATION, lent.name, lent.owner, lent.expires) for lent in snapshot.delegations),
    ]
    return [Permission(*one, last_used.get((one[0], one[1]))) for one in found]


def due(held: Iterable[Permission], known: Mapping[tuple[str, str], Remembered], now: float) -> Due:
    """The alerts of this moment. Who was asleep at 14 days is told at once, and of the nearest mark alone."""
    reminders: list[Reminder] = []
    changed: list[Remembered] = []
    present: set[tuple[str, str]] = set()
    for one in held:
        present.add(one.key)
        before = known.get(one.key)
        after = before or Remembered(one.kind, one.name, now, one.expires)
        if after.expires != one.expires:
            after = after._replace(expires=one.expires, reminded_days=None)
        if (days := _mark(one, after, now)) is not None:
            reminders.append(Reminder(one, days))
            after = after._replace(reminded_days=days)
        if is_unused(one, after.first_seen, now) and not _was_told(after, now):
            reminders.append(Reminder(one, None))
            after = after._replace(unused_at=now)
        if after != before:
            changed.append(after)
    return Due(tuple(reminders), tuple(changed), tuple(key for key in known if key not in present))


def is_unused(one: Permission, first_seen: float, now: float) -> bool:
    """In force, and not used for 90 days since we began to look."""
    return now < one.expires and now - (first_seen if one.used is None else one.used) >= UNUSED * DAY


def _mark(one: Permission, told: Remembered, now: float) -> int | None:
    """The nearest mark that has been passed and not been told."""
    left = one.expires - now
    if left <= 0:
        return None
    passed = [days for days in REMINDERS if left <= days * DAY]
    nearest = min(passed, default=_NEVER)
    return nearest if nearest < (told.reminded_days or _NEVER) else None


def _was_told(told: Remembered, now: float) -> bool:
    return told.unused_at is not None and now - told.unused_at < UNUSED * DAY
