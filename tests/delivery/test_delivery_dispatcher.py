"""The dispatcher against a queue, a writer and next hops in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest
from delivery_fakes import (
    HEADER,
    MAIL,
    NOW,
    Alerts,
    FakePool,
    FakeSpool,
    FakeWriter,
    Script,
    StreamBody,
    claim,
    delivered,
    local,
    message,
    permanent,
    recipient,
    refuse_connections,
    take_all,
    temporary,
)

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import Attempt, OutboundMessage, Target
from postlatch.delivery.destinations import MAX_WAITING
from postlatch.delivery.dispatcher import Dispatcher
from postlatch.delivery.guard import OwnAddresses
from postlatch.delivery.notice import Notice
from postlatch.delivery.ports import PreparedNotice
from postlatch.delivery.schedule import DAY, HOUR
from postlatch.model.envelope import Destination, GrantReason
from postlatch.model.events import Event
from postlatch.spool.contract import Claim, OutcomeKind, QueuedRecipient, SpoolError, StoredMessage
from postlatch.store.transaction import WriteFailed
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

CONFIG = DeliveryConfig(
    "mx.example.com",
    local={"example.com": parse_route("lmtp://127.0.0.1:24")},
    relay={"branch.example": parse_route("smtp://10.1.0.5:25")},
    own=OwnAddresses(listeners=frozenset({(ip_address("127.0.0.1"), 25)})),
)
ZONE: Mapping[str, Mapping[str, Any]] = {
    "elsewhere.example": {"MX": ["10 mx1.elsewhere.example", "20 mx2.elsewhere.example"]},
    "mx1.elsewhere.example": {"A": ["8.8.1.1"]},
    "mx2.elsewhere.example": {"A": ["8.8.2.2"]},
    "other.example": {"A": ["8.8.3.3"]},
    "null.example": {"MX": ["0 ."]},
    "broken.example": {"MX": "SERVFAIL"},
}
LMTP, MX1, MX2, OTHER, BRANCH = "127.0.0.1", "8.8.1.1", "8.8.2.2", "8.8.3.3", "10.1.0.5"


class Bench:
    """A dispatcher with everything around it."""

    def __init__(
        self, *claims: Claim, hops: Mapping[str, Script] | None = None, config: DeliveryConfig = CONFIG, now: float = NOW
    ) -> None:
        self.clock = FakeClock(now)
        self.spool = FakeSpool(*claims)
        self.writer = FakeWriter()
        self.pool = FakePool(hops)
        self.alerts = Alerts()
        self.notices: list[Notice] = []
        self.queued: list[Notice] = []
        self.dropped: list[Notice] = []
        self.notify_answer: Exception | str = "ready"
        self.ours = {"example.com": Destination.LOCAL, "branch.example": Destination.RELAY}
        self.revoked: set[str] = set()
        self.dispatcher = Dispatcher(
            config,
            spool=self.spool,
            pool=self.pool,
            resolver=FakeResolver(ZONE),
            clock=self.clock,
            random=Random(1),
            submit=self.writer.submit,
            notify=self.notify,
            alert=self.alerts,
            classify=lambda domain: self.ours.get(domain, Destination.FOREIGN),
            recheck=self.recheck,
            returns=self.spool.returns,
        )

    def recheck(self, one: QueuedRecipient, _message: StoredMessage) -> str | None:
        return f"{one.grant_ref} is suspended" if one.grant_ref in self.revoked else None

    async def notify(self, notice: Notice) -> PreparedNotice | None:
        self.notices.append(notice)
        if isinstance(self.notify_answer, Exception):
            raise self.notify_answer
        if self.notify_answer == "capped":
            return None

        def operation(_connection: sqlite3.Connection) -> str:
            if self.notify_answer == "unstorable":
                raise sqlite3.IntegrityError("no")
            return "stored"

        def committed(results: Sequence[Any]) -> None:
            assert results == ["stored"]
            self.queued.append(notice)

        generated = Event("message.generated", self.clock.now(), {})
        return PreparedNotice([operation], [generated], committed, lambda: self.dropped.append(notice))

    def run(self, scenario: Callable[[], Awaitable[None]] | None = None, *, outcomes: int = 1) -> Bench:
        """Run until there are so many outcomes, or while ``scenario`` lasts; then stop."""

        async def whole() -> None:
            task = asyncio.create_task(self.dispatcher.run())
            if scenario is not None:
                await scenario()
            else:
                await self.until(lambda: len(self.spool.outcomes) >= outcomes)
            await self.dispatcher.stop(1.0)
            await task

        asyncio.run(whole())
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(3000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it did not happen in three seconds")


def one(to: str = "bob@elsewhere.example", number: int = 1, **rest: Any) -> Claim:
    return claim(recipient(to, **rest), message=message(number))


async def refuse(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
    return [permanent(each.number) for each in outbound.recipients]


async def not_now(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
    return [temporary(each.number) for each in outbound.recipients]


def test_a_message_goes_to_the_first_mail_host_and_is_recorded_once() -> None:
    bench = Bench(one()).run()
    assert bench.pool.addresses == [MX1]
    [(target, outbound)] = bench.pool.taken
    assert target.host == "mx1.elsewhere.example"
    assert str(outbound.sender) == "alice@example.com"
    assert outbound.body.data == MAIL
    assert bench.spool.kinds == [OutcomeKind.DELIVERED]
    assert bench.writer.names == ["delivery.delivered"]
    assert bench.spool.cleaned == ["body-of-1"]
    assert bench.alerts.told == []


def test_the_next_host_is_tried_if_the_first_does_not_answer_and_is_preferred_afterwards() -> None:
    bench = Bench(one(number=1), hops={MX1: refuse_connections})

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 1)
        bench.spool.fresh = [one(number=2)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 2)

    bench.run(scenario)
    assert bench.pool.addresses == [MX1, MX2, MX2]
    assert bench.spool.kinds == [OutcomeKind.DELIVERED] * 2


def test_recipients_of_one_message_share_a_transaction_by_next_hop() -> None:
    people = (
        recipient("a@elsewhere.example", 0),
        recipient("b@other.example", 1),
        recipient("c@elsewhere.example", 2),
        recipient("d@branch.example", 3, destination=Destination.RELAY, reason=GrantReason.RELAY_DOMAIN),
        local("e@example.com", 4),
    )
    bench = Bench(claim(*people, message=message())).run(outcomes=5)
    groups = {
        address: [r.number for r in sent.recipients]
        for (_, sent), address in zip(bench.pool.taken, bench.pool.addresses, strict=True)
    }
    assert groups == {MX1: [0, 2], OTHER: [1], BRANCH: [3], LMTP: [4]}
    assert sorted(outcome.number for outcome in bench.spool.outcomes) == [0, 1, 2, 3, 4]
    assert all({r.number for r in part.recipients} == {o.number for o in outs} for part, outs in bench.spool.finished)


def test_a_slow_destination_does_not_delay_the_outcomes_of_the_others() -> None:
    async def never(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
        await asyncio.sleep(3600)
        return []

    people = (recipient("a@elsewhere.example", 0), recipient("b@other.example", 1))
    bench = Bench(claim(*people, message=message()), hops={MX1: never})

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 1)

    bench.run(scenario)
    assert bench.spool.outcomes[0].number == 1


def test_each_recipient_gets_the_next_hops_own_answer() -> None:
    async def mixed(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
        answers = [delivered(0), temporary(1), permanent(2)]
        return answers[: len(outbound.recipients)]

    people = [recipient(f"u{number}@elsewhere.example", number) for number in range(4)]
    bench = Bench(claim(*people, message=message()), hops={MX1: mixed}).run(outcomes=4)
    assert bench.spool.kinds == [OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.BOUNCED, OutcomeKind.DEFERRED]
    assert bench.spool.outcomes[3].reply.startswith("451 4.5.0")  # silence is not delivery


def test_a_failure_and_its_report_are_one_transaction() -> None:
    bench = Bench(one(), hops={MX1: refuse}).run()
    [notice] = bench.queued
    assert (notice.kind, str(notice.recipient), notice.account) == ("dsn", "alice@example.com", "alice@example.com")
    assert HEADER in notice.content
    assert bench.writer.submissions == 2  # the poll, and this
    assert bench.writer.names == ["delivery.bounced", "message.generated"]


def test_a_strangers_failure_is_held_with_an_alert_and_no_report() -> None:
    bench = Bench(claim(local(), message=message(sender="forged@victim.example", account="")), hops={LMTP: refuse}).run()
    assert bench.spool.kinds == [OutcomeKind.HELD]
    assert bench.notices == []
    [(why, fields)] = bench.alerts.told
    assert why.startswith("a message is held")
    assert fields["recipient"] == "alice@example.com"


def test_an_alert_that_cannot_be_delivered_raises_no_alert() -> None:
    ours = message(sender=None, kind="alert")
    bench = Bench(claim(recipient(reason=GrantReason.NOTIFICATION), message=ours), hops={MX1: refuse}).run()
    assert bench.spool.kinds == [OutcomeKind.HELD]
    assert bench.alerts.told == []


def test_a_report_that_may_not_be_sent_means_held_not_bounced() -> None:
    bench = Bench(one(), hops={MX1: refuse})
    bench.notify_answer = "capped"
    bench.run()
    assert bench.spool.kinds == [OutcomeKind.HELD]
    assert len(bench.alerts.told) == 1


def test_a_report_that_cannot_be_made_leaves_the_failure_open() -> None:
    bench = Bench(one(), hops={MX1: refuse})
    bench.notify_answer = OSError("no space for a draft")
    bench.run()
    [outcome] = bench.spool.outcomes
    assert (outcome.kind, outcome.next_attempt) == (OutcomeKind.DEFERRED, NOW + 300)
    assert bench.alerts.told[0][0] == "a delivery report could not be made"


def test_a_report_that_cannot_be_made_for_days_means_held() -> None:
    old = claim(recipient(), message=message(received_at=NOW - 6 * DAY))
    bench = Bench(old, hops={MX1: not_now})
    bench.notify_answer = OSError("no space for a draft")
    bench.run()
    assert bench.spool.kinds == [OutcomeKind.HELD]


def test_a_success_is_recorded_even_if_its_report_cannot_be_made() -> None:
    bench = Bench(one(notify=("SUCCESS",)))
    bench.notify_answer = OSError("no space for a draft")
    bench.run()
    assert bench.spool.kinds == [OutcomeKind.DELIVERED]


def test_a_report_that_cannot_be_stored_means_held() -> None:
    bench = Bench(one(), hops={MX1: refuse})
    bench.notify_answer = "unstorable"
    bench.run(outcomes=2)  # the first was rolled back by a real database
    assert bench.spool.kinds[-1] is OutcomeKind.HELD
    assert bench.dropped == bench.notices


def test_a_late_message_is_reported_once() -> None:
    late = claim(recipient(attempts=6), message=message(received_at=NOW - 5 * HOUR))
    bench = Bench(late, hops={MX1: not_now}).run()
    assert [notice.kind for notice in bench.queued] == ["delay"]
    assert bench.spool.outcomes[0].warned


def test_a_delay_notice_that_could_not_be_made_stays_due() -> None:
    late = claim(recipient(attempts=6), message=message(received_at=NOW - 5 * HOUR))
    bench = Bench(late, hops={MX1: not_now})
    bench.notify_answer = OSError("no")
    bench.run()
    assert (bench.spool.kinds, bench.spool.outcomes[0].warned) == ([OutcomeKind.DEFERRED], False)


@pytest.mark.parametrize(
    ("domain", "kind", "reply"),
    [
        ("null.example", OutcomeKind.BOUNCED, "556 5.1.10"),
        ("missing.example", OutcomeKind.BOUNCED, "550 5.1.2"),
        ("broken.example", OutcomeKind.DEFERRED, "451 4.4.3"),
        ("[10.0.0.1]", OutcomeKind.BOUNCED, "550 5.4.4"),
    ],
)
def test_what_the_dns_says_decides_between_bounce_and_delay(domain: str, kind: OutcomeKind, reply: str) -> None:
    bench = Bench(one(f"bob@{domain}")).run()
    [outcome] = bench.spool.outcomes
    assert outcome.kind is kind
    assert outcome.reply.startswith(reply)
    assert bench.pool.taken == []


def test_what_has_come_due_is_taken_from_the_database() -> None:
    bench = Bench()
    bench.spool.due = [one(number=number) for number in range(600)]
    bench.run(outcomes=600)
    assert len(bench.spool.polls) == 3  # full batches are followed by the next at once


def test_the_database_is_asked_again_after_the_poll_time_or_when_an_operator_says_so() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.polls) == 1)
        bench.dispatcher.wake()
        await asyncio.sleep(0.01)
        assert len(bench.spool.polls) == 1
        bench.clock.advance(CONFIG.poll_seconds)
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.polls) == 2)
        bench.dispatcher.wake(due=True)
        await bench.until(lambda: len(bench.spool.polls) == 3)

    bench.run(scenario)


def test_it_polls_by_itself() -> None:
    bench = Bench(config=replace(CONFIG, poll_seconds=0.01))

    async def scenario() -> None:
        for expected in range(1, 4):
            await bench.until(lambda count=expected: len(bench.spool.polls) >= count)  # type: ignore[misc]
            bench.clock.advance(1)

    bench.run(scenario)


def test_a_store_that_fails_stops_nothing() -> None:
    bench = Bench()
    bench.writer.failures = [WriteFailed("disk")]

    async def scenario() -> None:
        await bench.until(lambda: bench.writer.submissions == 1)
        bench.spool.due = [one()]
        bench.dispatcher.wake(due=True)
        await bench.until(lambda: len(bench.spool.outcomes) == 1)

    bench.run(scenario)


def test_what_an_unknown_commit_may_have_claimed_becomes_due_again_but_not_what_is_in_hand() -> None:
    gate = asyncio.Event()

    async def stuck(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        await gate.wait()
        return await take_all(target, outbound)

    config = replace(CONFIG, start_per_destination=1, max_per_destination=1)
    bench = Bench(*(one(number=n) for n in range(3)), hops={MX1: stuck}, config=config)

    async def scenario() -> None:
        await bench.until(lambda: len(bench.pool.taken) == 1)
        bench.dispatcher.recover()
        await bench.until(lambda: len(bench.spool.recovered) == 1)
        assert sorted(bench.spool.recovered[0]) == [0, 1, 2]
        bench.writer.failures = [WriteFailed("disk", unknown=True)]
        bench.dispatcher.wake(due=True)
        await bench.until(lambda: not bench.writer.failures)
        assert len(bench.spool.recovered) == 1
        bench.dispatcher.wake(due=True)  # the next poll: first recover, then claim
        await bench.until(lambda: len(bench.spool.recovered) == 2)
        gate.set()
        await bench.until(lambda: len(bench.spool.outcomes) == 3)
        bench.dispatcher.recover()
        await bench.until(lambda: len(bench.spool.recovered) == 3)
        assert bench.spool.recovered[2] == []

    bench.run(scenario)


def test_a_right_that_ends_while_mail_waits_holds_it() -> None:
    bench = Bench(one(number=1), one(number=2), config=replace(CONFIG, start_per_destination=1, max_per_destination=1))

    async def suspend(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
        bench.revoked.add("alice@example.com")
        return await take_all(_target, outbound)

    bench.pool.hops[MX1] = suspend
    bench.run(outcomes=2)
    assert bench.spool.kinds == [OutcomeKind.DELIVERED, OutcomeKind.HELD]
    assert bench.spool.outcomes[1].reply == "451 4.7.0 held: alice@example.com is suspended"
    assert "suspended" in bench.alerts.told[0][0]


def test_mail_for_a_domain_that_is_no_longer_ours_is_held() -> None:
    bench = Bench(claim(local("x@gone.example"), message=message(sender="s@stranger.example")))
    bench.run()
    assert (bench.spool.kinds, bench.pool.taken) == ([OutcomeKind.HELD], [])


def test_a_reload_moves_what_waits_to_its_new_route() -> None:
    bench = Bench(one(number=1), one(number=2), config=replace(CONFIG, start_per_destination=1, max_per_destination=1))

    async def reload(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
        bench.dispatcher.reload(replace(CONFIG, smarthost=parse_route("smtp://10.9.9.9:587")))
        return await take_all(_target, outbound)

    bench.pool.hops[MX1] = reload
    bench.run(outcomes=2)
    assert bench.pool.addresses == [MX1, "10.9.9.9"]


def test_a_smarthost_by_address_needs_no_dns() -> None:
    bench = Bench(one("bob@missing.example"), config=replace(CONFIG, smarthost=parse_route("smtp://10.9.9.9:587"))).run()
    assert bench.pool.addresses == ["10.9.9.9"]
    assert bench.spool.kinds == [OutcomeKind.DELIVERED]


def test_concurrency_at_one_destination_is_bounded_and_grows_with_success() -> None:
    running, seen = 0, []

    async def slow(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        nonlocal running
        running += 1
        seen.append(running)
        await asyncio.sleep(0.001)
        running -= 1
        return await take_all(target, outbound)

    Bench(*(one(number=n) for n in range(200)), hops={MX1: slow}).run(outcomes=200)
    assert max(seen[:5]) == 5
    assert max(seen) == 20


def test_all_destinations_together_are_bounded_and_take_turns() -> None:
    running, most, order = 0, 0, []

    async def slow(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(target.address)
        await asyncio.sleep(0.001)
        running -= 1
        return await take_all(target, outbound)

    claims = [one(number=n) for n in range(60)] + [one("x@other.example", number=100)]
    bench = Bench(*claims, config=replace(CONFIG, max_deliveries=3))
    bench.pool.default = slow
    bench.run(outcomes=61)
    assert most == 3
    assert order.index(OTHER) < 10  # not behind all of the first destination's


def test_a_dead_destination_gives_its_messages_back_and_is_left_alone() -> None:
    hops = {MX1: refuse_connections, MX2: refuse_connections}
    bench = Bench(*(one(number=n) for n in range(40)), hops=hops, config=replace(CONFIG, start_per_destination=1))

    async def scenario() -> None:
        for rest in (0.0, 1.0, 5.0):  # three failures in a row, each after a rest
            bench.clock.advance(rest)
            bench.dispatcher.wake()
            await asyncio.sleep(0.01)
        await bench.until(lambda: len(bench.spool.outcomes) == 40)
        tried = len(bench.pool.taken)
        bench.spool.fresh = [one(number=99), one("x@other.example", number=100)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 42)
        assert len(bench.pool.taken) == tried + 1  # only the other destination was tried
        bench.clock.advance(60)
        bench.pool.hops.clear()
        bench.spool.fresh = [one(number=101)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 43)

    bench.run(scenario)
    assert bench.spool.kinds[:40] == [OutcomeKind.DEFERRED] * 40
    assert all(outcome.reply == "421 4.4.1 connection refused" for outcome in bench.spool.outcomes[:40])
    assert len(bench.pool.taken) == 3 * 2 + 1 + 1
    assert bench.spool.kinds[-1] is OutcomeKind.DELIVERED


def test_a_destination_that_comes_back_after_a_moment_is_pressed_on_with() -> None:
    bench = Bench(*(one(number=n) for n in range(30)), hops={MX1: refuse_connections, MX2: refuse_connections})

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) >= 1)
        bench.pool.hops.clear()
        await asyncio.sleep(0.01)
        before = len(bench.spool.outcomes)
        assert before <= 5  # those that were under way; the others wait
        bench.clock.advance(1.0)
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 30)

    bench.run(scenario)
    assert bench.spool.kinds.count(OutcomeKind.DELIVERED) >= 25


def test_a_destination_that_is_too_slow_does_not_fill_the_memory() -> None:
    gate = asyncio.Event()

    async def stuck(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        await gate.wait()
        return await take_all(target, outbound)

    bench = Bench(*(one(number=n) for n in range(MAX_WAITING + 100)), hops={MX1: stuck})

    async def scenario() -> None:
        await bench.until(lambda: not bench.spool.fresh)
        await bench.until(lambda: len(bench.spool.returned) >= 90)
        back = [outcome for _, outcomes in bench.spool.returned for outcome in outcomes]
        assert all(NOW + 60 <= (o.next_attempt or 0) <= NOW + 120 for o in back)
        assert bench.spool.outcomes == []  # nothing was attempted
        bench.spool.fresh = [one("x@other.example", number=9999)]
        bench.dispatcher.wake()
        await bench.until(lambda: OutcomeKind.DELIVERED in bench.spool.kinds)
        gate.set()

    bench.run(scenario)


def test_a_stop_waits_for_what_runs_and_begins_nothing() -> None:
    started = asyncio.Event()

    async def slow(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        started.set()
        await asyncio.sleep(0.05)
        return await take_all(target, outbound)

    claims = [one(number=n) for n in range(10)]
    bench = Bench(*claims, hops={MX1: slow}, config=replace(CONFIG, start_per_destination=2, max_per_destination=2))

    async def scenario() -> None:
        await started.wait()

    bench.run(scenario)
    assert bench.spool.kinds == [OutcomeKind.DELIVERED] * 2


def test_a_stop_cuts_off_what_takes_too_long_and_says_so() -> None:
    started = asyncio.Event()

    async def stuck(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
        started.set()
        await asyncio.sleep(3600)
        return []

    bench = Bench(one(), hops={MX1: stuck})

    async def whole() -> None:
        task = asyncio.create_task(bench.dispatcher.run())
        await started.wait()
        await bench.dispatcher.stop(0.05)
        await task

    asyncio.run(whole())
    [outcome] = bench.spool.outcomes
    assert (outcome.kind, outcome.next_attempt) == (OutcomeKind.DEFERRED, NOW)
    assert outcome.reply.startswith("451 4.3.2")


def test_a_bug_in_one_attempt_defers_it_and_tells_an_operator() -> None:
    async def bug(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
        raise ZeroDivisionError

    bench = Bench(one(), hops={MX1: bug}).run()
    assert bench.spool.kinds == [OutcomeKind.DEFERRED]
    assert bench.alerts.told[0][1]["why"] == "ZeroDivisionError"


def test_a_body_that_cannot_be_read_now_is_tried_again() -> None:
    bench = Bench(one(number=5))
    bench.spool.bodies[5] = TimeoutError("the reader is busy")
    bench.run()
    assert (bench.spool.kinds, bench.pool.taken) == ([OutcomeKind.DEFERRED], [])
    assert len(bench.alerts.told) == 1


def test_a_damaged_body_is_held_for_an_operator_and_never_sent() -> None:
    bench = Bench(claim(recipient(), recipient("b@elsewhere.example", 1), message=message(5)))
    bench.spool.bodies[5] = SpoolError("the body of this message is damaged")
    bench.run(outcomes=2)
    assert (bench.spool.kinds, bench.pool.taken) == ([OutcomeKind.HELD] * 2, [])
    assert bench.alerts.told[0][0] == "a message is held: the body of this message is damaged"


def test_a_policy_that_raises_lets_nothing_leave() -> None:
    bench = Bench(one())
    bench.ours = None  # type: ignore[assignment]
    bench.run()
    assert (bench.spool.kinds, bench.pool.taken) == ([OutcomeKind.DEFERRED], [])


@pytest.mark.parametrize("held", [False, True])
def test_one_message_that_cannot_be_settled_stops_no_other(held: bool) -> None:
    bench = Bench(one(number=1), one("x@other.example", number=2))
    bench.spool.refuses = {1}
    if held:
        bench.spool.fresh[0] = claim(local("x@gone.example"), message=message(1))
    bench.run()
    assert [part.message.message_id for part, _ in bench.spool.finished] == [2]
    assert bench.alerts.told[-1][1] == {"message": "0000000000001", "why": "SpoolError"}


def test_local_mail_is_written_into_its_maildir(tmp_path: Path) -> None:
    config = replace(CONFIG, local={"example.com": parse_route(f"maildir:{tmp_path}")})
    bench = Bench(claim(local(), message=message(sender="s@stranger.example")), config=config).run()
    assert bench.spool.kinds == [OutcomeKind.DELIVERED]
    [file] = (tmp_path / "example.com" / "alice" / "new").iterdir()
    assert file.read_bytes().startswith(b"Return-Path: <s@stranger.example>\nDelivered-To: alice@example.com\n")


def test_mail_that_was_in_this_mailbox_before_is_a_loop() -> None:
    body = b"Delivered-To: alice@example.com\r\n" + MAIL
    looping = claim(local(), local("bob@example.com", 1), message=message(sender="s@stranger.example"), body=body)
    bench = Bench(looping).run(outcomes=2)
    assert bench.spool.kinds == [OutcomeKind.HELD, OutcomeKind.DELIVERED]
    assert bench.spool.outcomes[0].reply.startswith("554 5.4.6")
    [(_, sent)] = bench.pool.taken
    assert [each.number for each in sent.recipients] == [1]


def test_mail_that_comes_back_through_an_alias_again_and_again_is_a_loop() -> None:
    stamps = b"Received: from x by mx.example.com; now\r\n" * 11
    looping = claim(local("bob@example.com", original="info@example.com"), message=message(), body=stamps + MAIL)
    bench = Bench(looping, config=replace(CONFIG, local={"example.com": parse_route("smtp://10.0.0.7:25")})).run()
    assert bench.spool.kinds == [OutcomeKind.HELD]
    direct = claim(local("bob@example.com"), message=message(), body=stamps + MAIL)
    assert Bench(direct).run().spool.kinds == [OutcomeKind.DELIVERED]


def test_an_expanded_alias_tells_the_next_hop_whom_the_sender_meant() -> None:
    people = (
        local("bob@example.com", 0, original="info@example.com"),
        local("eve@example.com", 1, original="info@example.com", orcpt="rfc822;given@else.example"),
        local("joe@example.com", 2, original="JOE@example.com"),
        local("kim@example.com", 3, original="käse+x@example.com"),
    )
    bench = Bench(claim(*people, message=message())).run(outcomes=4)
    [(_, sent)] = bench.pool.taken
    assert [each.params.orcpt for each in sent.recipients] == [
        "rfc822;info@example.com",
        "rfc822;given@else.example",
        "",
        "utf-8;k\\x{E4}se\\x{2B}x@example.com",
    ]


def test_the_next_hop_is_told_what_the_message_needs() -> None:
    needs = replace(message(), eight_bit=True, utf8_headers=True)
    bench = Bench(claim(recipient(), message=needs), claim(recipient(), message=message())).run(outcomes=2)
    assert {(sent.eight_bit, sent.utf8_headers) for _, sent in bench.pool.taken} == {(True, True), (False, False)}


def test_a_large_message_is_passed_on_as_it_is_and_its_report_has_its_headers() -> None:
    bench = Bench(one(number=5), hops={MX1: refuse})
    bench.spool.bodies[5] = StreamBody([HEADER, b"\r\n", b"x" * 1000])
    bench.run()
    [(_, sent)] = bench.pool.taken
    assert sent.body is bench.spool.bodies[5]
    assert HEADER in bench.notices[0].content


def test_a_success_notice_is_left_to_a_next_hop_that_took_it_over() -> None:
    async def takes_dsn(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
        return [delivered(each.number, dsn_passed=True) for each in outbound.recipients]

    assert Bench(one(notify=("SUCCESS",)), hops={MX1: takes_dsn}).run().notices == []
    [notice] = Bench(one(notify=("SUCCESS",))).run().notices
    assert b"Action: relayed" in notice.content
    ours = claim(local(notify=("SUCCESS",)), message=message())
    mine = claim(recipient("x@example.com", destination=Destination.LOCAL, notify=("SUCCESS",)), message=message())
    assert Bench(ours).run().notices == []
    [notice] = Bench(mine).run().notices
    assert b"Action: delivered" in notice.content
