"""One connection to a mail server, up to where TLS begins. Everything is bounded: octets, lines, and one time limit for all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.model.envelope import IPAddress

_MOST_OCTETS: Final = 65_536  # of the clear-text part
_MOST_LINE: Final = 2_048
_MOST_LINES: Final = 100
_NO_ROUTE: Final = frozenset(
    {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM}
)


class Place(NamedTuple):
    """Where: a host by its name, one of its addresses, a port."""

    host: str
    address: IPAddress
    port: int

    @property
    def text(self) -> str:
        """``mx.example.com:25``."""
        return f"{self.host}:{self.port}"


class Failure(Exception):
    """The conversation ended before what was wanted.

    ``refused``: nobody listens; ``no_route``: not to be reached from here; ``no_tls``: it has none; ``lost``: the connection.
    """

    def __init__(
        self, why: str, *, refused: bool = False, no_route: bool = False, no_tls: bool = False, lost: bool = False
    ) -> None:
        super().__init__(why)
        self.refused = refused
        self.no_route = no_route
        self.no_tls = no_tls
        self.lost = lost


class Greeting(NamedTuple):
    """``banner`` and ``ehlo`` are the names that the server gives itself, ``said`` its banner, printable."""

    banner: str = ""
    ehlo: str = ""
    said: str = ""
    implicit: bool = False


class Upgrade(NamedTuple):
    """How TLS is asked for where mailboxes are read, and how the answers begin, in capitals."""

    command: bytes
    good: bytes
    bad: tuple[bytes, ...]


# By how the greeting begins: RFC 9051 section 6.2.1, RFC 2595 section 4.
_MAILBOXES: Final = {
    b"* OK": Upgrade(b"a STARTTLS", b"A OK", (b"A NO", b"A BAD")),
    b"+OK": Upgrade(b"STLS", b"+OK", (b"-ERR",)),
}


class Line:
    """A connection on which TLS may begin now. ``greeting`` is what was said before."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._octets = 0
        self.greeting = Greeting()

    async def send(self, data: bytes) -> None:
        """Raw octets."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """Raw octets, empty at the end."""
        return await self._reader.read(16_384)

    async def greet(self, helo: str, known: Greeting, silent: float | None) -> None:
        """Up to STARTTLS, unless TLS comes first: that is ``known`` from before, or nothing is said for ``silent`` seconds."""
        if known.implicit:
            self.greeting = known
            return
        try:
            async with asyncio.timeout(None if known.said else silent):
                first = await self._line()
        except TimeoutError:
            self.greeting = Greeting(implicit=True)
            return
        for begins, upgrade in _MAILBOXES.items():
            if first.upper().startswith(begins):
                await self._mailbox(first, upgrade)
                return
        await self._smtp(helo, await self._reply(first))

    async def _mailbox(self, first: bytes, upgrade: Upgrade) -> None:
        """IMAP or POP3: TLS at once, before anything else is asked."""
        self.greeting = Greeting(said=printable(first.strip(), 200))
        await self.send(upgrade.command + b"\r\n")
        for _ in range(_MOST_LINES):
            line = await self._line()
            if line.upper().startswith(upgrade.good):
                return
            if line.upper().startswith(upgrade.bad):
                raise Failure(f"it does not begin TLS: {printable(line.strip(), 100)}", no_tls=True)
        raise Failure(f"a reply has more than {_MOST_LINES} lines")

    async def _smtp(self, helo: str, banner: list[bytes]) -> None:
        if not banner[0].startswith(b"220"):
            raise Failure(f"it greets with {printable(banner[0], 100)}")
        ehlo = await self._command(f"EHLO {helo}")
        self.greeting = Greeting(_first_word(banner[0]), _first_word(ehlo[0]), printable(banner[0], 200))
        if not ehlo[0].startswith(b"250"):
            raise Failure(f"EHLO is answered with {printable(ehlo[0], 100)}")
        if not any(line[4:].strip().upper() == b"STARTTLS" for line in ehlo):
            raise Failure("it does not offer STARTTLS", no_tls=True)
        ready = await self._command("STARTTLS")
        if not ready[0].startswith(b"220"):
            raise Failure(f"STARTTLS is answered with {printable(ready[0], 100)}", no_tls=ready[0][:1] == b"5")

    async def _command(self, text: str) -> list[bytes]:
        await self.send(text.encode("ascii") + b"\r\n")
        return await self._reply()

    async def _reply(self, first: bytes | None = None) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < _MOST_LINES:
            line = await self._line() if first is None or lines else first
            if not line[:3].isdigit() or line[3:4] not in {b" ", b"-", b""}:
                raise Failure(f"it does not speak SMTP: {printable(line, 60)}")
            lines.append(line)
            if line[3:4] != b"-":
                return lines
        raise Failure(f"a reply has more than {_MOST_LINES} lines")

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise Failure(f"a line is longer than {_MOST_LINE} octets") from None
        except asyncio.IncompleteReadError:
            raise Failure("it closed the connection") from None
        self._octets += len(line)
        if self._octets > _MOST_OCTETS:
            raise Failure(f"it sent more than {_MOST_OCTETS} octets before TLS")
        return line.rstrip(b"\r\n")


@contextlib.asynccontextmanager
async def connected(place: Place, left: Callable[[], float]) -> AsyncIterator[Line]:
    """A connection for as many seconds as are ``left`` now, whatever the server does. Failure for every way to fail."""
    seconds = left()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(  # noqa: TID251 - a few lines may be copied twice
                str(place.address), place.port, limit=_MOST_LINE
            )
            yield Line(reader, writer)
    except TimeoutError:
        raise Failure(f"no answer within {seconds:.0f} s") from None
    except ssl.SSLError:  # an OSError too, whose number is OpenSSL's
        raise
    except OSError as error:
        raise _failure(error) from None
    finally:
        if writer is not None:
            writer.transport.abort()


def _failure(error: OSError) -> Failure:
    if isinstance(error, ConnectionRefusedError):
        return Failure("nobody listens there", refused=True)
    if error.errno in _NO_ROUTE:
        return Failure("there is no way to it from here", no_route=True)
    return Failure("the connection was lost", lost=True)


def _first_word(line: bytes) -> str:
    words = line[4:204].split()
    return printable(words[0], 200).lower() if words else ""
