"""What holds for every policy and every envelope that can be made up."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_samples import BEFORE, LATER, NOW

from postlatch.model.address import POSTMASTER, Address, AddressError, parse_address
from postlatch.model.envelope import Client, Destination, GrantReason, Role
from postlatch.model.verdict import Accept
from postlatch.policy import expect
from postlatch.policy.aliases import expand
from postlatch.policy.decide import AcceptRecipient, decide_recipient, decide_sender
from postlatch.policy.facts import RecipientFacts, SenderFacts
from postlatch.policy.networks import normalise, unmapped
from postlatch.policy.prove import prove
from postlatch.policy.snapshot import Account, Listener, LocalDomain, RelayDomain, Right, Snapshot

DOMAINS = ("a.example", "b.example", "c.example", "sub.a.example", "xa.example")
NAMES = ("alice", "bob", "info", "postmaster", "odd%name", "alice+x")
PATTERNS = (*(f"@{domain}" for domain in DOMAINS), "alice@a.example", "bob@b.example", "<>")
FORMS = ("{}", "{}+tag", '"{}"', "{}%b.example", '"{}@c.example"', "c.example!{}", "|{}", "-{}", "SRS0=x=y=c.example={}")

names = st.sampled_from(NAMES)
domains = st.sampled_from(DOMAINS)
# Weighted so that a good part of the cases is accepted: what is refused at once shows little.
expiries = st.sampled_from([BEFORE, NOW, NOW + 1, LATER, LATER, LATER])
mostly_true = st.sampled_from([True, True, True, True, False])
mostly_false = mostly_true.map(lambda flag: not flag)
v4 = st.integers(0, 7).map(lambda n: IPv4Address(f"203.0.113.{n}"))
clients = st.one_of(
    v4,
    v4.map(lambda a: IPv6Address(f"::ffff:{a}")),
    v4.map(lambda a: IPv6Address(f"64:ff9b::{a}")),
    st.integers(0, 7).map(lambda n: IPv6Address(f"2a0e::{n}")),
)
networks = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(28, 32)).map(lambda t: ip_network(f"203.0.113.{t[0]}/{t[1]}", strict=False)),
    st.tuples(st.integers(0, 7), st.integers(124, 128)).map(
        lambda t: ip_network(f"::ffff:203.0.113.{t[0]}/{t[1]}", strict=False)
    ),
    st.tuples(st.integers(0, 7), st.integers(125, 128)).map(lambda t: ip_network(f"2a0e::{t[0]}/{t[1]}", strict=False)),
)
LISTENERS = {role.value: Listener(role.value, role, tls=True) for role in Role}


def parsed(text: str) -> Address | None:
    try:
        return parse_address(text, smtputf8=True)
    except AddressError:
        return None


recipients = st.one_of(
    st.builds(
        lambda form, name, domain: parsed(f"{form.format(name)}@{domain}"), st.sampled_from(FORMS), names, domains
    ).filter(bool),
    st.sampled_from([POSTMASTER, parsed("postmaster@[192.0.2.1]"), parsed("alice@[192.0.2.1]"), parsed("alice@[127.0.0.1]")]),
)
senders = st.one_of(st.none(), st.builds(lambda name, domain: parsed(f"{name}@{domain}"), names, domains))
targets = st.lists(st.builds(lambda n, d: Address(n, d, f"{n}@{d}"), names, domains), max_size=3).map(tuple)
listed = st.one_of(st.none(), st.frozensets(names, max_size=3))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    local = draw(st.lists(domains, unique=True, max_size=2))
    relayed = draw(st.lists(domains, unique=True, max_size=2))
    return Snapshot(
        version=1,
        hostname="mx.a.example",
        listeners=LISTENERS,
        local_domains={
            d: LocalDomain(d, draw(listed), draw(st.dictionaries(names, targets, max_size=2)), draw(targets)) for d in local
        },
        relay_domains={d: RelayDomain(d, draw(listed), "o@a.example", draw(expiries)) for d in relayed},
        rights=tuple(draw(st.lists(rights(), min_size=1, max_size=3, unique_by=lambda right: right.name))),
        accounts={
            login: Account(login, draw(st.frozensets(st.sampled_from(PATTERNS), min_size=1, max_size=5)), draw(mostly_false))
            for login in ("u", "v")
        },
        own_addresses=frozenset({"[192.0.2.1]"}),
    )


@st.composite
def rights(draw: st.DrawFn) -> Right:
    return Right(
        draw(st.sampled_from(["r1", "r2", "r3"])),
        tuple(draw(st.lists(networks, min_size=1, max_size=3))),
        draw(st.sampled_from([frozenset({"relay"}), frozenset({"relay", "mx"}), frozenset({"submission"}), frozenset()])),
        tuple(draw(st.one_of(st.just([]), st.lists(st.sampled_from(PATTERNS), max_size=4)))),
        recipients=tuple(draw(st.one_of(st.just([]), st.lists(st.sampled_from(PATTERNS[:-1]), max_size=2)))),
        owner="o@a.example",
        expires=draw(expiries),
        suspended=draw(mostly_false),
    )


facts = st.builds(
    RecipientFacts,
    snapshots(),
    st.sampled_from(sorted(LISTENERS)),
    st.builds(Client, clients, st.just(1)),
    st.just(NOW),
    mostly_true,
    st.sampled_from(["u", "u", "u", "v", None, "gone", ""]),
    senders,
    recipients,
    st.builds(object),
    st.sampled_from([None, True, False]),
    st.none(),
    mostly_true,
)


@given(facts)
@settings(max_examples=75, deadline=None)
def test_a_client_without_a_right_or_a_login_never_sends_to_a_foreign_domain(case: RecipientFacts) -> None:
    verdict = decide_recipient(case)
    if not isinstance(verdict, AcceptRecipient) or verdict.destination is not Destination.FOREIGN:
        return
    assert verdict.grant is not None
    if verdict.grant.reason is GrantReason.ACCOUNT:
        account = case.snapshot.accounts[case.account or ""]
        assert (case.listener.startswith("submission"), case.tls, account.suspended) == (True, True, False)
        assert verdict.grant.ref == case.account
    else:
        assert verdict.grant.reason is GrantReason.NETWORK
        right = case.snapshot.right(verdict.grant.ref)
        assert right is not None
        assert (case.listener, case.identity, right.suspended, right.expires > NOW) == ("relay", True, False, True)
        assert any(unmapped(case.client.address) in normalise(network) for network in right.networks)
        assert "relay" in right.listeners


@given(facts)
@settings(max_examples=75, deadline=None)
def test_without_rights_and_logins_nothing_foreign_is_ever_accepted(case: RecipientFacts) -> None:
    verdict = decide_recipient(replace(case, snapshot=replace(case.snapshot, rights=(), accounts={})))
    if isinstance(verdict, AcceptRecipient):
        assert case.listener == "mx"
        assert verdict.destination is not Destination.FOREIGN
        assert (verdict.grant is None) is (verdict.destination is Destination.LOCAL)


@given(facts, st.sampled_from([None, "pass", "fail", "none"]))
@settings(max_examples=150, deadline=None)
def test_the_rules_and_the_second_opinion_agree_in_both_directions(case: RecipientFacts, spf: str | None) -> None:
    snap = case.snapshot
    party = expect.Party(case.listener, case.client.address, case.account, case.sender, case.tls, case.identity, spf, helo="")
    heard = expect.voices(snap, NOW, party, expect.holders(snap, case.listener, case.client.address))
    mail = SenderFacts(snap, case.listener, case.client, NOW, case.tls, case.account, case.sender, "", spf, None, case.identity)
    assert isinstance(decide_sender(mail), Accept) is (expect.mail_against(snap, party, heard) == "")
    where = expect.place(snap, NOW, case.recipient, known=case.known)
    pairs, _ = expect.permitted(Role(case.listener), heard, where, case.recipient)
    verdict = decide_recipient(case)
    if isinstance(verdict, AcceptRecipient):
        assert verdict.destination is where.destination
        assert (verdict.grant.reason if verdict.grant else None, verdict.ref) in pairs
    elif where.destination is not Destination.LOCAL or expand(snap, case.recipient):
        # The second opinion does not follow aliases: one that leads nowhere is refused, and that is stricter.
        assert not pairs


@given(snapshots(), recipients)
@settings(max_examples=50, deadline=None)
def test_an_expansion_ends_in_mailboxes_of_ours_each_once(snap: Snapshot, recipient: Address) -> None:
    mailboxes = expand(snap, recipient)
    if snap.classify(recipient.domain) is Destination.LOCAL:
        assert all(snap.classify(mailbox.domain) is Destination.LOCAL for mailbox in mailboxes)
    assert len({mailbox.key for mailbox in mailboxes}) == len(mailboxes)


@given(snapshots())
@settings(max_examples=12, deadline=None)
def test_the_real_decisions_are_proved_closed_for_any_policy(snap: Snapshot) -> None:
    assert prove(snap, NOW) == []


@given(facts)
@settings(max_examples=25, deadline=None)
def test_what_is_accepted_does_not_depend_on_the_spelling_of_the_client(case: RecipientFacts) -> None:
    plain = replace(case, client=Client(unmapped(case.client.address), 1))
    one, other = decide_recipient(case), decide_recipient(plain)
    assert type(one) is type(other)
    assert one.rule == other.rule
