"""Smuggled messages and forged senders: what is decided by answers, by counting, and by what a domain publishes."""

from __future__ import annotations

import pytest
from probe_support import LOCAL_DOMAIN, MAILBOX, Mailbox, inquiry, run, stands
from tiny_server import END, Faults, TinyServer

from postlatch.audit.probes import smuggling, spoofing
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.smuggling import SEQUENCES
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Severity
from postlatch.testing.dns import FakeResolver, Zone

ADDRESS = f"{MAILBOX}@{LOCAL_DOMAIN}"
# What the servers take for an end of data, besides the true one.
AIOSMTPD_1_4_4 = b"\n.\r\n"


def broken(outcomes: list[Outcome]) -> set[str]:
    return {one.vector for one in outcomes if one.stand is Stand.BROKE}


# Smuggling


def test_a_server_that_ends_a_message_where_it_does_not_end_is_found_by_its_early_answers() -> None:
    with TinyServer(Faults(ends=(END, AIOSMTPD_1_4_4))) as server:
        outcomes = run(smuggling.ask, inquiry(server.port))
        assert broken(outcomes) == {"F04"}
        [finding] = [one.finding for one in outcomes if one.finding is not None]
        assert finding.severity is Severity.HIGH
        assert r"\n.\r\n ends a message" in finding.message
        assert finding.transcript


def test_a_sound_server_takes_one_message_for_each_sequence() -> None:
    with TinyServer(Faults()) as server:
        outcomes = run(smuggling.ask, inquiry(server.port))
        assert stands(outcomes) == {name: {Stand.HELD} for name in ("F02", "F04", "F08", "F15")}
        assert len(server.messages) == 4


@pytest.mark.parametrize("reads", [False, True])
def test_two_messages_after_one_answer_are_found_only_by_who_reads_the_mailbox(*, reads: bool) -> None:
    with TinyServer(Faults(quiet_split=b"\r\n.\n")) as server:
        reader = Mailbox(server.tokens) if reads else None
        assert broken(run(smuggling.ask, inquiry(server.port, reader=reader))) == ({"F08"} if reads else set())


def test_without_a_named_mailbox_nothing_is_sent() -> None:
    with TinyServer(Faults()) as server:
        for family in (smuggling, spoofing):
            asked = inquiry(server.port, mailbox="")
            assert {one.stand for one in run(family.ask, asked)} == {Stand.ABSENT}
            assert asked.manners.messages == 0


def test_both_messages_are_counted_before_they_are_sent() -> None:
    with TinyServer(Faults()) as server:
        asked = inquiry(server.port, patience=0.2)
        run(smuggling.ask, asked)
        assert asked.manners.messages == 8
        few = inquiry(server.port, messages=3, patience=0.2)
        outcomes = run(smuggling.ask, few)
        assert few.manners.messages <= 3
        assert sum(one.stand is Stand.UNDECIDED for one in outcomes) == 3


def test_the_true_end_is_no_smuggling_and_disputed_ones_are_for_information() -> None:
    disputed = (b"\r\n.\r\r\n",)
    with TinyServer(Faults(ends=(END, *disputed))) as server:
        outcomes = run(smuggling.ask, inquiry(server.port, deep=True, patience=0.1))
        assert broken(outcomes) == {"F12", "F13"}
        assert {one.finding.severity for one in outcomes if one.finding is not None} == {Severity.INFO}
        assert {one.vector for one in outcomes} == {one.vector for one in SEQUENCES}


# Spoofing

STRICT: Zone = {LOCAL_DOMAIN: {"TXT": ["v=spf1 -all"]}, f"_dmarc.{LOCAL_DOMAIN}": {"TXT": ["v=DMARC1; p=reject"]}}
NOTHING: Zone = {LOCAL_DOMAIN: {"A": ["192.0.2.1"]}}
OURS: Zone = {LOCAL_DOMAIN: {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}}
DOWN: Zone = {LOCAL_DOMAIN: {"TXT": "SERVFAIL"}, f"_dmarc.{LOCAL_DOMAIN}": {"TXT": "SERVFAIL"}}


@pytest.mark.parametrize(
    ("zone", "stand", "finding"),
    [
        (STRICT, Stand.BROKE, "audit.spoofable"),
        ({LOCAL_DOMAIN: {"TXT": ["v=spf1 ~all"]}}, Stand.BROKE, "audit.spoofable"),
        (NOTHING, Stand.HELD, "audit.own-domain-unprotected"),
        (OURS, Stand.HELD, ""),
        (DOWN, Stand.UNDECIDED, ""),
    ],
)
def test_taking_mail_in_its_own_name_is_judged_by_what_its_domain_publishes(zone: Zone, stand: Stand, finding: str) -> None:
    with TinyServer(Faults()) as server:
        [outcome] = run(spoofing.ask, inquiry(server.port, resolver=FakeResolver(zone)))
        assert (outcome.vector, outcome.stand, outcome.evidence) == ("H01", stand, Evidence.E3)
        assert (outcome.finding.id if outcome.finding else "") == finding
        assert outcome.token == "", "it is not the canary's to find"
        [(recipients, body)] = server.messages
        assert recipients == [ADDRESS]
        assert f"From: <{ADDRESS}>".encode() in body


def test_refusing_its_own_name_from_strangers_holds() -> None:
    with TinyServer(Faults(sender_refused=True)) as server:
        [outcome] = run(spoofing.ask, inquiry(server.port, resolver=FakeResolver(STRICT)))
        assert (outcome.stand, outcome.finding) == (Stand.HELD, None)
        assert server.messages == []


def test_what_was_taken_and_not_put_into_the_mailbox_holds() -> None:
    with TinyServer(Faults()) as server:
        asked = inquiry(server.port, resolver=FakeResolver(STRICT), reader=Mailbox())
        asked.deadline = asked.clock.monotonic() + 0.4
        [outcome] = run(spoofing.ask, asked)
        assert outcome.stand is Stand.HELD
        assert "not put into the mailbox" in outcome.why


def test_forged_authors_are_judged_by_what_arrives() -> None:
    with TinyServer(Faults()) as server:
        asked = inquiry(server.port, deep=True, resolver=FakeResolver(STRICT), reader=Mailbox(server.tokens))
        outcomes = {one.how: one for one in run(spoofing.ask, asked)}
    assert outcomes["a stranger's envelope, From of its own domain"].stand is Stand.BROKE
    assert outcomes["the null sender, From of its own domain"].stand is Stand.BROKE
    two = outcomes["two From fields"]
    assert two.finding is not None
    assert two.finding.id == "audit.ambiguous-author"
    assert outcomes["its own address as a display name"].stand is Stand.HELD
    assert outcomes["results in its own name"].stand is Stand.UNDECIDED


def test_without_a_reader_forged_authors_stay_undecided_and_without_a_policy_they_break_nothing() -> None:
    with TinyServer(Faults()) as server:
        asked = inquiry(server.port, deep=True, resolver=FakeResolver(STRICT))
        assert stands(run(spoofing.ask, asked))["H02"] == {Stand.UNDECIDED}
        asked = inquiry(server.port, deep=True, resolver=FakeResolver(NOTHING), reader=Mailbox(server.tokens))
        assert stands(run(spoofing.ask, asked))["H02"] == {Stand.HELD}


# Fixes


def test_every_finding_has_a_fix_for_every_server() -> None:
    open_relay = ["", ".sender", ".percent", ".route", ".domain", ".session", ".trust", ".login"]
    others = """accepts-unknown backscatter masked-source etrn turn verb send starttls-injection starttls-state starttls-twice
        xclient xclient-offered xforward xforward-offered proxy-header auth-before-tls auth-any-password auth-anonymous
        auth-on-mx vrfy expn spoofable own-domain-unprotected ambiguous-author smuggling inner-port"""
    wanted = [f"audit.open-relay{family}" for family in open_relay] + [f"audit.{name}" for name in others.split()]
    for product in ("postfix", "exim", "sendmail", "opensmtpd", "exchange", "haraka", "hmailserver", "", "something else"):
        for name in wanted:
            assert len(fix(name, product)) > 15, (name, product)
    assert fix("audit.no-such-thing", "postfix") == ""


def test_a_fix_is_for_the_server_that_was_recognised() -> None:
    assert "smtpd_relay_restrictions" in fix("audit.open-relay", "postfix")
    assert "relay_from_hosts" in fix("audit.open-relay", "exim")
    assert "allow_untrusted_routing" in fix("audit.open-relay.percent", "postfix")
    assert fix("audit.xclient-offered", "haraka") == fix("audit.xclient", "haraka")
