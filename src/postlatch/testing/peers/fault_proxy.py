"""Between two programs: passes octets on, until it is to do harm. One proxy for TCP, and one for the datagrams of the DNS.

Each direction of a TCP connection has a fault of its own, which strikes at one place: behind so many octets, or behind the
first occurrence of some. Nothing is timed that need not be: a test chooses the place, not the moment.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
_SILENCE = 60.0  # seconds after which a connection that nobody ends is ended


class Harm(StrEnum):
    """What is done to a direction of a TCP connection."""

    CUT = "cut"  # both ends are closed
    RESET = "reset"  # the same by RST
    HALF_CLOSE = "half-close"  # no more goes this way; the other way is open
    STALL = "stall"  # no more goes this way, and nobody is told
    INJECT = "inject"  # `data` is put in, and all goes on
    DELAY = "delay"  # the rest comes `seconds` later
    REPLACE = "replace"  # every `behind` becomes `data`


@dataclass(frozen=True, slots=True)
class Fault:
    """``harm`` behind the first ``behind`` if that is given, else behind ``after`` octets."""

    harm: Harm
    after: int = 0
    behind: bytes = b""
    data: bytes = b""
    seconds: float = 0.0


class FaultProxy:
    """``with FaultProxy(port) as proxy``: what connects to ``proxy.port`` reaches ``port``.

    ``to_server`` and ``to_client`` hold for the connections that begin after they were set. ``connections`` counts them;
    ``struck`` counts the faults that have come into effect.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.to_server: Fault | None = None
        self.to_client: Fault | None = None
        self.connections = 0
        self.struck = 0
        self._target = (host, port)
        family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self._server = socket.create_server(listen, family=family, backlog=256, dualstack_ipv6=listen[0] == "::")
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
                client, _ = self._server.accept()
                self.connections += 1
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            _end(client, abort=True)
            return
        both = _Both()
        for one, other, fault in ((client, server, self.to_server), (server, client, self.to_client)):
            one.settimeout(_SILENCE)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(one, other, fault, both), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, fault: Fault | None, both: _Both) -> None:
        self._pass_on(source, sink, _Way(fault))
        if both.ended():
            _end(source, abort=False)
            _end(sink, abort=False)

    def _pass_on(self, source: socket.socket, sink: socket.socket, way: _Way) -> None:
        try:
            while data := source.recv(65536):
                harmless, rest = way.split(data)
                sink.sendall(harmless)
                if rest is not None and not self._strike(source, sink, way, rest):
                    return
            sink.sendall(way.held)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            _end(source, abort=False)
            _end(sink, abort=False)

    def _strike(self, source: socket.socket, sink: socket.socket, way: _Way, rest: bytes) -> bool:
        """Do the harm; False if nothing more goes this way."""
        fault = way.fault
        assert fault is not None
        way.fault = None
        self.struck += 1
        match fault.harm:
            case Harm.CUT | Harm.RESET:
                _end(source, abort=fault.harm is Harm.RESET)
                _end(sink, abort=fault.harm is Harm.RESET)
            case Harm.HALF_CLOSE:
                sink.shutdown(socket.SHUT_WR)
                _drain(source)
            case Harm.STALL:
                _drain(source)
            case Harm.INJECT:
                sink.sendall(fault.data + rest)
            case Harm.DELAY:
                time.sleep(fault.seconds)
                sink.sendall(rest)
        return fault.harm in {Harm.INJECT, Harm.DELAY}


class _Both:
    """The two directions of a connection, of which the last to end puts out the light."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 2

    def ended(self) -> bool:
        """One of them ended; True if that was the last."""
        with self._lock:
            self._open -= 1
            return self._open == 0


class _Way:
    """One direction: how far it is, and where the fault lies in what comes."""

    def __init__(self, fault: Fault | None) -> None:
        self.fault = fault
        self.held = b""  # the beginning of what is looked for, until it is known whether it is that
        self._passed = 0

    def split(self, data: bytes) -> tuple[bytes, bytes | None]:
        """What goes on as it is, and what lies behind the place of the fault; None if that is not reached."""
        fault = self.fault
        if fault is None:
            return data, None
        if not fault.behind:
            return self._counted(fault.after, data)
        data = self.held + data
        if fault.harm is Harm.REPLACE:
            data = data.replace(fault.behind, fault.data)
        elif fault.behind in data:
            before, mark, rest = data.partition(fault.behind)
            self.held = b""
            return before + mark, rest
        kept = _beginning(fault.behind, data)
        self.held = data[len(data) - kept :]
        return data[: len(data) - kept], None

    def _counted(self, after: int, data: bytes) -> tuple[bytes, bytes | None]:
        left = after - self._passed
        self._passed += len(data)
        return (data, None) if len(data) < left else (data[:left], data[left:])


def _beginning(mark: bytes, data: bytes) -> int:
    """How many octets at the end of ``data`` may be the beginning of ``mark``."""
    return next((size for size in range(min(len(mark) - 1, len(data)), 0, -1) if data.endswith(mark[:size])), 0)


def _drain(source: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while source.recv(65536):
            pass


def _end(connection: socket.socket, *, abort: bool) -> None:
    with contextlib.suppress(OSError):
        if abort:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD if abort else socket.SHUT_RDWR)  # wakes whoever reads it in another thread
        connection.close()


class DnsHarm(StrEnum):
    """What is done to the answer of a name server."""

    DROP = "drop"
    DELAY = "delay"
    GARBAGE = "garbage"  # the right id, and then octets that are no message
    EMPTY = "empty"
    TRUNCATE = "truncate"  # the header and half of the rest, without saying so
    WRONG_ID = "wrong id"  # as one who guesses would forge it
    FLIPPED = "flipped"  # every octet behind the id and the flags is another one


class DnsFaultProxy:
    """A name server's port on UDP whose answers are harmed while ``harm`` is set, or where ``harms`` says so for the name.

    ``harms`` is by a label of the name that is asked for. ``questions`` counts what was asked.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.harm: DnsHarm | None = None
        self.harms: dict[str, DnsHarm] = {}
        self.seconds = 1.0
        self.questions = 0
        self._target = (host, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(listen)
        self._socket.settimeout(0.5)  # the only way to end a thread that waits for a datagram
        self.port = int(self._socket.getsockname()[1])
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _serve(self) -> None:
        with self._socket:
            while not self._ended.is_set():
                with contextlib.suppress(OSError):
                    question, client = self._socket.recvfrom(65535)
                    self.questions += 1
                    threading.Thread(target=self._answer, args=(question, client), daemon=True).start()

    def _answer(self, question: bytes, client: tuple[str, int]) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.settimeout(10)
            upstream.sendto(question, self._target)
            answer = upstream.recv(65535)
            harm = self._harm(question)
            if harm is DnsHarm.DROP:
                return
            if harm is DnsHarm.DELAY:
                time.sleep(self.seconds)
            self._socket.sendto(_harmed(answer, harm), client)

    def _harm(self, question: bytes) -> DnsHarm | None:
        asked = question.lower()
        return next((harm for label, harm in self.harms.items() if _label(label) in asked), self.harm)


def _label(text: str) -> bytes:
    """As it is in a datagram (RFC 1035 section 3.1)."""
    return bytes([len(text)]) + text.encode("ascii")


def _harmed(answer: bytes, harm: DnsHarm | None) -> bytes:
    match harm:
        case DnsHarm.GARBAGE:
            return answer[:2] + b"\x81\x80\xff\xff\xff\xff" + b"\xc0\x0c" * 20
        case DnsHarm.EMPTY:
            return b""
        case DnsHarm.TRUNCATE:
            return answer[: 12 + (len(answer) - 12) // 2]
        case DnsHarm.WRONG_ID:
            return bytes([answer[0] ^ 0xFF]) + answer[1:]
        case DnsHarm.FLIPPED:
            return answer[:4] + bytes(octet ^ 0xA5 for octet in answer[4:])
    return answer
