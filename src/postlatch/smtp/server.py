"""The SMTP server session, without I/O: octets in, events and octets out. RFC 5321 and the extensions that it advertises.

The owner feeds ``receive``, drains ``next_event`` until it gives None, answers what asks for an answer, and sends ``output``.
While a question is open the session reads no further command, so a pipelined group is worked off in order and its replies
gather (RFC 2920). Which command may come when is in ``states.TABLE``; how a line reads, in ``commands``; where a body ends, in
``body``. A programming error of the owner (an answer that nobody asked for) raises RuntimeError; nothing that a client sends
raises anything.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply
from postlatch.smtp import commands, replies
from postlatch.smtp.body import ChunkDecoder, DataDecoder, Piece
from postlatch.smtp.commands import CommandError
from postlatch.smtp.events import (
    AuthCancelled,
    AuthResponse,
    AuthStart,
    BodyChunk,
    BodyEnd,
    BodyStart,
    Closed,
    Hello,
    Mail,
    Question,
    Rcpt,
    Reason,
    Rejected,
    ServerEvent,
    StartTls,
    TransactionDropped,
)
from postlatch.smtp.lines import BareLineFeed, LineBuffer, LineTooLong
from postlatch.smtp.states import COMMAND_STATES, TABLE, Input, State, Verb

AUTH_LINE = 12288  # octets with CR LF, RFC 4954 section 4
REFUSED_RECIPIENTS_PER_ERROR = 10  # a list with many dead addresses is not an attack: they weigh less than other errors

_VERBS: Mapping[bytes, Verb] = {verb.value.encode(): verb for verb in Verb}
_UNIMPLEMENTED = frozenset(b"TURN ETRN ATRN SEND SAML SOML VERB XCLIENT XFORWARD BURL".split())
_NOT_SMTP = frozenset(b"GET POST PUT HEAD CONNECT OPTIONS DELETE PATCH TRACE PRI".split())
_TLS_RECORD = b"\x16\x03"  # a ClientHello that was sent in plaintext
# A client must wait for the reply to these (RFC 2920 section 3.1, RFC 3207 section 4, RFC 4954 section 4).
_LAST_IN_GROUP = frozenset({Verb.EHLO, Verb.HELO, Verb.DATA, Verb.STARTTLS, Verb.AUTH})
_TAKES_NO_ARGUMENT = frozenset({Verb.DATA, Verb.RSET, Verb.QUIT, Verb.STARTTLS})
_MOVES_NO_MAIL = frozenset({Verb.EHLO, Verb.HELO, Verb.RSET, Verb.NOOP, Verb.VRFY, Verb.EXPN, Verb.HELP})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a session behaves. Sizes are in octets; each limit's breach is answered as RFC 5321 section 4.5.3.1 says, or with 421.

    ``tls_active`` is TLS from the first octet; ``mechanisms`` are the SASL mechanisms, offered only under TLS; () means no AUTH.
    ``max_line`` counts CR LF. ``max_errors`` is for the whole connection: 5xx by the engine itself, and by the owner to MAIL
    and AUTH; of refused recipients ten times as many are permitted. ``max_commands`` bounds commands that move no mail since
    the last message (0: no bound).
    """

    hostname: str
    role: Role
    tls_offered: bool = False
    tls_active: bool = False
    mechanisms: tuple[str, ...] = ()
    max_size: int = 52_428_800
    max_line: int = 4096
    max_recipients: int = 1000
    max_transactions: int = 10_000
    max_errors: int = 10
    max_commands: int = 100


class ServerSession:
    """One connection, from before its greeting to its end."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._state = State.SILENT
        self._lines = LineBuffer()
        self._out = bytearray()
        self._events: deque[ServerEvent] = deque()
        self._question: Question | None = None
        self._farewell: Reply | None = None
        self._tls = config.tls_active
        self._authenticated = False
        self._first_line = True
        self._transactions = self._errors = self._refused = self._idle = 0
        self._skip = 0  # octets of a refused BDAT still to come
        self._skip_reply = replies.NEED_MAIL  # the reply to give behind them
        self._forget_hello()

    # -- what the owner sees ---------------------------------------------------------------------------------------------

    @property
    def helo(self) -> str:
        """The client's name by its last EHLO or HELO; empty before."""
        return self._helo

    @property
    def esmtp(self) -> bool:
        """True after EHLO."""
        return self._esmtp

    @property
    def tls_active(self) -> bool:
        """True if the connection is encrypted."""
        return self._tls

    @property
    def in_transaction(self) -> bool:
        """True from an accepted MAIL to BodyEnd's answer or TransactionDropped."""
        return self._open

    @property
    def in_body(self) -> bool:
        """True while the next octets are a body's: for the owner's time-outs."""
        return self._state in {State.DATA, State.CHUNK} and self._question is None

    @property
    def waiting(self) -> bool:
        """True while an event awaits its answer."""
        return self._question is not None

    def output(self) -> bytes:
        """What is to be sent now; the next call gives only what is new."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def next_event(self) -> ServerEvent | None:
        """The next event; None if octets or an answer are needed first. Nothing follows ``Closed``."""
        while not self._events and self._question is None and self._step():
            pass
        return self._events.popleft() if self._events else None

    def receive(self, data: bytes) -> None:
        """Take octets from the client. Before ``start`` they are early talk, and end the session (RFC 5321 section 3.1)."""
        if self._state is State.SILENT and data:
            self._close(Reason.EARLY_TALKER, replies.SYNCHRONISATION)
        if self._state is not State.CLOSED:
            self._lines.data += data

    # -- what the owner does ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Greet. Does nothing if the client talked first."""
        if self._state is State.SILENT:
            self._move(Input.GREETED)
            self._send(Reply(220, "", f"{self._config.hostname} ESMTP Postlatch"))

    def refuse(self, reply: Reply) -> None:
        """Instead of ``start``: give this reply and close."""
        if self._state is State.SILENT:
            self._close(Reason.REFUSED, reply)

    def shutdown(self, reply: Reply) -> None:
        """End the session for a reason of ours; an open question is answered first."""
        if self._question is None:
            self._close(Reason.SHUTDOWN, reply)
        elif isinstance(self._question, StartTls):
            self._close(Reason.SHUTDOWN)  # a reply in plaintext would land in the handshake
        else:
            self._farewell = reply

    def answer(self, reply: Reply, *, close: bool = False) -> None:
        """Answer Mail, Rcpt or BodyEnd; refuse BodyStart, AuthStart or AuthResponse. ``close``, or a 421, ends the session."""
        question = self._take_question()
        if question is None:
            return
        settle = _ANSWERS.get(type(question))
        if settle is None or (reply.code < 400 and isinstance(question, BodyStart | AuthStart | AuthResponse)):
            raise RuntimeError(f"{type(question).__name__} is not answered with {reply.code}")
        settle(self, question, reply)
        if close or reply.code == 421:
            self._close(Reason.ANSWERED)
        self._enforce_limits()

    def accept_body(self) -> None:
        """Answer BodyStart: go on. 354 for DATA; a chunk of BDAT is answered when it is complete."""
        question = self._take_question(BodyStart)
        if question is None or self._leaves():
            return
        if isinstance(question, BodyStart) and question.chunking:
            self._state = State.CHUNK
        else:
            self._state = State.DATA
            self._send(replies.START_BODY)
