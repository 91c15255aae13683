"""Mail servers as no library makes them any more: they answer a ClientHello by hand, and never go further."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self


class Old(NamedTuple):
    """What the server takes. ``own_order``: its suites in this order, else in the client's."""

    versions: tuple[int, ...]
    suites: tuple[int, ...]
    own_order: bool = True
    compression: int = 0
    secure: bool = True


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def answer(server: Old, hello: bytes) -> bytes:
    """The records with which it answers: an alert, or a ServerHello."""
    if len(hello) < 50:  # the client has gone
        return b"\x15\x03\x01\x00\x02\x02\x28"
    body = hello[9:]
    version = int.from_bytes(body[:2], "big")
    at = 35 + body[34]
    count = int.from_bytes(body[at : at + 2], "big")
    offered = _numbers(body[at + 2 : at + 2 + count])
    versions = [one for one in server.versions if one <= version]
    choices = (
        [one for one in server.suites if one in offered] if server.own_order else [o for o in offered if o in server.suites]
    )
    if not versions or not choices:
        return b"\x15\x03\x01\x00\x02\x02" + bytes((40 if versions else 70,))
    chosen = max(versions)
    hello_body = chosen.to_bytes(2, "big") + bytes(32) + b"\x00" + choices[0].to_bytes(2, "big") + bytes((server.compression,))
    if server.secure:
        hello_body += b"\x00\x05\xff\x01\x00\x01\x00"
    messages = b"\x02" + len(hello_body).to_bytes(3, "big") + hello_body + b"\x0e\x00\x00\x00"
    return b"\x16" + chosen.to_bytes(2, "big") + len(messages).to_bytes(2, "big") + messages


Behaviour = Callable[[socket.socket], None]


def smtp_then(server: Old) -> Behaviour:
    """SMTP up to STARTTLS, then that TLS."""

    def behave(client: socket.socket) -> None:
        client.sendall(b"220 old.test ESMTP\r\n")
        client.recv(1000)
        client.sendall(b"250-old.test\r\n250 STARTTLS\r\n")
        client.recv(1000)
        client.sendall(b"220 go ahead\r\n")
        client.sendall(answer(server, client.recv(5000)))
        client.recv(1000)

    return behave


class Server:
    """``with Server(behave) as server``: each connection to ``server.port`` is given to ``behave``, then closed."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.connections = 0
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for client in self._open:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self.connections += 1
                self._open.append(client)
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.settimeout(20)
            self._behave(client)
