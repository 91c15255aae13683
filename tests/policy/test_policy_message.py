"""The decision at the end of the message, and the check at commit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from policy_samples import (
    ACCOUNTS,
    APP,
    BEFORE,
    LATER,
    NOW,
    PRINTER,
    RELAYED,
    RIGHTS,
    SNAPSHOT,
    Case,
    addr,
    recipient_facts,
    snapshot,
)

from postlatch.model.address import Address
from postlatch.model.envelope import GrantReason
from postlatch.model.verdict import Accept, Defer
from postlatch.policy.decide import AcceptRecipient, decide_message, decide_recipient, recheck
from postlatch.policy.facts import MessageFacts
from postlatch.policy.grant import RelayGrant, notify_dsn
from postlatch.policy.snapshot import Snapshot

ALICE: Case = {"account": "alice@example.com", "sender": "alice@example.com"}
TEAM: Case = {"account": "team", "sender": "sales@example.com"}
PRINT: Case = {"client": PRINTER, "sender": "scan@example.com"}
ANY: Case = {"client": APP}


def granted(listener: str, case: Case, recipient: str = "x@elsewhere.example") -> RelayGrant | None:
    verdict = decide_recipient(recipient_facts(listener, recipient, **case))
    assert isinstance(verdict, AcceptRecipient)
    return verdict.grant


def facts(
    listener: str, case: Case, froms: str | None, count: int = 1, hops: int = 1, snap: Snapshot = SNAPSHOT
) -> MessageFacts:
    envelope = recipient_facts(listener, "alice@example.com", **case)
    addresses: tuple[Address, ...] | None = None if froms is None else tuple(map(addr, froms.split()))
    return MessageFacts(snap, listener, envelope.client, NOW, envelope.account, envelope.sender, addresses, count, hops, 1000)


def judged(message: MessageFacts, *grants: RelayGrant | None) -> str:
    verdict = decide_message(message, grants)
    return "ok" if isinstance(verdict, Accept) else f"{verdict.reply.code} {verdict.reply.enhanced} {verdict.rule}"


HEADERS: list[tuple[str, Case, str | None, int, str]] = [
    ("submission", ALICE, "alice@example.com", 1, "ok"),
    ("submission", ALICE, "ALICE@Example.com", 1, "ok"),
    ("submission", ALICE, "bob@example.com", 1, "553 5.7.1 header owned"),
    ("submission", ALICE, "alice@example.com bob@example.com", 1, "553 5.7.1 header owned"),
    ("submission", ALICE, "alice@elsewhere.example", 1, "553 5.7.1 header owned"),
    ("submission", ALICE, None, 1, "550 5.7.1 one from"),
    ("submission", ALICE, "", 1, "550 5.7.1 one from"),
    ("submission", ALICE, None, 0, "550 5.7.1 one from"),
    ("submission", ALICE, "alice@example.com", 2, "550 5.7.1 one from"),
    ("submissions", TEAM, "a@example.com b@example.com", 1, "550 5.7.1 one sender"),
    ("submissions", TEAM, "a@sub.example.com", 1, "553 5.7.1 header owned"),
    ("relay", PRINT, "other@example.com", 1, "ok"),
    ("relay", PRINT, "x@elsewhere.example", 1, "553 5.7.1 header scope"),
    ("relay", PRINT, "a@example.com x@elsewhere.example", 1, "553 5.7.1 header scope"),
    ("relay", PRINT, None, 0, "550 5.7.1 header scope"),
    ("relay", PRINT, None, 1, "550 5.7.1 header scope"),
    ("relay", PRINT, "a@example.com", 2, "550 5.7.1 one from"),
    ("relay", ANY, "x@elsewhere.example", 1, "ok"),
    ("relay", ANY, None, 0, "ok"),
    ("relay", ANY, None, 2, "550 5.7.1 one from"),
]


@pytest.mark.parametrize(("listener", "case", "froms", "count", "expected"), HEADERS)
def test_the_from_field_belongs_to_whoever_sends(
    listener: str, case: Case, froms: str | None, count: int, expected: str
) -> None:
    assert judged(facts(listener, case, froms, count), granted(listener, case)) == expected


def test_on_mx_only_a_second_from_field_is_refused() -> None:
    for froms, count, expected in (("x@y.example", 1, "ok"), (None, 0, "ok"), ("x@y.example", 2, "550 5.7.1 one from")):
        assert judged(facts("mx", {}, froms, count), None) == expected


def test_more_than_a_hundred_hops_are_a_loop() -> None:
    assert judged(facts("mx", {}, "x@y.example", hops=100), None) == "ok"
    assert judged(facts("mx", {}, "x@y.example", hops=101), None) == "554 5.4.6 loop"
    assert judged(facts("submission", ALICE, "alice@example.com", hops=101), granted("submission", ALICE)) == "554 5.4.6 loop"


def test_a_grant_that_this_listener_does_not_give_is_not_accepted() -> None:
    network, account = granted("relay", PRINT), granted("submission", ALICE)
    relayed = granted("mx", {}, "dave@listed.example")
    message = facts("submission", ALICE, "alice@example.com")
    for grants in ([None], [network], [relayed], [account, None], [account, network], []):
        assert judged(message, *grants) == "451 4.3.0 granted"
    assert judged(facts("submission", TEAM, "a@example.com"), account) == "451 4.3.0 granted"
    assert judged(facts("relay", PRINT, "a@example.com"), account) == "451 4.3.0 granted"
    assert judged(facts("relay", PRINT, "a@example.com"), None) == "451 4.3.0 granted"
    assert judged(facts("mx", {}, "a@example.com"), account) == "451 4.3.0 granted"
    assert judged(facts("mx", {}, "a@example.com"), None, relayed) == "ok"


def test_every_right_that_was_used_limits_the_from_field() -> None:
    grants = granted("relay", ANY), granted("relay", PRINT)
    assert judged(facts("relay", ANY, "x@elsewhere.example"), *grants) == "553 5.7.1 header scope"


def test_an_account_suspended_during_the_message_is_told_to_wait() -> None:
    grant = granted("submission", ALICE)
    suspended = snapshot(accounts=[replace(ACCOUNTS[0], suspended=True)])
    gone = snapshot(accounts=[])
    for snap in (suspended, gone):
        assert judged(facts("submission", ALICE, "alice@example.com", snap=snap), grant) == "451 4.7.1 header owned"
    without = snapshot(rights=[])
    assert judged(facts("relay", PRINT, "a@example.com", snap=without), granted("relay", PRINT)) == "451 4.7.1 header scope"


def test_an_unknown_listener_defers_the_message() -> None:
    assert judged(replace(facts("mx", {}, "x@y.example"), listener="unheard"), None) == "451 4.3.0 listener"


RECHECKS: list[tuple[str, Case, str, Snapshot, bool]] = [
    ("submission", ALICE, "x@elsewhere.example", SNAPSHOT, True),
    ("submission", ALICE, "x@elsewhere.example", snapshot(accounts=[replace(ACCOUNTS[0], suspended=True)]), False),
    ("submission", ALICE, "x@elsewhere.example", snapshot(accounts=[]), False),
    ("submission", ALICE, "x@elsewhere.example", snapshot(rights=[], relayed_=[]), True),
    ("relay", PRINT, "x@elsewhere.example", SNAPSHOT, True),
    ("relay", PRINT, "x@elsewhere.example", snapshot(rights=[]), False),
    ("relay", PRINT, "x@elsewhere.example", snapshot(rights=[replace(RIGHTS[0], suspended=True)]), False),
    ("relay", PRINT, "x@elsewhere.example", snapshot(rights=[replace(RIGHTS[0], expires=NOW)]), False),
    ("mx", {}, "dave@listed.example", SNAPSHOT, True),
    ("mx", {}, "dave@listed.example", snapshot(relayed_=[]), False),
    ("mx", {}, "dave@listed.example", snapshot(relayed_=[replace(RELAYED[1], expires=BEFORE)]), False),
]


@pytest.mark.parametrize(("listener", "case", "recipient", "later", "holds"), RECHECKS)
def test_at_commit_a_grant_holds_only_if_what_it_rests_on_does(
    listener: str, case: Case, recipient: str, later: Snapshot, holds: bool
) -> None:
    grant = granted(listener, case, recipient)
    assert grant is not None
    verdict = recheck(grant, later, NOW)
    assert isinstance(verdict, Accept) is holds
    if isinstance(verdict, Defer):
        assert str(verdict.reply).startswith("451 4.7.1 ")


def test_at_commit_the_clock_counts_and_not_the_time_of_rcpt() -> None:
    grant = granted("relay", PRINT)
    assert grant is not None
    assert isinstance(recheck(grant, SNAPSHOT, LATER), Defer)


def test_mail_of_our_own_holds_at_commit() -> None:
    note = notify_dsn(SNAPSHOT, object(), GrantReason.ACCOUNT, addr("alice@example.com"))
    assert isinstance(recheck(note.grant, snapshot(accounts=[], rights=[]), NOW), Accept)
