"""Mail to the report addresses, seen as it is delivered: a copy of the body goes to whoever reads reports.

It stands between the dispatcher and the queue and changes nothing: it remembers the body of such a message when delivery asks
for it, and hands it over when the outcome says that the message was delivered. Other mail passes through untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from postlatch.delivery.contract import Body
from postlatch.delivery.ports import SpoolPort
from postlatch.spool.contract import Claim, Outcome, OutcomeKind, QueuedRecipient
from postlatch.store.writer import Operation

MAX_OCTETS: Final = 10 * 1024 * 1024  # of one body
MAX_KEPT: Final = 32 * 1024 * 1024  # octets of all that are being delivered
_KINDS: Final = frozenset({"", "dmarc_report", "tls_report"})  # of mail of our own, only what is a report

Found = Callable[[int, str, bytes | None, bool], None]


class ReportTap:
    """A `SpoolPort` over another one.

    ``watched`` gives the keys of the report addresses of now. ``found`` gets the message's id, the address, the body, which is
    None if it is too large, and whether it is mail of our own.
    """

    def __init__(self, spool: SpoolPort, watched: Callable[[], frozenset[str]], found: Found) -> None:
        self._spool = spool
        self._watched = watched
        self._found = found
        self._kept: dict[int, bytes | None] = {}
        self._octets = 0
        self.take = spool.take
        self.claim_due = spool.claim_due
        self.cleanup = spool.cleanup
        self.recover = spool.recover

    def body(self, claim: Claim) -> Coroutine[Any, Any, Body]:
        """The body, of which a copy is kept if it may be a report."""
        body = self._spool.body(claim)
        if self._address(claim.message.kind, claim.recipients):
            return self._copied(claim.message.message_id, body)
        return body

    async def _copied(self, message_id: int, asked: Coroutine[Any, Any, Body]) -> Body:
        body = await asked
        self._forget(message_id)
        if body.size > MAX_OCTETS:
            self._kept[message_id] = None
            return body
        while self._kept and self._octets + body.size > MAX_KEPT:
            self._forget(next(iter(self._kept)))  # one that hangs on a slow hop; it is kept again at its next attempt
        data = body.data
        if data is None:
            data = b"".join([chunk async for chunk in body.chunks()])
        self._forget(message_id)
        self._kept[message_id] = data
        self._octets += len(data)
        return body

    def finish(self, claim: Claim, outcomes: Sequence[Outcome]) -> Operation[Any]:
        """Record outcomes; what was kept is handed over, or forgotten until the next attempt."""
        if claim.message.message_id in self._kept:
            self._settle(claim, outcomes)
        return self._spool.finish(claim, outcomes)

    def _settle(self, claim: Claim, outcomes: Sequence[Outcome]) -> None:
        delivered = {outcome.number for outcome in outcomes if outcome.kind is OutcomeKind.DELIVERED}
        there = [recipient for recipient in claim.recipients if recipient.number in delivered]
        address = self._address(claim.message.kind, there)
        kept = self._kept[claim.message.message_id]
        self._forget(claim.message.message_id)
        if address:
            self._found(claim.message.message_id, address, kept, bool(claim.message.kind))

    def _forget(self, message_id: int) -> None:
        self._octets -= len(self._kept.pop(message_id, None) or b"")

    def _address(self, kind: str, recipients: Sequence[QueuedRecipient]) -> str:
        """The report address that the message is for, empty if it is for none."""
        watched = self._watched()
        if not watched or kind not in _KINDS:
            return ""
        named = (key for recipient in recipients for key in _keys(recipient))
        return next((key for key in named if key in watched), "")


def _keys(recipient: QueuedRecipient) -> tuple[str, ...]:
    """What the client named counts as well as the mailbox that an alias leads to."""
    own = recipient.address.key
    return (own,) if recipient.original is None else (recipient.original.key, own)
