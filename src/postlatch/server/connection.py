"""One client connection: moves bytes between the transport and the SMTP engine, and events to their handlers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from postlatch.limits.clients import client_prefix
from postlatch.model.envelope import Role
from postlatch.model.events import Event, JsonValue
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Refuse
from postlatch.policy.decide import decide_connection
from postlatch.policy.facts import ConnectionFacts
from postlatch.policy.networks import IPNetwork
from postlatch.policy.replies import rfc3339
from postlatch.server import charges, watch
from postlatch.server.admission import Ticket
from postlatch.server.deadlines import Deadlines
from postlatch.server.engine import engine_config
from postlatch.server.login import LoginHandler
from postlatch.server.mail import MailHandler
from postlatch.server.proxy_arrival import Arrival, departed, direct, is_header
from postlatch.server.refusals import tell
from postlatch.server.services import Services
from postlatch.server.turns import QUANTUM, STRANGER, SUBMITTER, TRUSTED
from postlatch.server.upgrade import refused_tls, secure
from postlatch.smtp import events as ev
from postlatch.smtp.server import ServerSession

_MAX_BUFFERED: Final = 262_144  # octets that may wait in the engine while an answer is made; beyond, reading pauses
_UNREMARKABLE: Final = frozenset({ev.Reason.QUIT, ev.Reason.REFUSED, ev.Reason.SHUTDOWN, ev.Reason.ANSWERED})
_SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Shutting down; try again soon")


@dataclass(frozen=True, slots=True)
class ListenerPort:
    """What a connection knows of the listener that took it in. ``tls`` is None where there is no certificate."""

    name: str
    role: Role
    tls: ssl.SSLContext | None
    implicit_tls: bool
    mechanisms: tuple[str, ...]
    proxies: tuple[IPNetwork, ...] = ()  # who must send a PROXY header; nobody else may connect then
    local: bool = False  # the Unix socket of this machine


class Connection(asyncio.Protocol):
    """An asyncio.Protocol. ``registry`` is the set of live connections of this listener; ``ticket`` goes back at the end."""

    __deletable__ = ("login", "mail")  # for mypyc

    def __init__(self, services: Services, port: ListenerPort, registry: set[Connection], ticket: Ticket | None = None) -> None:
        self.services = services
        self.port = port
        self.ticket = ticket
        self.arrival: Arrival | None = None  # behind a proxy, who its header says has come
        self.identity, self.proxy = True, ""  # the client's address is its own; who speaks for it
        self.first_octets: bytes | None = b""  # while they may become a PROXY header
        self.made = False  # connection_made() was called, so connection_lost() will be
        self.lost = False
        self.kind = SUBMITTER if port.mechanisms else STRANGER
        self.deadlines = Deadlines()
        self.queued = False  # waits for its turn…
        self._behind = False  # …and for the client to read its replies
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()  # encrypted commands that arrive before start_tls() returns
        self.upgrading = False
        self._reading_paused = False
        self._client_slow = False
        self._commands = self._unread = 0
        self.closing = False
        self.started = self.last_read = self._loop.time()
        self.body_started = 0.0
        self.body_octets = 0
        self.account: str | None = None
        self.credential: str | None = None  # what it has shown, as in ``SenderFacts``
        self.generation = 0  # of the account when it logged in: a later one ends this login
        tls = port.tls is not None
        self.session = ServerSession(engine_config(services, port.role, port.mechanisms, tls=tls, implicit=port.implicit_tls))
        self.mail = MailHandler(self)
        self.login = LoginHandler(self)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, or refuse it before the greeting."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        self._transport = transport
        self.made = True
        arrival = self.arrival or direct(transport)
        if arrival is None:  # the client was gone before we looked
            transport.abort()
            return
        self.client, self.proxy, self.identity = arrival
        self.client_text, self.client_prefix = self.named()
        self._registry.add(self)
        self.login.secured(transport)
        snapshot = self.services.snapshot
        if self.port.role is Role.RELAY and self.identity and snapshot.rights_of(self.port.name, self.client.address):
            self.kind = TRUSTED
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

    def named(self) -> tuple[str, str]:
        """How the journal calls the client, and the limits."""
        return str(self.client.address), client_prefix(self.client.address)

    def data_received(self, data: bytes) -> None:
        """Feed the engine. Bytes that come while TLS is being set up wait for its end."""
        if self.upgrading:
            self._held += data
            return
        if self.closing or (self.first_octets is not None and is_header(self, data)):
            return
        self.session.receive(data)
        if self.queued:
            return
        if not self.services.load.turns.may_go(self.kind):
            self._wait_turn()
            return
        if not self.pump() and self.session.in_body:  # a refused body runs by: it moves, though nothing is made of it
            self.last_read = self._loop.time()
            self.body_octets += len(data)
        if self.session.waiting:
            self._hold_back(len(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        """Drop what was not committed, and every circle of references: a flood must not wait for the garbage collector."""
        self.closing = self.lost = True
        self.mail.drop()
        self._transport = None
        departed(self)
        del self.mail, self.login
        self._registry.discard(self)
        if self.ticket is not None:
            self.services.load.admission.release(self.ticket)

    def pause_writing(self) -> None:
        """The client does not read its replies: stop reading its commands until it does."""
        self._client_slow = True
        self.deadlines.deaf_since = self._loop.time()
        self._update_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._client_slow = False
        self.deadlines.deaf_since = None
        if self._behind:
            self._behind = False
            self.services.load.turns.wait(self, self.kind)
        self._update_reading()

    # The pump

    def pump(self) -> int:
        """Handle the events that are ready, as many as one turn may have, and send what the engine has to say in one write."""
        session = self.session
        done = 0
        while (event := session.next_event()) is not None:
            _HANDLERS[type(event)](self, event)
            done += 1
            if done >= QUANTUM and not self.closing:
                self._wait_turn()
                break
        if done:
            self.last_read = self._loop.time()
            self.services.load.turns.spend(self.kind, done)
        self.flush()
        if self._commands and not self.closing:
            self._charge_commands()
        return done

    def flush(self) -> None:
        """Send what the engine has to say now."""
        output = self.session.output()
        if output and self._transport is not None and not self._transport.is_closing():
            self._transport.write(output)

    def say(self, octets: bytes) -> None:
        """Send something that is not the engine's."""
        if self._transport is not None:
            self._transport.write(octets)

    def resume(self) -> None:
        """An answer was given outside the pump: go on with what waited behind it."""
        if self.closing:
            return
        self.pump()
        if not self.session.waiting:
            self._unread = 0
            if self._reading_paused:
                self._reading_paused = False
                self._update_reading()

    def take_turn(self) -> None:
        """Called by the turns: go on, unless the client has yet to read what it was told."""
        if self._client_slow and not self.closing:
            self._behind = True
            return
        self.queued = False
        if not self.closing:
            self.resume()
            self._update_reading()

    def _wait_turn(self) -> None:
        if not self.queued:
            self.queued = True
            self.services.load.turns.wait(self, self.kind)
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
            **({"proxy": self.proxy} if self.proxy else {}),
            **({"credential": self.credential} if self.credential else {}),
        }

    def close(self, reply: Reply) -> None:
        """End the session with a 421, as politely as its state permits."""
        if not self.closing and self._transport is not None:
            self.session.shutdown(reply)
            self.pump()

    def hang_up(self) -> None:
        """End the connection when what was said has gone out; the engine has no part in it."""
        self.closing = True
        self.deadlines.closed_at = self._loop.time()
        if self._transport is not None:
            self._transport.close()

    # What the engine asks for

    def _greet(self) -> None:
        if not self.closing:
            self.session.start()
            self.pump()

    def _on_starttls(self, _event: ev.StartTls) -> None:
        # The 220 must be the last plaintext octet, and nothing may be read until the handshake has begun (DESIGN section 7).
        transport = self._transport
        assert transport is not None
        assert self.port.tls is not None
        transport.pause_reading()
        if refused_tls(self):
            return
        self.flush()
        self.upgrading = True
        task = self._loop.create_task(self._upgrade(transport, self.port.tls))
        task.add_done_callback(_consume)

    async def _upgrade(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        secured = await secure(self, transport, context)
        if secured is None:
            return
        self._transport = secured
        self.upgrading = False
        self.account = self.credential = None
        self.kind = SUBMITTER if self.port.mechanisms else self.kind
        self.login.secured(secured)
        self.session.tls_started()
        held, self._held = bytes(self._held), bytearray()
        if held and not self.closing:
            self.session.receive(held)
        self.pump()

    def _on_rejected(self, event: ev.Rejected) -> None:
        self.command()
        name = {"MAIL": "sender.refused", "RCPT": "recipient.refused"}.get(event.verb)
        if name is not None:
            tell(self.services, name, Refuse(event.reply, "syntax", event.reply.text), self.where())

    def _on_closed(self, event: ev.Closed) -> None:
        if event.reason not in _UNREMARKABLE:
            self.ended(event.reason)
        self.closing = True
        self.deadlines.closed_at = self._loop.time()
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def ended(self, why: str) -> None:
        """Journal that the session was cut off."""
        self.services.record(Event("session.ended", self.services.clock.now(), {**self.where(), "why": why}))

    def abort(self) -> None:
        """Cut the connection now."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    # Limits

    def _connection_facts(self) -> ConnectionFacts:
        services = self.services
        now = services.clock.now()
        limit = charges.check(services, charges.command_charge(services.rules, self.client_prefix, 1))
        return ConnectionFacts(
            snapshot=services.snapshot,
            listener=self.port.name,
            client=self.client,
            now=now,
            banned_until=services.bans.until(self.client.address, now),
            limit=limit,
            identity=self.identity,
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
        """Called once a second by the server with the loop's time."""
        watch.check_time(self, now)

    def shed(self, reason: str) -> None:
        """Count that this client was turned away to keep the relay up."""
        self.services.count.inc("postlatch_shed_total", (self.port.name, reason))

    @property
    def in_body(self) -> bool:
        """See ``ServerSession``."""
        return self.session.in_body

    @property
    def in_transaction(self) -> bool:
        """See ``ServerSession``."""
        return self.session.in_transaction

    def drain(self) -> None:
        """The relay stops: end the session unless a message is on its way in."""
        if not self.session.in_transaction and not self.upgrading:
            self.close(_SHUTTING_DOWN)

    # Flow control

    def _hold_back(self, octets: int) -> None:
        self._unread += octets
        if self._unread > _MAX_BUFFERED and not self._reading_paused:
            self._reading_paused = True
            self._update_reading()

    def _update_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self.upgrading:
            return
        if self._reading_paused or self._client_slow or self.queued:
            transport.pause_reading()
        else:
            transport.resume_reading()


def _consume(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


# One table for all connections: bound methods of its own cost each of them 1.5 KB.
_HANDLERS: Final[Mapping[type, Callable[[Connection, Any], None]]] = {
    ev.Mail: lambda connection, event: connection.mail.on_mail(event),
    ev.Rcpt: lambda connection, event: connection.mail.on_rcpt(event),
    ev.BodyStart: lambda connection, event: connection.mail.body.on_body_start(event),
    ev.BodyChunk: lambda connection, event: connection.mail.body.on_body_chunk(event),
    ev.BodyEnd: lambda connection, event: connection.mail.body.on_body_end(event),
    ev.TransactionDropped: lambda connection, event: connection.mail.on_dropped(event),
    ev.AuthStart: lambda connection, event: connection.login.on_start(event),
    ev.AuthResponse: lambda connection, event: connection.login.on_response(event),
    ev.AuthCancelled: lambda connection, event: connection.login.on_cancelled(event),
    ev.Hello: lambda _connection, _event: None,
    ev.StartTls: lambda connection, event: connection._on_starttls(event),
    ev.Rejected: lambda connection, event: connection._on_rejected(event),
    ev.Closed: lambda connection, event: connection._on_closed(event),
}
