"""MAIL and RCPT: gathers facts, asks the policy, opens the transaction. Every doubt is a 4xx."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from postlatch.limits.charge import Charge
from postlatch.model.address import Address
from postlatch.model.envelope import Destination, GrantReason, Role
from postlatch.model.events import Event
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import AcceptRecipient, decide_recipient, decide_sender, needs_callout
from postlatch.policy.facts import RecipientFacts, SenderFacts
from postlatch.policy.match import permits
from postlatch.policy.snapshot import Right
from postlatch.senderauth.check import MessageCheck
from postlatch.server import charges, reputation
from postlatch.server.body import BodyHandler
from postlatch.server.local_rules import LocalNames
from postlatch.server.readiness import UNDECIDED, unready
from postlatch.server.refusals import tell
from postlatch.server.transaction import AcceptedRecipient, Origin, Transaction, known_name
from postlatch.server.turns import TRUSTED
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

    def names(self) -> LocalNames | None:
        """How a program of this machine writes addresses; None where an address is what it is."""
        return None

    # MAIL

    def on_mail(self, event: ev.Mail) -> None:
        """Decide on the sender; open a transaction if it may go on."""
        self._connection.command()
        claims_ours = self._claims_ours(event.sender)
        verdict = (
            unready(self._connection, event.params.size)
            or self._stale_login()
            or self._decide_sender(event, spf="pass" if claims_ours else None)
        )
        if claims_ours and isinstance(verdict, Accept):
            self.later(self._ask_spf(event))
        elif isinstance(verdict, Accept) and (names := self._unread_rights()):
            self.later(self._read_known(event, verdict, names))
        else:
            self._answer_mail(event, verdict, None)

    def _answer_mail(self, event: ev.Mail, verdict: Refuse | Defer | Accept, check: MessageCheck | None) -> None:
        if isinstance(verdict, Accept):
            self.transaction = Transaction(self._origin(), event.sender, event.params)
            self.transaction.check = check
            self.transaction.sending = self._sending(event.sender)
            self._connection.session.answer(_SENDER_OK)
            return
        if check is not None:
            check.abandon()
        self.tell("sender.refused", verdict, {"sender": str(event.sender or "<>")})
        self._connection.session.answer(verdict.reply, close=verdict.close)

    def _unread_rights(self) -> list[str]:
        """Rights with a limit on first-time recipients of which it is not in memory whom they know."""
        services = self._services
        names = [known_name((GrantReason.NETWORK, x.name)) for x in self._rights() if self._counts_new(x.name)]
        return [name for name in names if not services.known_recipients.loaded(name)]

    def _counts_new(self, right: str) -> bool:
        return bool(self._services.rules.of("right", right, "new_recipients"))

    async def _read_known(self, event: ev.Mail, verdict: Accept, names: list[str]) -> None:
        for name in names:
            await self._services.known_recipients.load(name)
        if self._connection.session.waiting:
            self._answer_mail(event, verdict, None)

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
            self._answer_mail(event, self._decide_sender(event, spf=found.result.value), check)
        else:
            check.abandon()

    def begin_check(self, sender: Address | None) -> MessageCheck | None:
        """The checks of a stranger's message; None where nothing is checked."""
        connection, senders = self._connection, self._services.senders
        if senders is None or connection.port.role is not Role.MX:
            return None
        check = senders.begin(connection.client, connection.session.helo, sender)
        if not connection.identity:
            check.skip_spf()
        return check

    def _stale_login(self) -> Defer | None:
        """A login with a password that has been changed since is over. A suspended account stays: the policy answers it."""
        connection = self._connection
        if connection.account is None:
            return None
        record = self._services.book.get(connection.account)
        generation = self._services.authenticator.generation(connection.account, connection.credential)
        if record is None or record.suspended or generation in (None, connection.generation):
            return None  # what was revoked is the policy's to answer, too
        return Defer(_LOGIN_OVER, "login", f"the credentials of {connection.account} changed after this login", close=True)

    def _decide_sender(self, event: ev.Mail, *, spf: str | None) -> Refuse | Defer | Accept:
        connection, services, sender = self._connection, self._services, event.sender
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
            identity=connection.identity,
            credential=connection.credential,
        )
        verdict = decide_sender(facts)
        if not isinstance(verdict, Accept):
            return verdict
        limit = charges.check(services, self._sender_charges(event, facts.now))
        if limit is None or limit.hold:
            return verdict
        self.limit_event(limit.name)
        return decide_sender(replace(facts, limit=limit))

    def _sender_charges(self, event: ev.Mail, now: float) -> list[Charge]:
        rules, costs, sending = (
            self._services.rules,
            charges.Costs(messages=1, octets=event.params.size),
            self._sending(event.sender),
        )
        payer = self._payer(event.sender, now)
        if payer is None:
            return charges.shared_charges(rules, costs, sending, paid=None)
        due = charges.payer_charges(rules, payer, costs, sending, now)
        return due + charges.shared_charges(rules, costs, sending, paid=costs)

    def _payer(self, sender: Address | None, now: float) -> charges.Payer | None:
        """Who is going to pay for the message, as far as MAIL tells: the account, or the first right that covers the sender."""
        connection = self._connection
        if connection.account is not None:
            return GrantReason.ACCOUNT, connection.account
        for right in self._rights():
            if not right.suspended and now < right.expires and permits(right.sender_keys, sender):
                return GrantReason.NETWORK, right.name
        return None

    def _rights(self) -> list[Right]:
        connection = self._connection
        if connection.port.role is not Role.RELAY or not connection.identity:
            return []
        return self._services.snapshot.rights_of(connection.port.name, connection.client.address)

    def _sending(self, sender: Address | None) -> charges.Sending:
        connection, since = self._connection, None
        if connection.account is not None and self._services.rules.warm_up.seconds:
            record = self._services.book.get(connection.account)
            since = record.created_at if record is not None else None
        domain = sender.domain if sender is not None else ""
        return charges.Sending(connection.client.address, domain, connection.account, connection.credential, since)

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
            proxy=connection.proxy,
            credential=connection.credential,
        )

    # RCPT

    def on_rcpt(self, event: ev.Rcpt) -> None:
        """Decide on the recipient; ask the next hop first where the configuration says call-out."""
        self._connection.command()
        if needs_callout(self._services.snapshot, event.recipient) or reputation.judges(self._connection):
            self.later(self._ask_callout(event))
        else:
            self._decide_recipient(event, known=None)

    async def _ask_callout(self, event: ev.Rcpt) -> None:
        # A stranger must not learn by way of our call-out, nor load the next hop: what can be refused without it, is.
        first = decide_recipient(self._recipient_facts(event.recipient, known=True))
        if isinstance(first, AcceptRecipient) and reputation.judges(self._connection):
            await reputation.judge(self._connection, event.recipient)
            first = decide_recipient(self._recipient_facts(event.recipient, known=True))
        asks = isinstance(first, AcceptRecipient) and needs_callout(self._services.snapshot, event.recipient)
        known = await self._services.callout(event.recipient) if asks else None
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
            if verdict.grant is not None:
                payer = (verdict.grant.reason, verdict.ref)
                if self._is_new(transaction, payer, event.recipient):
                    transaction.new_recipients.setdefault(known_name(payer), {})[event.recipient.key] = event.recipient
            session.answer(_RECIPIENT_OK)
            return
        facts: dict[str, Any] = {"sender": str(transaction.sender or "<>"), "recipient": event.recipient.text}
        self.tell("recipient.refused", verdict, facts)
        if isinstance(verdict, Refuse) and self._connection.kind != TRUSTED and self._connection.identity:
            self._services.attempts.refused(verdict.rule, self._connection.client.address)
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
            identity=connection.identity,
            standing=reputation.standing_of(transaction, recipient),
            credential=connection.credential,
        )

    def _limited(self, recipient: Address, facts: RecipientFacts, transaction: Transaction) -> Refuse | Defer | AcceptRecipient:
        """Decide, then hold the result against the limits of whoever would pay for it."""
        verdict = decide_recipient(facts)
        if not isinstance(verdict, AcceptRecipient):
            return verdict
        payer = (verdict.grant.reason, verdict.ref) if verdict.grant is not None else None
        limit = charges.check(self._services, self._recipient_charges(transaction, payer, recipient, facts.now))
        if limit is None or limit.hold:
            return verdict
        self.limit_event(limit.name)
        return decide_recipient(replace(facts, limit=limit))

    def _recipient_charges(
        self, transaction: Transaction, payer: charges.Payer | None, recipient: Address, now: float
    ) -> list[Charge]:
        """What the recipients cost with this one."""
        rules = self._services.rules
        new = self._is_new(transaction, payer, recipient)
        pays = payer is not None and charges.pays(payer)
        if not pays and not rules.bounds_clients:
            return []
        total = transaction.with_one_more(recipient, payer if pays else None, new=new, domains=rules.bounds_domains)
        due = charges.shared_charges(rules, total.everybody, transaction.sending, paid=total.paid)
        if payer is not None and total.payer is not None:
            due += charges.payer_charges(rules, payer, total.payer, transaction.sending, now)
        return due

    def _is_new(self, transaction: Transaction, payer: charges.Payer | None, recipient: Address) -> bool:
        """True if whoever pays did not write to that mailbox before. Of rights it is known only if there is a limit."""
        if payer is None or not charges.pays(payer):
            return False
        if payer[0] is GrantReason.NETWORK and not self._counts_new(payer[1]):
            return False
        name = known_name(payer)
        if recipient.key in transaction.new_recipients.get(name, ()):
            return False
        return self._services.known_recipients.is_new(name, recipient)

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
