"""The questions about TLS that are put to one place: some twenty handshakes, most of which end with the server's first word."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from postlatch.audit.posture.wire import suites
from postlatch.audit.posture.wire.answer import AnswerReader, NotTls
from postlatch.audit.posture.wire.hello import SSL3, TLS10, TLS11, TLS12, TLS13, Hello, client_hello
from postlatch.audit.posture.wire.line import Failure, Line, connected
from postlatch.audit.posture.wire.sight import NOBODY, Heard, Outcome, Sight, Trust
from postlatch.audit.printable import printable
from postlatch.senderauth.spf.names import can_be_asked

_MOST_HANDSHAKE: Final = 131_072
_LEGACY_SERVER_CONNECT: Final = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT: only look, whatever the server's age

Left = Callable[[], float]


class Scanner(NamedTuple):
    """``left`` is how many seconds one conversation may take now; ``silent`` are those after which a port that says nothing is
    taken for one with TLS from the first octet, None if it must speak first. ``sight`` is filled."""

    sight: Sight
    helo: str
    silent: float | None
    left: Left
    dice: Random
    trusting: ssl.SSLContext
    seeing: ssl.SSLContext
    turns: asyncio.Semaphore

    async def scan(self) -> Sight:
        """Everything; never raises for what a server can do."""
        sight, every = self.sight, suites.EVERY
        first = await self._hear(TLS12, every, chain=True)
        if sight.failure is not None:
            return sight
        if first.outcome is Outcome.UNSEEN:
            sight.failure = Failure(first.why)
            return sight
        sight.versions[TLS12] = first
        if first.hello is not None:
            sight.chain = first.hello.certificates
        others = (SSL3, TLS10, TLS11, TLS13)
        answers = await asyncio.gather(*(self._hear(v, tuple(suites.TLS13) if v == TLS13 else every) for v in others))
        sight.versions.update(zip(others, answers, strict=True))
        await asyncio.gather(self._weak(), self._exchange(), self._order(), self._certificate())
        if sight.accepted:
            best = sight.accepted[-1]
            sight.control = await self._hear(best, tuple(suites.TLS13) if best == TLS13 else every)
        return sight

    async def _weak(self) -> None:
        sight = self.sight
        # What is refused in the newest version may be taken in the oldest: EXPORT ended with TLS 1.1 (RFC 4346).
        versions = tuple(dict.fromkeys((*sight.old[-1:], *sight.old[:1])))
        asked = [(family, version) for family in suites.WEAK for version in versions]
        answers = await asyncio.gather(*(self._hear(version, tuple(suites.WEAK[family])) for family, version in asked))
        for (family, _), answer in zip(asked, answers, strict=True):
            sight.weak.setdefault(family, []).append(answer)

    async def _exchange(self) -> None:
        sight = self.sight
        if sight.old:
            sight.finite_field = await self._hear(sight.old[-1], tuple(suites.FINITE_FIELD), chain=True)

    async def _order(self) -> None:
        """What was chosen is offered last: a server with an order of its own chooses it again."""
        sight = self.sight
        chosen = sight.versions[sight.old[-1]].hello if sight.old else None
        if chosen is not None:
            rest = tuple(suite for suite in suites.EVERY if suite != chosen.suite)
            sight.reordered = await self._hear(sight.old[-1], (*rest, chosen.suite))

    async def _hear(self, version: int, offered: tuple[int, ...], *, chain: bool = False) -> Heard:
        reader = AnswerReader(chain=chain)
        started = False
        try:
            async with self.turns, connected(self.sight.place, self.left) as line:
                await self._greet(line)
                started = True
                name = self.sight.place.host if can_be_asked(self.sight.place.host) else ""
                await line.send(client_hello(Hello(version, offered, name), self.dice))
                while not reader.done and (data := await line.receive()):
                    reader.feed(data)
        except NotTls as error:
            return Heard(Outcome.UNSEEN, why=f"its answer is no TLS: {error}")
        except Failure as failure:
            if not started and not self.sight.versions:
                self.sight.failure = failure
            lost = started and failure.lost
            return Heard(Outcome.CLOSED if lost else Outcome.UNSEEN, why=str(failure))
        return _judge(reader, version)

    async def _greet(self, line: Line) -> None:
        """What was learned at the first time holds for all others."""
        known = self.sight.greeting
        try:
            await line.greet(self.helo, known, self.silent)
        finally:
            self.sight.greeting = known if known != NOBODY else line.greeting

    async def _certificate(self) -> None:
        """Two whole handshakes at most: one that trusts only what it should, and one that takes any certificate."""
        sight = self.sight
        try:
            sight.leaf = await self._complete(self.trusting)
            sight.trust = Trust(good=True, why="")
            return
        except ssl.SSLCertVerificationError as error:
            sight.trust = Trust(False, error.verify_code, printable(error.verify_message, 200))
        except (Failure, ssl.SSLError) as error:
            sight.trust = Trust(why=_words(error))
        try:
            sight.leaf = await self._complete(self.seeing)
        except (Failure, ssl.SSLError):
            sight.leaf = sight.chain[0] if sight.chain else b""

    async def _complete(self, context: ssl.SSLContext) -> bytes:
        """The server's certificate (DER)."""
        async with self.turns, connected(self.sight.place, self.left) as line:
            await self._greet(line)
            return await handshake(line, context, self.sight.place.host)


async def handshake(line: Line, context: ssl.SSLContext, name: str) -> bytes:
    """A whole handshake; the certificate of the server in DER."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    except ValueError:
        raise Failure("its name cannot stand in a certificate") from None
    octets = 0
    while True:
        try:
            tls.do_handshake()
            return tls.getpeercert(binary_form=True) or b""
        except ssl.SSLWantReadError:
            await line.send(outgoing.read())
        data = await line.receive()
        octets += len(data)
        if not data or octets > _MOST_HANDSHAKE:
            raise Failure("the handshake was not completed")
        incoming.write(data)


def contexts(authorities: str | None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One that trusts this machine's authorities (or those of a PEM file), one that looks only. Names are judged elsewhere."""
    trusting = ssl.create_default_context(cafile=authorities)
    seeing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (trusting, seeing):
        context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")  # what is weak is a finding of its own, and must not hide the certificate
        context.options |= _LEGACY_SERVER_CONNECT
    seeing.verify_mode = ssl.CERT_NONE
    return trusting, seeing


def _judge(reader: AnswerReader, version: int) -> Heard:
    if (hello := reader.hello) is not None:
        taken = hello.version == version
        return Heard(Outcome.ACCEPTED, hello) if taken else Heard(Outcome.REFUSED, why="it chose another version")
    if reader.alert is not None:
        return Heard(Outcome.REFUSED)
    return Heard(Outcome.CLOSED, why="it closed the connection")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return printable((error.reason or "TLS failed").replace("_", " ").lower(), 200)
    return str(error)
