from __future__ import annotations

import pytest
from delivery_fakes import delivered, permanent, temporary
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.pace import (
    FLOOR_LIMIT,
    FLOOR_RATE,
    FREE_RATE,
    RECOVER_SECONDS,
    Bounds,
    Pace,
    Said,
    begin,
    fitted,
    halved,
    learn,
    turn,
)
from postlatch.delivery.signals import complaint_of, said


@pytest.mark.parametrize(
    ("before", "word", "after"),
    [
        (Pace(5, 20, 0, 0), Said.GOOD, Pace(6, 20, 0, 0)),  # nothing known against it: up by one a success
        (Pace(20, 20, 0, 0), Said.GOOD, Pace(20, 20, 0, 0)),
        (Pace(10, 5, 0, 0), Said.GOOD, Pace(10.1, 5, 0, 0)),  # beyond what was too much once: up by one a round
        (Pace(4, 5, 0, 0), Said.GOOD, Pace(5, 5, 0, 0)),
        (Pace(20, 20, 0, 0), Said.CROWDED, Pace(10, 10, 0, 0)),
        (Pace(1, 1, 0, 0), Said.CROWDED, Pace(1, 1, 0, 0)),
        (Pace(20, 20, 0, 0), Said.TOO_FAST, Pace(20, 20, 5, 100)),  # half of the ten a second that were seen
        (Pace(20, 20, 3, 0), Said.TOO_FAST, Pace(20, 20, 1.5, 100)),
    ],
)
def test_a_pace_after_one_word(before: Pace, word: Said, after: Pace) -> None:
    assert learn(before, Bounds(), 100.0, word, seen=10.0) == after


def test_a_pace_that_has_found_its_bounds_costs_nothing() -> None:
    pace = Pace(20, 20, 0, 0)
    assert learn(pace, Bounds(), 100.0, Said.GOOD) is pace


def test_a_rate_comes_back_slowly_and_is_forgotten_at_last() -> None:
    pace, now, steps = Pace(20, 20, 1.0, 0.0), 0.0, 0
    while pace.rate:
        before = pace
        assert learn(pace, Bounds(), now + RECOVER_SECONDS - 1, Said.GOOD) == pace
        now += RECOVER_SECONDS
        pace = learn(pace, Bounds(), now, Said.GOOD)
        assert pace.rate == 0 or pace.rate == before.rate * 1.25
        steps += 1
    assert 20 < steps < 40


def test_a_configured_rate_is_never_passed() -> None:
    bounds = Bounds(rate=2.0)
    pace = learn(begin(bounds, 0.0), bounds, 0.0, Said.TOO_FAST)
    assert pace.rate == 1.0
    for minute in range(1, 100):
        pace = learn(pace, bounds, minute * 61.0, Said.GOOD)
    assert pace.rate == 2.0


words = st.lists(st.tuples(st.sampled_from([*Said, "down"]), st.floats(0, 1e5), st.floats(0, 5000)), max_size=200)


@given(
    words,
    st.builds(Bounds, st.integers(1, 50), st.integers(1, 50), st.one_of(st.just(0.0), st.floats(FLOOR_RATE, 500))),
)
def test_a_pace_stays_within_its_bounds(steps: list[tuple[Said | str, float, float]], bounds: Bounds) -> None:
    pace, now = begin(bounds, 0.0), 0.0
    for word, seconds, seen in steps:
        now += seconds
        pace = halved(pace) if isinstance(word, str) else learn(pace, bounds, now, word, seen)
        assert FLOOR_LIMIT <= pace.limit <= bounds.most
        assert pace.calm <= bounds.most
        if bounds.rate:
            assert 0 < pace.rate <= bounds.rate
        else:
            assert pace.rate == 0 or FLOOR_RATE <= pace.rate < max(FREE_RATE, 2500)


@given(words, st.integers(1, 30), st.floats(0.1, 100))
def test_a_pace_fits_new_bounds(steps: list[tuple[Said | str, float, float]], most: int, rate: float) -> None:
    pace = begin(Bounds(), 0.0)
    for word, now, seen in steps:
        pace = halved(pace) if isinstance(word, str) else learn(pace, Bounds(), now, word, seen)
    new = fitted(pace, Bounds(most=most, rate=rate))
    assert 1 <= new.limit <= most
    assert 0 < new.rate <= rate


@given(st.floats(0.05, 500), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_a_rate_is_kept_over_any_time(rate: float, gaps: list[float]) -> None:
    now, at, sent = 1000.0, 0.0, []
    for gap in gaps:
        now += gap
        if now >= at:
            at = turn(at, rate, now)
            sent.append(now)
    length = sent[-1] - sent[0]
    assert len(sent) <= length * rate + 0.1 * rate + 1 + 1e-6


@pytest.mark.parametrize(
    ("reply", "enhanced", "means"),
    [
        ("421 4.7.0 too many concurrent SMTP connections", "4.7.0", Said.CROWDED),
        ("421 4.3.2 Service shutting down", "4.3.2", Said.CROWDED),
        ("452 4.3.2 Too many sessions from your host", "4.3.2", Said.CROWDED),
        ("450 4.7.1 Error: too much mail from 192.0.2.1", "4.7.1", Said.TOO_FAST),
        ("451 4.7.0 Temporary rate limit exceeded", "4.7.0", Said.TOO_FAST),
        ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail; rate limited", "4.7.28", Said.TOO_FAST),
        ("450 4.2.1 The user is receiving mail too quickly", "4.2.1", Said.TOO_FAST),
        ("450 4.7.1 Greylisted, see http://postgrey.example/help", "4.7.1", None),
        ("451 4.7.1 Please try again later (grey-listing)", "4.7.1", None),
        ("452 4.2.2 mailbox full", "4.2.2", None),
        ("451 4.3.0 lookup failed", "4.3.0", None),
        ("connect timed out", "4.4.1", None),
    ],
)
def test_what_a_reply_complains_of(reply: str, enhanced: str, means: Said | None) -> None:
    assert complaint_of(reply, enhanced) is means


def test_the_gravest_word_of_several_counts() -> None:
    crowded, fast = (
        temporary(reply="421 4.3.2 busy", enhanced="4.3.2"),
        temporary(reply="450 4.7.0 slow down", enhanced="4.7.0"),
    )
    assert said([delivered()]) is Said.GOOD
    assert said([permanent()]) is Said.GOOD
    assert said([temporary()]) is None
    assert said([delivered(), temporary()]) is Said.GOOD
    assert said([delivered(), crowded]) is Said.CROWDED
    assert said([crowded, delivered(), fast]) is Said.TOO_FAST
