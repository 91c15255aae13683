"""How hard to press one next hop, and when to leave it alone. Pure but for the clock's readings that it is given.

A lane is one next hop's queue in memory, with its pace. A hop that fails rests, and is then tried with one message; when it
goes on failing it is parked: what waits for it goes back to the database, so that a dead destination holds neither memory nor
workers, and costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from math import inf
from typing import Final

from postlatch.delivery import pace as pacing
from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.hosts import PARKED_AFTER, rest_of
from postlatch.delivery.line import Line
from postlatch.delivery.pace import Bounds, Said
from postlatch.delivery.routes import Hop, host_of, is_far, longest_rest
from postlatch.spool.contract import Claim
from postlatch.spool.priority import BULK

DEAD_AFTER: Final = PARKED_AFTER  # failures in a row, and then nothing waits in memory
MAX_WAITING: Final = 5_000  # claims; more are handed back to the queue for a moment, so that one hop cannot fill the memory
MOVING: Final = 10.0  # seconds
FORGET_AFTER: Final = 1800.0  # seconds without work until a lane's experience is dropped
_RATE_SECONDS: Final = 60.0  # over which the speed of a hop is measured


# The standing of a hop: `workers` keeps a budget for each.
PROVEN: Final = 0  # it has answered since its last failure
NEW: Final = 1  # it was not tried yet
SUSPECT: Final = 2  # it has failed and not answered since


class State(StrEnum):
    """How people see a destination."""

    MOVING = "moving"
    RESTING = "resting"
    PARKED = "parked"
    PAUSED = "paused"


class Lane:
    """One next hop. ``running``: workers now; ``queued``: in line for one, and as what class; times are monotonic seconds.

    ``limit``: deliveries at once; after a failure one, until the hop answers. ``standing``: what it may cost.
    """

    __slots__ = (
        "_counted",
        "_counted_since",
        "_turn",
        "bounds",
        "episode",
        "failures",
        "far",
        "hop",
        "limit",
        "line",
        "moved",
        "pace",
        "queued",
        "reply",
        "rest_until",
        "running",
        "standing",
        "used",
    )

    def __init__(self, hop: Hop, bounds: Bounds, now: float = 0.0) -> None:
        self.hop = hop
        self.far = is_far(hop)
        self.bounds = bounds
        self.pace = pacing.begin(bounds, now)
        self.line: Line[Claim] = Line()
        self.running = 0
        self.queued = -1
        self.failures = 0
        self.episode = 0
        self.rest_until = 0.0
        self.reply = ""
        self.used = now
        self.moved = -inf  # the last time the hop answered
        self.standing = NEW
        self.limit = int(self.pace.limit)
        self._turn = 0.0  # under a rate: when the next message is due
        self._counted = 0
        self._counted_since = now

    def meet(self, attempts: int) -> None:
        """A claim comes for a hop that was not tried yet. If none of them is fresh, it has probably failed before a restart."""
        if not self.failures:
            self.standing = SUSPECT if attempts and (self.standing == SUSPECT or not self.line.size) else NEW

    def moving(self, now: float) -> bool:
        """True if the hop has answered within the last few seconds: what is full now will have room in a moment."""
        return now - self.moved < MOVING

    def resting(self, now: float) -> bool:
        """True while nothing may be attempted."""
        return now < self.rest_until

    def dead(self, now: float) -> bool:
        """True while it rests after so many failures that nothing should wait for it."""
        return self.failures >= DEAD_AFTER and now < self.rest_until

    def state(self, now: float) -> State:
        """For people."""
        if self.dead(now):
            return State.PARKED
        return State.RESTING if self.failures and self.resting(now) else State.MOVING

    def wants_worker(self, now: float) -> bool:
        """True if one more worker would find work that may be done."""
        return self.running < self.limit and self.line.size > 0 and now >= self.rest_until

    def next(self, now: float, least: int = BULK) -> Claim | None:
        """The next claim, of the classes down to ``least``, for a worker that runs. None: it should end."""
        if now < self.rest_until or self.running > self.limit:
            return None
        claim = self.line.take(least)
        if claim is None:
            return None
        self.used = now
        if self.pace.rate:
            self._turn = pacing.turn(self._turn, self.pace.rate, now)
            self.rest_until = self._turn
        return claim

    def succeeded(self, now: float, said: Said | None = Said.GOOD, episode: int = -1) -> None:
        """The hop answered, and ``said`` how it bears us. ``episode``: as it was when the attempt began."""
        if self.standing:
            self.failures, self.standing = 0, PROVEN
            self.limit = int(self.pace.limit)
        self.moved = now
        self._counted += 1
        if said is Said.GOOD:
            if self.limit < self.bounds.most or self.pace.rate:
                self._learn(now, said)
        elif said is not None and (episode == -1 or episode == self.episode):  # noqa: PLR1714  no set a message
            self.episode += 1
            self._learn(now, said)

    def failed(self, now: float, reply: str, episode: int, spread: float = 0.0) -> bool:
        """The hop could not be reached; False if that was known. ``episode``: as it was when the attempt began.

        Twenty attempts that break off at once are one failure of the hop, not twenty.
        """
        if episode != self.episode:
            return False
        self.episode += 1
        self.failures += 1
        self.standing = SUSPECT
        self._take(pacing.halved(self.pace))
        self.rest_until = now + rest_of(self.failures, spread, longest_rest(self.hop))
        self.reply = reply
        return True

    def park(self, until: float, reply: str) -> None:
        """All hosts of this hop are parked: nothing can be tried before one of them may be."""
        self.failures = max(self.failures, DEAD_AFTER)
        self.episode += 1
        self.standing, self.limit = SUSPECT, 1
        self.rest_until = until
        self.reply = reply

    def pardon(self, now: float) -> None:
        """An operator wants it tried now."""
        self.rest_until = min(self.rest_until, now)

    def refit(self, bounds: Bounds) -> None:
        """Use other bounds from now on."""
        self.bounds = bounds
        self._take(pacing.fitted(self.pace, bounds))

    def seen(self, now: float) -> float:
        """Messages a second that the hop answered lately."""
        return self._counted / max(now - self._counted_since, 1.0)

    def count_anew(self, now: float) -> None:
        """Begin to measure the speed again, if it has been measured for long enough."""
        if now - self._counted_since >= _RATE_SECONDS:
            self._counted, self._counted_since = 0, now

    def _learn(self, now: float, said: Said) -> None:
        seen = self.seen(now) if said is Said.TOO_FAST else 0.0
        self._take(pacing.learn(self.pace, self.bounds, now, said, seen))

    def _take(self, pace: pacing.Pace) -> None:
        self.pace = pace
        self.limit = 1 if self.failures else int(pace.limit)


class Lanes:
    """All lanes of the process."""

    def __init__(self) -> None:
        self._lanes: dict[Hop, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def lane(self, config: DeliveryConfig, hop: Hop, now: float) -> Lane:
        """The lane of ``hop``, made if there is none."""
        lane = self._lanes.get(hop)
        if lane is None:
            lane = self._lanes[hop] = Lane(hop, config.bounds(host_of(hop)), now)
        lane.used = now
        return lane

    def tidy(self, now: float) -> None:
        """Drop lanes that have had nothing to do for long."""
        idle = []
        for lane in self._lanes.values():
            lane.count_anew(now)
            if not (lane.line.size or lane.running) and max(lane.used, lane.rest_until) + FORGET_AFTER <= now:
                idle.append(lane.hop)
        for hop in idle:
            del self._lanes[hop]
