"""Faults planted in the decisions: the proof finds every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from policy_samples import NOW, SNAPSHOT, addr, local, right, snapshot

from postlatch.model.address import Address
from postlatch.model.envelope import Client, Destination, Role
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import AcceptRecipient, decide_message, decide_recipient, decide_sender, expand
from postlatch.policy.facts import ConnectionFacts, MessageFacts, RecipientFacts, SenderFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.prove import MOST, REAL, prove
from postlatch.policy.snapshot import LocalDomain, Snapshot

Verdict = Refuse | Defer | AcceptRecipient
ALICE = addr("alice@example.com")

# Each fault is one wrong thought, written as the shortest code that has it.


def as_alice(facts: RecipientFacts) -> Verdict:
    """What a wrong rule would answer: an acceptance with a real grant, got by lending alice's login."""
    return decide_recipient(replace(facts, listener="submission", account=ALICE.key, sender=ALICE, tls=True))


def mine(facts: RecipientFacts) -> Verdict:
    return AcceptRecipient("planted", "planted", Destination.LOCAL, None, "") if facts.listener == "mx" else as_alice(facts)


def role(facts: SenderFacts | RecipientFacts) -> Role:
    return facts.snapshot.listeners[facts.listener].role


def suffix_of_ours(facts: RecipientFacts) -> Verdict:
    return mine(facts) if facts.recipient.domain.endswith("example.com") else decide_recipient(facts)


def suffix_of_relay_domain(facts: RecipientFacts) -> Verdict:
    if not facts.recipient.domain.endswith("listed.example") or role(facts) is not Role.MX:
        return decide_recipient(facts)
    return decide_recipient(replace(facts, recipient=addr("dave@listed.example")))


def percent_hack(facts: RecipientFacts) -> Verdict:
    is_ours = facts.snapshot.classify(facts.recipient.domain) is Destination.LOCAL
    return mine(facts) if "%" in facts.recipient.local and is_ours else decide_recipient(facts)


def bang_path(facts: RecipientFacts) -> Verdict:
    return mine(facts) if "!" in facts.recipient.local else decide_recipient(facts)


def quoted_address(facts: RecipientFacts) -> Verdict:
    return mine(facts) if "@" in facts.recipient.local else decide_recipient(facts)


def srs_without_hash(facts: RecipientFacts) -> Verdict:
    return mine(facts) if facts.recipient.local.startswith("SRS0=") else decide_recipient(facts)


@cache
def everybody_active(snap: Snapshot) -> Snapshot:
    accounts = {login: replace(account, suspended=False) for login, account in snap.accounts.items()}
    return replace(snap, accounts=accounts, rights=tuple(replace(right, suspended=False) for right in snap.rights))


def suspension_ignored(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, snapshot=everybody_active(facts.snapshot)))


def dates_ignored(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, now=0.0))


def null_sender_trusted(facts: RecipientFacts) -> Verdict:
    return as_alice(facts) if facts.sender is None else decide_recipient(facts)


def local_sender_trusted(facts: RecipientFacts) -> Verdict:
    sender = facts.sender
    return as_alice(facts) if sender is not None and sender.domain == "example.com" else decide_recipient(facts)


def host_name_sender_trusted(facts: RecipientFacts) -> Verdict:
    sender = facts.sender
    return as_alice(facts) if sender is not None and sender.domain == facts.snapshot.hostname else decide_recipient(facts)


def ownership_ignored(facts: RecipientFacts) -> Verdict:
    account = facts.snapshot.accounts.get(facts.account or "")
    owned = addr(min(account.send_as)) if account and account.send_as and min(account.send_as)[0] not in "@<" else None
    return decide_recipient(replace(facts, sender=owned))


def embedded_address_trusted(facts: RecipientFacts) -> Verdict:
    """As if the last 32 bits of any IPv6 address were the client: NAT64, IPv4-compatible."""
    address = facts.client.address
    if isinstance(address, IPv6Address):
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return decide_recipient(replace(facts, client=Client(address, 0)))


def one_address_too_many(facts: RecipientFacts) -> Verdict:
    address = facts.client.address
    return (
        decide_recipient(replace(facts, client=Client(ip_address(int(address) - 1), 0)))
        if int(address) > 2**30
        else mine(facts)
    )


def loopback_trusted(facts: RecipientFacts) -> Verdict:
    return as_alice(facts) if facts.client.address.is_loopback else decide_recipient(facts)


def private_networks_trusted(facts: RecipientFacts) -> Verdict:
    address = facts.client.address
    trusted = address.version == 4 and address in ip_network("10.0.0.0/8")
    return as_alice(facts) if trusted else decide_recipient(facts)


def auth_on_mx_trusted(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, listener="submission")) if facts.account else decide_recipient(facts)


def auth_without_tls_trusted(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, tls=True))


def deleted_account_trusted(facts: RecipientFacts) -> Verdict:
    gone = facts.account is not None and facts.account not in facts.snapshot.accounts
    return as_alice(facts) if gone else decide_recipient(facts)


def postmaster_anywhere(facts: RecipientFacts) -> Verdict:
    return mine(facts) if facts.recipient.local.lower() == "postmaster" else decide_recipient(facts)


def literal_is_ours(facts: RecipientFacts) -> Verdict:
    return mine(facts) if facts.recipient.domain.startswith("[127.") else decide_recipient(facts)


def relay_domain_on_every_listener(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, listener="mx"))


def right_on_every_listener(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, listener="relay")) if role(facts) is Role.MX else decide_recipient(facts)


def proxy_without_identity_trusted(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, identity=True))


def undecided_means_known(facts: RecipientFacts) -> Verdict:
    return decide_recipient(facts if facts.known is not None else replace(facts, known=True))


def refused_means_known(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, known=True))


@cache
def for_any_recipient(snap: Snapshot) -> Snapshot:
    return replace(snap, rights=tuple(replace(right, recipients=()) for right in snap.rights))


@cache
def for_any_sender(snap: Snapshot) -> Snapshot:
    return replace(snap, rights=tuple(replace(right, senders=()) for right in snap.rights))


def right_without_recipient_scope(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, snapshot=for_any_recipient(facts.snapshot)))


def right_without_sender_scope(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, snapshot=for_any_sender(facts.snapshot)))


def grant_for_somebody_else(facts: RecipientFacts) -> Verdict:
    return (
        decide_recipient(replace(facts, recipient=addr(facts.recipient.text)))
        if facts.recipient.domain
        else decide_recipient(facts)
    )


def grant_for_another_transaction(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, transaction=object()))


def grant_forgotten(facts: RecipientFacts) -> Verdict:
    real = decide_recipient(facts)
    return replace(real, grant=None, ref="") if isinstance(real, AcceptRecipient) else real


def foreign_called_local(facts: RecipientFacts) -> Verdict:
    real = decide_recipient(facts)
    return replace(real, destination=Destination.LOCAL) if isinstance(real, AcceptRecipient) else real


def open_after_a_first_recipient() -> Callable[[RecipientFacts], Verdict]:
    accepted: set[object] = set()

    def decide(facts: RecipientFacts) -> Verdict:
        real = decide_recipient(facts)
        key = (facts.listener, facts.client, facts.sender)
        if isinstance(real, AcceptRecipient):
            accepted.add(key)
            return real
        return as_alice(facts) if key in accepted else real

    return decide


RECIPIENT_FAULTS = [
    suffix_of_ours,
    suffix_of_relay_domain,
    percent_hack,
    bang_path,
    quoted_address,
    srs_without_hash,
    suspension_ignored,
    dates_ignored,
    null_sender_trusted,
    local_sender_trusted,
    host_name_sender_trusted,
    ownership_ignored,
    embedded_address_trusted,
    one_address_too_many,
    loopback_trusted,
    private_networks_trusted,
    auth_on_mx_trusted,
    auth_without_tls_trusted,
    deleted_account_trusted,
    postmaster_anywhere,
    literal_is_ours,
    relay_domain_on_every_listener,
    right_on_every_listener,
    proxy_without_identity_trusted,
    undecided_means_known,
    refused_means_known,
    right_without_recipient_scope,
    right_without_sender_scope,
    grant_for_somebody_else,
    grant_for_another_transaction,
    grant_forgotten,
    foreign_called_local,
    open_after_a_first_recipient(),
]


@pytest.mark.parametrize("fault", RECIPIENT_FAULTS)
def test_a_fault_planted_in_the_recipient_decision_is_found(fault: Callable[[RecipientFacts], Verdict]) -> None:
    sentences = prove(SNAPSHOT, NOW, REAL._replace(recipient=fault))
    assert sentences
    assert all(" could " in sentence and " because " in sentence for sentence in sentences)


def any_sender(facts: SenderFacts) -> Refuse | Defer | Accept:
    return Accept("planted", "planted")


def spf_fail_accepted(facts: SenderFacts) -> Refuse | Defer | Accept:
    return decide_sender(replace(facts, spf="pass" if facts.spf == "fail" else facts.spf))


def spf_unknown_accepted(facts: SenderFacts) -> Refuse | Defer | Accept:
    return decide_sender(replace(facts, spf=facts.spf or "pass"))


def spf_of_a_proxy_accepted(facts: SenderFacts) -> Refuse | Defer | Accept:
    return decide_sender(replace(facts, identity=True))


@pytest.mark.parametrize("fault", [any_sender, spf_fail_accepted, spf_unknown_accepted, spf_of_a_proxy_accepted])
def test_a_fault_planted_in_the_sender_decision_is_found(fault: Callable[[SenderFacts], Refuse | Defer | Accept]) -> None:
    assert prove(SNAPSHOT, NOW, REAL._replace(sender=fault))


def test_a_helo_name_that_is_trusted_is_found() -> None:
    helo: dict[Client, str] = {}

    def sender(facts: SenderFacts) -> Refuse | Defer | Accept:
        helo[facts.client] = facts.helo
        return decide_sender(facts)

    def recipient(facts: RecipientFacts) -> Verdict:
        trusted = helo.get(facts.client) in {facts.snapshot.hostname, "localhost"}
        return as_alice(facts) if trusted else decide_recipient(facts)

    assert prove(SNAPSHOT, NOW, REAL._replace(sender=sender, recipient=recipient))


def any_header(facts: MessageFacts, grants: Sequence[RelayGrant | None]) -> Refuse | Defer | Accept:
    return Accept("planted", "planted")


def loops_kept(facts: MessageFacts, grants: Sequence[RelayGrant | None]) -> Refuse | Defer | Accept:
    return decide_message(replace(facts, received_count=1), grants)


def two_from_fields(facts: MessageFacts, grants: Sequence[RelayGrant | None]) -> Refuse | Defer | Accept:
    return decide_message(replace(facts, from_count=1), grants)


@pytest.mark.parametrize("fault", [any_header, loops_kept, two_from_fields])
def test_a_fault_planted_in_the_message_decision_is_found(
    fault: Callable[[MessageFacts, Sequence[RelayGrant | None]], Refuse | Defer | Accept],
) -> None:
    assert prove(SNAPSHOT, NOW, REAL._replace(message=fault))


def test_a_ban_that_does_not_hold_is_found() -> None:
    def connection(facts: ConnectionFacts) -> Refuse | Defer | Accept:
        return Accept("planted", "planted")

    assert prove(SNAPSHOT, NOW, REAL._replace(connection=connection))[0] == (
        "198.51.100.7, banned, could connect to listener mx"
    )


def unguarded(snap: Snapshot, recipient: Address) -> tuple[Address, ...]:
    """Aliases and catch-alls followed one step, wherever they lead."""
    domain = snap.local_domains.get(recipient.domain)
    if domain is None:
        return expand(snap, recipient)
    targets = domain.aliases.get(recipient.local, ())
    return targets or domain.catch_all or expand(snap, recipient)


@pytest.mark.parametrize(
    "domain",
    [
        local("example.com", ("alice",), any="x@elsewhere.example"),
        local("example.com", ("alice",), info="alice@example.com x@elsewhere.example"),
        local("example.com", ("alice",), info="dave@listed.example"),
    ],
)
def test_mail_that_would_leave_by_an_alias_or_catch_all_is_found(domain: LocalDomain) -> None:
    snap = snapshot(locals_=[domain])
    assert prove(snap, NOW) == []
    sentences = prove(snap, NOW, REAL._replace(expand=unguarded))
    assert any("would leave" in sentence for sentence in sentences)


def test_mail_that_would_be_accepted_and_lost_is_found() -> None:
    def nowhere(snap: Snapshot, recipient: Address) -> tuple[Address, ...]:
        return ()

    assert any("lost" in sentence for sentence in prove(SNAPSHOT, NOW, REAL._replace(expand=nowhere)))


def test_a_counterexample_is_a_sentence_with_client_login_destination_listener_and_reason() -> None:
    sentences = prove(SNAPSHOT, NOW, REAL._replace(recipient=null_sender_trusted))
    assert sentences[0] == (
        "198.51.100.7, not logged in, could send to elsewhere.example through listener mx because "
        "the account alice@example.com is logged in (rule relay), but on mx nobody may send to a domain that is not ours"
    )


def test_a_suspended_right_that_is_honoured_is_found() -> None:
    snap = snapshot(accounts=[], rights=[right("stopped", ["192.0.2.40/32"], suspended=True)])
    sentences = prove(snap, NOW, REAL._replace(recipient=suspension_ignored))
    assert any("192.0.2.40" in sentence and "the right stopped is suspended" in sentence for sentence in sentences)


def test_a_suspended_account_is_named_as_such() -> None:
    sentences = prove(SNAPSHOT, NOW, REAL._replace(recipient=suspension_ignored))
    assert any("logged in as bob@example.com, which is suspended, could send to" in sentence for sentence in sentences)
    assert any(
        "because the account bob@example.com is logged in (rule relay), but the account bob@example.com is suspended" in s
        for s in sentences
    )


def test_an_open_decision_gives_few_sentences_and_not_thousands() -> None:
    sentences = prove(SNAPSHOT, NOW, REAL._replace(recipient=as_alice, sender=any_sender))
    assert 1 < len(sentences) <= MOST
    assert len(set(sentences)) == len(sentences)


def test_a_stricter_decision_is_no_counterexample() -> None:
    def nobody(facts: RecipientFacts) -> Verdict:
        return Refuse(decide_recipient(replace(facts, listener="")).reply, "plug-in", "no")  # type: ignore[union-attr]

    assert prove(SNAPSHOT, NOW, REAL._replace(recipient=nobody)) == []
