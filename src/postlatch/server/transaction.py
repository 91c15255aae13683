"""One mail transaction: what was accepted so far, and how it becomes a message in the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postlatch.limits.limiter import Charge
from postlatch.model.address import Address
from postlatch.model.envelope import Client, Envelope, EnvelopeRecipient, GrantReason, RecipientParams, Role, SenderParams
from postlatch.model.events import Event, JsonValue
from postlatch.model.ids import format_id
from postlatch.policy.aliases import expand
from postlatch.policy.decide import AcceptRecipient
from postlatch.policy.dmarc import DmarcFacts
from postlatch.policy.grant import RelayGrant
from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.results import Authentication
from postlatch.server.charges import payer_charges
from postlatch.server.flight import Held
from postlatch.server.headers import HeaderCollector, HeaderFacts
from postlatch.server.senders import is_verified, journalled
from postlatch.server.services import LimitRules, Services
from postlatch.server.trace import missing_fields, protocol_name, received_field
from postlatch.spool.contract import SpoolError
from postlatch.spool.spool import Draft


@dataclass(init=False, slots=True, unsafe_hash=True)
class Origin:
    """Who is sending, by which way: fixed for the length of a transaction."""

    listener: str
    role: Role
    client: Client
    client_text: str
    helo: str
    esmtp: bool
    tls: bool
    account: str | None

    def __init__(
        self,
        listener: str,
        role: Role,
        client: Client,
        client_text: str,
        helo: str,
        esmtp: bool,
        tls: bool,
        account: str | None,
    ) -> None:
        self.listener = listener
        self.role = role
        self.client = client
        self.client_text = client_text
        self.helo = helo
        self.esmtp = esmtp
        self.tls = tls
        self.account = account


@dataclass(init=False, slots=True, unsafe_hash=True)
class AcceptedRecipient:
    """One RCPT that was answered 250, with the verdict that let it in."""

    address: Address
    params: RecipientParams
    verdict: AcceptRecipient

    def __init__(self, address: Address, params: RecipientParams, verdict: AcceptRecipient) -> None:
        self.address = address
        self.params = params
        self.verdict = verdict

    @property
    def reason(self) -> GrantReason | None:
        """The grant's reason; None for local mail from a stranger."""
        return self.verdict.grant.reason if self.verdict.grant is not None else None


class Transaction:
    """From MAIL to the end of DATA. Compared by identity: its grants are valid for this object alone."""

    def __init__(self, origin: Origin, sender: Address | None, params: SenderParams) -> None:
        self.origin = origin
        self.sender = sender
        self.params = params
        self.recipients: list[AcceptedRecipient] = []
        # Who pays for how many recipients, (reason, account or right) → count, before alias expansion.
        self.payers: dict[tuple[GrantReason, str], int] = {}
        self.new_recipients: list[Address] = []
        self.collector = HeaderCollector()
        self.header: HeaderFacts | None = None
        self.draft: Draft | None = None
        self.committing = False
        self.charges: list[Charge] = []  # what it costs, as judged at its end
        self.received_at = 0.0
        self.check: MessageCheck | None = None  # of a stranger's message
        self.found: Authentication | None = None  # what it found, at the end
        self.dmarc: DmarcFacts | None = None
        self.why = ""  # what is done by DMARC, as a sentence
        self.quarantined = False
        self.forged = 0  # how many results in our name were removed
        self.held: Held | None = None  # what it takes of the memory for mail, from the start of its body to its end

    def accept(self, recipient: AcceptedRecipient) -> None:
        """Take a recipient in."""
        self.recipients.append(recipient)
        if recipient.reason is not None:
            payer = (recipient.reason, recipient.verdict.ref)
            self.payers[payer] = self.payers.get(payer, 0) + 1

    def forget(self) -> None:
        """It is over. A grant names its transaction, so without this each message is a cycle that only the collector frees."""
        self.recipients.clear()

    def price(self, rules: LimitRules) -> list[Charge]:
        """What this message costs in all."""
        fresh = len(self.new_recipients)
        charges: list[Charge] = []
        for (reason, ref), count in self.payers.items():
            charges += payer_charges(rules, reason, ref, messages=1, recipients=count, new_recipients=fresh)
        return charges

    def grants(self) -> list[RelayGrant | None]:
        """One entry for each accepted recipient: its grant, or None for a stranger's mail to a mailbox of ours."""
        return [r.verdict.grant for r in self.recipients]

    def expanded(self, services: Services) -> tuple[list[EnvelopeRecipient], list[RelayGrant | None], list[Address]]:
        """One row a final mailbox, its grant, and the address that the client named for it. Duplicates fall together.

        Raises SpoolError if a recipient leads nowhere any more: the policy changed since RCPT, and 250 would lose it.
        """
        rows: list[EnvelopeRecipient] = []
        grants: list[RelayGrant | None] = []
        named: list[Address] = []
        seen: set[str] = set()
        for recipient in self.recipients:
            targets = expand(services.snapshot, recipient.address)
            if not targets:
                raise SpoolError(f"{recipient.address} was accepted and is no mailbox of ours any more")
            for target in targets:
                if target.text in seen:
                    continue
                seen.add(target.text)
                rows.append(_row(recipient, target))
                grants.append(recipient.verdict.grant)
                named.append(recipient.address)
        return rows, grants, named

    def stamp(self, hostname: str, message_id: int) -> bytes:
        """The fields that the relay puts before the header: Received, and for an account Date and Message-ID if missing."""
        origin, queue_id = self.origin, format_id(message_id)
        protocol = protocol_name(
            esmtp=origin.esmtp, tls=origin.tls, authenticated=origin.account is not None, utf8=self.params.smtputf8
        )
        received = received_field(
            hostname=hostname,
            helo=origin.helo,
            client=origin.client_text,
            protocol=protocol,
            queue_id=queue_id,
            recipient=self.recipients[0].address.text if len(self.recipients) == 1 else None,
            now=self.received_at,
        )
        if origin.account is None or self.header is None:
            return received
        return received + missing_fields(self.header.names, hostname=hostname, queue_id=queue_id, now=self.received_at)

    def envelope(self, rows: Sequence[EnvelopeRecipient]) -> Envelope:
        """The envelope to store."""
        origin = self.origin
        return Envelope(
            sender=self.sender,
            recipients=tuple(rows),
            received_at=self.received_at,
            listener=origin.listener,
            role=origin.role,
            client=origin.client.address,
            helo=origin.helo,
            account=origin.account or "",
            params=self.params,
            header_message_id=self.header.message_id if self.header else "",
            quarantined=self.quarantined,
            verified=self.found is not None and is_verified(self.found.dmarc),
        )

    def accepted_event(self, message_id: int, size: int, now: float) -> Event:
        """The journal's record of the acceptance."""
        origin = self.origin
        return Event(
            "message.accepted",
            now,
            {
                "message": format_id(message_id),
                "listener": origin.listener,
                "client": origin.client_text,
                "helo": origin.helo,
                "account": origin.account or "",
                "tls": origin.tls,
                "sender": str(self.sender or "<>"),
                "recipient": [r.address.text or "postmaster" for r in self.recipients],
                "grants": sorted({f"{reason}:{ref}" for reason, ref in self.payers}),
                "size": size,
                "header_message_id": self.header.message_id if self.header else "",
                **(self._authenticated() if self.found is not None or self.forged else {}),
            },
        )

    def _authenticated(self) -> dict[str, JsonValue]:
        fields = journalled(self.found, self.why) if self.found is not None else {}
        if self.quarantined:
            fields["quarantined"] = True
        if self.forged:
            fields["forged_results"] = self.forged
        return fields


def _row(recipient: AcceptedRecipient, target: Address) -> EnvelopeRecipient:
    verdict = recipient.verdict
    return EnvelopeRecipient(
        address=target,
        destination=verdict.destination,
        grant_reason=recipient.reason,
        grant_ref=verdict.ref if recipient.reason is not None else "",
        params=recipient.params,
        original=recipient.address if target != recipient.address else None,
    )
