"""A receiver that runs beside a test, in a loop and a thread of its own, and a plain client for it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from postlatch.app.clock import SystemClock
from postlatch.audit.canary.receiver import Receiver
from postlatch.audit.canary.session import Limits
from postlatch.audit.canary.values import Arrival
from postlatch.testing.peers.ports import wait_until

RUN = "pl0123abcd"
TOKEN = f"{RUN}-001-deadbeef"
OTHER = "plffffffff-001-deadbeef"
_Result = TypeVar("_Result")


class RunningCanary:
    """``with RunningCanary(run=RUN) as canary``: ``canary.port``, ``canary.arrivals()``."""

    def __init__(
        self,
        *,
        run: str = "",
        domains: tuple[str, ...] = (),
        limits: Limits | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.receiver = Receiver(SystemClock(), run=run, domains=domains, limits=limits)
        self._where = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run something in its loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @property
    def port(self) -> int:
        return self.receiver.port

    def arrivals(self) -> list[Arrival]:
        return self.do(self.receiver.arrivals())

    def wait_for(self, enough: Callable[[list[Arrival]], bool], seconds: float = 10) -> list[Arrival]:
        """What arrived, once it is enough."""
        wait_until(lambda: enough(self.arrivals()), seconds, f"the canary to see it; it has {self.arrivals()}")
        return self.arrivals()

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.receiver.start(*self._where))
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.receiver.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Client:
    """Octets to a port, and the whole answer to each command."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection((host, port), timeout=10)
        self._file = self.sock.makefile("rb")

    def reply(self) -> str:
        """One answer; empty when the other side has closed."""
        lines = []
        while line := self._file.readline():
            lines.append(line)
            if line[3:4] != b"-":
                break
        return b"".join(lines).decode("ascii")

    def say(self, octets: bytes) -> str:
        self.sock.sendall(octets + b"\r\n")
        return self.reply()

    def begin(self, sender: bytes = b"x@canary.example", *recipients: bytes) -> None:
        """Up to the message."""
        self.reply()
        for line in (
            b"EHLO client",
            b"MAIL FROM:<%s>" % sender,
            *(b"RCPT TO:<%s>" % one for one in recipients or (b"u@t.example",)),
        ):
            assert self.say(line).startswith("250"), line
        assert self.say(b"DATA").startswith("354")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()


def message(token: str, *fields: str, body: str = "text") -> bytes:
    """As the auditor sends it."""
    lines = [
        "From: <canary@canary.example>",
        f"Subject: Audit of this mail server {token}",
        f"Message-ID: <{token}@canary.example>",
    ]
    return "\r\n".join([*lines, f"X-Postlatch-Audit: {token}", *fields, "", body, ""]).encode()


def bounce(token: str, *fields: str) -> bytes:
    """A delivery status notification that quotes one (RFC 3464)."""
    lines = ["From: <MAILER-DAEMON@target.example>", "Subject: Undelivered Mail Returned to Sender", *fields]
    lines += ["Content-Type: multipart/report; report-type=delivery-status; boundary=b", "", "--b", "", "I am sorry.", "--b"]
    return "\r\n".join([*lines, "Content-Type: message/rfc822", ""]).encode() + b"\r\n" + message(token) + b"--b--\r\n"
