"""The dispatcher: takes what is in the queue, brings each recipient to its next hop, and records how it went.

Read with `sorting` (where to), `destinations` and `workers` (how many at once), `carrier` (one attempt), `ledger` (what it
comes to) and `outlook` (whether it is them or us).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Final

from postlatch.delivery.admission import Admission
from postlatch.delivery.carrier import Carried, Carrier, is_mailbox
from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.contract import CutOff
from postlatch.delivery.destinations import MAX_WAITING, PROVEN, Lane, Lanes
from postlatch.delivery.ledger import Ledger
from postlatch.delivery.maildir_store import MaildirStore
from postlatch.delivery.outlook import Outlook
from postlatch.delivery.pauses import LOOK_SECONDS, Pause, Pauses, reply_of
from postlatch.delivery.ports import Alert, Notify, PoolPort, Returns, SpoolPort, Submit
from postlatch.delivery.recorder import Recorder
from postlatch.delivery.replies import BROKEN, BUSY, NETWORK, STOPPED, UNSIGNED, no_word
from postlatch.delivery.routes import Classify, Hold, Hop, Recheck, UseMx, host_of, name_of, route_for
from postlatch.delivery.signals import said
from postlatch.delivery.signing import RETRY_SECONDS, KeysLost, Signing
from postlatch.delivery.sorting import Sorted, sort
from postlatch.delivery.targets import Targets
from postlatch.delivery.tls_policies import TlsPolicies
from postlatch.delivery.view import Gauge, Shown, gauges, show
from postlatch.delivery.workers import Workers
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.events import JsonValue
from postlatch.model.ids import format_id
from postlatch.spool.contract import Claim, SpoolError
from postlatch.store.transaction import WriteFailed

BATCH: Final = 256  # claims taken at once, between two looks at the event loop
MAX_IN_MEMORY: Final = 10_000  # claims; the rest waits in the queue
MAX_IN_LINE: Final = 2_000  # lanes that wait for a worker; beyond, hops that are not proven give their mail back
_HARD_IN_MEMORY: Final = 12_000  # claims: the next batch always finds room, or a few slow hops would hold up all others
MAX_BACKLOG: Final = 2_000  # outcomes on their way to the disk
_FULL_PAUSE: Final = 0.05  # seconds between two looks for room
_BUSY_SECONDS: Final = 60.0
_FULL_SECONDS: Final = 2.0  # for a lane that is full although its hop is well: a burst, and soon over
_SLOW_SECONDS: Final = 0.1  # between two looks at the queue while it is let in by turns
_NETWORK_SECONDS: Final = 60.0  # at least, until mail is looked at again that found no network
_TIDY_SECONDS: Final = 60.0
_BREATH: Final = 100  # claims settled at a stretch


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
        returns: Returns | None = None,
        signing: Signing | None = None,
        policies: TlsPolicies | None = None,
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
        self._recorder = Recorder(spool, submit, alert, clock, returns=returns)
        self._ledger = Ledger(spool, self._recorder, notify, alert, clock, random)
        self._targets = Targets(resolver, clock, random, policies=policies)
        self._carrier = Carrier(spool, pool, self._targets, self._maildir, signing)
        self._lanes = Lanes()
        self._woken = asyncio.Event()
        self._workers = Workers(self._attempt, clock, config.max_deliveries, self._woken.set)
        self._pauses = Pauses()
        self._outlook = Outlook()
        self._admission = Admission(clock.monotonic())
        self._put_back = {"busy": 0, "paused": 0, "network": 0, "signing": 0}
        self._stopping = False
        self._lost = False
        self._next_poll = self._next_tidy = clock.monotonic()

    def wake(self, *, due: bool = False) -> None:
        """New mail is in the spool's memory. ``due``: an operator has made something due: look, and forget what was parked."""
        if due:
            self.pardon()
        self._woken.set()

    def pardon(self, name: str = "") -> None:
        """Try destinations now that were parked, or only the one of this name, with one message each."""
        now = self._clock.monotonic()
        self._targets.pardon()
        for lane in self._lanes:
            if lane.failures and (not name or name_of(lane.hop) == name):
                lane.pardon(now)
                self._workers.start(lane)
        self._poll_now()

    async def pause(self, pauses: Iterable[Pause]) -> None:
        """These destinations are paused from now on, and no others. What waits for them in memory goes back to the queue."""
        self._pauses.replace(pauses)
        if not self._pauses.any:
            return
        for lane in list(self._lanes):
            if isinstance(lane.hop, UseMx) and self._pauses.of(lane.hop.domain, "") is None:
                continue
            for number, claim in enumerate(self._workers.take_all(lane)):
                await self._admit(claim)
                await self._breathe(number)

    def destinations(self) -> list[Shown]:
        """Every next hop that delivery knows of, as people see it."""
        return show(self._lanes, self._pauses, self._clock)

    def hop_of(self, domain: str) -> str:
        """The name of the next hop of a domain, by the configuration of now; the domain itself where there is none."""
        where = route_for(self._config, self._classify(domain), domain)
        return domain if isinstance(where, Hold) else name_of(where)

    def gauges(self) -> list[Gauge]:
        """What the metrics show of all this."""
        return gauges(self._lanes, self._pauses, self._workers, self._outlook, self._admission, self._put_back, self._clock)

    def recover(self) -> None:
        """Call when the writer has recovered: rows whose claim or commit had an unknown fate become due again."""
        self._lost = True
        self._poll_now()

    def in_hand(self) -> list[Claim]:
        """All claims that are waiting, being attempted, or on their way to the disk."""
        waiting = [claim for lane in self._lanes for claim in lane.line]
        return [*waiting, *self._workers.busy, *self._recorder.pending]

    def reload(self, config: DeliveryConfig) -> None:
        """Use ``config`` from now on, also for what is waiting."""
        self._config = config
        self._workers.resize(config.max_deliveries)
        for lane in self._lanes:
            lane.refit(config.bounds(host_of(lane.hop)))
        self._woken.set()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            self._woken.clear()
            await self._take_fresh()
            await self._take_due()
            self._workers.wake(self._clock.monotonic())
            self._tidy()
            await self._wait()

    async def stop(self, grace: float) -> None:
        """Take nothing more, let what runs end within ``grace`` seconds, and see every outcome to the disk.

        What was claimed and not begun is left as it is: the next start finds it due.
        """
        self._stopping = True
        self._woken.set()
        await self._workers.stop(grace)
        await self._recorder.drain(grace)
        await asyncio.to_thread(self._maildir.close)

    def _poll_now(self) -> None:
        self._next_poll = self._clock.monotonic()
        self._woken.set()

    def _room(self) -> int:
        if self._stopping or self._recorder.backlog >= MAX_BACKLOG:
            return 0
        return min(BATCH, _HARD_IN_MEMORY - self._workers.load)

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
        room = min(room, self._admission.room(now))
        if room <= 0:
            self._next_poll = now + _SLOW_SECONDS
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
        self._admission.took(len(claims))
        await self._admit_all(claims)
        if len(claims) >= room:
            self._poll_now()

    async def _admit_all(self, claims: list[Claim]) -> None:
        for claim in claims:
            await self._admit(claim)
        await asyncio.sleep(0)  # the loop has other work, and workers that were just started

    async def _admit(self, claim: Claim) -> None:
        try:
            where = self._sorted(claim)
            if where.paused:
                await self._keep(where.paused)
            for hop, part in where.going:
                await self._place(hop, part)
        except Exception as error:  # noqa: BLE001 - one message must not stop all others; a restart finds it again
            self._broken(claim, error)

    def _sorted(self, claim: Claim) -> Sorted:
        """The parts of ``claim`` that may go, each for its hop, or that are paused. The rest is held; the undecided waits."""
        try:
            where = sort(self._config, self._classify, self._recheck, self._pauses, claim)
        except Exception as error:  # noqa: BLE001 - an undecided message neither leaves nor is lost
            self._broken(claim, error)
            self._ledger.postpone(claim, BROKEN, _BUSY_SECONDS)
            return Sorted([])
        if where.held is not None:
            self._ledger.hold(where.held, where.reasons)
        return where

    async def _keep(self, paused: Iterable[tuple[Pause, Claim]]) -> None:
        for pause, part in paused:
            await self._return(part, "paused", reply_of(pause.name), LOOK_SECONDS)

    async def _place(self, hop: Hop, claim: Claim) -> None:
        now = self._clock.monotonic()
        lane = self._lanes.lane(self._config, hop, now)
        if self._outlook.down and lane.far and not self._may_probe(lane, now):
            await self._return(claim, "network", NETWORK, _NETWORK_SECONDS)
        elif lane.failures and lane.dead(now):
            await self._ledger.settle(self._config, claim, [no_word(r, lane.reply) for r in claim.recipients])
        elif self._is_full(lane):
            await self._return(claim, "busy", BUSY, _FULL_SECONDS if lane.moving(now) else _BUSY_SECONDS)
        else:
            if lane.moved < 0.0:  # never tried: is there any mail for it that has not failed before?
                lane.meet(claim.recipients[0].attempts)
            self._workers.put(lane, claim)

    def _may_probe(self, lane: Lane, now: float) -> bool:
        return not lane.resting(now) and self._outlook.probe(now, hopeful=not lane.failures)

    def _is_full(self, lane: Lane) -> bool:
        """Half of what is free at most: however many hops are slow, the next one always finds room."""
        free = MAX_IN_MEMORY - self._workers.load
        if lane.line.size >= min(MAX_WAITING, max(free, 1)):
            return True
        return self._workers.in_line >= MAX_IN_LINE and lane.standing != PROVEN

    async def _return(self, claim: Claim, why: str, reply: str, seconds: float) -> None:
        """Back into the queue for ``seconds`` to twice that, without counting an attempt."""
        self._put_back[why] += 1
        await self._ledger.put_back(self._config, claim, reply, seconds * self._random.uniform(1, 2))

    async def _attempt(self, lane: Lane, claim: Claim) -> None:
        """What a worker does with one claim. Never raises, except when it is cancelled."""
        try:
            where = self._sorted(claim)
            if where.paused:
                await self._keep(where.paused)
            for hop, part in where.going:
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
            if carried.fault:
                await self._missed(lane, carried, episode)
            else:
                self._met(lane, carried, episode)
            final = is_mailbox(lane.hop)
            await self._ledger.settle(self._config, claim, carried.attempts, carried.header, final=final)
        except CutOff:
            self._ledger.postpone(claim, STOPPED, 0.0, doubtful=True)
            raise
        except asyncio.CancelledError:
            self._ledger.postpone(claim, STOPPED, 0.0)
            raise

    async def _carry(self, lane: Lane, claim: Claim) -> Carried | None:
        """One attempt; None if it could not be made and the claim is settled."""
        try:
            return await self._carrier.carry(self._config, lane.hop, claim)
        except SpoolError as damage:
            self._ledger.hold(claim, [str(damage)] * len(claim.recipients))
            return None
        except KeysLost:
            await self._return(claim, "signing", UNSIGNED, RETRY_SECONDS)
            return None
        except Exception as error:  # noqa: BLE001 - one message must not stop a lane, and what is unknown is tried again
            self._broken(claim, error)
            return Carried([no_word(recipient, BROKEN) for recipient in claim.recipients])

    def _met(self, lane: Lane, carried: Carried, episode: int) -> None:
        """The hop has answered."""
        lane.succeeded(self._clock.monotonic(), said(carried.attempts), episode)
        self._admission.good()
        if self._outlook.silent and lane.far and carried.attempts[0].remote:
            self._answered()

    async def _missed(self, lane: Lane, carried: Carried, episode: int) -> None:
        """The hop could not be reached."""
        now = self._clock.monotonic()
        if carried.parked_until:
            lane.park(carried.parked_until, carried.fault)
        elif lane.failed(now, carried.fault, episode, self._random.random()):
            self._admission.bad()
            if lane.far:
                await self._failed(lane.hop, now, silent=carried.silent)
        if lane.dead(now):
            await self._give_back(lane)
        else:
            self._workers.rest(lane)

    async def _give_back(self, lane: Lane) -> None:
        """Nothing waits for a dead hop: this was the attempt of all that did."""
        for number, claim in enumerate(self._workers.take_all(lane)):
            await self._ledger.settle(self._config, claim, [no_word(r, lane.reply) for r in claim.recipients])
            await self._breathe(number)

    async def _failed(self, hop: Hop, now: float, *, silent: bool) -> None:
        """A hop out there could not be reached: is it that hop, or our own network?"""
        if not silent:
            self._answered()
            return
        if not self._outlook.silence(hop, now):
            return
        self._alert("no next hop can be reached: the network of this relay seems to be down", {"why": name_of(hop)})
        self._admission.stall()
        for lane in [lane for lane in self._lanes if lane.far]:
            for number, claim in enumerate(self._workers.take_all(lane)):
                await self._return(claim, "network", NETWORK, _NETWORK_SECONDS)
                await self._breathe(number)

    def _answered(self) -> None:
        if self._outlook.answer():
            self.pardon()

    async def _breathe(self, number: int) -> None:
        if number % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)

    def _tidy(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_tidy:
            return
        self._next_tidy = now + _TIDY_SECONDS
        self._lanes.tidy(now)
        for pause in self._pauses.forgotten(self._clock.now()):
            fields: dict[str, JsonValue] = {"destination": pause.name, "why": pause.reason}
            self._alert("a destination has been paused for days", fields)

    async def _wait(self) -> None:
        now, wake = self._clock.monotonic(), self._workers.next_wake
        until = self._next_poll if wake is None else min(self._next_poll, wake)
        seconds = max(until - now, 0.0) if self._room() > 0 else _FULL_PAUSE
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _broken(self, claim: Claim, error: Exception) -> None:
        fields = {"message": format_id(claim.message.message_id), "why": type(error).__name__}
        self._alert("an attempt to deliver failed inside the relay", fields)
