"""Reading the greeting and the EHLO answer of a mail server, and leaving with QUIT: nothing else is said to it.

A server may stall, drip, flood or speak another protocol: all of it together is within a time, and in a size.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.model.envelope import IPAddress

SECONDS: Final = 15.0
MOST_OCTETS: Final = 65_536
_MOST_LINES: Final = 100
_IMPLICIT_TLS: Final = 465


class Heard(NamedTuple):
    """What a server said. ``trouble`` is why there is nothing, or no more."""

    banner: str
    ehlo: tuple[str, ...]
    trouble: str


class _SilenceError(Exception):
    """No whole reply."""


def listen(address: IPAddress, port: int, seconds: float = SECONDS) -> Heard:
    """Connect and read; whatever happens, a result."""
    banner, ehlo = "", tuple[str, ...]()
    end = time.monotonic() + seconds
    try:
        with socket.create_connection((str(address), port), timeout=seconds) as plain:
            wire = _encrypted(plain, end) if port == _IMPLICIT_TLS else plain
            talk = _Talk(wire, end)
            first = talk.reply()
            banner = "\n".join(printable(line) for line in first)
            if first[0][:1] == b"2":
                talk.say(f"EHLO {_literal(plain)}")
                ehlo = tuple(printable(line) for line in talk.reply())
            talk.say("QUIT")
            with suppress(_SilenceError, OSError):
                talk.reply()
    except _SilenceError as error:
        return Heard(banner, ehlo, str(error))
    except TimeoutError:
        return Heard(banner, ehlo, f"no whole reply within {seconds:g} seconds")
    except OSError as error:
        return Heard(banner, ehlo, printable(error.strerror or type(error).__name__, 200))
    return Heard(banner, ehlo, "")


def _encrypted(plain: socket.socket, end: float) -> socket.socket:
    """TLS from the first octet (RFC 8314 section 3.3). A greeting needs no certificate: whose it is decides nothing here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain.settimeout(max(0.01, end - time.monotonic()))
    return context.wrap_socket(plain)


def _literal(plain: socket.socket) -> str:
    """Our address as a literal (RFC 5321 section 4.1.4): what a client says that has no name of its own."""
    ours = ip_address(str(plain.getsockname()[0]).partition("%")[0])
    return f"[IPv6:{ours}]" if isinstance(ours, IPv6Address) else f"[{ours}]"


class _Talk:
    """Replies of whole lines."""

    def __init__(self, wire: socket.socket, end: float) -> None:
        self._wire = wire
        self._end = end
        self._rest = b""
        self._taken = 0

    def say(self, line: str) -> None:
        self._wire.settimeout(self._left())
        self._wire.sendall(line.encode("ascii") + b"\r\n")

    def reply(self) -> list[bytes]:
        """The lines of one reply (RFC 5321 section 4.2.1)."""
        lines: list[bytes] = []
        while len(lines) < _MOST_LINES:
            line = self._line()
            if not line[:3].isdigit():
                raise _SilenceError("it does not speak SMTP")
            lines.append(line)
            if line[3:4] != b"-":
                return lines
        raise _SilenceError(f"a reply of more than {_MOST_LINES} lines")

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            self._wire.settimeout(self._left())
            piece = self._wire.recv(4096)
            if not piece:
                raise _SilenceError("it closed the connection")
            self._taken += len(piece)
            if self._taken > MOST_OCTETS:
                raise _SilenceError(f"more than {MOST_OCTETS} octets")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.rstrip(b"\r")

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
