"""The body: feeds the queue and the checks, asks the policy, commits. Every doubt is a 4xx; 250 only after the commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from postlatch.model.ids import format_id
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import decide_message, recheck
from postlatch.policy.dmarc import NONE, decide_disposition
from postlatch.policy.facts import MessageFacts
from postlatch.policy.rules_party import limit_verdict
from postlatch.senderauth import authres
from postlatch.senderauth.check import MessageCheck
from postlatch.server import charges, fixes, replays, reputation, senders, tls_wish
from postlatch.server.readiness import MEMORY_GONE, NO_SPACE, UNDECIDED, unready
from postlatch.server.transaction import Transaction
from postlatch.server.turns import TRUSTED
from postlatch.server.usage import used_names
from postlatch.smtp import events as ev
from postlatch.spool.spool import SpoolError
from postlatch.store.transaction import WriteFailed

if TYPE_CHECKING:
    from postlatch.server.connection import Connection
    from postlatch.server.mail import MailHandler

_HEADER_TOO_LONG: Final = Reply(552, "5.3.4", "Message header is too long")


class BodyHandler:
    """From DATA or BDAT to the reply to its end. The transaction is that of ``mail``."""

    def __init__(self, connection: Connection, mail: MailHandler) -> None:
        self._connection = connection
        self._services = connection.services
        self._mail = mail

    def on_body_start(self, _event: ev.BodyStart) -> None:
        """Open a draft in the queue."""
        self._connection.command()
        transaction = self._mail.transaction
        assert transaction is not None
        if (defer := unready(self._connection, transaction.params.size)) is not None:
            self._mail.tell("message.refused", defer, {})
            self._connection.session.answer(defer.reply, close=defer.close)
            return
        transaction.received_at = self._services.clock.now()
        transaction.draft = self._services.spool.open(transaction.received_at)
        stranger = self._connection.kind != TRUSTED
        transaction.held = self._services.load.flight.begin(transaction.params.size, stranger=stranger)
        self._connection.body_started = asyncio.get_running_loop().time()
        self._connection.body_octets = 0
        if transaction.check is None:
            transaction.check = self._mail.begin_check(transaction.sender)
        if transaction.check is not None:
            transaction.check.start()
        self._connection.session.accept_body()

    def on_body_chunk(self, event: ev.BodyChunk) -> None:
        """Header first, then the body as it comes: the queue streams it in bounded memory."""
        transaction = self._mail.transaction
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
            if transaction.check is not None:
                transaction.check.feed(event.data)
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
        found = collector.block
        if found and not found.endswith(b"\r\n"):
            found += b"\r\n"
        mended = fixes.apply(self._services, transaction, found, draft.message_id, self._mail.names())
        transaction.header, block = mended.header, mended.block
        transaction.params = tls_wish.wished(transaction.params, mended.header, block)
        header = mended.header
        draft.write(transaction.stamp(self._services.snapshot.hostname, draft.message_id) + mended.added)
        if transaction.check is not None:
            transaction.check.header(block, senders.author_domain(header))
            transaction.check.feed(collector.rest)
        if self._services.senders is not None:
            block, transaction.forged = authres.strip(block, self._services.senders.authserv_id)
        if transaction.check is not None:
            block = reputation.strip(self._services, block)
        draft.write(block + b"\r\n" + collector.rest)
        collector.block = collector.rest = b""
        draft.utf8_headers = header.eight_bit
        draft.marks = header.marks

    def on_body_end(self, event: ev.BodyEnd) -> None:
        """Judge the whole message, then commit it; 250 only after the commit."""
        transaction = self._mail.transaction
        assert transaction is not None
        assert transaction.draft is not None
        if transaction.collector.too_long:
            self._refuse_message(transaction, Refuse(_HEADER_TOO_LONG, "header size", "the header is longer than 256 KiB"))
            return
        if transaction.header is None:
            transaction.collector.finish()
            self._write_header(transaction)
        if transaction.check is not None:
            self._mail.later(self._finish_check(transaction, transaction.check, event.size))
        else:
            self._settle(transaction, event.size)

    async def _finish_check(self, transaction: Transaction, check: MessageCheck, size: int) -> None:
        found = await check.finish()
        if self._mail.transaction is not transaction:  # the client has gone meanwhile, and the draft with it
            return
        services, header = self._services, transaction.header
        assert header is not None
        assert services.senders is not None
        assert transaction.draft is not None
        senders.count(services.count, found)
        origin, now = transaction.origin, services.clock.now()
        transaction.found = found
        transaction.dmarc = facts = senders.dmarc_facts(found, header, identity=self._connection.identity)
        decision = decide_disposition(services.snapshot.dmarc, facts, origin.client.address, now)
        transaction.why = decision.why
        if services.noted is not None:
            services.noted(found, origin.client.address, decision.disposition, decision.forwarded)
        transaction.quarantined = decision.disposition != NONE
        transaction.draft.prefix = senders.trace_fields(
            services.senders, found, origin.client, origin.helo, transaction.sender, quarantined=transaction.quarantined
        )
        transaction.draft.prefix += reputation.mark(services, transaction)
        if (late := replays.judge(services, transaction)) is not None:
            self._refuse_message(transaction, late)
        else:
            self._settle(transaction, size)

    def _settle(self, transaction: Transaction, size: int) -> None:
        assert transaction.draft is not None
        verdict = self._judge(transaction, size)
        if not isinstance(verdict, Accept):
            self._refuse_message(transaction, verdict)
        elif transaction.draft.in_file:
            self._mail.later(self._commit_file(transaction))
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
            dmarc=transaction.dmarc,
            named=header.named,
            credential=transaction.origin.credential,
        )
        grants = transaction.grants()
        verdict = decide_message(facts, grants)
        for grant in filter(None, grants):
            if not isinstance(verdict, Accept):
                break
            verdict = recheck(grant, services.snapshot, facts.now)
        if isinstance(verdict, Accept):
            transaction.charges = transaction.price(services.rules, size, facts.now)
            return self._limited(transaction) or verdict
        return verdict

    def _limited(self, transaction: Transaction) -> Refuse | Defer | None:
        """Two sessions may have passed the checks at MAIL and RCPT side by side: the total is held to here."""
        limit = charges.check(self._services, transaction.charges)
        transaction.held_because = ""
        if limit is None:
            return None
        verdict = limit_verdict(limit)
        if verdict is None:
            transaction.held_because = f"limit reached: {limit.name}"
            return None
        self._mail.limit_event(limit.name)
        return verdict

    async def _commit_file(self, transaction: Transaction) -> None:
        draft = transaction.draft
        assert draft is not None
        try:
            await draft.prepare()
        except OSError as error:
            self._commit_failed(transaction, WriteFailed(str(error), disk_full=error.errno == 28))
            return
        if self._mail.transaction is not transaction:  # the client has gone meanwhile, and the draft with it
            return
        # Other sessions have gone on while the disk took its time.
        if (verdict := self._limited(transaction)) is not None:
            self._refuse_message(transaction, verdict)
            self._connection.resume()
        else:
            self._commit(transaction)

    def _commit(self, transaction: Transaction) -> None:
        services, draft = self._services, transaction.draft
        assert draft is not None
        now = services.clock.now()
        try:
            rows, grants, named = transaction.expanded(services)
            draft.held_because = transaction.held_because
            operation = draft.commit(transaction.envelope(rows), grants, transaction, named)
        except SpoolError as error:
            self._refuse_message(transaction, Defer(UNDECIDED, "queue", str(error)))
            return
        operations: list[Any] = [operation]
        for name, addresses in transaction.new_recipients.items():
            operations.append(services.known_recipients.remember(name, addresses.values(), now))
        event = transaction.accepted_event(draft.message_id, draft.size, now)
        charges.count(services, transaction.charges, now)
        transaction.committing = True
        if transaction.held is not None:
            services.load.flight.commit(transaction.held)
        future = services.submit(operations, [event])
        future.add_done_callback(lambda done: self._committed(transaction, done))

    def _committed(self, transaction: Transaction, done: asyncio.Future[list[Any]]) -> None:
        services, draft = self._services, transaction.draft
        assert draft is not None
        self._mail.land(transaction)
        error = done.exception()
        if error is not None:
            self._commit_failed(transaction, error)
            return
        services.spool.committed(draft)
        services.wake_delivery()
        if transaction.held_because and services.limit_news is not None:
            who = " and ".join(sorted({f"{str(reason).lower()} {ref}" for reason, ref in transaction.payers}))
            services.limit_news.held(who, transaction.held_because, services.clock.now())
        for name in used_names(services.snapshot, transaction):
            services.right_used(name, transaction.received_at)
        services.count.inc("postlatch_messages_accepted_total", (transaction.origin.listener,))
        transaction.forget()
        if self._mail.transaction is transaction:
            self._mail.transaction = None
            self._connection.session.answer(Reply(250, "2.0.0", f"queued as {format_id(draft.message_id)}"))
            self._connection.resume()

    def _commit_failed(self, transaction: Transaction, error: BaseException) -> None:
        self._mail.land(transaction)
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
        fields: dict[str, Any] = {"sender": sender, "recipient": recipients}
        if transaction.found is not None:
            fields |= senders.journalled(transaction.found, transaction.why) | reputation.journalled(transaction)
        self._mail.tell("message.refused", verdict, fields)
        self._mail.drop()
        if self._connection.session.waiting:
            self._connection.session.answer(verdict.reply, close=verdict.close)
