"""One audit of one target: what every family of questions works with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate

from postlatch.audit.canary.values import Canary
from postlatch.audit.fingerprint import Recognised
from postlatch.audit.probes.conversation import Conversation, Dialer, Reply
from postlatch.audit.probes.ended import TIME_IS_OVER, Ended, Why
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.names import Names
from postlatch.audit.probes.place import Place
from postlatch.audit.values import Evidence
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver


@dataclass(slots=True)
class Inquiry:
    """Who asks whom, where, how thoroughly, and with what.

    ``places``: where the target was found to answer, the first one its port for strangers. ``features``: what EHLO offered at
    each. ``canary``: None if nobody listens, and then no message leaves for it. ``mailbox_reader`` reads the known mailbox of
    the target, if its owner lets us. ``deadline`` is of ``clock.monotonic``.
    """

    names: Names
    places: Sequence[Place]
    dial: Dialer
    manners: Manners
    clock: Clock
    dice: random.Random
    deadline: float
    canary: Canary | None = None
    mailbox_reader: Canary | None = None
    resolver: Resolver | None = None
    deep: bool = False
    server: Recognised = field(default_factory=Recognised)
    features: dict[Place, dict[str, str]] = field(default_factory=dict)
    run: str = ""  # what the tokens of this audit begin with
    _tokens: int = 0

    @property
    def late(self) -> bool:
        """Is the time over?"""
        return self.clock.monotonic() >= self.deadline

    def token(self) -> str:
        """A new token: letters, digits and hyphens, never used before."""
        self._tokens += 1
        return f"{self.run}-{self._tokens:03d}-{self.dice.getrandbits(32):08x}"

    def message(self, token: str, *, sender: str = "", to: str = "", subject: str = "") -> bytes:
        """The auditor's message, which says what it is: CRLF lines, dot-stuffed, without the final dot."""
        author = sender or f"{self.names.canary}@{self.names.canary_domain}"
        lines = [
            f"From: <{author}>",
            f"To: <{to or author}>",
            f"Subject: {subject or 'Audit of this mail server'} {token}",
            f"Date: {formatdate(self.clock.now())}",
            f"Message-ID: <{token}@{self.names.canary_domain}>",
            f"X-Postlatch-Audit: {token}",
            "Auto-Submitted: auto-generated",  # RFC 3834: nobody's vacation message shall answer
            "",
            "The owner of this mail server asked whether strangers can send mail through it.",
            f"This is a message of that audit ({token}). It can be deleted.",
            "",
        ]
        return "\r\n".join(lines).encode("ascii", "replace")

    async def deliver(self, talk: Conversation, message: bytes) -> tuple[Evidence, Reply]:
        """DATA, the message and the final dot, in a transaction whose recipients were taken.

        How far it got, and the last answer. Ended(MANNERS) before anything is sent that must not be.
        """
        reply = await talk.say("DATA")
        if reply.code != 354:
            return Evidence.E1, reply
        await talk.send_body(message + b".\r\n")
        reply = await talk.reply()
        return (Evidence.E3 if reply.taken else Evidence.E2), reply

    def check_time(self) -> None:
        """Ended(LATE) if the time of the audit is over."""
        if self.late:
            raise Ended(Why.LATE, TIME_IS_OVER)
