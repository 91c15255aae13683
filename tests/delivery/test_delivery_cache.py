from __future__ import annotations

import asyncio

import pytest

from postlatch.delivery.cache import SharedCache
from postlatch.testing.clock import FakeClock


class Source:
    """Answers with how often it was asked, when ``gate`` is open."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> tuple[int, float]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.asked, self.seconds


def test_an_answer_is_kept_for_its_time() -> None:
    async def scenario() -> None:
        clock, source = FakeClock(), Source()
        cache: SharedCache[str, int] = SharedCache(clock, 10)
        assert await cache.get("a", source) == 1
        clock.advance(59)
        assert await cache.get("a", source) == 1
        clock.advance(1)
        assert cache.peek("a") is None
        assert await cache.get("a", source) == 2

    asyncio.run(scenario())


def test_an_answer_of_no_duration_is_not_kept() -> None:
    async def scenario() -> None:
        source = Source(seconds=0)
        cache: SharedCache[str, int] = SharedCache(FakeClock(), 10)
        assert [await cache.get("a", source), await cache.get("a", source)] == [1, 2]

    asyncio.run(scenario())


def test_a_jump_of_the_wall_clock_changes_nothing() -> None:
    async def scenario() -> None:
        clock, source = FakeClock(), Source()
        cache: SharedCache[str, int] = SharedCache(clock, 10)
        await cache.get("a", source)
        clock.jump(1e9)
        assert cache.peek("a") == 1

    asyncio.run(scenario())


def test_many_who_want_the_same_ask_once() -> None:
    async def scenario() -> None:
        source = Source()
        source.gate.clear()
        cache: SharedCache[str, int] = SharedCache(FakeClock(), 10)
        waiting = [asyncio.create_task(cache.get("a", source)) for _ in range(20)]
        await asyncio.sleep(0)
        assert (cache.asking, cache.is_asking("a"), cache.is_asking("b")) == (1, True, False)
        source.gate.set()
        assert await asyncio.gather(*waiting) == [1] * 20

    asyncio.run(scenario())


def test_one_who_stops_waiting_does_not_take_the_answer_away() -> None:
    async def scenario() -> None:
        source = Source()
        source.gate.clear()
        cache: SharedCache[str, int] = SharedCache(FakeClock(), 10)
        first = asyncio.create_task(cache.get("a", source))
        second = asyncio.create_task(cache.get("a", source))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        source.gate.set()
        assert await second == 1
        assert first.cancelled()

    asyncio.run(scenario())


def test_an_error_reaches_everyone_and_is_not_remembered() -> None:
    async def scenario() -> None:
        source = Source()
        source.error = OSError("no")
        cache: SharedCache[str, int] = SharedCache(FakeClock(), 10)
        results = await asyncio.gather(*(cache.get("a", source) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [OSError] * 3
        source.error = None
        assert await cache.get("a", source) == 2

    asyncio.run(scenario())


def test_an_error_that_nobody_waits_for_is_no_complaint_of_the_loop() -> None:
    async def scenario() -> list[object]:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        source = Source()
        source.gate.clear()
        source.error = OSError("no")
        cache: SharedCache[str, int] = SharedCache(FakeClock(), 10)
        waiting = asyncio.create_task(cache.get("a", source))
        await asyncio.sleep(0)
        waiting.cancel()
        source.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.01)
        return complaints

    assert asyncio.run(scenario()) == []


def test_the_cache_is_bounded_and_drops_the_oldest() -> None:
    clock = FakeClock()
    cache: SharedCache[int, int] = SharedCache(clock, 100)
    for number in range(1000):
        cache.put(number, number, 60)
    kept = [number for number in range(1000) if cache.peek(number) is not None]
    assert len(kept) <= 100
    assert kept == list(range(kept[0], 1000))


def test_what_is_forgotten_is_asked_again() -> None:
    async def scenario() -> None:
        source = Source()
        cache: SharedCache[str, int] = SharedCache(FakeClock(), 10)
        await cache.get("a", source)
        cache.forget()
        assert await cache.get("a", source) == 2

    asyncio.run(scenario())
