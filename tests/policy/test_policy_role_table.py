"""The role table of DESIGN section 9, row by row."""

from __future__ import annotations

import pytest
from policy_samples import (
    APP,
    BEFORE,
    PRINTER,
    STRANGER6,
    Case,
    addr,
    mail,
    rcpt,
    recipient_facts,
    relayed,
    right,
    sender_facts,
    snapshot,
)

from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import AcceptRecipient, decide_recipient, decide_sender
from postlatch.policy.facts import LimitReached

ALICE: Case = {"account": "alice@example.com", "sender": "alice@example.com"}
TEAM: Case = {"account": "team", "sender": "sales@example.com"}
PRINT: Case = {"client": PRINTER, "sender": "scan@example.com"}

MAIL: list[tuple[str, Case, str]] = [
    # mx: strangers send as themselves
    ("mx", {}, "ok"),
    ("mx", {"sender": ""}, "ok"),
    ("mx", {"client": STRANGER6}, "ok"),
    ("mx", {"sender": "x@sub.example.com"}, "ok"),
    ("mx", {"sender": "x@branch.example"}, "ok"),
    ("mx", {"sender": "x@[192.0.2.1]"}, "ok"),
    # mx: nobody sends as us, unless SPF passes
    ("mx", {"sender": "alice@example.com"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "nobody@example.com"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "x@callout.example"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "alice@EXAMPLE.com", "spf": "fail"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "alice@example.com", "spf": "softfail"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "alice@example.com", "spf": "none"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "alice@example.com", "spf": "temperror"}, "451 4.3.0 own domain"),
    ("mx", {"sender": "alice@example.com", "spf": "pass"}, "ok"),
    ("mx", {"sender": "alice@example.com", "spf": "pass", "identity": False}, "550 5.7.1 own domain"),
    ("mx", {"sender": "alice@example.com", "account": "alice@example.com"}, "550 5.7.1 own domain"),
    ("mx", {"sender": "alice@example.com", "client": PRINTER}, "550 5.7.1 own domain"),
    # submission: TLS, a login, an own address
    ("submission", {}, "530 5.7.0 authentication"),
    ("submission", ALICE, "ok"),
    ("submission", {**ALICE, "tls": False}, "530 5.7.0 authentication"),
    ("submission", {**ALICE, "identity": False}, "ok"),
    ("submission", {**ALICE, "sender": "ALICE@Example.COM"}, "ok"),
    ("submission", {**ALICE, "sender": "alice+tag@example.com"}, "553 5.7.1 sender owned"),
    ("submission", {**ALICE, "sender": "bob@example.com"}, "553 5.7.1 sender owned"),
    ("submission", {**ALICE, "sender": "alice@elsewhere.example"}, "553 5.7.1 sender owned"),
    ("submission", {**ALICE, "sender": ""}, "553 5.7.1 sender owned"),
    ("submission", {"account": "robot", "sender": ""}, "ok"),
    ("submission", {"account": "robot", "sender": "robot@example.com"}, "ok"),
    ("submission", TEAM, "ok"),
    ("submission", {**TEAM, "sender": "x@sub.example.com"}, "553 5.7.1 sender owned"),
    ("submission", {**TEAM, "sender": "x@evilexample.com"}, "553 5.7.1 sender owned"),
    ("submission", {**TEAM, "sender": ""}, "553 5.7.1 sender owned"),
    ("submission", {"account": "bob@example.com", "sender": "bob@example.com"}, "550 5.7.1 account"),
    ("submission", {"account": "bob@example.com", "sender": "alice@example.com"}, "550 5.7.1 account"),
    ("submission", {"account": "ghost", "sender": "ghost@example.com"}, "550 5.7.1 account"),
    ("submission", {"account": "", "sender": "alice@example.com"}, "550 5.7.1 account"),
    ("submission", PRINT, "530 5.7.0 authentication"),
    ("submissions", ALICE, "ok"),
    ("submissions", {}, "530 5.7.0 authentication"),
    # relay: a right in force, for this sender
    ("relay", {}, "550 5.7.1 right"),
    ("relay", ALICE, "550 5.7.1 right"),
    ("relay", PRINT, "ok"),
    ("relay", {**PRINT, "client": f"::ffff:{PRINTER}"}, "ok"),
    ("relay", {**PRINT, "client": f"64:ff9b::{PRINTER}"}, "550 5.7.1 right"),
    ("relay", {**PRINT, "client": f"::{PRINTER}"}, "550 5.7.1 right"),
    ("relay", {**PRINT, "client": "10.0.3.15"}, "ok"),
    ("relay", {**PRINT, "client": "10.0.3.16"}, "550 5.7.1 right"),
    ("relay", {**PRINT, "client": "10.0.2.255"}, "550 5.7.1 right"),
    ("relay", {**PRINT, "identity": False}, "550 5.7.1 right"),
    ("relay", {**PRINT, "sender": "x@elsewhere.example"}, "553 5.7.1 right"),
    ("relay", {**PRINT, "sender": ""}, "553 5.7.1 right"),
    ("relay", {"client": APP, "sender": ""}, "ok"),
    ("relay", {"client": APP}, "ok"),
    ("relay", {"client": "2001:db8:1::ff"}, "ok"),
    ("relay", {"client": "2001:db8:1::100"}, "550 5.7.1 right"),
    ("relay", {"client": "192.0.2.20", "sender": ""}, "ok"),
    ("relay", {"client": "192.0.2.20", "sender": "NOC@example.com"}, "ok"),
    ("relay", {"client": "192.0.2.20", "sender": "ops@example.com"}, "553 5.7.1 right"),
    ("relay", {"client": "192.0.2.30"}, "550 5.7.1 right"),
    ("relay", {"client": "192.0.2.40"}, "550 5.7.1 right"),
    ("relay", {"client": "192.0.2.48"}, "ok"),
    ("relay", {"client": "::ffff:192.0.2.63"}, "ok"),
    ("relay", {"client": "192.0.2.64"}, "550 5.7.1 right"),
    ("relay", {"client": "127.0.0.1"}, "ok"),
    ("relay", {"client": "127.0.0.2"}, "550 5.7.1 right"),
    # a listener that the policy does not know
    ("unheard", {}, "451 4.3.0 listener"),
]

RCPT: list[tuple[str, str, Case, str]] = [
    # mx, ours
    ("mx", "alice@example.com", {}, "local - -"),
    ("mx", "ALICE@EXAMPLE.COM", {"sender": ""}, "local - -"),
    ("mx", "info@example.com", {}, "local - -"),
    ("mx", "nobody@example.com", {}, "550 5.1.1 recipient known"),
    ("mx", "nobody@example.com", {"known": True}, "550 5.1.1 recipient known"),
    ("mx", "x@callout.example", {"known": True}, "local - -"),
    ("mx", "x@callout.example", {"known": False}, "550 5.1.1 recipient known"),
    ("mx", "x@callout.example", {}, "451 4.3.0 recipient known"),
    ("mx", "anything@catch.example", {}, "local - -"),
    # mx, relay domains
    ("mx", "x@branch.example", {"known": True}, "relay RELAY_DOMAIN branch.example"),
    ("mx", "x@branch.example", {"known": False}, "550 5.1.1 recipient known"),
    ("mx", "x@branch.example", {}, "451 4.3.0 recipient known"),
    ("mx", "dave@listed.example", {}, "relay RELAY_DOMAIN listed.example"),
    ("mx", "dave+tag@listed.example", {}, "relay RELAY_DOMAIN listed.example"),
    ("mx", "erin@listed.example", {"known": True}, "550 5.1.1 recipient known"),
    ("mx", "dave@old.example", {}, "550 5.7.1 route expired"),
    ("mx", "x@sub.branch.example", {"known": True}, "550 5.7.1 foreign on mx"),
    # mx, foreign: never, whoever says what
    ("mx", "x@elsewhere.example", {}, "550 5.7.1 foreign on mx"),
    ("mx", "x@elsewhere.example", {"sender": ""}, "550 5.7.1 foreign on mx"),
    ("mx", "x@elsewhere.example", {"known": True}, "550 5.7.1 foreign on mx"),
    ("mx", "x@elsewhere.example", ALICE, "550 5.7.1 foreign on mx"),
    ("mx", "x@elsewhere.example", PRINT, "550 5.7.1 foreign on mx"),
    ("mx", "x@elsewhere.example", {"client": "127.0.0.1"}, "550 5.7.1 foreign on mx"),
    ("mx", "postmaster@elsewhere.example", {}, "550 5.7.1 foreign on mx"),
    ("mx", "x@[192.0.2.1]", {}, "550 5.7.1 foreign on mx"),
    ("mx", "alice@[127.0.0.1]", {}, "550 5.7.1 foreign on mx"),
    # submission
    ("submission", "alice@example.com", ALICE, "local ACCOUNT alice@example.com"),
    ("submission", "nobody@example.com", ALICE, "550 5.1.1 recipient known"),
    ("submission", "x@elsewhere.example", ALICE, "foreign ACCOUNT alice@example.com"),
    ("submission", "u%y@elsewhere.example", ALICE, "foreign ACCOUNT alice@example.com"),
    ("submission", "x@[203.0.113.9]", ALICE, "foreign ACCOUNT alice@example.com"),
    ("submission", "dave@listed.example", ALICE, "relay ACCOUNT alice@example.com"),
    ("submission", "erin@listed.example", ALICE, "550 5.1.1 recipient known"),
    ("submission", "x@branch.example", ALICE, "451 4.3.0 recipient known"),
    ("submission", "dave@old.example", ALICE, "550 5.7.1 route expired"),
    ("submission", "x@elsewhere.example", {}, "530 5.7.0 authentication"),
    ("submission", "alice@example.com", {}, "530 5.7.0 authentication"),
    ("submission", "x@elsewhere.example", {**ALICE, "tls": False}, "530 5.7.0 authentication"),
    ("submission", "x@elsewhere.example", {**ALICE, "sender": "bob@example.com"}, "553 5.7.1 sender owned"),
    ("submission", "x@elsewhere.example", {"account": "bob@example.com", "sender": "bob@example.com"}, "550 5.7.1 account"),
    ("submission", "x@elsewhere.example", {"account": "ghost", "sender": "bob@example.com"}, "550 5.7.1 account"),
    ("submissions", "x@elsewhere.example", TEAM, "foreign ACCOUNT team"),
    # relay
    ("relay", "x@elsewhere.example", PRINT, "foreign NETWORK printers"),
    ("relay", "alice@example.com", PRINT, "local NETWORK printers"),
    ("relay", "nobody@example.com", PRINT, "550 5.1.1 recipient known"),
    ("relay", "dave@listed.example", PRINT, "relay NETWORK printers"),
    ("relay", "dave@old.example", PRINT, "550 5.7.1 route expired"),
    ("relay", "x@elsewhere.example", {}, "550 5.7.1 right"),
    ("relay", "alice@example.com", {}, "550 5.7.1 right"),
    ("relay", "dave@listed.example", {}, "550 5.7.1 right"),
    ("relay", "x@elsewhere.example", ALICE, "550 5.7.1 right"),
    ("relay", "x@elsewhere.example", {**PRINT, "identity": False}, "550 5.7.1 right"),
    ("relay", "x@elsewhere.example", {**PRINT, "sender": "x@y.example"}, "553 5.7.1 right"),
    ("relay", "x@elsewhere.example", {"client": "192.0.2.30"}, "550 5.7.1 right"),
    ("relay", "x@elsewhere.example", {"client": "192.0.2.40"}, "550 5.7.1 right"),
    ("relay", "x@partner.example", {"client": "192.0.2.20", "sender": ""}, "foreign NETWORK noc"),
    ("relay", "x@elsewhere.example", {"client": "192.0.2.20", "sender": ""}, "550 5.7.1 recipient scope"),
    ("relay", "alice@example.com", {"client": "192.0.2.20", "sender": ""}, "550 5.7.1 recipient scope"),
    ("unheard", "alice@example.com", {}, "451 4.3.0 listener"),
]


@pytest.mark.parametrize(("listener", "case", "expected"), MAIL)
def test_mail_is_answered_as_the_role_table_says(listener: str, case: Case, expected: str) -> None:
    assert mail(listener, **case) == expected


@pytest.mark.parametrize(("listener", "recipient", "case", "expected"), RCPT)
def test_rcpt_is_answered_as_the_role_table_says(listener: str, recipient: str, case: Case, expected: str) -> None:
    assert rcpt(listener, recipient, **case) == expected


def test_the_reply_tells_an_expired_right_from_a_suspended_one() -> None:
    expired = decide_sender(sender_facts("relay", client="192.0.2.30"))
    suspended = decide_sender(sender_facts("relay", client="192.0.2.40"))
    assert isinstance(expired, Refuse)
    assert isinstance(suspended, Refuse)
    assert "expired" in expired.reply.text
    assert "suspended" in suspended.reply.text


def test_a_second_right_answers_where_the_first_has_lapsed() -> None:
    network = ["192.0.2.30/32"]
    snap = snapshot(rights=[right("old", network, expires=BEFORE), right("new", network)])
    assert rcpt("relay", "x@elsewhere.example", client="192.0.2.30", snap=snap) == "foreign NETWORK new"


def test_the_first_right_in_the_configuration_that_fits_is_the_one_named() -> None:
    snap = snapshot(
        rights=[right("wide", ["10.0.3.0/24"], ["@a.example"]), right("narrow", ["10.0.3.5/32"]), right("c", ["10.0.3.4/30"])]
    )
    assert rcpt("relay", "x@elsewhere.example", client=PRINTER, snap=snap) == "foreign NETWORK narrow"
    assert rcpt("relay", "x@elsewhere.example", client=PRINTER, sender="x@a.example", snap=snap) == "foreign NETWORK wide"


def test_a_right_holds_only_where_it_is_listed() -> None:
    snap = snapshot(rights=[right("printers", ["10.0.3.0/28"], listeners=frozenset({"mx", "submission"}))])
    for listener in ("mx", "submission", "relay"):
        assert "NETWORK" not in rcpt(listener, "x@elsewhere.example", client=PRINTER, snap=snap)


def test_a_right_ends_with_its_first_second_that_is_too_late() -> None:
    snap = snapshot(rights=[right("r", ["10.0.3.0/28"], expires=1000.0)])
    assert mail("relay", client=PRINTER, snap=snap, now=999.9) == "ok"
    assert mail("relay", client=PRINTER, snap=snap, now=1000.0) == "550 5.7.1 right"


def test_a_right_whose_expiry_is_no_number_is_not_in_force() -> None:
    snap = snapshot(rights=[right("r", ["10.0.3.0/28"], expires=float("nan"))])
    assert mail("relay", client=PRINTER, snap=snap).startswith(("451", "550"))


def test_a_domain_that_is_both_ours_and_relayed_does_not_leave() -> None:
    snap = snapshot(relayed_=[relayed("example.com", None)])
    assert rcpt("mx", "alice@example.com", snap=snap) == "local - -"
    assert rcpt("mx", "nobody@example.com", snap=snap, known=True) == "550 5.1.1 recipient known"


LIMITS = [
    (LimitReached("account messages 30/minute", 1_767_225_660.0, day_spent=False), "450 4.7.1 limit", "2026-01-01T00:01:00Z"),
    (LimitReached("account messages 500/day", 1_767_312_000.9, day_spent=True), "550 5.7.1 limit", "2026-01-02T00:00:00Z"),
]


@pytest.mark.parametrize(("limit", "expected", "when"), LIMITS)
def test_a_limit_is_told_by_its_name_with_the_time_to_try_again(limit: LimitReached, expected: str, when: str) -> None:
    case: Case = {**ALICE, "limit": limit}
    assert mail("submission", **case) == expected
    assert rcpt("submission", "x@elsewhere.example", **case) == expected
    verdict = decide_recipient(recipient_facts("mx", "alice@example.com", limit=limit))
    assert isinstance(verdict, Refuse if limit.day_spent else Defer)
    assert limit.name in verdict.reply.text
    assert when in verdict.reply.text


def test_a_limit_never_hides_a_refusal_for_good() -> None:
    limit = LIMITS[0][0]
    assert rcpt("mx", "x@elsewhere.example", limit=limit) == "550 5.7.1 foreign on mx"
    assert rcpt("submission", "x@elsewhere.example", limit=limit) == "530 5.7.0 authentication"


def test_an_acceptance_says_who_answers_for_it_in_a_sentence() -> None:
    verdict = decide_recipient(recipient_facts("submission", "x@elsewhere.example", **ALICE))
    assert isinstance(verdict, AcceptRecipient)
    assert verdict.why == "the account alice@example.com is logged in"
    assert isinstance(decide_sender(sender_facts("mx")), Accept)


def test_the_grant_is_for_this_transaction_recipient_and_policy() -> None:
    facts = recipient_facts("relay", "x@elsewhere.example", **PRINT)
    verdict = decide_recipient(facts)
    assert isinstance(verdict, AcceptRecipient)
    assert verdict.grant is not None
    assert verdict.grant.recipient is facts.recipient
    assert verdict.grant.transaction is facts.transaction
    assert verdict.grant.snapshot_version == 7
    assert addr("x@elsewhere.example") == facts.recipient
