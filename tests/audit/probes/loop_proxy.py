"""A userland proxy on loopback: it connects to the server in its own name, as Docker's does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tiny_server import Listening


class LoopProxy(Listening):
    """``with contextlib.closing(LoopProxy(port)) as proxy: proxy.port``."""

    def __init__(self, port: int) -> None:
        super().__init__(lambda near: _join(near, port))


def _join(near: socket.socket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while octets := source.recv(65536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)
