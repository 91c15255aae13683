"""The limiter: layers, names, eviction, restart."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.limits.clients import client_charges
from postlatch.limits.limit import Limit, parse_limit
from postlatch.limits.limiter import PRUNED_AT_ONCE, Charge, Limiter, Reached

START = 1_767_225_600.0


def limits(*texts: str) -> tuple[Limit, ...]:
    return tuple(parse_limit(text) for text in texts)


MESSAGES = limits("30/minute", "500/day")
RECIPIENTS = limits("300/hour", "1000/day")
FAILURES = limits("10/minute", "50/day")


def spent(name: str, retry_at: float, *, day_spent: bool) -> Reached:
    return Reached(name, retry_at, day_spent, key="alice@example.com")


def messages(account: str = "alice@example.com", cost: int = 1, of: tuple[Limit, ...] = MESSAGES) -> list[Charge]:
    return [Charge("account", account, "messages", of, cost)]


def client(key: str, of: tuple[Limit, ...] = FAILURES) -> list[Charge]:
    return [Charge("client", key, "auth_failures", of)]


def test_a_refusal_names_the_limit_and_the_time() -> None:
    limiter = Limiter()
    assert all(limiter.spend(messages(), START) is None for _ in range(30))
    assert limiter.spend(messages(), START) == spent("account messages 30/minute", START + 2, day_spent=False)
    assert limiter.spend(messages(), START + 2) is None


def test_a_spent_day_is_told_from_a_spent_minute() -> None:
    limiter = Limiter()
    for minute in range(100):
        limiter.charge(messages(cost=5), START + 60 * minute)
    reached = limiter.check(messages(), START + 6000)
    # The log of a day is exact to a sixty-fourth of it.
    assert reached is not None
    assert (reached.name, reached.day_spent) == ("account messages 500/day", True)
    assert START + 86400 <= reached.retry_at <= START + 86400 * 65 / 64


def test_of_several_limits_the_one_that_takes_longest_is_named() -> None:
    limiter = Limiter()
    of = limits("5/minute", "5/hour", "5/day")
    limiter.charge(messages(cost=5, of=of), START)
    assert limiter.check(messages(of=of), START) == spent("account messages 5/day", START + 86400, day_spent=True)
    assert limiter.check(messages(of=limits("5/minute", "9/hour")), START) == spent(
        "account messages 5/minute", START + 12, day_spent=False
    )


def test_checking_counts_nothing_and_makes_nothing() -> None:
    limiter = Limiter()
    for _ in range(100):
        assert limiter.check(messages(cost=30), START) is None
    assert (len(limiter), limiter.dirty()) == (0, [])


def test_when_one_charge_does_not_fit_none_is_counted() -> None:
    limiter = Limiter()
    both = [*messages(), Charge("account", "alice@example.com", "recipients", RECIPIENTS, 301)]
    assert limiter.spend(both, START) == spent("account recipients 300/hour", START + 3600, day_spent=False)
    assert len(limiter) == 0


def test_a_cost_of_nothing_always_fits() -> None:
    limiter = Limiter()
    limiter.charge(messages(cost=5, of=limits("1/day")), START)
    assert limiter.spend(messages(cost=0, of=limits("1/day")), START) is None
    assert limiter.check(messages(cost=-3, of=limits("1/day")), START) is None


def test_no_limits_means_no_limit_and_no_state() -> None:
    limiter = Limiter()
    assert limiter.spend(messages(cost=10**6, of=()), START) is None
    assert len(limiter) == 0


def test_of_two_limits_of_one_unit_the_tighter_governs() -> None:
    limiter = Limiter()
    of = limits("2/day", "9/day")
    assert [limiter.spend(messages(of=of), START + i) is None for i in range(3)] == [True, True, False]


def test_keys_scopes_and_kinds_are_counted_apart() -> None:
    limiter = Limiter()
    of = limits("1/day")
    for scope in ("account", "right", "client"):
        for key in ("a", "b"):
            for kind in ("messages", "recipients"):
                assert limiter.spend([Charge(scope, key, kind, of)], START) is None
    assert len(limiter) == 12


def test_a_changed_limit_keeps_what_was_counted() -> None:
    limiter = Limiter()
    limiter.charge(messages(cost=20), START)
    assert limiter.check(messages(of=limits("21/day")), START + 120) is None
    assert limiter.check(messages(of=limits("20/day")), START + 120) is not None
    assert limiter.check(messages(of=limits("20/hour")), START + 120) is None, "an hour's limit starts afresh"


def test_a_full_bucket_stays_full_when_its_amount_changes() -> None:
    limiter = Limiter()
    limiter.charge(messages(cost=30), START)
    assert limiter.check(messages(of=limits("60/minute")), START) == spent(
        "account messages 60/minute", START + 1, day_spent=False
    )


def test_a_restart_keeps_every_count() -> None:
    before = Limiter()
    charges = [*messages(cost=7), Charge("account", "alice@example.com", "recipients", RECIPIENTS, 90)]
    for second in range(0, 600, 9):
        before.spend(charges, START + second)
        before.spend(client("2001:db8:1:2::/64"), START + second)
    rows = before.dirty()
    assert before.dirty() == []
    after = Limiter()
    assert after.load(rows, START + 600) == []
    assert len(after) == 3
    for second in range(600, 90_000, 499):
        at = START + second
        for charge in (charges, client("2001:db8:1:2::/64")):
            assert before.spend(charge, at) == after.spend(charge, at)
    assert sorted(before.dirty()) == sorted(after.dirty())


def test_rows_are_readable_by_people() -> None:
    limiter = Limiter()
    limiter.charge([Charge("right", "office printers", "messages", limits("1/second"))], START)
    assert limiter.dirty() == [("right messages office printers", '{"1":1767225601.0}')]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["account", "client", "right"]), st.text(), st.integers(1, 40), st.floats(0, 1e5))))
def test_a_round_trip_through_the_store_is_exact(run: list[tuple[str, str, int, float]]) -> None:
    first = Limiter()
    now = START
    for scope, key, cost, step in run:
        now += step
        first.charge([Charge(scope, key, "messages", MESSAGES, cost)], now)
    rows = first.dirty()
    second = Limiter()
    assert second.load(rows, now) == []
    for scope, key, _, _ in run:
        probe = [Charge(scope, key, "messages", MESSAGES)]
        assert first.check(probe, now) == second.check(probe, now)
        first.charge(probe, now)
        second.charge(probe, now)
    assert sorted(first.dirty()) == sorted(second.dirty())


def test_a_state_from_the_future_locks_nobody_out_for_longer_than_its_window() -> None:
    wrong = Limiter()
    of = limits("5/minute", "5/hour", "5/day")
    wrong.charge(messages(cost=5, of=of), START + 10 * 365 * 86400)
    rows = wrong.dirty()
    unasked = Limiter()
    unasked.load(rows, START)
    assert unasked.check(messages(cost=5, of=of), START + 86400) is None, "counted from the start, not from the first question"
    limiter = Limiter()
    assert limiter.load(rows, START) == []
    reached = limiter.check(messages(of=of), START)
    assert reached == spent("account messages 5/day", START + 86400, day_spent=True)
    assert limiter.check(messages(cost=5, of=of), START + 86400) is None


@given(st.lists(st.tuples(st.text(), st.one_of(st.text(), st.just('{"60":1.0}'), st.just('{"3600":["",[]]}')))))
def test_rows_that_are_not_ours_are_reported_and_count_as_nothing(rows: list[tuple[str, str]]) -> None:
    limiter = Limiter()
    unreadable = limiter.load(rows, START)
    assert len(limiter) + len(unreadable) <= len(rows)
    assert limiter.check(messages(), START) is None


@pytest.mark.parametrize(
    "state",
    [
        "",
        "[]",
        "null",
        "1",
        '{"5":1.0}',
        '{"60":null}',
        '{"60":1e999}',
        '{"3600":1.0}',
        '{"x":1.0}',
        "[" * 100_000,
        '{"60":NaN}',
    ],
)
def test_a_spoiled_row_is_reported_and_the_others_are_read(state: str) -> None:
    limiter = Limiter()
    good = ("account messages bob@example.com", '{"60":1767225659.0}')
    rows = [("account messages alice@example.com", state), ("nonsense", "{}"), good]
    assert limiter.load(rows, START) == ["account messages alice@example.com", "nonsense"]
    assert len(limiter) == 1


def test_memory_is_bounded_and_only_the_longest_silent_clients_are_forgotten() -> None:
    limiter = Limiter(max_keys=10)
    for name in ("a", "b", "c"):
        limiter.charge(messages(name), START)
    for i in range(7):
        limiter.charge(client(f"192.0.2.{i}"), START)
    limiter.charge(client("192.0.2.0"), START)  # is now the latest
    limiter.dirty()
    limiter.charge(client("198.51.100.1"), START)
    limiter.charge(client("198.51.100.2"), START)
    assert len(limiter) == 10
    assert sorted(limiter.prune(START)) == ["client auth_failures 192.0.2.1", "client auth_failures 192.0.2.2"]
    assert [limiter.check(messages(name, cost=30), START) is None for name in ("a", "b", "c")] == [False] * 3


def test_accounts_and_rights_are_never_forgotten_for_space() -> None:
    limiter = Limiter(max_keys=5)
    for i in range(20):
        limiter.charge(messages(f"user{i}"), START)
        limiter.charge(client("192.0.2.7"), START)
    assert len(limiter) == 21
    assert limiter.prune(START) == []


def test_a_key_that_was_evicted_and_came_back_is_not_deleted_from_the_store() -> None:
    limiter = Limiter(max_keys=1)
    limiter.charge(client("192.0.2.1"), START)
    limiter.charge(client("192.0.2.2"), START)
    limiter.charge(client("192.0.2.1"), START)
    assert [key for key, _ in limiter.dirty()] == ["client auth_failures 192.0.2.1"]
    assert limiter.prune(START) == ["client auth_failures 192.0.2.2"]


def test_keys_that_hold_nothing_any_more_are_pruned() -> None:
    limiter = Limiter()
    limiter.charge(messages(of=limits("5/minute")), START)
    limiter.charge(messages("bob", of=limits("5/minute", "5/day")), START)
    limiter.charge(client("192.0.2.7"), START)
    limiter.dirty()
    assert limiter.prune(START + 11) == []
    assert limiter.prune(START + 12) == ["account messages alice@example.com"]
    assert sorted(limiter.prune(START + 86400)) == ["account messages bob", "client auth_failures 192.0.2.7"]
    assert (len(limiter), limiter.dirty(), limiter.prune(START + 86400)) == (0, [], [])


def test_pruning_takes_the_table_in_slices() -> None:
    limiter = Limiter()
    total = 2 * PRUNED_AT_ONCE + 5
    for i in range(total):
        limiter.charge(client(f"client-{i}", limits("5/second")), START)
    pruned = [len(limiter.prune(START + 60)) for _ in range(4)]
    assert pruned == [PRUNED_AT_ONCE, PRUNED_AT_ONCE, 5, 0]


def test_rotating_through_a_48_is_stopped_by_the_circle_around_it() -> None:
    """RELIABILITY case 28: the guesser is stopped, a user in another network is not."""
    limiter = Limiter()
    guesses = 0
    for network in range(1000):
        charges = client_charges(ip_address(f"2001:db8:1:{network:x}::1"), "auth_failures", FAILURES)
        if limiter.check(charges, START + network / 100) is None:
            limiter.charge(charges, START + network / 100)
            guesses += 1
    assert guesses <= 36
    assert limiter.check(client_charges(ip_address("2001:db8:2::1"), "auth_failures", FAILURES), START + 10) is None
