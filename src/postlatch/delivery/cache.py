"""Answers that are remembered for a while, and asked for once however many want them at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from postlatch.model.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(NamedTuple, Generic[V]):
    expires: float  # monotonic
    value: V


class SharedCache(Generic[K, V]):
    """A bounded cache in front of a slow question. Errors pass to everyone who waits, and are not remembered."""

    def __init__(self, clock: Clock, max_entries: int) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: dict[K, _Entry[V]] = {}
        self._asking: dict[K, asyncio.Task[V]] = {}

    @property
    def asking(self) -> int:
        """How many questions are out now."""
        return len(self._asking)

    def peek(self, key: K) -> V | None:
        """The remembered answer, or None; asks nothing."""
        entry = self._entries.get(key)
        if entry is None or entry.expires <= self._clock.monotonic():
            return None
        return entry.value

    def is_asking(self, key: K) -> bool:
        """True if somebody is asking this already, so that one more costs nothing."""
        return key in self._asking

    async def get(self, key: K, ask: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        """The remembered answer, else that of ``ask``, which gives it with the seconds to keep it (0: do not keep)."""
        known = self.peek(key)
        if known is not None:
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(key, ask))
            self._asking[key] = task
            task.add_done_callback(_retrieved)
        # One who stops waiting (a client hung up) must not take the answer away from the others.
        return await asyncio.shield(task)

    def put(self, key: K, value: V, seconds: float) -> None:
        """Remember ``value`` for ``seconds``."""
        self._entries.pop(key, None)
        if len(self._entries) >= self._max_entries:
            # The oldest eighth at once: a dict is in order of insertion, and one by one would walk its gaps each time.
            for old in list(self._entries)[: self._max_entries // 8 + 1]:
                del self._entries[old]
        self._entries[key] = _Entry(self._clock.monotonic() + seconds, value)

    def forget(self) -> None:
        """Drop every remembered answer; questions that are out go on."""
        self._entries.clear()

    async def _fetch(self, key: K, ask: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        try:
            value, seconds = await ask()
        finally:
            del self._asking[key]
        if seconds > 0:
            self.put(key, value, seconds)
        return value


def _retrieved(task: asyncio.Task[V]) -> None:
    if not task.cancelled():
        task.exception()  # every waiter may have gone; the loop must not complain that nobody read it
