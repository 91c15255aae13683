"""What the pool's connections carry out: the delivery of one message, or the question whether a mailbox is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from postlatch.delivery.contract import Attempt, AttemptStatus, ConnectFailed, CutOff, OutboundMessage, OutboundRecipient
from postlatch.delivery.session import Session
from postlatch.model.address import Address
from postlatch.model.envelope import SenderParams
from postlatch.model.reply import Reply
from postlatch.smtp.client_capabilities import Capabilities
from postlatch.smtp.client_replies import Outcome
from postlatch.smtp.client_transaction import Transaction

_BEHIND_THE_DOT: Final = "after the final dot"  # `Transaction.lose`
_STATUS: Final = {2: AttemptStatus.DELIVERED, 4: AttemptStatus.TEMPORARY, 5: AttemptStatus.PERMANENT}


class Delivery:
    """One message. It needs more than one transaction if the server takes fewer recipients at a time.

    ``rerun``: it was lost once before the server said anything, and goes to a new connection. ``since`` is when it began to
    wait, in monotonic seconds.
    """

    __slots__ = ("_attempts", "_left", "_message", "_remote", "_transaction", "future", "go", "mx_domain", "rerun", "since")

    def __init__(self, message: OutboundMessage, remote: str) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[Attempt]] = loop.create_future()
        # For a streamed body: the session that wants it, or None when there is no more to do.
        self.go: asyncio.Future[Session | None] | None = None if message.body.data is not None else loop.create_future()
        self.rerun = False
        self.since = 0.0
        self.mx_domain = message.mx_domain
        self._message = message
        self._remote = remote
        self._left: Sequence[OutboundRecipient] = message.recipients
        self._attempts: list[Attempt] = []
        self._transaction: Transaction | None = None  # the last that was begun

    async def result(self) -> list[Attempt]:
        """Wait for the outcomes, and stream the body when it is wanted."""
        try:
            while self.go is not None and (session := await self.go) is not None:
                self.go = asyncio.get_running_loop().create_future()
                await session.stream(self._message.body)
            return await self.future
        except asyncio.CancelledError:
            if self._attempts or (self._transaction is not None and self._transaction.dot_sent):
                raise CutOff from None
            raise
        finally:
            self.future.cancel()  # when the caller was cancelled, or the body could not be read

    @property
    def abandoned(self) -> bool:
        """True if the caller was cancelled."""
        return self.future.done()

    def transaction(self, offered: Capabilities) -> Transaction:
        """The recipients that are left, as many as the server takes at a time (RFC 9422)."""
        message = self._message
        batch = self._left[: offered.rcpt_max] if offered.rcpt_max else self._left
        self._transaction = Transaction(
            message.sender,
            message.params,
            batch,
            size=message.body.size,
            eight_bit=message.eight_bit,
            utf8_headers=message.utf8_headers,
        )
        return self._transaction

    def body(self) -> bytes | None:
        """The body if it is in memory."""
        return self._message.body.data

    def body_wanted(self, session: Session) -> None:
        """Let the caller stream it."""
        if self.go is not None and not self.go.done():
            self.go.set_result(session)

    def settle(self, transaction: Transaction) -> bool:
        """Take the outcomes of a transaction; True if recipients are left for another one."""
        again: list[OutboundRecipient] = []
        delivered = any(outcome is not None and outcome.code < 300 for outcome in transaction.outcomes)
        for index, recipient in enumerate(self._left[: len(transaction.outcomes)]):
            if delivered and index in transaction.overflow:
                again.append(recipient)
            else:
                self._attempts.append(self._attempt(recipient, transaction.outcomes[index], transaction))
        self._left = (*again, *self._left[len(transaction.outcomes) :])
        if self._left and not self.abandoned:
            return True
        self._end()
        return False

    def fail(self, error: ConnectFailed) -> None:
        """No transaction took place. What an earlier one achieved stays."""
        if self._attempts:
            outcome = Outcome(451, "4.4.1", error.reply)
            self._attempts += [self._attempt(recipient, outcome, None) for recipient in self._left]
            self._end()
        elif not self.future.done():
            self.future.set_exception(_copy(error))
            self._stop_streaming()

    def _end(self) -> None:
        if not self.future.done():
            self.future.set_result(self._attempts)
        self._stop_streaming()

    def _stop_streaming(self) -> None:
        if self.go is not None and not self.go.done():
            self.go.set_result(None)

    def _attempt(self, recipient: OutboundRecipient, outcome: Outcome | None, transaction: Transaction | None) -> Attempt:
        assert outcome is not None
        status = _STATUS[outcome.code // 100]
        if status is AttemptStatus.DELIVERED:
            passed = transaction is not None and transaction.dsn and bool(recipient.params.notify)
            return Attempt(recipient.number, status, outcome.text, outcome.enhanced, self._remote, passed)
        doubtful = transaction is not None and transaction.dot_sent and outcome.text.endswith(_BEHIND_THE_DOT)
        return Attempt(recipient.number, status, outcome.text, outcome.enhanced, self._remote, doubtful=doubtful)


class Probe:
    """MAIL FROM:<>, RCPT, RSET: would this recipient be taken? Has the same attributes as `Delivery`."""

    __slots__ = ("_recipient", "future", "mx_domain", "rerun", "since")

    def __init__(self, recipient: Address) -> None:
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.rerun = False
        self.since = 0.0
        self.mx_domain = ""
        self._recipient = recipient

    @property
    def abandoned(self) -> bool:
        """True if the caller was cancelled."""
        return self.future.done()

    def transaction(self, offered: Capabilities) -> Transaction:  # noqa: ARG002  one recipient is never too many
        """The question."""
        return Transaction(None, SenderParams(), (OutboundRecipient(0, self._recipient),), probe=True)

    def body(self) -> bytes | None:
        """There is none; never asked for."""
        return None

    def body_wanted(self, session: Session) -> None:
        """Never called."""

    def settle(self, transaction: Transaction) -> bool:
        """Give the reply to RCPT. A refused MAIL says nothing about the recipient, nor does a lost connection."""
        reply, outcome = transaction.probe_reply, transaction.outcomes[0]
        if self.future.done():
            return False
        if transaction.mail_ok and reply is not None:
            self.future.set_result(reply)
        else:
            self.future.set_exception(ConnectFailed("no answer" if outcome is None else outcome.text))
        return False

    def fail(self, error: ConnectFailed) -> None:
        """The question could not be put."""
        if not self.future.done():
            self.future.set_exception(_copy(error))


def _copy(error: ConnectFailed) -> ConnectFailed:
    """One exception for each job: a raised one collects its own traceback."""
    return ConnectFailed(error.reply, tls=error.tls, silent=error.silent)
