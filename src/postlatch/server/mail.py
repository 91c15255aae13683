"""MAIL and RCPT: gathers facts, asks the policy, opens the transaction. Every doubt is a 4xx."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from postlatch.limits.limiter import Charge
from postlatch.model.address import Address
from postlatch.model.envelope import Destination, GrantReason, Role
from postlatch.model.events import Event
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import AcceptRecipient, decide_recipient, decide_sender, needs_callout
from postlatch.policy.facts import RecipientFacts, SenderFacts
from postlatch.policy.match import permits
from postlatch.senderauth.check import MessageCheck
from postlatch.server import charges
from postlatch.server.body import BodyHandler
from postlatch.server.readiness import UNDECIDED, unready
from postlatch.server.refusals import tell
from postlatch.server.transaction import AcceptedRecipient, Origin, Transaction
from postlatch.smtp import events as ev

if TYPE_CHECKING:
    from postlatch.server.connection import Connection

_SENDER_OK: Final = Reply(250, "2.1.0", "Sender OK")
_RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient OK")
_HEADER_TOO_LONG: Final = Reply(552, "5.3.4", "Message header is too long")
_LOGIN_OVER: Final = Reply(421, "4.7.0", "The account changed; log in again")


class MailHandler:
    """The mail side of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._services = connection.services
        self.transaction: Transaction | None = None
        self.vouched = False  # a recipient was accepted
        self.body: BodyHandler = BodyHandler(connection, self)

    # MAIL

    def on_mail(self, event: ev.Mail) -> None:
        """Decide on the sender; open a transaction if it may go on."""
        self._connection.command()
        claims_ours = self._claims_ours(event.sender)
        verdict = (
            unready(self._connection, event.params.size)
            or self._stale_login()
            or self._decide_sender(event.sender, spf="pass" if claims_ours else None)
        )
        if claims_ours and isinstance(verdict, Accept):
            self.later(self._ask_spf(event))
        else:
            self._answer_mail(event, verdict, None)

    def _answer_mail(self, event: ev.Mail, verdict: Refuse | Defer | Accept, check: MessageCheck | None) -> None:
        if isinstance(verdict, Accept):
            self.transaction = Transaction(self._origin(), event.sender, event.params)
            self.transaction.check = check
            self._connection.session.answer(_SENDER_OK)
            return
        if check is not None:
            check.abandon()
        self.tell("sender.refused", verdict, {"sender": str(event.sender or "<>")})
        self._connection.session.answer(verdict.reply, close=verdict.close)

    def _claims_ours(self, sender: Address | None) -> bool:
        """True if a stranger names a domain of ours, and it can be asked whether it may: everything else waits for the body."""
        services = self._services
        if services.senders is None or sender is None or self._connection.port.role is not Role.MX:
            return False
        return services.snapshot.classify(sender.domain) is Destination.LOCAL

    async def _ask_spf(self, event: ev.Mail) -> None:
        # Only for whom nothing else speaks against: a stranger must not make us ask the DNS for nothing.
        check = self.begin_check(event.sender)
        assert check is not None
        found = await check.start()
        if self._connection.session.waiting:
            self._answer_mail(event, self._decide_sender(event.sender, spf=found.result.value), check)
        else:
            check.abandon()

    def begin_check(self, sender: Address | None) -> MessageCheck | None:
        """The checks of a stranger's message; None where nothing is checked."""
        connection, senders = self._connection, self._services.senders
        if senders is None or connection.port.role is not Role.MX:
            return None
        return senders.begin(connection.client, connection.session.helo, sender)

    def _stale_login(self) -> Defer | None:
        """A login with a password that has been changed since is over. A suspended account stays: the policy answers it."""
        connection = self._connection
        if connection.account is None:
            return None
        record = self._services.book.get(connection.account)
        if record is None or record.suspended or record.generation == connection.generation:
            return None
        return Defer(_LOGIN_OVER, "login", f"the credentials of {connection.account} changed after this login", close=True)

    def _decide_sender(self, sender: Address | None, *, spf: str | None) -> Refuse | Defer | Accept:
        connection, services = self._connection, self._services
        facts = SenderFacts(
            snapshot=services.snapshot,
            listener=connection.port.name,
            client=connection.client,
            now=services.clock.now(),
            tls=connection.session.tls_active,
            account=connection.account,
            sender=sender,
            helo=connection.session.helo,
            spf=spf,
        )
        verdict = decide_sender(facts)
        if not isinstance(verdict, Accept):
            return verdict
        limit = charges.check(services, self._sender_charges(sender, facts.now))
        if limit is None:
            return verdict
        self.limit_event(limit.name)
        return decide_sender(replace(facts, limit=limit))

    def _sender_charges(self, sender: Address | None, now: float) -> list[Charge]:
        connection, services = self._connection, self._services
        if connection.account is not None:
            return charges.payer_charges(services.rules, GrantReason.ACCOUNT, connection.account, messages=1)
        if connection.port.role is not Role.RELAY:
            return []
        for right in services.snapshot.rights_of(connection.port.name, connection.client.address):
            if not right.suspended and now < right.expires and permits(right.sender_keys, sender):
                return charges.payer_charges(services.rules, GrantReason.NETWORK, right.name, messages=1)
        return []

    def _origin(self) -> Origin:
        connection = self._connection
        session = connection.session
        return Origin(
            listener=connection.port.name,
            role=connection.port.role,
            client=connection.client,
            client_text=connection.client_text,
            helo=session.helo,
            esmtp=session.esmtp,
            tls=session.tls_active,
            account=connection.account,
        )

    # RCPT

    def on_rcpt(self, event: ev.Rcpt) -> None:
        """Decide on the recipient; ask the next hop first where the configuration says call-out."""
        self._connection.command()
        if needs_callout(self._services.snapshot, event.recipient):
            self.later(self._ask_callout(event))
        else:
            self._decide_recipient(event, known=None)

    async def _ask_callout(self, event: ev.Rcpt) -> None:
        # A stranger must not learn by way of our call-out, nor load the next hop: what can be refused without it, is.
        first = decide_recipient(self._recipient_facts(event.recipient, known=True))
        known = await self._services.callout(event.recipient) if isinstance(first, AcceptRecipient) else None
        self._decide_recipient(event, known=known if isinstance(first, AcceptRecipient) else True)

    def _decide_recipient(self, event: ev.Rcpt, *, known: bool | None) -> None:
        transaction = self.transaction
        if transaction is None:  # the session was cut off while we asked
            return
        verdict = self._limited(event.recipient, self._recipient_facts(event.recipient, known=known), transaction)
        session = self._connection.session
        if isinstance(verdict, AcceptRecipient):
            self.vouched = True
            transaction.accept(AcceptedRecipient(event.recipient, event.params, verdict))
            if self._is_new(transaction, event.recipient):
                transaction.new_recipients.append(event.recipient)
            session.answer(_RECIPIENT_OK)
            return
        facts: dict[str, Any] = {"sender": str(transaction.sender or "<>"), "recipient": event.recipient.text}
        self.tell("recipient.refused", verdict, facts)
        session.answer(verdict.reply, close=verdict.close)

    def _recipient_facts(self, recipient: Address, *, known: bool | None) -> RecipientFacts:
        connection, services, transaction = self._connection, self._services, self.transaction
        return RecipientFacts(
            snapshot=services.snapshot,
            listener=connection.port.name,
            client=connection.client,
            now=services.clock.now(),
            tls=connection.session.tls_active,
            account=connection.account,
            sender=transaction.sender if transaction is not None else None,
            recipient=recipient,
            transaction=transaction,
            known=known,
        )

    def _limited(self, recipient: Address, facts: RecipientFacts, transaction: Transaction) -> Refuse | Defer | AcceptRecipient:
        """Decide, then hold the result against the limits of whoever would pay for it."""
        verdict = decide_recipient(facts)
        if not isinstance(verdict, AcceptRecipient) or verdict.grant is None:
            return verdict
        payer = (verdict.grant.reason, verdict.ref)
        earlier = transaction.payers.get(payer, 0)
        fresh = len(transaction.new_recipients) + self._is_new(transaction, recipient)
        due = charges.payer_charges(self._services.rules, *payer, recipients=earlier + 1, new_recipients=fresh)
        limit = charges.check(self._services, due)
        if limit is None:
            return verdict
        self.limit_event(limit.name)
        return decide_recipient(replace(facts, limit=limit))

    def _is_new(self, transaction: Transaction, recipient: Address) -> bool:
        account = transaction.origin.account
        if account is None or any(recipient.key == a.key for a in transaction.new_recipients):
            return False
        return self._services.known_recipients.is_new(account, recipient)

    # The end of a transaction

    def on_dropped(self, _event: ev.TransactionDropped) -> None:
        """RSET, EHLO, STARTTLS or a bad body: forget what was opened."""
        self.drop()

    def drop(self) -> None:
        """Forget the transaction; a commit that is under way goes on, since it may already be on the disk."""
        transaction, self.transaction = self.transaction, None
        if transaction is None or transaction.committing:
            return
        if transaction.check is not None:
            transaction.check.abandon()
        if transaction.draft is not None:
            transaction.draft.abort()
            self.land(transaction)
        transaction.forget()

    def land(self, transaction: Transaction) -> None:
        """It is on the disk, or nothing comes of it: it is not in flight any more."""
        held, transaction.held = transaction.held, None
        if held is not None:
            self._services.load.flight.end(held)

    def limit_event(self, name: str) -> None:
        """Journal that a limit was met."""
        self._services.record(Event("limit.reached", self._services.clock.now(), {**self._connection.where(), "limit": name}))

    def tell(self, name: str, verdict: Refuse | Defer, fields: dict[str, Any]) -> None:
        tell(self._services, name, verdict, {**self._connection.where(), **fields})

    def later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """After asynchronous work: an exception there must not leave the client without an answer (fails closed)."""
        if not task.cancelled() and (error := task.exception()) is not None:
            verdict = Defer(UNDECIDED, "internal error", f"{type(error).__name__}: {error}")
            self.tell("message.refused", verdict, {})
            if self._connection.session.waiting:
                self._connection.session.answer(UNDECIDED)
        self._connection.resume()
