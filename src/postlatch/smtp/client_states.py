"""The client's transition table: the reply that it waits for and the class of the reply give what it does.

A pair that is missing here is a protocol failure, which is temporary: the connection ends and nothing counts as delivered. 421
ends the connection in every state (RFC 5321 section 3.8). ``python -m postlatch.smtp.client_states`` draws the diagram.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Awaits(StrEnum):
    """What the next reply answers. The value completes the sentence "while waiting for …"."""

    GREETING = "the greeting"
    EHLO = "the reply to EHLO"
    HELO = "the reply to HELO"
    LHLO = "the reply to LHLO"
    STARTTLS = "the reply to STARTTLS"
    AUTH = "the reply to AUTH"
    MAIL = "the reply to MAIL"
    RCPT = "the reply to RCPT"
    DATA = "the reply to DATA"
    BODY = "the message to be sent"
    FINAL = "the reply to the final dot"
    LONE_DOT = "the reply to an empty message"
    RSET = "the reply to RSET"
    QUIT = "the reply to QUIT"
    NOTHING = "work"


class Action(StrEnum):
    """What the engine does. Each is a method of ``ClientSession`` of this name with a leading underscore."""

    GREETED = "greeted"
    TURNED_AWAY = "turned_away"
    HELLO_OK = "hello_ok"
    TRY_HELO = "try_helo"
    TLS_GO = "tls_go"
    TLS_REFUSED = "tls_refused"
    CHALLENGED = "challenged"
    LOGGED_IN = "logged_in"
    LOGIN_REFUSED = "login_refused"
    MAIL_OK = "mail_ok"
    MAIL_REFUSED = "mail_refused"
    RCPT_OK = "rcpt_ok"
    RCPT_REFUSED = "rcpt_refused"
    GO_AHEAD = "go_ahead"
    DATA_REFUSED = "data_refused"
    CUT_SHORT = "cut_short"
    FINAL = "final"
    IGNORED = "ignored"
    ENDED = "ended"


TRANSITIONS: Final[Mapping[tuple[Awaits, int], Action]] = {
    (Awaits.GREETING, 2): Action.GREETED,
    (Awaits.GREETING, 4): Action.TURNED_AWAY,
    (Awaits.GREETING, 5): Action.TURNED_AWAY,
    (Awaits.EHLO, 2): Action.HELLO_OK,
    (Awaits.EHLO, 4): Action.TURNED_AWAY,
    (Awaits.EHLO, 5): Action.TRY_HELO,  # RFC 5321 section 3.2
    (Awaits.HELO, 2): Action.HELLO_OK,
    (Awaits.HELO, 4): Action.TURNED_AWAY,
    (Awaits.HELO, 5): Action.TURNED_AWAY,
    (Awaits.LHLO, 2): Action.HELLO_OK,
    (Awaits.LHLO, 4): Action.TURNED_AWAY,
    (Awaits.LHLO, 5): Action.TURNED_AWAY,
    (Awaits.STARTTLS, 2): Action.TLS_GO,
    (Awaits.STARTTLS, 4): Action.TLS_REFUSED,
    (Awaits.STARTTLS, 5): Action.TLS_REFUSED,
    (Awaits.AUTH, 2): Action.LOGGED_IN,
    (Awaits.AUTH, 3): Action.CHALLENGED,
    (Awaits.AUTH, 4): Action.LOGIN_REFUSED,
    (Awaits.AUTH, 5): Action.LOGIN_REFUSED,
    (Awaits.MAIL, 2): Action.MAIL_OK,
    (Awaits.MAIL, 4): Action.MAIL_REFUSED,
    (Awaits.MAIL, 5): Action.MAIL_REFUSED,
    (Awaits.RCPT, 2): Action.RCPT_OK,
    (Awaits.RCPT, 4): Action.RCPT_REFUSED,
    (Awaits.RCPT, 5): Action.RCPT_REFUSED,
    (Awaits.DATA, 3): Action.GO_AHEAD,
    (Awaits.DATA, 4): Action.DATA_REFUSED,
    (Awaits.DATA, 5): Action.DATA_REFUSED,
    (Awaits.BODY, 4): Action.CUT_SHORT,
    (Awaits.BODY, 5): Action.CUT_SHORT,
    (Awaits.FINAL, 2): Action.FINAL,
    (Awaits.FINAL, 4): Action.FINAL,
    (Awaits.FINAL, 5): Action.FINAL,
    (Awaits.LONE_DOT, 2): Action.IGNORED,
    (Awaits.LONE_DOT, 4): Action.IGNORED,
    (Awaits.LONE_DOT, 5): Action.IGNORED,
    (Awaits.RSET, 2): Action.IGNORED,
    (Awaits.QUIT, 2): Action.ENDED,
    (Awaits.QUIT, 4): Action.ENDED,
    (Awaits.QUIT, 5): Action.ENDED,
}


def diagram() -> str:
    """The table as a mermaid flowchart: what is awaited, the class of the reply, what is done."""
    lines = ["flowchart LR"]
    for (awaits, digit), action in TRANSITIONS.items():
        lines.append(f'  {awaits.name}["{awaits}"] -- {digit}xx --> do_{action.name}("{action.replace("_", " ")}")')
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(diagram())
