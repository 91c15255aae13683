"""The proof: it passes a sound policy quickly, and finds every policy that is open."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from policy_samples import ACCOUNTS, BEFORE, LATER, NOW, SNAPSHOT, local, relayed, right, snapshot

from postlatch.model.envelope import Role
from postlatch.policy import expect
from postlatch.policy.decide import decide_connection, decide_message, decide_recipient, decide_sender, expand
from postlatch.policy.prove import REAL, Decider, prove
from postlatch.policy.snapshot import Account, Listener, Right, Snapshot
from postlatch.testing.source import parse


def test_the_sample_policy_is_proved_closed() -> None:
    assert prove(SNAPSHOT, NOW) == []


SOUND = [
    snapshot(locals_=[], relayed_=[], rights=[], accounts=[]),
    snapshot(locals_=[], relayed_=[], rights=[], accounts=[], roles=[]),
    snapshot(relayed_=[], rights=[]),
    snapshot(locals_=[], rights=[]),
    snapshot(roles=["relay"]),
    snapshot(locals_=[local("elsewhere.example", ("victim",))], relayed_=[relayed("elsewhere0.example", None)]),
    snapshot(rights=[right("a", ["10.1.0.0/25", "10.2.0.0/25"]), right("b", ["2001:db8::/65", "2001:db8:1::/65"])]),
    snapshot(rights=[right("wide", ["10.0.0.0/8", "2001:db8::/32"], wide="why", masked="why"), right("b", ["192.0.2.0/24"])]),
    snapshot(rights=[right("top", ["255.255.255.255/32", "0.0.0.0/32", "ffff:ffff::/64"])]),
    snapshot(rights=[right("odd", ["192.0.2.0/28"], ["not an address", "@", "*", ""])]),
    snapshot(accounts=[Account("odd", frozenset({"@", "nonsense", "@example.com", "<>"})), Account("", frozenset())]),
    snapshot(rights=[right("empty", [])]),
    snapshot(hostname="localhost"),
]


@pytest.mark.parametrize("sound", SOUND)
def test_a_sound_policy_of_any_shape_is_proved_closed(sound: Snapshot) -> None:
    assert prove(sound, NOW) == []


# Faults in a snapshot, which the decisions would faithfully carry out.

OPEN: list[tuple[Iterable[Right], str]] = [
    ([right("all", ["0.0.0.0/0"])], "every IPv4 address could relay"),
    ([right("all", ["0.0.0.0/0"], wide="because")], "every IPv4 address could relay"),
    ([right("all", ["::ffff:0:0/96"], wide="because")], "every IPv4 address could relay"),
    ([right("all", ["::/0"], wide="because")], "every IPv6 address could relay"),
    ([right("a", ["0.0.0.0/1"], wide="w"), right("b", ["128.0.0.0/1"], wide="w")], "every IPv4 address could relay"),
    ([right("a", ["10.1.0.0/23"])], "512 IPv4 addresses, more than a /24, could relay through listener relay"),
    ([right("a", ["10.1.0.0/24"]), right("b", ["10.2.0.7/32"])], "257 IPv4 addresses, more than a /24"),
    ([right(f"r{n}", [f"10.{n}.1.0/24"]) for n in range(256)], "65536 IPv4 addresses, more than a /24"),
    ([right("a", ["2001:db8::/63"])], "IPv6 addresses, more than a /64"),
    ([right("a", ["2001:db8::/64"]), right("b", ["2001:db8:1::1/128"])], "IPv6 addresses, more than a /64"),
    ([right("lo", ["127.0.0.0/8"], wide="w")], "127.0.0.1, not logged in, could send"),
    ([right("lo", ["::1/128"])], "::1, not logged in, could send"),
    ([right("docker", ["172.17.0.0/24"])], "172.17.0.1, not logged in, could send"),
]


@pytest.mark.parametrize(("rights", "expected"), OPEN)
def test_a_right_that_opens_the_relay_is_a_counterexample(rights: Iterable[Right], expected: str) -> None:
    sentences = prove(snapshot(rights=rights), NOW)
    assert any(expected in sentence for sentence in sentences)


def test_the_same_address_in_two_rights_counts_once() -> None:
    assert prove(snapshot(rights=[right("a", ["10.1.0.0/24"]), right("b", ["10.1.0.128/25"])]), NOW) == []


def test_rights_of_different_listeners_are_not_added_up() -> None:
    snap = snapshot(rights=[right("a", ["10.1.0.0/24"]), right("b", ["10.2.0.0/24"], listeners=frozenset({"relay2"}))])
    listeners = {**snap.listeners, "relay2": Listener("relay2", Role.RELAY)}
    assert prove(replace(snap, listeners=listeners), NOW) == []


def test_the_real_decisions_are_what_is_proved() -> None:
    assert Decider(decide_connection, decide_sender, decide_recipient, decide_message, expand) == REAL


# The second opinion stands on its own.

PERMITTED = {
    "__future__",
    "collections.abc",
    "ipaddress",
    "typing",
    "postlatch.model.address",
    "postlatch.model.envelope",
    "postlatch.policy.snapshot",
}
CONFIGURED = {"Snapshot", "Right", "LocalDomain", "RelayDomain"}


def test_the_second_opinion_shares_no_code_with_the_rules() -> None:
    tree = parse(Path(expect.__file__))
    imported = {
        node.module: {alias.name for alias in node.names} for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert set(imported) <= PERMITTED
    assert imported["postlatch.policy.snapshot"] <= CONFIGURED
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_the_second_opinion_reads_configured_fields_only() -> None:
    tree = parse(Path(expect.__file__))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    made_for_the_rules = {"classify", "right", "rights_of", "first_domain", "sender_keys", "recipient_keys", "key"}
    assert not used & made_for_the_rules
    assert not {name for name in used if name.startswith("_")}


def large() -> Snapshot:
    """50 rights, 1,000 accounts, 20 domains."""
    domains = [
        local(f"d{n}.example.com", None if n % 3 == 0 else ("alice", "bob"), info="alice@d1.example.com") for n in range(15)
    ]
    return snapshot(
        locals_=domains,
        relayed_=[relayed(f"r{n}.example.net", None if n % 2 else ("carol",), LATER if n else BEFORE) for n in range(5)],
        rights=[
            right(f"r{n}", [f"10.{n + 100}.3.0/30"], [f"@d{n % 15}.example.com"] * (n % 2), suspended=n == 9) for n in range(50)
        ],
        accounts=[
            Account(f"u{n}", frozenset({f"u{n}@d{n % 15}.example.com", *(["@d3.example.com"] * (n % 10 == 0))}), n % 50 == 0)
            for n in range(1000)
        ],
    )


def test_a_large_policy_is_proved_within_a_moment() -> None:
    snap = large()
    started = time.process_time()
    assert prove(snap, NOW) == []
    assert time.process_time() - started < 2.0  # 0.5 s on an idle core; the rest is for a busy machine


def test_the_proof_grows_with_classes_of_accounts_and_not_with_accounts() -> None:
    many = [Account(f"u{n}@example.com", frozenset({f"u{n}@example.com"})) for n in range(20_000)]
    started = time.process_time()
    assert prove(snapshot(rights=[], accounts=[*ACCOUNTS, *many]), NOW) == []
    assert time.process_time() - started < 3.0


def test_a_right_for_the_address_of_the_example_is_no_opening() -> None:
    trusting = snapshot(rights=[right("scanners", ["198.51.100.0/24"], wide="a test")])
    assert not prove(trusting, NOW)
