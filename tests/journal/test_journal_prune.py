from __future__ import annotations

import pytest
from journal_helpers import DAY, MIDNIGHT, Journal

from postlatch.journal.prune import STEP, prune
from postlatch.journal.read import export, head, read
from postlatch.journal.search import tail
from postlatch.journal.verify import verify


def prune_all(journal: Journal, before: float) -> int:
    """Do what the relay does; how many steps it took."""
    steps = 0
    while (step := prune(journal.db, before, journal.clock.now())) is not None:
        journal.db.execute("BEGIN")
        step.operation(journal.db)
        journal.sealer.seal(journal.db, step.events)
        journal.db.execute("COMMIT")
        steps += 1
        assert verify(journal.db).ok
    return steps


def test_old_segments_go_their_heads_stay_and_the_chain_is_whole() -> None:
    journal = Journal()
    journal.days(4)
    heads = journal.db.execute("SELECT segment, head, seal FROM journal_segments").fetchall()
    assert prune_all(journal, MIDNIGHT + 2.5 * DAY) == 1
    assert journal.db.execute("SELECT segment, head, seal FROM journal_segments").fetchall() == heads
    assert [record["seq"] for record in read(journal.db, 0, 100)] == list(range(13, 26))
    assert tail(journal.db, 1)[0] | {"at": 0} == {
        "seq": 25,
        "at": 0,
        "event": "journal.pruned",
        "first_segment": 1,
        "last_segment": 2,
        "events": 12,
    }
    report = verify(journal.db)
    assert report.ok
    assert report.findings == ("Segments 1 to 2 are pruned; their heads are kept.",)


def test_nothing_is_old_enough_or_closed_and_nothing_happens() -> None:
    journal = Journal()
    journal.days(2)
    assert prune(journal.db, MIDNIGHT + DAY, journal.clock.now()) is None
    assert prune(Journal().db, MIDNIGHT, MIDNIGHT) is None
    prune_all(journal, MIDNIGHT + 100 * DAY)
    assert [record["seq"] for record in read(journal.db, 0, 100)] == list(range(7, 14))  # the open segment stays


def test_a_great_many_batches_go_in_steps_and_every_state_between_is_good() -> None:
    journal = Journal()
    journal.write(*[1] * (2 * STEP + 10))
    journal.next_day()
    journal.write(1)
    assert prune_all(journal, MIDNIGHT + 2 * DAY) == 3
    assert [record["event"] for record in read(journal.db, 0, 100)] == ["message.accepted", "journal.pruned"]


def test_pruning_again_and_again_keeps_every_head() -> None:
    journal = Journal()
    for day in range(1, 8):
        journal.write(2, 2)
        journal.next_day()
        journal.write(1)
        prune_all(journal, MIDNIGHT + (day - 1) * DAY)
    assert journal.db.execute("SELECT count(*), count(pruned_at) FROM journal_segments").fetchone() == (7, 5)
    assert verify(journal.db).ok


@pytest.mark.parametrize("column", ["head", "seal", "last_seq", "closed_at"])
@pytest.mark.parametrize("segment", [1, 2, 3])
def test_an_edited_row_of_a_pruned_segment_is_noticed(segment: int, column: str) -> None:
    journal = Journal()
    journal.days(5)
    prune_all(journal, MIDNIGHT + 3.5 * DAY)
    value: object = bytes(32) if column in {"head", "seal"} else 1000
    journal.tamper(f"UPDATE journal_segments SET {column} = ? WHERE segment = ?", value, segment)
    report = verify(journal.db)
    assert f"Segment {segment}" in "\n".join(report.failures)


def test_marking_one_more_segment_as_pruned_is_noticed() -> None:
    journal = Journal()
    journal.days(5)
    prune_all(journal, MIDNIGHT + 2.5 * DAY)
    journal.tamper("UPDATE journal_segments SET pruned_at = 1.0 WHERE segment = 3")
    journal.tamper("DELETE FROM journal_batches WHERE segment = 3")
    assert "Segment 3 is marked as pruned, but no event says that it was." in verify(journal.db).failures


def test_an_exported_head_of_a_pruned_segment_is_compared_with_what_is_kept() -> None:
    journal = Journal()
    journal.write(2)
    inside = head(journal.db)
    journal.write(2)
    at_end = head(journal.db)
    journal.next_day()
    journal.write(1)
    prune_all(journal, MIDNIGHT + 3 * DAY)
    assert inside is not None
    assert at_end is not None
    report = verify(journal.db, heads=[inside, at_end])
    assert report.ok
    assert "The head of event 2 cannot be compared any more: that segment is pruned." in report.findings
    assert not verify(journal.db, heads=[at_end._replace(hash="00" * 32)]).ok


def test_pruning_while_it_is_checked_is_not_a_failure() -> None:
    journal = Journal()
    journal.days(4)

    def meanwhile(done: int, _total: int) -> None:
        if done == 3:
            step = prune(journal.db, MIDNIGHT + 2.5 * DAY, journal.clock.now())
            assert step is not None
            journal.db.execute("BEGIN")
            step.operation(journal.db)
            journal.sealer.seal(journal.db, step.events)
            journal.db.execute("COMMIT")

    report = verify(journal.db, meanwhile)
    assert report.failures == ()


def test_a_day_in_the_future_keeps_nothing_for_ever() -> None:
    journal = Journal()
    journal.write(1)
    journal.seal(journal.event("clock.jumped"))
    journal.clock.jump(3650 * DAY)
    journal.write(1)
    journal.seal(journal.event("clock.jumped"))
    journal.clock.jump(-3650 * DAY)
    journal.write(1)
    journal.next_day()
    journal.write(1)
    prune_all(journal, journal.clock.now() + 1)
    assert [record["seq"] for record in read(journal.db, 0, 100)] == [6, 7]
    assert "journal.pruned" in list(export(journal.db, 0, 4e9))[-1]


def test_a_clock_that_starts_in_1970_costs_no_record() -> None:
    journal = Journal()
    journal.write(1)
    journal.clock.jump(-MIDNIGHT)
    journal.write(1)
    journal.clock.jump(MIDNIGHT)
    journal.write(1)
    assert prune(journal.db, MIDNIGHT - 90 * DAY, journal.clock.now()) is None
