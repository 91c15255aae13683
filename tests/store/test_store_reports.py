"""Reports of others are kept once, up to what a day may bring; what we saw of others is counted by the day."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from postlatch.store import dmarc_seen, reports, tls_seen
from postlatch.store.database import open_database
from postlatch.store.dmarc_seen import Seen
from postlatch.store.reports import Added, NewReport, ReportRow, Wanted

NOW = 1_767_225_600.0
PASSED = ReportRow("192.0.2.1", 5, True, True, False, "none", "example.com", "", "")
FAILED = ReportRow("192.0.2.7", 120, False, False, False, "reject", "example.com", "x.example", "")
NAMELESS = NewReport(
    "dmarc", "google.com", "1", "example.com", "a@google.com", 100, 200, NOW, '{"p": "none"}', (PASSED, FAILED)
)
REPORT = NAMELESS._replace(author="google.com")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "postlatch.db", create=True)) as connection:
        yield connection


def test_a_report_is_kept_with_its_sums_and_its_failures(connection: sqlite3.Connection) -> None:
    assert reports.add(REPORT)(connection) is Added.NEW
    [found] = reports.load(connection, Wanted())
    assert (found.messages, found.passed, found.failed) == (125, 5, 120)
    assert found.failures == (FAILED,)


def test_the_same_report_again_is_the_same_report(connection: sqlite3.Connection) -> None:
    reports.add(REPORT)(connection)
    assert reports.add(REPORT._replace(received_at=NOW + 9, rows=()))(connection) is Added.KNOWN
    for other in (
        REPORT._replace(reporter="yahoo.com"),
        REPORT._replace(report_id="2"),
        REPORT._replace(domain="example.org"),
        REPORT._replace(kind="tls"),
    ):
        assert reports.add(other)(connection) is Added.NEW
    assert len(reports.load(connection, Wanted())) == 5


def test_reports_are_listed_by_domain_kind_and_time_newest_first(connection: sqlite3.Connection) -> None:
    for number, (domain, kind) in enumerate([("a.example", "dmarc"), ("b.example", "tls"), ("a.example", "dmarc")]):
        new = REPORT._replace(report_id=str(number), domain=domain, kind=kind, ends=200 + number)
        reports.add(new)(connection)

    def listed(wanted: Wanted) -> list[str]:
        return [report.report_id for report in reports.load(connection, wanted)]

    assert listed(Wanted()) == ["2", "1", "0"]
    assert listed(Wanted(domain="a.example")) == ["2", "0"]
    assert listed(Wanted(kind="tls")) == ["1"]
    assert listed(Wanted(since=202.0)) == ["2"]
    assert listed(Wanted(limit=1)) == ["2"]


def test_the_largest_failures_are_listed_and_no_more_than_asked_for(connection: sqlite3.Connection) -> None:
    rows = tuple(FAILED._replace(source=f"192.0.2.{number}", messages=number) for number in range(1, 100))
    reports.add(REPORT._replace(rows=(PASSED, *rows)))(connection)
    [found] = reports.load(connection, Wanted(), failures=3)
    assert [row.messages for row in found.failures] == [99, 98, 97]


def test_a_day_brings_only_so_many_reports_and_rows(connection: sqlite3.Connection) -> None:
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO reports "
        "SELECT NULL, 'dmarc', 'x', i, 'example.com', '', 1, 2, ?, '{}', 1, 1, 0, 10, 'google.com' FROM n",
        (reports.REPORTS_A_DAY, NOW - 50_000),
    )
    assert reports.add(REPORT)(connection) is Added.TOO_MANY
    assert reports.add(REPORT._replace(received_at=NOW + 50_000))(connection) is Added.NEW
    connection.execute("UPDATE reports SET row_count = 0")
    connection.execute("UPDATE reports SET row_count = ? WHERE report_id = '1' AND reporter = 'x'", (reports.ROWS_A_DAY - 1,))
    connection.execute("DELETE FROM reports WHERE report_id > '2'")
    more = REPORT._replace(report_id="more")
    assert reports.add(more)(connection) is Added.TOO_MANY
    assert reports.add(more._replace(rows=(PASSED,)))(connection) is Added.NEW


def test_what_nobody_vouched_for_cannot_fill_the_day_of_others(connection: sqlite3.Connection) -> None:
    most = reports.REPORTS_A_DAY // reports.UNVERIFIED_SHARE
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO reports "
        "SELECT NULL, 'dmarc', 'x', i, 'example.com', '', 1, 2, ?, '{}', 1, 1, 0, 10, '' FROM n",
        (most, NOW - 100),
    )
    assert reports.add(NAMELESS)(connection) is Added.TOO_MANY
    assert reports.add(REPORT)(connection) is Added.NEW


def test_a_guessed_report_makes_room_for_the_true_one_and_never_the_other_way(connection: sqlite3.Connection) -> None:
    assert reports.add(NAMELESS._replace(rows=(PASSED,)))(connection) is Added.NEW
    assert reports.add(NAMELESS)(connection) is Added.KNOWN
    assert reports.add(REPORT)(connection) is Added.NEW
    assert reports.add(NAMELESS._replace(rows=(PASSED,)))(connection) is Added.KNOWN
    [found] = reports.load(connection, Wanted())
    assert (found.author, found.failed) == ("google.com", 120)
    assert connection.execute("SELECT count(*) FROM report_rows").fetchone() == (2,)


def test_old_reports_go_with_their_rows_step_by_step(connection: sqlite3.Connection) -> None:
    for number in range(120):
        reports.add(REPORT._replace(report_id=str(number), received_at=NOW + number))(connection)
    steps = []
    while gone := reports.prune(NOW + 110)(connection):
        steps.append(gone)
    assert steps == [50, 50, 10]
    assert connection.execute("SELECT count(*) FROM reports").fetchone() == (10,)
    assert connection.execute("SELECT count(*) FROM report_rows").fetchone() == (20,)


def seen(text: str, messages: int, *, day: int = 20_000, domain: str = "a.example") -> Seen:
    return Seen(day, domain, text.encode().ljust(16)[:16], text, messages)


def test_what_is_alike_is_counted_together(connection: sqlite3.Connection) -> None:
    dmarc_seen.TABLE.add([seen("x", 2), seen("y", 1)])(connection)
    dmarc_seen.TABLE.add([seen("x", 3), seen("x", 1, day=20_001), seen("x", 1, domain="b.example")])(connection)
    assert dmarc_seen.rows(connection, 20_000, "a.example", 10) == [("x", 5), ("y", 1)]
    assert dmarc_seen.rows(connection, 20_000, "a.example", 1) == [("x", 5)]
    assert dmarc_seen.TABLE.waiting(connection, 20_001) == [(20_000, "a.example"), (20_000, "b.example")]
    assert dmarc_seen.TABLE.waiting(connection, 20_002)[-1] == (20_001, "a.example")


def test_a_full_day_counts_on_what_it_has_and_takes_nothing_new(connection: sqlite3.Connection) -> None:
    dmarc_seen.TABLE.add([seen("x", 1)])(connection)
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO dmarc_seen "
        "SELECT 20000, 'c.example', CAST(printf('%016d', i) AS BLOB), '', 1 FROM n",
        (dmarc_seen.TABLE.rows_a_day,),
    )
    assert dmarc_seen.TABLE.add([seen("x", 4), seen("new", 1)])(connection) == 1
    assert dmarc_seen.rows(connection, 20_000, "a.example", 10) == [("x", 5)]


def test_what_was_sent_is_remembered_when_what_was_seen_is_forgotten(connection: sqlite3.Connection) -> None:
    dmarc_seen.TABLE.add([seen("x", 1)])(connection)
    dmarc_seen.TABLE.note_sent(20_000, "a.example", "r@a.example", NOW)(connection)
    dmarc_seen.TABLE.note_sent(19_000, "a.example", "r@a.example", NOW)(connection)
    dmarc_seen.TABLE.forget(20_000, "a.example")(connection)
    assert dmarc_seen.TABLE.waiting(connection, 30_000) == []
    assert dmarc_seen.TABLE.sent_to(connection, 20_000, "a.example") == {"r@a.example"}
    assert dmarc_seen.TABLE.sent_to(connection, 19_000, "a.example") == frozenset()


def tls(result: str = "", sessions: int = 1, *, day: int = 20_000, domain: str = "a.example", host: str = "") -> tls_seen.Seen:
    return tls_seen.Seen(day, domain, "", result, host, "", "", "", sessions)


def test_connections_on_which_tls_fared_alike_are_counted_together(connection: sqlite3.Connection) -> None:
    tls_seen.TABLE.add([tls(sessions=2), tls("x", host="m1"), tls("x", 4, host="m2")])(connection)
    tls_seen.TABLE.add([tls(sessions=3), tls("x", host="m1"), tls("x", day=20_001), tls(domain="b.example")])(connection)
    assert tls_seen.sums(connection, 20_000, "a.example") == [("", 5, 6)]
    assert tls_seen.sums(connection, 20_000, "b.example") == [("", 1, 0)]
    assert tls_seen.sums(connection, 20_001, "a.example") == [("", 0, 1)]
    tls_seen.TABLE.add([tls(sessions=7)._replace(policy="sts")])(connection)
    assert tls_seen.sums(connection, 20_000, "a.example") == [("", 5, 6), ("sts", 7, 0)]
    found = tls_seen.failures(connection, 20_000, "a.example", 10)
    assert [(one.result, one.host, one.sessions) for one in found] == [("x", "m2", 4), ("x", "m1", 2)]
    assert len(tls_seen.failures(connection, 20_000, "a.example", 1)) == 1
    assert tls_seen.TABLE.waiting(connection, 20_001) == [(20_000, "a.example"), (20_000, "b.example")]
    assert tls_seen.TABLE.waiting(connection, 20_002)[-1] == (20_001, "a.example")


def test_a_full_day_of_connections_counts_on_what_it_has_and_takes_nothing_new(connection: sqlite3.Connection) -> None:
    tls_seen.TABLE.add([tls("x")])(connection)
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO tls_seen "
        "SELECT 20000, 'c.example', '', 'x', i, '', '', '', 1 FROM n",
        (tls_seen.TABLE.rows_a_day,),
    )
    assert tls_seen.TABLE.add([tls("x", 4), tls("new"), tls("x", day=20_001)])(connection) == 1
    assert tls_seen.sums(connection, 20_000, "a.example") == [("", 0, 5)]
    assert tls_seen.sums(connection, 20_001, "a.example") == [("", 0, 1)]


def test_which_tls_reports_were_sent_is_remembered_when_what_was_seen_is_forgotten(connection: sqlite3.Connection) -> None:
    tls_seen.TABLE.add([tls()])(connection)
    tls_seen.TABLE.note_sent(20_000, "a.example", "r@a.example", NOW)(connection)
    tls_seen.TABLE.note_sent(19_000, "a.example", "r@a.example", NOW)(connection)
    tls_seen.TABLE.forget(20_000, "a.example")(connection)
    assert tls_seen.TABLE.waiting(connection, 30_000) == []
    assert tls_seen.TABLE.sent_to(connection, 20_000, "a.example") == {"r@a.example"}
    assert tls_seen.TABLE.sent_to(connection, 19_000, "a.example") == frozenset()
