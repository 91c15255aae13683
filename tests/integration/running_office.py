"""The real program in the office of the vectors: an account, a relay domain, a right for nobody here, and a sink outside."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from recording_sink import RecordingSink
from socket_wire import SocketWire
from vector_values import office

from postlatch.app.certificate import write_self_signed
from postlatch.model.envelope import Role
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay

GREETING_DELAY = 0.02  # seconds on mx: enough to catch who talks first, and short enough for hundreds of sessions
LOOPBACK = {False: "127.0.0.1", True: "::1"}
LOGIN = base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode()).decode()


class Left(NamedTuple):
    """A row of the queue that is not for a mailbox of ours."""

    address: str
    destination: str
    grant: str
    ref: str


class RunningOffice:
    """The program and its sink."""

    def __init__(self, relay: RunningRelay, sink: RecordingSink) -> None:
        self.relay = relay
        self.sink = sink
        self.certificate = relay.folder / "client"
        self.certificate.mkdir()
        write_self_signed("client.test", self.certificate / "cert.pem", self.certificate / "key.pem", 1_767_225_600.0)

    def wire(self, role: Role, *, ipv6: bool = False) -> SocketWire:
        """A client of that listener; ``open`` it."""
        port = self.relay.port(role.value, ipv6=ipv6)
        return SocketWire(LOOPBACK[ipv6], port, implicit_tls=role is Role.SUBMISSIONS, certificate=self.certificate)

    def logged_in(self) -> SocketWire:
        """A client that has authenticated as the test's account on submissions."""
        wire = self.wire(Role.SUBMISSIONS)
        wire.open()
        for line, code in (("", 220), ("EHLO client.example\r\n", 250), (f"AUTH PLAIN {LOGIN}\r\n", 235)):
            [reply] = wire.exchange(line.encode(), 1)
            assert reply.code == code, reply
        return wire

    def rows(self) -> list[tuple[str, str, str | None, str | None]]:
        """Every recipient in the queue, finished or not: address, destination, grant and who answers for it."""
        path = (self.relay.data / "postlatch.db").as_uri()
        with closing(sqlite3.connect(f"{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT address, destination, grant_reason, grant_ref FROM recipients").fetchall()

    def left(self) -> list[Left]:
        """The rows that are not for mailboxes of ours."""
        return [Left(a, d, str(g), str(r)) for a, d, g, r in self.rows() if d != "local"]


@contextmanager
def running_office(folder: Path) -> Iterator[RunningOffice]:
    """Start it, with the account; stop it and look through its log."""
    with RecordingSink() as sink:
        relay = RunningRelay(folder, office(sink.url, GREETING_DELAY))
        with relay:
            relay.add_account()
            yield RunningOffice(relay, sink)
        log = relay.read_log()
    assert "Traceback" not in log, log[-4000:]
    assert "internal error" not in log
