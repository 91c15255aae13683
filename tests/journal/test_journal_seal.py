from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from journal_helpers import DAY, MIDNIGHT, Journal

from postlatch.journal.chain import START, Batch, Segment, batch_hash, segment_seal
from postlatch.journal.read import head, read
from postlatch.journal.seal import Sealer
from postlatch.journal.verify import verify
from postlatch.model.events import Event
from postlatch.store.database import open_database
from postlatch.store.writer import Writer
from postlatch.testing.clock import FakeClock


def rows(journal: Journal) -> list[Batch]:
    return [Batch(*row) for row in journal.db.execute("SELECT * FROM journal_batches ORDER BY first_seq")]


def segments(journal: Journal) -> list[Segment]:
    return [Segment(*row) for row in journal.db.execute("SELECT * FROM journal_segments ORDER BY segment")]


def test_a_batch_is_one_row_however_many_events_it_holds() -> None:
    journal = Journal()
    journal.write(1, 200)
    assert [(row.first_seq, row.last_seq, row.batch, row.segment) for row in rows(journal)] == [(1, 1, 1, 1), (2, 201, 2, 1)]
    assert verify(journal.db).ok


def test_nothing_to_tell_is_no_row() -> None:
    journal = Journal()
    journal.seal()
    assert rows(journal) == []
    assert head(journal.db) is None


def test_each_hash_covers_the_one_before_and_the_bytes_are_as_documented() -> None:
    journal = Journal()
    journal.write(2, 3)
    first, second = rows(journal)
    assert first.hash == batch_hash(START, first, first.payload)
    assert second.hash == batch_hash(first.hash, second, second.payload)


def test_a_new_day_closes_the_segment_and_the_next_one_links_to_its_seal() -> None:
    journal = Journal()
    journal.write(2, 1)
    closed_by = journal.clock.now()
    journal.next_day()
    journal.write(1)
    (segment,) = segments(journal)
    before, after = rows(journal)[1:]
    assert (segment.segment, segment.first_seq, segment.last_seq, segment.last_batch, segment.events) == (1, 1, 3, 2, 3)
    assert (segment.day, segment.writer, segment.pruned_at) == (MIDNIGHT // DAY, "relay", None)
    assert (segment.first_at, segment.last_at) == (MIDNIGHT + 1, closed_by)
    assert segment.closed_at == journal.clock.now()
    assert segment.head == before.hash
    assert segment.seal == segment_seal(START, segment)
    assert after.segment == 2
    assert after.hash == batch_hash(segment.seal, after, after.payload)


def test_a_rollback_leaves_no_trace_and_the_retry_takes_the_same_numbers() -> None:
    journal = Journal()
    journal.write(2)
    lost, kept = journal.event(why="lost"), journal.event(why="kept")
    journal.db.execute("BEGIN")
    journal.sealer.seal(journal.db, [lost, kept])
    journal.db.execute("ROLLBACK")
    journal.seal(kept)
    assert [record.get("why") for record in read(journal.db, 2, 10)] == ["kept"]
    assert verify(journal.db).ok


def test_a_rollback_at_midnight_reopens_the_day_and_the_retry_closes_it_again() -> None:
    journal = Journal()
    journal.write(2)
    journal.next_day()
    event = journal.event()
    journal.db.execute("BEGIN")
    journal.sealer.seal(journal.db, [event])
    journal.db.execute("ROLLBACK")
    assert segments(journal) == []
    journal.seal(event)
    assert len(segments(journal)) == 1
    assert verify(journal.db).ok


def test_two_seals_in_one_transaction_follow_each_other() -> None:
    journal = Journal()
    journal.db.execute("BEGIN")
    journal.sealer.seal(journal.db, [journal.event()])
    journal.sealer.seal(journal.db, [journal.event()])
    journal.db.execute("COMMIT")
    assert [row.last_seq for row in rows(journal)] == [1, 2]
    assert verify(journal.db).ok


def test_a_clock_that_steps_back_over_midnight_does_not_reopen_yesterday() -> None:
    journal = Journal()
    journal.write(1)
    journal.next_day()
    journal.write(1)
    journal.clock.jump(-30)
    journal.write(1)
    assert [row.segment for row in rows(journal)] == [1, 2, 2]
    assert len({row.day for row in rows(journal)[1:]}) == 1
    journal.next_day()
    journal.write(1)
    assert [row.segment for row in rows(journal)] == [1, 2, 2, 2]  # 30 s later it is the same day again
    assert verify(journal.db).ok


def test_a_clock_that_stood_in_the_future_does_not_hold_a_segment_open_for_years() -> None:
    journal = Journal()
    journal.write(1)
    journal.clock.jump(3650 * DAY)
    journal.write(1)
    journal.clock.jump(-3650 * DAY)
    journal.write(1)
    assert [row.segment for row in rows(journal)] == [1, 2, 3]
    assert [segment.closed_at >= segment.last_at for segment in segments(journal)] == [True, True]


def test_a_clock_that_starts_in_1970_does_not_make_yesterday_look_old() -> None:
    journal = Journal()
    journal.write(1)
    last_at = journal.clock.now()
    journal.clock.jump(-MIDNIGHT)
    journal.write(1)
    assert segments(journal)[0].closed_at == last_at


def test_another_writer_goes_on_in_a_segment_of_its_own() -> None:
    journal = Journal()
    journal.write(2)
    other = Journal(journal.db, writer="relay.new.example")
    other.write(1, 1)
    assert [(row.writer, row.segment, row.first_seq) for row in rows(journal)] == [
        ("relay", 1, 1),
        ("relay.new.example", 2, 3),
        ("relay.new.example", 2, 4),
    ]
    assert verify(journal.db).ok


def test_the_database_itself_refuses_to_change_or_delete_what_was_written() -> None:
    journal = Journal()
    journal.days(2)
    for statement in (
        "UPDATE journal_batches SET writer = 'x' WHERE first_seq = 1",
        "DELETE FROM journal_batches WHERE first_seq = 1",
        "UPDATE journal_segments SET head = zeroblob(32)",
        "UPDATE journal_segments SET closed_at = closed_at + 1, pruned_at = 1",
        "DELETE FROM journal_segments",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            journal.db.execute(statement)
    assert verify(journal.db).ok


def test_the_writer_seals_what_it_commits_and_a_bad_neighbour_changes_nothing(tmp_path: Path) -> None:
    def fails(_: sqlite3.Connection) -> None:
        raise KeyError("a bad operation")

    async def scenario() -> None:
        writer = Writer(lambda: open_database(tmp_path / "postlatch.db", create=True), Sealer("relay", FakeClock()).seal)
        writer.start()
        good = [writer.submit([], [Event("message.accepted", MIDNIGHT, {"message": str(i)})]) for i in range(20)]
        bad = writer.submit([fails], [Event("message.accepted", MIDNIGHT, {"message": "bad"})])
        good += [writer.submit([], [Event("message.accepted", MIDNIGHT, {"message": str(i)})]) for i in range(20, 40)]
        await asyncio.gather(*good)
        with pytest.raises(KeyError):
            await bad
        await writer.close()

    asyncio.run(scenario())
    connection = open_database(tmp_path / "postlatch.db", create=False)
    assert [record["message"] for record in read(connection, 0, 100)] == [str(i) for i in range(40)]
    assert verify(connection).ok
    connection.close()


def test_a_journal_whose_batches_were_all_taken_away_goes_on_behind_its_last_seal() -> None:
    journal = Journal()
    journal.days(2)
    (segment,) = segments(journal)
    journal.tamper("DELETE FROM journal_batches")
    journal.write(1)
    assert (rows(journal)[0].first_seq, rows(journal)[0].segment) == (segment.last_seq + 1, 2)
    report = verify(journal.db)
    assert report.failures == ("Events 1 to 6 are missing.",)


def every_event(seqs: Sequence[int]) -> list[int]:
    return list(range(1, len(seqs) + 1))


def test_numbers_have_no_gap_over_days_and_writers() -> None:
    journal = Journal()
    journal.days(3)
    Journal(journal.db, writer="other").write(5)
    seqs = [record["seq"] for record in read(journal.db, 0, 1000)]
    assert seqs == every_event(seqs)
