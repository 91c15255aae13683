"""Where the demo's outgoing mail ends: an SMTP server that takes everything from loopback and keeps it in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, cast

from postlatch.model.envelope import Role
from postlatch.model.headers import split_headers
from postlatch.model.reply import Reply
from postlatch.smtp import events as ev
from postlatch.smtp.server import ServerConfig, ServerSession

_KEPT = 200
_BODY_KEPT = 65_536


class Delivered(NamedTuple):
    """One message that reached the sink."""

    sender: str
    recipients: tuple[str, ...]
    subject: str


class Sink:
    """``messages`` holds the latest; ``count`` counts all."""

    def __init__(self) -> None:
        self.messages: deque[Delivered] = deque(maxlen=_KEPT)
        self.count = 0
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        server = await asyncio.get_running_loop().create_server(lambda: _SinkConnection(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]


class _SinkConnection(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._session = ServerSession(ServerConfig(hostname="sink.postlatch.test", role=Role.MX))
        self._sender = ""
        self._recipients: list[str] = []
        self._body = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        self._transport = transport
        self._session.start()
        transport.write(self._session.output())

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._session.receive(data)
        closed = False
        while (event := self._session.next_event()) is not None:
            closed |= isinstance(event, ev.Closed)
            self._handle(event)
        self._transport.write(self._session.output())
        if closed:
            self._transport.close()

    def _handle(self, event: ev.ServerEvent) -> None:
        match event:
            case ev.Mail(sender=sender):
                self._sender, self._recipients, self._body = str(sender or "<>"), [], bytearray()
                self._session.answer(Reply(250, "2.1.0", "OK"))
            case ev.Rcpt(recipient=recipient):
                self._recipients.append(recipient.text)
                self._session.answer(Reply(250, "2.1.5", "OK"))
            case ev.BodyStart():
                self._session.accept_body()
            case ev.BodyChunk(data=data):
                self._body += data[: max(0, _BODY_KEPT - len(self._body))]
            case ev.BodyEnd():
                self._keep()
                self._session.answer(Reply(250, "2.0.0", "OK"))
            case _:
                pass

    def _keep(self) -> None:
        block, _, _ = bytes(self._body).partition(b"\r\n\r\n")
        subject = next((f.value for f in split_headers(block) if f.name == b"subject"), b"")
        self._sink.count += 1
        self._sink.messages.append(
            Delivered(self._sender, tuple(self._recipients), subject.decode("ascii", "backslashreplace")[:100])
        )
