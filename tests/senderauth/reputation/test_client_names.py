"""The names of a client: those that its address claims, and the one that it says."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.reputation.names import Names, Ourselves, judge_helo, looks_dynamic, names_of
from postlatch.senderauth.reputation.score import Weights, add_up, find_client, is_public
from postlatch.testing.dns import FakeResolver

CLIENT = ip_address("198.51.100.7")
CLIENT6 = ip_address("2001:db8::7")
PTR = "7.100.51.198.in-addr.arpa"
OURS = Ourselves(frozenset({"mx.example.com", "example.com"}), frozenset({ip_address("192.0.2.25")}))


def names(zone: dict[str, Any], client: Any = CLIENT) -> Names:
    return asyncio.run(names_of(FakeResolver(zone), client))


def test_a_name_that_leads_back_is_confirmed() -> None:
    zone = {PTR: {"PTR": ["mail.a.example."]}, "mail.a.example": {"A": ["192.0.2.9", "198.51.100.7"]}}
    assert names(zone) == Names(("mail.a.example",), ("mail.a.example",))
    six = {CLIENT6.reverse_pointer: {"PTR": ["six.a.example"]}, "six.a.example": {"AAAA": ["2001:db8::7"], "A": "SERVFAIL"}}
    assert names(six, CLIENT6).confirmed == ("six.a.example",)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ({}, Names()),
        ({PTR: {"PTR": "SERVFAIL"}}, Names(known=False)),
        ({PTR: {"PTR": ["a.example"]}, "a.example": {"A": ["192.0.2.1"]}}, Names(("a.example",))),
        ({PTR: {"PTR": ["a.example"]}, "a.example": {"A": "TIMEOUT"}}, Names(("a.example",), known=False)),
        ({PTR: {"PTR": ["a.example"]}}, Names(("a.example",))),
    ],
)
def test_a_dns_that_does_not_answer_is_no_missing_name(zone: dict[str, Any], expected: Names) -> None:
    assert names(zone) == expected


def test_of_a_thousand_names_ten_are_followed_and_hostile_ones_are_shown_escaped() -> None:
    resolver = FakeResolver({PTR: {"PTR": [f"n{number}.example" for number in range(1000)]}})
    asyncio.run(names_of(resolver, CLIENT))
    assert len(resolver.queries) == 11
    assert names({PTR: {"PTR": ["a\r\nb\x1b.example", "ok.example"]}}).claimed == ("ok.example",)


@pytest.mark.parametrize(
    "name",
    ["dsl-198-51-100-7.isp.example", "7.100.51.198.dyn.isp.example", "host7-100.pool.isp.example", "198-051-100-007.x.example"],
)
def test_names_of_dial_in_ranges_look_so(name: str) -> None:
    assert looks_dynamic(name, CLIENT)


@pytest.mark.parametrize("name", ["mail.a.example", "mx7.a.example", "static-198-51-100-7.isp.example", "dsl.a.example"])
def test_names_of_mail_servers_do_not(name: str) -> None:
    assert not looks_dynamic(name, CLIENT)


def test_an_ipv6_name_that_holds_the_whole_interface_part_looks_dynamic() -> None:
    client = ip_address("2001:db8::1234:5678:9abc:def0")
    assert looks_dynamic("2001-db8-0-0-1234-5678-9abc-def0.isp.example", client)
    assert not looks_dynamic("smtp-out.isp.example", client)


@pytest.mark.parametrize(
    ("helo", "sign"),
    [
        ("localhost", "helo_bare"),
        ("", "helo_bare"),
        ("198.51.100.7", "helo_literal"),
        ("[192.0.2.1]", "helo_literal"),
        ("[nonsense]", "helo_literal"),
        ("[", "helo_literal"),
        ("[192.0.2.25]", "helo_own"),
        ("MX.Example.COM", "helo_own"),
        ("example.com.", "helo_own"),
        ("gone.example", "helo_unknown"),
        ("empty.example", "helo_unknown"),
        ("a..b", "helo_unknown"),
        ("mail.example", None),
        ("elsewhere.example", None),  # RFC 5321 section 4.1.4: no matter where it leads
        ("broken.example", None),
        ("[198.51.100.7]", None),
        ("[IPv6:::ffff:198.51.100.7]", None),
    ],
)
def test_what_a_client_says_in_ehlo(helo: str, sign: str | None) -> None:
    zone: dict[str, dict[str, Any]] = {
        "mail.example": {"A": ["198.51.100.7"]},
        "elsewhere.example": {"A": ["192.0.2.99"]},
        "empty.example": {"TXT": ["x"]},
        "broken.example": {"A": "SERVFAIL", "AAAA": "SERVFAIL"},
    }
    found = asyncio.run(judge_helo(FakeResolver(zone), helo, CLIENT, OURS))
    assert (found[0] if found else None) == sign


@given(st.text(max_size=300))
def test_any_word_in_ehlo_is_judged_without_an_exception(helo: str) -> None:
    found = asyncio.run(judge_helo(FakeResolver({}), helo, CLIENT, OURS))
    assert found is None or found[1].isascii()


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.20.0.1", "100.64.0.1", "fd00::1", "fe80::1", "::1"]
)
def test_private_addresses_are_nobodys_business(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["198.51.100.7", "8.8.8.8", "172.32.0.1", "2001:db8::1"])
def test_public_ones_are(text: str) -> None:
    assert is_public(ip_address(text))


def test_a_sign_that_weighs_nothing_is_not_asked_for() -> None:
    resolver = FakeResolver({})
    found = asyncio.run(find_client(resolver, Weights(), CLIENT, (), 1.0))
    assert resolver.queries == []
    assert add_up(Weights(), CLIENT, found, None).total == 0
