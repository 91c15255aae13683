"""Reports to others, of either kind: counted by the day, kept on the disk, told once a day to those who ask for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, ClassVar, Final, Generic, TypeVar

from postlatch.app.notices import Notices
from postlatch.delivery.ports import PreparedNotice, Submit
from postlatch.journal.counters import Counters
from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.senderauth.reports.compose import DAY
from postlatch.settings.tree import Settings
from postlatch.store.daily import DailyTable
from postlatch.store.reader import Query
from postlatch.store.transaction import WriteFailed

MAX_GATHERED: Final = 20_000  # that differ, between two writes
MAX_RECIPIENTS: Final = 10  # of one report
METRIC: Final = "postlatch_reports_total"
_RETRY: Final = 3600.0  # seconds until a domain is asked again whose DNS did not answer
_STEP: Final = 1000  # domains looked at in one round

Key = TypeVar("Key", bound=Hashable)


class DailyReports(ABC, Generic[Key]):
    """Run ``flush`` every few seconds and ``send_due`` every few minutes. Only with ``reports.send``.

    ``jitter``: seconds after midnight UTC from which reports are sent, so that not all the world sends them at once.
    """

    kind: ClassVar[str]
    table: ClassVar[DailyTable]

    def __init__(
        self,
        *,
        clock: Clock,
        settings: Callable[[], Settings],
        resolver: Resolver,
        notices: Notices,
        submit: Submit,
        read: Callable[[Query[Any]], Awaitable[Any]],
        counters: Counters,
        jitter: float,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._resolver = resolver
        self._notices = notices
        self._submit = submit
        self._read = read
        self._counters = counters
        self._jitter = jitter
        self._gathered: dict[Key, int] = {}
        self._later: dict[tuple[int, str], float] = {}

    @abstractmethod
    def _entry(self, key: Key, count: int) -> tuple[Any, ...]:
        """The row of the table."""

    @abstractmethod
    async def _report(self, day: int, domain: str) -> bool:
        """True if nothing more is to be done about that day."""

    def _gather(self, key: Key) -> None:
        """Count one more."""
        if key in self._gathered or len(self._gathered) < MAX_GATHERED:
            self._gathered[key] = self._gathered.get(key, 0) + 1

    async def flush(self) -> None:
        """Write what was counted; what a failing disk does not take is kept for the next time."""
        gathered, self._gathered = self._gathered, {}
        if not gathered:
            return
        try:
            await self._submit([self.table.add([self._entry(key, count) for key, count in gathered.items()])])
        except WriteFailed as error:
            if not error.unknown:  # else it may be there, and counting twice is worse than once too little
                for key, count in gathered.items():
                    self._gathered[key] = self._gathered.get(key, 0) + count

    async def send_due(self) -> None:
        """Report the days that are over."""
        now = self._clock.now()
        today = int(now // DAY)
        if not self._settings().reports.send or now < today * DAY + self._jitter:
            return
        found: list[tuple[int, str]] = await self._read(partial(self.table.waiting, before=today))
        self._later = {place: at for place, at in self._later.items() if at > now}
        failure: Exception | None = None
        for day, domain in [place for place in found if place not in self._later][:_STEP]:
            self._later[day, domain] = now + _RETRY
            try:
                done = await self._report(day, domain)
            except Exception as error:  # noqa: BLE001 - one domain must not keep all others waiting; it is told at the end
                failure = error
                continue
            if done:
                del self._later[day, domain]
                await self._submit([self.table.forget(day, domain)])
        if failure is not None:
            raise failure

    async def _had(self, day: int, domain: str) -> frozenset[str]:
        """Who has that report already."""
        had: frozenset[str] = await self._read(partial(self.table.sent_to, day=day, domain=domain))
        return had

    async def _queue(self, day: int, domain: str, address: Address, prepared: PreparedNotice | None) -> bool:
        """One recipient's copy, queued in one transaction with the note that it was. None: a guard held it back, for good."""
        if prepared is None:
            return True
        noted = self.table.note_sent(day, domain, address.text, self._clock.now())
        try:
            results = await self._submit([*prepared.operations, noted], prepared.events)
        except WriteFailed:
            prepared.dropped()
            return False
        prepared.committed(results)
        self._count("sent")
        return True

    def _count(self, result: str) -> None:
        self._counters.inc(METRIC, (self.kind, result))
