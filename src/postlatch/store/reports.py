"""Reports of others about our domains, as they are kept. What they mean is told elsewhere."""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from typing import NamedTuple

from postlatch.store.merging import insert_rows
from postlatch.store.writer import Operation

# What a day may bring: whoever knows the address can send reports, and a database must not be filled in that way.
REPORTS_A_DAY = 2_000
ROWS_A_DAY = 200_000
_DAY = 86_400.0
_PRUNED_REPORTS = 50  # in one step
_PRUNED_ROWS = 2_000


class ReportRow(NamedTuple):
    """Messages from one source that fared alike; of a TLS report sessions, and ``result`` says what failed."""

    source: str
    messages: int
    passed: bool
    dkim: bool
    spf: bool
    disposition: str
    header_from: str
    envelope_from: str
    result: str


class NewReport(NamedTuple):
    """One report about one domain. ``kind`` is ``dmarc`` or ``tls``; ``policy`` is JSON; times are seconds since 1970, UTC."""

    kind: str
    reporter: str
    report_id: str
    domain: str
    contact: str
    begins: int
    ends: int
    received_at: float
    policy: str
    rows: tuple[ReportRow, ...]
    author: str = ""  # the domain that vouched for the mail that brought it; empty: nobody did

    @property
    def passed(self) -> int:
        """Messages that passed."""
        return sum(row.messages for row in self.rows if row.passed)

    @property
    def failed(self) -> int:
        """Messages that did not."""
        return sum(row.messages for row in self.rows if not row.passed)


# What anybody can send without a name must not keep out what comes with one.
UNVERIFIED_SHARE = 4  # of a day's reports and rows, at most one part in so many


class Added(StrEnum):
    """What became of a report."""

    NEW = "stored"
    KNOWN = "duplicate"
    TOO_MANY = "too_many"


class StoredReport(NamedTuple):
    """A report as it is listed. ``failures`` are the rows that failed, most messages first."""

    number: int
    kind: str
    reporter: str
    report_id: str
    domain: str
    contact: str
    begins: int
    ends: int
    received_at: float
    messages: int
    passed: int
    failed: int
    author: str
    failures: tuple[ReportRow, ...]


class Wanted(NamedTuple):
    """Which reports are listed. ``since``: those whose time ends then or later. Empty texts mean any."""

    domain: str = ""
    kind: str = ""
    since: float = 0.0
    limit: int = 100


def add(report: NewReport) -> Operation[Added]:
    """Keep a report, unless it is here already (RFC 9990 section 3.5.4: the second one is dropped) or the day is full.

    One that nobody vouched for makes room for the same one that somebody does: who guesses its name does not keep it out.
    """

    def run(connection: sqlite3.Connection) -> Added:
        sql = "SELECT id, author FROM reports WHERE kind = ? AND reporter = ? AND report_id = ? AND domain = ?"
        known = connection.execute(sql, report[:4]).fetchone()
        if known is not None and (known[1] or not report.author):
            return Added.KNOWN
        if _is_full(connection, report):
            return Added.TOO_MANY
        if known is not None:
            _delete(connection, known[0])
        passed, failed = report.passed, report.failed
        cursor = connection.execute(
            "INSERT INTO reports (kind, reporter, report_id, domain, contact, begins, ends, received_at, policy, messages, "
            "passed, failed, row_count, author) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*report[:9], passed + failed, passed, failed, len(report.rows), report.author),
        )
        # Failures first, the largest first: what people look at is then read without the rest.
        ordered = sorted(report.rows, key=lambda row: (row.passed, -row.messages, row))
        rows_of = [(cursor.lastrowid, number, *row) for number, row in enumerate(ordered)]
        insert_rows(connection, "INSERT INTO report_rows VALUES", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows_of)
        return Added.NEW

    return run


def _is_full(connection: sqlite3.Connection, report: NewReport) -> bool:
    share = 1 if report.author else UNVERIFIED_SHARE
    sql = "SELECT count(*), coalesce(sum(row_count), 0) FROM reports WHERE received_at > ? AND (author = '') = ?"
    reports, rows = connection.execute(sql, (report.received_at - _DAY, report.author == "")).fetchone()
    return bool(reports >= REPORTS_A_DAY // share or rows + len(report.rows) > ROWS_A_DAY // share)


def _delete(connection: sqlite3.Connection, report: int) -> None:
    connection.execute("DELETE FROM report_rows WHERE report = ?", (report,))
    connection.execute("DELETE FROM reports WHERE id = ?", (report,))


def load(connection: sqlite3.Connection, wanted: Wanted, *, failures: int = 20) -> list[StoredReport]:
    """Reports, the newest first, each with the first of its ``failures``."""
    found = connection.execute(
        "SELECT id, kind, reporter, report_id, domain, contact, begins, ends, received_at, messages, passed, failed, "
        "author FROM reports WHERE ends >= ?1 AND (?2 = '' OR domain = ?2) AND (?3 = '' OR kind = ?3) "
        "ORDER BY ends DESC, id DESC LIMIT ?4",
        (wanted.since, wanted.domain, wanted.kind, wanted.limit),
    ).fetchall()
    return [StoredReport._make([*row, _failures(connection, row[0], failures)]) for row in found]


def _failures(connection: sqlite3.Connection, report: int, most: int) -> tuple[ReportRow, ...]:
    rows = connection.execute(
        "SELECT source, messages, passed, dkim, spf, disposition, header_from, envelope_from, result FROM report_rows "
        "WHERE report = ? AND passed = 0 ORDER BY number LIMIT ?",
        (report, most),
    )
    return tuple(ReportRow(row[0], row[1], bool(row[2]), bool(row[3]), bool(row[4]), *row[5:]) for row in rows)


def prune(before: float) -> Operation[int]:
    """Forget some reports that came before ``before``, the oldest first; how many. Repeat until it is none."""

    def run(connection: sqlite3.Connection) -> int:
        sql = "SELECT id, row_count FROM reports WHERE received_at < ? ORDER BY received_at LIMIT ?"
        gone, rows = 0, 0
        for report, count in connection.execute(sql, (before, _PRUNED_REPORTS)).fetchall():
            if gone and rows + count > _PRUNED_ROWS:
                break
            _delete(connection, report)
            gone, rows = gone + 1, rows + count
        return gone

    return run
