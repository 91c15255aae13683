"""A next hop with STARTTLS and logins. It records every line that it hears, and whether that was under TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import NamedTuple, Self


class Heard(NamedTuple):
    """One line of a client."""

    line: str
    tls: bool


class TlsHop:
    """``with TlsHop(context) as hop``: it takes mail on ``hop.port`` and any login under TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.heard: list[Heard] = []
        self.messages: list[bytes] = []
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def lines(self, verb: str) -> list[Heard]:
        """What was heard of one command."""
        return [heard for heard in self.heard if heard.line.upper().startswith(verb)]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                connection.settimeout(60)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"220 hop.example ESMTP\r\n")
            if self._talk(connection, tls=False):
                with self._context.wrap_socket(connection, server_side=True) as secure:
                    self._talk(secure, tls=True)

    def _talk(self, connection: socket.socket, *, tls: bool) -> bool:
        """Until the client leaves, or wants STARTTLS: then True."""
        with connection.makefile("rb") as stream:
            while line := stream.readline():
                self.heard.append(Heard(line.decode("utf-8", "replace").rstrip("\r\n"), tls))
                verb = line[:4].upper()
                if verb == b"STAR":
                    connection.sendall(b"220 2.0.0 go ahead\r\n")
                    return True
                if verb == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    self.messages.append(b"".join(iter(stream.readline, b".\r\n")))
                connection.sendall(self._reply(verb, tls=tls))
        return False

    def _reply(self, verb: bytes, *, tls: bool) -> bytes:
        match verb:
            case b"EHLO":
                return b"250-hop.example\r\n250-PIPELINING\r\n" + (b"250 AUTH PLAIN\r\n" if tls else b"250 STARTTLS\r\n")
            case b"AUTH":
                return b"235 2.7.0 welcome\r\n"
            case b"QUIT":
                return b"221 2.0.0 bye\r\n"
        return b"250 2.0.0 OK\r\n"
