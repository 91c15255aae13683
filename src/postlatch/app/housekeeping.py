"""What the relay does by the clock: keep counters, look after certificates, the disk and the time, drop what is old."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from postlatch.accounts.changes import note_used
from postlatch.app.attesting import Attesting
from postlatch.app.certificate import expiry
from postlatch.app.clock import JumpWatch
from postlatch.app.dkim_watch import DkimWatch
from postlatch.app.limit_watch import watch_limits
from postlatch.app.right_watch import RightWatch
from postlatch.journal.logs import flush_log
from postlatch.journal.prune import prune
from postlatch.model.events import Event
from postlatch.server.tls import CertificateError
from postlatch.spool.claims import purge
from postlatch.spool.sweep import find_bodiless, hold_bodiless
from postlatch.store import counters, reports, rights
from postlatch.store.database import rest, shrink
from postlatch.store.inspection import inspect
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Operation

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

_EXPIRY_WARNING = 14 * 86_400.0  # seconds before the end
_EXPIRY_REMINDER = 86_400.0
_INSPECTION_PAUSE = 0.002  # seconds between two looks into the database: mail comes first


class Housekeeping:
    """Runs until cancelled. A failure of one task is an alert, not the end of the others."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._world = relay.world
        clock = relay.world.clock
        self._warned_at = 0.0
        self._attesting = Attesting(relay)
        self._signing_keys = DkimWatch(relay.world, relay.dkim, relay.notices.alert)
        self._rights = RightWatch(relay.world, relay.notices.alert)
        self._jumps = JumpWatch(clock.now(), clock.monotonic())

    async def run(self) -> None:
        """All tasks, each at its own pace."""
        paces: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (0.2, self.flush),
            (1.0, self.every_second),
            (10.0, self._relay.dmarc_reports.flush),
            (10.0, self._relay.tls_reports.flush),
            (10.0, self.certificates),
            (1.0, self._relay.reputation.flush),
            (1.0, self._relay.reputation.look),
            (60.0, self.every_minute),
            (10.0, self._relay.break_ins.every_ten_seconds),
            (60.0, self._relay.break_ins.every_minute),
            (60.0, self._attesting.sign),
            (60.0, self._signing_keys.every_minute),
            (60.0, self._rights.every_minute),
            (60.0, self._relay.self_audit.every_minute),
            (600.0, self._attesting.look),
            (60.0, self._relay.way_out.every_minute),
            (3600.0, self._relay.way_out.refresh),
            (3600.0, self.every_hour),
        ]
        watch_limits(self._relay)
        async with asyncio.TaskGroup() as group:
            for seconds, action in paces:
                group.create_task(self._repeat(seconds, action))
            for reports in (self._relay.dmarc_reports, self._relay.tls_reports):  # also those due while the relay was down
                group.create_task(self._repeat(600.0, reports.send_due, first=5.0))
            group.create_task(self._guarded(self._check_bodies))
            group.create_task(self._check_whole())
            group.create_task(self._guarded(self._attesting.begin))

    async def _repeat(self, seconds: float, action: Callable[[], Awaitable[None]], first: float | None = None) -> None:
        await asyncio.sleep(seconds if first is None else first)
        while True:
            await self._guarded(action)
            await asyncio.sleep(seconds)

    async def _guarded(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except WriteFailed:
            return  # the store's own state is told by the writer
        except Exception as error:  # noqa: BLE001  (whatever it is, the mail must go on and a person must know)
            self._relay.notices.alert("a periodic task of the relay failed", {"why": f"{type(error).__name__}: {error}"})

    async def flush(self) -> None:
        """Log lines that have gathered, and what was counted of floods."""
        flush_log()
        await self.flush_floods()

    async def flush_floods(self) -> None:
        """Refusals that were only counted, onto the disk: a crash may lose a fifth of a second of them."""
        aggregates = self._relay.services.refusals.floods.flush()
        for event in aggregates:
            self._relay.record(event)
        if aggregates:
            await self._world.submit([])  # now, and not with the next commit

    async def finish(self) -> None:
        """At a clean stop, when no session is left: the last counts."""
        with contextlib.suppress(WriteFailed):
            await self.flush_floods()
        await self._relay.dmarc_reports.flush()
        await self._relay.tls_reports.flush()
        await self._relay.reputation.flush()
        await self._relay.break_ins.every_ten_seconds()
        await self.save_counters()

    async def finished(self) -> None:
        """When the last event of a clean stop is on the disk: sign it."""
        await self._attesting.sign("stop")

    async def every_second(self) -> None:
        """Counters to the disk, the disk's free space, the clock."""
        world = self._world
        self._relay.disk.refresh()
        moved = self._jumps.jumped(world.clock.now(), world.clock.monotonic())
        if moved is not None:
            self._relay.record(Event("clock.jumped", world.now(), {"seconds": round(moved, 1)}))
            self._relay.notices.alert("the system clock jumped", {"seconds": round(moved, 1)})
        await self.save_counters()

    async def save_counters(self) -> None:
        """Write what the limiter and the rights have counted since the last time."""
        world = self._world
        operations = []
        rows = world.limiter.dirty()
        if rows:
            operations.append(counters.save(rows))
        used, self._relay.used_rights = self._relay.used_rights, {}
        if used:
            world.right_usage.update(used)
            operations.append(rights.record_usage(used))
        shown, world.authenticator.used = world.authenticator.used, {}
        if shown:
            world.book.note_used(shown)
            operations.append(note_used(shown))
        if not operations:
            return
        try:
            await world.submit(operations)
        except Exception:
            world.limiter.unsaved(rows, world.now())
            raise
        world.limiter.saved()

    async def certificates(self) -> None:
        """Take up renewed files; warn of what runs out."""
        watched = self._relay.certificate
        if watched is None:
            return
        try:
            if watched.refresh():
                self._relay.record(Event("tls.reloaded", self._world.now(), {"why": str(watched.certificate)}))
        except CertificateError as error:
            self._relay.notices.alert("the renewed certificate is not usable; the old one stays", {"why": str(error)})
        with contextlib.suppress(OSError, ValueError):
            ends = expiry(watched.certificate)
            for name in self._relay.ports:
                self._world.counters.set("postlatch_certificate_expiry_timestamp_seconds", ends, (name,))
            now = self._world.now()
            if ends - now < _EXPIRY_WARNING and now - self._warned_at > _EXPIRY_REMINDER:
                self._warned_at = now
                days = max(0, int((ends - now) // 86_400))
                self._relay.notices.alert(f"the certificate expires in {days} days", {"why": str(watched.certificate)})

    async def every_minute(self) -> None:
        """Empty counters; an idle WAL goes into the database's file."""
        world, now = self._world, self._world.now()
        await asyncio.to_thread(rest, world.settings.database, now)
        gone = world.limiter.prune(now)
        await world.submit([counters.delete(gone)] if gone else [])

    async def every_hour(self) -> None:
        """Old messages and journal segments; give free pages back."""
        world, now = self._world, self._world.now()
        retention = world.settings.retention
        await self._until_done(purge(now - retention.queue, 1000), 0)
        await self._until_done(reports.prune(now - world.settings.reports.keep), 0)
        await self._until_done(self._relay.reputation.pruning(), 0)
        while (step := await world.reader.read(lambda connection: prune(connection, now - retention.journal, now))) is not None:
            await world.submit([step.operation], *step.events)
            await asyncio.sleep(0.05)  # room for mail between the steps
        await self._until_done(shrink, 0)

    async def _until_done(self, operation: Operation[int], enough: int) -> None:
        """Repeat a small step, with room for mail between the steps, until what it returns is small."""
        while True:
            [left] = await self._world.submit([operation])
            if left <= enough:
                return
            await asyncio.sleep(0.1)

    async def _check_bodies(self) -> None:
        """Whether each message that waits still has its body: once, in steps, because a long queue takes a while."""
        world, after, held = self._world, 0, 0
        while True:
            step = await world.reader.read(partial(find_bodiless, after=after))
            if step.messages:
                [found] = await world.submit([hold_bodiless(step.messages)])
                held += len(found)
            if step.after is None:
                break
            after = step.after
        if held:
            self._relay.notices.alert(f"{held} messages are held: their bodies are missing from the disk")

    async def _check_whole(self) -> None:
        """The whole file, once, in the background: what headers and start-up checks cannot see."""
        found = await asyncio.to_thread(inspect, self._world.settings.database, partial(time.sleep, _INSPECTION_PAUSE))
        if found:
            advice = (
                "stop the relay and save what can be read with postlatch salvage, or put a backup back with postlatch restore"
            )
            self._relay.notices.alert("the database is damaged", {"why": f"{found}; {advice}"})
