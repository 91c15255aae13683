"""Message ids: they sort by time, survive being written down, and do not repeat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.ids import LENGTH, IdSource, format_id, parse_id
from postlatch.testing.clock import FakeClock


@given(st.integers(0, 2**63 - 1))
def test_an_id_reads_back_in_either_case(number: int) -> None:
    text = format_id(number)
    assert len(text) == LENGTH
    assert parse_id(text) == parse_id(text.lower()) == number


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_ids_sort_as_their_numbers_do(one: int, other: int) -> None:
    assert (format_id(one) < format_id(other)) == (one < other)


@pytest.mark.parametrize("text", ["", "0", "01K3F9Q2ZB7N", "01K3F9Q2ZB7NMM", "01K3F9Q2ZB7NU", "\u0661" * 13, "ZZZZZZZZZZZZZ"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"13 letters|out of range"):
        parse_id(text)


def test_ids_grow_even_when_the_clock_goes_back() -> None:
    clock = FakeClock()
    source = IdSource(clock.now, start=0x3FFFFF)
    seen = []
    for step in range(50):
        seen.append(source.next())
        clock.jump(-60 if step % 7 == 0 else 0.001)
    assert seen == sorted(set(seen))
