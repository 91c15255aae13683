"""The control socket: every command goes to the relay process while it runs. One JSON line in, one JSON line out.

The socket is mode 0600 in the data directory: who may open it is the file system's decision. It is addressed by way of the
directory's file descriptor, because a Unix socket path may have at most 108 bytes and a data directory may be deep.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

from postlatch.app.answer import UNUSABLE, Answer
from postlatch.app.operator import peer_name

SOCKET_NAME = "control.sock"
_MAX_REQUEST = 1_048_576
_MAX_ANSWER = 268_435_456

Handler = Callable[[str, dict[str, Any], str], Awaitable[Answer]]


@contextlib.contextmanager
def _short_path(directory: Path) -> Iterator[str]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


class _ControlConnection(asyncio.Protocol):
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        self._transport = transport
        self._peer = peer_name(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _MAX_REQUEST and self._transport is not None:
            self._transport.abort()
        elif self._task is None and b"\n" in self._buffer:
            line, _, _ = bytes(self._buffer).partition(b"\n")
            self._task = asyncio.get_running_loop().create_task(self._answer(line))

    async def _answer(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = await self._handler(request["command"], request["arguments"], self._peer)
        except (ValueError, KeyError, TypeError, RecursionError):
            answer = Answer(UNUSABLE, {}, "the control socket got a request that it does not understand")
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(answer._asdict()).encode() + b"\n")
            self._transport.close()


async def serve_control(directory: Path, handler: Handler) -> asyncio.AbstractServer:
    """Listen on the control socket of ``directory`` and answer with ``handler``."""
    with contextlib.suppress(FileNotFoundError):
        (directory / SOCKET_NAME).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(directory) as path:
        previous = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(previous)
    sock.listen(64)
    sock.setblocking(False)
    return await asyncio.get_running_loop().create_unix_server(lambda: _ControlConnection(handler), sock=sock)


class NotServing(Exception):
    """No relay answers on the control socket."""


_PATIENCE: Final = 60.0  # seconds
_SLOW: Final = {"audit.self": 1800.0}  # an audit of every listener at every address


def call(directory: Path, command: str, arguments: dict[str, Any], timeout: float = 0) -> Answer:
    """Ask the relay process that serves ``directory``; NotServing if there is none. ``timeout`` is in seconds."""
    timeout = timeout or _SLOW.get(command, _PATIENCE)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        with _short_path(directory) as path:
            sock.connect(path)
        sock.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
        return Answer(**json.loads(_read_line(sock)))
    except (FileNotFoundError, ConnectionError, NotADirectoryError) as error:
        raise NotServing(str(error)) from error
    except PermissionError as error:
        raise NotServing(f"no permission for {directory / SOCKET_NAME}: run this as the relay's user or as root") from error
    except TimeoutError:
        return Answer(UNUSABLE, {}, f"the relay did not answer within {timeout:.0f} seconds")
    finally:
        sock.close()


def _read_line(sock: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := sock.recv(262_144):
        parts.append(chunk)
        size += len(chunk)
        if chunk.endswith(b"\n") or size > _MAX_ANSWER:
            return b"".join(parts)
    raise ConnectionResetError("the relay closed the control socket without an answer")
