"""One client connection: moves bytes between the transport and the SMTP engine, and events to their handlers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

from postlatch.limits.clients import client_prefix
from postlatch.model.envelope import Client, Role
from postlatch.model.events import Event, JsonValue
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Refuse
from postlatch.policy.decide import decide_connection
from postlatch.policy.facts import ConnectionFacts, LimitReached
from postlatch.policy.replies import rfc3339
from postlatch.server import charges
from postlatch.server.login import LoginHandler
from postlatch.server.mail import MailHandler
from postlatch.server.refusals import tell
from postlatch.server.services import Services
from postlatch.smtp import events as ev
from postlatch.smtp.server import ServerConfig, ServerSession

TLS_GOODBYE = 3.0  # seconds for a client to answer our close_notify; the loop's default of 30 would hold up every stop
_MAX_BUFFERED = 262_144  # octets that may wait in the engine while an answer is made; beyond, reading pauses
_TOO_SLOW = Reply(421, "4.4.2", "Too slow; closing")
_IDLE = Reply(421, "4.4.2", "Idle for too long; closing")
_TOO_LONG = Reply(421, "4.4.2", "Session lasted too long; closing")
_UNREMARKABLE = frozenset({ev.Reason.QUIT, ev.Reason.REFUSED, ev.Reason.SHUTDOWN, ev.Reason.ANSWERED})
_SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down; try again soon")


@dataclass(frozen=True, slots=True)
class ListenerPort:
    """What a connection knows of the listener that took it in. ``tls`` is None where there is no certificate."""

    name: str
    role: Role
    tls: ssl.SSLContext | None
    implicit_tls: bool
    mechanisms: tuple[str, ...]


class Connection(asyncio.Protocol):
    """An asyncio.Protocol. ``registry`` is the set of live connections of this listener."""

    def __init__(self, services: Services, port: ListenerPort, registry: set[Connection]) -> None:
        self.services = services
        self.port = port
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()  # encrypted commands that arrive before start_tls() returns
        self._upgrading = False
        self._reading_paused = False
        self._client_slow = False
        self._counted = ""
        self._commands = self._unread = 0
        self._closing = False
        self.started = self.last_read = self._loop.time()
        self.body_started = 0.0
        self.body_octets = 0
        self.account: str | None = None
        self.generation = 0  # of the account when it logged in: a later one ends this login
        self.session = ServerSession(self._config())
        self.mail = MailHandler(self)
        self.login = LoginHandler(self)
        self._handlers: dict[type, Callable[..., None]] = {
            ev.Mail: self.mail.on_mail,
            ev.Rcpt: self.mail.on_rcpt,
            ev.BodyStart: self.mail.on_body_start,
            ev.BodyChunk: self.mail.on_body_chunk,
            ev.BodyEnd: self.mail.on_body_end,
            ev.TransactionDropped: self.mail.on_dropped,
            ev.AuthStart: self.login.on_start,
            ev.AuthResponse: self.login.on_response,
            ev.AuthCancelled: self.login.on_cancelled,
            ev.Hello: lambda _: None,
            ev.StartTls: self._on_starttls,
            ev.Rejected: self._on_rejected,
            ev.Closed: self._on_closed,
        }

    def _config(self) -> ServerConfig:
        limits, port = self.services.session, self.port
        return ServerConfig(
            hostname=self.services.snapshot.hostname,
            role=port.role,
            tls_offered=port.tls is not None and not port.implicit_tls,
            tls_active=port.implicit_tls,
            mechanisms=port.mechanisms,
            max_size=limits.size,
            max_line=limits.line,
            max_recipients=limits.recipients,
            max_transactions=limits.transactions,
            max_errors=limits.errors,
            max_commands=limits.commands,
        )

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, or refuse it before the greeting."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if not peer:  # the client was gone before we looked
            transport.abort()
            return
        address = ip_address(peer[0].partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        self.client = Client(mapped or address, peer[1])
        self.client_text = str(self.client.address)
        self.client_prefix = client_prefix(self.client.address)
        self._registry.add(self)
        self.services.count.inc("postlatch_connections_total", (self.port.name,))
        verdict = decide_connection(self._connection_facts())
        if not isinstance(verdict, Accept):
            tell(self.services, "connection.refused", verdict, self.where())
            self.session.refuse(verdict.reply)
            self.pump()
        elif self.services.session.greeting_delay > 0 and self.port.role is Role.MX:
            self._loop.call_later(self.services.session.greeting_delay, self._greet)
        else:
            self._greet()

    def data_received(self, data: bytes) -> None:
        """Feed the engine. Bytes that come while TLS is being set up wait for its end."""
        self.last_read = self._loop.time()
        if self._upgrading:
            self._held += data
            return
        if self._closing:
            return
        self.session.receive(data)
        self.pump()
        if self.session.waiting:
            self._hold_back(len(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        """Drop what was not committed."""
        self._closing = True
        self.mail.drop()
        self._registry.discard(self)
        if self._counted:
            self.services.gauge.release(self._counted)
            self._counted = ""

    def pause_writing(self) -> None:
        """The client does not read its replies: stop reading its commands until it does."""
        self._client_slow = True
        self._update_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._client_slow = False
        self._update_reading()

    # The pump

    def pump(self) -> None:
        """Handle every event that is ready, then send what the engine has to say in one write."""
        session = self.session
        while (event := session.next_event()) is not None:
            self._handlers[type(event)](event)
        self.flush()
        if self._commands and not self._closing:
            self._charge_commands()

    def flush(self) -> None:
        """Send what the engine has to say now."""
        output = self.session.output()
        if output and self._transport is not None and not self._transport.is_closing():
            self._transport.write(output)

    def resume(self) -> None:
        """An answer was given outside the pump: go on with what waited behind it."""
        if self._closing:
            return
        self.pump()
        if not self.session.waiting:
            self._unread = 0
            if self._reading_paused:
                self._reading_paused = False
                self._update_reading()

    def command(self) -> None:
        """Count one command towards the client's limit."""
        self._commands += 1

    def where(self) -> dict[str, JsonValue]:
        """The fields that every event of this connection carries."""
        return {
            "listener": self.port.name,
            "client": self.client_text,
            "helo": self.session.helo,
            "account": self.account or "",
        }

    def close(self, reply: Reply) -> None:
        """End the session with a 421, as politely as its state permits."""
        if not self._closing and self._transport is not None:
            self.session.shutdown(reply)
            self.pump()

    # What the engine asks for

    def _greet(self) -> None:
        if not self._closing:
            self.session.start()
            self.pump()

    def _on_starttls(self, _event: ev.StartTls) -> None:
        # The 220 must be the last plaintext octet, and nothing may be read until the handshake has begun (DESIGN section 7).
        transport = self._transport
        assert transport is not None
        assert self.port.tls is not None
        transport.pause_reading()
        self.flush()
        self._upgrading = True
        task = self._loop.create_task(self._upgrade(transport, self.port.tls))
        task.add_done_callback(_consume)

    async def _upgrade(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        try:
            secured = await self._loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=30, ssl_shutdown_timeout=TLS_GOODBYE
            )
        except (OSError, ssl.SSLError, TimeoutError):
            self._ended("TLS handshake failed")
            self.abort()
            return
        if secured is None or self._closing or secured.get_extra_info("cipher") is None:
            # uvloop's start_tls returns as if all were well when the connection is lost in the middle of the handshake.
            self.abort()
            return
        self._transport = secured
        self._upgrading = False
        self.account = None
        self.session.tls_started()
        held, self._held = bytes(self._held), bytearray()
        if held and not self._closing:
            self.session.receive(held)
        self.pump()

    def _on_rejected(self, event: ev.Rejected) -> None:
        self.command()
        name = {"MAIL": "sender.refused", "RCPT": "recipient.refused"}.get(event.verb)
        if name is not None:
            tell(self.services, name, Refuse(event.reply, "syntax", event.reply.text), self.where())

    def _on_closed(self, event: ev.Closed) -> None:
        if event.reason not in _UNREMARKABLE:
            self._ended(event.reason)
        self._closing = True
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def _ended(self, why: str) -> None:
        self.services.record(Event("session.ended", self.services.clock.now(), {**self.where(), "why": why}))

    def abort(self) -> None:
        """Cut the connection now."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # Limits

    def _connection_facts(self) -> ConnectionFacts:
        services = self.services
        now = services.clock.now()
        prefix = self.client_prefix
        limit = None
        if services.gauge.acquire(prefix, services.rules.connections):
            self._counted = prefix
        else:
            limit = LimitReached(f"client connections {services.rules.connections} at once", now + 60, day_spent=False)
        if limit is None:
            limit = charges.check(services, charges.command_charge(services.rules, prefix, 1))
        return ConnectionFacts(
            snapshot=services.snapshot,
            listener=self.port.name,
            client=self.client,
            now=now,
            banned_until=services.bans.until(self.client.address, now),
            limit=limit,
        )

    def _charge_commands(self) -> None:
        count, self._commands = self._commands, 0
        charge = charges.command_charge(self.services.rules, self.client_prefix, count)
        found = self.services.limiter.spend(charge, self.services.clock.now()) if charge else None
        if found is not None:
            self.services.limiter.charge(charge, self.services.clock.now())
            self.mail.limit_event(found.name)
            self.close(Reply(421, "4.7.0", f"Limit reached: {found.name}; try again after {rfc3339(found.retry_at + 1)}"))

    def check_time(self, now: float) -> None:
        """Called once a second by the server with the loop's time: cut off the idle, the endless and the trickling."""
        if self._closing:
            return
        limits = self.services.session
        if self.session.waiting:  # it is we who are slow
            self.last_read = now
        elif now - self.last_read > limits.idle:
            self._time_out(_IDLE)
        elif now - self.started > limits.total and not self.session.in_transaction:
            self._time_out(_TOO_LONG)
        elif self.session.in_body and self._trickles(now):
            self._time_out(_TOO_SLOW)

    def _trickles(self, now: float) -> bool:
        elapsed = now - self.body_started
        return elapsed > 30 and self.body_octets < self.services.session.data_rate * elapsed

    def _time_out(self, reply: Reply) -> None:
        if self._upgrading:
            self.abort()
        else:
            self.close(reply)

    def drain(self) -> None:
        """The relay stops: end the session unless a message is on its way in."""
        if not self.session.in_transaction and not self._upgrading:
            self.close(_SHUTTING_DOWN)

    # Flow control

    def _hold_back(self, octets: int) -> None:
        self._unread += octets
        if self._unread > _MAX_BUFFERED and not self._reading_paused:
            self._reading_paused = True
            self._update_reading()

    def _update_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._upgrading:
            return
        if self._reading_paused or self._client_slow:
            transport.pause_reading()
        else:
            transport.resume_reading()


def _consume(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
