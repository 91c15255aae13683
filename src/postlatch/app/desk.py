"""The desk process: pages and metrics. It reads the database and asks the relay by the control socket; it cannot hold it up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any, cast

from postlatch.app import control
from postlatch.app.answer import UNUSABLE
from postlatch.app.clock import SystemClock
from postlatch.app.handover import Handover, received
from postlatch.app.resident import resident_memory
from postlatch.app.supervisor import until_orphaned
from postlatch.journal.counters import Sample
from postlatch.settings.load import load
from postlatch.settings.problem import SettingsError
from postlatch.store.database import StoreError
from postlatch.store.reader import Reader
from postlatch.web.app import build_app
from postlatch.web.model import Check, Status, StatusUnknown
from postlatch.web.serve import HttpServer


class RelayModel:
    """What the pages ask, answered by the relay through its control socket, and by the database."""

    def __init__(self, directory: Path, database: Path) -> None:
        self._directory = directory
        self._reader = Reader(database, monotonic=SystemClock().monotonic)

    async def _ask(self, command: str) -> dict[str, Any]:
        try:
            answer = await asyncio.to_thread(control.call, self._directory, command, {}, 2.0)
        except control.NotServing as error:
            raise StatusUnknown(f"The relay does not answer: {error}.") from None
        if answer.status:
            raise StatusUnknown(f"The relay does not answer: {answer.message}.")
        return answer.data

    async def health(self) -> list[Check]:
        """This process, and the database."""
        try:
            await self._reader.read(lambda connection: connection.execute("SELECT count(*) FROM meta").fetchone())
        except (StoreError, sqlite3.Error) as error:
            return [Check("desk", ok=True), Check("database", ok=False, why=str(error))]
        return [Check("desk", ok=True), Check("database", ok=True)]

    async def ready(self) -> list[Check]:
        """The relay, its store and its policy."""
        status = await self._ask("status")
        return [
            Check("relay", ok=not status["draining"], why="It is shutting down." if status["draining"] else ""),
            Check(
                "store", ok=bool(status["store_healthy"]), why="" if status["store_healthy"] else "The database does not write."
            ),
            Check("policy", ok=bool(status["closed"]), why="" if status["closed"] else "The policy is not proved closed."),
            Check("listeners", ok=all(listener["bound"] for listener in status["listeners"])),
        ]

    async def status(self) -> Status:
        """For the page."""
        return cast("Status", await self._ask("status"))

    async def metrics(self) -> list[Sample]:
        """What the relay counted, and this process's memory."""
        samples = cast("list[Sample]", (await self._ask("metrics"))["samples"])
        memory = Sample(name="postlatch_process_resident_memory_bytes", labels=["desk"], value=resident_memory())
        return [*samples, memory]


async def _serve(handover: Handover) -> int:
    settings = load(Path(handover.config))
    model = RelayModel(settings.data_dir, settings.database)
    server = HttpServer(build_app(model))

    def stop(*_: object) -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # nothing that it uses can change without a restart
    orphaned = loop.create_task(until_orphaned(handover.life))
    orphaned.add_done_callback(stop)
    handover.say_ready()
    # A copy of the socket: the supervisor's own must stay open for the next desk.
    await server.serve(sockets=[socket.socket(fileno=os.dup(handover.http))])
    orphaned.cancel()
    return 0


def main() -> int:
    """The child's entry point."""
    try:
        return asyncio.run(_serve(received()))
    except (SettingsError, StoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
