"""SARIF 2.1.0 (OASIS), for code scanning: each finding at its file and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from postlatch.audit.values import Finding, Severity

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
# What code scanning sorts by: 9.0 and above is critical, 7.0 high, 4.0 medium.
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.0",
    Severity.LOW: "2.0",
    Severity.INFO: "0.0",
}


def sarif(findings: Sequence[Finding], version: str, sentences: Sequence[str] = ()) -> dict[str, Any]:
    """One log with one run. ``version`` is Postlatch's; ``sentences`` who could relay, as notifications of the tool."""
    rules = {finding.id: finding for finding in reversed(findings)}
    order = sorted(rules)
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Postlatch",
                        "version": version,
                        "rules": [_rule(rules[name]) for name in order],
                    }
                },
                "results": [_result(finding, order.index(finding.id)) for finding in findings],
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [{"level": "note", "message": {"text": text}} for text in sentences],
                    }
                ],
            }
        ],
    }


def _rule(finding: Finding) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in finding.id.replace(".", "-").split("-"))
    return {
        "id": finding.id,
        "name": name,
        "shortDescription": {"text": finding.why or finding.message},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        "properties": {"security-severity": _SCORES[finding.severity], "tags": ["security"]},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    text = ". ".join(filter(None, (finding.message, finding.why, f"Change: {finding.fix}" if finding.fix else "")))
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "properties": {"severity": finding.severity.value},
    }
    if finding.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
        if finding.line:
            place["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(file: str) -> str:
    """A relative path stays one; an absolute one is a file: URI (RFC 8089)."""
    return ("file://" if PurePosixPath(file).is_absolute() else "") + quote(file)
