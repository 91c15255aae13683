"""A raw client: blocking sockets, TLS when told, octets as they are given. And strict about what comes back."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

from smtp_wire import Reply, ReplyReader

_SILENCE = 20.0  # seconds: a server that says nothing for so long fails the test
_ENDLESS = 20  # so many replies are never due: read until the end


def client_context(certificate: Path | None = None) -> ssl.SSLContext:
    """TLS that believes any server; with ``certificate`` (a folder that holds cert.pem and key.pem) it shows that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


class SocketWire:
    """One connection (a ``Wire``). ``certificate`` is the folder of a client certificate, for who asks for one."""

    def __init__(self, host: str, port: int, *, implicit_tls: bool = False, certificate: Path | None = None) -> None:
        self._address = (host, port)
        self._implicit = implicit_tls
        self._certificate = certificate
        self._socket: socket.socket | None = None
        self._reader = ReplyReader()
        self._heard: list[Reply] = []
        self.raw = b""  # all that came
        self.closed = False
        self.tls = False

    def open(self) -> None:
        """Connect; with implicit TLS, shake hands."""
        self._socket = socket.create_connection(self._address, timeout=_SILENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._implicit:
            self.handshake()

    @property
    def _open(self) -> socket.socket:
        assert self._socket is not None
        return self._socket

    def handshake(self, *, certificate: bool = False) -> None:
        """TLS, now."""
        assert not self._heard, "the server spoke in plaintext before the handshake"
        context = client_context(self._certificate if certificate else None)
        self._socket = context.wrap_socket(self._open)
        self.tls = True

    def send(self, data: bytes) -> None:
        """Send octets. That the server has hung up shows when reading: its last words may still be on the way."""
        with suppress(ConnectionError, ssl.SSLError):
            self._open.sendall(data)

    def exchange(self, data: bytes, count: int) -> list[Reply]:
        """Send, and wait for ``count`` replies or the end."""
        if data and not self.closed:
            self.send(data)
        self._read(count, _SILENCE)
        assert len(self._heard) >= count or self.closed or count >= _ENDLESS, f"silence after {data!r}, {self.raw[-200:]!r}"
        found, self._heard = self._heard[:count], self._heard[count:]
        return found

    def unasked(self, seconds: float) -> list[Reply]:
        """What comes by itself."""
        self._read(_ENDLESS, seconds)
        found, self._heard = self._heard, []
        return found

    def rest(self) -> bytes:
        """Everything until the server hangs up, whatever it is."""
        found = b""
        self._open.settimeout(_SILENCE)
        with suppress(ConnectionError, ssl.SSLError):
            while data := self._open.recv(65536):
                found += data
        self.closed = True
        return found

    def _read(self, count: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self._heard) < count and (left := deadline - time.monotonic()) > 0:
            self._open.settimeout(left)
            try:
                data = self._open.recv(65536)
            except TimeoutError:
                return
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                self.closed = True
                return
            self.raw += data
            self._heard += self._reader.feed(data)

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        if self._socket is not None:
            self._socket.close()
