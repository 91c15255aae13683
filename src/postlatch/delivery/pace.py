"""How hard a next hop may be pressed: deliveries at once, and messages a second. Pure: state, time and what it said -> state.

Concurrency is found as TCP finds its window (RFC 5681): it doubles a round until the first complaint, is halved by each, and
then grows by one a round. A rate exists only where the configuration sets one or the next hop has complained of speed; it is
halved by each complaint and comes back slowly.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

FLOOR_LIMIT: Final = 1.0  # deliveries at once: a next hop is always asked again
FLOOR_RATE: Final = 1 / 60  # messages a second
FIRST_RATE: Final = 1.0  # where it complains before we have seen what it can take
FREE_RATE: Final = 1000.0  # a learned rate that has recovered to this is none any more
RECOVER_SECONDS: Final = 60.0  # between two steps of recovery
RECOVER_FACTOR: Final = 1.25
BURST_SECONDS: Final = 0.1  # how far a rate may be ahead of its time, so that a quick one costs no timer a message


class Said(Enum):
    """What an attempt says about the next hop's strength."""

    GOOD = auto()  # it took the message, or refused it for its own sake
    CROWDED = auto()  # too many of us at once
    TOO_FAST = auto()  # too many messages in a time


class Bounds(NamedTuple):
    """What the configuration allows for one destination. ``rate``: messages a second, 0 for no bound.

    ``per_connection``: messages until a connection is given up, 0 for no bound.
    """

    start: int = 5
    most: int = 20
    rate: float = 0.0
    per_connection: int = 0


class Pace(NamedTuple):
    """``limit``: deliveries at once. ``calm``: up to here it grows quickly. ``rate``: 0 for none. ``changed``: when it was."""

    limit: float
    calm: float
    rate: float
    changed: float


def begin(bounds: Bounds, now: float) -> Pace:
    """For a next hop of which nothing is known."""
    return Pace(float(max(1, min(bounds.start, bounds.most))), float(bounds.most), bounds.rate, now)


def learn(pace: Pace, bounds: Bounds, now: float, said: Said, seen: float = 0.0) -> Pace:
    """The pace after one attempt, the same object if nothing changes. ``seen``: messages a second that it took lately."""
    if said is Said.GOOD:
        return _better(pace, bounds, now)
    if said is Said.CROWDED:
        return halved(pace)
    slower = max((pace.rate or seen or FIRST_RATE) / 2, FLOOR_RATE)
    return pace._replace(rate=min(slower, bounds.rate) if bounds.rate else slower, changed=now)


def halved(pace: Pace) -> Pace:
    """After a complaint about too many at once, or none at all because it could not be reached."""
    limit = max(FLOOR_LIMIT, pace.limit // 2)
    return pace._replace(limit=limit, calm=limit)


def fitted(pace: Pace, bounds: Bounds) -> Pace:
    """The pace under other bounds."""
    limit, calm = min(pace.limit, float(bounds.most)), min(pace.calm, float(bounds.most))
    rate = min(pace.rate, bounds.rate) if bounds.rate and pace.rate else bounds.rate or pace.rate
    return pace._replace(limit=max(FLOOR_LIMIT, limit), calm=max(FLOOR_LIMIT, calm), rate=rate)


def turn(at: float, rate: float, now: float) -> float:
    """The time from which the message after this one is due, at ``rate``. ``at``: the same for this one (GCRA)."""
    return max(at, now - BURST_SECONDS) + 1 / rate


def _better(pace: Pace, bounds: Bounds, now: float) -> Pace:
    most = bounds.most
    if pace.limit < most:
        step = 1.0 if pace.limit < pace.calm or pace.calm >= most else 1.0 / pace.limit
        pace = pace._replace(limit=min(pace.limit + step, float(most)))
    if pace.rate and pace.rate != bounds.rate and now - pace.changed >= RECOVER_SECONDS:
        pace = pace._replace(rate=_recovered(pace.rate * RECOVER_FACTOR, bounds.rate), changed=now)
    return pace


def _recovered(rate: float, most: float) -> float:
    if most:
        return min(rate, most)
    return 0.0 if rate >= FREE_RATE else rate
