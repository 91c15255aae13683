"""The dispatcher: takes what is in the queue, brings each recipient to its next hop, and records how it went.

Read with `sorting` (where to), `destinations` and `workers` (how many at once), `carrier` (one attempt) and `ledger` (what
it comes to).
"""

from __future__ import annotations

import asyncio
from random import Random

from postlatch.delivery.carrier import Carried, Carrier, is_mailbox
from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.destinations import MAX_WAITING, Lane, Lanes
from postlatch.delivery.ledger import Ledger
from postlatch.delivery.maildir_store import MaildirStore
from postlatch.delivery.ports import Alert, Notify, PoolPort, SpoolPort, Submit
from postlatch.delivery.recorder import Recorder
from postlatch.delivery.replies import BROKEN, BUSY, STOPPED, no_word
from postlatch.delivery.routes import Classify, Hop, Recheck
from postlatch.delivery.sorting import sort
from postlatch.delivery.targets import Targets
from postlatch.delivery.workers import Workers
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.ids import format_id
from postlatch.spool.contract import Claim, SpoolError
from postlatch.store.writer import WriteFailed

BATCH = 256  # claims taken at once, between two looks at the event loop
MAX_IN_MEMORY = 10_000  # claims; the rest waits in the queue
MAX_BACKLOG = 2_000  # outcomes on their way to the disk
_FULL_PAUSE = 0.05  # seconds between two looks for room
_BUSY_SECONDS = 60.0
_FULL_SECONDS = 2.0  # for a lane that is full although its hop is well: a burst, and soon over
_TIDY_SECONDS = 60.0


class Dispatcher:
    """Delivers. ``run`` it as one task; ``stop`` ends that task.

    ``classify`` and ``recheck`` ask the live configuration. ``notify`` prepares reports to senders, ``alert`` tells operators.
    """

    def __init__(
        self,
        config: DeliveryConfig,
        *,
        spool: SpoolPort,
        pool: PoolPort,
        resolver: Resolver,
        clock: Clock,
        random: Random,
        submit: Submit,
        notify: Notify,
        alert: Alert,
        classify: Classify,
        recheck: Recheck,
    ) -> None:
        self._config = config
        self._spool = spool
        self._clock = clock
        self._random = random
        self._submit = submit
        self._alert = alert
        self._classify = classify
        self._recheck = recheck
        self._maildir = MaildirStore(config.hostname)
        self._recorder = Recorder(spool, submit, alert, clock)
        self._ledger = Ledger(spool, self._recorder, notify, alert, clock, random)
        self._carrier = Carrier(spool, pool, Targets(resolver, clock, random), self._maildir)
        self._lanes = Lanes()
        self._workers = Workers(self._attempt, clock, config.max_deliveries)
        self._rested: dict[Hop, Lane] = {}  # lanes whose work waits for the end of a rest
        self._woken = asyncio.Event()
        self._stopping = False
        self._lost = False
        self._next_poll = self._next_tidy = clock.monotonic()

    def wake(self, *, due: bool = False) -> None:
        """New mail is in the spool's memory. ``due``: an operator has made something due, so ask the database now."""
        if due:
            self._next_poll = self._clock.monotonic()
        self._woken.set()

    def recover(self) -> None:
        """Call when the writer has recovered: rows whose claim or commit had an unknown fate become due again."""
        self._lost = True
        self.wake(due=True)

    def in_hand(self) -> list[Claim]:
        """All claims that are waiting, being attempted, or on their way to the disk."""
        waiting = [claim for lane in self._lanes for claim in lane.waiting]
        return [*waiting, *self._workers.busy, *self._recorder.pending]

    def reload(self, config: DeliveryConfig) -> None:
        """Use ``config`` from now on, also for what is waiting."""
        self._config = config
        self._workers.most = config.max_deliveries
        for lane in self._lanes:
            lane.most = config.max_per_destination
            lane.limit = min(lane.limit, lane.most)
        self._woken.set()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            self._woken.clear()
            await self._take_fresh()
            await self._take_due()
            self._end_rests()
            await self._pause()

    async def stop(self, grace: float) -> None:
        """Take nothing more, let what runs end within ``grace`` seconds, and see every outcome to the disk.

        What was claimed and not begun is left as it is: the next start finds it due.
        """
        self._stopping = True
        self._woken.set()
        await self._workers.stop(grace)
        await self._recorder.drain(grace)
        await asyncio.to_thread(self._maildir.close)

    def _room(self) -> int:
        if self._stopping or self._recorder.backlog >= MAX_BACKLOG:
            return 0
        return min(BATCH, MAX_IN_MEMORY - self._workers.load)

    async def _take_fresh(self) -> None:
        while (room := self._room()) > 0:
            claims = self._spool.take(room)
            if not claims:
                return
            await self._admit_all(claims)

    async def _take_due(self) -> None:
        room, now = self._room(), self._clock.monotonic()
        if room <= 0 or now < self._next_poll:
            return
        self._next_poll = now + self._config.poll_seconds
        try:
            if self._lost:
                await self._submit([self._spool.recover(self.in_hand())])
                self._lost = False
            [claims] = await self._submit([self._spool.claim_due(room, self._clock.now())])
        except WriteFailed:
            self._lost = True  # the claim may have been committed all the same
            return
        await self._admit_all(claims)
        if len(claims) >= room:
            self.wake(due=True)

    async def _admit_all(self, claims: list[Claim]) -> None:
        for claim in claims:
            await self._admit(claim)
        await asyncio.sleep(0)  # the loop has other work, and workers that were just started

    async def _admit(self, claim: Claim) -> None:
        try:
            for hop, part in self._sorted(claim):
                await self._place(hop, part)
        except Exception as error:  # noqa: BLE001 - one message must not stop all others; a restart finds it again
            self._broken(claim, error)

    def _sorted(self, claim: Claim) -> list[tuple[Hop, Claim]]:
        """The parts of ``claim`` that may go, each for its hop. The others are held; what cannot be decided waits."""
        try:
            where = sort(self._config, self._classify, self._recheck, claim)
        except Exception as error:  # noqa: BLE001 - an undecided message neither leaves nor is lost
            self._broken(claim, error)
            self._ledger.postpone(claim, BROKEN, _BUSY_SECONDS)
            return []
        if where.held is not None:
            self._ledger.hold(where.held, where.reasons)
        return where.going

    async def _place(self, hop: Hop, claim: Claim) -> None:
        now = self._clock.monotonic()
        lane = self._lanes.lane(self._config, hop, now)
        if lane.dead(now):
            await self._ledger.settle(self._config, claim, [no_word(r, lane.reply) for r in claim.recipients])
        elif len(lane.waiting) >= MAX_WAITING:
            seconds = _FULL_SECONDS if lane.moving(now) else _BUSY_SECONDS
            self._ledger.postpone(claim, BUSY, seconds * self._random.uniform(1, 2))
        else:
            self._workers.put(lane, claim)

    async def _attempt(self, lane: Lane, claim: Claim) -> None:
        """What a worker does with one claim. Never raises, except when it is cancelled."""
        try:
            for hop, part in self._sorted(claim):
                if hop == lane.hop:
                    await self._deliver(lane, part)
                else:
                    await self._place(hop, part)  # its way has changed while it waited
        except Exception as error:  # noqa: BLE001 - as in `_admit`
            self._broken(claim, error)

    async def _deliver(self, lane: Lane, claim: Claim) -> None:
        episode = lane.episode
        try:
            carried = await self._carry(lane, claim)
            if carried is None:
                return
            await self._learn(lane, carried, episode)
            final = is_mailbox(lane.hop)
            await self._ledger.settle(self._config, claim, carried.attempts, carried.header, final=final)
        except asyncio.CancelledError:
            self._ledger.postpone(claim, STOPPED, 0.0)
            raise

    async def _carry(self, lane: Lane, claim: Claim) -> Carried | None:
        """One attempt; None if it could not be made and the claim is settled."""
        try:
            return await self._carrier.carry(self._config, lane.hop, claim)
        except SpoolError as error:
            self._ledger.hold(claim, [str(error)] * len(claim.recipients))
            return None
        except Exception as error:  # noqa: BLE001 - one message must not stop a lane, and what is unknown is tried again
            self._broken(claim, error)
            return Carried([no_word(recipient, BROKEN) for recipient in claim.recipients])

    async def _learn(self, lane: Lane, carried: Carried, episode: int) -> None:
        if not carried.fault:
            lane.succeeded(self._clock.monotonic())
            return
        now = self._clock.monotonic()
        lane.failed(now, carried.fault, episode)
        if not lane.dead(now):
            self._rested[lane.hop] = lane
            return
        self._rested.pop(lane.hop, None)
        for claim in self._workers.take_all(lane):
            await self._ledger.settle(self._config, claim, [no_word(r, lane.reply) for r in claim.recipients])

    def _end_rests(self) -> None:
        now = self._clock.monotonic()
        for lane in [lane for lane in self._rested.values() if not lane.resting(now)]:
            del self._rested[lane.hop]
            self._workers.start(lane)
        if now >= self._next_tidy:
            self._next_tidy = now + _TIDY_SECONDS
            self._lanes.forget_idle(now)

    async def _pause(self) -> None:
        now = self._clock.monotonic()
        until = min([self._next_poll, *(lane.rest_until for lane in self._rested.values())])
        seconds = max(until - now, 0.0) if self._room() > 0 else _FULL_PAUSE
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _broken(self, claim: Claim, error: Exception) -> None:
        fields = {"message": format_id(claim.message.message_id), "why": type(error).__name__}
        self._alert("an attempt to deliver failed inside the relay", fields)
