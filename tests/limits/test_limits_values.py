"""Limits as people write them, clients as the network shows them, and the gauge."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.limits.clients import WIDE_FACTOR, client_charges, client_prefix, client_prefixes
from postlatch.limits.gauge import Gauge
from postlatch.limits.limit import MAX_AMOUNT, Limit, parse_limit
from postlatch.limits.limiter import Charge


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("10/second", Limit(10, 1, "10/second")),
        ("30/minute", Limit(30, 60, "30/minute")),
        ("300/hour", Limit(300, 3600, "300/hour")),
        ("1/day", Limit(1, 86400, "1/day")),
        ("0200/day", Limit(200, 86400, "200/day")),
        (f"{MAX_AMOUNT}/day", Limit(MAX_AMOUNT, 86400, f"{MAX_AMOUNT}/day")),
    ],
)
def test_a_limit_is_a_number_and_a_unit(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "like 30/minute"),
        ("30", "like 30/minute"),
        ("30/", "like 30/minute"),
        ("30/minutes", "like 30/minute"),
        ("30/Minute", "like 30/minute"),
        ("30 /minute", "like 30/minute"),
        ("30/minute\n", "like 30/minute"),
        ("-1/day", "like 30/minute"),
        ("+1/day", "like 30/minute"),
        ("1.5/day", "like 30/minute"),
        ("1_000/day", "like 30/minute"),
        ("٣/day", "like 30/minute"),
        ("30/week", "like 30/minute"),
        ("9" * 5000 + "/day", "like 30/minute"),
        ("0/day", "starts at 1"),
        ("1000000001/day", "leave the limit out"),
    ],
)
def test_anything_else_is_an_error_that_says_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_limit(text)


@given(st.text())
def test_any_text_is_a_limit_or_a_value_error(text: str) -> None:
    try:
        limit = parse_limit(text)
    except ValueError:
        return
    assert parse_limit(limit.text) == limit


@pytest.mark.parametrize(
    ("address", "own", "wide"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
        ("255.255.255.255", "255.255.255.255", "255.255.255.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::1", "::/64", "::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_64_within_a_wider_circle(address: str, own: str, wide: str) -> None:
    assert client_prefix(ip_address(address)) == own
    assert client_prefixes(ip_address(address)) == ((own, 1), (wide, WIDE_FACTOR))


def test_the_wider_circle_has_the_same_limits_with_a_larger_amount() -> None:
    limits = (parse_limit("10/minute"), parse_limit("50/day"))
    own, wide = client_charges(ip_address("192.0.2.7"), "auth_failures", limits)
    assert own == Charge("client", "192.0.2.7", "auth_failures", limits, 1)
    assert wide.key == "192.0.2.0/24"
    assert wide.limits == (Limit(30, 60, "30/minute"), Limit(150, 86400, "150/day"))
    # The limiter compares limits by identity on its fast path.
    assert client_charges(ip_address("192.0.2.8"), "auth_failures", limits)[1].limits is wide.limits


def test_a_gauge_holds_no_more_than_its_limit_and_forgets_empty_keys() -> None:
    gauge = Gauge()
    assert [gauge.acquire("192.0.2.7", 2) for _ in range(3)] == [True, True, False]
    assert gauge.acquire("192.0.2.8", 2)
    gauge.release("192.0.2.7")
    assert gauge.held("192.0.2.7") == 1
    assert gauge.acquire("192.0.2.7", 2)
    for _ in range(2):
        gauge.release("192.0.2.7")
    gauge.release("192.0.2.8")
    assert len(gauge) == 0


def test_a_gauge_of_nothing_lets_nothing_in() -> None:
    assert not Gauge().acquire("192.0.2.7", 0)


def test_releasing_more_than_was_acquired_is_an_error_of_the_caller() -> None:
    with pytest.raises(LookupError):
        Gauge().release("192.0.2.7")
