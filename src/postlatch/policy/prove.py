"""The proof: the real decisions are run over every class of party and recipient, and compared with a second opinion.

Whatever the decisions accept, ``expect`` must permit too; every difference is a sentence for the administrator. That a decision
is stricter than expected is no danger and not reported. The work grows with rights and domains, not with accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

from postlatch.model.address import Address
from postlatch.model.envelope import Client, Destination, GrantReason, IPAddress, Role
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy import cases, expect, forms
from postlatch.policy.decide import (
    AcceptRecipient,
    decide_connection,
    decide_message,
    decide_recipient,
    decide_sender,
    expand,
)
from postlatch.policy.dmarc import DmarcFacts
from postlatch.policy.facts import ConnectionFacts, MessageFacts, NamedField, RecipientFacts, SenderFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.parties import Target, all_targets, parties
from postlatch.policy.prove_standing import StandingFaults, standing_faults
from postlatch.policy.snapshot import Right, Snapshot

MOST = 20  # sentences: more would not be read
_PORT = 40000


class Decider(NamedTuple):
    """The decisions under proof. ``REAL`` is ours; a test passes one with a fault in it."""

    connection: Callable[[ConnectionFacts], Refuse | Defer | Accept]
    sender: Callable[[SenderFacts], Refuse | Defer | Accept]
    recipient: Callable[[RecipientFacts], Refuse | Defer | AcceptRecipient]
    message: Callable[[MessageFacts, Sequence[RelayGrant | None]], Refuse | Defer | Accept]
    expand: Callable[[Snapshot, Address], tuple[Address, ...]]


REAL = Decider(decide_connection, decide_sender, decide_recipient, decide_message, expand)


class Proof(NamedTuple):
    """What a proof found: ``counterexamples`` as sentences (none: closed), and how many ``classes`` of attempts it judged."""

    counterexamples: list[str]
    classes: int


def prove(snapshot: Snapshot, now: float, decide: Decider = REAL) -> list[str]:
    """Counterexamples, as sentences; none means that the snapshot is closed. ``now`` in seconds since 1970, UTC."""
    return examine(snapshot, now, decide).counterexamples


def examine(snapshot: Snapshot, now: float, decide: Decider = REAL) -> Proof:
    """The whole proof. ``now`` in seconds since 1970, UTC."""
    proof = _Proof(snapshot, now, decide)
    targets = all_targets(snapshot, now)
    for name, listener in snapshot.listeners.items():
        for fault in expect.width_faults(snapshot, name):
            proof.say((name, fault), fault)
        proof.judge_connection(name)
        proof.judge_authors(name)
        proof.add(standing_faults(snapshot, now, listener, decide.recipient, targets.few))
        for party, aims in parties(snapshot, listener, targets):
            proof.judge(party, aims)
            if len(proof.sentences) >= MOST:
                return proof.result()
    proof.judge_aliases()
    return proof.result()


class _Proof:
    def __init__(self, snapshot: Snapshot, now: float, decide: Decider) -> None:
        self._snapshot = snapshot
        self._now = now
        self._decide = decide
        self._transaction = object()
        self._held: tuple[object, list[Right]] = (None, [])
        self._stranger = forms.parsed(f"{cases.USER}@{cases.foreign_domain(snapshot)}")
        self.sentences: dict[object, str] = {}
        self.classes = 0

    def result(self) -> Proof:
        """What was found so far."""
        return Proof(list(self.sentences.values())[:MOST], self.classes)

    def say(self, key: object, sentence: str) -> None:
        """Add a counterexample; one of a kind is enough."""
        self.sentences.setdefault(key, sentence)

    def add(self, found: StandingFaults) -> None:
        """Take up what was found apart from this."""
        self.classes += found.classes
        for key, sentence in found.sentences.items():
            self.say(key, sentence)

    def judge_connection(self, listener: str) -> None:
        """A ban holds."""
        client = Client(cases.STRANGERS[0], _PORT)
        facts = ConnectionFacts(self._snapshot, listener, client, self._now, self._now + 60, None)
        if isinstance(self._decide.connection(facts), Accept):
            self.say((listener, "banned"), f"{client.address}, banned, could connect to listener {listener}")

    def judge_authors(self, listener: str) -> None:
        """On ``mx``, mail that its author's domain disowns, within and outside of every exception."""
        if self._snapshot.listeners[listener].role is not Role.MX:
            return
        rules, stranger = self._snapshot.dmarc, cases.STRANGERS[0]
        foreign = cases.foreign_domain(self._snapshot)
        for sealer in ("", "unlisted.invalid", *rules.sealers):
            self._judge_author(listener, foreign, stranger, expect.Author("fail", "reject", sealer))
        self._judge_author(listener, foreign, stranger, expect.Author("temperror", "none"))
        for override in rules.overrides:
            inside = [network.network_address for network in override.networks]
            for domain, client in product([*override.domains, foreign], [*inside, stranger]):
                self._judge_author(listener, domain, client, expect.Author("fail", "reject"))

    def _judge_author(self, listener: str, domain: str, client: IPAddress, author: expect.Author) -> None:
        self.classes += 1
        against = expect.author_against(self._snapshot, self._now, client, domain, author)
        if not against:
            return
        sender = forms.parsed(f"{cases.USER}@{domain}")
        facts = MessageFacts(
            self._snapshot,
            listener,
            Client(client, _PORT),
            self._now,
            None,
            sender,
            (sender,) if sender is not None else None,
            1,
            1,
            1000,
            DmarcFacts(author.result, author.asked, domain, author.sealer),
        )
        if isinstance(self._decide.message(facts, [None]), Accept):
            sentence = f"{client} could send a message From {domain} through listener {listener}, but {against}"
            self.say((listener, against), sentence)

    def judge(self, party: expect.Party, targets: Iterable[Target]) -> None:
        """One party at MAIL, at RCPT for each target, and at the end of its first accepted message."""
        heard = expect.voices(self._snapshot, self._now, party, self._holders(party))
        facts = self._sender_facts(party)
        if isinstance(self._decide.sender(facts), Accept):
            against = expect.mail_against(self._snapshot, party, heard)
            if against:
                self._say_party(party, f"could send mail as {_named(party.sender)}", against)
        role = self._snapshot.listeners[party.listener].role
        accepted = [grant for target in targets for grant in self._judge_target(party, role, heard, target)]
        if accepted:
            self._judge_message(party, accepted[0])

    def judge_aliases(self) -> None:
        """Whatever name of ours is expanded, only mailboxes of ours come out."""
        for domain in self._snapshot.local_domains.values():
            names = {*domain.aliases, *sorted(domain.recipients or ())[:2], "postmaster", f"{cases.USER}-unknown"}
            for name in sorted(names):
                address = forms.parsed(f"{name}@{domain.name}")
                if address is not None:
                    self._judge_expansion(address, accepted=False)

    def _judge_expansion(self, address: Address, *, accepted: bool) -> None:
        targets = self._decide.expand(self._snapshot, address)
        if accepted and not targets:
            self.say(("lost", address.domain), f"mail for {address} would be accepted and lost: it leads to no mailbox")
        for target in targets:
            if target.domain not in self._snapshot.local_domains:
                sentence = (
                    f"mail for {address} would leave for {target}, which is not a mailbox of ours, by an alias or catch-all"
                )
                self.say(("alias", target.domain), sentence)

    def _holders(self, party: expect.Party) -> list[Right]:
        key = (party.listener, party.client)
        if self._held[0] != key:
            self._held = (key, expect.holders(self._snapshot, party.listener, party.client))
        return self._held[1]

    def _sender_facts(self, party: expect.Party) -> SenderFacts:
        client = Client(party.client, _PORT)
        return SenderFacts(
            self._snapshot,
            party.listener,
            client,
            self._now,
            party.tls,
            party.account,
            party.sender,
            party.helo,
            party.spf,
            None,
            party.identity,
            party.credential,
        )

    def _judge_target(
        self, party: expect.Party, role: Role, heard: expect.Voices, target: Target
    ) -> Iterator[RelayGrant | None]:
        facts = RecipientFacts(
            self._snapshot,
            party.listener,
            Client(party.client, _PORT),
            self._now,
            party.tls,
            party.account,
            party.sender,
            target.address,
            self._transaction,
            target.known,
            None,
            party.identity,
            party.credential,
        )
        self.classes += 1
        verdict = self._decide.recipient(facts)
        if isinstance(verdict, AcceptRecipient):
            against = self._against(verdict, role, heard, target)
            if against:
                because = f"{verdict.why} (rule {verdict.rule}), but {against}"
                self._say_party(party, f"could send to {_shown(target.address)}", because)
            elif verdict.destination is Destination.LOCAL:
                self._judge_expansion(target.address, accepted=True)
            yield verdict.grant

    def _against(self, verdict: AcceptRecipient, role: Role, heard: expect.Voices, target: Target) -> str:
        pairs, against = expect.permitted(role, heard, target.place, target.address)
        grant = verdict.grant
        if not pairs:
            return against
        if verdict.destination is not target.place.destination:
            return f"it takes the recipient for {verdict.destination}, and it is {target.place.destination}"
        if (grant.reason if grant is not None else None, grant.ref if grant is not None else "") not in pairs:
            return "it needs a grant" if grant is None else f"not in the name of {grant.ref}"
        bound = grant is None or (grant.recipient is target.address and grant.transaction is self._transaction)
        return "" if bound else "the grant is for something else"

    def _judge_message(self, party: expect.Party, grant: RelayGrant | None) -> None:
        refs = [grant.ref] if grant is not None else []
        claims = [(self._stranger, 1), (party.sender, 1), (None, 0), (party.sender, 2)]
        if party.credential is not None:  # it may cover less than what its account owns
            claims += [(address, 1) for address in cases.account_senders(self._snapshot, party.account)]
        for header_from, count in claims:
            addresses = (header_from,) if header_from is not None else None
            against = expect.header_against(self._snapshot, self._now, party, refs, addresses, count)
            if against and self._takes(party, grant, addresses, count, 1):
                self._say_party(party, f"could send a message From {_named(header_from)}", against)
        self._judge_named(party, grant, refs)
        own = (party.sender,) if party.sender is not None else None
        by_login = grant is not None and grant.reason is GrantReason.ACCOUNT
        if by_login and self._takes(party._replace(credential=cases.LOST), grant, own, 1, 1):
            self._say_party(party, "could send a message", "its application password is revoked meanwhile")
        if self._takes(party, grant, own, 1, 101):
            self._say_party(party, "could keep a message in a loop", "it has 101 Received fields")

    def _judge_named(self, party: expect.Party, grant: RelayGrant | None, refs: list[str]) -> None:
        """Sender and the Resent fields: a stranger's, one of the party's own, one that cannot be read; and two authors."""
        own, strange = party.sender, self._stranger
        if own is None or strange is None:
            return
        sender = ("Sender", (own,))
        kinds: list[tuple[tuple[Address, ...], expect.Others]] = [
            *(((own,), [(name, (strange,))]) for name in ("Sender", "Resent-From", "Resent-Sender")),
            *(((own,), [(name, None)]) for name in ("Sender", "Resent-From", "Resent-Sender")),
            ((own,), [("Resent-From", (own, strange))]),
            ((own,), [sender, sender]),
            ((own,), [("Sender", (own, own))]),
            ((own, own), []),
            ((own, strange), [sender]),
            ((own, own), [sender]),
        ]
        for authors, others in kinds:
            against = expect.header_against(self._snapshot, self._now, party, refs, authors, 1, others)
            if against and self._takes(party, grant, authors, 1, 1, tuple(NamedField(*one) for one in others)):
                self._say_party(party, f"could send a message with {others[0][0] if others else 'two authors'}", against)

    def _takes(
        self,
        party: expect.Party,
        grant: RelayGrant | None,
        addresses: tuple[Address, ...] | None,
        count: int,
        hops: int,
        named: tuple[NamedField, ...] = (),
    ) -> bool:
        facts = MessageFacts(
            self._snapshot,
            party.listener,
            Client(party.client, _PORT),
            self._now,
            party.account,
            party.sender,
            addresses,
            count,
            hops,
            1000,
            credential=party.credential,
            named=named,
        )
        return isinstance(self._decide.message(facts, [grant]), Accept)

    def _say_party(self, party: expect.Party, could: str, because: str) -> None:
        who = f"{party.client}, {_login(self._snapshot, party)}"
        sentence = f"{who}, {could} through listener {party.listener} because {because}"
        self.say((party.listener, because), sentence)


def _login(snapshot: Snapshot, party: expect.Party) -> str:
    if party.account is None:
        return "not logged in"
    account = snapshot.accounts.get(party.account)
    if account is None:
        return f"logged in as {party.account}, which is no account"
    by = f" by the application password {party.credential!r}" if party.credential is not None else ""
    return f"logged in as {party.account}{by}" + (", which is suspended" if account.suspended else "")


def _named(sender: Address | None) -> str:
    return "<>" if sender is None else sender.text


def _shown(recipient: Address) -> str:
    """A plain address of the third party by its domain alone; a trick in full."""
    return recipient.domain if recipient.local == cases.USER else recipient.text
