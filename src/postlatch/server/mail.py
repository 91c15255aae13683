"""MAIL, RCPT and the body: gathers facts, asks the policy, feeds the queue. Every doubt is a 4xx."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from postlatch.limits.limiter import Charge
from postlatch.model.address import Address
from postlatch.model.envelope import GrantReason, Role
from postlatch.model.events import Event
from postlatch.model.ids import format_id
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import AcceptRecipient, decide_message, decide_recipient, decide_sender, needs_callout, recheck
from postlatch.policy.facts import MessageFacts, RecipientFacts, SenderFacts
from postlatch.policy.match import permits
from postlatch.policy.replies import limit_reply
from postlatch.server import charges
from postlatch.server.headers import read_facts
from postlatch.server.readiness import MEMORY_GONE, NO_SPACE, UNDECIDED, unready
from postlatch.server.refusals import tell
from postlatch.server.transaction import AcceptedRecipient, Origin, Transaction
from postlatch.server.turns import TRUSTED
from postlatch.smtp import events as ev
from postlatch.spool.spool import SpoolError
from postlatch.store.transaction import WriteFailed

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
        self._transaction: Transaction | None = None
        self.vouched = False  # a recipient was accepted

    # MAIL

    def on_mail(self, event: ev.Mail) -> None:
        """Decide on the sender; open a transaction if it may go on."""
        self._connection.command()
        verdict = unready(self._connection, event.params.size) or self._stale_login() or self._decide_sender(event.sender)
        if isinstance(verdict, Accept):
            self._transaction = Transaction(self._origin(), event.sender, event.params)
            self._connection.session.answer(_SENDER_OK)
            return
        self._tell("sender.refused", verdict, {"sender": str(event.sender or "<>")})
        self._connection.session.answer(verdict.reply, close=verdict.close)

    def _stale_login(self) -> Defer | None:
        """A login with a password that has been changed since is over. A suspended account stays: the policy answers it."""
        connection = self._connection
        if connection.account is None:
            return None
        record = self._services.book.get(connection.account)
        if record is None or record.suspended or record.generation == connection.generation:
            return None
        return Defer(_LOGIN_OVER, "login", f"the credentials of {connection.account} changed after this login", close=True)

    def _decide_sender(self, sender: Address | None) -> Refuse | Defer | Accept:
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
            self._later(self._ask_callout(event))
        else:
            self._decide_recipient(event, known=None)

    async def _ask_callout(self, event: ev.Rcpt) -> None:
        # A stranger must not learn by way of our call-out, nor load the next hop: what can be refused without it, is.
        first = decide_recipient(self._recipient_facts(event.recipient, known=True))
        known = await self._services.callout(event.recipient) if isinstance(first, AcceptRecipient) else None
        self._decide_recipient(event, known=known if isinstance(first, AcceptRecipient) else True)

    def _decide_recipient(self, event: ev.Rcpt, *, known: bool | None) -> None:
        transaction = self._transaction
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
        self._tell("recipient.refused", verdict, facts)
        session.answer(verdict.reply, close=verdict.close)

    def _recipient_facts(self, recipient: Address, *, known: bool | None) -> RecipientFacts:
        connection, services, transaction = self._connection, self._services, self._transaction
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

    # The body

    def on_body_start(self, _event: ev.BodyStart) -> None:
        """Open a draft in the queue."""
        self._connection.command()
        transaction = self._transaction
        assert transaction is not None
        if (defer := unready(self._connection, transaction.params.size)) is not None:
            self._tell("message.refused", defer, {})
            self._connection.session.answer(defer.reply, close=defer.close)
            return
        transaction.received_at = self._services.clock.now()
        transaction.draft = self._services.spool.open(transaction.received_at)
        stranger = self._connection.kind != TRUSTED
        transaction.held = self._services.load.flight.begin(transaction.params.size, stranger=stranger)
        self._connection.body_started = asyncio.get_running_loop().time()
        self._connection.body_octets = 0
        self._connection.session.accept_body()

    def on_body_chunk(self, event: ev.BodyChunk) -> None:
        """Header first, then the body as it comes: the queue streams it in bounded memory."""
        transaction = self._transaction
        assert transaction is not None
        assert transaction.draft is not None
        assert transaction.held is not None
        self._connection.body_octets += len(event.data)
        if not self._services.load.flight.grow(transaction.held, self._connection.body_octets):
            self._connection.shed("memory")
            self._connection.close(MEMORY_GONE)
            return
        if transaction.header is not None:
            transaction.draft.write(event.data)
            return
        collector = transaction.collector
        if collector.too_long:
            return  # refused at the end: the client is owed a reply there and nowhere else
        collector.feed(event.data)
        if collector.complete:
            self._write_header(transaction)

    def _write_header(self, transaction: Transaction) -> None:
        collector, draft = transaction.collector, transaction.draft
        assert draft is not None
        transaction.header = header = read_facts(collector.block)
        draft.write(transaction.stamp(self._services.snapshot.hostname, draft.message_id))
        block = collector.block
        if block and not block.endswith(b"\r\n"):
            block += b"\r\n"
        draft.write(block + b"\r\n" + collector.rest)
        collector.block = collector.rest = b""
        draft.utf8_headers = header.eight_bit
        draft.marks = header.marks

    def on_body_end(self, event: ev.BodyEnd) -> None:
        """Judge the whole message, then commit it; 250 only after the commit."""
        transaction = self._transaction
        assert transaction is not None
        assert transaction.draft is not None
        if transaction.collector.too_long:
            self._refuse_message(transaction, Refuse(_HEADER_TOO_LONG, "header size", "the header is longer than 256 KiB"))
            return
        if transaction.header is None:
            transaction.collector.finish()
            self._write_header(transaction)
        verdict = self._judge(transaction, event.size)
        if not isinstance(verdict, Accept):
            self._refuse_message(transaction, verdict)
        elif transaction.draft.in_file:
            self._later(self._commit_file(transaction))
        else:
            self._commit(transaction)

    def _judge(self, transaction: Transaction, size: int) -> Refuse | Defer | Accept:
        services, header = self._services, transaction.header
        assert header is not None
        facts = MessageFacts(
            snapshot=services.snapshot,
            listener=transaction.origin.listener,
            client=transaction.origin.client,
            now=services.clock.now(),
            account=transaction.origin.account,
            sender=transaction.sender,
            header_from=header.header_from,
            from_count=header.from_count,
            received_count=header.received_count,
            size=size,
        )
        grants = transaction.grants()
        verdict = decide_message(facts, grants)
        for grant in filter(None, grants):
            if not isinstance(verdict, Accept):
                break
            verdict = recheck(grant, services.snapshot, facts.now)
        if isinstance(verdict, Accept):
            # Two sessions may have passed the checks at MAIL and RCPT side by side: the total is held to here.
            transaction.charges = transaction.price(services.rules)
            limit = charges.check(services, transaction.charges)
            if limit is not None:
                self.limit_event(limit.name)
                kind = Refuse if limit.day_spent else Defer
                verdict = kind(limit_reply(limit), "limit", f"{limit.name} was reached by other sessions meanwhile")
        return verdict

    async def _commit_file(self, transaction: Transaction) -> None:
        draft = transaction.draft
        assert draft is not None
        try:
            await draft.prepare()
        except OSError as error:
            self._commit_failed(transaction, WriteFailed(str(error), disk_full=error.errno == 28))
            return
        if self._transaction is transaction:  # else the client has gone meanwhile, and the draft with it
            self._commit(transaction)

    def _commit(self, transaction: Transaction) -> None:
        services, draft = self._services, transaction.draft
        assert draft is not None
        now = services.clock.now()
        try:
            rows, grants, named = transaction.expanded(services)
            operation = draft.commit(transaction.envelope(rows), grants, transaction, named)
        except SpoolError as error:
            self._refuse_message(transaction, Defer(UNDECIDED, "queue", str(error)))
            return
        operations: list[Any] = [operation]
        if transaction.new_recipients and transaction.origin.account is not None:
            operations.append(services.known_recipients.remember(transaction.origin.account, transaction.new_recipients, now))
        event = transaction.accepted_event(draft.message_id, draft.size, now)
        services.limiter.charge(transaction.charges, now)
        transaction.committing = True
        if transaction.held is not None:
            services.load.flight.commit(transaction.held)
        future = services.submit(operations, [event])
        future.add_done_callback(lambda done: self._committed(transaction, done))

    def _committed(self, transaction: Transaction, done: asyncio.Future[list[Any]]) -> None:
        services, draft = self._services, transaction.draft
        assert draft is not None
        self._land(transaction)
        error = done.exception()
        if error is not None:
            self._commit_failed(transaction, error)
            return
        services.spool.committed(draft)
        services.wake_delivery()
        for reason, ref in transaction.payers:
            if reason is GrantReason.NETWORK:
                services.right_used(ref, transaction.received_at)
        services.count.inc("postlatch_messages_accepted_total", (transaction.origin.listener,))
        transaction.forget()
        if self._transaction is transaction:
            self._transaction = None
            self._connection.session.answer(Reply(250, "2.0.0", f"queued as {format_id(draft.message_id)}"))
            self._connection.resume()

    def _commit_failed(self, transaction: Transaction, error: BaseException) -> None:
        self._land(transaction)
        unknown = isinstance(error, WriteFailed) and error.unknown
        if transaction.draft is not None:
            # Not by drop(): the client may have gone meanwhile. Unknown: the row may be there, and needs its body.
            transaction.draft.abort(unknown=unknown)
        full = isinstance(error, WriteFailed) and error.disk_full
        reply = NO_SPACE if full else UNDECIDED
        transaction.committing = False
        self._refuse_message(transaction, Defer(reply, "disk space" if full else "store", f"not committed: {error}"))
        self._connection.resume()

    def _refuse_message(self, transaction: Transaction, verdict: Refuse | Defer) -> None:
        sender = str(transaction.sender or "<>")
        recipients = [recipient.address.text for recipient in transaction.recipients]
        self._tell("message.refused", verdict, {"sender": sender, "recipient": recipients})
        self.drop()
        if self._connection.session.waiting:
            self._connection.session.answer(verdict.reply, close=verdict.close)

    # The end of a transaction

    def on_dropped(self, _event: ev.TransactionDropped) -> None:
        """RSET, EHLO, STARTTLS or a bad body: forget what was opened."""
        self.drop()

    def drop(self) -> None:
        """Forget the transaction; a commit that is under way goes on, since it may already be on the disk."""
        transaction, self._transaction = self._transaction, None
        if transaction is None or transaction.committing:
            return
        if transaction.draft is not None:
            transaction.draft.abort()
            self._land(transaction)
        transaction.forget()

    def _land(self, transaction: Transaction) -> None:
        """It is on the disk, or nothing comes of it: it is not in flight any more."""
        held, transaction.held = transaction.held, None
        if held is not None:
            self._services.load.flight.end(held)

    def limit_event(self, name: str) -> None:
        """Journal that a limit was met."""
        self._services.record(Event("limit.reached", self._services.clock.now(), {**self._connection.where(), "limit": name}))

    def _tell(self, name: str, verdict: Refuse | Defer, fields: dict[str, Any]) -> None:
        tell(self._services, name, verdict, {**self._connection.where(), **fields})

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """After asynchronous work: an exception there must not leave the client without an answer (fails closed)."""
        if not task.cancelled() and (error := task.exception()) is not None:
            verdict = Defer(UNDECIDED, "internal error", f"{type(error).__name__}: {error}")
            self._tell("message.refused", verdict, {})
            if self._connection.session.waiting:
                self._connection.session.answer(UNDECIDED)
        self._connection.resume()
