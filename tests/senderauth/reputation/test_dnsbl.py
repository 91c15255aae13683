"""Lists in the DNS: what is a listing, and what only looks like one. RFC 5782."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.reputation import dnsbl
from postlatch.senderauth.reputation.dnsbl import DnsList, ListAnswer, Said
from postlatch.testing.dns import FakeResolver

LIST = DnsList("bl.example", 5)
ENTRY = "7.100.51.198.bl.example"


def asked(zone: dict[str, Any], one: DnsList = LIST, client: str = "198.51.100.7") -> ListAnswer:
    return asyncio.run(dnsbl.ask_address(FakeResolver(zone), one, ip_address(client)))


def test_an_ipv4_address_is_asked_for_by_its_octets_in_reverse() -> None:
    assert asked({ENTRY: {"A": ["127.0.0.2"]}}) == ListAnswer(Said.LISTED, "198.51.100.7", ("127.0.0.2",))


def test_an_ipv6_address_is_asked_for_by_its_nibbles_as_in_rfc_5782_section_2_4() -> None:
    nibbles = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.bl.example"
    assert asked({nibbles: {"A": ["127.0.0.2"]}}, client="4321:0:1:2:3:4:567:89ab").said is Said.LISTED


@pytest.mark.parametrize("zone", [{}, {ENTRY: {"TXT": ["no address"]}}])
def test_no_name_and_no_address_are_no_listing(zone: dict[str, Any]) -> None:
    assert asked(zone).said is Said.UNLISTED


@pytest.mark.parametrize(
    "answer", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "192.0.2.1", "10.0.0.1", "0.0.0.0", "127.0.0.1"]
)
def test_what_a_list_says_of_itself_or_what_is_no_answer_of_one_is_an_error_and_no_listing(answer: str) -> None:
    found = asked({ENTRY: {"A": ["127.0.0.2", answer]}})
    assert found.said is Said.ERROR
    assert answer in found.why


def test_a_doubtful_code_counts_where_the_configuration_names_it() -> None:
    one = DnsList("bl.example", 5, codes=(ip_network("127.0.0.1/32"),))
    assert asked({ENTRY: {"A": ["127.0.0.1"]}}, one).said is Said.LISTED
    assert asked({ENTRY: {"A": ["127.0.0.1"]}}, DnsList("bl.example", 5, codes=(ip_network("127.0.0.0/8"),))).said is Said.ERROR


def test_only_the_codes_that_are_asked_for_count() -> None:
    one = DnsList("bl.example", 5, codes=(ip_network("127.0.0.4/30"),))
    assert asked({ENTRY: {"A": ["127.0.0.2"]}}, one).said is Said.UNLISTED
    assert asked({ENTRY: {"A": ["127.0.0.2", "127.0.0.7"]}}, one).said is Said.LISTED


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_a_list_that_does_not_answer_has_said_nothing(failure: str) -> None:
    assert asked({ENTRY: {"A": failure}}).said is Said.UNKNOWN


def test_the_text_of_a_list_is_printable_and_short_and_decides_nothing() -> None:
    found = asked({ENTRY: {"A": ["127.0.0.2"], "TXT": ["spam\r\n250 OK \x1b[31m" + "x" * 5000]}})
    assert found.text.isascii()
    assert found.text.isprintable()
    assert len(found.text) <= dnsbl.MAX_TEXT
    assert asked({ENTRY: {"A": ["127.0.0.2"], "TXT": "SERVFAIL"}}).said is Said.LISTED


def test_a_domain_is_asked_for_as_it_is_and_a_long_one_not_at_all() -> None:
    one = DnsList("dbl.example", 5, domains=True)
    resolver = FakeResolver({"evil.example.dbl.example": {"A": ["127.0.1.2"]}})
    assert asyncio.run(dnsbl.ask_domain(resolver, one, "evil.example")).said is Said.LISTED
    asked_for = len(resolver.queries)
    assert asyncio.run(dnsbl.ask_domain(resolver, one, ".".join(["a" * 60] * 5))).said is Said.UNLISTED
    assert len(resolver.queries) == asked_for


GOOD = {"2.0.0.127.bl.example": {"A": ["127.0.0.2"]}}


@pytest.mark.parametrize(
    ("zone", "usable"),
    [
        (GOOD, True),
        ({}, False),  # it is gone
        ({**GOOD, "1.0.0.127.bl.example": {"A": ["127.0.0.2"]}}, False),  # it lists everybody
        ({**GOOD, "1.0.0.127.bl.example": {"A": ["192.0.2.80"]}}, False),  # the domain was sold
        ({"2.0.0.127.bl.example": {"A": ["127.255.255.254"]}}, False),
        ({"2.0.0.127.bl.example": {"A": "SERVFAIL"}}, None),
        ({**GOOD, "1.0.0.127.bl.example": {"A": "TIMEOUT"}}, None),
        ({**GOOD, f"{'1.0.0.0.0.0.f.7' + '.f' * 4 + '.0' * 20}.bl.example": {"A": ["127.0.0.2"]}}, False),  # every IPv6
    ],
)
def test_the_test_points_of_rfc_5782_section_5_say_whether_a_list_can_be_used(
    zone: dict[str, Any], usable: bool | None
) -> None:
    assert asyncio.run(dnsbl.examine(FakeResolver(zone), LIST)).usable is usable


@pytest.mark.parametrize(
    ("zone", "usable"),
    [
        ({"test.dbl.example": {"A": ["127.0.1.2"]}}, True),
        ({"invalid.dbl.example": {"A": ["127.0.1.2"]}, "test.dbl.example": {"A": ["127.0.1.2"]}}, False),
        ({}, False),
    ],
)
def test_a_list_of_domains_has_test_points_of_its_own(zone: dict[str, Any], usable: bool) -> None:
    assert asyncio.run(dnsbl.examine(FakeResolver(zone), DnsList("dbl.example", 5, domains=True))).usable is usable


@given(st.lists(st.ip_addresses(v=4), max_size=20))
def test_whatever_is_answered_only_addresses_of_127_that_are_no_errors_are_a_listing(found: list[IPv4Address]) -> None:
    said = dnsbl.judge(LIST, found, "x").said
    errors = [a for a in found[:16] if not str(a).startswith("127.") or str(a).startswith("127.255.255.")]
    if said is Said.LISTED:
        assert found
        assert not errors
    if errors:
        assert said is Said.ERROR
