"""The list of everyone who can relay, and the dry run."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest
from policy_samples import APP, NOW, PRINTER, SNAPSHOT, STRANGER

from postlatch.policy.dryrun import Envelope, explain
from postlatch.policy.rights import list_rights

FIELDS = {
    "name",
    "reason",
    "who",
    "listeners",
    "networks",
    "senders",
    "recipients",
    "limits",
    "owner",
    "expires",
    "last_used",
    "source",
    "state",
    "fix",
    "rewrite_from",
}


def rows() -> dict[tuple[object, object], dict[str, object]]:
    listed = list_rights(
        SNAPSHOT,
        NOW,
        last_used={("NETWORK", "printers"): NOW - 60},
        account_limits={"messages": ("500/day",)},
        right_limits={"messages": ("200/day",)},
    )
    return {(row["reason"], row["name"]): row for row in listed}


def test_every_right_account_and_relay_domain_has_one_row_of_one_shape() -> None:
    listed = rows()
    assert len(listed) == len(SNAPSHOT.rights) + len(SNAPSHOT.accounts) + len(SNAPSHOT.relay_domains)
    assert all(set(row) == FIELDS for row in listed.values())
    assert json.loads(json.dumps(list(listed.values())))


def test_a_right_shows_its_scope_owner_and_end() -> None:
    row = rows()["NETWORK", "printers"]
    assert row["who"] == "10.0.3.0/28"
    assert row["senders"] == ["@example.com"]
    assert row["listeners"] == ["relay"]
    assert row["limits"] == {"messages": ["200/day"]}
    assert row["owner"] == "ops@example.com"
    assert row["expires"] == "2027-01-01T00:00:00Z"
    assert row["last_used"] == "2025-12-31T23:59:00Z"
    assert row["source"] == "configuration"
    assert row["state"] == "active"


def test_what_has_lapsed_is_listed_as_such() -> None:
    listed = rows()
    assert listed["NETWORK", "gone"]["state"] == "expired"
    assert listed["NETWORK", "stopped"]["state"] == "suspended"
    assert listed["ACCOUNT", "bob@example.com"]["state"] == "suspended"
    assert listed["RELAY_DOMAIN", "old.example"]["state"] == "expired"


def test_a_mapped_network_is_shown_as_what_it_is() -> None:
    assert rows()["NETWORK", "mapped"]["networks"] == ["192.0.2.48/28"]


def test_an_account_shows_where_and_as_what_it_sends() -> None:
    row = rows()["ACCOUNT", "robot"]
    assert row["senders"] == ["<>", "robot@example.com"]
    assert row["listeners"] == ["submission", "submissions"]
    assert row["expires"] is None
    assert row["limits"] == {"messages": ["500/day"]}


def test_a_relay_domain_shows_to_whom_it_is_open() -> None:
    listed = rows()
    assert listed["RELAY_DOMAIN", "listed.example"]["recipients"] == ["dave@listed.example"]
    assert listed["RELAY_DOMAIN", "branch.example"]["recipients"] == ["@branch.example"]
    assert listed["RELAY_DOMAIN", "branch.example"]["who"] == "everyone, to branch.example"


def decide(listener: str, rcpt: str, **rest: object) -> dict[str, object]:
    known = {"client": ip_address(STRANGER), "mail_from": "x@elsewhere.example", **rest}
    return explain(SNAPSHOT, NOW, Envelope(listener, rcpt=rcpt, **known))  # type: ignore[arg-type]


ALICE: dict[str, object] = {"account": "alice@example.com", "mail_from": "alice@example.com"}
PRINT: dict[str, object] = {"client": ip_address(PRINTER), "mail_from": "scan@example.com"}

DRY: list[tuple[str, str, dict[str, object], str]] = [
    ("mx", "alice@example.com", {}, "accept | 250 2.1.5 | local | - | local"),
    ("mx", "postmaster", {}, "accept | 250 2.1.5 | local | - | local"),
    ("mx", "x@elsewhere.example", {}, "refuse | 550 5.7.1 | foreign on mx | - | foreign"),
    ("mx", "nobody@example.com", {}, "refuse | 550 5.1.1 | recipient known | - | local"),
    ("mx", "x%y@example.com", {}, "refuse | 501 5.1.3 | address form | - | local"),
    ("mx", "x@elsewhere.example.", {}, "refuse | 501 5.1.3 | syntax | - | foreign"),
    ("mx", "no-domain", {}, "refuse | 501 5.1.3 | syntax | - | foreign"),
    ("mx", "j\u00fcrgen@elsewhere.example", {}, "refuse | 553 5.6.7 | syntax | - | foreign"),
    ("mx", "j\u00fcrgen@elsewhere.example", {"smtputf8": True}, "refuse | 550 5.7.1 | foreign on mx | - | foreign"),
    ("mx", "alice@example.com", {"mail_from": "unqualified"}, "refuse | 501 5.1.7 | syntax | - | local"),
    ("mx", "alice@example.com", {"mail_from": "bob@example.com"}, "refuse | 550 5.7.1 | own domain | - | local"),
    ("mx", "alice@example.com", {"mail_from": "bob@example.com", "spf": "pass"}, "accept | 250 2.1.5 | local | - | local"),
    ("mx", "alice@example.com", {"mail_from": ""}, "accept | 250 2.1.5 | local | - | local"),
    ("mx", "alice@example.com", {"mail_from": "<>"}, "accept | 250 2.1.5 | local | - | local"),
    ("mx", "x@callout.example", {}, "defer | 451 4.3.0 | recipient known | - | local"),
    ("mx", "x@callout.example", {"known": True}, "accept | 250 2.1.5 | local | - | local"),
    ("mx", "dave@listed.example", {}, "accept | 250 2.1.5 | relay | RELAY_DOMAIN | relay"),
    ("submission", "x@elsewhere.example", {}, "refuse | 530 5.7.0 | authentication | - | foreign"),
    ("submission", "x@elsewhere.example", ALICE, "accept | 250 2.1.5 | relay | ACCOUNT | foreign"),
    (
        "submission",
        "x@elsewhere.example",
        {**ALICE, "header_from": "alice@example.com"},
        "accept | 250 2.1.5 | relay | ACCOUNT | foreign",
    ),
    (
        "submission",
        "x@elsewhere.example",
        {**ALICE, "header_from": "bob@example.com"},
        "refuse | 553 5.7.1 | header owned | - | foreign",
    ),
    ("submission", "x@elsewhere.example", {**ALICE, "header_from": "nonsense"}, "refuse | 550 5.7.1 | one from | - | foreign"),
    ("relay", "x@elsewhere.example", PRINT, "accept | 250 2.1.5 | relay | NETWORK | foreign"),
    (
        "relay",
        "x@elsewhere.example",
        {**PRINT, "client": ip_address(f"::ffff:{PRINTER}")},
        "accept | 250 2.1.5 | relay | NETWORK | foreign",
    ),
    (
        "relay",
        "x@elsewhere.example",
        {"client": ip_address(APP), "header_from": "a@b.example"},
        "accept | 250 2.1.5 | relay | NETWORK | foreign",
    ),
    ("relay", "x@elsewhere.example", {}, "refuse | 550 5.7.1 | right | - | foreign"),
]


@pytest.mark.parametrize(("listener", "recipient", "rest", "expected"), DRY)
def test_the_dry_run_answers_as_a_session_would(listener: str, recipient: str, rest: dict[str, object], expected: str) -> None:
    answer = decide(listener, recipient, **rest)
    assert set(answer) == {"verdict", "reply", "rule", "grant", "destination", "why"}
    code = " ".join(str(answer["reply"]).split()[:2])
    fields = (answer["verdict"], code, answer["rule"], answer["grant"] or "-", answer["destination"])
    assert " | ".join(map(str, fields)) == expected
    assert answer["why"]
    assert json.dumps(answer)


def test_the_dry_run_says_to_which_mailboxes_a_recipient_leads() -> None:
    assert str(decide("mx", "info+x@example.com")["why"]).endswith("delivered to alice@example.com, bob@example.com")


def test_the_dry_run_does_not_guess_a_listener_or_an_account() -> None:
    with pytest.raises(LookupError, match="no listener 'smtp'; there are: mx, submission"):
        decide("smtp", "alice@example.com")
    with pytest.raises(LookupError, match="no account 'ghost'"):
        decide("submission", "alice@example.com", account="ghost")


def test_the_dry_run_can_look_at_another_time() -> None:
    asked = Envelope("relay", ip_address(PRINTER), "scan@example.com", "x@elsewhere.example")
    assert explain(SNAPSHOT, NOW, asked)["verdict"] == "accept"
    assert explain(SNAPSHOT, NOW + 86_400 * 400, asked)["verdict"] == "refuse"
