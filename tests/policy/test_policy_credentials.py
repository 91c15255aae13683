"""Application passwords in the policy: as much as the account or less, at every step; and faults planted there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest
from policy_samples import ACCOUNTS, LATER, LOCAL, NOW, Case, addr, mail, rcpt, recipient_facts, snapshot

from postlatch.model.envelope import Role
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.credentials import CERTIFICATE, TOKEN
from postlatch.policy.decide import AcceptRecipient, decide_message, decide_recipient, decide_sender
from postlatch.policy.facts import MessageFacts, RecipientFacts, SenderFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.prove import REAL, Decider, prove
from postlatch.policy.snapshot import Account, AppPassword, Snapshot

DEVICE = "dev@example.com"
INSIDE, OUTSIDE = "10.0.9.3", "198.51.100.7"
OFFICE = (ip_network("10.0.9.0/28"), ip_network("::ffff:192.0.2.128/124"))
PASSWORDS = (
    AppPassword("printer", frozenset({"Scan@example.com"}), OFFICE, LATER),
    AppPassword("phone"),
    AppPassword("old", expires=NOW),
    AppPassword("bounces", frozenset({"<>"})),
)
OWNER = Account(DEVICE, frozenset({DEVICE, "scan@example.com", "<>"}), app_passwords={one.name: one for one in PASSWORDS})
SNAP = snapshot(accounts=[*ACCOUNTS, OWNER])
STRICT = replace(SNAP, main_password=False)
SMALL = snapshot(locals_=LOCAL[:1], relayed_=(), rights=(), accounts=[OWNER], roles=("submission",))
ELSEWHERE = "bob@elsewhere.example"

OVER = "550 5.7.1 credential"
NOT_COVERED = "553 5.7.1 credential"


def case(credential: str | None, sender: str, client: str = INSIDE, snap: Snapshot = SNAP) -> Case:
    return Case(account=DEVICE, sender=sender, client=client, snap=snap, credential=credential)


@pytest.mark.parametrize(
    ("credential", "sender", "client", "expected"),
    [
        (None, DEVICE, OUTSIDE, "ok"),
        ("phone", DEVICE, OUTSIDE, "ok"),
        ("phone", "", OUTSIDE, "ok"),
        ("phone", "bob@example.com", OUTSIDE, "553 5.7.1 sender owned"),
        ("printer", "scan@example.com", INSIDE, "ok"),
        ("printer", "SCAN@example.com", "::ffff:10.0.9.3", "ok"),
        ("printer", "scan@example.com", "192.0.2.129", "ok"),
        ("printer", DEVICE, INSIDE, NOT_COVERED),
        ("printer", "", INSIDE, NOT_COVERED),
        ("bounces", "", OUTSIDE, "ok"),
        ("bounces", DEVICE, OUTSIDE, NOT_COVERED),
        ("printer", "scan@example.com", OUTSIDE, OVER),
        ("printer", "scan@example.com", "10.0.9.16", OVER),
        ("printer", "scan@example.com", "64:ff9b::a00:903", OVER),
        ("old", DEVICE, OUTSIDE, OVER),
        ("never-there", DEVICE, OUTSIDE, OVER),
        ("", DEVICE, OUTSIDE, OVER),
        (CERTIFICATE, DEVICE, OUTSIDE, "ok"),
        (TOKEN, DEVICE, OUTSIDE, "ok"),
    ],
)
def test_mail_and_rcpt_hold_an_application_password_to_its_scope(
    credential: str | None, sender: str, client: str, expected: str
) -> None:
    asked = case(credential, sender, client)
    assert mail("submission", **asked) == expected
    assert rcpt("submission", ELSEWHERE, **asked) == (f"foreign ACCOUNT {DEVICE}" if expected == "ok" else expected)
    assert rcpt("submission", "alice@example.com", **asked) == (f"local ACCOUNT {DEVICE}" if expected == "ok" else expected)


def test_it_ends_with_its_second() -> None:
    def at(now: float) -> str:
        asked = case("printer", "scan@example.com")
        asked["now"] = now
        return mail("submission", **asked)

    assert at(LATER - 0.001) == "ok"
    assert at(LATER) == OVER


def test_behind_a_proxy_without_an_address_of_its_own_a_bound_password_does_not_hold() -> None:
    for credential, sender, expected in (("printer", "scan@example.com", OVER), ("phone", DEVICE, "ok")):
        asked = case(credential, sender)
        asked["identity"] = False
        assert mail("submission", **asked) == expected


@pytest.mark.parametrize(("credential", "expected"), [(None, OVER), ("phone", "ok"), (CERTIFICATE, "ok"), (TOKEN, "ok")])
def test_the_main_password_may_be_kept_from_relaying(credential: str | None, expected: str) -> None:
    assert mail("submission", **case(credential, DEVICE, snap=STRICT)) == expected
    assert rcpt("submission", ELSEWHERE, **case(credential, DEVICE, snap=STRICT)).startswith(
        "foreign ACCOUNT" if expected == "ok" else OVER
    )


def test_the_last_rule_asks_for_itself_what_was_shown() -> None:
    """It relies on no rule before it: with these gone, it still lets nothing out."""
    from postlatch.policy.rules_recipient import relay  # noqa: PLC0415

    facts = recipient_facts("submission", ELSEWHERE, **case("old", DEVICE))
    verdict = relay(facts)
    assert isinstance(verdict, Refuse)
    assert isinstance(decide_recipient(replace(facts, credential="phone")), AcceptRecipient)


def finish(credential: str | None, header_from: str, snap: Snapshot = SNAP, now: float = NOW) -> str:
    """The verdict at the end of a message that was accepted at RCPT, under a policy that may have changed meanwhile."""
    asked = case(credential, "scan@example.com")
    accepted = decide_recipient(recipient_facts("submission", ELSEWHERE, **asked))
    assert isinstance(accepted, AcceptRecipient)
    facts = recipient_facts("submission", ELSEWHERE, **asked)
    message = MessageFacts(
        snap, "submission", facts.client, now, DEVICE, addr("scan@example.com"), (addr(header_from),), 1, 0, 9,
        credential=credential,
    )  # fmt: skip
    verdict = decide_message(message, [accepted.grant])
    return "ok" if isinstance(verdict, Accept) else f"{verdict.reply.code} {verdict.reply.enhanced} {verdict.rule}"


def test_from_keeps_to_what_the_application_password_covers() -> None:
    assert finish("printer", "scan@example.com") == "ok"
    assert finish("printer", DEVICE) == "553 5.7.1 header credential"
    assert finish("phone", DEVICE) == "ok"


def test_revoked_or_expired_between_rcpt_and_the_end_the_message_waits() -> None:
    revoked = snapshot(accounts=[*ACCOUNTS, replace(OWNER, app_passwords={})])
    assert finish("printer", "scan@example.com", revoked) == "451 4.7.1 header credential"
    assert finish("printer", "scan@example.com", now=LATER) == "451 4.7.1 header credential"
    assert finish(None, "scan@example.com", STRICT) == "451 4.7.1 header credential"


def test_a_snapshot_refuses_an_application_password_under_another_name() -> None:
    with pytest.raises(ValueError, match="application password"):
        Account(DEVICE, frozenset(), app_passwords={"a": AppPassword("b")})


# Faults, each one wrong thought.


def everything_covered(snap: Snapshot, **change: object) -> Snapshot:
    """As if no application password had the limits named."""
    accounts = {
        login: replace(a, app_passwords={n: replace(p, **change) for n, p in a.app_passwords.items()})  # type: ignore[arg-type]
        for login, a in snap.accounts.items()
    }
    return replace(snap, accounts=accounts)


def _both(change: Callable[[Snapshot], Snapshot]) -> Decider:
    def sender(facts: SenderFacts) -> Refuse | Defer | Accept:
        return decide_sender(replace(facts, snapshot=change(facts.snapshot)))

    def recipient(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
        return decide_recipient(replace(facts, snapshot=change(facts.snapshot)))

    return REAL._replace(sender=sender, recipient=recipient)


def _shown(credential: str | None, wanted: Callable[[str | None], bool]) -> Decider:
    def recipient(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
        return decide_recipient(replace(facts, credential=credential) if wanted(facts.credential) else facts)

    return REAL._replace(recipient=recipient)


def _at_the_end(change: Callable[[MessageFacts], MessageFacts]) -> Decider:
    def message(facts: MessageFacts, grants: Sequence[RelayGrant | None]) -> Refuse | Defer | Accept:
        submitted = facts.snapshot.listeners[facts.listener].role in (Role.SUBMISSION, Role.SUBMISSIONS)
        return decide_message(change(facts) if submitted else facts, grants)

    return REAL._replace(message=message)


def _unproxied(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
    return decide_recipient(replace(facts, identity=True))


PLANTED = {
    "senders ignored": (_both(lambda snap: everything_covered(snap, senders=frozenset())), "covers"),
    "networks ignored": (_both(lambda snap: everything_covered(snap, networks=())), "not for this address"),
    "dates ignored": (_both(lambda snap: everything_covered(snap, expires=None)), "has expired"),
    "one second too long": (
        _both(lambda snap: everything_covered(snap, expires=NOW + 1) if _ends_now(snap) else snap),
        "has expired",
    ),
    "a revoked one holds": (_shown("phone", lambda shown: shown == "no-longer-there"), "no such application password"),
    "an empty name is the main password": (_shown(None, lambda shown: shown == ""), "no such application password"),
    "whose address it is does not matter": (REAL._replace(recipient=_unproxied), "not for this address"),
    "not asked again at the end": (_at_the_end(lambda facts: replace(facts, credential=TOKEN)), "revoked meanwhile"),
    "From is not held to it": (
        _at_the_end(lambda facts: facts if facts.credential == "no-longer-there" else replace(facts, credential=TOKEN)),
        "From is outside",
    ),
}


def _ends_now(snap: Snapshot) -> bool:
    return DEVICE in snap.accounts


def test_the_sample_is_closed_either_way() -> None:
    assert prove(SNAP, NOW) == []
    assert prove(replace(SMALL, main_password=False), NOW) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    decider, told = PLANTED[fault]
    found = prove(SMALL, NOW, decider)
    assert found, fault
    assert any(told in sentence for sentence in found), found


def test_a_main_password_that_relays_against_the_setting_is_found() -> None:
    decider = _both(lambda snap: replace(snap, main_password=True))
    found = prove(replace(SMALL, main_password=False), NOW, decider)
    assert any("its own password lets no account send" in sentence for sentence in found), found
