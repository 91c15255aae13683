"""What a DMARC result means for a stranger's message, and that the proof notices where it is not heeded."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from policy_samples import BEFORE, LATER, NOW, SNAPSHOT, STRANGER, addr

from postlatch.model.envelope import Client
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.decide import decide_message
from postlatch.policy.dmarc import DmarcFacts, DmarcRules, Override, decide_disposition
from postlatch.policy.facts import MessageFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.prove import REAL, prove
from postlatch.policy.snapshot import Snapshot

OFFICE = "192.0.2.0/28"
OVERRIDES = (
    Override("crm", frozenset({"partner.example"}), (ip_network(OFFICE),), "none", "ops@example.com", LATER, "their CRM"),
    Override("soft", frozenset({"soft.example"}), (), "quarantine", "ops@example.com", LATER, "until they sign"),
    Override("over", frozenset({"old.example"}), (), "none", "ops@example.com", BEFORE, "expired"),
)
RULES = DmarcRules(True, OVERRIDES, {"lists.example": LATER, "gone.example": BEFORE})
SNAP = replace(SNAPSHOT, dmarc=RULES)


def fails(domain: str, asked: str = "reject", sealer: str = "") -> DmarcFacts:
    return DmarcFacts("fail", asked, domain, sealer)


DECISIONS = [
    (fails("bank.example"), STRANGER, "reject"),
    (fails("bank.example", "quarantine"), STRANGER, "quarantine"),
    (fails("bank.example", "none"), STRANGER, "none"),
    (DmarcFacts("pass", "none", "bank.example"), STRANGER, "none"),
    (DmarcFacts("none", "none", "bank.example"), STRANGER, "none"),
    (fails("partner.example"), "192.0.2.5", "none"),
    (fails("partner.example"), STRANGER, "reject"),
    (fails("sub.partner.example"), "192.0.2.5", "reject"),
    (fails("soft.example"), STRANGER, "quarantine"),
    (fails("soft.example", "none"), STRANGER, "none"),
    (fails("old.example"), STRANGER, "reject"),
    (fails("bank.example", sealer="lists.example"), STRANGER, "none"),
    (fails("bank.example", sealer="gone.example"), STRANGER, "reject"),
    (fails("bank.example", sealer="evil.example"), STRANGER, "reject"),
]


@pytest.mark.parametrize(("found", "client", "expected"), DECISIONS)
def test_an_exception_softens_what_the_author_asks_for_and_nothing_makes_it_harder(
    found: DmarcFacts, client: str, expected: str
) -> None:
    decision = decide_disposition(RULES, found, ip_address(client), NOW)
    assert decision.disposition == expected
    assert decision.why


def test_without_enforcement_nothing_is_done() -> None:
    rules = replace(RULES, enforce=False)
    assert decide_disposition(rules, fails("bank.example"), ip_address(STRANGER), NOW).disposition == "none"


def test_an_override_for_a_network_does_not_count_for_the_address_of_a_proxy() -> None:
    client = ip_address(OFFICE.partition("/")[0])
    assert decide_disposition(RULES, fails("partner.example"), client, NOW).disposition == "none"
    behind = fails("partner.example")._replace(identity=False)
    assert decide_disposition(RULES, behind, client, NOW).disposition == "reject"
    assert decide_disposition(RULES, fails("soft.example")._replace(identity=False), client, NOW).disposition == "quarantine"


def facts(listener: str, found: DmarcFacts | None, snap: Snapshot = SNAP) -> MessageFacts:
    sender = addr("ceo@bank.example")
    return MessageFacts(snap, listener, Client(ip_address(STRANGER), 4000), NOW, None, sender, (sender,), 1, 1, 1000, found)


def test_mail_that_its_author_disowns_is_refused_with_550() -> None:
    verdict = decide_message(facts("mx", fails("bank.example")), [None])
    assert isinstance(verdict, Refuse)
    assert (verdict.reply.code, verdict.reply.enhanced, verdict.rule) == (550, "5.7.1", "dmarc")


def test_quarantine_is_no_refusal() -> None:
    assert isinstance(decide_message(facts("mx", fails("bank.example", "quarantine")), [None]), Accept)


def test_an_author_whose_dns_does_not_answer_is_neither_let_in_nor_refused() -> None:
    verdict = decide_message(facts("mx", DmarcFacts("temperror", "none", "bank.example")), [None])
    assert isinstance(verdict, Defer)
    assert verdict.reply.code == 451


def test_without_enforcement_a_silent_dns_defers_nothing() -> None:
    snap = replace(SNAPSHOT, dmarc=DmarcRules(enforce=False))
    assert isinstance(decide_message(facts("mx", DmarcFacts("temperror", "none", "bank.example"), snap), [None]), Accept)


def test_a_policy_with_exceptions_is_proved() -> None:
    assert prove(SNAP, NOW) == []


def blind(message: MessageFacts, grants: list[RelayGrant | None]) -> Refuse | Defer | Accept:
    """A fault: it forgets what the author's domain asks for."""
    return decide_message(replace(message, dmarc=None), grants)


def everywhere(message: MessageFacts, grants: list[RelayGrant | None]) -> Refuse | Defer | Accept:
    """A fault: an override holds for every client."""
    rules = replace(RULES, overrides=tuple(replace(one, networks=()) for one in OVERRIDES))
    return decide_message(replace(message, snapshot=replace(message.snapshot, dmarc=rules)), grants)


def for_ever(message: MessageFacts, grants: list[RelayGrant | None]) -> Refuse | Defer | Accept:
    """A fault: overrides and sealers never end."""
    return decide_message(replace(message, now=min(message.now, BEFORE - 1)), grants)


def any_sealer(message: MessageFacts, grants: list[RelayGrant | None]) -> Refuse | Defer | Accept:
    """A fault: whoever seals is believed."""
    if message.dmarc is not None and message.dmarc.sealer:
        return decide_message(replace(message, dmarc=None), grants)
    return decide_message(message, grants)


@pytest.mark.parametrize("fault", [blind, everywhere, for_ever, any_sealer])
def test_the_proof_finds_a_fault_in_how_authors_are_heeded(fault: object) -> None:
    found = prove(SNAP, NOW, REAL._replace(message=fault))  # type: ignore[arg-type]
    assert any("DMARC" in sentence or "checked" in sentence for sentence in found)
