from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from random import Random
from typing import Any

from delivery_fakes import NOW, Alerts, FakeSpool, FakeWriter, claim, delivered, message, permanent, recipient

from postlatch.delivery.contract import Attempt
from postlatch.delivery.outcomes import Ending, judge
from postlatch.delivery.ports import PreparedNotice
from postlatch.delivery.recorder import Recorder
from postlatch.delivery.schedule import RetryPolicy
from postlatch.model.events import Event
from postlatch.spool.contract import OutcomeKind
from postlatch.store.transaction import WriteFailed
from postlatch.testing.clock import FakeClock

CLAIM = claim(recipient(), message=message(5))


def ending(attempt: Attempt) -> Ending:
    return judge(RetryPolicy(), CLAIM.message, CLAIM.recipients[0], attempt, NOW, Random(1))


class Bench:
    def __init__(self) -> None:
        self.spool = FakeSpool()
        self.writer = FakeWriter()
        self.alerts = Alerts()
        self.committed: list[Sequence[Any]] = []
        self.dropped = 0
        clock = FakeClock()
        self.recorder = Recorder(self.spool, self.writer.submit, self.alerts, clock, retry_seconds=0.01)

    def notice(self, *results: object) -> PreparedNotice:
        """A report whose operations give ``results``, or raise those that are errors."""

        def operation(result: object) -> Any:
            def run(_connection: sqlite3.Connection) -> object:
                if isinstance(result, Exception):
                    raise result
                return result

            return run

        def drop() -> None:
            self.dropped += 1

        generated = Event("message.generated", NOW, {})
        return PreparedNotice([operation(result) for result in results], [generated], self.committed.append, drop)


def test_an_outcome_is_one_submission_with_its_event_and_frees_the_body_afterwards() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.recorder.record(CLAIM, [ending(delivered())])
        assert bench.recorder.backlog == 1
        assert bench.spool.cleaned == []
        assert await bench.recorder.drain(1)
        assert bench.recorder.backlog == 0
        assert (bench.writer.submissions, bench.writer.names) == (1, ["delivery.delivered"])
        assert bench.spool.cleaned == ["body-of-5"]

    asyncio.run(scenario())


def test_each_report_gets_the_results_of_its_own_operations() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.recorder.record(CLAIM, [ending(permanent())], [bench.notice(1, 2), bench.notice(3)])
        await bench.recorder.drain(1)
        assert bench.committed == [[1, 2], [3]]
        assert bench.writer.names == ["delivery.bounced", "message.generated", "message.generated"]

    asyncio.run(scenario())


def test_what_the_store_does_not_take_now_is_written_later() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.writer.failures = [WriteFailed("disk"), WriteFailed("disk", disk_full=True)]
        bench.recorder.record(CLAIM, [ending(permanent())], [bench.notice(1)])
        assert not await bench.recorder.drain(0.001)
        assert await bench.recorder.drain(1)
        assert bench.writer.submissions == 3
        assert (bench.spool.kinds, bench.committed, bench.dropped) == ([OutcomeKind.BOUNCED], [[1]], 0)

    asyncio.run(scenario())


def test_a_report_that_cannot_be_stored_turns_the_bounce_into_a_hold() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.recorder.record(CLAIM, [ending(permanent())], [bench.notice(sqlite3.IntegrityError("no"))])
        await bench.recorder.drain(1)
        assert bench.spool.kinds[-1] is OutcomeKind.HELD
        assert (bench.committed, bench.dropped) == ([], 1)
        assert bench.writer.names == ["delivery.held"]

    asyncio.run(scenario())


def test_an_outcome_that_can_never_be_stored_is_told_to_an_operator() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.writer.failures = [sqlite3.OperationalError("no such table")]
        bench.recorder.record(CLAIM, [ending(delivered())])
        assert await bench.recorder.drain(1)
        assert bench.alerts.told[0][1] == {"message": "0000000000005", "why": "OperationalError"}
        assert bench.spool.cleaned == []

    asyncio.run(scenario())
