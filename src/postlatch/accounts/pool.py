"""A few threads for slow hashes, and a queue that says no before it grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from postlatch.limits.gauge import Gauge

T = TypeVar("T")


class Busy(Exception):
    """No answer can be had now: 454 4.7.0 (RFC 4954 section 6). It says nothing about the password."""


class HashPool:
    """Runs work in ``workers`` threads. At most ``queue`` wait beyond those, and at most ``per_client`` of one client."""

    def __init__(self, workers: int, queue: int, per_client: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="hash")
        self._places = workers + queue
        self._per_client = per_client
        self._taken = 0
        self._clients = Gauge()

    async def run(self, work: Callable[[], T], client: str) -> T:
        """The result of ``work``; Busy if the queue is full, or full of this ``client`` (empty: not counted)."""
        if self._taken >= self._places:
            raise Busy("the queue for password checks is full")
        if client and not self._clients.acquire(client, self._per_client):
            raise Busy("this client has too many password checks waiting")
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._taken -= 1
            if client:
                self._clients.release(client)

    def close(self) -> None:
        """End the threads; what waits is cancelled."""
        self._executor.shutdown(wait=False, cancel_futures=True)
