"""How a stranger stands: it can only tighten, and the proof sees to that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from policy_samples import NOW, SNAPSHOT, addr

from postlatch.model.envelope import Client, Destination, IPAddress
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy.cases import STRANGERS
from postlatch.policy.decide import AcceptRecipient, decide_recipient
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.parties import all_targets
from postlatch.policy.prove import REAL, prove
from postlatch.policy.prove_standing import standing_faults
from postlatch.policy.reputation import ReputationRules, Standing
from postlatch.policy.snapshot import Snapshot

Verdict = Refuse | Defer | AcceptRecipient
JUDGED = replace(SNAPSHOT, reputation=ReputationRules(refuse=10))


def facts(standing: Standing | None, recipient: str = "alice@example.com", *, listener: str = "mx") -> RecipientFacts:
    client: IPAddress = STRANGERS[0]
    sender = addr("x@elsewhere.example")
    return RecipientFacts(
        JUDGED, listener, Client(client, 1), NOW, True, None, sender, addr(recipient), object(), True, standing=standing
    )


def test_a_score_that_reaches_the_threshold_is_refused_with_the_lists_and_nothing_else_in_the_reply() -> None:
    verdict = decide_recipient(facts(Standing(10, "bl.example=10", ("bl.example",))))
    assert isinstance(verdict, Refuse)
    assert str(verdict.reply) == "550 5.7.1 mail from this address is not taken: listed by bl.example"
    assert (verdict.rule, verdict.why) == ("reputation", "the score 10 reaches 10: bl.example=10")
    assert isinstance(decide_recipient(facts(Standing(9))), AcceptRecipient)


def test_without_a_list_the_reply_names_none() -> None:
    verdict = decide_recipient(facts(Standing(12, "no_ptr=12")))
    assert str(verdict.reply) == "550 5.7.1 mail from this address is not taken" if isinstance(verdict, Refuse) else False


def test_who_is_greylisted_is_told_when_to_come_back() -> None:
    verdict = decide_recipient(facts(Standing(greylisted_until=NOW + 300)))
    assert isinstance(verdict, Defer)
    assert str(verdict.reply) == "450 4.7.1 greylisted: try again after 2026-01-01T00:05:01Z"
    assert isinstance(decide_recipient(facts(Standing(greylisted_until=NOW))), AcceptRecipient)


@pytest.mark.parametrize("recipient", ["postmaster", "postmaster@example.com"])
def test_postmaster_hears_from_everybody(recipient: str) -> None:
    assert isinstance(decide_recipient(facts(Standing(99, greylisted_until=NOW + 300), recipient)), AcceptRecipient)


@pytest.mark.parametrize("listener", ["mx", "submission", "relay"])
def test_the_best_score_in_the_world_opens_nothing(listener: str) -> None:
    assert isinstance(decide_recipient(facts(Standing(-1000), "bob@elsewhere.example", listener=listener)), Refuse)


def test_an_unknown_mailbox_is_told_so_first() -> None:
    verdict = decide_recipient(facts(Standing(99), "ghost@example.com"))
    assert isinstance(verdict, Refuse)
    assert verdict.rule == "recipient known"


# Faults planted in the decision


def standing_ignored(facts: RecipientFacts) -> Verdict:
    return decide_recipient(replace(facts, standing=None))


def one_point_too_late(facts: RecipientFacts) -> Verdict:
    found = facts.standing
    return decide_recipient(replace(facts, standing=found._replace(score=found.score - 1) if found else None))


def greylisting_ignored(facts: RecipientFacts) -> Verdict:
    found = facts.standing
    return decide_recipient(replace(facts, standing=found._replace(greylisted_until=None) if found else None))


def allow_list_trusted(facts: RecipientFacts) -> Verdict:
    """An allow-list as a reason to relay."""
    if facts.standing is None or facts.standing.score >= 0:
        return decide_recipient(facts)
    alice = addr("alice@example.com")
    return decide_recipient(
        replace(facts, listener="submission", account=alice.key, sender=alice, tls=True, standing=None, identity=True)
    )


def allow_list_knows_mailboxes(facts: RecipientFacts) -> Verdict:
    """An allow-list as a reason to take mail for anybody of ours."""
    if facts.standing is None or facts.standing.score >= 0 or facts.recipient.domain != "example.com":
        return decide_recipient(facts)
    return AcceptRecipient("planted", "planted", Destination.LOCAL, None, "")


FAULTS: list[tuple[Callable[[RecipientFacts], Verdict], str]] = [
    (standing_ignored, "a score of 10 is to be refused"),
    (one_point_too_late, "a score of 10 is to be refused"),
    (greylisting_ignored, "it is to come back later"),
    (allow_list_trusted, "could send to"),
    (allow_list_knows_mailboxes, "its local part looks like a route"),
]


def of_standing(decide: Callable[[RecipientFacts], Verdict], snapshot: Snapshot = JUDGED) -> list[str]:
    targets = all_targets(snapshot, NOW).few
    found: list[str] = []
    for listener in snapshot.listeners.values():
        found += standing_faults(snapshot, NOW, listener, decide, targets).sentences.values()
    return found


@pytest.mark.parametrize(("fault", "sentence"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found(fault: Callable[[RecipientFacts], Verdict], sentence: str) -> None:
    assert of_standing(decide_recipient) == []
    assert any(sentence in found for found in of_standing(fault))


def test_the_whole_proof_goes_through_it() -> None:
    assert prove(JUDGED, NOW) == []
    assert any("is to be refused" in found for found in prove(JUDGED, NOW, REAL._replace(recipient=standing_ignored)))
