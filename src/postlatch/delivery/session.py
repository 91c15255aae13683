"""One connection to a next hop: drives the client engine over an asyncio transport. See ``session_setup`` for its beginning.

Once it is live, everything happens in callbacks: no task, one write for all that is ready. In the steady state of a pipelining
server, one packet brings the reply to the last message and the go-ahead for this one, and one packet takes this one's body, its
final dot and the next one's envelope.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol, cast

from postlatch.delivery.contract import Body, ConnectFailed, TlsPolicy
from postlatch.delivery.tls import is_protected
from postlatch.delivery.tls_demand import Demand
from postlatch.delivery.tls_peer import refusal
from postlatch.delivery.tls_seen import GENERAL, result_of
from postlatch.model.clock import Clock
from postlatch.smtp.client import ClientSession
from postlatch.smtp.client_capabilities import Capabilities
from postlatch.smtp.client_events import (
    BodyWanted,
    Challenge,
    ClientEvent,
    Closed,
    Finished,
    LoggedIn,
    LoginRefused,
    Ready,
    TlsGo,
    TlsRefused,
)
from postlatch.smtp.client_replies import Outcome, escape
from postlatch.smtp.client_states import Awaits
from postlatch.smtp.client_transaction import Transaction

SetupEvent = Ready | TlsGo | TlsRefused | Challenge | LoggedIn | LoginRefused


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of silence that are borne, by what is awaited (RFC 5321 section 4.5.3.2, where it has a figure).

    The greeting gets 60 instead of 300: there are other hosts to try, and a host that is so slow is overloaded.
    """

    connect: float = 30
    greeting: float = 60
    hello: float = 120  # EHLO, HELO, LHLO, STARTTLS, AUTH: a server may look up DNS or a password
    handshake: float = 60
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180  # while the peer takes no data
    final: float = 600
    reset: float = 60
    quit: float = 5

    def of(self, awaits: Awaits) -> float:
        """Seconds for what is awaited now; infinite if nothing is."""
        name = _TIMEOUTS.get(awaits)
        return inf if name is None else getattr(self, name)


_TIMEOUTS: Final = {
    Awaits.GREETING: "greeting",
    Awaits.EHLO: "hello",
    Awaits.HELO: "hello",
    Awaits.LHLO: "hello",
    Awaits.STARTTLS: "hello",
    Awaits.AUTH: "hello",
    Awaits.MAIL: "mail",
    Awaits.RCPT: "rcpt",
    Awaits.DATA: "data",
    Awaits.BODY: "block",
    Awaits.FINAL: "final",
    Awaits.LONE_DOT: "final",
    Awaits.RSET: "reset",
    Awaits.QUIT: "quit",
}


class HandshakeFailed(Exception):
    """TLS could not be started. ``reply`` is a sentence of printable ASCII, ``result`` a type of RFC 8460 section 4.3."""

    def __init__(self, reply: str, result: str = GENERAL) -> None:
        super().__init__(reply)
        self.reply = reply
        self.result = result


class Job(Protocol):
    """What a session carries out. The caller waits for it elsewhere.

    ``since``: when it began to wait, in monotonic seconds. ``rerun``: it was lost once before the server said anything.
    ``mx_domain``: the domain whose mail it is, if its mail host comes from the DNS.
    """

    since: float
    rerun: bool
    mx_domain: str

    @property
    def abandoned(self) -> bool:
        """True if nobody waits for it any more."""
        ...

    def transaction(self, offered: Capabilities) -> Transaction:
        """Begin: the next transaction of this job."""
        ...

    def body(self) -> bytes | None:
        """The whole body; None if it is to be streamed."""
        ...

    def body_wanted(self, session: Session) -> None:
        """The body is to be streamed: ``session.stream`` must follow."""
        ...

    def settle(self, transaction: Transaction) -> bool:
        """Take the outcomes; True if there is more to do in another transaction."""
        ...

    def fail(self, error: ConnectFailed) -> None:
        """No transaction took place."""
        ...


class Owner(Protocol):
    """Who gives a session its work. All of it is called inside callbacks and must not raise."""

    def next_job(self, session: Session) -> Job | None:
        """The next job for a live session, None if there is none."""
        ...

    def offer(self, session: Session) -> None:
        """``session`` could take a job and there was none: the owner may call ``session.begin``."""
        ...

    def finished(self, session: Session, job: Job, transaction: Transaction) -> None:
        """A transaction of ``job`` has ended."""
        ...

    def gone(self, session: Session) -> None:
        """The connection has ended; its transactions were told to ``finished`` before."""
        ...


class Session(asyncio.Protocol):
    """A connection. Made outside, connected by the loop, set up by ``session_setup``, then ``go_live``.

    ``fresh``: no job was begun on it yet. ``kept``: it has been of use or has waited, so that a silent end is no news about
    the host. ``fallback``: plaintext because TLS failed, for this once. ``deadline`` is in monotonic seconds; whoever owns the
    session calls ``time_out`` after it.
    """

    def __init__(self, engine: ClientSession, owner: Owner, clock: Clock, timeouts: Timeouts) -> None:
        self.engine = engine
        self.fresh = True
        self.begun = 0  # transactions
        self.kept = False
        self.fallback = False
        self.deadline = inf
        self._owner = owner
        self._clock = clock
        self._timeouts = timeouts
        self._live = False
        self._transport: asyncio.Transport | None = None
        self._jobs: dict[Transaction, Job] = {}
        self._drained: asyncio.Future[None] | None = None  # set while the transport's buffer is full
        self._answer: asyncio.Future[SetupEvent] = asyncio.get_running_loop().create_future()

    # Setting up

    @property
    def local(self) -> str:
        """Our numeric address on this connection, empty where there is none."""
        name = self._transport.get_extra_info("sockname") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    async def ready(self) -> Ready:
        """Wait for the server to take our name; ConnectFailed."""
        event = await self._answer
        assert isinstance(event, Ready)
        return event

    async def ask(self, send: Callable[[], None]) -> SetupEvent:
        """Let the engine ``send`` a command, and wait for its answer; ConnectFailed."""
        self._answer = asyncio.get_running_loop().create_future()
        if self.engine.closed:
            raise ConnectFailed("lost connection")
        send()
        self._go_on()
        return await self._answer

    async def handshake(self, context: ssl.SSLContext, name: str, policy: TlsPolicy, demand: Demand | None = None) -> None:
        """Start TLS after ``TlsGo``; ``name`` is for SNI and verification. HandshakeFailed."""
        loop = asyncio.get_running_loop()
        assert self._transport is not None
        self.deadline = inf  # the loop has its own time-out for this
        try:
            transport = await loop.start_tls(
                self._transport,
                self,
                context,
                server_hostname=name,
                ssl_handshake_timeout=self._timeouts.handshake,
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, an impossible host name a ValueError
            raise HandshakeFailed(f"TLS handshake failed: {_reason(error)}", result_of(error)) from None
        peer = transport.get_extra_info("ssl_object") if transport is not None else None
        if transport is None or not is_protected(peer, policy, demand):
            raise HandshakeFailed("TLS handshake failed: lost connection")
        if demand is not None and demand.tlsa and (failure := refusal(peer, demand, self._clock.now())) is not None:
            transport.abort()
            raise HandshakeFailed(f"DANE verification failed: {failure.reason}", failure.result)
        self._transport = transport

    def go_live(self) -> None:
        """Take work from now on."""
        self._live = True
        self._go_on()

    # Working

    def begin(self, job: Job) -> None:
        """Carry out a job; only for a session that was offered."""
        self._start(job)
        self._go_on()

    async def stream(self, body: Body) -> None:
        """Send a body piece by piece, in bounded memory. What ``body.chunks`` raises ends the connection and comes out here."""
        pieces = body.chunks()
        try:
            async for piece in pieces:
                self.engine.send_body(piece)
                self._go_on()
                if self._drained is not None:
                    await self._drained
                if self.engine.closed:
                    return
        except BaseException:
            # The dot must not follow a body that is not whole.
            self.abort("given up")
            raise
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        self.engine.end_body()
        self._go_on()

    def quit(self) -> None:
        """Take leave and close; only for a session without work."""
        self._live = False
        self.engine.quit()
        self._go_on()

    def time_out(self) -> None:
        """The deadline has passed."""
        self.abort("timed out")

    def abort(self, what: str) -> None:
        """End at once; ``what`` is why, in our own words."""
        self.engine.lost(what)
        self._go_on()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there; the server speaks first."""
        self._transport = cast("asyncio.Transport", transport)
        if self.engine.closed:
            self._transport.abort()
        self._touch()

    def data_received(self, data: bytes) -> None:
        """Octets from the server."""
        self._go_on(moved=self.engine.receive(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the cause is never more than "reset"
        """The connection has ended."""
        self._transport = None
        self.abort("lost connection")

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
            self._touch()

    # Inside

    def _go_on(self, *, moved: bool = False) -> None:
        """Handle what happened, take the next job, send what there is; set the deadline anew if either side has moved."""
        engine = self.engine
        while True:
            while events := engine.take_events():
                for event in events:
                    self._handle(event)
            if not (self._live and engine.can_begin):
                break
            job = self._owner.next_job(self)
            if job is None:
                break
            self._start(job)
        data = engine.take_output()
        if data and self._transport is not None:
            self._transport.write(data)
        if data or moved:
            self._touch()
        if self._live and not engine.closed and (engine.can_begin or engine.exhausted):
            self._owner.offer(self)

    def _touch(self) -> None:
        self.deadline = self._clock.monotonic() + self._timeouts.of(self.engine.awaits)

    def _start(self, job: Job) -> None:
        self.fresh = False
        self.begun += 1
        transaction = job.transaction(self.engine.capabilities)
        self._jobs[transaction] = job
        self.engine.begin(transaction)

    def _handle(self, event: ClientEvent) -> None:
        if isinstance(event, Finished):
            transaction = event.transaction
            self._owner.finished(self, self._jobs.pop(transaction), transaction)
            if not transaction.replayable:
                self.kept = True
        elif isinstance(event, BodyWanted):
            self._send_body(self._jobs[event.transaction])
        elif isinstance(event, Closed):
            self._close(event.reason)
        else:
            if isinstance(event, TlsGo) and self._transport is not None:
                # Whatever the server sent in plaintext behind its 220 must meet the handshake, not us.
                self._transport.pause_reading()
            if not self._answer.done():  # it is done only if the one who asked was cancelled
                self._answer.set_result(event)

    def _send_body(self, job: Job) -> None:
        if job.abandoned:
            self.engine.lost("given up")
            return
        body = job.body()
        if body is None:
            job.body_wanted(self)
        else:
            self.engine.send_body(body)
            self.engine.end_body()

    def _close(self, reason: Outcome | None) -> None:
        transport = self._transport
        if transport is not None and reason is None:
            transport.close()
        elif transport is not None:
            transport.abort()
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
        if not self._answer.done():
            self._answer.set_exception(ConnectFailed("closed" if reason is None else reason.text))
            self._answer.exception()  # whether anybody still waits for it does not matter
        self._owner.gone(self)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return escape(f"the certificate was not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return escape((error.reason or type(error).__name__).replace("_", " ").lower())
    return "timed out" if isinstance(error, ConnectionAbortedError) else "lost connection"
