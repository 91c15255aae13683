"""Writes outcomes down, and does not give up: what was delivered but not recorded would be delivered again.

Nobody waits for a commit here. The next delivery starts while the last one's outcome is on its way to the disk, and the
dispatcher takes no new work when too many are (`backlog`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from postlatch.delivery.outcomes import Ending, event, hold
from postlatch.delivery.ports import Alert, PreparedNotice, Returns, SpoolPort, Submit
from postlatch.model.clock import Clock
from postlatch.model.ids import format_id
from postlatch.spool.contract import Claim, OutcomeKind
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Operation

RETRY_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Entry:
    number: int
    claim: Claim
    endings: Sequence[Ending]
    notices: Sequence[PreparedNotice]
    counted: bool = True


class Recorder:
    """Submits the endings of claims, with the reports that belong to them, each claim as one transaction."""

    def __init__(
        self,
        spool: SpoolPort,
        submit: Submit,
        alert: Alert,
        clock: Clock,
        *,
        returns: Returns | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._spool = spool
        self._returns = returns or Returns()
        self._submit = submit
        self._alert = alert
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._pending: dict[int, Claim] = {}
        self._numbers = count()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def backlog(self) -> int:
        """How many claims are not on the disk yet."""
        return len(self._pending)

    @property
    def pending(self) -> Iterable[Claim]:
        """The claims that are not on the disk yet."""
        return self._pending.values()

    def record(
        self, claim: Claim, endings: Sequence[Ending], notices: Sequence[PreparedNotice] = (), *, counted: bool = True
    ) -> None:
        """Write ``endings`` of recipients of ``claim``; returns at once.

        Not ``counted``: nothing was attempted, all of them are deferred, and there is nothing to tell the journal.
        """
        number = next(self._numbers)
        self._pending[number] = claim
        self._drained.clear()
        self._write(_Entry(number, claim, endings, notices, counted))

    async def drain(self, seconds: float) -> bool:
        """Wait until everything is written; False if it was not in ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    def _write(self, entry: _Entry) -> None:
        now = self._clock.now()
        outcomes = [ending.outcome for ending in entry.endings]
        if entry.counted:
            events = [event(entry.claim.message, ending, now) for ending in entry.endings]
            operations: list[Operation[Any]] = [self._spool.finish(entry.claim, outcomes)]
        else:
            events, operations = [], [self._returns.put_back(entry.claim, outcomes)]
        for notice in entry.notices:
            operations += notice.operations
            events += notice.events
        if any_doubtful(entry.endings):
            doubtful = [ending.recipient.number for ending in entry.endings if ending.attempt.doubtful]
            operations.append(self._returns.doubt(entry.claim, doubtful))
        self._submit(operations, events).add_done_callback(lambda future: self._written(entry, future))

    def _written(self, entry: _Entry, future: asyncio.Future[list[Any]]) -> None:
        failure = asyncio.CancelledError() if future.cancelled() else future.exception()
        if failure is None:
            self._committed(entry, future.result())
        elif isinstance(failure, WriteFailed):
            asyncio.get_running_loop().call_later(self._retry_seconds, self._write, entry)
        elif entry.notices:
            self._write(self._without_notices(entry))
        else:
            self._alert(
                "an outcome could not be recorded; its recipients are tried again after a restart",
                {"message": format_id(entry.claim.message.message_id), "why": type(failure).__name__},
            )
            self._done(entry)

    def _committed(self, entry: _Entry, results: Sequence[Any]) -> None:
        self._spool.cleanup(results[0])
        taken = 1
        for notice in entry.notices:
            notice.committed(results[taken : taken + len(notice.operations)])
            taken += len(notice.operations)
        self._done(entry)

    def _without_notices(self, entry: _Entry) -> _Entry:
        """The report cannot be stored, so the sender is not told, so this is not a bounce: an operator must look."""
        for notice in entry.notices:
            notice.dropped()
        return _Entry(entry.number, entry.claim, [unreported(ending) for ending in entry.endings], (), entry.counted)

    def _done(self, entry: _Entry) -> None:
        del self._pending[entry.number]
        if not self._pending:
            self._drained.set()


def any_doubtful(endings: Sequence[Ending]) -> bool:
    """True if one of them may have the message although nobody has said so."""
    for ending in endings:  # noqa: SIM110  a generator a message costs more than the loop
        if ending.attempt.doubtful:
            return True
    return False


def unreported(ending: Ending) -> Ending:
    """The same ending where its report cannot be sent: what would have bounced is held; all else stands."""
    if ending.outcome.kind is not OutcomeKind.BOUNCED:
        return ending
    return hold(
        ending.recipient, ending.attempt, "it failed for good, and the report to its sender could not be sent", ending.expired
    )
