"""Pooled connections to next hops: kept for reuse, pipelined, a few to each target. The rule is in ``pool_lane``."""

from __future__ import annotations

import asyncio
from typing import Final

from postlatch.delivery.contract import Attempt, ConnectFailed, OutboundMessage, Target
from postlatch.delivery.pool_jobs import Delivery, Probe
from postlatch.delivery.pool_lane import Lane, PoolConfig
from postlatch.delivery.session import Timeouts
from postlatch.delivery.session_setup import Connect
from postlatch.delivery.tls import TlsContexts
from postlatch.delivery.tls_seen import TlsSeen
from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.reply import Reply

TICK: Final = 0.5  # seconds between two looks at deadlines


class SessionPool:
    """Delivers messages over connections that it keeps.

    ``hostname`` is our name for EHLO. ``connect`` makes transports, ``session_setup.connect_directly`` in production, and may
    forbid an address. ``idle_seconds``: how long a connection without work is kept. ``tls_seen`` is told how TLS fared on each
    connection that was opened for mail of which ``mx_domain`` is known. Use it on one event loop.
    """

    def __init__(
        self,
        hostname: str,
        clock: Clock,
        connect: Connect,
        *,
        idle_seconds: float = 30,
        max_per_target: int = 20,
        timeouts: Timeouts | None = None,
        contexts: TlsContexts | None = None,
        tls_seen: TlsSeen | None = None,
    ) -> None:
        self._clock = clock
        self._config = PoolConfig(
            hostname=hostname,
            clock=clock,
            connect=connect,
            contexts=contexts or TlsContexts(),
            timeouts=timeouts or Timeouts(),
            idle_seconds=idle_seconds,
            max_per_target=max_per_target,
            tls_seen=tls_seen,
        )
        self._lanes: dict[Target, Lane] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied = asyncio.Event()

    async def deliver(self, target: Target, message: OutboundMessage) -> list[Attempt]:
        """Deliver to every recipient of ``message`` at ``target``; one Attempt for each.

        ConnectFailed: no transaction took place, another host may be tried. What ``message.body.chunks`` raises passes through;
        the message was then not sent. Cancelling it breaks off a message whose final dot was not sent.
        """
        if not message.recipients:
            return []
        lane = self._lane(target)
        job = Delivery(message, lane.remote)
        lane.submit(job)
        return await job.result()

    async def probe(self, target: Target, recipient: Address) -> Reply:
        """What ``target`` replies to RCPT for ``recipient`` from the null sender.

        ConnectFailed if it gave no such reply, also when it refused the sender: that says nothing about the recipient.
        """
        lane = self._lane(target)
        job = Probe(recipient)
        lane.submit(job)
        return await job.future

    async def close(self) -> None:
        """Take leave of every next hop. Messages in work are broken off and end as lost: drain first."""
        self._closed = True
        for lane in list(self._lanes.values()):
            lane.close()
        try:
            async with asyncio.timeout(self._config.timeouts.quit):
                while self._lanes:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            for lane in list(self._lanes.values()):
                lane.abort()
        if self._timer is not None:
            self._timer.cancel()

    def sweep(self) -> None:
        """Look at all deadlines by the clock. Runs by itself; public for tests that move the clock."""
        now = self._clock.monotonic()
        for lane in list(self._lanes.values()):
            lane.sweep(now)

    def _lane(self, target: Target) -> Lane:
        if self._closed:
            raise ConnectFailed("shutting down")
        lane = self._lanes.get(target)
        if lane is None:
            lane = self._lanes[target] = Lane(target, self._config, self._release)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        return lane

    def _tick(self) -> None:
        self.sweep()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick) if self._lanes else None

    def _release(self, lane: Lane) -> None:
        if self._lanes.get(lane.target) is lane:
            del self._lanes[lane.target]
        self._emptied.set()
