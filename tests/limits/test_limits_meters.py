"""The two algorithms by themselves: invariants over every run of times and costs that hypothesis finds."""

from __future__ import annotations

import json
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.limits.gcra import Gcra
from postlatch.limits.limit import Limit, parse_limit
from postlatch.limits.window import COARSE, EXACT, MAX_ENTRIES, Window

START = 1_767_225_600.0
HOUR = 3600
Meter = Gcra | Window


def meter(limit: Limit) -> Meter:
    return Gcra(limit) if limit.seconds <= 60 else Window(limit)


def admits(state: Meter, now: float, cost: int) -> bool:
    if state.retry_at(now, cost):
        return False
    state.add(now, cost)
    return True


limits = st.builds(
    lambda amount, unit: parse_limit(f"{amount}/{unit}"),
    st.one_of(st.integers(1, 12), st.integers(60, 400)),
    st.sampled_from(["second", "minute", "hour", "day"]),
)
# Steps as shares of the window: dense bursts, slot borders, exact windows.
steps = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 1 / 7200, 1 / COARSE, 1 / 3, 1.0]), st.floats(0, 1.2, allow_subnormal=False)),
        st.integers(1, 5),
    ),
    max_size=60,
)
bursts = st.lists(st.tuples(st.sampled_from([0.0, 1 / 7200, 1 / 900, 1 / 100]), st.integers(1, 3)), min_size=80, max_size=260)


@settings(max_examples=60)
@given(limits.filter(lambda limit: limit.seconds >= HOUR), st.one_of(steps, bursts))
def test_no_hour_or_day_holds_more_than_the_amount_wherever_it_starts(limit: Limit, run: list[tuple[float, int]]) -> None:
    window = Window(limit)
    now = START
    admitted: list[tuple[float, int]] = []
    for share, cost in run:
        now += share * limit.seconds
        if admits(window, now, cost):
            admitted.append((now, cost))
            assert sum(c for t, c in admitted if t > now - limit.seconds) <= limit.amount


@settings(max_examples=60)
@given(limits.filter(lambda limit: limit.seconds <= 60), steps)
def test_no_second_or_minute_holds_twice_the_amount(limit: Limit, run: list[tuple[float, int]]) -> None:
    bucket = Gcra(limit)
    now = START
    admitted: list[tuple[float, int]] = []
    for share, cost in run:
        now += share * limit.seconds
        if admits(bucket, now, cost):
            admitted.append((now, cost))
            assert sum(c for t, c in admitted if t > now - limit.seconds) < 2 * limit.amount
    if admitted:
        first = admitted[0][0]
        earned = limit.amount + (admitted[-1][0] - first) * limit.amount / limit.seconds
        assert sum(c for _, c in admitted) <= earned + 1e-3


@settings(max_examples=60)
@given(limits, st.one_of(steps, bursts), st.floats(0.001, 0.999))
def test_what_is_refused_until_a_time_is_refused_before_it_and_fits_at_it(
    limit: Limit, run: list[tuple[float, int]], share_before: float
) -> None:
    state = meter(limit)
    now = START
    for share, cost in run:
        now += share * limit.seconds
        retry_at = state.retry_at(now, cost)
        if retry_at == 0.0:
            state.add(now, cost)
            continue
        assert now < retry_at <= now + limit.seconds
        if cost > limit.amount:
            assert retry_at == now + limit.seconds
            continue
        before = now + (retry_at - now) * share_before
        if before < retry_at:
            assert state.retry_at(before, cost) == retry_at
        if retry_at - 1 > before:
            assert state.retry_at(retry_at - 1, cost) == retry_at
        assert state.retry_at(retry_at, cost) == 0.0
        now = retry_at


@settings(max_examples=60)
@given(limits, steps, steps, st.floats(-3, 3, allow_subnormal=False))
def test_a_jump_of_the_clock_admits_at_most_twice_the_amount_and_ends_within_a_window(
    limit: Limit, before: list[tuple[float, int]], after: list[tuple[float, int]], jump: float
) -> None:
    state = meter(limit)
    real, offset = START, 0.0
    admitted: list[tuple[float, int]] = []
    bound = 2 * limit.amount if limit.seconds >= HOUR else 3 * limit.amount
    for run in (before, after):
        for share, cost in run:
            real += share * limit.seconds
            if admits(state, real + offset, cost):
                admitted.append((real, cost))
                assert sum(c for t, c in admitted if t > real - limit.seconds) <= bound
        offset += jump * limit.seconds
    state.retry_at(real + offset, 1)
    # A grain of slack: adding a window to a float near 1.7e9 rounds by 2e-7.
    assert state.retry_at(real + offset + limit.seconds + 1e-6, limit.amount) == 0.0


@settings(max_examples=40)
@given(limits, st.one_of(steps, bursts), steps, limits)
def test_a_state_that_was_dumped_and_restored_goes_on_exactly(
    limit: Limit, before: list[tuple[float, int]], after: list[tuple[float, int]], other: Limit
) -> None:
    first = meter(limit)
    now = START
    for share, cost in before:
        now += share * limit.seconds
        admits(first, now, cost)
    # The amount is not part of the state: a restart finds it in the configuration.
    second = meter(limit)
    passing = meter(limit._replace(amount=other.amount))
    passing.restore(json.loads(json.dumps(first.dump())))
    second.restore(json.loads(json.dumps(passing.dump())))
    for share, cost in after:
        now += share * limit.seconds
        assert first.retry_at(now, cost) == second.retry_at(now, cost)
        assert admits(first, now, cost) == admits(second, now, cost)
    assert first.dump() == second.dump()
    assert first.idle(now) == second.idle(now)


@settings(max_examples=40)
@given(st.integers(1, EXACT), steps)
def test_a_short_log_decides_exactly_as_counting_every_event_does(amount: int, run: list[tuple[float, int]]) -> None:
    window = Window(Limit(amount, HOUR, ""))
    now = START
    events: list[tuple[float, int]] = []
    for share, cost in run:
        now += share * HOUR
        fits = sum(c for t, c in events if t + HOUR > now) + cost <= amount
        assert admits(window, now, cost) == fits
        if fits:
            events.append((now, cost))


@pytest.mark.parametrize("amount", [100, 200, 1000])
@pytest.mark.parametrize("pace", [1, 2.5, 7, 20])
def test_no_hour_of_a_dense_stream_holds_more_than_the_amount(amount: int, pace: float) -> None:
    window = Window(Limit(amount, HOUR, ""))
    admitted: deque[float] = deque()
    total = 0
    for i in range(int(3 * HOUR / pace)):
        now = START + i * pace
        # Evenly at first, then as much as there is room for: where a slot frees too early, this falls in.
        for _ in range(1 if i * pace < HOUR else amount):
            if not admits(window, now, 1):
                break
            admitted.append(now)
            total += 1
        while admitted and admitted[0] <= now - HOUR:
            admitted.popleft()
        assert len(admitted) <= amount
    # Nor is it so careful as to starve anybody: three windows, each short by two slots at most.
    assert total >= min(3 * amount * (1 - 2 / COARSE), 3 * HOUR / pace) - 1


@pytest.mark.parametrize("pace", [0.01, 0.7, 7, 55, 57])
def test_a_log_is_bounded_even_when_everything_is_counted_past_the_limit(pace: float) -> None:
    window = Window(Limit(3, HOUR, ""))
    longest = 0
    for i in range(3000):
        window.add(START + i * pace, 1)
        if i % 100 == 0:
            longest = max(longest, len(json.loads(json.dumps(window.dump()))[1]))
    assert longest <= MAX_ENTRIES
    window.restore(window.dump())


def test_a_clock_that_goes_back_to_an_earlier_entry_joins_it() -> None:
    window = Window(Limit(5, HOUR, ""))
    for second in (0, 10, 20):
        window.add(START + second, 1)
    assert window.retry_at(START, 3) == START + HOUR
    other = Window(Limit(5, HOUR, ""))
    other.restore(json.loads(json.dumps(window.dump())))
    assert other.retry_at(START, 3) == START + HOUR
    assert other.dump()[1] == [3]


def test_a_long_log_refuses_for_a_sixty_fourth_of_the_window_longer_at_most() -> None:
    window = Window(Limit(1000, HOUR, ""))
    for second in range(1000):
        assert admits(window, START + second, 1)
    retry_at = window.retry_at(START + 1000, 1)
    assert START + HOUR <= retry_at <= START + HOUR + HOUR / COARSE


def test_a_burst_passes_and_then_one_at_a_time() -> None:
    bucket = Gcra(parse_limit("30/minute"))
    assert all(admits(bucket, START, 1) for _ in range(30))
    assert bucket.retry_at(START, 1) == START + 2
    assert bucket.retry_at(START, 5) == START + 10
    assert admits(bucket, START + 2, 1)
    assert not admits(bucket, START + 2, 1)


def test_charging_past_a_minutes_limit_locks_out_for_no_longer_than_the_minute() -> None:
    bucket = Gcra(parse_limit("10/minute"))
    for _ in range(10_000):
        bucket.add(START, 7)
    assert bucket.retry_at(START + 30, 10) == START + 60
    assert bucket.retry_at(START + 60, 10) == 0.0


def test_a_cost_above_the_amount_never_fits_and_says_a_window() -> None:
    for limit in (parse_limit("5/minute"), parse_limit("5/hour")):
        state = meter(limit)
        assert state.retry_at(START, 6) == START + limit.seconds
        assert state.retry_at(START, 5) == 0.0


@pytest.mark.parametrize(
    "state",
    [
        None,
        "",
        [],
        {},
        True,
        -1.0,
        1e300,
        float("nan"),
        float("inf"),
        ["", []][:1],
        ["", [1]],
        ["AAAA", []],
        ["????", [1]],
        [["AA"], [1]],
        ["AAAAAAAA8D8AAAAAAADwPw==", [0]],
        ["AAAAAAAA8D8AAAAAAADwPw==", [True]],
        ["AAAAAAAA8D8AAAAAAADwPw==", ["1"]],
        ["AAAAAAAA8D8AAAAAAADwPw==", [1] * 1000],
        ["AAAAAAAA+H8AAAAAAAD4fw==", [1]],  # not a number
        ["AAAAAAAAAEAAAAAAAADwPwAAAAAAAPA/", [1, 1]],  # times that go back
        ["AAAAAAAA8D8AAAAAAAAAQA==", [1]],  # opened after its latest count
        ["\u0661", [1]],
    ],
)
def test_a_state_that_dump_cannot_have_given_is_a_value_error(state: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Window(parse_limit("5/hour")).restore(state)
    if not isinstance(state, float) or not 0 <= state < 1e12:
        with pytest.raises(ValueError, match=r"."):
            Gcra(parse_limit("5/minute")).restore(state)
