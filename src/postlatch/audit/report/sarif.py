"""SARIF 2.1.0 (OASIS), for code scanning: each finding at its file and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from postlatch.audit.values import Finding, Severity

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: Final = {
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
    rules = rules_of(findings)
    order = [rule["id"] for rule in rules]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Postlatch",
                        "version": version,
                        "rules": rules,
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


def rules_of(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """One rule for each kind of finding, in the order of their names."""
    first = {finding.id: finding for finding in reversed(findings)}
    return [_rule(first[name]) for name in sorted(first)]


def sentence(finding: Finding) -> str:
    """All that is to be said of it. The change stays as it is to be typed."""
    said = [part if part.endswith((".", "!", "?")) else f"{part}." for part in (finding.message, finding.why) if part]
    return " ".join([*said, f"Change: {finding.fix}"] if finding.fix else said)


def _rule(finding: Finding) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in finding.id.replace(".", "-").split("-"))
    return {
        "id": finding.id,
        "name": name,
        "shortDescription": {"text": finding.why or finding.message},
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
        "properties": {"security-severity": _SCORES[finding.severity], "tags": ["security"]},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": sentence(finding)},
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
