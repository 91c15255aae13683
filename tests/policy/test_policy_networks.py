"""Looking up and measuring networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.model.envelope import IPAddress
from postlatch.policy.networks import IPNetwork, NetworkTable, is_private, normalise, overlaps, union, unmapped


@pytest.mark.parametrize(
    ("given_", "normal"),
    [
        ("::ffff:10.0.3.0/124", "10.0.3.0/28"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_an_ipv4_mapped_network_is_the_ipv4_network(given_: str, normal: str) -> None:
    assert normalise(ip_network(given_, strict=False)) == ip_network(normal)


def test_only_the_mapped_form_of_an_address_is_unmapped() -> None:
    assert unmapped(ip_address("::ffff:192.0.2.1")) == ip_address("192.0.2.1")
    for other in ("192.0.2.1", "::192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1", "::1"):
        assert unmapped(ip_address(other)) == ip_address(other)


networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
        lambda t: ip_network((t[0] >> (32 - t[1]) << (32 - t[1]), t[1]))
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
        lambda t: ip_network((t[0] >> (128 - t[1]) << (128 - t[1]), t[1]))
    ),
)
addresses = st.one_of(st.ip_addresses(), st.ip_addresses(v=4).map(lambda a: ip_address(f"::ffff:{a}")))


@given(st.lists(networks, max_size=8), addresses)
@settings(deadline=None)
def test_the_table_finds_what_a_scan_finds_in_the_same_order(given_: list[IPNetwork], address: IPAddress) -> None:
    table = NetworkTable((network, position) for position, network in enumerate(given_))
    plain = unmapped(address)
    assert table.find(address) == [i for i, network in enumerate(given_) if plain in normalise(network)]


def test_a_union_counts_each_address_once() -> None:
    covered = union(map(ip_network, ("10.0.0.0/25", "10.0.0.0/24", "10.0.0.128/25", "::ffff:10.0.0.0/120", "2001:db8::/64")))
    assert covered.v4_addresses == 256
    assert covered.v6_addresses == 2**64


def test_private_means_that_the_internet_does_not_reach_it() -> None:
    for private in ("10.0.0.0/8", "192.168.1.0/24", "172.31.0.0/16", "127.0.0.1/32", "fd00::/8", "fe80::/64", "::1/128"):
        assert is_private(ip_network(private))
    for public in ("8.8.8.0/24", "192.0.2.0/24", "100.64.0.0/10", "10.0.0.0/7", "2001:db8::/32", "0.0.0.0/0", "::/0"):
        assert not is_private(ip_network(public))


def test_networks_overlap_within_one_family_only() -> None:
    assert overlaps(ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16"))
    assert overlaps(ip_network("2001::/16"), ip_network("2001:db8::/32"))
    assert not overlaps(ip_network("0.0.0.0/0"), ip_network("::/0"))
