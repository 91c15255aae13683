"""The one transition table of the server engine: what each command does in each state.

A row gives, for a command, the state that follows a positive answer, or the reply that refuses the command there. What is not a
command (the end of a body, a handshake) is an ``Input``. ``python -m postlatch.smtp.states`` prints the diagram of the docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType

from postlatch.model.reply import Reply
from postlatch.smtp import replies


class State(Enum):
    """Where a session is. The values are the names in the diagram."""

    SILENT = "silent"  # connected, not greeted
    START = "start"  # greeted, or TLS began: no EHLO or HELO yet
    READY = "ready"
    MAIL = "mail"  # a transaction, no RCPT yet
    REFUSED = "refused"  # a transaction, and every RCPT so far was refused
    RCPT = "rcpt"  # at least one recipient
    CHUNKS = "chunks"  # between two BDAT chunks
    # In these no command is read:
    DATA = "data"
    CHUNK = "chunk"
    AUTH = "auth"
    TLS = "tls"
    CLOSED = "closed"


class Verb(StrEnum):
    """The commands that the engine knows."""

    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    QUIT = "QUIT"


class Input(Enum):
    """What moves a session and is not a command."""

    GREETED = "220"
    REFUSED_RCPT = "RCPT refused"
    REFUSED_BODY = "body refused"
    DROPPED = "message dropped"
    CHUNK_END = "chunk complete"
    BODY_END = "message complete"
    AUTH_END = "235 or refusal"
    SECURED = "TLS handshake"


Row = Mapping[Verb | Input, State | Reply]

# In the order of RFC 5321 section 4.1.4: these are permitted everywhere and leave the state alone, or reset it.
_ANYWHERE: tuple[Verb, ...] = (Verb.NOOP, Verb.VRFY, Verb.EXPN, Verb.HELP)


def _row(state: State, ready: State, steps: Row) -> Row:
    row: dict[Verb | Input, State | Reply] = dict.fromkeys(_ANYWHERE, state)
    row |= {Verb.EHLO: State.READY, Verb.HELO: State.READY, Verb.RSET: ready, Verb.QUIT: State.CLOSED}
    return MappingProxyType(row | dict(steps))


def _refuse(reply: Reply, *verbs: Verb) -> dict[Verb | Input, State | Reply]:
    return dict.fromkeys(verbs, reply)


TABLE: Mapping[State, Row] = MappingProxyType(
    {
        State.SILENT: {Input.GREETED: State.START},
        State.START: _row(
            State.START,
            State.START,
            _refuse(replies.NEED_HELLO, Verb.STARTTLS, Verb.AUTH, Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT),
        ),
        State.READY: _row(
            State.READY,
            State.READY,
            {Verb.MAIL: State.MAIL, Verb.AUTH: State.AUTH, Verb.STARTTLS: State.TLS}
            | _refuse(replies.NEED_MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT),
        ),
    }
)
