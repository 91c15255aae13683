"""One SMTP conversation of the auditor: plain lines and raw octets, bounded in every direction, and written down.

This is no mail client. It sends what no client would, believes nothing that comes back, and shares no code with the server
that it may be judging.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from typing import Final, NamedTuple, Self

from postlatch.audit.printable import printable
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.place import Place, Tls

MAX_LINE: Final = 4096  # octets; RFC 5321 section 4.5.3.1.5 allows a reply 512
MAX_LINES: Final = 100
MAX_TRANSCRIPT: Final = 400  # lines
_CODE_LENGTH: Final = 3
_PIECE: Final = 65536


class Reply(NamedTuple):
    """What a server answered. ``lines`` are printable and without the code; ``enhanced`` is ``5.7.1``, or empty (RFC 3463)."""

    code: int
    lines: tuple[str, ...]
    enhanced: str = ""

    @property
    def text(self) -> str:
        """All of it in one line."""
        return printable(" ".join((str(self.code), self.enhanced, *self.lines)).replace("  ", " "))

    @property
    def taken(self) -> bool:
        """2xx."""
        return 200 <= self.code < 300

    @property
    def later(self) -> bool:
        """4xx."""
        return 400 <= self.code < 500


class Conversation:
    """Made by `Dialer`; use it as ``async with``.

    ``transcript`` holds printable lines, ``C:`` ours and ``S:`` theirs. Everything that waits ends with Ended, at the latest
    ``patience`` seconds after it began to wait.
    """

    def __init__(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, manners: Manners, *, patience: float
    ) -> None:
        self.place = place
        self.transcript: list[str] = []
        self.banner = Reply(0, ())
        self.features: dict[str, str] = {}
        self.encrypted = place.tls is Tls.FIRST
        self._reader = reader
        self._writer = writer
        self._manners = manners
        self._patience = patience
        self._recipients: list[bytes] = []
        self._sender = b""  # gets the bounces

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def local_address(self) -> str:
        """The address that this connection comes from, as this machine sees it."""
        return str(self._writer.get_extra_info("sockname")[0])

    # What is said

    async def say(self, line: str | bytes) -> Reply:
        """Send one command, without its line end, and wait for the answer."""
        await self.send(_octets(line) + b"\r\n")
        return await self.reply()

    async def send(self, octets: bytes) -> None:
        """Send octets as they are. What would start a message is judged first (`Manners.message`)."""
        self._judge(octets)
        self._note("C", octets)
        self._writer.write(octets)
        with _ends():
            async with asyncio.timeout(self._patience):
                await self._writer.drain()

    async def send_body(self, octets: bytes) -> None:
        """Send octets of a message whose DATA was taken; what looks like a command in there is text to them."""
        self._note("C", octets)
        self._writer.write(octets)
        with _ends():
            async with asyncio.timeout(self._patience):
                await self._writer.drain()

    def _judge(self, octets: bytes) -> None:
        for line in octets.split(b"\n"):
            verb = line.strip().upper()
            if verb.startswith(b"RCPT"):
                self._recipients.append(line.strip()[4:].lstrip())
            elif verb.startswith(b"MAIL"):
                self._sender = line.strip()[4:].lstrip()
            elif verb.startswith((b"RSET", b"EHLO", b"HELO")):  # a MAIL in a transaction is refused and ends nothing
                self._recipients = []
            elif verb == b"DATA" or verb.startswith(b"BDAT"):  # RFC 3030
                self._manners.message([*self._recipients, self._sender])

    # What is heard

    async def reply(self, patience: float | None = None) -> Reply:
        """The next whole answer."""
        lines: list[str] = []
        code = 0
        for _ in range(MAX_LINES):
            raw = await self._line(patience or self._patience)
            code, last, text = _read_line(raw)
            lines.append(text)
            if last:
                return _reply(code, lines)
        raise Ended(Why.GARBAGE, f"the answer has more than {MAX_LINES} lines")

    async def unasked(self, seconds: float) -> bytes:
        """What the server says within ``seconds`` without being asked; empty if it is silent or closes."""
        try:
            async with asyncio.timeout(seconds):
                heard = await self._reader.read(_PIECE)
        except (TimeoutError, OSError):
            return b""
        if heard:
            self._note("S", heard[:MAX_LINE])
        return heard[:MAX_LINE]

    async def _line(self, patience: float) -> bytes:
        with _ends():
            async with asyncio.timeout(patience):
                raw = await self._reader.readuntil(b"\n")
        self._note("S", raw)
        return raw

    # What is common to most conversations

    async def greet(self, name: str, verb: str = "EHLO") -> Reply:
        """Say hello, and remember what the server offers."""
        reply = await self.say(f"{verb} {name}")
        offered = reply.lines[1:] if reply.taken and verb == "EHLO" else ()
        self.features = {word.upper(): rest for word, _, rest in (line.strip().partition(" ") for line in offered)}
        return reply

    async def starttls(self) -> Reply:
        """Ask for TLS, and shake hands if it is granted. What was offered before is forgotten (RFC 3207 section 4.2)."""
        reply = await self.say("STARTTLS")
        if reply.taken:
            await self.shake_hands()
        return reply

    async def shake_hands(self) -> None:
        """The handshake of TLS, with a server of any certificate and age: whether it is right is asked elsewhere."""
        try:
            async with asyncio.timeout(self._patience):
                await self._writer.start_tls(any_tls(), server_hostname=self.place.host or None)
        except (OSError, ssl.SSLError, TimeoutError, ValueError) as error:
            raise Ended(Why.TLS, f"no TLS: {printable(str(error) or type(error).__name__)}") from None
        self.encrypted, self.features = True, {}
        self.transcript.append("   (TLS)")

    async def close(self) -> None:
        """Say goodbye without waiting for the answer, and close."""
        with suppress(Exception):
            self._writer.write(b"QUIT\r\n")
            self._writer.close()
            async with asyncio.timeout(0.5):
                await self._writer.wait_closed()

    def _note(self, who: str, octets: bytes) -> None:
        for line in octets.removesuffix(b"\n").removesuffix(b"\r").split(b"\r\n"):
            if len(self.transcript) < MAX_TRANSCRIPT:
                self.transcript.append(f"{who}: {printable(line)}")


class Dialer:
    """Opens conversations, each in its turn. ``source`` is the address that they come from; ``helo`` how they greet."""

    def __init__(self, manners: Manners, *, helo: str, source: str = "", patience: float = 5.0) -> None:
        self.helo = helo
        self.patience = patience
        self._manners = manners
        self._source = source

    async def connect(self, place: Place) -> Conversation:
        """A connection, before its banner was read. Of TLS from the first octet the handshake is done."""
        await self._manners.connection()
        source = (self._source, 0) if self._source and (":" in self._source) == (":" in place.address) else None
        context = any_tls() if place.tls is Tls.FIRST else None
        name = (place.host or place.address) if context else None
        with _ends(Why.UNREACHABLE):
            async with asyncio.timeout(self.patience):
                reader, writer = await asyncio.open_connection(  # noqa: TID251 - a few lines a second may be copied twice
                    place.address, place.port, limit=MAX_LINE, local_addr=source, ssl=context, server_hostname=name
                )
        return Conversation(place, reader, writer, self._manners, patience=self.patience)

    async def open(self, place: Place, verb: str = "EHLO", helo: str = "") -> Conversation:
        """A conversation that was greeted and greets, encrypted as the place says. Ended if that does not work."""
        talk = await self.connect(place)
        try:
            await self._greeted(talk, verb, helo or self.helo)
        except BaseException:  # also of cancellation: nobody else closes it
            await talk.close()
            raise
        return talk

    async def _greeted(self, talk: Conversation, verb: str, helo: str) -> None:
        # Postscreen and other tarpits let strangers wait for it.
        talk.banner = await talk.reply(2 * self.patience)
        if not talk.banner.taken:
            raise Ended(Why.CLOSED, f"the banner refuses: {talk.banner.text}")
        if talk.place.tls is Tls.STARTTLS:
            await talk.greet(helo)
            if not (granted := await talk.starttls()).taken:
                raise Ended(Why.TLS, f"STARTTLS is refused: {granted.text}")
        reply = await talk.greet(helo, verb)
        if not reply.taken:
            raise Ended(Why.CLOSED, f"{verb} is refused: {reply.text}")


def any_tls() -> ssl.SSLContext:
    """TLS with whatever the server has: an auditor must also speak with servers that are set up badly."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


class _ends:  # noqa: N801 - used as a statement
    """Turns what can happen to a connection into Ended."""

    def __init__(self, otherwise: Why = Why.CLOSED) -> None:
        self._otherwise = otherwise

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case TimeoutError():
                raise Ended(Why.SILENT, "no answer in time") from None
            case asyncio.LimitOverrunError():
                raise Ended(Why.GARBAGE, f"a line has more than {MAX_LINE} octets") from None
            case asyncio.IncompleteReadError(partial=partial):
                rest = f" after {printable(partial)}" if partial else ""
                raise Ended(self._otherwise, f"the server closed the connection{rest}") from None
            case ssl.SSLError():
                raise Ended(Why.TLS, f"no TLS: {printable(str(error))}") from None
            case OSError():
                raise Ended(self._otherwise, _trouble(error)) from None


def _trouble(error: OSError) -> str:
    return (
        os.strerror(error.errno).lower() if error.errno and error.errno > 0 else printable(str(error) or "the connection broke")
    )


def _octets(line: str | bytes) -> bytes:
    return line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")


def _read_line(raw: bytes) -> tuple[int, bool, str]:
    """The code of a line, is it the last one, and its printable text. Ended if it is no line of an answer."""
    line = raw.rstrip(b"\r\n")
    code, after = line[:_CODE_LENGTH], line[_CODE_LENGTH : _CODE_LENGTH + 1]
    if not (len(code) == _CODE_LENGTH and code.isdigit() and code[:1] in b"2345" and after in {b"", b" ", b"-"}):
        raise Ended(Why.GARBAGE, f"this is no answer of a mail server: {printable(raw, 100)}")
    return int(code), after != b"-", printable(line[_CODE_LENGTH + 1 :])


def _reply(code: int, lines: list[str]) -> Reply:
    first, _, rest = lines[-1].partition(" ")
    numbers = first.split(".")
    if len(numbers) == 3 and all(number.isdigit() for number in numbers) and numbers[0] in {"2", "4", "5"}:
        return Reply(code, (*(line.removeprefix(first).strip() for line in lines[:-1]), rest), first)
    return Reply(code, tuple(lines))
