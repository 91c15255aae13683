"""Who guesses is found out, whatever the pattern; who mistypes is not (RELIABILITY case 28)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.limits.limit import Limit
from postlatch.model.envelope import IPAddress
from postlatch.monitor.attempts import Attempts, Finding
from postlatch.monitor.circles import IPNetwork, circles, client_network, wide_network
from postlatch.monitor.spray import Spray
from postlatch.monitor.tallies import Tallies
from postlatch.monitor.thresholds import Thresholds

RULES = Thresholds()
HOME = IPv4Address("198.51.100.7")
DAY = 86_400


def digest(text: str) -> bytes:
    return text.encode()


def guess(
    watch: Attempts, address: IPAddress, tries: int, *, now: float = 0.0, step: float = 1.0, login: str = "alice"
) -> list[Finding]:
    """That many different passwords, one every ``step`` seconds; what was found out."""
    found = []
    for number in range(tries):
        found += watch.failed(login, address, digest(f"{address}{number}{now}"), now + number * step)
    return found


def test_the_tenth_different_password_in_a_minute_gives_a_client_away() -> None:
    watch = Attempts(RULES)
    assert guess(watch, HOME, 9) == []
    [finding] = watch.failed("alice", HOME, b"the tenth", 9.0)
    assert finding == Finding("passwords", (ip_network("198.51.100.7/32"),), "different failed logins: 10/minute")


def test_fifty_in_a_day_give_a_slow_client_away() -> None:
    watch = Attempts(RULES)
    assert guess(watch, HOME, 49, step=1000.0) == []
    assert watch.failed("alice", HOME, b"x", 49_000.0)[0].why == "different failed logins: 50/day"


def test_a_device_that_repeats_an_old_password_for_days_is_not_found_out() -> None:
    watch = Attempts(RULES)
    assert [finding for n in range(5000) for finding in watch.failed("alice", HOME, b"old", n * 60.0)] == []


def test_who_goes_on_where_a_whole_network_is_refused_is_found_out_alone() -> None:
    watch = Attempts(RULES)
    found = [finding for n in range(10) for finding in watch.pressed(HOME, float(n))]
    assert [finding.networks for finding in found] == [(ip_network("198.51.100.7/32"),)]
    assert [finding for n in range(40) for finding in watch.pressed(IPv4Address("198.51.100.0") + n, 20.0)] == []


def test_failures_whose_password_was_never_seen_count_each() -> None:
    watch = Attempts(RULES)
    found = [finding for n in range(10) for finding in watch.failed("alice", HOME, None, float(n))]
    assert [finding.kind for finding in found] == ["passwords"]


def test_rotation_within_a_64_is_one_client() -> None:
    watch = Attempts(RULES)
    found = []
    for number in range(10):
        address = IPv6Address(int(IPv6Address("2001:db8::")) + number * 7919)
        found += watch.failed("alice", address, digest(str(number)), float(number))
    assert [finding.networks for finding in found] == [(ip_network("2001:db8::/64"),)]


def test_rotation_over_64s_gives_the_48_away() -> None:
    watch = Attempts(RULES)
    found = []
    for number in range(30):
        address = IPv6Address(int(IPv6Address("2001:db8::")) + (number << 64))
        found += watch.failed("alice", address, digest(str(number)), float(number))
    assert [finding.networks for finding in found] == [(ip_network("2001:db8::/48"),)]


def test_rotation_in_a_24_gives_it_away_and_names_those_who_took_part() -> None:
    watch = Attempts(RULES)
    found = []
    for number in range(30):
        address = IPv4Address("203.0.113.0") + number % 8
        found += watch.failed("alice", address, digest(str(number)), float(number))
    [finding] = found
    assert finding.networks == (ip_network("203.0.113.0/24"),)
    assert len(finding.instead) == 8


def test_one_client_at_ten_accounts_is_found_out_whatever_the_passwords() -> None:
    watch = Attempts(RULES)
    found = [f for n in range(10) for f in watch.failed(f"user{n}", HOME, b"one" if n % 2 else b"two", n * 300.0)]
    assert [finding.kind for finding in found] == ["accounts"]


def test_one_password_at_ten_accounts_from_ten_places_finds_all_of_them_out_and_the_next_at_once() -> None:
    watch = Attempts(RULES)
    found = []
    for number in range(10):
        found += watch.failed(f"user{number}", ip_address(f"10.{number}.0.1"), b"Winter2026!", number * 3600.0)
    [finding] = found
    assert finding.kind == "spray"
    assert {str(network) for network in finding.networks} == {f"10.{number}.0.1/32" for number in range(10)}
    [again] = watch.failed("somebody", ip_address("10.99.0.1"), b"Winter2026!", 40_000.0)
    assert again.networks == (ip_network("10.99.0.1/32"),)


def test_a_few_passwords_at_many_accounts_are_a_spray_even_if_none_is_tried_at_ten() -> None:
    watch = Attempts(RULES)
    found = []
    for number in range(6 * 6):
        address = ip_address(f"10.{number}.0.1")
        found += watch.failed(f"user{number % 6}", address, digest(str(number // 6)), number * 1000.0)
    assert {finding.kind for finding in found} == {"spray"}
    assert len({network for finding in found for network in finding.networks}) >= 24


def test_a_sprayed_password_is_forgotten_after_a_quiet_day() -> None:
    spray = Spray(3)
    for number in range(3):
        spray.add(b"p", str(number), client_network(ip_address(f"10.0.0.{number}")), 0.0)
    assert spray.add(b"p", "x", client_network(HOME), 100.0)
    assert not spray.add(b"p", "x", client_network(HOME), 100.0 + 86_400.0)


def test_each_further_failure_of_an_account_abroad_doubles_the_wait_and_an_hour_forgets() -> None:
    watch = Attempts(RULES)
    waits = []
    for number in range(9):
        watch.failed_abroad("alice", digest(str(number)), float(number))
        waits.append(watch.doublings("alice", float(number)))
    assert waits == [0, 0, 0, 0, 0, 1, 2, 3, 4]
    assert watch.doublings("bob", 9.0) == 0
    assert watch.doublings("alice", 4000.0) == 0


def test_the_wait_does_not_depend_on_whether_there_is_such_an_account() -> None:
    # The fold knows names only: nothing in it could tell one from the other (RELIABILITY case 27).
    watch = Attempts(RULES)
    waits: dict[str, list[int]] = {"alice": [], "nobody": []}
    for number in range(20):
        for login, found in waits.items():
            watch.failed_abroad(login, digest(str(number)), float(number))
            found.append(watch.doublings(login, float(number)))
    assert waits["alice"] == waits["nobody"]


def test_a_login_is_distrusted_at_home_only_after_a_day_s_worth_of_different_passwords() -> None:
    watch = Attempts(RULES)
    told = [watch.failed_at_home("alice", HOME, digest(str(n)), float(n)) for n in range(50)]
    assert told == [False] * 49 + [True]


def test_thirty_five_refused_recipients_in_a_day_are_probing_and_accepted_ones_count_back() -> None:
    watch = Attempts(RULES)
    assert [finding for n in range(34) for finding in watch.probed(HOME, float(n))] == []
    watch.accepted(HOME, 3)
    assert [finding for n in range(3) for finding in watch.probed(HOME, 50.0 + n)] == []
    [finding] = watch.probed(HOME, 60.0)
    assert finding == Finding("probes", (ip_network("198.51.100.7/32"),), "recipients refused: 35/day")


def test_memory_is_bounded_whatever_is_tried() -> None:
    tallies: Tallies[int, int] = Tallies((Limit(1000, DAY, "1000/day"),), 500)
    for number in range(20_000):
        tallies.add(number % 700, number, float(number))
    assert len(tallies) <= 500
    spray = Spray(10, passwords=100)
    for number in range(20_000):
        spray.add(digest(str(number)), str(number), client_network(IPv4Address(number)), float(number))
    assert len(spray) <= 100


def test_a_clock_that_was_set_back_neither_fails_nor_forgives() -> None:
    watch = Attempts(RULES)
    guess(watch, HOME, 9, now=1000.0)
    assert watch.failed("alice", HOME, b"the tenth", 10.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.floats(0, 40)), max_size=80), st.integers(1, 6))
def test_a_tally_is_its_plain_definition(steps: list[tuple[int, int, float]], amount: int) -> None:
    limits = (Limit(amount, 60, "m"), Limit(amount * 3, 600, "t"))
    tallies: Tallies[int, int] = Tallies(limits)
    first: dict[tuple[int, int], float] = {}
    now = 0.0
    for key, mark, pause in steps:
        now += pause
        first = {pair: at for pair, at in first.items() if at > now - 600}
        first.setdefault((key, mark), now)
        times = [at for (of, _), at in first.items() if of == key]
        expected = any(sum(at > now - limit.seconds for at in times) >= limit.amount for limit in limits)
        assert (tallies.add(key, mark, now) is not None) == expected


@pytest.mark.parametrize(
    ("address", "client", "wide"),
    [
        ("192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ],
)
def test_circles_are_those_of_a_subscriber_and_of_a_site(address: str, client: str, wide: str) -> None:
    assert [str(network) for network in circles(ip_address(address))] == [client, wide]
    assert str(wide_network(ip_address(address))) == wide


def test_the_whole_attack_of_two_hundred_addresses_is_found_out_within_its_first_tenth() -> None:
    """10,000 passwords from 200 addresses against 50 accounts, each address one password in turn."""
    watch, tried = Attempts(RULES), 0
    banned: set[IPNetwork] = set()
    clock = count()
    for password in range(200):
        for number in range(50):
            address = ip_address(f"10.66.{(password * 50 + number) % 4}.{(password * 50 + number) // 4 % 50 + 1}")
            if {*circles(address)} & banned:
                continue
            tried += 1
            for finding in watch.failed(f"user{number}", address, digest(str(password)), next(clock) * 0.05):
                banned.update(finding.networks)
    assert tried < 1000
