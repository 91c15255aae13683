"""One mail transaction: what was accepted so far, and how it becomes a message in the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from postlatch.limits.charge import NOTHING, Charge
from postlatch.model.address import Address
from postlatch.model.envelope import Client, Envelope, EnvelopeRecipient, GrantReason, RecipientParams, Role, SenderParams
from postlatch.model.events import Event, JsonValue
from postlatch.model.ids import format_id
from postlatch.policy.aliases import expand
from postlatch.policy.decide import AcceptRecipient
from postlatch.policy.dmarc import DmarcFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.reputation import Standing
from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.reputation.score import Score
from postlatch.senderauth.results import Authentication
from postlatch.server import reputation
from postlatch.server.charges import Costs, Payer, Sending, payer_charges, pays, shared_charges
from postlatch.server.flight import Held
from postlatch.server.headers import HeaderCollector, HeaderFacts
from postlatch.server.limit_rules import LimitRules
from postlatch.server.local_rules import CLIENT
from postlatch.server.senders import is_verified, journalled
from postlatch.server.services import Services
from postlatch.server.trace import protocol_name, received_field
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
    proxy: str
    credential: str | None

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
        proxy: str = "",
        credential: str | None = None,
    ) -> None:
        self.listener = listener
        self.role = role
        self.client = client
        self.client_text = client_text
        self.helo = helo
        self.esmtp = esmtp
        self.tls = tls
        self.account = account
        self.proxy = proxy
        self.credential = credential


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


class Shares(NamedTuple):
    """What falls to the payer, to all who pay, and to the client."""

    payer: Costs | None
    paid: Costs | None
    everybody: Costs


class Transaction:
    """From MAIL to the end of DATA. Compared by identity: its grants are valid for this object alone."""

    def __init__(self, origin: Origin, sender: Address | None, params: SenderParams) -> None:
        self.origin = origin
        self.sender = sender
        self.params = params
        self.recipients: list[AcceptedRecipient] = []
        # Who pays for how many recipients, (reason, account or right) → count, before alias expansion.
        self.payers: dict[Payer, int] = {}
        self.sending = Sending(origin.client.address, sender.domain if sender is not None else "", origin.account)
        self.domains: dict[Payer | None, set[str]] = {}  # of the recipients, by who pays for them
        # To whom a payer did not write before: by the name under which this is remembered, then by the recipient's key.
        self.new_recipients: dict[str, dict[str, Address]] = {}
        self.collector = HeaderCollector()
        self.header: HeaderFacts | None = None
        self.draft: Draft | None = None
        self.committing = False
        self.charges: list[Charge] = []  # what it costs, as judged at its end
        self.held_because = ""  # a limit is reached, and its mail is to be held
        self.received_at = 0.0
        self.check: MessageCheck | None = None  # of a stranger's message
        self.found: Authentication | None = None  # what it found, at the end
        self.dmarc: DmarcFacts | None = None
        self.why = ""  # what is done by DMARC, as a sentence
        self.quarantined = False
        self.fixed: tuple[str, ...] = ()  # what was mended in the header
        self.was_from = ""  # what From said before it was replaced
        self.score: Score | None = None  # of a stranger who was judged
        self.standing: tuple[Address, Standing] | None = None  # the same for the policy, with what holds for this recipient
        self.forged = 0  # how many results in our name were removed
        self.held: Held | None = None  # what it takes of the memory for mail, from the start of its body to its end

    def accept(self, recipient: AcceptedRecipient) -> None:
        """Take a recipient in."""
        self.recipients.append(recipient)
        payer = None
        if recipient.reason is not None:
            payer = (recipient.reason, recipient.verdict.ref)
            self.payers[payer] = self.payers.get(payer, 0) + 1
        self.domains.setdefault(payer, set()).add(recipient.address.domain)

    def forget(self) -> None:
        """It is over. A grant names its transaction, so without this each message is a cycle that only the collector frees."""
        self.recipients.clear()

    def price(self, rules: LimitRules, octets: int, now: float) -> list[Charge]:
        """What this message costs in all."""
        charges: list[Charge] = []
        paid: Costs | None = None
        for payer, count in self.payers.items():
            if pays(payer):
                costs = Costs(1, count, self.fresh(payer), octets, frozenset(self.domains.get(payer, NOTHING)))
                charges += payer_charges(rules, payer, costs, self.sending, now)
                paid = costs if paid is None else _sum(paid, costs)
        fresh = sum(map(len, self.new_recipients.values()))
        total = Costs(1, len(self.recipients), fresh, octets, NOTHING.union(*self.domains.values()))
        return charges + shared_charges(rules, total, self.sending, paid=paid)

    def with_one_more(self, recipient: Address, payer: Payer | None, *, new: bool, domains: bool) -> Shares:
        """What its recipients cost with one more, for whom ``payer`` pays, if anybody does. ``domains``: they count too."""
        seen: dict[Payer | None, set[str]] = {}
        if domains:
            seen = {key: set(names) for key, names in self.domains.items()}
            seen.setdefault(payer, set()).add(recipient.domain)
        fresh = sum(map(len, self.new_recipients.values())) + new
        everybody = Costs(0, len(self.recipients) + 1, fresh, 0, NOTHING.union(*seen.values()))
        if payer is None:
            return Shares(None, None, everybody)
        own = Costs(0, self.payers.get(payer, 0) + 1, self.fresh(payer) + new, 0, frozenset(seen.get(payer, NOTHING)))
        others = [other for other in self.payers if other != payer and pays(other)]
        if not others:
            return Shares(own, own, everybody)
        count = own.recipients + sum(self.payers[other] for other in others)
        paid = Costs(0, count, fresh, 0, own.domains.union(*(seen.get(other, NOTHING) for other in others)))
        return Shares(own, paid, everybody)

    def fresh(self, payer: Payer) -> int:
        """To how many of its recipients so far this payer did not write before."""
        return len(self.new_recipients.get(known_name(payer), ()))

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
        """The field that the relay puts before every header: Received."""
        origin, queue_id = self.origin, format_id(message_id)
        protocol = protocol_name(
            esmtp=origin.esmtp, tls=origin.tls, authenticated=origin.account is not None, utf8=self.params.smtputf8
        )
        return received_field(
            hostname=hostname,
            helo=origin.helo,
            client=origin.client_text,
            protocol=protocol,
            queue_id=queue_id,
            recipient=self.recipients[0].address.text if len(self.recipients) == 1 else None,
            now=self.received_at,
        )

    def envelope(self, rows: Sequence[EnvelopeRecipient]) -> Envelope:
        """The envelope to store."""
        origin = self.origin
        return Envelope(
            sender=self.sender,
            recipients=tuple(rows),
            received_at=self.received_at,
            listener=origin.listener,
            role=origin.role,
            client=origin.client.address if origin.client_text != CLIENT else None,
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
                **({"proxy": origin.proxy} if origin.proxy else {}),
                "helo": origin.helo,
                "account": origin.account or "",
                **({"credential": origin.credential} if origin.credential else {}),
                "tls": origin.tls,
                "sender": str(self.sender or "<>"),
                "recipient": [r.address.text or "postmaster" for r in self.recipients],
                "grants": sorted({f"{reason}:{ref}" for reason, ref in self.payers}),
                "size": size,
                **({"held": self.held_because} if self.held_because else {}),
                "header_message_id": self.header.message_id if self.header else "",
                **reputation.journalled(self),
                **({"fixed": list(self.fixed)} if self.fixed else {}),
                **({"header_from": self.was_from} if self.was_from else {}),
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


def known_name(payer: Payer) -> str:
    """Under which name it is remembered to whom a payer has written. No login holds a space."""
    reason, ref = payer
    return f"right {ref}" if reason is GrantReason.NETWORK else ref


def _sum(one: Costs, other: Costs) -> Costs:
    """Of one message that two rights pay for."""
    return Costs(
        1,
        one.recipients + other.recipients,
        one.new_recipients + other.new_recipients,
        one.octets,
        one.domains | other.domains,
    )


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
