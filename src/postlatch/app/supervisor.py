"""The parent of `serve`: binds, drops root, starts relay and desk, restarts what dies, and ends with them.

It stays small and knows no mail, so that it has little reason to fail. Sockets are bound here once and inherited: a relay
that is restarted finds its listeners open and its clients waiting in the backlog.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from postlatch.app.handover import Handover
from postlatch.app.systemd import notify

_GRACE = 35.0  # seconds from SIGTERM to SIGKILL: longer than the relay's own drain
_MAX_BACKOFF = 30.0


@dataclass(slots=True)
class Child:
    """One child process. ``command`` is the argument vector behind the interpreter."""

    name: str
    command: list[str]
    process: asyncio.subprocess.Process | None = None
    failures: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs until told to stop; returns the exit status."""

    def __init__(
        self,
        config: str,
        listeners: Mapping[str, list[socket.socket]],
        http: socket.socket | None,
        lock: int,
        on_ready: Callable[[], None],
        warn: Callable[[str], None],
        local: socket.socket | None = None,
    ) -> None:
        life_read, self._life_write = os.pipe()
        self._handover = Handover(
            config=config,
            life=life_read,
            ready=-1,
            listeners={name: [s.fileno() for s in group] for name, group in listeners.items()},
            lock=lock,
            local=local.fileno() if local is not None else -1,
        )
        self._sockets = [*(sock for group in listeners.values() for sock in group), *([local] if local is not None else [])]
        self._http = http
        self._on_ready = on_ready
        self._warn = warn
        self._stopping = asyncio.Event()
        self._status = 0
        self._relay = Child("relay", ["-m", "postlatch.app.relay"])
        self._desk = Child("desk", ["-m", "postlatch.app.desk"])

    async def run(self) -> int:
        """Start both children, keep them running, stop them on SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        children = [self._relay] + ([self._desk] if self._http is not None else [])
        keepers = [loop.create_task(self._keep(child)) for child in children]
        announcer = loop.create_task(self._announce(children))
        await self._stopping.wait()
        notify("STOPPING=1")
        announcer.cancel()
        await self._stop(children)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, announcer, return_exceptions=True)
        return self._status

    async def _announce(self, children: list[Child]) -> None:
        for child in children:
            await child.ready.wait()
        self._on_ready()
        notify("READY=1")

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            status = await self._run_once(child)
            if self._stopping.is_set():
                return
            if child is self._relay and not child.ready.is_set():
                # It never served: the cause is in the configuration or the store, and trying again would only hide it.
                self._status = status if status in {1, 2} else 2
                self._stopping.set()
                return
            child.failures = 0 if loop.time() - started > 60 else child.failures + 1
            delay = min(_MAX_BACKOFF, 0.2 * 2**child.failures)
            self._warn(f"{child.name} ended with status {status}; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def _run_once(self, child: Child) -> int:
        ready_read, ready_write = os.pipe()
        handover = replace(self._handover, ready=ready_write, clean=not child.ready.is_set())
        if child is self._desk and self._http is not None:
            handover = replace(handover, listeners={}, lock=-1, local=-1, http=self._http.fileno())
        watcher = asyncio.get_running_loop().create_task(_read_ready(ready_read, child.ready))
        try:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", *child.command, env=handover.environment(), pass_fds=handover.descriptors()
            )
        finally:
            os.close(ready_write)
        status = await child.process.wait()
        child.process = None
        await watcher
        return status if status >= 0 else 128 - status

    def _reload(self) -> None:
        # The relay judges for itself, so that what it refuses is in the journal and reaches whoever gets the alerts.
        for child in (self._relay, self._desk):
            if child.process is not None:
                child.process.send_signal(signal.SIGHUP)

    async def _stop(self, children: list[Child]) -> None:
        for sock in self._sockets:
            sock.close()  # with ours open, clients would go on connecting to a relay that takes nothing any more
        running = [child.process for child in children if child.process is not None]
        for process in running:
            _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(_GRACE):
                for process in running:
                    await process.wait()
        except TimeoutError:
            for process in running:
                _signal(process, signal.SIGKILL)
        os.close(self._life_write)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    if process.returncode is None:
        process.send_signal(number)


async def _read_ready(descriptor: int, ready: asyncio.Event) -> None:
    """Wait for the ready line, or for the end of a child that never served."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(descriptor, lambda: _settle(done, os.read(descriptor, 16)))
    try:
        if (await done).startswith(b"ready"):
            ready.set()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(future: asyncio.Future[bytes], value: bytes) -> None:
    if not future.done():
        future.set_result(value)


async def until_orphaned(descriptor: int) -> None:
    """Return when the supervisor is gone: a child does not outlive it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(descriptor, lambda: _settle(done, b""))
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
