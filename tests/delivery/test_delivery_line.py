from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.line import SHARES, Line
from postlatch.spool.priority import BULK, NORMAL, URGENT


def full(each: int = 100) -> Line[tuple[int, int]]:
    line: Line[tuple[int, int]] = Line()
    for number in range(each):
        for kind in (BULK, NORMAL, URGENT):
            line.put((kind, number), kind)
    return line


def test_each_class_has_its_share_while_there_is_too_much_of_all() -> None:
    line = full()
    taken = Counter(line.take()[0] for _ in range(2 * sum(SHARES)))  # type: ignore[index]
    assert (taken[URGENT], taken[NORMAL], taken[BULK]) == tuple(2 * share for share in SHARES)


def test_urgent_mail_comes_first_and_bulk_still_moves() -> None:
    line = full()
    first = [line.take() for _ in range(sum(SHARES))]
    assert [thing[0] for thing in first if thing][:16] == [URGENT] * 16
    assert BULK in {thing[0] for thing in first if thing}


def test_what_one_class_leaves_the_others_get() -> None:
    line: Line[int] = Line()
    for number in range(50):
        line.put(number, BULK)
    assert [line.take() for _ in range(50)] == list(range(50))
    assert line.take() is None


def test_a_class_that_may_not_go_is_left_waiting() -> None:
    line = full(3)
    assert [thing[0] for _ in range(6) if (thing := line.take(NORMAL))] == [URGENT] * 3 + [NORMAL] * 3
    assert (line.take(NORMAL), line.size, line.first()) == (None, 3, BULK)


@given(st.lists(st.one_of(st.none(), st.integers(0, 2))))
def test_nothing_is_lost_or_made_and_each_class_keeps_its_order(steps: list[int | None]) -> None:
    line: Line[tuple[int, int]] = Line()
    put, taken = [], []
    for number, step in enumerate(steps):
        if step is not None:
            line.put((step, number), step)
            put.append((step, number))
        elif (thing := line.take()) is not None:
            taken.append(thing)
    assert line.size == len(put) - len(taken)
    assert line.first() == min((kind for kind, _ in line), default=-1)
    taken += line.take_all()
    assert sorted(taken) == sorted(put)
    assert line.size == 0
    for kind in (URGENT, NORMAL, BULK):
        assert [thing for thing in taken if thing[0] == kind] == [thing for thing in put if thing[0] == kind]


@given(st.lists(st.integers(0, 2), max_size=400))
def test_no_class_waits_longer_than_a_round(arrivals: list[int]) -> None:
    line = full(400)
    waited = [0, 0, 0]
    for _ in arrivals:
        kind, _ = line.take() or (-1, 0)
        for other in range(3):
            waited[other] = 0 if other == kind else waited[other] + 1
            assert waited[other] <= sum(SHARES)
