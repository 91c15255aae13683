"""One mail transaction as the client sees it: what is to be sent, and what became of each recipient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from postlatch.model.address import Address
from postlatch.model.envelope import RecipientParams, SenderParams
from postlatch.model.reply import Reply
from postlatch.smtp.client_replies import Outcome, WireReply, to_outcome, to_reply

# RFC 5321 section 4.5.3.1.10: 452 to RCPT after some were taken means "that many at a time", not a full disk.
_TOO_MANY: Final = frozenset({"4.5.3", "4.0.0"})


class Recipient(Protocol):
    """What the engine needs to know of a recipient."""

    @property
    def address(self) -> Address:
        """The forward-path."""
        ...

    @property
    def params(self) -> RecipientParams:
        """The DSN parameters that the client of ours gave."""
        ...


class Transaction:
    """MAIL, RCPT… and the message; or, with ``probe``, MAIL, RCPT and RSET.

    ``size`` is the message in octets before dot-stuffing. ``outcomes`` holds one entry a recipient, in order, None until it is
    known; all are known once the engine tells ``Finished``.
    """

    __slots__ = (
        "accepted",
        "dot_sent",
        "dsn",
        "eight_bit",
        "mail_answered",
        "mail_ok",
        "outcomes",
        "overflow",
        "params",
        "probe",
        "probe_reply",
        "recipients",
        "replayable",
        "sender",
        "size",
        "unanswered",
        "utf8_headers",
    )

    def __init__(
        self,
        sender: Address | None,
        params: SenderParams,
        recipients: Sequence[Recipient],
        *,
        size: int = 0,
        eight_bit: bool = False,
        utf8_headers: bool = False,
        probe: bool = False,
    ) -> None:
        self.sender = sender
        self.params = params
        self.recipients = recipients
        self.size = size
        self.eight_bit = eight_bit
        self.utf8_headers = utf8_headers
        self.probe = probe
        self.outcomes: list[Outcome | None] = [None] * len(recipients)
        self.accepted: list[int] = []  # indexes that RCPT took
        self.overflow: list[int] = []  # indexes that were too many for this transaction: may follow in another at once
        self.unanswered = 0  # final replies that are still to come
        self.mail_answered = False
        self.mail_ok = False
        self.dot_sent = False
        self.dsn = False  # the DSN parameters were passed on
        self.replayable = False  # lost before any reply: nothing happened yet, another connection may try it
        self.probe_reply: Reply | None = None  # to RCPT, or to MAIL if that was refused

    def refuse(self, outcome: Outcome) -> None:
        """Give this outcome to every recipient that has none."""
        self.outcomes = [outcome if known is None else known for known in self.outcomes]

    def mail_refused(self, wire: WireReply) -> None:
        """MAIL was refused, so nobody gets anything, whatever RCPT says."""
        self.mail_answered = True
        self.refuse(to_outcome(wire))
        if self.probe:
            self.probe_reply = to_reply(wire)

    def rcpt_refused(self, index: int, wire: WireReply) -> None:
        """This recipient was refused."""
        if self.outcomes[index] is not None:
            return  # MAIL was refused: a "need MAIL first" must not replace the reason
        outcome = to_outcome(wire)
        self.outcomes[index] = outcome
        if wire.code == 452 and outcome.enhanced in _TOO_MANY and self.accepted:
            self.overflow.append(index)

    def lose(self, what: str, where: str, reply: Outcome | None) -> None:
        """The connection is gone: ``what`` happened ``where``; ``reply`` is the 421 that announced it, if there was one."""
        self.replayable = not self.mail_answered
        if self.dot_sent:
            # The server may have the message: the caller will try again, and the recipient may get it twice (RFC 1047).
            self.refuse(Outcome(451, "4.4.2", f"{what} after the final dot"))
        else:
            self.refuse(reply or Outcome(451, "4.4.2", f"{what} while waiting for {where}"))
