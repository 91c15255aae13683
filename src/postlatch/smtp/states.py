"""The one transition table of the server engine: what each command does in each state.

A row gives, for a command, the state that follows when it is accepted, or the reply that refuses it there. What moves a session
without being a command (the end of a body, a handshake) is an ``Input``. ``python -m postlatch.smtp.states`` prints the
diagram of the docs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from postlatch.model.reply import Reply
from postlatch.smtp import replies


class State(StrEnum):
    """Where a session is. The values are the names in the diagram."""

    SILENT = "silent"  # connected, not greeted
    START = "start"  # greeted, or TLS has begun: no EHLO or HELO yet
    READY = "ready"
    MAIL = "mail"  # in a transaction, no RCPT yet
    REFUSED = "refused"  # in a transaction, and every RCPT so far was refused
    RCPT = "rcpt"  # in a transaction with a recipient
    CHUNKS = "chunks"  # between two chunks of BDAT
    # In the rest no command is read.
    DATA = "data"
    CHUNK = "chunk"
    AUTH = "auth"
    TLS = "tls"
    CLOSED = "closed"


class Verb(StrEnum):
    """The commands that the engine carries out."""

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


class Input(StrEnum):
    """What moves a session and is no command."""

    GREETED = "220 greeting"
    RCPT_REFUSED = "RCPT refused"
    BODY_REFUSED = "body refused"
    CHUNK_COMPLETE = "chunk complete"
    MESSAGE_COMPLETE = "message complete"
    AUTH_OVER = "235 or refusal"
    TLS_STARTED = "handshake done"


Row = Mapping[Verb | Input, State | Reply]


def _row(state: State, steps: Row, *, reset: State = State.READY) -> Row:
    """A state that reads commands: ``steps``, and what is the same in every such state (RFC 5321 section 4.1.4)."""
    everywhere: Row = {
        Verb.EHLO: State.READY,
        Verb.HELO: State.READY,
        Verb.RSET: reset,
        Verb.NOOP: state,
        Verb.VRFY: state,
        Verb.EXPN: replies.NOT_IMPLEMENTED,
        Verb.HELP: state,
        Verb.QUIT: State.CLOSED,
    }
    return {**everywhere, **steps}


TABLE: Final[Mapping[State, Row]] = {
    State.SILENT: {Input.GREETED: State.START},
    State.START: _row(
        State.START,
        {
            Verb.STARTTLS: replies.NEED_HELLO,
            Verb.AUTH: replies.NEED_HELLO,
            Verb.MAIL: replies.NEED_HELLO,
            Verb.RCPT: replies.NEED_HELLO,
            Verb.DATA: replies.NEED_HELLO,
            Verb.BDAT: replies.NEED_HELLO,
        },
        reset=State.START,
    ),
    State.READY: _row(
        State.READY,
        {
            Verb.STARTTLS: State.TLS,
            Verb.AUTH: State.AUTH,
            Verb.MAIL: State.MAIL,
            Verb.RCPT: replies.NEED_MAIL,
            Verb.DATA: replies.NEED_MAIL,
            Verb.BDAT: replies.NEED_MAIL,
        },
    ),
    State.MAIL: _row(
        State.MAIL,
        {
            Verb.STARTTLS: State.TLS,  # RFC 3207 permits it; the transaction is forgotten
            Verb.AUTH: replies.IN_TRANSACTION,  # RFC 4954 section 4
            Verb.MAIL: replies.IN_TRANSACTION,
            Verb.RCPT: State.RCPT,
            Input.RCPT_REFUSED: State.REFUSED,
            Verb.DATA: replies.NEED_RECIPIENT,
            Verb.BDAT: replies.NEED_RECIPIENT,
        },
    ),
    State.REFUSED: _row(
        State.REFUSED,
        {
            Verb.STARTTLS: State.TLS,
            Verb.AUTH: replies.IN_TRANSACTION,
            Verb.MAIL: replies.IN_TRANSACTION,
            Verb.RCPT: State.RCPT,
            Input.RCPT_REFUSED: State.REFUSED,
            Verb.DATA: replies.NO_VALID_RECIPIENTS,  # RFC 2920 section 3.1: a pipelining client gets here
            Verb.BDAT: replies.NO_VALID_RECIPIENTS,
        },
    ),
    State.RCPT: _row(
        State.RCPT,
        {
            Verb.STARTTLS: State.TLS,
            Verb.AUTH: replies.IN_TRANSACTION,
            Verb.MAIL: replies.IN_TRANSACTION,
            Verb.RCPT: State.RCPT,
            Input.RCPT_REFUSED: State.RCPT,
            Verb.DATA: State.DATA,
            Verb.BDAT: State.CHUNK,
            Input.BODY_REFUSED: State.READY,
        },
    ),
    State.CHUNKS: _row(
        State.CHUNKS,
        {
            Verb.STARTTLS: State.TLS,
            Verb.AUTH: replies.IN_CHUNKS,
            Verb.MAIL: replies.IN_CHUNKS,
            Verb.RCPT: replies.IN_CHUNKS,
            Verb.DATA: replies.IN_CHUNKS,  # RFC 3030 section 3
            Verb.BDAT: State.CHUNK,
            Input.BODY_REFUSED: State.READY,
        },
    ),
    State.DATA: {Input.MESSAGE_COMPLETE: State.READY},
    State.CHUNK: {Input.CHUNK_COMPLETE: State.CHUNKS, Input.MESSAGE_COMPLETE: State.READY},
    State.AUTH: {Input.AUTH_OVER: State.READY},
    State.TLS: {Input.TLS_STARTED: State.START},
    State.CLOSED: {},
}

COMMAND_STATES: Final = frozenset(state for state, row in TABLE.items() if Verb.QUIT in row)


def diagram() -> str:
    """The table as a mermaid state diagram. Refusals, and what every command state has in common, are left out."""
    common = set(_row(State.START, {})) - {Verb.RSET}
    lines = ["stateDiagram-v2", f"    [*] --> {State.SILENT.value}"]
    for state, row in TABLE.items():
        edges: dict[State, list[str]] = {}
        for cause, step in row.items():
            greets = state is State.START and cause in {Verb.EHLO, Verb.HELO}
            if isinstance(step, State) and (greets or cause not in common):
                edges.setdefault(step, []).append(cause.value)
        lines += [f"    {state.value} --> {to.value}: {', '.join(causes)}" for to, causes in edges.items()]
    names = ", ".join(state.value for state in State if state in COMMAND_STATES)
    lines += [
        "    note right of ready",
        f"        In {names}: NOOP, VRFY and HELP stay,",
        "        EHLO and HELO lead to ready, QUIT to closed.",
        "    end note",
        "    closed --> [*]",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(diagram())
