"""Who pays for what, without a relay around it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from postlatch.limits.charge import Charge
from postlatch.limits.limit import parse_limit, with_warnings
from postlatch.limits.limiter import Limiter
from postlatch.model.envelope import GrantReason
from postlatch.server.charges import Costs, Sending, payer_charges, shared_charges
from postlatch.server.limit_rules import LimitRules, WarmUp

NOW = 1_767_225_600.0
ONE = (parse_limit("1/day"),)
TWO = (parse_limit("2/day"),)
ALICE = (GrantReason.ACCOUNT, "alice@example.com")
CLIENT = ip_address("2001:db8:1:2::7")


def sending(credential: str | None = None) -> Sending:
    return Sending(CLIENT, "example.com", "alice@example.com", credential)


def named(charges: list[Charge]) -> list[tuple[str, str, str, int]]:
    return [(charge.scope, charge.key, charge.kind, charge.cost) for charge in charges]


def test_an_application_password_pays_beside_its_account() -> None:
    rules = LimitRules(account={"messages": TWO}, credential={"messages": ONE})
    limiter = Limiter()
    answers = []
    for credential in ("scanner", "scanner", "laptop", "phone", None):
        due = payer_charges(rules, ALICE, Costs(messages=1), sending(credential), NOW)
        reached = limiter.spend(due, NOW)
        answers.append(None if reached is None else reached.name)
    assert answers == [None, "credential messages 1/day", None, "account messages 2/day", "account messages 2/day"]


@pytest.mark.parametrize("credential", [None, "=certificate", "=token", "=local"])
def test_another_way_to_log_in_is_no_application_password(credential: str | None) -> None:
    rules = LimitRules(account={"messages": TWO}, credential={"messages": ONE})
    due = payer_charges(rules, ALICE, Costs(messages=1), sending(credential), NOW)
    assert named(due) == [("account", "alice@example.com", "messages", 1)]


def test_mail_to_a_relay_domain_is_nobodys() -> None:
    rules = LimitRules(account={"messages": TWO}, right={"messages": TWO})
    assert payer_charges(rules, (GrantReason.RELAY_DOMAIN, "partner.example"), Costs(messages=1), sending(), NOW) == []


def test_what_is_shared_counts_what_is_paid_for_and_clients_count_all() -> None:
    table = {"recipients": TWO, "messages": TWO}
    rules = LimitRules(sender_domain=table, relay=table, client=table, network=table)
    found = shared_charges(rules, Costs(1, 5), sending(), paid=Costs(1, 3))
    assert named(found) == [
        ("sender_domain", "example.com", "messages", 1),
        ("sender_domain", "example.com", "recipients", 3),
        ("relay", "all", "messages", 1),
        ("relay", "all", "recipients", 3),
        ("client", "2001:db8:1:2::/64", "messages", 1),
        ("client", "2001:db8:1:2::/64", "recipients", 5),
        ("network", "2001:db8:1::/48", "messages", 1),
        ("network", "2001:db8:1::/48", "recipients", 5),
    ]
    strangers = shared_charges(rules, Costs(1, 5), sending(), paid=None)
    assert {charge.scope for charge in strangers} == {"client", "network"}


def test_a_clients_commands_cost_a_message_nothing() -> None:
    rules = LimitRules(client={"commands": ONE, "auth_failures": ONE})
    assert shared_charges(rules, Costs(1, 1, 1, 99, frozenset({"a.example"})), sending(), paid=None) == []


@pytest.mark.parametrize(
    ("age", "percent"),
    [(-5, 20), (0, 20), (86_399, 20), (86_400, 40), (3.5 * 86_400, 80), (4 * 86_400, 100), (1e9, 100)],
)
def test_the_limits_of_a_new_account_grow_by_the_day(age: float, percent: int) -> None:
    assert WarmUp(4 * 86_400, 20).percent(age) == percent


def test_warming_up_leaves_minutes_alone_and_lets_at_least_one_pass() -> None:
    limits = with_warnings([parse_limit("30/minute"), parse_limit("3/hour"), parse_limit("500/day")], (), 80)
    rules = LimitRules(account={"messages": limits}, warm_up=WarmUp(7 * 86_400, 20))
    young = rules.at_age(limits, 0)
    assert [(limit.text, limit.warn) for limit in young] == [("30/minute", 0), ("1/hour", 1), ("100/day", 80)]
    assert rules.at_age(limits, 0) is young, "the limiter compares by identity"
    assert rules.at_age(limits, 8 * 86_400) is limits
