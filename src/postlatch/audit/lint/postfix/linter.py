"""The linter: who could relay by this configuration, and which line to change."""

from __future__ import annotations

from pathlib import Path

from postlatch.audit.lint.postfix.configuration import Configuration
from postlatch.audit.lint.postfix.habits import habits
from postlatch.audit.lint.postfix.judging import judge
from postlatch.audit.lint.survey import Address, judged, unique
from postlatch.audit.values import Finding, LintResult


def lint(path: Path, client: Address | None) -> LintResult:
    """Judge the configuration in a directory (or a main.cf), for all clients or for one. LintError if it cannot be read."""
    configuration = Configuration(path)
    asked = client is not None
    result = judged(configuration.networks(), client, lambda address: judge(configuration, address, asked=asked))
    return result._replace(findings=unique(_without_doubles([*result.findings, *habits(configuration)])))


def _without_doubles(findings: list[Finding]) -> list[Finding]:
    """Of findings of one kind at one place the worst; what was proved comes before what only looks bad."""
    kept: dict[tuple[str, str, int | None, str], Finding] = {}
    for finding in unique(findings):
        about = finding.message if finding.id not in {"postfix.mynetworks", "postfix.xclient"} else ""
        kept.setdefault((finding.id, finding.file, finding.line, about), finding)
    return list(kept.values())
