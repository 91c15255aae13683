from __future__ import annotations

import json
import sqlite3

import pytest
from journal_helpers import DAY, HOSTILE, MIDNIGHT, Journal

from postlatch.journal.codec import Record
from postlatch.journal.read import JournalDamaged, batches, export, head, read
from postlatch.journal.search import Query, search, tail


def seqs(records: list[Record]) -> list[int]:
    return [record["seq"] for record in records]


def test_a_cursor_reads_everything_once_whatever_the_page() -> None:
    journal = Journal()
    journal.days(3, batches=(3, 1, 70))
    for limit in (1, 2, 7, 1000):
        found: list[int] = []
        while page := read(journal.db, found[-1] if found else 0, limit):
            assert len(page) <= limit
            found += seqs(page)
        assert found == list(range(1, 3 * 74 + 1))


def test_a_cursor_at_or_behind_the_end_gets_nothing_until_something_is_written() -> None:
    journal = Journal()
    assert read(journal.db, 0, 10) == []
    journal.write(3)
    assert read(journal.db, 3, 10) == []
    assert read(journal.db, 99, 10) == []
    journal.write(1)
    assert seqs(read(journal.db, 3, 10)) == [4]


def test_batches_come_in_pages_and_none_is_left_out() -> None:
    journal = Journal()
    journal.write(*[2] * 11)
    for page in (1, 2, 5, 11, 12):
        assert [batch.first_seq for batch in batches(journal.db, 4, 15, page)] == list(range(3, 16, 2))


def test_the_tail_is_the_end_and_following_it_misses_nothing() -> None:
    journal = Journal()
    journal.write(*[3] * 50)
    last = tail(journal.db, 100)
    assert seqs(last) == list(range(51, 151))
    journal.write(2)
    assert seqs(read(journal.db, last[-1]["seq"], 10)) == [151, 152]


def test_the_head_is_the_last_hash_and_moves_with_every_batch() -> None:
    journal = Journal()
    journal.write(2)
    first = head(journal.db)
    assert first is not None
    assert (first.seq, first.batch, first.segment, first.writer, len(first.hash)) == (2, 1, 1, "relay", 64)
    assert first.at == journal.clock.now()
    journal.write(1)
    second = head(journal.db)
    assert second is not None
    assert second.hash != first.hash


def mixed() -> Journal:
    """Two days; one message by alice, one refused stranger, one bounce, among 200 others."""
    journal = Journal()
    journal.write(40, 60)
    journal.seal(
        journal.event("auth.succeeded", account="alice", client="2001:db8::7", listener="submission"),
        journal.event(
            "message.accepted", message="01K3F9Q2ZB7NM", account="alice", client="2001:db8::7", sender="Alice@Example.com"
        ),
        journal.event("recipient.refused", client="203.0.113.9", recipient="Victim@Far.example", why="Ärger über\n100 %"),
    )
    journal.next_day()
    journal.write(50)
    journal.seal(journal.event("delivery.bounced", message="01K3F9Q2ZB7NM", recipient=["bob@far.example", "eve@far.example"]))
    journal.write(50)
    return journal


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(message="01K3F9Q2ZB7NM"), [102, 154]),
        (Query(message="01k3f9q2zb7nm"), [102, 154]),
        (Query(account="alice"), [101, 102]),
        (Query(account="ALICE", event="auth"), [101]),
        (Query(address="alice@example.com"), [102]),
        (Query(address="victim@far.example"), [103]),
        (Query(address="eve@far.example"), [154]),
        (Query(client="2001:DB8:0::7"), [101, 102]),
        (Query(client="203.0.113.0/24"), [103]),
        (Query(client="2001:db8::/32", event="message.accepted"), [102]),
        (Query(event="delivery"), [154]),
        (Query(event="delivery.bounced"), [154]),
        (Query(event="auth.succeeded", account="bob"), []),
        (Query(text="ÄrGER"), [103]),
        (Query(text="Ärger ÜBER"), []),
        (Query(text="Ärger über\n100 %"), [103]),
        (Query(text="FAR.EXAMPLE"), [103, 154]),
        (Query(message="01K3F9Q2ZB7NM", since=MIDNIGHT + DAY), [154]),
        (Query(message="01K3F9Q2ZB7NM", until=MIDNIGHT + DAY), [102]),
        (Query(message="alice"), []),
        (Query(message="01K3F9Q2ZB7NX"), []),
    ],
    ids=str,
)
def test_a_search_finds_exactly_what_was_asked_for(query: Query, expected: list[int]) -> None:
    assert seqs(search(mixed().db, query, 100)) == expected


def test_a_search_gives_the_newest_first_found_and_the_oldest_first_told() -> None:
    journal = mixed()
    assert seqs(search(journal.db, Query(event="message"), 3)) == [202, 203, 204]
    assert seqs(search(journal.db, Query(), 1000)) == list(range(1, 205))
    assert seqs(search(journal.db, Query(since=MIDNIGHT + 50, until=MIDNIGHT + 53), 10)) == [50, 51, 52]


def test_a_search_in_a_time_of_which_nothing_is_left_or_known_is_empty() -> None:
    journal = mixed()
    assert search(journal.db, Query(until=MIDNIGHT), 10) == []
    assert search(journal.db, Query(since=4e9), 10) == []
    assert search(Journal().db, Query(), 10) == []


def test_times_are_found_also_where_the_clock_went_back() -> None:
    journal = Journal()
    journal.write(5)
    journal.next_day()
    journal.write(5)
    journal.clock.jump(-DAY)
    journal.write(5)
    found = search(journal.db, Query(until=MIDNIGHT + DAY), 100)
    assert seqs(found) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]


@pytest.mark.parametrize("query", [{"client": "not an\x1b address"}, {"event": "no.such.event"}, {"event": "deliver"}])
def test_a_query_that_can_find_nothing_is_refused_and_says_so(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"not an address|no event") as error:
        Query(**query)  # type: ignore[arg-type]
    assert "\x1b" not in str(error.value)


def test_a_followers_record_can_be_asked_too() -> None:
    (record,) = search(mixed().db, Query(message="01K3F9Q2ZB7NM", event="delivery"), 1)
    assert Query(address="BOB@far.example").matches(record)
    assert not Query(client="192.0.2.1").matches(record)
    assert not Query(client="192.0.2.1").matches(record | {"client": "unknown"})


def test_an_export_is_ndjson_with_the_schema_in_each_line_and_nothing_else_added() -> None:
    journal = mixed()
    lines = list(export(journal.db, MIDNIGHT, MIDNIGHT + DAY))
    assert len(lines) == 103
    first = json.loads(lines[0])
    assert first.pop("schema") == "postlatch.journal/1"
    assert first == read(journal.db, 0, 1)[0]
    assert all(line.startswith('{"schema":"postlatch.journal/1","seq":') for line in lines)
    assert [json.loads(line)["seq"] for line in export(journal.db, MIDNIGHT + 40, MIDNIGHT + 43)] == [40, 41, 42]


def test_an_exported_line_is_safe_to_print() -> None:
    journal = Journal()
    journal.seal(journal.event("session.ended", helo=HOSTILE))
    (line,) = export(journal.db, 0, 4e9)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["helo"] == HOSTILE


def test_a_damaged_batch_is_said_and_says_what_to_do() -> None:
    journal = mixed()
    journal.on_payload(101, lambda payload: payload[:-1])
    for attempt in (lambda: read(journal.db, 100, 5), lambda: tail(journal.db, 200), lambda: list(export(journal.db, 0, 4e9))):
        with pytest.raises(JournalDamaged, match="journal verify"):
            attempt()


def test_a_search_for_one_key_does_not_unpack_the_other_batches() -> None:
    journal = mixed()
    journal.on_payload(1, lambda _: b"damaged")
    assert seqs(search(journal.db, Query(account="alice"), 10)) == [101, 102]


def test_reading_leaves_no_transaction_open() -> None:
    journal = mixed()
    lines = export(journal.db, 0, 4e9)
    next(lines)
    other: sqlite3.Connection = journal.db
    assert not other.in_transaction


@pytest.mark.parametrize(("client", "found"), [("192.0.2.9", 1), ("192.0.0.0/16", 1), ("192.0.3.0/24", 0), ("2001:db8::1", 0)])
def test_a_search_for_a_client_finds_the_flood_that_it_was_part_of(client: str, found: int) -> None:
    journal = Journal()
    journal.seal(journal.event("refusals.aggregated", client="192.0.2.0/24", count=5))
    assert len(search(journal.db, Query(client=client), 10)) == found
