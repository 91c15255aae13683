"""What a client of the tests speaks through: a socket or memory, and the strict reader of replies that both share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

_LINE = re.compile(rb"([2-5][0-9]{2})([ -])([ -~]*)\r\n")
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3}) ")


class Reply(NamedTuple):
    """A reply as it came. ``enhanced`` is empty if there is none; the lines of ``text`` are without codes."""

    code: int
    enhanced: str
    text: str


class ReplyReader:
    """Octets to replies. AssertionError for anything that is not a well-formed reply: the server must never say it."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are whole now."""
        self._buffer += data
        found = []
        while b"\n" in self._buffer:
            match = _LINE.match(self._buffer)
            assert match is not None, f"not a reply: {self._buffer!r}"
            self._buffer = self._buffer[match.end() :]
            self._lines.append(match[3].decode("ascii"))
            if match[2] == b" ":
                found.append(_reply(int(match[1]), self._lines))
                self._lines = []
        return found


def _reply(code: int, lines: Sequence[str]) -> Reply:
    match = _ENHANCED.match(lines[0])
    enhanced = match[1] if match else ""
    return Reply(code, enhanced, "\n".join(line.removeprefix(f"{enhanced} ") if enhanced else line for line in lines))


class Wire(Protocol):
    """One connection of a client."""

    @property
    def closed(self) -> bool:
        """The server has hung up."""
        ...

    @property
    def tls(self) -> bool:
        """TLS is active."""
        ...

    def open(self) -> None:
        """Connect; with implicit TLS, shake hands."""
        ...

    def exchange(self, data: bytes, count: int) -> list[Reply]:
        """Send, and wait for ``count`` replies; fewer only if the server hangs up or falls silent."""
        ...

    def handshake(self, *, certificate: bool = False) -> None:
        """TLS, after a 220; with a client certificate of our own making if asked for."""
        ...

    def unasked(self, seconds: float) -> list[Reply]:
        """What comes within that time though nothing was sent."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...
