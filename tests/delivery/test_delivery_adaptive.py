"""The dispatcher when next hops are slow, dead, paused or out of reach: who waits for whom, and what is counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from delivery_fakes import NOW, claim, delivered, message, recipient, refuse_connections, take_all, temporary
from test_delivery_dispatcher import CONFIG, MX1, OTHER, Bench, one

from postlatch.delivery.admission import BURST, START
from postlatch.delivery.config import parse_route
from postlatch.delivery.contract import Attempt, ConnectFailed, CutOff, OutboundMessage, Target
from postlatch.delivery.outlook import SILENT_HOSTS, SILENT_SECONDS
from postlatch.delivery.pace import Bounds
from postlatch.delivery.pauses import ALERT_AFTER, LOOK_SECONDS, Pause, reply_of
from postlatch.delivery.schedule import DAY, HOUR
from postlatch.spool.contract import Claim, OutcomeKind
from postlatch.spool.priority import BULK, URGENT

PAUSE = Pause("elsewhere.example", NOW, "their server is being moved")
NEW = "8.8.3.3"


async def silent(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
    raise ConnectFailed("connect timed out", silent=True)


async def hangs(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
    await asyncio.sleep(3600)
    return []


def literal(number: int, **rest: Any) -> Claim:
    """Mail for a destination of its own, by address: 9.0.x.y, which no DNS is asked for."""
    return one(f"bob@[9.0.{number // 250}.{number % 250 + 1}]", number=number + 1000, **rest)


def returned(bench: Bench) -> list[int]:
    return [part.message.message_id for part, _ in bench.spool.returned]


def state_of(bench: Bench, name: str) -> Any:
    return next(shown for shown in bench.dispatcher.destinations() if shown.name == name)


# Pauses


def test_mail_for_a_paused_destination_waits_uncounted_and_unconnected() -> None:
    bench = Bench(one(number=1), one("x@other.example", number=2))

    async def scenario() -> None:
        await bench.dispatcher.pause([PAUSE])
        await bench.until(lambda: len(bench.spool.outcomes) == 1 and bool(bench.spool.returned))

    bench.run(scenario)
    assert bench.pool.addresses == [OTHER]
    [(part, [outcome])] = bench.spool.returned
    assert part.message.message_id == 1
    assert (outcome.kind, outcome.reply) == (OutcomeKind.DEFERRED, reply_of("elsewhere.example"))
    assert NOW + LOOK_SECONDS <= (outcome.next_attempt or 0) <= NOW + 2 * LOOK_SECONDS
    assert bench.writer.names == ["delivery.delivered"]  # nothing happened to the other, so nothing is told


def test_a_pause_holds_at_once_for_what_waits_in_memory() -> None:
    gate = asyncio.Event()

    async def stuck(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        await gate.wait()
        return await take_all(target, outbound)

    bench = Bench(*(one(number=n) for n in range(20)), hops={MX1: stuck}, config=replace(CONFIG, start_per_destination=1))

    async def scenario() -> None:
        await bench.until(lambda: len(bench.pool.taken) == 1)
        await bench.dispatcher.pause([PAUSE])
        await bench.until(lambda: len(bench.spool.returned) == 19)
        assert state_of(bench, "elsewhere.example").state == "paused"
        gate.set()
        await bench.until(lambda: len(bench.spool.outcomes) == 1)
        await bench.dispatcher.pause([])
        bench.spool.fresh = [one(number=99)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 2)

    bench.run(scenario)
    assert bench.spool.kinds == [OutcomeKind.DELIVERED] * 2


def test_a_pause_of_one_domain_leaves_the_others_of_its_smarthost_alone() -> None:
    gate = asyncio.Event()

    async def stuck(target: Target, outbound: OutboundMessage) -> list[Attempt]:
        await gate.wait()
        return await take_all(target, outbound)

    config = replace(CONFIG, smarthost=parse_route("smtp://10.9.9.9:587"), start_per_destination=1)
    mail = [one(number=0), one(number=1), one("x@other.example", number=2)]
    bench = Bench(*mail, hops={"10.9.9.9": stuck}, config=config)

    async def scenario() -> None:
        await bench.until(lambda: len(bench.pool.taken) == 1)
        await bench.dispatcher.pause([PAUSE])
        await bench.until(lambda: returned(bench) == [1])
        gate.set()
        await bench.until(lambda: len(bench.spool.outcomes) == 2)

    bench.run(scenario)
    assert bench.spool.kinds == [OutcomeKind.DELIVERED] * 2


def test_what_is_too_old_ends_also_behind_a_pause() -> None:
    bench = Bench(claim(recipient(), message=message(received_at=NOW - 6 * DAY)))

    async def scenario() -> None:
        await bench.dispatcher.pause([PAUSE])
        await bench.until(lambda: len(bench.spool.outcomes) == 1)

    bench.run(scenario)
    assert (bench.spool.kinds, bench.pool.taken) == ([OutcomeKind.BOUNCED], [])
    assert [notice.kind for notice in bench.queued] == ["dsn"]


def test_a_message_behind_a_pause_is_looked_at_when_its_life_ends() -> None:
    bench = Bench(claim(recipient(warned=True), message=message(received_at=NOW - 5 * DAY + HOUR)))

    async def scenario() -> None:
        await bench.dispatcher.pause([PAUSE])
        await bench.until(lambda: len(bench.spool.returned) == 1)

    bench.run(scenario)
    assert bench.spool.returned[0][1][0].next_attempt == NOW + HOUR


def test_the_sender_hears_that_mail_behind_a_pause_is_late() -> None:
    bench = Bench(claim(recipient(), message=message(received_at=NOW - 5 * HOUR)))

    async def scenario() -> None:
        await bench.dispatcher.pause([PAUSE])
        await bench.until(lambda: len(bench.spool.returned) == 1)

    bench.run(scenario)
    assert [notice.kind for notice in bench.queued] == ["delay"]
    assert bench.spool.returned[0][1][0].warned
    assert bench.writer.names == ["message.generated"]


def test_a_forgotten_pause_is_an_alert() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.dispatcher.pause([PAUSE])
        bench.clock.advance(ALERT_AFTER)
        bench.dispatcher.wake()
        await bench.until(lambda: bool(bench.alerts.told))

    bench.run(scenario)
    fields = {"destination": "elsewhere.example", "why": "their server is being moved"}
    assert bench.alerts.told == [("a destination has been paused for days", fields)]


# Slow and dead destinations


def test_however_many_destinations_are_dead_a_proven_one_is_served() -> None:
    bench = Bench(one("x@other.example", number=1), config=replace(CONFIG, max_deliveries=16))
    bench.pool.default = hangs
    bench.pool.hops[OTHER] = take_all

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 1)
        bench.spool.fresh = [literal(number) for number in range(1500)]
        bench.dispatcher.wake()
        await bench.until(lambda: not bench.spool.fresh)
        bench.spool.fresh = [one("x@other.example", number=number) for number in range(2, 300)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 299)
        assert len(bench.pool.taken) - 299 == 8  # half of the workers, and no more, wait for hosts that nobody knows

    bench.run(scenario)


def test_destinations_that_failed_before_do_not_hold_up_new_ones() -> None:
    old = [literal(number, attempts=3) for number in range(500)]
    bench = Bench(*old, config=replace(CONFIG, max_deliveries=16))
    bench.pool.default = hangs
    bench.pool.hops[OTHER] = take_all

    async def scenario() -> None:
        await bench.until(lambda: not bench.spool.fresh)
        bench.spool.fresh = [one("x@other.example", number=1)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 1)
        assert len(bench.pool.taken) == 4 + 1

    bench.run(scenario)


def test_ten_thousand_dead_destinations_leave_room_in_memory() -> None:
    bench = Bench(*(literal(number) for number in range(10_000)), config=replace(CONFIG, max_deliveries=16))
    bench.pool.default = hangs
    bench.pool.hops[OTHER] = take_all

    async def scenario() -> None:
        for _ in range(400):
            if not bench.spool.fresh:
                break
            await asyncio.sleep(0.02)
        bench.spool.fresh = [one("x@other.example", number=1, attempts=0)]
        bench.dispatcher.wake()
        assert len(bench.dispatcher.in_hand()) < 2500
        assert len(bench.spool.returned) > 7000

    bench.run(scenario)
    assert bench.spool.outcomes == [] or bench.spool.kinds[-1] is OutcomeKind.DEFERRED  # the stop cut those off that hang


def test_several_slow_destinations_with_long_lines_do_not_delay_a_quick_one() -> None:
    slow = ["9.0.0.1", "9.0.0.2", "9.0.0.3", "9.0.0.4"]
    mail = [one(f"bob@[{address}]", number=4000 * n + k) for n, address in enumerate(slow) for k in range(4000)]
    bench = Bench(*mail, hops=dict.fromkeys(slow, hangs))

    async def scenario() -> None:
        for _ in range(500):
            if not bench.spool.fresh:
                break
            await asyncio.sleep(0.02)
        bench.spool.fresh = [one("x@other.example", number=100_000 + n) for n in range(100)]
        bench.dispatcher.wake()
        await bench.until(lambda: bench.spool.kinds.count(OutcomeKind.DELIVERED) == 100)

    bench.run(scenario)


def test_one_destination_never_has_all_workers() -> None:
    config = replace(CONFIG, max_deliveries=8, max_per_destination=100, start_per_destination=100)
    bench = Bench(one("x@other.example"), config=config)
    bench.pool.hops[OTHER] = take_all

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 1)
        bench.pool.hops[OTHER] = hangs
        bench.spool.fresh = [one("x@other.example", number=number) for number in range(2, 100)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.pool.taken) == 7)
        await asyncio.sleep(0.02)
        assert len(bench.pool.taken) == 1 + 6
        bench.spool.fresh = [one(number=500)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 2)

    bench.run(scenario)


def test_a_slow_dns_holds_up_only_its_own_domain() -> None:
    bench = Bench(one("a@slow.example", number=1), one("x@other.example", number=2))
    resolver: Any = bench.dispatcher._targets._resolver
    answers = resolver.mx

    async def mx(name: str) -> Any:
        if name == "slow.example":
            await asyncio.sleep(3600)
        return await answers(name)

    resolver.mx = mx

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 1)

    bench.run(scenario)
    assert bench.spool.kinds[0] is OutcomeKind.DELIVERED


def test_a_parked_destination_is_tried_by_one_message_and_all_go_when_it_answers() -> None:
    bench = Bench(literal(0))
    bench.pool.default = refuse_connections

    async def scenario() -> None:
        for rest in (0.0, 1.0, 5.0):
            bench.clock.advance(rest)
            bench.spool.fresh = [literal(0)]
            bench.dispatcher.wake()
            await asyncio.sleep(0.01)
        before = len(bench.pool.taken)
        bench.clock.advance(60)
        bench.pool.default = hangs
        bench.spool.fresh = [literal(0) for _ in range(50)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.pool.taken) == before + 1)
        await asyncio.sleep(0.02)
        assert len(bench.pool.taken) == before + 1
        assert state_of(bench, "[9.0.0.1]").active == 1

    bench.run(scenario)


def test_an_operator_who_asks_for_an_attempt_now_gets_one_also_at_a_parked_destination() -> None:
    bench = Bench(*(literal(0) for _ in range(3)))
    bench.pool.default = refuse_connections

    async def scenario() -> None:
        for rest in (0.0, 1.0, 5.0):
            bench.clock.advance(rest)
            bench.spool.fresh = [literal(0)]
            bench.dispatcher.wake()
            await asyncio.sleep(0.01)
        assert state_of(bench, "[9.0.0.1]").state == "parked"
        tried = len(bench.pool.taken)
        bench.pool.default = take_all
        bench.dispatcher.wake(due=True)
        bench.spool.fresh = [literal(0)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.pool.taken) == tried + 1)
        await bench.until(lambda: OutcomeKind.DELIVERED in bench.spool.kinds)

    bench.run(scenario)


# What next hops say of us


def test_a_next_hop_that_is_crowded_gets_fewer_at_once() -> None:
    async def crowded(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
        reply = "421 4.7.0 too many connections"
        return [temporary(each.number, reply=reply, enhanced="4.7.0") for each in outbound.recipients]

    bench = Bench(*(one(number=n) for n in range(100)))

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 100)
        assert state_of(bench, "elsewhere.example").concurrency == 20
        bench.pool.hops[MX1] = crowded
        bench.spool.fresh = [one(number=200)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.outcomes) == 101)
        assert state_of(bench, "elsewhere.example").concurrency == 10

    bench.run(scenario)


def test_a_next_hop_that_complains_of_speed_gets_a_rate() -> None:
    async def too_fast(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
        reply = "450 4.7.1 rate limit exceeded"
        return [temporary(each.number, reply=reply, enhanced="4.7.1") for each in outbound.recipients]

    bench = Bench(one(), hops={MX1: too_fast})

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == 1)
        assert state_of(bench, "elsewhere.example").rate == 0.5  # half of the one that was seen

    bench.run(scenario)


def test_a_configured_rate_is_kept() -> None:
    config = replace(CONFIG, destinations={"elsewhere.example": Bounds(most=5, rate=2.0)})
    bench = Bench(*(one(number=n) for n in range(6)), config=config)

    async def scenario() -> None:
        for expected in range(1, 6):
            await bench.until(lambda count=expected: len(bench.spool.outcomes) == count)  # type: ignore[misc]
            await asyncio.sleep(0.01)
            assert len(bench.spool.outcomes) == expected
            bench.clock.advance(0.5)
            bench.dispatcher.wake()

    bench.run(scenario)


def test_urgent_mail_goes_first_where_workers_are_few() -> None:
    mail = [claim(recipient(number=n), message=replace(message(n), priority=BULK if n < 50 else URGENT)) for n in range(60)]
    bench = Bench(*mail, config=replace(CONFIG, start_per_destination=1, max_per_destination=1)).run(outcomes=60)
    order = [part.message.message_id for part, _ in bench.spool.finished]
    assert max(order.index(n) for n in range(50, 60)) < 15


# Our own network


def run_down(bench: Bench) -> Any:
    async def scenario() -> None:
        for number in range(SILENT_HOSTS):
            bench.spool.fresh = [literal(number)]
            bench.dispatcher.wake()
            await bench.until(lambda: not bench.spool.fresh and bool(bench.spool.outcomes))
            await asyncio.sleep(0.01)
            bench.clock.advance(SILENT_SECONDS / (SILENT_HOSTS - 1) + 0.01)
        await bench.until(lambda: bool(bench.alerts.told))

    return scenario


def test_when_nobody_answers_it_is_our_network_and_nothing_more_is_counted() -> None:
    bench = Bench()
    bench.pool.default = silent

    async def scenario() -> None:
        await run_down(bench)()
        counted = len(bench.spool.outcomes)
        tried = len(bench.pool.taken)
        bench.spool.fresh = [literal(number) for number in range(100, 200)]
        bench.dispatcher.wake()
        await bench.until(lambda: len(bench.spool.returned) >= 98)
        assert len(bench.spool.outcomes) - counted + len(bench.pool.taken) - tried <= 4  # a probe or two
        assert {name: value for name, _, value in bench.dispatcher.gauges()}["postlatch_delivery_network_up"] == 0

    bench.run(scenario)
    assert bench.alerts.told[0][0] == "no next hop can be reached: the network of this relay seems to be down"


def test_mail_for_this_machine_goes_on_while_the_network_is_down() -> None:
    bench = Bench(hops={"127.0.0.1": take_all})
    bench.pool.default = silent

    async def scenario() -> None:
        await run_down(bench)()
        bench.spool.fresh = [claim(recipient("alice@example.com"), message=message(7))]
        bench.dispatcher.wake()
        await bench.until(lambda: OutcomeKind.DELIVERED in bench.spool.kinds)

    bench.run(scenario)


def test_one_answer_and_the_network_is_up_again() -> None:
    bench = Bench()
    bench.pool.default = silent

    async def scenario() -> None:
        await run_down(bench)()
        bench.pool.default = take_all
        bench.clock.advance(10)
        bench.spool.fresh = [literal(500)]
        bench.dispatcher.wake()
        await bench.until(lambda: OutcomeKind.DELIVERED in bench.spool.kinds)
        bench.spool.fresh = [literal(number) for number in range(600, 650)]
        bench.dispatcher.wake()
        await bench.until(lambda: bench.spool.kinds.count(OutcomeKind.DELIVERED) == 51)

    bench.run(scenario)


def test_refused_connections_are_no_sign_of_a_network_that_is_down() -> None:
    bench = Bench(*(literal(number) for number in range(50)))
    bench.pool.default = refuse_connections

    async def scenario() -> None:
        for _ in range(10):
            bench.clock.advance(2)
            bench.dispatcher.wake()
            await asyncio.sleep(0.01)

    bench.run(scenario)
    assert bench.alerts.told == []


def test_a_backlog_that_is_due_at_once_is_let_in_by_turns() -> None:
    bench = Bench()
    bench.spool.due = [one("x@other.example", number=number) for number in range(5000)]

    async def scenario() -> None:
        await bench.until(lambda: len(bench.spool.outcomes) == BURST)
        await asyncio.sleep(0.02)
        assert len(bench.spool.outcomes) == BURST
        bench.clock.advance(1.0)
        bench.dispatcher.wake()
        # Each success has raised the rate by one a second.
        await bench.until(lambda: len(bench.spool.outcomes) == BURST + START + BURST)

    bench.run(scenario)


# What may have been delivered


def test_what_a_stop_cuts_off_behind_the_dot_is_marked_as_a_possible_duplicate() -> None:
    started = asyncio.Event()

    async def in_the_dot(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
        started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise CutOff from None
        return []

    bench = Bench(claim(recipient(number=0), recipient("c@elsewhere.example", 1), message=message(5)), hops={MX1: in_the_dot})

    async def whole() -> None:
        task = asyncio.create_task(bench.dispatcher.run())
        await started.wait()
        await bench.dispatcher.stop(0.05)
        await task

    asyncio.run(whole())
    assert bench.spool.doubted == [(5, 0), (5, 1)]
    assert bench.spool.kinds == [OutcomeKind.DEFERRED] * 2


def test_a_connection_lost_behind_the_dot_marks_its_recipients_and_no_others() -> None:
    async def lost(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
        return [delivered(0), replace(temporary(1, reply="lost connection after the final dot"), doubtful=True)]

    bench = Bench(claim(recipient(number=0), recipient("c@elsewhere.example", 1), message=message(5)), hops={MX1: lost})
    bench.run(outcomes=2)
    assert bench.spool.doubted == [(5, 1)]
