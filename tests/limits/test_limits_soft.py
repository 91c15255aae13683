"""What comes before a refusal and beside it: warnings, holding, different ones, counts that are not known, and a reset."""

from __future__ import annotations

import json

import pytest

from postlatch.limits.distinct import Distinct
from postlatch.limits.limit import UNLIMITED, Limit, parse_limit, with_warnings
from postlatch.limits.limiter import Charge, Limiter, Usage

START = 1_767_225_600.0
DAY = 86_400


def limits(*texts: str) -> tuple[Limit, ...]:
    return tuple(map(parse_limit, texts))


def of(kind: str, limit: tuple[Limit, ...], cost: int = 1, *items: str, key: str = "alice") -> list[Charge]:
    return [Charge("account", key, kind, limit, len(items) or cost, frozenset(items))]


def test_a_size_is_a_limit_of_octets() -> None:
    assert parse_limit("5 MiB/day") == Limit(5 << 20, DAY, "5 MiB/day")
    assert parse_limit("5MiB/day").text == "5 MiB/day"
    with pytest.raises(ValueError, match="leave the limit out"):
        parse_limit("9999999999 GiB/day")


def test_warnings_join_the_limits_of_their_unit_or_stand_alone() -> None:
    found = with_warnings(limits("30/minute", "300/hour", "1000/day"), limits("50/hour"), 80, hold=True, defer=True)
    assert [(limit.seconds, limit.amount, limit.warn, limit.hold, limit.defer) for limit in found] == [
        (60, 30, 0, False, True),
        (3600, 300, 50, True, True),
        (DAY, 1000, 800, True, True),
    ]
    [alone] = with_warnings((), limits("100/day"), 80, defer=True)
    assert (alone.amount, alone.warn, alone.hard, alone.defer) == (UNLIMITED, 100, False, False)
    assert with_warnings(limits("5/day"), (), 0)[0].warn == 0


@pytest.mark.parametrize("kind", ["messages", "domains"])
def test_a_warning_comes_at_its_number_and_once_a_window_also_over_a_restart(kind: str) -> None:
    limit = with_warnings((), limits("3/day"), 80)
    limiter = Limiter()

    def told(now: float, name: str) -> list[int]:
        charges = of(kind, limit, 1, name) if kind == "domains" else of(kind, limit)
        assert limiter.check(charges, now) is None, "it only warns"
        return [warned.used for warned in limiter.charge(charges, now)]

    assert [told(START + i, f"{i}.example") for i in range(5)] == [[], [], [3], [], []]
    rows = limiter.dirty()
    limiter = Limiter()
    limiter.load(rows, START + 10)
    assert told(START + 10, "5.example") == []
    again = [told(START + 2 + DAY + i, f"{i}.example") for i in range(4)]
    assert sum(map(len, again)) == 1, "the next window has its own"
    # A clock that went back by years: it would be silent for as long.
    assert len(told(START - 300 * DAY, "6.example")) == 1


def test_a_limit_that_holds_says_so_up_to_twice_its_amount() -> None:
    limit = with_warnings(limits("2/minute", "10/day"), (), 0, hold=True)
    limiter = Limiter()
    limiter.charge(of("messages", limit, 10), START)
    later = START + 120
    assert limiter.check(of("messages", limit, 2), later) is not None
    found = [limiter.check(of("messages", limit, cost), later) for cost in (1, 2, 3)]
    assert [reached is not None and reached.hold for reached in found] == [True, True, False], "3 are too fast for the minute"
    limiter.charge(of("messages", limit, 8), later)
    over = limiter.check(of("messages", limit, 2), later + 120)
    assert over is not None
    assert over.hold
    limiter.charge(of("messages", limit, 2), later + 120)
    full = limiter.check(of("messages", limit), later + 400)
    assert full is not None
    assert not full.hold, "twenty are held or sent"


def test_what_refuses_goes_before_what_holds() -> None:
    hold = with_warnings(limits("1/day"), (), 0, hold=True)
    refuse = limits("1/hour")
    limiter = Limiter()
    both = [Charge("account", "a", "messages", hold), Charge("relay", "all", "messages", refuse)]
    limiter.charge(both, START)
    reached = limiter.check(both, START)
    assert reached is not None
    assert (reached.name, reached.hold) == ("relay messages 1/hour", False)


def test_different_ones_leave_by_when_they_were_last_used() -> None:
    window = Distinct(parse_limit("3/hour"))
    for second, name in [(0, "a"), (10, "b"), (20, "c"), (30, "a")]:
        assert window.retry_at(START + second, {name}) == 0.0
        window.add(START + second, {name})
    assert window.retry_at(START + 40, {"a", "b", "c"}) == 0.0
    assert window.retry_at(START + 40, {"d"}) == START + 10 + 3600
    assert window.retry_at(START + 40, {"b", "d"}) == START + 20 + 3600, "b is used again, so c must leave"
    assert window.retry_at(START + 40, {"d", "e"}) == START + 20 + 3600
    assert window.retry_at(START + 40, {"d", "e", "f", "g"}) == START + 40 + 3600, "never, but a smaller one"
    assert window.retry_at(START + 10 + 3600, {"d"}) == 0.0


def test_memory_of_different_ones_is_bounded_by_the_amount() -> None:
    window = Distinct(with_warnings((), limits("5/day"), 0)[0])
    for i in range(10_000):
        window.add(START + i / 100, {f"{i}.example"})
    assert window.used(START + 100) == 10
    assert len(json.dumps(window.dump())) < 500


@pytest.mark.parametrize("state", [None, [], {"a": "x"}, {"a": -1}, {"a": True}, {"a": 1e300}])
def test_a_spoiled_state_of_different_ones_is_a_value_error(state: object) -> None:
    with pytest.raises(ValueError, match="state"):
        Distinct(parse_limit("3/day")).restore(state)


def test_a_lost_count_defers_where_that_is_chosen_until_it_is_reset_or_a_day_has_passed() -> None:
    local, defer = limits("5/day"), with_warnings(limits("5/day"), (), 0, defer=True)
    limiter = Limiter()
    unreadable = ["account messages alice", "account messages bob"]
    assert limiter.load([(key, "spoiled") for key in unreadable], START) == unreadable
    assert limiter.check(of("messages", local), START) is None
    found = limiter.check(of("messages", defer), START)
    assert found is not None
    assert (found.name, found.unknown, found.retry_at) == ("account messages", True, START + 60)
    assert limiter.check(of("messages", defer, key="carol"), START) is None
    assert limiter.reset("account", "alice") == ["account messages alice"]
    assert limiter.check(of("messages", defer), START) is None
    assert limiter.check(of("messages", defer, key="bob"), START + DAY - 1) is not None
    assert limiter.check(of("messages", defer, key="bob"), START + DAY) is None
    assert not limiter.unsure.any, "and nothing more is asked of it"


def test_a_reset_forgets_every_kind_of_that_key_and_no_other() -> None:
    limiter = Limiter()
    for key in ("alice", "alice2"):
        limiter.charge([*of("messages", limits("1/day"), key=key), *of("bytes", limits("9 KiB/day"), key=key)], START)
    assert sorted(limiter.reset("account", "alice")) == ["account bytes alice", "account messages alice"]
    assert limiter.reset("account", "alice") == []
    assert limiter.spend(of("messages", limits("1/day")), START) is None
    assert limiter.spend(of("messages", limits("1/day"), key="alice2"), START) is not None


def test_usage_shows_what_is_counted_also_when_nothing_was_charged_since_the_start() -> None:
    limit = with_warnings(limits("5/minute", "10/day"), (), 50)
    before = Limiter()
    before.charge(of("messages", limit, 5), START)
    limiter = Limiter()
    limiter.load(before.dirty(), START)
    seen = limiter.usage(START, lambda *key: limit if key == ("account", "alice", "messages") else ())
    found = sorted(seen, key=lambda one: one.limit.seconds)
    assert found == [
        Usage("account", "alice", "messages", limit[0], 5, START + 12, 0.0),
        Usage("account", "alice", "messages", limit[1], 5, 0.0, START),
    ]
    assert [one.used for one in limiter.usage(START + 60, lambda *_: limit)] == [5], "what is free again is not shown"


def test_rows_that_could_not_be_written_come_again_with_what_was_added() -> None:
    limiter = Limiter()
    limiter.charge(of("messages", limits("9/day")), START)
    rows = limiter.dirty()
    assert limiter.dirty() == []
    limiter.charge(of("messages", limits("9/day"), key="bob"), START)
    limiter.unsaved(rows, START)
    assert sorted(key for key, _ in limiter.dirty()) == ["account messages alice", "account messages bob"]
