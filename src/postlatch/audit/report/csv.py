"""CSV (RFC 4180) for spreadsheets: a row for each verdict, each finding and each question."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from postlatch.audit.report.words import one_line
from postlatch.audit.result import TargetResult

COLUMNS: Final = (
    *("target", "at", "verdict", "grade", "kind", "id", "severity", "place"),
    *("answer", "evidence", "what", "why", "fix", "transcript"),
)
# A spreadsheet takes a cell that begins so for a formula; full-width forms are taken alike by some.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_Row = dict[str, str]


def audit_csv(results: Sequence[TargetResult]) -> str:
    """With a row of headings. Lines within a cell are joined by `` | ``, so that a line is a row for line tools too."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for result in results:
        for row in _rows(result):
            writer.writerow([safe(row.get(column, "")) for column in COLUMNS])
    return file.getvalue()


def safe(text: str) -> str:
    """A cell that no spreadsheet calculates."""
    line = one_line(" | ".join(text.splitlines()) if len(text.splitlines()) > 1 else text)
    return f"'{line}" if text.startswith(_FORMULA) or line.startswith(_FORMULA) else line


def _rows(result: TargetResult) -> Iterator[_Row]:
    common: _Row = {
        "target": result.target,
        "at": datetime.fromtimestamp(result.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if result.at else "",
        "verdict": result.verdict.value,
        "grade": "" if result.grade == "-" else result.grade,
    }
    yield {**common, "kind": "verdict", "evidence": result.evidence.value, "what": result.summary, "why": result.decide}
    for finding in result.findings:
        yield {
            **common,
            "kind": "finding",
            "id": finding.id,
            "severity": finding.severity.value,
            "what": finding.message,
            "why": finding.why,
            "fix": finding.fix,
            "transcript": "\n".join(finding.transcript),
        }
    for outcome in result.outcomes:
        yield {
            **common,
            "kind": "question",
            "id": outcome.vector,
            "place": str(outcome.place),
            "answer": outcome.stand.value,
            "evidence": outcome.evidence.value,
            "what": outcome.how,
            "why": outcome.why,
        }
