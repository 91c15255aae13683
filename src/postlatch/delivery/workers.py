"""The tasks that deliver: a few for each busy lane, bounded for all together, and taken in turn when all are busy.

A worker is a task that takes one claim after another from its lane and ends when there is none, so a busy lane costs no
task a message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial

from postlatch.delivery.destinations import Lane
from postlatch.model.clock import Clock
from postlatch.spool.contract import Claim

MAX_BODY_OCTETS = 64 * 1024 * 1024  # of bodies that wait in memory; the others are read again when their turn comes

Attempt = Callable[[Lane, Claim], Awaitable[None]]


class Workers:
    """Runs ``attempt``, which must not raise, for what waits in lanes. ``most``: workers at once, over all lanes."""

    def __init__(self, attempt: Attempt, clock: Clock, most: int) -> None:
        self._attempt = attempt
        self._clock = clock
        self.most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[int, Claim] = {}  # by id()
        self._eager: deque[Lane] = deque()
        self._waiting = 0
        self._octets = 0
        self._stopping = False

    @property
    def load(self) -> int:
        """Claims in memory: those that wait and those that are being attempted."""
        return self._waiting + len(self._tasks)

    @property
    def busy(self) -> Iterable[Claim]:
        """The claims that are being attempted."""
        return self._busy.values()

    def put(self, lane: Lane, claim: Claim) -> None:
        """Let ``claim`` wait in ``lane`` and start a worker if there may be one more."""
        octets = len(claim.body) if claim.body is not None else 0
        if self._octets + octets > MAX_BODY_OCTETS:
            claim = replace(claim, body=None)
        else:
            self._octets += octets
        lane.waiting.append(claim)
        self._waiting += 1
        self.start(lane)

    def take_all(self, lane: Lane) -> list[Claim]:
        """What waits in ``lane``, no longer waiting."""
        claims = list(lane.waiting)
        lane.waiting.clear()
        for claim in claims:
            self._taken(claim)
        return claims

    def start(self, lane: Lane) -> None:
        """Start one worker for ``lane`` if it wants one; when all are busy it gets in line."""
        if self._stopping or not lane.wants_worker(self._clock.monotonic()):
            return
        if len(self._tasks) >= self.most:
            if not lane.queued:
                lane.queued = True
                self._eager.append(lane)
            return
        lane.running += 1
        task = asyncio.create_task(self._work(lane))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, lane))

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

    async def _work(self, lane: Lane) -> None:
        while not self._stopping:
            claim = lane.next(self._clock.monotonic())
            if claim is None:
                return
            self._taken(claim)
            self._busy[id(claim)] = claim
            try:
                await self._attempt(lane, claim)
            finally:
                del self._busy[id(claim)]
            if len(lane.waiting) > lane.running:
                self.start(lane)  # a success may have raised the lane's limit
            if self._eager:
                return  # others wait for a worker: let them have this one

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        """The lane goes to the end of the line if it still has work, and the first in line get what is free."""
        self._tasks.discard(task)
        lane.running -= 1
        if not lane.queued and lane.wants_worker(self._clock.monotonic()):
            lane.queued = True
            self._eager.append(lane)
        while self._eager and len(self._tasks) < self.most:
            first = self._eager.popleft()
            first.queued = False
            self.start(first)

    def _taken(self, claim: Claim) -> None:
        self._waiting -= 1
        if claim.body is not None:
            self._octets -= len(claim.body)
