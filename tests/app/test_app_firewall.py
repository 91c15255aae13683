"""The firewall helper: what it believes, what it tells nft, and what the kernel then holds."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.app.answer import Answer
from postlatch.app.firewall import Follower, Nft, NftError
from postlatch.app.firewall_nft import BadAnswer, Bans, Wanted, change, fill, install, ports_of, read_bans, wanted
from postlatch.monitor.circles import IPNetwork
from postlatch.testing.peers.network import Network, NetworkUnavailable

NOW = 1_000_000.0
INJECTIONS = [
    "10.0.0.0/8 } ; flush ruleset ; #",
    "10.0.0.1; reboot",
    "$(reboot)",
    "fe80::1%eth0",
    "10.0.0.1\n10.0.0.2",
    "0.0.0.0/0",
    "10.0.0.0/7",
    "::/0",
    "",
    "localhost",
]


def networks(*texts: str) -> frozenset[IPNetwork]:
    return frozenset(ip_network(text) for text in texts)


def bans(**ends: float) -> Bans:
    return {ip_network(text.replace("_", ".")): end for text, end in ends.items()}


@pytest.mark.parametrize("text", INJECTIONS)
def test_what_is_no_plain_network_is_never_passed_on(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_bans({text: 0})


@pytest.mark.parametrize("end", ["0", None, True, -1, 1e300, float("nan"), [0]])
def test_an_end_that_is_no_time_is_refused(end: object) -> None:
    with pytest.raises(BadAnswer):
        read_bans({"192.0.2.1": end})


def test_networks_inside_others_are_left_out_and_come_when_the_outer_one_has_lapsed() -> None:
    given_bans = {ip_network("10.1.0.0/16"): NOW + 60, ip_network("10.1.2.3"): 0.0, ip_network("10.2.0.1"): NOW + 5}
    assert wanted(given_bans, (), NOW).bans == {ip_network("10.1.0.0/16"): NOW + 60, ip_network("10.2.0.1"): NOW + 5}
    assert wanted(given_bans, (), NOW + 100).bans == {ip_network("10.1.2.3"): 0.0}


@given(
    st.dictionaries(st.tuples(st.integers(0, 15), st.integers(28, 32)), st.sampled_from([0.0, NOW + 10, NOW + 99]), max_size=12)
)
def test_what_is_wanted_covers_what_is_banned_and_never_overlaps(drawn: dict[tuple[int, int], float]) -> None:
    given_bans = {ip_network((0x0A000000 + low, length), strict=False): end for (low, length), end in drawn.items()}
    found = list(wanted(given_bans, (), NOW).bans)
    assert not any(one.overlaps(other) for one in found for other in found if one is not other)
    assert all(any(network.network_address in outer for outer in found) for network in given_bans)


def test_a_change_names_only_what_has_changed() -> None:
    old = Wanted(
        {ip_network("10.0.0.1"): NOW + 60, ip_network("10.0.0.2"): 0.0, ip_network("10.0.0.3"): NOW + 1}, networks("10.9.9.9")
    )
    new = Wanted({ip_network("10.0.0.1"): NOW + 600, ip_network("10.0.0.2"): 0.0, ip_network("2001:db8::/64"): 0.0}, networks())
    assert change(old, new, NOW).splitlines() == [
        "delete element inet postlatch allowed4 { 10.9.9.9/32 }",
        "delete element inet postlatch clients4 { 10.0.0.1 }",
        "add element inet postlatch clients4 { 10.0.0.1 timeout 600s }",
        "add element inet postlatch clients6 { 2001:db8:: }",
    ]
    assert change(new, new, NOW) == ""


def test_ports_are_those_of_the_listeners() -> None:
    assert ports_of(["0.0.0.0:25", "[::]:25", "127.0.0.1:587", "127.0.0.1:0"]) == [25, 587]


# Against the kernel


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None:
        pytest.skip("needs nft")
    try:
        with Network() as found:
            yield found
    except NetworkUnavailable as error:
        pytest.skip(str(error))


class Relay:
    """What the relay would answer."""

    def __init__(self) -> None:
        self.run, self.version = "1", 1
        self.ends: dict[str, float] = {}
        self.allowed: list[str] = ["127.0.0.0/8", "::1/128"]
        self.asked: list[dict[str, Any]] = []

    def __call__(self, asked: dict[str, Any]) -> Answer:
        self.asked.append(asked)
        whole = asked["run"] != self.run or asked["version"] != self.version
        data = {"run": self.run, "version": self.version, "whole": whole, "bans": self.ends if whole else {}, "lifted": []}
        return Answer(0, {**data, "allowed": self.allowed}, "")


def held(nft: Nft, *names: str) -> set[str]:
    found: set[str] = set()
    listed = [entry for name in names for entry in nft.listing("set", "inet", "postlatch", name)["nftables"]]
    for entry in listed:
        for element in entry.get("set", {}).get("elem", ()):
            value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
            prefix = value.get("prefix") if isinstance(value, dict) else None
            found.add(f"{prefix['addr']}/{prefix['len']}" if prefix else str(value))
    return found


def test_the_kernel_holds_what_the_relay_says_through_every_change(network: Network) -> None:
    with network.inside():
        nft, relay = Nft(), Relay()
        relay.ends = {"10.1.0.0/16": 0, "10.1.2.3/32": NOW + 900, "2001:db8::/64": NOW + 50, "192.0.2.7/32": NOW + 90}
        follower = Follower(relay, nft, [25, 587])
        follower.begin()
        follower.step(NOW)
        assert held(nft, "clients4", "banned4") == {"10.1.0.0/16", "192.0.2.7"}
        assert held(nft, "clients6", "banned6") == {"2001:db8::"}
        assert held(nft, "allowed4") == {"127.0.0.0/8"}
        # The outer ban is lifted, another one is prolonged: the inner one takes its turn.
        relay.version, relay.ends = 2, {"10.1.2.3/32": NOW + 900, "192.0.2.7/32": 0}
        relay.allowed = ["192.0.2.0/24", "192.0.2.9/32"]
        follower.step(NOW + 1)
        assert held(nft, "clients4", "banned4") == {"10.1.2.3", "192.0.2.7"}
        assert held(nft, "clients6", "banned6") == set()
        assert held(nft, "allowed4") == {"192.0.2.0/24"}
        # Somebody flushes everything: within half a minute it is back.
        nft.apply("flush ruleset\n")
        follower.step(NOW + 40)
        assert held(nft, "clients4", "banned4") == {"10.1.2.3", "192.0.2.7"}
        # Another run of the relay: everything anew.
        relay.run, relay.ends = "2", {"203.0.113.0/24": 0}
        follower.step(NOW + 41)
        assert held(nft, "clients4", "banned4") == {"203.0.113.0/24"}
        follower.end()
        with pytest.raises(NftError):
            nft.listing("table", "inet", "postlatch")


def test_an_element_that_somebody_else_removed_does_not_stop_the_helper(network: Network) -> None:
    with network.inside():
        nft, relay = Nft(), Relay()
        relay.ends = {"10.0.0.1/32": 0, "10.0.0.2/32": 0}
        follower = Follower(relay, nft, [25])
        follower.begin()
        follower.step(NOW)
        nft.apply("delete element inet postlatch clients4 { 10.0.0.1 }\n")
        relay.version, relay.ends = 2, {"10.0.0.2/32": 0, "10.0.0.3/32": 0}
        follower.step(NOW + 1)
        assert held(nft, "clients4", "banned4") == {"10.0.0.2", "10.0.0.3"}
        follower.end()


def test_an_answer_that_is_a_lie_changes_nothing(network: Network) -> None:
    with network.inside():
        nft, relay = Nft(), Relay()
        relay.ends = {"10.0.0.1/32": 0}
        follower = Follower(relay, nft, [25])
        follower.begin()
        follower.step(NOW)
        for lie in INJECTIONS:
            relay.version += 1
            relay.ends = {lie: 0, "10.0.0.9/32": 0}
            with pytest.raises(BadAnswer):
                follower.step(NOW + 1)
        assert held(nft, "clients4", "banned4") == {"10.0.0.1"}
        follower.end()


def test_banned_packets_are_dropped_and_counted_but_not_of_those_let_through(network: Network) -> None:
    with network.inside():
        nft = Nft()
        # Loopback is let through always; here it plays the outside.
        nft.apply(install([2525]).replace('    iif "lo" return\n', ""))
        nft.apply(fill(Wanted({ip_network("127.0.0.0/8"): 0.0}, networks("127.0.0.3")), NOW))
        with socket.create_server(("127.0.0.1", 2525)):
            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.1", 2525), timeout=0.1, source_address=("127.0.0.2", 0))
            socket.create_connection(("127.0.0.1", 2525), timeout=5, source_address=("127.0.0.3", 0)).close()
        counters = nft.listing("counters", "table", "inet", "postlatch")["nftables"]
        assert any(entry["counter"]["packets"] >= 1 for entry in counters if "counter" in entry)
        nft.apply("delete table inet postlatch\n")
