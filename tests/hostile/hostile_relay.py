"""One relay in memory, clients that send it any octets, and everything that a person may change meanwhile."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

from memory_relay import MemoryRelay, MemoryTransport
from vector_values import office

from postlatch.accounts import changes
from postlatch.accounts.mechanisms import MECHANISMS
from postlatch.app import compose
from postlatch.model.envelope import Role
from postlatch.model.events import Event
from postlatch.policy.snapshot import Right
from postlatch.server.connection import ListenerPort
from postlatch.settings.load import load
from postlatch.testing.running import ACCOUNT

STRANGER = "198.51.100.7"
PRINTER = "192.0.2.17"  # within the right "printers", which is suspended and given back
LODGER = "203.0.113.5"  # has a right that ends an hour after the relay's start
LODGING = 3600.0  # seconds
CANARY = "ZQXV"  # in what clients send, and in no reply
SUBMISSION = (Role.SUBMISSION, Role.SUBMISSIONS)


class HostileRelay:
    """A fresh relay of the office that the open-relay catalogue uses. ``check_log`` fails on any exception so far."""

    def __init__(self, folder: Path) -> None:
        self.memory = MemoryRelay(folder, office("smtp://127.0.0.1:9"))
        self._settings = load(folder / "postlatch.toml")
        self._version = 1
        self._printers_suspended = False
        self._lodging = self._temporary_right()
        self.events: list[Event] = []
        self.troubles: list[str] = []
        self.clients: list[Client] = []
        self.memory.services.record = self.events.append
        self.memory.loop.set_exception_handler(lambda _, context: self.troubles.append(repr(context)))
        self.reload()

    def _temporary_right(self) -> Right:
        return Right(
            "lodger",
            (ip_network(f"{LODGER}/32"),),
            frozenset({"relay"}),
            (),
            owner="ops@example.com",
            expires=self.memory.clock.now() + LODGING,
        )

    def reload(self) -> None:
        """Install the policy anew, as SIGHUP and every command that changes it do."""
        self._version += 1
        suspended = frozenset({"printers"}) if self._printers_suspended else frozenset()
        accounts = self.memory.services.book.policy_accounts()
        self.memory.services.snapshot = compose.snapshot(self._settings, (self._lodging,), accounts, self._version, suspended)

    def suspend_right(self, suspended: bool) -> None:
        """Suspend the right of the printers, or give it back."""
        self._printers_suspended = suspended
        self.reload()

    def suspend_account(self, suspended: bool) -> None:
        """Suspend alice, or restore her."""
        now = self.memory.clock.now()
        operation = changes.suspend(ACCOUNT, "a test", now) if suspended else changes.restore(ACCOUNT, now)
        self.memory.services.book.apply(operation(self.memory.database))
        self.reload()

    def connect(self, role: Role, address: str) -> Client:
        """A new connection, open."""
        client = Client(self.memory, role, address)
        self.clients.append(client)
        return client

    def check_log(self) -> None:
        """No exception reached the loop or was turned into a reply."""
        assert not self.troubles, self.troubles
        for event in self.events:
            assert event.fields.get("rule") != "internal error", event
            assert "while verifying" not in str(event.fields.get("why", "")), event

    def messages(self) -> int:
        """How many messages the queue holds."""
        [[count]] = self.memory.database.execute("SELECT count(*) FROM messages").fetchall()
        return int(count)

    def stored(self, message_id: int) -> Stored:
        """What the queue holds of one message."""
        execute = self.memory.database.execute
        [[body]] = execute("SELECT data FROM bodies WHERE message = ?", (message_id,)).fetchall()
        rows = execute(
            "SELECT address, destination, grant_reason FROM recipients WHERE message = ? ORDER BY number", (message_id,)
        )
        return Stored(bytes(body), tuple(rows.fetchall()))

    def close(self) -> None:
        """End it; every client hangs up."""
        for client in self.clients:
            client.hang_up()
        self.memory.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is in the queue: its octets, and (address, destination, reason) of each recipient."""

    body: bytes
    recipients: tuple[tuple[str, str, str | None], ...]


class Client:
    """A client's end of one connection: octets in, octets out, nothing interpreted."""

    def __init__(self, memory: MemoryRelay, role: Role, address: str) -> None:
        self._memory = memory
        self.role = role
        implicit = role is Role.SUBMISSIONS
        mechanisms = MECHANISMS if role in SUBMISSION else ()
        port = ListenerPort(role.value, role, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), implicit, mechanisms)
        memory.spool.take(1000)  # nothing is delivered here
        self._transport = MemoryTransport(memory.loop, address, secure=implicit)
        self._heard = 0
        self.connection = self._run(lambda: memory.protocol(port))
        self._transport.set_protocol(self.connection)
        self._run(lambda: self.connection.connection_made(self._transport))

    def _run(self, call: Callable[[], Any]) -> Any:
        async def work() -> Any:
            result = call()
            await self._settle()
            return result

        return self._memory.loop.run_until_complete(work())

    async def _settle(self) -> None:
        turns = 0
        await asyncio.sleep(0)
        while hasattr(self, "connection") and not self.closed and self.connection.session.waiting:
            turns += 1
            assert turns < 20_000, "the server is waiting for something that does not come"
            await asyncio.sleep(0 if turns < 10 else 0.0005)  # beyond that a thread is at work: a password is checked
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # connection_lost, and the answer to what waited behind

    @property
    def closed(self) -> bool:
        """The server has hung up, or the client."""
        return self._transport.is_closing()

    @property
    def secure(self) -> bool:
        """A handshake was done."""
        return self._transport.secure

    def send(self, data: bytes) -> None:
        """One segment; the server works on it to the end."""
        if not self.closed:
            self._run(lambda: self.connection.data_received(data))

    def wait(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        if not self.closed:
            loop = self._memory.loop
            self._run(lambda: self.connection.check_time(loop.time() + seconds))

    def heard(self) -> bytes:
        """What the server has said since the last call."""
        said = bytes(self._transport.written[self._heard :])
        self._heard += len(said)
        return said

    def hang_up(self) -> None:
        """Go away without a word."""
        self._transport.close()
        self._memory.loop.run_until_complete(asyncio.sleep(0))
