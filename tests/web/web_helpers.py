"""A model that answers what a test says, and the application on a real loopback socket."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from postlatch.journal.counters import Sample
from postlatch.web.app import build_app
from postlatch.web.model import AddressStatus, Check, Status
from postlatch.web.serve import HttpServer

T = TypeVar("T")


AUDITED: AddressStatus = {
    "listener": "mx",
    "address": "192.0.2.25:25",
    "source": "192.0.2.9",
    "verdict": "closed",
    "grade": "A",
    "summary": "refused all <169> ways",
}


def good_status() -> Status:
    return Status(
        hostname="mx.example.com",
        at=1_767_225_600.0,
        closed=True,
        proved_at=1_767_225_000.0,
        policy_version=7,
        store_healthy=True,
        listeners=[
            {
                "name": "mx",
                "role": "mx",
                "addresses": ["0.0.0.0:25", "[::]:25"],
                "bound": True,
                "accepted": 1234,
                "refused": 56,
            }
        ],
        queue={"held": 1, "queued": 3, "deferred": 20_000},
        oldest_seconds=7300.0,
        refusals=[
            {
                "rule": "relay",
                "count": 56,
                "at": 1_767_225_599.0,
                "listener": "mx",
                "client": "203.0.113.9",
                "why": "not our domain",
            }
        ],
        self_audit={"at": 1_767_225_300.0, "verdict": "closed", "why": "", "addresses": [AUDITED]},
    )


class FakeModel:
    """Answers with its fields; an exception in a field is raised, and ``hangs`` never answers."""

    def __init__(self) -> None:
        self.health_answer: list[Check] | Exception = [Check("desk", ok=True), Check("database", ok=True)]
        self.ready_answer: list[Check] | Exception = [Check("relay", ok=True), Check("store", ok=True)]
        self.status_answer: Status | Exception = good_status()
        self.metrics_answer: list[Sample] | Exception = []
        self.hangs = False

    async def _answer(self, answer: T | Exception) -> T:
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def health(self) -> list[Check]:
        return await self._answer(self.health_answer)

    async def ready(self) -> list[Check]:
        return await self._answer(self.ready_answer)

    async def status(self) -> Status:
        return await self._answer(self.status_answer)

    async def metrics(self) -> list[Sample]:
        return await self._answer(self.metrics_answer)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Site:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read().decode("utf-8"))
        finally:
            connection.close()


@contextmanager
def serving(model: FakeModel, patience: float = 5.0) -> Iterator[Site]:
    """The application over ``model``, from start to an orderly end."""
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    server = HttpServer(build_app(model, patience=patience))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    try:
        yield Site(port)
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
