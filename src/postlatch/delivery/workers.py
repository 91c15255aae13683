"""The tasks that deliver: a few for each busy lane, bounded for all together, and shared out by turns when all are busy.

A worker is a task that takes one claim after another from its lane and ends when there is none, so a busy lane costs no
task a message. What may be used up, and by whom:

- next hops that were not tried yet have half of the workers, and those that have failed a quarter: however many dead
  destinations there are, the proven ones have the rest;
- bulk mail has three fifths, and a tenth is kept for urgent mail;
- what finds all busy waits in line, and is served by class and by standing, each with its share of the turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final

from postlatch.delivery.destinations import Lane
from postlatch.delivery.line import Line, Turns
from postlatch.model.clock import Clock
from postlatch.spool.contract import Claim
from postlatch.spool.priority import BULK, NORMAL, URGENT

MAX_BODY_OCTETS: Final = 64 * 1024 * 1024  # of bodies that wait in memory; the others are read again when their turn comes
_NOT_QUEUED: Final = -1

Attempt = Callable[[Lane, Claim], Awaitable[None]]


def _ignore() -> None:
    """Nobody wants to know."""


class Workers:
    """Runs ``attempt``, which must not raise, for what waits in lanes. ``most``: workers at once, over all lanes.

    ``sooner`` is called when `next_wake` has come nearer.
    """

    def __init__(self, attempt: Attempt, clock: Clock, most: int, sooner: Callable[[], None] = _ignore) -> None:
        self._attempt = attempt
        self._clock = clock
        self._sooner = sooner
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[int, Claim] = {}  # by id()
        self._lines: tuple[Line[Lane], Line[Lane], Line[Lane]] = (Line(), Line(), Line())  # by standing
        self._turns = Turns()
        self._standing = [0, 0, 0]  # workers, by the standing of their lane when they began
        self._classes = [0, 0, 0]  # attempts, by the class of their claim
        self._sleepers: list[tuple[float, int, Lane]] = []  # a heap: lanes that rest, and until when
        self._numbers = count()
        self._waiting = 0
        self._octets = 0
        self._stopping = False
        self.in_line = 0  # lanes that wait for a worker
        self.resize(most)

    def resize(self, most: int) -> None:
        """Have ``most`` workers at once from now on."""
        self.most = most
        self._not_urgent_most = most - most // 10
        self._bulk_most = max(1, most * 3 // 5)
        self._standing_most = (most, max(1, most // 2), max(1, most // 4))

    @property
    def load(self) -> int:
        """Claims in memory: those that wait and those that are being attempted."""
        return self._waiting + len(self._tasks)

    @property
    def running(self) -> int:
        """Workers now."""
        return len(self._tasks)

    @property
    def busy(self) -> Iterable[Claim]:
        """The claims that are being attempted."""
        return self._busy.values()

    @property
    def next_wake(self) -> float | None:
        """When the first lane that rests may go on (monotonic); None if none rests."""
        return self._sleepers[0][0] if self._sleepers else None

    def put(self, lane: Lane, claim: Claim) -> None:
        """Let ``claim`` wait in ``lane`` and start a worker if there may be one more."""
        octets = len(claim.body) if claim.body is not None else 0
        if self._octets + octets > MAX_BODY_OCTETS:
            claim = replace(claim, body=None)
        else:
            self._octets += octets
        lane.line.put(claim, claim.message.priority)
        self._waiting += 1
        self.start(lane)

    def take_all(self, lane: Lane) -> list[Claim]:
        """What waits in ``lane``, no longer waiting."""
        claims = lane.line.take_all()
        for claim in claims:
            self._taken(claim)
        return claims

    def start(self, lane: Lane) -> None:
        """Start one worker for ``lane`` if it wants one; when there is none for it, it gets in line."""
        if self._stopping or not lane.wants_worker(self._clock.monotonic()):
            return
        standing, first = lane.standing, lane.line.first()
        if len(self._tasks) < self.most and self._standing[standing] < self._standing_most[standing] and first <= self._least():
            self._run(lane, standing)
        elif lane.queued == _NOT_QUEUED or first < lane.queued:
            self._queue(lane, standing, first)

    def rest(self, lane: Lane) -> None:
        """Go on with ``lane`` at the end of its rest."""
        heappush(self._sleepers, (lane.rest_until, next(self._numbers), lane))
        if self._sleepers[0][2] is lane:
            self._sooner()

    def wake(self, now: float) -> None:
        """Go on with the lanes whose rest is over."""
        while self._sleepers and self._sleepers[0][0] <= now:
            lane = heappop(self._sleepers)[2]
            if lane.resting(now):
                continue  # it has failed again meanwhile, and is in the heap once more
            self.start(lane)

    async def stop(self, seconds: float) -> None:
        """Start nothing more, give what runs ``seconds`` to end, then cancel it."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _least(self) -> int:
        """The least urgent class that may have one more worker."""
        if len(self._tasks) < self._bulk_most:
            return BULK
        not_urgent = self._classes[NORMAL] + self._classes[BULK]
        if not_urgent >= self._not_urgent_most:
            return URGENT
        return NORMAL if self._classes[BULK] >= self._bulk_most else BULK

    def _run(self, lane: Lane, standing: int) -> None:
        lane.running += 1
        self._standing[standing] += 1
        task = asyncio.create_task(self._work(lane, standing))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, lane))

    async def _work(self, lane: Lane, standing: int) -> None:
        try:
            while not self._stopping:
                now = self._clock.monotonic()
                claim = lane.next(now, self._least())
                if claim is None:
                    return
                self._taken(claim)
                if lane.rest_until > now:
                    self.rest(lane)  # it has a rate
                kind = claim.message.priority
                self._classes[kind] += 1
                self._busy[id(claim)] = claim
                try:
                    await self._attempt(lane, claim)
                finally:
                    del self._busy[id(claim)]
                    self._classes[kind] -= 1
                if lane.standing != standing:
                    standing = self._moved(standing, lane.standing)
                if lane.line.size > lane.running:
                    self.start(lane)  # a success may have raised the lane's limit
                if self.in_line and self._must_yield(standing):
                    return
        finally:
            self._standing[standing] -= 1

    def _moved(self, old: int, new: int) -> int:
        """What a worker costs is counted anew when its hop has answered or failed."""
        self._standing[old] -= 1
        self._standing[new] += 1
        return new

    def _must_yield(self, standing: int) -> bool:
        """True if somebody in line could have this worker in its place. Who may have another one is served now."""
        self._serve()
        least = self._least()
        if 0 <= self._lines[standing].first() <= least:
            return True
        return len(self._tasks) >= self.most and (self._ready(0, least) or self._ready(1, least) or self._ready(2, least))

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        """The lane goes to the end of the line if it still has work, and the first in line get what is free."""
        self._tasks.discard(task)
        lane.running -= 1
        if lane.queued == _NOT_QUEUED and lane.wants_worker(self._clock.monotonic()):
            self._queue(lane, lane.standing, lane.line.first())
        if self.in_line:
            self._serve()

    def _queue(self, lane: Lane, standing: int, first: int) -> None:
        lane.queued = first
        self._lines[standing].put(lane, first)
        self.in_line += 1

    def _serve(self) -> None:
        """Give out the workers that are free, until nobody is left who may have one."""
        while len(self._tasks) < self.most and not self._stopping:
            least = self._least()
            index = self._turns.pick(self._ready(0, least), self._ready(1, least), self._ready(2, least))
            lane = self._lines[index].take(least) if index >= 0 else None
            if lane is None:
                return
            self.in_line -= 1
            if lane.queued != _NOT_QUEUED:  # else it was in line twice, since something urgent came, and was served
                lane.queued = _NOT_QUEUED
                self.start(lane)

    def _ready(self, standing: int, least: int) -> bool:
        first = self._lines[standing].first()
        return 0 <= first <= least and self._standing[standing] < self._standing_most[standing]

    def _taken(self, claim: Claim) -> None:
        self._waiting -= 1
        if claim.body is not None:
            self._octets -= len(claim.body)
