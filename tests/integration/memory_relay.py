"""The real server room without sockets: Connection, policy, queue and schema, driven through a transport in memory.

Only what does I/O with the outside is replaced: the event loop's TLS handshake and the transport. The database is a real one;
its writer runs each transaction at once instead of in a thread, and without waiting for the disk.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smtp_wire import Reply, ReplyReader

from postlatch.accounts.authenticator import Authenticator, AuthSettings
from postlatch.accounts.book import AccountBook
from postlatch.accounts.changes import add
from postlatch.accounts.known import KnownRecipients
from postlatch.accounts.mechanisms import MECHANISMS
from postlatch.accounts.passwords import Argon2Hasher, HashSettings, make_credentials
from postlatch.app import compose
from postlatch.journal.counters import Counters
from postlatch.limits.limiter import Limiter
from postlatch.model.address import Address
from postlatch.model.envelope import Role
from postlatch.model.events import Event
from postlatch.model.ids import IdSource
from postlatch.policy.snapshot import Snapshot
from postlatch.server.bans import BanList
from postlatch.server.connection import Connection, ListenerPort
from postlatch.server.refused import Refusals
from postlatch.server.services import Services
from postlatch.settings.load import load
from postlatch.settings.tree import Settings
from postlatch.spool.spool import Spool
from postlatch.store.database import open_database
from postlatch.store.reader import Reader
from postlatch.testing.clock import FakeClock
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay

_CHEAP = HashSettings(memory=64, passes=1, iterations=4096)


class MemoryTransport(asyncio.Transport):
    """What a Connection writes to. ``secure``: a handshake was done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: str, *, secure: bool) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: asyncio.BaseProtocol | None = None
        self._closing = False
        self.peer = (client, 40000)
        self.secure = secure
        self.written = bytearray()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Whom to tell of the end."""
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername``, and a ``cipher`` under TLS."""
        return {"peername": self.peer, "cipher": ("memory",) if self.secure else None}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """For the client."""
        assert not self._closing, "written behind the end"
        self.written += data

    def is_closing(self) -> bool:
        """The server has hung up, or the client."""
        return self._closing

    def close(self) -> None:
        """Hang up."""
        if not self._closing:
            self._closing = True
            if isinstance(self._protocol, asyncio.Protocol):
                self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Hang up."""
        self.close()

    def pause_reading(self) -> None:
        """The engine is fed one command at a time: there is nothing to pause."""

    def resume_reading(self) -> None:
        """As for ``pause_reading``."""


class MemoryLoop(asyncio.SelectorEventLoop):
    """A loop on which a TLS handshake is a change of state."""

    async def start_tls(self, transport: Any, *_: Any, **__: Any) -> asyncio.Transport | None:
        """As asyncio's, for a MemoryTransport."""
        assert isinstance(transport, MemoryTransport)
        transport.secure = True
        return transport


class MemoryRelay:
    """One relay. ``connect`` gives wires; ``rows`` and ``accepted`` are what came of them."""

    def __init__(self, folder: Path, config: str) -> None:
        self.loop = MemoryLoop()
        self.clock = FakeClock()
        self.accepted: list[Event] = []
        prepared = RunningRelay(folder, config)
        settings = load(prepared.config)
        settings.data_dir.mkdir()
        self.database = open_database(settings.database, create=True)
        self.database.execute("PRAGMA synchronous = OFF")
        self._reader = Reader(settings.database, monotonic=self.clock.monotonic)
        self.services = self._services(settings)
        self._registry: set[Connection] = set()

    def _services(self, settings: Settings) -> Services:
        book = self._accounts()
        snapshot = compose.snapshot(settings, (), book.policy_accounts(), 1, frozenset())
        self.spool = self._spool(settings, snapshot)
        hasher = Argon2Hasher(_CHEAP)
        auth = AuthSettings(hashing=_CHEAP)
        return Services(
            clock=self.clock,
            snapshot=snapshot,
            session=compose.session_limits(settings),
            rules=compose.limit_rules(settings, snapshot.rights),
            limiter=Limiter(),
            bans=BanList(),
            spool=self.spool,
            authenticator=Authenticator(
                book, auth, clock=self.clock, random=secrets.token_bytes, salt_secret=b"s" * 16, hasher=hasher
            ),
            known_recipients=KnownRecipients(self._reader.read, b"s" * 16),
            book=book,
            submit=self._submit,
            record=lambda _: None,
            count=Counters(),
            callout=_nobody_is_asked,
            wake_delivery=lambda: None,
            right_used=lambda *_: None,
            store_healthy=lambda: True,
            free_space=lambda _: True,
            refusals=Refusals(),
        )

    def _accounts(self) -> AccountBook:
        credentials = make_credentials(PASSWORD, Argon2Hasher(_CHEAP), _CHEAP.iterations, secrets.token_bytes)
        add(ACCOUNT, (), credentials, self.clock.now())(self.database)
        book = AccountBook()
        book.load(self.database)
        return book

    def _spool(self, settings: Settings, snapshot: Snapshot) -> Spool:
        ids = IdSource(self.clock.now, 0)
        return Spool(settings.data_dir / "bodies", snapshot.classify, ids, 1, now=self.clock.now, reader=self._reader)

    def _submit(
        self, operations: Sequence[Callable[[sqlite3.Connection], Any]], events: Sequence[Event] = ()
    ) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = self.loop.create_future()
        with _transaction(self.database):
            future.set_result([operation(self.database) for operation in operations])
        self.accepted += [event for event in events if event.name == "message.accepted"]
        return future

    def connect(self, role: Role, client: str, *, implicit_tls: bool = False) -> MemoryWire:
        """A wire to a listener; ``open`` it. ``implicit_tls`` is always there for submissions."""
        mechanisms = MECHANISMS if role in {Role.SUBMISSION, Role.SUBMISSIONS} else ()
        implicit = implicit_tls or role is Role.SUBMISSIONS
        port = ListenerPort(role.value, role, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), implicit, mechanisms)
        self.spool.take(1000)  # nothing is delivered here: keep the memory of fresh mail empty
        return MemoryWire(self, port, client)

    def protocol(self, port: ListenerPort) -> Connection:
        """A server's end; on the loop."""
        return Connection(self.services, port, self._registry)

    def destinations(self) -> dict[str, int]:
        """How many rows of recipients there are, by destination."""
        return dict(self.database.execute("SELECT destination, count(*) FROM recipients GROUP BY destination").fetchall())

    def bodies(self) -> list[bytes]:
        """What was stored, in the order of its coming."""
        return [data for (data,) in self.database.execute("SELECT data FROM bodies ORDER BY message")]

    def close(self) -> None:
        """End it."""
        assert not self._registry, "connections were left open"
        self.services.authenticator.close()
        self.spool.close()
        self._reader.close()
        self.database.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


async def _nobody_is_asked(_: Address) -> bool | None:  # the policy has no domain with a call-out
    raise AssertionError("call-out")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class MemoryWire:
    """A client's end of a connection in memory (a ``Wire``)."""

    def __init__(self, relay: MemoryRelay, port: ListenerPort, client: str) -> None:
        self._relay = relay
        self._port = port
        self._transport = MemoryTransport(relay.loop, client, secure=port.implicit_tls)
        self._reader = ReplyReader()
        self._pending: list[Reply] = []
        self._connection: Connection | None = None

    @property
    def closed(self) -> bool:
        """The server has hung up."""
        return self._transport.is_closing()

    @property
    def tls(self) -> bool:
        """TLS is active."""
        return self._transport.secure

    @property
    def connection(self) -> Connection:
        """The server's end."""
        assert self._connection is not None
        return self._connection

    def open(self) -> None:
        """Connect."""
        self._relay.clock.advance(0.1)
        self._relay.loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        self._connection = self._relay.protocol(self._port)
        self._transport.set_protocol(self._connection)
        self._connection.connection_made(self._transport)
        await self._settle()

    def send(self, data: bytes) -> None:
        """Send one segment and let the server work on it."""
        if not self.closed:
            self._relay.loop.run_until_complete(self._receive(data))

    async def _receive(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.data_received(data)
        await self._settle()

    async def _settle(self) -> None:
        assert self._connection is not None
        turns = 0
        await asyncio.sleep(0)
        while self._connection.session.waiting and not self.closed:
            turns += 1
            await asyncio.sleep(0 if turns < 10 else 0.0005)  # beyond that it is a thread that works: a password is checked
        if self.closed:
            await asyncio.sleep(0)  # connection_lost

    def _heard(self) -> list[Reply]:
        self._pending += self._reader.feed(bytes(self._transport.written))
        self._transport.written.clear()
        return self._pending

    def exchange(self, data: bytes, count: int) -> list[Reply]:
        """Send; up to ``count`` replies."""
        self.send(data)
        heard = self._heard()
        found, self._pending = heard[:count], heard[count:]
        return found

    def handshake(self, *, certificate: bool = False) -> None:  # noqa: ARG002  (a Wire's signature)
        """It was done by the loop, when the server asked for it; no certificates here."""
        assert self.tls

    def unasked(self, seconds: float) -> list[Reply]:  # noqa: ARG002  (a Wire's signature)
        """What is there and was not asked for; nothing can come later."""
        return self.exchange(b"", 100) if not self.closed else []

    def close(self) -> None:
        """Hang up."""
        self._transport.close()
        self._relay.loop.run_until_complete(asyncio.sleep(0))
