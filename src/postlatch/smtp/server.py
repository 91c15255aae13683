"""The SMTP server session, without I/O: octets in, events and octets out. RFC 5321 and the extensions that it advertises.

The owner feeds ``receive``, drains ``next_event`` until it gives None, answers what asks for an answer, and sends ``output``.
While a question is open no further command is read, so a pipelined group is worked off in order and its replies gather
(RFC 2920). Which command may come when is in ``states``; how a line reads, in ``commands``; where a body ends, in ``body``;
when enough is enough, in ``patience``. A mistake of the owner (an answer that nothing asked for) raises RuntimeError. Nothing
that a client sends raises anything.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final

from postlatch.model.reply import Reply
from postlatch.smtp import commands, replies
from postlatch.smtp.commands import CommandError
from postlatch.smtp.config import ServerConfig, ehlo_reply
from postlatch.smtp.events import (
    AuthCancelled,
    AuthResponse,
    AuthStart,
    BodyEnd,
    BodyStart,
    Hello,
    Mail,
    Rcpt,
    Reason,
    StartTls,
)
from postlatch.smtp.intake import MailIntake
from postlatch.smtp.states import COMMAND_STATES, TABLE, Input, State, Verb

__all__ = ["ServerConfig", "ServerSession"]

AUTH_LINE: Final = 12_288  # octets with CR LF, RFC 4954 section 4

_VERBS: Final[Mapping[bytes, Verb]] = {verb.encode(): verb for verb in Verb}
_UNIMPLEMENTED: Final = frozenset(b"TURN ETRN ATRN SEND SAML SOML VERB XCLIENT XFORWARD".split())
_NOT_SMTP: Final = frozenset(b"GET POST PUT HEAD CONNECT OPTIONS DELETE PATCH TRACE PRI".split())
_TLS_RECORD: Final = b"\x16\x03"  # how a ClientHello begins
# A client must wait for the reply to these: RFC 2920 section 3.1, RFC 3207 section 4, RFC 4954 section 4.
_LAST_IN_GROUP: Final = frozenset({Verb.EHLO, Verb.HELO, Verb.DATA, Verb.STARTTLS, Verb.AUTH})
_TAKES_NO_ARGUMENT: Final = frozenset({Verb.DATA, Verb.RSET, Verb.QUIT, Verb.STARTTLS})
_MOVES_NO_MAIL: Final = frozenset({Verb.EHLO, Verb.HELO, Verb.RSET, Verb.NOOP, Verb.VRFY, Verb.EXPN, Verb.HELP})


class ServerSession(MailIntake):
    """One connection, from before its greeting to its end."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self._first_line = True
        self._helo = ""
        self._authenticated = False

    @property
    def helo(self) -> str:
        """The name in the last EHLO or HELO; empty before."""
        return self._helo

    @property
    def tls_active(self) -> bool:
        """True if the connection is encrypted."""
        return self._tls

    def configure(self, config: ServerConfig) -> None:
        """What is advertised, and permitted, from now on: the owner has learned something of this client."""
        self._config = config

    # What the owner answers

    def answer(self, reply: Reply, *, close: bool = False) -> None:
        """Answer Mail, Rcpt or BodyEnd; refuse BodyStart, AuthStart or AuthResponse. ``close``, or a 421, ends the session."""
        if reply.code < 400 and isinstance(self._question, BodyStart | AuthStart | AuthResponse):
            raise RuntimeError("accept_body() and authenticated() accept these")
        question = self._take(Mail, Rcpt, BodyStart, BodyEnd, AuthStart, AuthResponse)
        if self._did_not_wait(question):
            return
        match question:
            case Mail():
                self._settle_mail(question, reply)
            case Rcpt():
                self._settle_rcpt(reply)
            case BodyStart():
                self._settle_refused_body(question, reply)
            case BodyEnd():
                self._settle_message()
            case _:
                self._settle_refused_auth(reply)
        ends = close or reply.code == 421
        if self._skip_reply is None or ends:  # the reply to a refused chunk comes behind the chunk's octets
            self._send(reply)
        if ends:
            self._close(Reason.ANSWERED)
        self._leave_if_due()

    def challenge(self, data: bytes) -> None:
        """Answer AuthStart or AuthResponse: 334 with ``data`` in base64."""
        question = self._take(AuthStart, AuthResponse)
        if not (self._did_not_wait(question) or self._leave_if_due()):
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

        What ``receive`` got since StartTls counts as received under TLS: the owner must have read none of it in plaintext.
        """
        if self._state is State.CLOSED:  # by shutdown(), during the handshake
            return
        self._take(StartTls)
        self._helo, self._esmtp = "", False
        self._tls = True
        self._move(Input.TLS_STARTED)

    def _settle_refused_auth(self, reply: Reply) -> None:
        self._move(Input.AUTH_OVER)
        if reply.permanent:
            self._patience.error()

    # What the client sends

    def _step(self) -> bool:
        if self._skip_reply is not None:
            return self._skip_chunk(self._skip_reply)
        if not self._lines.data and self._state is not State.CHUNK:  # a chunk may be empty
            return False
        reader = _READERS.get(self._state)
        return reader is not None and reader(self)

    def _read_auth(self) -> bool:
        line = self._line(AUTH_LINE)
        if line is None:
            return False
        if self._lines.data:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)
            return False
        try:
            self._ask(AuthResponse(commands.parse_auth_response(line)))
        except CommandError as error:
            self._move(Input.AUTH_OVER)
            self._events.append(AuthCancelled())
            self._reject(Verb.AUTH, error.reply)
        return True

    def _read_command(self) -> bool:
        data = self._lines.data
        if not self._tls and data.startswith(_TLS_RECORD):
            self._close(Reason.NOT_SMTP, replies.NOT_SMTP)
            return False
        limit = self._config.max_line
        if len(data) >= limit and data[:5].upper() == b"AUTH ":
            limit = AUTH_LINE
        line = self._line(limit)
        if line is None:
            return False
        first, self._first_line = self._first_line, False
        word, _, rest = line.partition(b" ")
        word = word.upper()
        verb = _VERBS.get(word)
        if word in _NOT_SMTP or (first and word == b"PROXY"):
            self._close(Reason.NOT_SMTP, replies.NOT_SMTP)
        elif data and (verb in _LAST_IN_GROUP or not self._esmtp):
            self._out_of_turn(verb)
        elif verb is None:
            self._unknown(word, line)
        else:
            self._command(verb, rest)
        return True

    def _out_of_turn(self, verb: Verb | None) -> None:
        if verb is Verb.STARTTLS:
            self._close(Reason.INJECTION)  # CVE-2011-0411: nothing is said, so nothing can be taken for a reply under TLS
        else:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)

    def _unknown(self, word: bytes, line: bytes) -> None:
        try:
            commands.decode_line(line)
        except CommandError as error:
            self._reject("?", error.reply)
            return
        if word in _UNIMPLEMENTED:
            self._reject(word.decode(), replies.NOT_IMPLEMENTED)
        else:
            self._reject("?", replies.UNKNOWN_COMMAND)

    def _command(self, verb: Verb, rest: bytes) -> None:
        if verb in _MOVES_NO_MAIL:
            self._patience.idle_command()
            if self._leave_if_due():
                return
        try:
            argument = commands.decode_line(rest).rstrip(" \t")
            self._check(verb, argument)
            _HANDLERS[verb](self, verb, argument)
        except CommandError as error:
            if verb is Verb.BDAT:  # octets of an unknown number follow: they must not be read as commands
                self._close(Reason.BAD_BDAT, error.reply)
                return
            if verb is Verb.RCPT and Input.RCPT_REFUSED in TABLE[self._state]:
                self._move(Input.RCPT_REFUSED)
            self._reject(verb, error.reply)

    def _check(self, verb: Verb, argument: str) -> None:
        """Is the command offered, and permitted here?"""
        if verb is Verb.AUTH and not self._config.mechanisms:
            raise CommandError(replies.NOT_IMPLEMENTED)
        if verb is Verb.STARTTLS and self._tls:
            raise CommandError(replies.TLS_ACTIVE)
        if verb is Verb.STARTTLS and not self._config.tls_offered:
            raise CommandError(replies.NOT_IMPLEMENTED)
        step = TABLE[self._state][verb]
        if isinstance(step, Reply) and verb is not Verb.BDAT:  # whose octets follow even when it is refused
            raise CommandError(step)
        if argument and verb in _TAKES_NO_ARGUMENT:
            raise CommandError(replies.NO_ARGUMENT)

    # The commands

    def _hello(self, verb: Verb, argument: str) -> None:
        name = commands.parse_hello(argument)
        self._drop(Reason.HELLO)
        self._helo, self._esmtp = name, verb is Verb.EHLO
        self._move(verb)
        self._send(ehlo_reply(self._config, tls=self._tls) if self._esmtp else Reply(250, "", self._config.hostname))
        self._events.append(Hello(name, self._esmtp))

    def _starttls(self, verb: Verb, _argument: str) -> None:
        if not self._esmtp:
            raise CommandError(replies.NEED_HELLO)
        self._drop(Reason.STARTTLS)
        self._move(verb)
        self._send(replies.READY_FOR_TLS)
        self._ask(StartTls())

    def _auth(self, verb: Verb, argument: str) -> None:
        if not self._esmtp:
            raise CommandError(replies.NEED_HELLO)
        if not self._tls:
            raise CommandError(replies.TLS_NEEDED)
        if self._authenticated:
            raise CommandError(replies.AUTHENTICATED)
        mechanism, initial = commands.parse_auth(argument)
        if mechanism not in self._config.mechanisms:
            raise CommandError(replies.UNKNOWN_MECHANISM)
        self._move(verb)
        self._ask(AuthStart(mechanism, initial))

    def _plain(self, verb: Verb, _argument: str) -> None:
        if verb is Verb.RSET:
            self._drop(Reason.RESET)
        self._move(verb)
        self._send(_PLAIN[verb])

    def _quit(self, _verb: Verb, _argument: str) -> None:
        self._close(Reason.QUIT, replies.BYE)


_PLAIN: Final[Mapping[Verb, Reply]] = {
    Verb.RSET: replies.OK,
    Verb.NOOP: replies.OK,
    Verb.VRFY: replies.CANNOT_VERIFY,
    Verb.HELP: replies.HELP,
}
_HANDLERS: Final[Mapping[Verb, Callable[[ServerSession, Verb, str], None]]] = {
    Verb.EHLO: ServerSession._hello,
    Verb.HELO: ServerSession._hello,
    Verb.STARTTLS: ServerSession._starttls,
    Verb.AUTH: ServerSession._auth,
    Verb.MAIL: ServerSession._mail,
    Verb.RCPT: ServerSession._rcpt,
    Verb.DATA: ServerSession._start_data,
    Verb.BDAT: ServerSession._bdat,
    Verb.QUIT: ServerSession._quit,
    **dict.fromkeys(_PLAIN, ServerSession._plain),
}
_READERS: Final[Mapping[State, Callable[[ServerSession], bool]]] = {  # in the other states nothing is read
    **dict.fromkeys(COMMAND_STATES, ServerSession._read_command),
    State.DATA: ServerSession._read_data,
    State.CHUNK: ServerSession._read_chunk,
    State.AUTH: ServerSession._read_auth,
}
