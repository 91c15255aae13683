from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from journal_helpers import DAY, MIDNIGHT, Journal

from postlatch.journal.chain import Head
from postlatch.journal.read import head
from postlatch.journal.verify import VerifyReport, verify
from postlatch.store.database import open_database


def three_days() -> Journal:
    """Events 1-6, 7-12 and 13-18 in segments 1, 2 (closed) and 3 (open), each in batches of 3, 1 and 2."""
    journal = Journal()
    journal.days(3)
    return journal


def failures(journal: Journal) -> str:
    report = verify(journal.db)
    assert report.ok == (not report.failures)
    return "\n".join(report.failures)


def test_an_honest_journal_is_good_and_fully_counted() -> None:
    journal = three_days()
    seen: list[tuple[int, int]] = []
    report = verify(journal.db, lambda done, total: seen.append((done, total)))
    assert report == VerifyReport(
        ok=True, batches=9, events=18, findings=(), failures=(), head=head(journal.db), begin=MIDNIGHT + 1
    )
    assert seen[-1] == (18, 18)


def test_an_empty_journal_is_good_and_says_that_it_is_empty() -> None:
    report = verify(Journal().db)
    assert (report.ok, report.findings, report.head) == (True, ("The journal is empty.",), None)


@pytest.mark.parametrize("first_seq", [1, 10, 17], ids=["first segment", "middle", "open segment"])
def test_an_edited_payload_is_named(first_seq: int) -> None:
    journal = three_days()
    journal.on_payload(first_seq, lambda payload: payload.replace(b"elsewhere.example", b"elsewhere.exampl3"))
    text = failures(journal)
    assert f"(events {first_seq} to" in text
    assert "its hash does not match" in text
    assert text.count("\n") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda p: p[:-3],
        lambda p: p + b"\n{",
        lambda p: zlib.compress(p)[:-2],
        lambda _: b"[" * 10**5,
        lambda _: b"\xff{",
    ],
)
def test_a_damaged_payload_is_named_and_does_not_stop_the_check(change: Callable[[bytes], bytes]) -> None:
    journal = three_days()
    journal.on_payload(7, change)
    report = verify(journal.db)
    assert len(report.failures) == 1
    assert "(events 7 to 9" in report.failures[0]
    assert report.batches == 9


COLUMNS = {
    "last_seq": 12,
    "batch": 99,
    "segment": 9,
    "day": 1,
    "writer": "nobody",
    "first_at": 1.0,
    "last_at": 4e9,
    "segment_first_seq": 1,
    "segment_first_at": 1.0,
    "segment_last_at": 4e9,
    "hash": bytes(32),
    "keys": b"",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_of_a_batch_is_covered(column: str) -> None:
    journal = three_days()
    journal.tamper(f"UPDATE journal_batches SET {column} = ? WHERE first_seq = 7", COLUMNS[column])
    assert "7" in failures(journal)


SEGMENT_COLUMNS = {
    "day": 1,
    "writer": "nobody",
    "first_seq": 0,
    "last_seq": 11,
    "last_batch": 99,
    "first_at": 1.0,
    "last_at": 4e9,
    "closed_at": 4e9,
    "head": bytes(32),
    "seal": bytes(32),
    "segment": 7,
}


@pytest.mark.parametrize("column", SEGMENT_COLUMNS)
@pytest.mark.parametrize("segment", [1, 2])
def test_every_column_of_a_closed_segment_is_covered(column: str, segment: int) -> None:
    journal = three_days()
    journal.tamper(f"UPDATE journal_segments SET {column} = ? WHERE segment = ?", SEGMENT_COLUMNS[column], segment)
    assert "Segment" in failures(journal)


@pytest.mark.parametrize(
    ("first_seq", "missing"),
    [(1, "Events 1 to 3 are missing."), (10, "Events 10 to 10 are missing."), (11, "Events 11 to 12 are missing.")],
    ids=["the first", "in the middle", "the last of a closed segment"],
)
def test_a_deleted_batch_is_a_gap(first_seq: int, missing: str) -> None:
    journal = three_days()
    journal.tamper("DELETE FROM journal_batches WHERE first_seq = ?", first_seq)
    assert failures(journal) == missing


def test_a_gap_of_several_batches_is_told_once() -> None:
    journal = three_days()
    journal.tamper("DELETE FROM journal_batches WHERE first_seq BETWEEN 4 AND 9")
    assert failures(journal) == "Events 4 to 6 are missing.\nEvents 7 to 9 are missing."


def test_a_gap_at_the_end_of_a_segment_hides_nothing_in_the_next() -> None:
    journal = three_days()
    journal.tamper("DELETE FROM journal_batches WHERE first_seq = 11")
    journal.on_payload(13, lambda payload: payload.replace(b"elsewhere", b"elsewhore"))
    text = failures(journal)
    assert "Events 11 to 12 are missing." in text
    assert "(events 13 to 15" in text


def test_two_batches_that_changed_places_are_both_named() -> None:
    journal = Journal()
    journal.write(2, 2, 2)
    journal.tamper("UPDATE journal_batches SET first_seq = -1 WHERE first_seq = 1")
    journal.tamper("UPDATE journal_batches SET first_seq = 1, last_seq = 2 WHERE first_seq = 3")
    journal.tamper("UPDATE journal_batches SET first_seq = 3, last_seq = 4 WHERE first_seq = -1")
    text = failures(journal)
    assert "(events 1 to 2" in text
    assert "(events 3 to 4" in text


def test_a_batch_put_in_between_is_named() -> None:
    journal = three_days()
    journal.tamper(
        "INSERT INTO journal_batches SELECT 8, 8, batch, segment, day, writer, first_at, last_at, segment_first_seq, "
        "segment_first_at, segment_last_at, hash, keys, payload FROM journal_batches WHERE first_seq = 7"
    )
    assert "(events 8 to 8" in failures(journal)


def test_a_deleted_segment_row_is_named() -> None:
    journal = three_days()
    journal.tamper("DELETE FROM journal_segments WHERE segment = 1")
    assert "the row of segment 1 is missing" in failures(journal)


def test_deleting_the_newest_segment_row_is_noticed_by_the_batches_behind_it() -> None:
    journal = three_days()
    journal.tamper("DELETE FROM journal_segments WHERE segment = 2")
    assert "it belongs to segment 3" in failures(journal) or "its hash does not match" in failures(journal)


def test_a_whole_segment_cannot_be_called_pruned_without_an_event_that_says_so() -> None:
    journal = three_days()
    journal.tamper("UPDATE journal_segments SET pruned_at = 1.0 WHERE segment = 1")
    journal.tamper("DELETE FROM journal_batches WHERE segment = 1")
    assert failures(journal) == "Segment 1 is marked as pruned, but no event says that it was."


def test_a_pruned_segment_behind_a_kept_one_is_named() -> None:
    journal = three_days()
    journal.tamper("UPDATE journal_segments SET pruned_at = 1.0 WHERE segment = 2")
    assert "an older one is still there" in failures(journal)


def test_tables_that_hold_anything_are_not_ours() -> None:
    journal = three_days()
    journal.db.executescript(LOOSE)
    assert failures(journal) == "The tables of the journal are not those that Postlatch made."


LOOSE = """
CREATE TABLE loose AS SELECT * FROM journal_batches;
DROP TABLE journal_batches;
ALTER TABLE loose RENAME TO journal_batches;
"""


@pytest.mark.parametrize("column", ["last_seq", "batch", "writer", "first_at", "hash", "keys", "payload"])
@pytest.mark.parametrize("value", ["\x1b[31mred", None, b"\x1b", 1.5, 2**62])
def test_values_that_a_table_of_ours_cannot_hold_are_a_failure_and_not_a_traceback(column: str, value: object) -> None:
    journal = three_days()
    (strict,) = journal.db.execute("SELECT sql FROM sqlite_schema WHERE name = 'journal_batches'").fetchone()
    journal.db.executescript(LOOSE)
    journal.db.execute(f"UPDATE journal_batches SET {column} = ? WHERE first_seq = 7", (value,))
    journal.db.execute("PRAGMA writable_schema = ON")
    strict = (
        strict.replace("NOT NULL", "").replace("CHECK", "-- ").replace("first_seq INTEGER PRIMARY KEY", "first_seq INTEGER", 1)
    )
    journal.db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'journal_batches'", (strict,))
    journal.db.execute("PRAGMA writable_schema = RESET")
    text = failures(journal)
    assert text
    assert "\x1b" not in text


def test_an_end_that_was_cut_off_is_noticed_by_an_exported_head() -> None:
    journal = three_days()
    exported = head(journal.db)
    assert exported is not None
    journal.tamper("DELETE FROM journal_batches WHERE first_seq = 17")
    assert verify(journal.db).ok  # the chain alone cannot know
    report = verify(journal.db, heads=[exported])
    assert report.failures == ("The journal ends at event 16, but a head of event 18 was exported: its end was cut off.",)


def test_an_end_that_was_written_anew_is_noticed_by_an_exported_head() -> None:
    journal = three_days()
    exported = head(journal.db)
    assert exported is not None
    journal.tamper("DELETE FROM journal_batches WHERE first_seq = 17")
    journal.write(2)
    report = verify(journal.db, heads=[exported])
    assert report.failures == ("The head that was exported at event 18 is not the hash of the batch that ends there.",)
    journal.write(1)
    fine = verify(journal.db, heads=[head(journal.db) or exported])
    assert fine.ok


def test_a_head_between_two_batches_was_never_one_of_this_chain() -> None:
    journal = three_days()
    report = verify(journal.db, heads=[Head(8, "00" * 32, 4, 2, "relay", 0.0)])
    assert report.failures == ("No batch ends at event 8, of which a head was exported.",)


def test_the_list_of_failures_ends_with_a_count() -> None:
    journal = Journal()
    journal.write(*[1] * 150)
    journal.tamper("UPDATE journal_batches SET day = 1")
    report = verify(journal.db)
    assert len(report.failures) == 101
    assert report.failures[-1] == "And 50 more."


def test_a_clock_that_went_back_without_a_word_is_a_failure() -> None:
    journal = Journal()
    journal.write(2)
    journal.clock.jump(-3600)
    journal.write(2)
    assert failures(journal) == (
        "The clock went back from 2026-01-01T00:00:02Z to 2025-12-31T23:00:03Z at event 3, and no event says why."
    )


@pytest.mark.parametrize("before", [0, 5, 90], ids=["at once", "after some events", "late"])
def test_a_jump_that_is_on_record_is_a_finding(before: int) -> None:
    journal = Journal()
    journal.write(2)
    journal.clock.jump(-3600)
    journal.write(*[1] * before)
    journal.seal(journal.event("clock.jumped", why="NTP"))
    journal.write(200)
    report = verify(journal.db)
    assert report.ok
    assert len(report.findings) == 1
    assert "The clock was moved before event" in report.findings[0]


def test_a_jump_that_was_noticed_before_the_first_event_with_the_new_time_explains_it() -> None:
    journal = Journal()
    journal.write(2)
    journal.seal(journal.event("clock.jumped"))
    journal.clock.jump(-3600)
    journal.write(200)
    assert verify(journal.db).ok


def test_a_jump_explains_one_reversal_and_only_near_it() -> None:
    journal = Journal()
    journal.seal(journal.event("clock.jumped"))
    journal.clock.jump(-3600)
    journal.write(1)
    journal.clock.jump(-3600)
    journal.write(200)
    journal.seal(journal.event("clock.jumped"))
    assert failures(journal).count("The clock went back") == 1


def test_a_step_of_less_than_a_minute_back_and_any_step_forward_is_normal() -> None:
    journal = Journal()
    journal.write(2)
    journal.clock.jump(-55)
    journal.write(2)
    journal.clock.jump(5 * DAY)
    journal.write(2)
    assert verify(journal.db).ok


def test_what_is_written_while_it_is_checked_does_not_disturb() -> None:
    journal = three_days()

    def meanwhile(done: int, _total: int) -> None:
        if done == 4:
            journal.next_day()
            journal.write(3)

    report = verify(journal.db, meanwhile)
    assert report.ok
    assert report.events == 18
    assert verify(journal.db).events == 21


def test_a_destroyed_page_is_a_failure_and_not_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "postlatch.db"
    connection = open_database(path, create=True)
    journal = Journal(connection)
    journal.write(*[30] * 60)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal_batches'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    connection = open_database(path, create=False)
    report = verify(connection)
    connection.close()
    assert not report.ok
    assert "cannot be read" in report.failures[0]
