"""The result of an audit of one target, and its JSON: the contract of all reports, of the history and of other programs."""

from __future__ import annotations

from typing import Any, NamedTuple

from postlatch.audit.probes.values import Outcome
from postlatch.audit.values import AuditVerdict, Evidence, Finding


class TargetResult(NamedTuple):
    """What was found out about one target.

    ``summary`` is the verdict in a sentence; ``decide`` what would decide an inconclusive one, else empty. ``grade`` is ``A``
    to ``F``, or ``-`` where there is no verdict. ``server``: what it was recognised as. ``places``: where it answered.
    ``outcomes``: every question and its answer. ``at`` is in seconds since 1970, when it began; ``seconds`` how long it took.
    """

    target: str
    verdict: AuditVerdict
    evidence: Evidence
    grade: str
    summary: str
    decide: str = ""
    server: str = ""
    places: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    messages: int = 0
    connections: int = 0
    seconds: float = 0.0
    at: float = 0.0


def as_data(result: TargetResult) -> dict[str, Any]:
    """For JSON: the fields of ``targets`` in ``postlatch.audit/1``. Fields may be added, never renamed."""
    return {
        "target": result.target,
        "verdict": result.verdict.value,
        "evidence": result.evidence.value,
        "grade": result.grade,
        "summary": result.summary,
        "decide": result.decide or None,
        "server": result.server or None,
        "places": list(result.places),
        "messages": result.messages,
        "connections": result.connections,
        "seconds": round(result.seconds, 3),
        "at": round(result.at, 3),
        "findings": [_finding(finding) for finding in result.findings],
        "vectors": [_outcome(outcome) for outcome in result.outcomes],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "title": finding.message,
        "impact": finding.why,
        "transcript": list(finding.transcript),
        "fix": finding.fix,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.vector,
        "place": str(outcome.place),
        "how": outcome.how,
        "stand": outcome.stand.value,
        "evidence": outcome.evidence.value,
        "why": outcome.why,
    }
