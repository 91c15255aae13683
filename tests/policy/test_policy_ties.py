"""The tie between a login and what it may send as: delegations that end, aliases, Sender and Resent fields, the socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from policy_samples import ACCOUNTS, LATER, NOW, SNAPSHOT, Case, addr, local, mail, rcpt, recipient_facts, snapshot

from postlatch.model.address import Address
from postlatch.model.envelope import Role
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.credentials import LOCAL
from postlatch.policy.danger import DangerContext, dangers
from postlatch.policy.decide import AcceptRecipient, decide_message, decide_recipient, decide_sender
from postlatch.policy.facts import MessageFacts, NamedField, RecipientFacts, SenderFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.prove import REAL, Decider, prove
from postlatch.policy.sending import Delegation, Submission
from postlatch.policy.snapshot import Account, Listener, LocalDomain, Snapshot

ALICE, CAROL, TEAM = "alice@example.com", "carol@example.com", "team"
ELSEWHERE = "x@elsewhere.example"
LENT = Delegation(ALICE, "Office@example.com", "ops@example.com", NOW + 60)
OVER = Delegation(CAROL, "office@example.com", "ops@example.com", NOW)
PEOPLE = (*ACCOUNTS, Account(CAROL, frozenset({CAROL})))
ALIASES = local(info=ALICE, help=f"{ALICE} {CAROL}", chain="info@example.com", any=ALICE)


def office(rule: str = "no", domain: LocalDomain = ALIASES, **rest: object) -> Snapshot:
    """The sample, with delegations, aliases and the Unix socket."""
    base = snapshot(accounts=PEOPLE, locals_=[domain])
    listeners = {**base.listeners, "sendmail": Listener("sendmail", Role.SUBMISSION, local=True)}
    changed = replace(base, listeners=listeners, delegations=(LENT, OVER), submission=Submission(aliases=rule))
    return replace(changed, **rest)  # type: ignore[arg-type]


def small(rule: str) -> Snapshot:
    """As much of it as the ties need: a proof is quick."""
    snap = office(rule, rights=(), relay_domains={})
    return replace(snap, listeners={name: snap.listeners[name] for name in ("submission", "sendmail")})


def sends(login: str, sender: str, snap: Snapshot, now: float = NOW, **rest: str | bool) -> tuple[str, str]:
    """What MAIL says, and RCPT to a foreign domain."""
    case: Case = {"account": login, "sender": sender, "snap": snap, "now": now, **rest}  # type: ignore[typeddict-item]
    return mail("submission", **case), rcpt("submission", ELSEWHERE, **case)


GOOD = ("ok", f"foreign ACCOUNT {ALICE}")
BAD = ("553 5.7.1 sender owned", "553 5.7.1 sender owned")


def test_a_delegation_holds_until_its_second_and_not_in_it() -> None:
    snap = office()
    assert sends(ALICE, "office@example.com", snap, NOW + 59.999) == GOOD
    assert sends(ALICE, "OFFICE@Example.COM", snap, NOW) == GOOD
    assert sends(ALICE, "office@example.com", snap, NOW + 60) == BAD
    assert sends(ALICE, "office@example.com", snap, NOW + 61) == BAD


def test_a_delegation_is_for_one_address_and_one_login() -> None:
    snap = office()
    assert sends(ALICE, "office2@example.com", snap) == BAD
    assert sends(ALICE, "office@sub.example.com", snap) == BAD
    assert sends(ALICE, "", snap) == BAD
    assert sends(CAROL, "office@example.com", snap) == BAD
    assert sends(ALICE, "office@example.com", replace(snap, delegations=())) == BAD


def test_a_delegation_does_not_wake_a_suspended_account() -> None:
    lent = Delegation("bob@example.com", "office@example.com", "ops@example.com", LATER)
    verdicts = sends("bob@example.com", "office@example.com", office(delegations=(lent,)))
    assert verdicts == ("550 5.7.1 account", "550 5.7.1 account")


@pytest.mark.parametrize(
    ("rule", "alias", "expected"),
    [
        ("no", "info@example.com", BAD),
        ("own", "info@example.com", GOOD),
        ("own", "INFO@example.com", GOOD),
        ("own", "help@example.com", BAD),
        ("shared", "help@example.com", GOOD),
        ("shared", "info@example.com", GOOD),
        ("shared", "chain@example.com", BAD),  # only an alias of the mailbox itself
        ("shared", "info+x@example.com", BAD),
        ("shared", "whatever@example.com", BAD),  # a catch-all is no name
        ("shared", "info@elsewhere.example", BAD),
    ],
)
def test_aliases_that_lead_to_the_mailbox_of_a_login(rule: str, alias: str, expected: tuple[str, str]) -> None:
    assert sends(ALICE, alias, office(rule)) == expected
    assert sends(TEAM, "help@elsewhere.example", office(rule)) == BAD


# The header


def header(snap: Snapshot, froms: str, *named: NamedField, sender: str = ALICE, now: float = NOW) -> str:
    """What the end of alice's message says, under a policy that may have changed since RCPT."""
    facts = recipient_facts("submission", ELSEWHERE, account=ALICE, sender=sender, snap=office())
    accepted = decide_recipient(facts)
    assert isinstance(accepted, AcceptRecipient)
    authors = tuple(map(addr, froms.split()))
    message = MessageFacts(snap, "submission", facts.client, now, ALICE, addr(sender), authors, 1, 1, 9, named=named)
    verdict = decide_message(message, [accepted.grant])
    return "ok" if isinstance(verdict, Accept) else f"{verdict.reply.code} {verdict.reply.enhanced} {verdict.rule}"


def field(name: str, *addresses: str) -> NamedField:
    return NamedField(name, tuple(map(addr, addresses)))


HEADERS: list[tuple[str, list[NamedField], str]] = [
    (ALICE, [field("Sender", ALICE)], "ok"),
    (ALICE, [field("Sender", "office@example.com")], "ok"),
    (ALICE, [field("Sender", "bob@example.com")], "553 5.7.1 header owned"),
    (ALICE, [field("Resent-From", "bob@example.com")], "553 5.7.1 header owned"),
    (ALICE, [field("Resent-From", ALICE), field("Resent-Sender", "x@y.example")], "553 5.7.1 header owned"),
    (ALICE, [field("Resent-From", ALICE, "office@example.com"), field("Resent-Sender", ALICE)], "ok"),
    (ALICE, [NamedField("Sender", None)], "550 5.7.1 one sender"),
    (ALICE, [NamedField("Resent-From", None)], "550 5.7.1 one sender"),
    (ALICE, [field("Sender", ALICE), field("Sender", ALICE)], "550 5.7.1 one sender"),
    (ALICE, [field("Sender", ALICE, "office@example.com")], "550 5.7.1 one sender"),
    (f"{ALICE} office@example.com", [], "550 5.7.1 one sender"),
    (f"{ALICE} office@example.com", [field("Sender", ALICE)], "ok"),
    ("office@example.com", [], "ok"),
]


@pytest.mark.parametrize(("froms", "named", "expected"), HEADERS)
def test_every_field_that_names_a_sender_belongs_to_the_login(froms: str, named: list[NamedField], expected: str) -> None:
    assert header(office(), froms, *named) == expected


def test_a_delegation_that_ends_or_is_revoked_during_the_message_is_over() -> None:
    gone = replace(office(), delegations=())
    assert header(office(), "office@example.com", sender="office@example.com") == "ok"
    assert header(office(), "office@example.com", sender="office@example.com", now=NOW + 60) == "553 5.7.1 header owned"
    assert header(gone, ALICE, sender="office@example.com") == "451 4.7.1 header owned"


def test_a_right_that_names_senders_ties_the_other_fields_too() -> None:
    case: Case = {"client": "10.0.3.5", "sender": "scan@example.com"}
    facts = recipient_facts("relay", ELSEWHERE, **case)
    accepted = decide_recipient(facts)
    assert isinstance(accepted, AcceptRecipient)

    def judged(*named: NamedField) -> str:
        authors = (addr("scan@example.com"),)
        message = MessageFacts(
            SNAPSHOT, "relay", facts.client, NOW, None, addr("scan@example.com"), authors, 1, 1, 9, named=named
        )
        verdict = decide_message(message, [accepted.grant])
        return "ok" if isinstance(verdict, Accept) else f"{verdict.reply.code} {verdict.rule}"

    assert judged(field("Sender", "b@example.com")) == "ok"
    assert judged(field("Sender", ELSEWHERE)) == "553 header scope"
    assert judged(NamedField("Sender", None)) == "550 one sender"


# The Unix socket


def test_the_kernels_word_counts_on_the_unix_socket_without_tls() -> None:
    case: Case = {"snap": office(), "account": ALICE, "sender": ALICE, "tls": False, "credential": LOCAL}
    assert mail("sendmail", **case) == "ok"
    assert rcpt("sendmail", ELSEWHERE, **case) == f"foreign ACCOUNT {ALICE}"


@pytest.mark.parametrize("listener", ["submission", "submissions", "sendmail"])
@pytest.mark.parametrize("credential", [None, LOCAL, "=token", "phone"])
@pytest.mark.parametrize("tls", [True, False])
def test_and_nowhere_else_and_nothing_else_counts_there(listener: str, credential: str | None, tls: bool) -> None:
    case: Case = {"snap": office(), "account": ALICE, "sender": ALICE, "tls": tls, "credential": credential}
    accepted = rcpt(listener, ELSEWHERE, **case).startswith("foreign")
    assert accepted == (
        (listener == "sendmail") if credential == LOCAL else (listener != "sendmail" and tls and credential != "phone")
    )
    assert (mail(listener, **case) == "ok") == accepted


def test_a_local_user_without_an_account_may_not_send() -> None:
    case: Case = {"snap": office(), "account": None, "sender": ALICE, "client": "127.0.0.1", "credential": LOCAL}
    assert mail("sendmail", **case) == "530 5.7.0 authentication"
    assert rcpt("sendmail", ALICE, **case) == "530 5.7.0 authentication"


def test_a_socket_of_the_network_that_takes_itself_for_the_unix_socket_is_a_danger() -> None:
    context = DangerContext(now=NOW, is_public_suffix=lambda _: False, tls_certificate=True)
    assert not [found for found in dangers(office(), context) if "sendmail" in found.key]
    bound = replace(context, listener_addresses={"sendmail": ("127.0.0.1:2525",)})
    assert "listeners.sendmail.name" in [found.key for found in dangers(office(), bound)]
    wrong = office(listeners={"sendmail": Listener("sendmail", Role.RELAY, local=True)}, rights=())
    assert "listeners.sendmail.name" in [found.key for found in dangers(wrong, context)]


# The proof


def test_the_sample_is_proved_under_every_rule_for_aliases() -> None:
    assert prove(office("shared"), NOW) == []
    for rule in ("no", "own"):
        assert prove(small(rule), NOW) == []


def _changed(change: Callable[[Snapshot], Snapshot]) -> Decider:
    """Decisions under a policy that is wider than the one under proof."""

    def sender(facts: SenderFacts) -> Refuse | Defer | Accept:
        return decide_sender(replace(facts, snapshot=change(facts.snapshot)))

    def recipient(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
        return decide_recipient(replace(facts, snapshot=change(facts.snapshot)))

    return REAL._replace(sender=sender, recipient=recipient)


def _longer(snap: Snapshot) -> Snapshot:
    return replace(snap, delegations=tuple(replace(one, expires=one.expires + 1) for one in snap.delegations))


def _for_everyone(snap: Snapshot) -> Snapshot:
    lent = [replace(one, login=login) for one in snap.delegations for login in snap.accounts]
    return replace(snap, delegations=tuple(lent))


def _aliases(rule: str) -> Callable[[Snapshot], Snapshot]:
    return lambda snap: replace(snap, submission=Submission(aliases=rule))


def _at_the_end(change: Callable[[MessageFacts], MessageFacts]) -> Decider:
    def message(facts: MessageFacts, grants: Sequence[RelayGrant | None]) -> Refuse | Defer | Accept:
        return decide_message(change(facts), grants)

    return REAL._replace(message=message)


def _peer_everywhere(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
    by_kernel = facts.credential == LOCAL and facts.account is not None
    return decide_recipient(replace(facts, listener="sendmail") if by_kernel else facts)


def _anyone_local(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
    stranger = facts.listener == "sendmail" and facts.account is None
    own: Address = addr(ALICE)
    return decide_recipient(replace(facts, account=ALICE, sender=own, credential=LOCAL) if stranger else facts)


def _password_on_the_socket(facts: SenderFacts) -> Refuse | Defer | Accept:
    return decide_sender(replace(facts, credential=LOCAL) if facts.listener == "sendmail" else facts)


def _no_sender(facts: MessageFacts) -> MessageFacts:
    return replace(facts, named=tuple(one for one in facts.named if one.name != "Sender"))


def _no_resent(facts: MessageFacts) -> MessageFacts:
    return replace(facts, named=tuple(one for one in facts.named if one.name == "Sender"))


PLANTED: dict[str, tuple[Decider, str]] = {
    "a delegation lasts one second too long": (_changed(_longer), "does not belong"),
    "a delegation is everybody's": (_changed(_for_everyone), "does not belong"),
    "shared aliases count as own": (_changed(_aliases("shared")), "does not belong"),
    "the kernel is believed on every listener": (REAL._replace(recipient=_peer_everywhere), "there alone"),
    "no account is needed on the socket": (REAL._replace(recipient=_anyone_local), "kernel"),
    "a password counts on the socket": (REAL._replace(sender=_password_on_the_socket), "kernel"),
    "Sender is not looked at": (_at_the_end(_no_sender), "Sender does not belong"),
    "nor are Resent fields": (_at_the_end(_no_resent), "Resent-From does not belong"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    decider, told = PLANTED[fault]
    found = prove(small("own"), NOW, decider)
    assert any(told in sentence for sentence in found), found


def test_aliases_where_none_count_are_found() -> None:
    assert any("does not belong" in sentence for sentence in prove(small("no"), NOW, _changed(_aliases("own"))))
