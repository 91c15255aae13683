"""A next hop that records every octet it is sent. It takes mail in plain SMTP, and shares no code with what it records."""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

from postlatch.testing.peers.ports import wait_until

_OFFER = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
_END = b"\r\n.\r\n"


@dataclass(slots=True)
class Taken:
    """One message as it was on the wire. ``body`` is still dot-stuffed and ends before the final dot's line."""

    mail: bytes
    recipients: list[bytes] = field(default_factory=list)
    body: bytes = b""

    @property
    def unstuffed(self) -> bytes:
        """The message that its receiver keeps (RFC 5321 section 4.5.2)."""
        return re.sub(rb"(?m)^\.", b"", self.body)


class _Session:
    """One connection, read octet by octet from a buffer. ``raw`` is all that came."""

    def __init__(self, connection: socket.socket, sink: RecordingSink) -> None:
        self._connection = connection
        self._sink = sink
        self._buffer = b""
        self.raw = b""

    def serve(self) -> None:
        """Until the client leaves."""
        with self._connection:
            self._say(b"220 sink.test ESMTP\r\n")
            taken = Taken(b"")
            while (line := self._until(b"\r\n")) is not None:
                verb = line[:4].upper()
                if verb == b"MAIL":
                    taken = Taken(line)
                elif verb == b"RCPT":
                    taken.recipients.append(line)
                    self._say(self._sink.refuse or b"250 2.0.0 OK\r\n")
                    continue
                elif verb == b"DATA" and self._sink.refuse:
                    self._say(b"554 5.5.1 no valid recipients\r\n")
                    continue
                elif verb == b"DATA":
                    self._take(taken)
                    continue
                self._say({b"EHLO": _OFFER, b"QUIT": b"221 2.0.0 Bye\r\n"}.get(verb, b"250 2.0.0 OK\r\n"))

    def _take(self, taken: Taken) -> None:
        self._say(b"354 go on\r\n")
        body = self._until(_END)
        if body is not None:
            taken.body = body + b"\r\n"
            self._sink.messages.append(taken)
            self._say(b"250 2.0.0 taken\r\n")

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._buffer:
            try:
                data = self._connection.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            self.raw += data
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _say(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError:
            self._buffer = b""


class RecordingSink:
    """``with RecordingSink() as sink:`` it listens on ``sink.url`` and keeps ``sink.messages``."""

    def __init__(self) -> None:
        self.messages: list[Taken] = []
        self.refuse = b""  # the reply to every recipient, if it is not 250
        self._sessions: list[_Session] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(60)
            session = _Session(connection, self)
            self._sessions.append(session)
            threading.Thread(target=session.serve, daemon=True).start()

    def raw(self) -> bytes:
        """Every octet that came, one connection after the other."""
        return b"".join(session.raw for session in self._sessions)

    def wait_for(self, count: int) -> None:
        """Wait until so many messages are here."""
        wait_until(lambda: len(self.messages) >= count, 30, f"{count} messages at the sink (have {len(self.messages)})")

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
