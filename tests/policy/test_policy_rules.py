"""How a list of rules decides, and the decision at connect."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from types import ModuleType

import pytest
from policy_samples import NOW, SNAPSHOT, STRANGER, recipient_facts, sender_facts

from postlatch.model.envelope import Client, Destination, GrantReason
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy import decide, rules_connection, rules_message, rules_recipient, rules_sender
from postlatch.policy.decide import decide_connection, decide_recipient, decide_sender
from postlatch.policy.facts import ConnectionFacts, LimitReached
from postlatch.policy.rules import Permit, Unknown, name_of, run
from postlatch.testing.source import parse


class _Unreadable(IPv4Address):
    """An address that no rule can look up: it fails as soon as it is used as a number."""

    def __int__(self) -> int:
        raise RuntimeError("no number")


def _source(rule: Callable[..., object]) -> ast.FunctionDef:
    """From the file: a compiled function keeps neither its source nor its annotations."""
    [file] = [Path(decide.__file__).parent / f"{rule.__module__.rpartition('.')[2]}.py"]
    [found] = [node for node in parse(file).body if isinstance(node, ast.FunctionDef) and node.name == rule.__name__]
    return found


def nothing(_facts: str) -> None:
    return None


def undecided(_facts: str) -> Unknown:
    return Unknown("the database is away")


def broken(facts: str) -> Accept:
    raise ValueError(f"cannot use {facts}")


def refusing(_facts: str) -> Refuse:
    return Refuse(Reply(550, "5.7.1", "no"), "refusing", "because")


def accepting(_facts: str) -> Accept:
    return Accept("accepting", "fine")


def test_the_first_verdict_wins() -> None:
    assert run((nothing, refusing, accepting), "facts") == refusing("")
    assert run((nothing, accepting, refusing), "facts") == accepting("")


def test_the_end_of_the_list_refuses() -> None:
    verdict = run((nothing, nothing), "facts")
    assert isinstance(verdict, Refuse)
    assert str(verdict.reply).startswith("550 5.7.1 ")
    assert verdict.rule == "no rule"
    assert isinstance(run((), "facts"), Refuse)


def test_an_undecided_rule_defers_even_if_a_later_one_would_accept() -> None:
    verdict = run((undecided, accepting), "facts")
    assert isinstance(verdict, Defer)
    assert str(verdict.reply).startswith("451 4.3.0 ")
    assert (verdict.rule, verdict.why) == ("undecided", "the database is away")


def test_a_rule_that_raises_defers_under_its_own_name_and_repeats_nothing_of_the_facts() -> None:
    verdict = run((nothing, broken, accepting), "x\r\n250 secret")
    assert isinstance(verdict, Defer)
    assert verdict.reply.code == 451
    assert verdict.rule == "broken"
    assert verdict.why == "the rule failed with ValueError"


def test_facts_that_no_rule_can_read_defer_at_every_decision() -> None:
    rotten = Client(_Unreadable("192.0.2.7"), 40000)
    sender = replace(sender_facts("relay"), client=rotten)
    recipient = replace(recipient_facts("relay", "a@elsewhere.example"), client=rotten)
    for verdict in (decide_sender(sender), decide_recipient(recipient)):
        assert isinstance(verdict, Defer)
        assert verdict.why.endswith("RuntimeError")


@pytest.mark.parametrize("module", [rules_connection, rules_message, rules_recipient, rules_sender])
def test_every_rule_names_itself_in_its_verdicts(module: ModuleType) -> None:
    for rule in module.RULES:
        source = ast.unparse(_source(rule))
        if "Refuse(" in source or "Accept(" in source or "Permit(" in source:
            assert f"'{name_of(rule)}'" in source


def test_only_the_last_rule_says_that_mail_may_leave() -> None:
    leaving = [rule for rule in rules_recipient.RULES if "Permit" in ast.unparse(_source(rule).returns or ast.Constant(""))]
    assert leaving == [rules_recipient.local, rules_recipient.relay]
    assert rules_recipient.RULES[-1] is rules_recipient.relay
    relay = _source(rules_recipient.relay)
    assert (relay.end_lineno or 0) - relay.lineno < 25


SMUGGLED = [
    Permit(Destination.FOREIGN, GrantReason.ACCOUNT, "alice@example.com", "local", "another rule than relay"),
    Permit(Destination.LOCAL, None, "", "relay", "foreign mail called local"),
    Permit(Destination.FOREIGN, None, "", "relay", "nobody answers"),
    Permit(Destination.FOREIGN, GrantReason.ACCOUNT, "", "relay", "nobody is named"),
]


@pytest.mark.parametrize("permit", SMUGGLED)
def test_a_permit_that_the_relay_rule_did_not_give_gets_no_grant(permit: Permit) -> None:
    verdict = decide._seal(recipient_facts("mx", "x@elsewhere.example"), permit)
    assert isinstance(verdict, Defer)


def connect(
    *, listener: str = "mx", banned: float | None = None, limit: LimitReached | None = None, identity: bool = True
) -> Refuse | Defer | Accept:
    client = Client(ip_address(STRANGER), 40000)
    return decide_connection(ConnectionFacts(SNAPSHOT, listener, client, NOW, banned, limit, identity))


def test_anybody_may_connect() -> None:
    assert isinstance(connect(), Accept)
    assert isinstance(connect(identity=False), Accept)


def test_a_ban_closes_until_its_end() -> None:
    verdict = connect(banned=NOW + 1)
    assert isinstance(verdict, Refuse)
    assert (verdict.reply.code, verdict.close) == (554, True)
    assert isinstance(connect(banned=NOW), Accept)


def test_a_limit_at_connect_is_told_as_421() -> None:
    for spent in (True, False):
        verdict = connect(limit=LimitReached("client connections 50", NOW + 60, spent))
        assert isinstance(verdict, Defer)
        assert (verdict.reply.code, verdict.close) == (421, True)


def test_an_undecided_connection_is_told_as_421() -> None:
    verdict = connect(listener="unheard")
    assert isinstance(verdict, Defer)
    assert (verdict.reply.code, verdict.close) == (421, True)


def test_a_verdict_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        connect().rule = "other"  # type: ignore[misc]
    assert replace(refusing(""), why="copy").why == "copy"
