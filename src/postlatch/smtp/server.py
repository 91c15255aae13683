"""The SMTP server session, without I/O: octets in, events and octets out. RFC 5321 and the extensions that it advertises.

The owner feeds ``receive``, drains ``next_event`` until it gives None, answers what asks for an answer, and sends ``output``.
While a question is open no further command is read, so a pipelined group is worked off in order and its replies gather
(RFC 2920). Which command may come when is in ``states``; how a line reads, in ``commands``; where a body ends, in ``body``.
A mistake of the owner (an answer that nothing asked for) raises RuntimeError. Nothing that a client sends raises anything.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply
from postlatch.smtp import commands, replies
from postlatch.smtp.body import ChunkDecoder, DataDecoder
from postlatch.smtp.commands import CommandError
from postlatch.smtp.config import ServerConfig, ehlo_reply, greeting
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
from postlatch.smtp.states import TABLE, Input, State, Verb

__all__ = ["ServerConfig", "ServerSession"]

AUTH_LINE = 12_288  # octets with CR LF, RFC 4954 section 4
REFUSED_RECIPIENTS_PER_ERROR = 10  # a list with dead addresses is no attack

_VERBS: Mapping[bytes, Verb] = {verb.encode(): verb for verb in Verb}
_UNIMPLEMENTED = frozenset(b"TURN ETRN ATRN SEND SAML SOML VERB XCLIENT XFORWARD".split())
_NOT_SMTP = frozenset(b"GET POST PUT HEAD CONNECT OPTIONS DELETE PATCH TRACE PRI".split())
_TLS_RECORD = b"\x16\x03"  # how a ClientHello begins
# A client must wait for the reply to these: RFC 2920 section 3.1, RFC 3207 section 4, RFC 4954 section 4.
_LAST_IN_GROUP = frozenset({Verb.EHLO, Verb.HELO, Verb.DATA, Verb.STARTTLS, Verb.AUTH})
_TAKES_NO_ARGUMENT = frozenset({Verb.DATA, Verb.RSET, Verb.QUIT, Verb.STARTTLS})
_MOVES_NO_MAIL = frozenset({Verb.EHLO, Verb.HELO, Verb.RSET, Verb.NOOP, Verb.VRFY, Verb.EXPN, Verb.HELP})


class ServerSession:
    """One connection, from before its greeting to its end."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._state = State.SILENT
        self._lines = LineBuffer()
        self._out = bytearray()
        self._events: deque[ServerEvent] = deque()
        self._question: Question | None = None
        self._farewell: Reply | None = None  # to be said behind the answer to the open question
        self._first_line = True
        self._helo = ""
        self._esmtp = False
        self._tls = config.tls_active
        self._authenticated = False
        self._transactions = self._errors = self._refused = self._idle = 0
        self._open = False  # a transaction is
        self._smtputf8 = False
        self._recipients = 0
        self._data = DataDecoder()
        self._chunks = ChunkDecoder()
        self._size = 0  # of the body, octets so far
        self._too_big = False
        self._skip = 0  # octets of a refused chunk that are still to come
        self._skip_reply: Reply | None = None  # to be given behind them

    # What the owner sees.

    @property
    def helo(self) -> str:
        """The name in the last EHLO or HELO; empty before."""
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
        """True from the acceptance of MAIL to BodyEnd's answer or TransactionDropped."""
        return self._open

    @property
    def in_body(self) -> bool:
        """True while the next octets belong to a body."""
        return self._question is None and (self._state in {State.DATA, State.CHUNK} or self._skip_reply is not None)

    @property
    def waiting(self) -> bool:
        """True while an event awaits its answer."""
        return self._question is not None

    def receive(self, data: bytes) -> None:
        """Take octets from the client. Before ``start`` they are early talk, which ends the session unread."""
        if self._state is State.SILENT and data:
            self._close(Reason.EARLY_TALKER, replies.SYNCHRONISATION)
        if self._state is not State.CLOSED:
            self._lines.data += data

    def next_event(self) -> ServerEvent | None:
        """The next event; None if octets or an answer are needed first. Nothing follows ``Closed``."""
        while not self._events and self._question is None and self._step():
            pass
        return self._events.popleft() if self._events else None

    def output(self) -> bytes:
        """What is to be sent now; the next call gives only what came since."""
        out = bytes(self._out)
        self._out.clear()
        return out

    # What the owner does.

    def start(self) -> None:
        """Greet, unless the client spoke first."""
        if self._state is State.SILENT:
            self._move(Input.GREETED)
            self._send(greeting(self._config))

    def refuse(self, reply: Reply) -> None:
        """Instead of ``start``: this reply, and the end."""
        if self._state is State.SILENT:
            self._close(Reason.REFUSED, reply)

    def shutdown(self, reply: Reply) -> None:
        """End the session for a reason of ours: at once, or behind the answer if a question is open."""
        if self._question is None:
            self._close(Reason.SHUTDOWN, reply)
        elif isinstance(self._question, StartTls):
            self._close(Reason.SHUTDOWN)  # a reply would land in the middle of the handshake
        else:
            self._farewell = reply

    def answer(self, reply: Reply, *, close: bool = False) -> None:
        """Answer Mail, Rcpt or BodyEnd; refuse BodyStart, AuthStart or AuthResponse. A 421 closes, too."""
        question = self._take(Mail, Rcpt, BodyStart, BodyEnd, AuthStart, AuthResponse)
        if self._did_not_wait(question):
            return
        match question:
            case Mail():
                self._settle_mail(question, reply)
            case Rcpt():
                self._settle_rcpt(reply)
            case BodyStart():
                self._settle_body_refusal(question, reply)
            case BodyEnd():
                self._open = False
                self._idle = 0
                self._move(Input.MESSAGE_COMPLETE)
            case _:
                self._errors += reply.permanent
                self._move(Input.AUTH_OVER)
        ends = close or reply.code == 421
        if self._skip_reply is None or ends:  # the reply to a refused chunk waits for the chunk's octets
            self._send(reply)
        if ends:
            self._close(Reason.ANSWERED)
        self._leave_if_due()

    def accept_body(self) -> None:
        """Answer BodyStart: 354 for DATA; for BDAT the reply comes behind the chunk."""
        question = self._take(BodyStart)
        if self._did_not_wait(question) or self._leave_if_due():
            return
        self._size = 0
        self._too_big = False
        if question == BodyStart(chunking=True):
            self._open_chunk()
        else:
            self._data = DataDecoder()
            self._move(Verb.DATA)
            self._send(replies.START_BODY)

    def challenge(self, data: bytes) -> None:
        """Answer AuthStart or AuthResponse: 334 with ``data`` in base64."""
        question = self._take(AuthStart, AuthResponse)
        if not self._did_not_wait(question) and not self._leave_if_due():
            self._out += b"334 " + base64.b64encode(data) + b"\r\n"

    def authenticated(self, reply: Reply) -> None:
        """Answer AuthStart or AuthResponse: the client is who it says."""
        question = self._take(AuthStart, AuthResponse)
        if not self._did_not_wait(question):
            self._authenticated = True
            self._move(Input.AUTH_OVER)
            self._send(reply)
            self._leave_if_due()

    def tls_started(self) -> None:
        """Answer StartTls: the handshake is done. All that the client said before is forgotten (RFC 3207 section 4.2).

        What was received since StartTls is taken for the first octets under TLS: the owner must have read none in plaintext.
        """
        self._take(StartTls)
        self._helo, self._esmtp = "", False
        self._tls = True
        self._move(Input.TLS_STARTED)

    # How it works: questions.

    def _ask(self, question: Question) -> None:
        self._question = question
        self._events.append(question)

    def _take(self, *kinds: type[Question]) -> Question:
        question = self._question
        if not isinstance(question, kinds):
            raise RuntimeError(f"{type(question).__name__} is not answered so")
        self._question = None
        return question

    def _did_not_wait(self, question: Question) -> bool:
        """True, and closed, if octets arrived before a reply that the client had to wait for.

        Never for BodyEnd: the message may be on disk already, and its 250 is not taken back.
        """
        match question:
            case BodyStart():
                must_wait = not question.chunking
            case AuthStart() | AuthResponse():
                must_wait = True
            case _:
                must_wait = not self._esmtp and not isinstance(question, BodyEnd)
        if must_wait and self._lines.data:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)
        return self._state is State.CLOSED

    def _settle_mail(self, question: Mail, reply: Reply) -> None:
        if reply.code < 300:
            self._move(Verb.MAIL)
            self._open = True
            self._smtputf8 = question.params.smtputf8
            self._recipients = 0
        self._errors += reply.permanent

    def _settle_rcpt(self, reply: Reply) -> None:
        if reply.code < 300:
            self._move(Verb.RCPT)
            self._recipients += 1
        else:
            self._move(Input.RCPT_REFUSED)
            self._refused += reply.permanent

    def _settle_body_refusal(self, question: BodyStart, reply: Reply) -> None:
        if reply.code < 400:
            raise RuntimeError("accept_body() starts a body")
        self._drop(Reason.BODY_REFUSED)
        self._move(Input.BODY_REFUSED)
        if question.chunking:
            self._skip, self._skip_reply = self._chunks.left, reply

    # How it works: octets.

    def _step(self) -> bool:
        """Do one thing with the buffered octets; False if they do not suffice."""
        if self._skip_reply is not None:
            return self._skip_chunk(self._skip_reply)
        match self._state:
            case State.DATA:
                return self._read_data()
            case State.CHUNK:
                return self._read_chunk()
            case State.AUTH:
                return self._read_auth()
            case State.SILENT | State.TLS | State.CLOSED:
                return False
        return self._read_command()

    def _read_command(self) -> bool:
        data = self._lines.data
        if not self._tls and data.startswith(_TLS_RECORD):
            self._close(Reason.NOT_SMTP, replies.NOT_SMTP)
            return False
        is_auth = len(data) >= self._config.max_line and data[:5].upper() == b"AUTH "
        line = self._line(AUTH_LINE if is_auth else self._config.max_line)
        if line is None:
            return False
        self._command(line)
        return True

    def _line(self, limit: int) -> bytes | None:
        try:
            return self._lines.line(limit)
        except LineTooLong:
            self._close(Reason.LINE_TOO_LONG, replies.LINE_TOO_LONG)
        except BareLineFeed:
            self._close(Reason.BARE_LF, replies.BARE_LF)
        return None

    def _read_auth(self) -> bool:
        line = self._line(AUTH_LINE)
        if line is None:
            return False
        try:
            if line == b"*":
                raise CommandError(replies.AUTH_CANCELLED)
            response = commands.decode_base64(line)
        except CommandError as error:
            self._move(Input.AUTH_OVER)
            self._events.append(AuthCancelled())
            self._reject(Verb.AUTH, error.reply)
        else:
            self._ask(AuthResponse(response))
        return True

    def _read_data(self) -> bool:
        piece = self._data.take(self._lines.data)
        self._size += len(piece.data)
        if not self._too_big and self._size > self._config.max_size:
            self._too_big = True
            self._drop(Reason.TOO_BIG)
        if piece.data and not self._too_big:
            self._events.append(BodyChunk(piece.data))
        if piece.fault:
            self._close(Reason.BAD_BODY, replies.BAD_BODY)
        elif piece.ended:
            self._end_data()
        return piece.ended or bool(piece.data)

    def _end_data(self) -> None:
        if self._lines.data and not self._esmtp:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)
        elif self._too_big:
            self._move(Input.MESSAGE_COMPLETE)
            self._reject(Verb.DATA, replies.TOO_BIG)
        else:
            self._ask(BodyEnd(self._size))

    def _read_chunk(self) -> bool:
        piece = self._chunks.take(self._lines.data)
        if piece.data:
            self._events.append(BodyChunk(piece.data))
        if piece.fault:
            self._close(Reason.BAD_BODY, replies.BAD_BODY)
        elif piece.ended and self._chunks.last:
            self._ask(BodyEnd(self._size))
        elif piece.ended:
            self._move(Input.CHUNK_COMPLETE)
            self._send(replies.CHUNK_TAKEN)
        return piece.ended or bool(piece.data)

    def _open_chunk(self) -> None:
        self._size += self._chunks.left
        self._move(Verb.BDAT)

    def _skip_chunk(self, reply: Reply) -> bool:
        taken = min(self._skip, len(self._lines.data))
        del self._lines.data[:taken]
        self._skip -= taken
        if self._skip:
            return False
        self._skip_reply = None
        self._send(reply)
        self._leave_if_due()
        return True

    # How it works: commands.

    def _command(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        word = word.upper()
        verb = _VERBS.get(word)
        if word in _NOT_SMTP or (self._first_line and word == b"PROXY"):
            self._close(Reason.NOT_SMTP, replies.NOT_SMTP)
        elif self._lines.data and (verb in _LAST_IN_GROUP or not self._esmtp):
            self._out_of_turn(verb)
        elif verb is None:
            self._unknown(word, line)
        else:
            self._known(verb, rest)
        self._first_line = False

    def _out_of_turn(self, verb: Verb | None) -> None:
        """Octets behind a command whose reply had to be awaited."""
        if verb is Verb.STARTTLS:  # CVE-2011-0411: not one octet of what came in plaintext has a meaning
            self._close(Reason.INJECTION)
        else:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)

    def _unknown(self, word: bytes, line: bytes) -> None:
        try:
            commands.decode_line(line)
        except CommandError as error:
            self._reject("?", error.reply)
        else:
            known = word in _UNIMPLEMENTED
            self._reject(word.decode() if known else "?", replies.NOT_IMPLEMENTED if known else replies.UNKNOWN_COMMAND)

    def _known(self, verb: Verb, rest: bytes) -> None:
        if verb in _MOVES_NO_MAIL:
            self._idle += 1
            if 0 < self._config.max_commands < self._idle:
                self._close(Reason.COMMANDS, replies.TOO_MANY_COMMANDS)
                return
        try:
            argument = commands.decode_line(rest).rstrip(" \t")
            self._check_turn(verb, argument)
            _HANDLERS[verb](self, argument)
        except CommandError as error:
            if verb is Verb.BDAT:  # what follows has no known length: it must not be read as commands
                self._close(Reason.BAD_BDAT, error.reply)
                return
            if verb is Verb.RCPT and Input.RCPT_REFUSED in TABLE[self._state]:
                self._move(Input.RCPT_REFUSED)
            self._reject(verb, error.reply)

    def _check_turn(self, verb: Verb, argument: str) -> None:
        """Refuse a command that is not offered, or not here, or that has an argument and takes none."""
        if verb is Verb.AUTH and not self._config.mechanisms:
            raise CommandError(replies.NOT_IMPLEMENTED)
        if verb is Verb.STARTTLS and (self._tls or not self._config.tls_offered):
            raise CommandError(replies.TLS_ACTIVE if self._tls else replies.NOT_IMPLEMENTED)
        step = TABLE[self._state][verb]
        if isinstance(step, Reply) and verb is not Verb.BDAT:  # BDAT's octets follow even when it is refused
            raise CommandError(step)
        if argument and verb in _TAKES_NO_ARGUMENT:
            raise CommandError(replies.NO_ARGUMENT)

    def _hello(self, verb: Verb, argument: str) -> None:
        name = commands.parse_hello(argument)
        self._drop(Reason.HELLO)
        self._helo, self._esmtp = name, verb is Verb.EHLO
        self._move(verb)
        self._send(ehlo_reply(self._config, tls=self._tls) if self._esmtp else Reply(250, "", self._config.hostname))
        self._events.append(Hello(name, self._esmtp))
