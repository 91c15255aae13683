"""How hard to press one next hop, and when to leave it alone. Pure but for the clock's readings that it is given.

A lane is one next hop's queue in memory. Concurrency grows by one with each success and halves with each failure to
connect. A hop that fails rests; when it goes on failing, what waits for it goes back to the database, so that a dead
destination holds neither memory nor workers, and costs the others nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.routes import Hop
from postlatch.spool.contract import Claim

RESTS = (1.0, 5.0, 60.0, 120.0, 240.0, 480.0, 900.0)  # seconds after the first, second … failure in a row
DEAD_AFTER = 3  # failures in a row, and then nothing waits in memory
MAX_WAITING = 5_000  # claims; more are handed back to the queue for a moment, so that one hop cannot fill the memory
MOVING = 10.0  # seconds
FORGET_AFTER = 1800.0  # seconds without work until a lane's experience is dropped


@dataclass(slots=True)
class Lane:
    """One next hop. ``limit``: deliveries at once; ``running``: workers now; times are monotonic seconds."""

    hop: Hop
    limit: int
    most: int
    waiting: deque[Claim] = field(default_factory=deque)
    running: int = 0
    queued: bool = False  # for a worker, while all are busy elsewhere
    failures: int = 0
    episode: int = 0
    rest_until: float = 0.0
    reply: str = ""
    used: float = 0.0
    moved: float = -inf  # the last time the hop answered

    def moving(self, now: float) -> bool:
        """True if the hop has answered within the last few seconds: what is full now will have room in a moment."""
        return now - self.moved < MOVING

    def resting(self, now: float) -> bool:
        """True while nothing may be attempted."""
        return now < self.rest_until

    def dead(self, now: float) -> bool:
        """True while it rests after so many failures that nothing should wait for it."""
        return self.failures >= DEAD_AFTER and now < self.rest_until

    def wants_worker(self, now: float) -> bool:
        """True if one more worker would find work that may be done."""
        return bool(self.waiting) and self.running < self.limit and now >= self.rest_until

    def next(self, now: float) -> Claim | None:
        """The next claim for a worker that runs, or None: it should end."""
        if not self.waiting or self.running > self.limit or now < self.rest_until:
            return None
        self.used = now
        return self.waiting.popleft()

    def succeeded(self, now: float) -> None:
        """The hop answered."""
        self.failures = 0
        self.moved = now
        if self.limit < self.most:
            self.limit += 1

    def failed(self, now: float, reply: str, episode: int) -> None:
        """The hop could not be reached. ``episode``: as it was when the attempt began.

        Twenty attempts that break off at once are one failure of the hop, not twenty.
        """
        if episode != self.episode:
            return
        self.episode += 1
        self.failures += 1
        self.limit = max(1, self.limit // 2)
        self.rest_until = now + RESTS[min(self.failures, len(RESTS)) - 1]
        self.reply = reply


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
            lane = Lane(hop, min(config.start_per_destination, config.max_per_destination), config.max_per_destination)
            self._lanes[hop] = lane
        lane.used = now
        return lane

    def forget_idle(self, now: float) -> None:
        """Drop lanes that have had nothing to do for long."""
        idle = [
            lane.hop
            for lane in self._lanes.values()
            if not lane.waiting and not lane.running and max(lane.used, lane.rest_until) + FORGET_AFTER <= now
        ]
        for hop in idle:
            del self._lanes[hop]
