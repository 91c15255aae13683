"""The SMTP and LMTP client as a machine without I/O: bytes in, events out. RFC 5321, 2033, 2920, 3207, 4954.

The driver feeds what it reads to ``receive``, asks for work with ``begin`` and the other commands, and after each of these
handles ``take_events`` and sends ``take_output``. With PIPELINING an envelope goes out at once, and the next one may follow
right behind a final dot (RFC 2920 section 3.1); without it the same commands leave one by one. What a reply leads to is looked
up in the table of ``client_states``.

Nothing that a server sends makes a method raise. Every transaction that began ends with ``Finished``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

from postlatch.smtp.client_body import BodyFault, BodyWriter
from postlatch.smtp.client_capabilities import Capabilities, parse_capabilities
from postlatch.smtp.client_commands import auth_line, envelope, hello_line
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
from postlatch.smtp.client_pipeline import NOTHING, Command, Pipeline, Step
from postlatch.smtp.client_replies import Outcome, ReplyError, WireReply, to_outcome, to_reply
from postlatch.smtp.client_states import TRANSITIONS, Awaits
from postlatch.smtp.client_transaction import Transaction

_MAX_AUTH_LINE: Final = 512  # RFC 4954 section 4: a longer command must do without its initial response


class ClientSession:
    """One connection to a server. ``hostname`` is our name for EHLO; ValueError if it is not one word of printable ASCII."""

    def __init__(self, hostname: str, *, lmtp: bool = False) -> None:
        self._lmtp = lmtp
        hello = Awaits.LHLO if lmtp else Awaits.EHLO
        self._hello: Command = (Step(hello), hello_line(hello.name, hostname))
        self._helo: Command = (Step(Awaits.HELO), hello_line("HELO", hostname))
        self._pipe = Pipeline(Step(Awaits.GREETING))
        self._events: list[ClientEvent] = []
        self._running: dict[Transaction, None] = {}  # begun and not finished, in order
        self._open: Transaction | None = None  # begun, and its final dot not sent yet
        self._body: BodyWriter | None = None  # set between 354 and the final dot
        self._auth_initial: bytes | None = None
        self._begun = 0
        self._ready = False
        self._closed = False
        self.capabilities = Capabilities()

    # What the driver asks

    @property
    def closed(self) -> bool:
        """True once ``Closed`` was told. Every command is then without effect."""
        return self._closed

    @property
    def awaits(self) -> Awaits:
        """What the next reply must answer: names the time-out that runs."""
        head = self._pipe.head
        if head is not None:
            return head.awaits
        return Awaits.NOTHING if self._body is None else Awaits.BODY

    @property
    def quiet(self) -> bool:
        """True if nothing is under way and no reply is to come."""
        return self._open is None and self._pipe.quiet

    @property
    def exhausted(self) -> bool:
        """True if the server takes no further transaction on this connection (RFC 9422 MAILMAX)."""
        return 0 < self.capabilities.mail_max <= self._begun

    @property
    def can_begin(self) -> bool:
        """True if ``begin`` may be called: nothing is open, and what is under way permits a command group behind it."""
        if self._open is not None or not self._ready or self._closed or self.exhausted:
            return False
        return self._pipe.pipelining or self._pipe.quiet

    def take_output(self) -> bytes:
        """The octets to send now."""
        return self._pipe.take_output()

    def take_events(self) -> list[ClientEvent]:
        """What happened since the last call, in order."""
        events = self._events
        if events:
            self._events = []
        return events

    # What the driver tells

    def receive(self, data: bytes) -> bool:
        """Octets from the server. True if they completed a reply: only that is a sign of life, not a reply that drips in."""
        if self._closed:
            return False
        pipe = self._pipe
        moved = False
        pipe.feed(data)
        try:
            while not self.closed and (answer := pipe.next_reply()) is not None:
                moved = True
                self._take(*answer)
        except ReplyError as error:
            self._fail(f"protocol error ({error})", self.awaits)
        return moved

    def lost(self, what: str = "lost connection") -> None:
        """The connection is gone, or the driver gives it up: ``what`` says why, in our own words."""
        self._fail(what, self.awaits)

    def starttls(self) -> None:
        """Ask for TLS; ``TlsGo`` or ``TlsRefused`` follows."""
        self._ready = False
        self._command((Step(Awaits.STARTTLS), b"STARTTLS\r\n"))

    def tls_started(self) -> None:
        """The handshake is done: forget all that was learned in plaintext (RFC 3207 section 4.2) and greet again."""
        self._pipe.pipelining = False
        self.capabilities = Capabilities()
        self._command(self._hello)

    def auth(self, mechanism: str, initial: bytes | None) -> None:
        """Log in; ``Challenge``…, then ``LoggedIn`` or ``LoginRefused`` follow. ``initial`` is the first SASL message."""
        line = auth_line(mechanism, initial)
        if initial is not None and len(line) > _MAX_AUTH_LINE:
            self._auth_initial, line = initial, auth_line(mechanism, None)
        self._ready = False
        self._command((Step(Awaits.AUTH), line))

    def auth_respond(self, data: bytes) -> None:
        """Answer a challenge."""
        self._command((Step(Awaits.AUTH), base64.b64encode(data) + b"\r\n"))

    def begin(self, transaction: Transaction) -> None:
        """Send an envelope; only while ``can_begin``. ``BodyWanted`` or ``Finished`` follows.

        What cannot be sent to this server (unsafe, too big, internationalised) has its outcome without a word on the wire.
        """
        if not self.can_begin:
            raise RuntimeError("begin() while another transaction is open or the session is not ready")
        self._running[transaction] = None
        commands = envelope(transaction, self.capabilities)
        if not commands:
            self._finish(transaction)
            return
        self._begun += 1
        self._open = transaction
        self._pipe.send(commands)

    def send_body(self, piece: bytes) -> None:
        """A piece of the body, after ``BodyWanted``: CR LF line ends, no dot-stuffing. A faulty body ends the session."""
        body = self._body
        if body is not None:
            try:
                self._pipe.write(body.feed(piece))
            except BodyFault as error:
                self._break_off(error)

    def end_body(self) -> None:
        """The body is complete: send the final dot. From here on the server may have taken the message."""
        body = self._body
        if body is None:
            return
        transaction = _of(self._open)
        try:
            end = body.finish()
        except BodyFault as error:
            self._break_off(error)
            return
        self._open = self._body = None
        transaction.dot_sent = True
        indexes = transaction.accepted if self._lmtp else _ALL  # RFC 2033 section 4.2: a reply for each recipient taken
        transaction.unanswered = len(indexes)
        self._pipe.write(end, [Step(Awaits.FINAL, transaction, index) for index in indexes])

    def quit(self) -> None:
        """Take leave; ``Closed`` follows."""
        self._ready = False
        self._command((Step(Awaits.QUIT), b"QUIT\r\n"))

    # Inside

    def _command(self, command: Command) -> None:
        if not self._closed:
            self._pipe.send((command,))

    def _take(self, step: Step | None, reply: WireReply) -> None:
        if step is None:
            step = NOTHING if self._body is None else Step(Awaits.BODY, self._open)
        if reply.code == 421:
            self._closing(step, reply)
            return
        action = _ACTIONS.get((step.awaits, reply.code // 100))
        if action is None:
            self._fail(f"protocol error (unexpected {reply.code})", step.awaits)
        else:
            action(self, step, reply)

    def _closing(self, step: Step, reply: WireReply) -> None:
        """421: the server closes the connection (RFC 5321 section 3.8)."""
        outcome = to_outcome(reply)
        if step.transaction is not None and step.awaits is Awaits.FINAL:
            self._settle(step.transaction, step.number, outcome)
        self._fail("connection closed by the server", step.awaits, outcome)

    def _fail(self, what: str, awaits: Awaits, reply: Outcome | None = None) -> None:
        """End the session without a QUIT: ``what`` happened, ``reply`` is the server's word on it, if it has one."""
        self._end(what, awaits, reply, reply or Outcome(451, "4.4.2", f"{what} while waiting for {awaits}"))

    def _end(self, what: str, awaits: Awaits, reply: Outcome | None, reason: Outcome | None) -> None:
        if self._closed:
            return
        self._closed = True
        for transaction in tuple(self._running):
            transaction.lose(what, awaits, reply)
            self._finish(transaction)
        self._pipe.clear()
        self._body = None
        self._events.append(Closed(reason))

    def _break_off(self, error: BodyFault) -> None:
        """The dot must not follow, so the connection must end; on another one the body would be no better."""
        if self._open is not None:
            self._open.refuse(Outcome(554, "5.6.0", str(error)))
        self._fail("message broken off", Awaits.BODY)

    def _finish(self, transaction: Transaction) -> None:
        del self._running[transaction]
        if self._open is transaction:
            self._open = None
        self._events.append(Finished(transaction))

    def _settle(self, transaction: Transaction, index: int, outcome: Outcome) -> None:
        """A reply to the final dot, for one recipient (LMTP) or for all that were taken."""
        if index < 0:
            transaction.refuse(outcome)
        else:
            transaction.outcomes[index] = outcome
        transaction.unanswered -= 1
        if not transaction.unanswered:
            self._finish(transaction)

    # Actions of the transition table

    def _greeted(self, _step: Step, _reply: WireReply) -> None:
        self._command(self._hello)

    def _turned_away(self, step: Step, reply: WireReply) -> None:
        self._fail("turned away", step.awaits, to_outcome(reply))

    def _try_helo(self, _step: Step, _reply: WireReply) -> None:
        self._command(self._helo)

    def _hello_ok(self, step: Step, reply: WireReply) -> None:
        if step.awaits is not Awaits.HELO:
            self.capabilities = parse_capabilities(reply.lines)
        self._pipe.pipelining = self.capabilities.pipelining
        self._ready = True
        self._events.append(Ready(self.capabilities))

    def _tls_go(self, step: Step, _reply: WireReply) -> None:
        if self._pipe.has_rest:
            # Octets that someone put in front of the handshake would be read as if they had come under TLS.
            self._fail("protocol error (plaintext behind the 220 to STARTTLS)", step.awaits)
        else:
            self._events.append(TlsGo())

    def _tls_refused(self, _step: Step, reply: WireReply) -> None:
        self._ready = True
        self._events.append(TlsRefused(to_reply(reply)))

    def _challenged(self, step: Step, reply: WireReply) -> None:
        initial, self._auth_initial = self._auth_initial, None
        if initial is not None:
            self.auth_respond(initial)
            return
        try:
            self._events.append(Challenge(base64.b64decode(b"".join(reply.lines), validate=True)))
        except binascii.Error:
            self._fail("protocol error (a challenge that is not base64)", step.awaits)

    def _logged_in(self, _step: Step, reply: WireReply) -> None:
        self._ready = True
        self._events.append(LoggedIn(to_reply(reply)))

    def _login_refused(self, _step: Step, reply: WireReply) -> None:
        self._ready = True
        self._events.append(LoginRefused(to_reply(reply)))

    def _mail_ok(self, step: Step, _reply: WireReply) -> None:
        transaction = _of(step.transaction)
        transaction.mail_answered = transaction.mail_ok = True

    def _mail_refused(self, step: Step, reply: WireReply) -> None:
        transaction = _of(step.transaction)
        transaction.mail_refused(reply)
        if self._pipe.next_unsent is Awaits.RCPT:
            self._pipe.drop_unsent()
            self._finish(transaction)

    def _rcpt_ok(self, step: Step, reply: WireReply) -> None:
        transaction = _of(step.transaction)
        if not transaction.mail_ok:
            self._fail("protocol error (a recipient was taken after its sender was refused)", step.awaits)
            return
        transaction.accepted.append(step.number)
        if transaction.probe:
            self._end_probe(transaction, reply)

    def _rcpt_refused(self, step: Step, reply: WireReply) -> None:
        transaction = _of(step.transaction)
        transaction.rcpt_refused(step.number, reply)
        if transaction.probe:
            self._end_probe(transaction, reply)
        elif self._pipe.next_unsent is Awaits.DATA and not transaction.accepted:
            self._pipe.drop_unsent()
            self._abandon(transaction)

    def _end_probe(self, transaction: Transaction, reply: WireReply) -> None:
        transaction.refuse(to_outcome(reply))
        if transaction.probe_reply is None:
            transaction.probe_reply = to_reply(reply)
        self._abandon(transaction)

    def _go_ahead(self, step: Step, _reply: WireReply) -> None:
        transaction = _of(step.transaction)
        if transaction.accepted:
            self._body = BodyWriter()
            self._events.append(BodyWanted(transaction))
        elif self._lmtp or not transaction.mail_ok:
            # RFC 2033 section 4.2 forbids this 354: nobody knows how many replies the dot would bring.
            self._fail("protocol error (354 without a recipient)", step.awaits)
        else:
            # RFC 2920 section 3.1: end the message that the server should not have asked for; its reply means nothing.
            self._pipe.write(b".\r\n", (Step(Awaits.LONE_DOT),))
            self._finish(transaction)

    def _data_refused(self, step: Step, reply: WireReply) -> None:
        transaction = _of(step.transaction)
        transaction.refuse(to_outcome(reply))
        self._abandon(transaction)

    def _abandon(self, transaction: Transaction) -> None:
        """End a transaction without a message; the server must forget it before the next MAIL (RFC 5321 section 4.1.1.5)."""
        self._finish(transaction)
        if transaction.mail_ok:
            self._command((Step(Awaits.RSET), b"RSET\r\n"))

    def _cut_short(self, step: Step, reply: WireReply) -> None:
        """A refusal in the middle of the message: there was no dot, so nothing was taken."""
        _of(step.transaction).refuse(to_outcome(reply))
        self._fail("message refused before its end", step.awaits)

    def _final(self, step: Step, reply: WireReply) -> None:
        self._settle(_of(step.transaction), step.number, to_outcome(reply))

    def _ignored(self, _step: Step, _reply: WireReply) -> None:
        """Nothing depends on this reply."""

    def _ended(self, step: Step, _reply: WireReply) -> None:
        self._end("closed", step.awaits, None, None)


_ALL: Final[tuple[int, ...]] = (-1,)
_ACTIONS: Final[Mapping[tuple[Awaits, int], Callable[[ClientSession, Step, WireReply], None]]] = {
    key: getattr(ClientSession, f"_{action}") for key, action in TRANSITIONS.items()
}


def _of(transaction: Transaction | None) -> Transaction:
    """The transaction of a step, or of a body, that always has one."""
    assert transaction is not None
    return transaction
