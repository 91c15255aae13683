"""Greylisting in memory: who has to come back, who came back, and that it stays bounded."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.address import Address, parse_address
from postlatch.server.greylist import MOST_OF_GROUP, STEP, Greylist, GreylistRules, group_of, sender_key
from postlatch.store.greylist import Kept

NOW = 1_767_225_600.0
NET = "198.51.100.0/24"
DELAY, WINDOW, KEEP, HOUR = 300.0, 172_800.0, 3_024_000.0, 3600.0


def addr(text: str) -> Address:
    return parse_address(text, smtputf8=True)


SENDER, ALICE, BOB = addr("x@elsewhere.example"), addr("alice@example.com"), addr("bob@example.com")


def test_the_first_attempt_waits_and_one_after_the_delay_is_let_in() -> None:
    table = Greylist(GreylistRules())
    assert table.judge(NET, SENDER, ALICE, NOW) == NOW + DELAY
    assert table.judge(NET, SENDER, ALICE, NOW + DELAY - 1) == NOW + DELAY, "the clock runs from the first attempt on"
    assert table.judge(NET, SENDER, ALICE, NOW + DELAY) is None
    assert table.judge(NET, SENDER, ALICE, NOW + DELAY + 1) is None


def test_another_recipient_or_sender_or_network_waits_by_itself() -> None:
    table = Greylist(GreylistRules())
    table.judge(NET, SENDER, ALICE, NOW)
    later = NOW + DELAY
    assert table.judge(NET, SENDER, BOB, later) == later + DELAY
    assert table.judge(NET, addr("y@elsewhere.example"), ALICE, later) == later + DELAY
    assert table.judge("203.0.113.0/24", SENDER, ALICE, later) == later + DELAY
    assert table.judge(NET, None, ALICE, later) == later + DELAY


def test_who_comes_back_too_late_begins_anew() -> None:
    table = Greylist(GreylistRules())
    table.judge(NET, SENDER, ALICE, NOW)
    late = NOW + WINDOW + 1
    assert table.judge(NET, SENDER, ALICE, late) == late + DELAY


def test_who_came_back_is_remembered_from_the_last_message_on() -> None:
    table = Greylist(GreylistRules())
    table.judge(NET, SENDER, ALICE, NOW)
    table.judge(NET, SENDER, ALICE, NOW + DELAY)
    at = NOW + DELAY + KEEP - 1
    assert table.judge(NET, SENDER, ALICE, at) is None
    assert table.judge(NET, SENDER, ALICE, at + KEEP - 1) is None
    assert table.judge(NET, SENDER, ALICE, at + 3 * KEEP) is not None


def test_a_group_that_came_back_often_enough_is_let_through_and_bursts_count_once() -> None:
    table = Greylist(GreylistRules(allow_after=3))
    at = NOW
    for number in range(20):  # all within one hour: one success
        table.judge(NET, addr(f"{'abcdefghijklmnopqrst'[number]}@e.example"), ALICE, at)
    for number in range(20):
        table.judge(NET, addr(f"{'abcdefghijklmnopqrst'[number]}@e.example"), ALICE, at + DELAY)
    assert table.allowed(at) == []
    for word in ("one", "two"):
        at += HOUR + DELAY
        table.judge(NET, addr(f"{word}@e.example"), ALICE, at)
        table.judge(NET, addr(f"{word}@e.example"), ALICE, at + DELAY)
    assert [group.group for group in table.allowed(at + DELAY)] == [NET]
    assert table.judge(NET, addr("new@e.example"), BOB, at + DELAY) is None
    assert table.judge(NET, addr("new@e.example"), BOB, at + 3 * KEEP) is not None, "and not for ever"


def test_a_clock_that_was_set_back_makes_nobody_wait_for_days() -> None:
    table = Greylist(GreylistRules())
    table.judge(NET, SENDER, ALICE, NOW + 1_000_000)
    assert table.judge(NET, SENDER, ALICE, NOW) == NOW + DELAY


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bounce-123@lists.example", "bounce-98765@lists.example"),
        ("news+alice=example.com@lists.example", "news+bob=example.com@lists.example"),
        ("News@lists.example", "news@lists.example"),
    ],
)
def test_the_senders_of_one_list_are_one_sender(one: str, other: str) -> None:
    assert sender_key(addr(one)) == sender_key(addr(other))


def test_a_provider_is_one_group_by_its_domain_where_spf_passes() -> None:
    assert group_of(ip_address("198.51.100.7"), "big.example") == group_of(ip_address("203.0.113.9"), "big.example")
    assert group_of(ip_address("198.51.100.7"), "") == "198.51.100.0/24"
    assert group_of(ip_address("2001:db8:1:2:3::4"), "") == "2001:db8:1:2::/64"


def test_it_is_bounded_and_one_group_cannot_push_out_the_others() -> None:
    table = Greylist(GreylistRules(most=3000))
    table.judge("192.0.2.0/24", SENDER, ALICE, NOW)
    letters = "abcdefghij"
    for number in range(MOST_OF_GROUP + 500):
        sender = addr("".join(letters[int(digit)] for digit in str(number)) + "@spam.example")
        assert table.judge(NET, sender, ALICE, NOW + 1) == NOW + 1 + DELAY
    assert len(table) == MOST_OF_GROUP + 1
    assert table.judge("192.0.2.0/24", SENDER, ALICE, NOW + DELAY) is None
    for number in range(5000):
        table.judge(f"g{number}", SENDER, ALICE, NOW + 2)
    assert len(table) == 3000
    assert table.judge("192.0.2.0/24", SENDER, ALICE, NOW + DELAY + 1) is None, "those that wait go first"


def test_what_changed_is_written_once_and_again_if_it_failed() -> None:
    table = Greylist(GreylistRules())
    table.judge(NET, SENDER, ALICE, NOW)
    changes = table.changes()
    assert [one.first_at for one in changes.triplets] == [NOW]
    assert not any(table.changes())
    table.unwritten(changes)
    table.judge(NET, SENDER, ALICE, NOW + DELAY)
    again = table.changes()
    assert [(one.passed, one.last_at) for one in again.triplets] == [(True, NOW + DELAY)]
    assert [group.successes for group in again.groups] == [1]


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    table = Greylist(GreylistRules(allow_after=1))
    table.judge(NET, SENDER, ALICE, NOW)
    table.judge("203.0.113.0/24", SENDER, ALICE, NOW)
    table.judge("203.0.113.0/24", SENDER, ALICE, NOW + DELAY)
    changes = table.changes()
    fresh = Greylist(GreylistRules(allow_after=1))
    fresh.load(Kept(list(changes.triplets), list(changes.groups)))
    assert len(fresh) == 2
    assert fresh.judge(NET, SENDER, ALICE, NOW + DELAY - 1) == NOW + DELAY
    assert fresh.judge("203.0.113.0/24", SENDER, BOB, NOW + DELAY) is None


def test_a_group_that_is_forgotten_is_as_new() -> None:
    table = Greylist(GreylistRules())
    table.judge(NET, SENDER, ALICE, NOW)
    table.changes()
    assert table.forget(NET) == 1
    assert table.forget(NET) == 0
    assert table.changes().gone == ((NET, "x@elsewhere.example", "alice@example.com"),)
    assert table.judge(NET, SENDER, ALICE, NOW + DELAY) == NOW + 2 * DELAY


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 200_000)), max_size=80))
def test_nobody_gets_in_who_was_not_seen_before_within_the_window(attempts: list[tuple[int, int, int]]) -> None:
    table, at, seen = Greylist(GreylistRules(allow_after=1000, most=100)), NOW, dict[tuple[int, int], list[float]]()
    for group, who, later in attempts:
        at += later
        until = table.judge(f"g{group}", addr(f"{'abcd'[who]}@e.example"), ALICE, at)
        earlier = seen.setdefault((group, who), [])
        if until is None:
            assert any(at - before >= DELAY for before in earlier)
        else:
            assert at < until <= at + DELAY
        earlier.append(at)
    assert len(table) <= 100


def test_a_flood_is_written_in_steps() -> None:
    table = Greylist(GreylistRules())
    for number in range(STEP + 10):
        table.judge(f"g{number}", SENDER, ALICE, NOW)
    assert [len(table.changes().triplets) for _ in range(3)] == [STEP, 10, 0]
