"""A small SMTP and LMTP server on loopback whose replies a test can replace, and what a test needs around it.

It behaves well unless its script says otherwise, and records every command and message.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import uvloop

from postlatch.delivery.contract import OutboundMessage, OutboundRecipient, Target, TlsPolicy
from postlatch.delivery.pool import SessionPool
from postlatch.delivery.session import Timeouts
from postlatch.delivery.session_setup import Connect, connect_directly
from postlatch.delivery.tls import TlsContexts
from postlatch.model.address import Address, parse_address
from postlatch.model.envelope import RecipientParams, SenderParams
from postlatch.testing.clock import FakeClock

T = TypeVar("T")

DROP = "<drop>"  # close the connection, without a reply
RESET = "<reset>"  # the same by RST
HANG = "<hang>"  # never answer this, nor anything after it
Script = Callable[["Conn", str, str], str | None]

FULL = ("PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN")


@dataclass
class Delivered:
    """A message as it arrived, dots still stuffed."""

    sender: str
    recipients: list[str]
    raw: bytes


@dataclass
class Peer:
    """The server. ``script(conn, verb, line)`` gives a reply (without CR LF), DROP, RESET, HANG, or None for the usual one.

    Verbs are the commands, ``GREETING``, ``DOT`` (for LMTP once a recipient, with its address as ``line``) and ``CHALLENGED``
    (an answer to a 334).
    """

    extensions: Sequence[str] = FULL
    secure_extensions: Sequence[str] = ()  # more of them under TLS
    script: Script = lambda _conn, _verb, _line: None
    lmtp: bool = False
    tls: ssl.SSLContext | None = None
    connections: list[Conn] = field(default_factory=list)
    messages: list[Delivered] = field(default_factory=list)
    port: int = 0

    @property
    def verbs(self) -> list[str]:
        """All commands of all connections, by verb, in order of connection."""
        return [verb for conn in self.connections for verb in conn.verbs]

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return sum(conn.transport is not None for conn in self.connections)


class Conn(asyncio.Protocol):
    """One connection. ``number`` counts from 0."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.number = len(peer.connections)
        self.lines: list[str] = []
        self.segments: list[bytes] = []
        self.secure = False
        self.transport: asyncio.Transport | None = None
        self.sender: str | None = None
        self.recipients: list[str] = []
        self._buffer = b""
        self._body: bytearray | None = None
        self._challenged = False
        self._hung = False
        self._tasks: set[asyncio.Task[None]] = set()
        peer.connections.append(self)

    @property
    def verbs(self) -> list[str]:
        """The verbs of the commands so far."""
        return [line.split(" ")[0].upper() for line in self.lines]

    def count(self, verb: str) -> int:
        """How often a command came."""
        return self.verbs.count(verb)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._answer("GREETING", "", "220 peer.example.net ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.segments.append(data)
        self._buffer += data
        while not self._hung and self.transport is not None and self._step():
            pass

    def send(self, text: str) -> None:
        """Send a line."""
        assert self.transport is not None
        self.transport.write(f"{text}\r\n".encode("latin-1"))

    def drop(self) -> None:
        """Close."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close by RST."""
        assert self.transport is not None
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _step(self) -> bool:
        """One command or the end of a body; False if more octets are needed."""
        if self._body is not None:
            return self._take_body()
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        text = line.decode("latin-1")
        if self._challenged:
            self._challenged = False
            self._answer("CHALLENGED", text, "235 2.7.0 ok")
            return True
        self.lines.append(text)
        verb = text.split(" ")[0].upper()
        self._answer(verb, text, self._usual(verb))
        return True

    def _take_body(self) -> bool:
        assert self._body is not None
        self._body += self._buffer
        self._buffer = b""
        end = 0 if self._body.startswith(b".\r\n") else self._body.find(b"\r\n.\r\n") + 2
        if end == 1:
            return False
        raw, self._buffer, self._body = bytes(self._body[:end]), bytes(self._body[end + 3 :]), None
        self.peer.messages.append(Delivered(self.sender or "", self.recipients, raw))
        recipients, self.sender, self.recipients = self.recipients, None, []
        for recipient in recipients if self.peer.lmtp else [""]:
            if not self._hung and self.transport is not None:
                self._answer("DOT", recipient, "250 2.0.0 queued")
        return True

    def _usual(self, verb: str) -> str:
        if verb in {"EHLO", "LHLO"}:
            lines = ["peer.example.net", *self.peer.extensions, *(self.peer.secure_extensions if self.secure else ())]
            if self.peer.tls is not None and not self.secure:
                lines.append("STARTTLS")
            return "\r\n".join([*(f"250-{text}" for text in lines[:-1]), f"250 {lines[-1]}"])
        if verb == "DATA" and not self.recipients:
            return "503 5.5.1 no recipients"
        replies = {"DATA": "354 go", "QUIT": "221 2.0.0 bye", "STARTTLS": "220 go", "AUTH": "235 2.7.0 ok"}
        return replies.get(verb, "250 2.1.0 ok")

    def _answer(self, verb: str, line: str, usual: str) -> None:
        reply = self.peer.script(self, verb, line) or usual
        if reply in {DROP, RESET, HANG}:
            self._hung = True
            if reply != HANG:
                self.drop() if reply == DROP else self.reset()
            return
        if verb == "STARTTLS" and reply.startswith("220"):
            self._start_tls(reply)
            return
        self.send(reply)
        self._challenged = reply.startswith("334")
        if reply.startswith(("421", "554 5.5.0")) or verb == "QUIT":
            self._hung = True
            self.drop()
        self._note(verb, line, reply)

    def _note(self, verb: str, line: str, reply: str) -> None:
        if verb == "MAIL" and reply.startswith("2"):
            self.sender = line.partition("<")[2].partition(">")[0]
        elif verb == "RCPT" and reply.startswith("2"):
            self.recipients.append(line.partition("<")[2].partition(">")[0])
        elif verb == "RSET":
            self.sender, self.recipients = None, []
        elif verb == "DATA" and reply.startswith("354"):
            self._body = bytearray()

    def _start_tls(self, reply: str) -> None:
        assert self.transport is not None
        self.transport.pause_reading()
        self.send(reply)
        task = asyncio.get_running_loop().create_task(self._handshake(self.transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handshake(self, transport: asyncio.Transport) -> None:
        assert self.peer.tls is not None
        try:
            secured = await asyncio.get_running_loop().start_tls(transport, self, self.peer.tls, server_side=True)
        except OSError:
            self.transport = None
            return
        self.transport = cast("asyncio.Transport", secured)
        self.secure = True


@asynccontextmanager
async def serving(peer: Peer, path: str = "") -> AsyncIterator[Peer]:
    """The peer, listening on a port of loopback or on a Unix socket."""
    loop = asyncio.get_running_loop()
    if path:
        server = await loop.create_unix_server(lambda: Conn(peer), path)
    else:
        server = await loop.create_server(lambda: Conn(peer), "127.0.0.1", 0)
        peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for conn in peer.connections:
            if conn.transport is not None:
                conn.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # let the loop close the sockets


@asynccontextmanager
async def pooling(
    clock: FakeClock | None = None,
    connect: Connect = connect_directly,
    **options: Any,
) -> AsyncIterator[SessionPool]:
    """A pool that is closed at the end; its clock stands still unless the test moves it."""
    options.setdefault("timeouts", Timeouts(connect=5, handshake=5, quit=0.5))
    pool = SessionPool("me.example.org", clock or FakeClock(), connect, **options)
    try:
        yield pool
    finally:
        await pool.close()
        await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, as the relay does, and fail on whatever only reached the loop's exception handler."""
    problems: list[str] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: problems.append(str(context)))
        result = runner.run(asyncio.wait_for(main, 60))
    assert problems == []
    return result


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds, five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  the condition is the peer's state, which has no event
            await asyncio.sleep(0.002)


def target(peer: Peer, *, tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC, **options: Any) -> Target:
    """The peer as a target named peer.example.net."""
    options.setdefault("host", "peer.example.net")
    return Target(address="127.0.0.1", port=peer.port, lmtp=peer.lmtp, tls=tls, **options)


class Whole:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def chunks(self) -> AsyncIterator[bytes]:
        """Never used: ``data`` is there."""
        raise AssertionError("a body in memory is not streamed")


class Pieces:
    """A body that comes in pieces; ``fault`` is raised after the last."""

    data = None

    def __init__(self, pieces: Sequence[bytes], fault: Exception | None = None) -> None:
        self._pieces = pieces
        self._fault = fault
        self.size = sum(map(len, pieces))
        self.read = 0
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces."""
        try:
            for piece in self._pieces:
                self.read += len(piece)
                yield piece
            if self._fault is not None:
                raise self._fault
        finally:
            self.closed = True


def mailbox(text: str) -> Address:
    """An address."""
    return parse_address(text, smtputf8=True)


def message(
    *recipients: str,
    body: Whole | Pieces | None = None,
    params: RecipientParams = RecipientParams(),
    sender: str = "alice@example.org",
    **options: Any,
) -> OutboundMessage:
    """A message to the recipients, numbered from 0."""
    return OutboundMessage(
        mailbox(sender),
        options.pop("sender_params", SenderParams()),
        tuple(OutboundRecipient(n, mailbox(text), params) for n, text in enumerate(recipients or ("bob@example.net",))),
        body or Whole(b"Subject: x\r\n\r\nhello\r\n"),
        **options,
    )


def contexts_for(authority: Any, tmp_path: Any) -> TlsContexts:
    """Client contexts that trust this trustme authority alone."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return TlsContexts(file)
