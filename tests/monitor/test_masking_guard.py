"""The masking guard as a fold: what trips it within fifty sessions, and what does not in ten thousand."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest

from postlatch.model.envelope import IPAddress
from postlatch.model.sighting import Header, Sighting
from postlatch.monitor.masking import WINDOW, Finding, MaskingGuard, Place, Sign, Surroundings

NAT = ip_address("10.9.0.1")
BRIDGE = ip_address("172.18.0.1")
ROUTER = ip_address("192.168.7.1")
OFFICE = tuple(ip_address(f"10.1.0.{number}") for number in range(10, 60))
OFFICE_NETWORK = ip_network("10.1.0.0/24")
PUBLIC_ROUTER = ip_address("203.0.113.9")
LISTED_ROUTER = ip_address("10.2.0.1")
HERE = ip_address("10.9.0.25")

AROUND = Surroundings(
    bridges=frozenset({BRIDGE}),
    gateways=frozenset({ROUTER}),
    here=frozenset({HERE}),
    proxies=(ip_network("10.9.0.5/32"),),
    listed={"relay": frozenset({LISTED_ROUTER})},
    covering={"relay": (OFFICE_NETWORK, ip_network("10.2.0.1/32"), ip_network("192.168.7.0/24"))},
    ipv6=frozenset({"relay", "mx"}),
)


def feed(sightings: Iterable[Sighting], guard: MaskingGuard | None = None) -> tuple[Finding | None, int]:
    """The first finding, and after how many sessions."""
    guard = guard or MaskingGuard(AROUND)
    number = 0
    for number, sighting in enumerate(sightings, 1):
        if (finding := guard.see(sighting)) is not None:
            return finding, number
    return None, number


def behind(address: IPAddress, names: int, listener: str = "relay", sessions: int = 50) -> list[Sighting]:
    """So many sessions from one address, with so many names in turn."""
    return [Sighting(listener, address, f"pc{number % names}.example") for number in range(sessions)]


@pytest.mark.parametrize(
    ("address", "names", "place"),
    [
        (NAT, 8, Place.PRIVATE),
        (BRIDGE, 5, Place.BRIDGE),
        (ROUTER, 5, Place.GATEWAY),
        (ip_address("10.9.0.5"), 5, Place.PROXY),
        (ip_address("127.0.0.1"), 8, Place.HERE),
        (HERE, 8, Place.HERE),
        (ip_address("fd00::1"), 8, Place.PRIVATE),
        (LISTED_ROUTER, 50, Place.PRIVATE),
    ],
)
def test_one_address_with_everybodys_names_trips_within_fifty_sessions(address: IPAddress, names: int, place: Place) -> None:
    finding, after = feed(behind(address, names))
    assert finding is not None
    assert after <= 50
    assert (finding.address, finding.place, finding.sign) == (address, place, Sign.EVERYBODY)
    assert finding.everybody
    assert str(address) in finding.why
    fewer, _ = feed(behind(address, 4, sessions=10_000))
    assert fewer is None


def test_a_whole_internet_behind_a_nat_box_trips_on_mx_too() -> None:
    finding, after = feed(Sighting("mx", NAT, f"mail.stranger{number}.example") for number in range(50))
    assert finding is not None
    assert after <= 50


def test_accounts_tell_clients_apart_where_all_say_localhost() -> None:
    finding, after = feed(Sighting("relay", NAT, "localhost", f"user{number % 10}") for number in range(50))
    assert finding is not None
    assert after <= 50
    assert feed(Sighting("relay", NAT, "localhost") for _ in range(500))[0] is None


def test_a_bridge_is_a_mask_even_where_ipv4_clients_have_their_own_addresses() -> None:
    """IPv6 is published by a userland proxy, IPv4 by the kernel: half of the world looks right."""
    dice = random.Random(1)
    mixed = [
        Sighting("mx", BRIDGE if number % 2 else ip_address(dice.randrange(2**24, 2**31)), f"mail{number}.example")
        for number in range(50)
    ]
    finding, _ = feed(mixed)
    assert finding is not None
    assert finding.sign is Sign.IPV6
    assert finding.everybody
    assert "none over IPv6" in finding.why


def test_a_nat_box_beside_true_addresses_trips_only_for_rights_that_believe_it() -> None:
    inside, outside = ip_address("10.1.0.254"), ip_address("10.7.0.1")
    for hidden, trips in ((inside, True), (outside, False)):
        mixed = [
            sighting
            for number in range(200)
            for sighting in (
                Sighting("relay", hidden, f"stranger{number}.example"),
                Sighting("relay", OFFICE[number % 50], f"pc{number % 50}"),
            )
        ]
        finding, _ = feed(mixed)
        assert (finding is not None) == trips
        if finding is not None:
            assert finding.sign is Sign.MANY
            assert not finding.everybody


def office_day(sessions: int, seed: int) -> Iterable[Sighting]:
    """Fifty machines, a busy scanner, an application server, a branch behind a public router and one behind a listed router."""
    dice = random.Random(seed)
    for _ in range(sessions):
        kind = dice.random()
        if kind < 0.4:
            yield Sighting("relay", OFFICE[0], "scanner.office.example")
        elif kind < 0.6:
            number = dice.randrange(50)
            yield Sighting("relay", OFFICE[number], f"pc{number}.office.example")
        elif kind < 0.75:
            yield Sighting("relay", PUBLIC_ROUTER, f"branch{dice.randrange(30)}.example")
        elif kind < 0.9:
            yield Sighting("relay", LISTED_ROUTER, f"annex{dice.randrange(30)}.example")
        else:
            yield Sighting("relay", ip_address("127.0.0.1"), dice.choice(("localhost", "cron", "web", "monitor")))


@pytest.mark.parametrize("seed", range(2))
def test_ten_thousand_sessions_of_an_office_do_not_trip(seed: int) -> None:
    assert feed(office_day(10_000, seed)) == (None, 10_000)


@pytest.mark.parametrize(
    "sightings",
    [
        pytest.param([Sighting("relay", OFFICE[0], "app.example")] * 10_000, id="one application server"),
        pytest.param(behind(PUBLIC_ROUTER, 30, sessions=10_000), id="thirty machines behind a public router, alone"),
        pytest.param(behind(LISTED_ROUTER, 30, sessions=10_000), id="thirty machines behind a listed router, alone"),
        pytest.param(behind(ip_address("10.3.0.1"), 30, "submission", 10_000), id="thirty people behind a VPN's gateway"),
        pytest.param(
            [Sighting("mx", ip_address(2**25 + number * 7919), f"mx{number}.example") for number in range(10_000)],
            id="strangers from everywhere",
        ),
        pytest.param(
            [
                Sighting("submission", PUBLIC_ROUTER, f"[192.168.1.{number % 200}]", f"u{number % 90}")
                for number in range(10_000)
            ],
            id="ninety people at one public address",
        ),
    ],
)
def test_ten_thousand_ordinary_sessions_do_not_trip(sightings: list[Sighting]) -> None:
    assert feed(sightings) == (None, 10_000)


def test_one_machine_that_runs_wild_in_an_office_does_not_take_its_rights_from_the_others() -> None:
    """It may lose the right that covers it (it has the names of many); it is not taken for everybody."""
    guard = MaskingGuard(AROUND)
    assert feed(office_day(500, 1), guard)[0] is None
    finding, _ = feed(behind(ip_address("10.1.0.77"), 1000, sessions=1000), guard)
    assert finding is not None
    assert not finding.everybody


def test_true_addresses_from_a_listed_proxy_do_not_trip() -> None:
    """Whatever the header says is the client's; also where the few clients of a small site have many names."""
    for address in (NAT, ROUTER, HERE, ip_address("127.0.0.1"), ip_address("10.9.0.5")):
        sessions = [
            Sighting("relay", address, f"pc{number}", header=Header.TRUSTED, proxy="10.9.0.5") for number in range(1000)
        ]
        assert feed(sessions)[0] is None


def test_a_container_bridge_in_front_of_our_own_proxy_still_trips() -> None:
    sessions = [Sighting("mx", BRIDGE, f"mail{number}.example", header=Header.TRUSTED) for number in range(100)]
    assert feed(sessions)[0] is not None


def test_health_checks_of_the_proxy_are_no_sign() -> None:
    sessions = [Sighting("mx", NAT, f"probe{number}", header=Header.ANONYMOUS) for number in range(1000)]
    assert feed(sessions)[0] is None


@pytest.mark.parametrize(
    ("header", "sign"), [(Header.MISSING, Sign.HEADER_MISSING), (Header.UNEXPECTED, Sign.HEADER_UNEXPECTED)]
)
def test_a_proxy_that_does_not_agree_with_the_configuration_trips(header: Header, sign: Sign) -> None:
    finding, after = feed(Sighting("mx", NAT, header=header) for _ in range(50))
    assert finding is not None
    assert (finding.sign, after) == (sign, 10)
    assert finding.everybody


def test_strangers_cannot_take_rights_away_by_sending_proxy_headers() -> None:
    attack = [Sighting("relay", PUBLIC_ROUTER, header=Header.UNEXPECTED)] * 10_000
    assert feed(attack)[0] is None
    mixed = [s for number in range(1000) for s in (attack[0], Sighting("relay", OFFICE[number % 50], f"pc{number % 50}"))]
    assert feed(mixed)[0] is None
    one_insider = [Sighting("relay", OFFICE[3], header=Header.UNEXPECTED)] * 8
    assert feed([*office_day(100, 2), *one_insider])[0] is None


def test_a_mask_is_told_once_until_a_person_says_that_it_is_gone() -> None:
    guard = MaskingGuard(AROUND)
    assert feed(behind(NAT, 10), guard)[0] is not None
    assert feed(behind(NAT, 10, sessions=1000), guard)[0] is None
    guard.forget("relay")
    assert feed(behind(NAT, 10), guard)[0] is not None
    restarted = MaskingGuard(AROUND)
    restarted.know("relay", NAT)
    assert feed(behind(NAT, 10, sessions=1000), restarted)[0] is None


def test_memory_and_time_are_bounded_whatever_clients_say() -> None:
    guard = MaskingGuard(AROUND)
    dice = random.Random(7)
    began = time.perf_counter()
    for _ in range(20_000):
        guard.see(
            Sighting(
                dice.choice(("mx", "relay")),
                ip_address(dice.randrange(2**128)),
                dice.randbytes(40).hex(),
                dice.randbytes(8).hex(),
            )
        )
    assert (time.perf_counter() - began) / 20_000 < 0.001
    for table in guard._listeners.values():
        assert len(table.window) == WINDOW
        assert len(table.sessions) <= WINDOW
        assert len(table.helos) <= WINDOW
        assert len(table.last) <= 64
        assert sum(map(len, table.helos.values())) <= WINDOW
