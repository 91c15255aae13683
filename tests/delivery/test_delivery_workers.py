from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from delivery_fakes import claim, message, recipient

from postlatch.delivery import workers
from postlatch.delivery.destinations import Lane
from postlatch.delivery.pace import Bounds
from postlatch.delivery.routes import UseMx
from postlatch.delivery.workers import Workers
from postlatch.spool.contract import Claim
from postlatch.spool.priority import BULK, NORMAL, URGENT
from postlatch.testing.clock import FakeClock


class Bench:
    """Workers whose attempts wait at a gate and are noted in order."""

    def __init__(self, most: int = 10) -> None:
        self.clock = FakeClock()
        self.gate = asyncio.Event()
        self.gate.set()
        self.done: list[tuple[str, Claim]] = []
        self.workers = Workers(self.attempt, self.clock, most)

    async def attempt(self, lane: Lane, one: Claim) -> None:
        await self.gate.wait()
        assert isinstance(lane.hop, UseMx)
        self.done.append((lane.hop.domain, one))

    def lane(self, domain: str = "a.example", limit: int = 5) -> Lane:
        made = Lane(UseMx(domain), Bounds(limit, limit))
        made.succeeded(0.0)
        return made

    def put(self, lane: Lane, numbers: Sequence[int], body: bytes | None = None, priority: int = NORMAL) -> None:
        for number in numbers:
            self.workers.put(lane, claim(recipient(), message=replace(message(number), priority=priority), body=body))

    async def idle(self) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)
            if not self.workers.load:
                return
        raise AssertionError("still at work")


def test_a_lane_has_no_more_workers_than_its_limit_and_leaves_none_behind() -> None:
    async def scenario() -> None:
        bench = Bench()
        lane = bench.lane(limit=3)
        bench.put(lane, range(20))
        assert lane.running == 3
        await bench.idle()
        assert (lane.running, len(bench.done)) == (0, 20)
        assert [one.message.message_id for _, one in bench.done] == list(range(20))

    asyncio.run(scenario())


def test_when_all_are_busy_the_lanes_take_turns() -> None:
    async def scenario() -> None:
        bench = Bench(most=1)
        first, second, third = (bench.lane(f"{name}.example") for name in "abc")
        for lane in (first, second, third):
            bench.put(lane, range(3))
        await bench.idle()
        order = [domain[0] for domain, _ in bench.done]
        assert order[:4] == list("aabc")  # the first got in line again before the others came
        assert sorted(order) == list("aaabbbccc")

    asyncio.run(scenario())


def test_a_lane_that_rests_is_woken_when_told() -> None:
    async def scenario() -> None:
        bench = Bench()
        lane = bench.lane()
        lane.failed(bench.clock.monotonic(), "421 no", lane.episode)
        bench.put(lane, range(4))
        await asyncio.sleep(0)
        assert (lane.running, bench.done) == (0, [])
        bench.clock.advance(1)
        bench.workers.start(lane)
        await bench.idle()
        assert len(bench.done) == 4

    asyncio.run(scenario())


def test_bodies_above_the_budget_are_read_again_later() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.gate.clear()
        lane = bench.lane(limit=1)
        big = b"x" * (workers.MAX_BODY_OCTETS // 2)
        bench.put(lane, range(4), big)
        assert [one.body is not None for one in lane.line] == [True, True, False, False]
        bench.gate.set()
        await bench.idle()
        bench.gate.clear()
        bench.put(lane, range(2), big)  # what has been delivered counts no more
        assert [one.body is not None for one in lane.line] == [True, True]
        await bench.workers.stop(0)

    asyncio.run(scenario())


def test_what_waits_can_be_taken_back() -> None:
    async def scenario() -> None:
        bench = Bench()
        lane = bench.lane()
        lane.failed(bench.clock.monotonic(), "421 no", lane.episode)
        bench.put(lane, range(4), b"body")
        assert bench.workers.load == 4
        assert len(bench.workers.take_all(lane)) == 4
        assert bench.workers.load == 0

    asyncio.run(scenario())


def test_after_a_stop_nothing_starts() -> None:
    async def scenario() -> None:
        bench = Bench()
        lane = bench.lane()
        await bench.workers.stop(0)
        bench.put(lane, range(4))
        await asyncio.sleep(0)
        assert (lane.running, bench.done) == (0, [])

    asyncio.run(scenario())


def test_bulk_mail_never_has_all_workers_and_urgent_mail_finds_one_free() -> None:
    async def scenario() -> None:
        bench = Bench(most=20)
        bench.gate.clear()
        lanes = [bench.lane(f"{number}.example", limit=10) for number in range(6)]
        for lane in lanes[:2]:
            bench.put(lane, range(20), priority=BULK)
        assert bench.workers.running == 20  # started, and not begun
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.workers.running == 12
        for lane in lanes[2:4]:
            bench.put(lane, range(20), priority=NORMAL)
        for _ in range(5):
            await asyncio.sleep(0)
        assert bench.workers.running == 18
        bench.put(lanes[4], range(20), priority=URGENT)
        for _ in range(5):
            await asyncio.sleep(0)
        assert bench.workers.running == 20
        bench.gate.set()
        await bench.idle()
        assert len(bench.done) == 100

    asyncio.run(scenario())


def test_bulk_mail_moves_while_urgent_mail_never_ends() -> None:
    async def scenario() -> None:
        bench = Bench(most=2)
        urgent, bulk = bench.lane("u.example", limit=2), bench.lane("b.example", limit=2)
        bench.put(urgent, range(100), priority=URGENT)
        bench.put(bulk, range(3), priority=BULK)
        await bench.idle()
        order = [domain[0] for domain, _ in bench.done]
        assert order.index("b") < 40
        assert len(order) == 103

    asyncio.run(scenario())


def test_hops_that_nobody_knows_have_half_of_the_workers_and_those_that_failed_a_quarter() -> None:
    async def scenario() -> None:
        bench = Bench(most=16)
        bench.gate.clear()
        new = [Lane(UseMx(f"n{number}.example"), Bounds()) for number in range(30)]
        failed = [Lane(UseMx(f"f{number}.example"), Bounds()) for number in range(30)]
        for lane in failed:
            lane.failed(bench.clock.monotonic() - 100, "421 no", lane.episode)
        for lane in (*new, *failed):
            bench.put(lane, range(1))
        assert (sum(lane.running for lane in new), sum(lane.running for lane in failed)) == (8, 4)
        proven = bench.lane(limit=4)
        bench.put(proven, range(4))
        assert proven.running == 4
        bench.gate.set()
        await bench.idle()
        assert len(bench.done) == 64

    asyncio.run(scenario())


def test_a_lane_that_has_proved_itself_makes_room_for_the_next_new_one() -> None:
    async def scenario() -> None:
        bench = Bench(most=4)
        bench.gate.clear()
        new = [Lane(UseMx(f"n{number}.example"), Bounds(1, 1)) for number in range(3)]
        for lane in new:
            bench.put(lane, range(2))
        assert [lane.running for lane in new] == [1, 1, 0]
        new[0].succeeded(0.0)
        bench.gate.set()
        await bench.idle()
        assert len(bench.done) == 6

    asyncio.run(scenario())


def test_mail_that_waits_in_line_as_bulk_is_moved_up_when_something_urgent_joins_it() -> None:
    async def scenario() -> None:
        bench = Bench(most=1)
        bench.gate.clear()
        busy, first, second = (bench.lane(f"{name}.example") for name in "abc")
        bench.put(busy, range(1))
        bench.put(first, range(1), priority=NORMAL)
        bench.put(second, range(1), priority=BULK)
        bench.put(second, range(1), priority=URGENT)
        bench.gate.set()
        await bench.idle()
        assert [domain[0] for domain, _ in bench.done][:2] == ["a", "c"]
        assert len(bench.done) == 4
        assert bench.workers.in_line == 0

    asyncio.run(scenario())


def test_a_stuck_worker_never_strands_what_waits() -> None:
    async def scenario() -> None:
        bench = Bench(most=3)
        lanes = [bench.lane(f"{number}.example", limit=2) for number in range(10)]
        for turn in range(20):
            for number, lane in enumerate(lanes):
                bench.put(lane, [turn], priority=(turn + number) % 3)
            await asyncio.sleep(0)
        await bench.idle()
        assert len(bench.done) == 200
        assert (bench.workers.running, bench.workers.in_line) == (0, 0)

    asyncio.run(scenario())
