from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.guard import OwnAddresses, is_public, permitted
from postlatch.model.envelope import IPAddress

NOBODY = OwnAddresses()
OWN = OwnAddresses(
    hosts=frozenset({ip_address("93.184.216.34"), ip_address("2606:2800::1"), ip_address("10.0.0.9")}),
    listeners=frozenset({(ip_address("0.0.0.0"), 25), (ip_address("127.0.0.1"), 2525), (ip_address("10.0.3.1"), 2526)}),
)

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:c0a8:101::5",
    "2001::1",
    "2001:0:a00:1::",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "100::1",
]

OUTSIDE = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::",
    "2600::1",
    "2606:4700::1111",
    "2a00:1450:4001::1b",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("text", INSIDE)
def test_an_address_inside_is_never_a_strangers_mail_host(text: str) -> None:
    assert not is_public(ip_address(text))
    assert not permitted(ip_address(text), 25, explicit=False, own=NOBODY)


@pytest.mark.parametrize("text", OUTSIDE)
def test_an_address_of_the_internet_is_permitted(text: str) -> None:
    assert permitted(ip_address(text), 25, explicit=False, own=NOBODY)


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "169.254.1.1", "::ffff:10.0.0.1"])
def test_a_route_may_name_a_private_address(text: str) -> None:
    assert permitted(ip_address(text), 24, explicit=True, own=NOBODY)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"])
def test_not_even_a_route_may_name_what_is_no_host(text: str) -> None:
    assert not permitted(ip_address(text), 25, explicit=True, own=NOBODY)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("127.0.0.1", 2525),
        ("::ffff:127.0.0.1", 2525),
        ("10.0.3.1", 2526),
        ("127.0.0.1", 25),  # the wildcard listener
        ("127.8.8.8", 25),
        ("93.184.216.34", 25),
        ("10.0.0.9", 25),
    ],
)
def test_our_own_listeners_are_refused_even_to_a_route(text: str, port: int) -> None:
    assert not permitted(ip_address(text), port, explicit=True, own=OWN)


@pytest.mark.parametrize(("text", "port"), [("127.0.0.1", 24), ("93.184.216.34", 10025), ("10.0.3.2", 2526), ("10.0.0.10", 25)])
def test_a_route_may_name_another_service_of_this_machine(text: str, port: int) -> None:
    assert permitted(ip_address(text), port, explicit=True, own=OWN)


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800::1", "::ffff:93.184.216.34"])
def test_a_public_address_of_this_machine_is_no_strangers_mail_host(text: str) -> None:
    assert not permitted(ip_address(text), 2599, explicit=False, own=OWN)


@given(st.ip_addresses())
def test_what_is_permitted_to_a_stranger_is_permitted_to_a_route(address: IPAddress) -> None:
    if permitted(address, 25, explicit=False, own=OWN):
        assert permitted(address, 25, explicit=True, own=OWN)


@given(st.ip_addresses(v=4))
def test_an_embedding_never_makes_an_address_public(address: IPAddress) -> None:
    number = int(address)
    for embedded in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert is_public(ip_address(embedded.to_bytes(16, "big"))) == is_public(address)
