"""The part of a report that people read. Fixed sentences: a remote server's words stay in the technical part.

Chosen by the RFC 3463 code, the most exact first. Written for somebody who has never heard of SMTP.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class Action(StrEnum):
    """RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


class Line(NamedTuple):
    """One recipient as the text shows it."""

    address: str
    status: str
    expired: bool


SUBJECTS: Mapping[Action, str] = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was passed on",
}

_LEADS: Mapping[Action, str] = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message has not been delivered yet to:",
    Action.DELIVERED: "Your message was delivered to:",
    Action.RELAYED: "Your message was passed on to a mail system that sends no further confirmation, for:",
}

_NEXT: Mapping[Action, str] = {
    Action.FAILED: "We have stopped trying. If the message still matters, put right what is named above and send it again.",
    Action.DELAYED: "You need not do anything. We go on trying, and tell you if we have to give up.",
    Action.DELIVERED: "You asked for this confirmation.",
    Action.RELAYED: "You asked for this confirmation.",
}

# What went wrong, without the class: 5.1.1 and 4.1.1 are the same trouble, final or not.
_REASONS: Mapping[str, str] = {
    "1.0": "There is something wrong with this address.",
    "1.1": "There is no such mailbox. Check the part before the @ for typing errors.",
    "1.2": "There is no such domain, or it has no mail system. Check the part after the @ for typing errors.",
    "1.3": "This is not a valid address.",
    "1.6": "The mailbox has moved, and its new address is not known.",
    "1.8": "The receiving mail system does not accept your sender address.",
    "1.10": "This domain takes no mail at all.",
    "2.0": "There is something wrong with the mailbox.",
    "2.1": "The mailbox is switched off.",
    "2.2": "The mailbox is full.",
    "2.3": "The message is larger than this mailbox takes.",
    "3.0": "The receiving mail system has a fault.",
    "3.1": "The receiving mail system is full.",
    "3.4": "The message is larger than the receiving mail system takes.",
    "4.0": "The receiving mail system could not be reached.",
    "4.1": "The receiving mail system does not answer.",
    "4.2": "The connection to the receiving mail system broke off.",
    "4.3": "The address book of the internet (DNS) gave no answer for this domain.",
    "4.4": "There is no way to a mail system for this domain.",
    "4.6": "The message goes round in circles between mail systems.",
    "4.7": "The receiving mail system did not take the message in time.",
    "5.0": "The receiving mail system and ours did not understand each other.",
    "6.0": "The receiving mail system cannot handle the content of the message.",
    "6.7": "The receiving mail system cannot handle an address with international characters.",
    "7.0": "The receiving mail system refused the message for reasons of security or policy.",
    "7.1": "The receiving mail system does not permit you to send to this address.",
    "7.26": "The receiving mail system could not confirm that the message is really from your domain.",
}
_WIDTH = 76
_GENERAL = "The receiving mail system refused the message."
_GOOD = frozenset({Action.DELIVERED, Action.RELAYED})


def reason(status: str) -> str:
    """A sentence for an RFC 3463 code: for the exact detail, else for its subject, else a general one."""
    _, _, detail = status.partition(".")
    return _REASONS.get(detail) or _REASONS.get(f"{detail.partition('.')[0]}.0") or _GENERAL


def text(hostname: str, action: Action, lines: Sequence[Line], *, days: int) -> str:
    r"""The whole text with ``\n`` line ends. ``days``: for how long a message is tried."""
    paragraphs = [_wrapped(f"This is an automatic message of the mail system at {hostname}."), _wrapped(_LEADS[action])]
    paragraphs += [_recipient(action, line, days) for line in lines]
    paragraphs += [_wrapped(_NEXT[action]), _wrapped("The technical details and the headers of your message are attached.")]
    return "\n\n".join(paragraphs) + "\n"


def _recipient(action: Action, line: Line, days: int) -> str:
    address = f"    {line.address}"  # never wrapped: it must be possible to copy it
    if action in _GOOD:
        return address
    tried = f" We tried for {days} days." if line.expired else ""
    return f"{address}\n{_wrapped(f'{reason(line.status)}{tried} ({line.status})', indent=8)}"


def _wrapped(sentence: str, indent: int = 0) -> str:
    space = " " * indent
    return textwrap.fill(
        sentence, _WIDTH, initial_indent=space, subsequent_indent=space, break_long_words=False, break_on_hyphens=False
    )
