"""The linter: who could relay by this configuration, and which line to change."""

from __future__ import annotations

from pathlib import Path

from postlatch.audit.lint.postfix.configuration import Configuration
from postlatch.audit.lint.postfix.judging import judge
from postlatch.audit.lint.survey import Address, judged
from postlatch.audit.values import LintResult


def lint(path: Path, client: Address | None) -> LintResult:
    """Judge the configuration in a directory (or a main.cf), for all clients or for one. LintError if it cannot be read."""
    configuration = Configuration(path)
    return judged(
        configuration.networks(),
        client,
        lambda address: judge(configuration, address, asked=client is not None),
        (),
    )
