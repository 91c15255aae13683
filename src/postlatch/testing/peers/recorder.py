"""A next hop on loopback that remembers what it has taken, by Subject: a witness for what a relay says that it delivered."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import Self


class RecordingSink:
    """Speaks just enough ESMTP. ``subjects`` grows before the 250 is sent. ``answer`` is the reply to the final dot."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.answer = "250 2.0.0 taken"
        self._open = 0
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def at_rest(self) -> bool:
        """No client is connected, and all that they said is read."""
        return self._open == 0

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._talk(connection)
        finally:
            with self._lock:
                self._open -= 1

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            _say(stream, "220 sink.example ESMTP")
            while line := stream.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    _say(stream, "250-sink.example\r\n250 PIPELINING")
                elif verb == b"DATA":
                    _say(stream, "354 go on")
                    self._take(stream)
                    _say(stream, self.answer)
                else:
                    _say(stream, "221 bye" if verb == b"QUIT" else "250 2.0.0 ok")

    def _take(self, stream: io.BufferedRWPair) -> None:
        subject = ""
        while (line := stream.readline()) not in {b".\r\n", b""}:
            if not subject and line[:8].lower() == b"subject:":
                subject = line[8:].strip().decode("utf-8", "replace")
        if line and self.answer.startswith("250"):
            self.subjects.append(subject)


def _say(stream: io.BufferedRWPair, text: str) -> None:
    stream.write(text.encode("ascii") + b"\r\n")
    stream.flush()
