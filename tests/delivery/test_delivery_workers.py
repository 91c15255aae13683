from __future__ import annotations

import asyncio
from collections.abc import Sequence

from delivery_fakes import claim, message, recipient

from postlatch.delivery import workers
from postlatch.delivery.destinations import Lane
from postlatch.delivery.routes import UseMx
from postlatch.delivery.workers import Workers
from postlatch.spool.contract import Claim
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
        return Lane(UseMx(domain), limit, limit)

    def put(self, lane: Lane, numbers: Sequence[int], body: bytes | None = None) -> None:
        for number in numbers:
            self.workers.put(lane, claim(recipient(), message=message(number), body=body))

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
        assert [one.body is not None for one in lane.waiting] == [True, True, False, False]
        bench.gate.set()
        await bench.idle()
        bench.gate.clear()
        bench.put(lane, range(2), big)  # what has been delivered counts no more
        assert [one.body is not None for one in lane.waiting] == [True, True]
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
