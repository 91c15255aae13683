"""SARIF 2.1.0 of audits: there is no file, so the target is a logical location (section 3.33), and so is the place of it.

Code scanning that shows findings in files (GitHub's) passes results without a file over; other readers show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from postlatch.audit.report.sarif import LEVELS, SCHEMA, rules_of, sentence
from postlatch.audit.result import TargetResult
from postlatch.audit.values import AuditVerdict, Finding


def audit_sarif(results: Sequence[TargetResult], version: str, now: float) -> dict[str, Any]:
    """One log with one run; what could not be found out is a notification, so that silence is not taken for safety."""
    findings = [finding for result in results for finding in result.findings]
    rules = rules_of(findings)
    order = [rule["id"] for rule in rules]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "Postlatch", "version": version, "rules": rules}},
        "automationDetails": {"id": "postlatch/audit/"},
        "logicalLocations": [_target(result) for result in results],
        "results": [
            _result(result, place, finding, order.index(finding.id))
            for place, result in enumerate(results)
            for finding in result.findings
        ],
        "invocations": [
            {
                "executionSuccessful": True,
                "endTimeUtc": _time(now),
                "toolExecutionNotifications": [_notification(result) for result in results],
            }
        ],
    }
    if begun := [result.at for result in results if result.at]:
        run["invocations"][0]["startTimeUtc"] = _time(min(begun))
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _target(result: TargetResult) -> dict[str, Any]:
    return {"name": result.target, "fullyQualifiedName": result.target, "kind": "resource"}


def _result(result: TargetResult, place: int, finding: Finding, rule: int) -> dict[str, Any]:
    return {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{result.target}: {sentence(finding)}"},
        # Section 3.33.3: with an index the other properties repeat what stands in run.logicalLocations.
        "locations": [{"logicalLocations": [{**_target(result), "index": place}]}],
        "partialFingerprints": {"findingOfTarget/v1": _fingerprint(result.target, finding.id)},
        "properties": {
            "severity": finding.severity.value,
            "verdict": result.verdict.value,
            "grade": result.grade,
            "evidence": result.evidence.value,
            "transcript": list(finding.transcript),
        },
    }


def _fingerprint(target: str, name: str) -> str:
    """The same in every run, so that a reader knows a finding again."""
    return sha256(f"{target}\0{name}".encode("utf-8", "backslashreplace")).hexdigest()


def _notification(result: TargetResult) -> dict[str, Any]:
    words = " ".join(filter(None, (f"{result.target}: {result.verdict.value}.", result.summary, result.decide)))
    return {"level": "warning" if result.verdict is AuditVerdict.INCONCLUSIVE else "note", "message": {"text": words}}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
