from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.schedule import DAY, HOUR, MINUTE, RetryPolicy, next_attempt, warn_due

POLICY = RetryPolicy()
STEADY = RetryPolicy(jitter=0.0)
RECEIVED = 1_767_225_600.0


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (7, 120), (8, 240), (9, 240), (500, 240)]
)
def test_the_delay_grows_from_five_minutes_to_four_hours(attempts: int, minutes: int) -> None:
    assert next_attempt(STEADY, attempts, RECEIVED, RECEIVED + 10, Random(1)) == RECEIVED + 10 + minutes * MINUTE


@given(
    attempts=st.integers(min_value=0, max_value=10_000),
    age=st.floats(min_value=-DAY, max_value=20 * DAY),
    seed=st.integers(),
)
def test_an_attempt_lies_in_the_future_and_within_the_life_of_the_message(attempts: int, age: float, seed: int) -> None:
    now = RECEIVED + age
    at = next_attempt(POLICY, attempts, RECEIVED, now, Random(seed))
    if now >= RECEIVED + POLICY.max_age:
        assert at is None
    else:
        assert at is not None
        assert now < at <= RECEIVED + POLICY.max_age
        assert at - now <= 4 * HOUR * 1.2


@given(attempts=st.integers(min_value=1, max_value=20), seed=st.integers())
def test_jitter_stays_within_a_fifth_either_way(attempts: int, seed: int) -> None:
    plain = next_attempt(STEADY, attempts, RECEIVED, RECEIVED, Random(seed))
    varied = next_attempt(POLICY, attempts, RECEIVED, RECEIVED, Random(seed))
    assert plain is not None
    assert varied is not None
    assert 0.8 * (plain - RECEIVED) - 0.001 <= varied - RECEIVED <= 1.2 * (plain - RECEIVED) + 0.001


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    random = Random(7)
    times = {next_attempt(POLICY, 1, RECEIVED, RECEIVED, random) for _ in range(100)}
    assert len(times) > 90


def test_the_last_attempt_falls_on_the_end_of_the_messages_life() -> None:
    now = RECEIVED + POLICY.max_age - 60
    assert next_attempt(POLICY, 30, RECEIVED, now, Random(1)) == RECEIVED + POLICY.max_age
    assert next_attempt(POLICY, 31, RECEIVED, RECEIVED + POLICY.max_age, Random(1)) is None


def test_a_message_that_the_clock_puts_into_the_future_is_tried_like_a_new_one() -> None:
    at = next_attempt(STEADY, 1, RECEIVED + 9 * DAY, RECEIVED, Random(1))
    assert at == RECEIVED + 5 * MINUTE


@pytest.mark.parametrize(
    ("age", "warned", "due"), [(0, False, False), (4 * HOUR - 1, False, False), (4 * HOUR, False, True), (DAY, True, False)]
)
def test_a_late_message_is_reported_once_after_four_hours(age: float, warned: bool, due: bool) -> None:
    assert warn_due(POLICY, RECEIVED, RECEIVED + age, warned=warned) is due


@pytest.mark.parametrize("bad", [{"delays": ()}, {"delays": (0.0,)}, {"jitter": 1.0}, {"jitter": -0.1}, {"max_age": 0.0}])
def test_a_policy_that_would_spin_or_never_try_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be above zero"):
        RetryPolicy(**bad)  # type: ignore[arg-type]
