"""``postlatch lint``: the linter of a kind of server, and its result in the form that was asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

from postlatch import __version__
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.audit.lint.problem import LintError
from postlatch.audit.report.html import html
from postlatch.audit.report.junit import FAILS, junit
from postlatch.audit.report.sarif import sarif
from postlatch.audit.report.sections import lint_section
from postlatch.audit.values import Finding, LintResult, Verdict
from postlatch.cli.linting import KINDS

_ROOM: Final = "postlatch.audit.lint"

Lint = Callable[[Path, IPv4Address | IPv6Address | None], LintResult]


def kinds() -> tuple[str, ...]:
    """The servers whose linters are installed."""
    return tuple(kind for kind in KINDS if find_spec(f"{_ROOM}.{kind}") is not None)


def lint(arguments: dict[str, Any]) -> Answer:
    """Judge a configuration. Status 0: closed, and nothing of medium or worse; 1: bad news; 2: unreadable; 3: unknown."""
    kind, path = str(arguments["kind"]), Path(str(arguments["path"]))
    client = ip_address(arguments["client"]) if arguments.get("client") else None
    if kind not in kinds():
        return Answer(UNUSABLE, {}, f"there is no linter for {kind} here")
    try:
        linter: Lint = import_module(f"{_ROOM}.{kind}").lint
        result = linter(path, client)
        data = _data(result)
        if "fix" in arguments:
            data |= _write_patch(kind, path, result.findings, Path(str(arguments["fix"])))
    except LintError as error:
        return Answer(UNUSABLE, {}, str(error))
    except OSError as error:
        return Answer(UNUSABLE, {}, f"{error.filename or path}: {error.strerror or error}")
    if (lines := _formatted(str(arguments.get("format", "text")), kind, result, data)) is not None:
        data["lines"] = lines
    return Answer(_status(result), data)


def _status(result: LintResult) -> int:
    if result.verdict is Verdict.OPEN or any(finding.severity in FAILS for finding in result.findings):
        return BAD_NEWS
    return UNDECIDED if result.verdict is Verdict.UNKNOWN else GOOD


def _data(result: LintResult) -> dict[str, Any]:
    findings = [
        {
            "id": finding.id,
            "severity": finding.severity.value,
            "file": finding.file or None,
            "line": finding.line,
            "message": finding.message,
            "why": finding.why,
            "fix": finding.fix,
        }
        for finding in result.findings
    ]
    return {
        "schema": "postlatch.lint/1",
        "verdict": result.verdict.value,
        "can_relay": list(result.can_relay),
        "findings": findings,
    }


def _formatted(form: str, kind: str, result: LintResult, data: dict[str, Any]) -> list[str] | None:
    """The lines of a report for other programs; None: people read it."""
    match form:
        case "json":
            return json.dumps(data, indent=2).splitlines()
        case "sarif":
            return json.dumps(sarif(result.findings, __version__, result.can_relay), indent=2).splitlines()
        case "junit":
            return junit(f"postlatch.lint.{kind}", result).splitlines()
        case "html":
            section = lint_section(kind, result)
            return html("Mail server configuration", [section], version=__version__, now=time.time()).splitlines()
        case _:
            return None


def _write_patch(kind: str, path: Path, findings: tuple[Finding, ...], target: Path) -> dict[str, str | None]:
    """A patch file, never the configuration: what exists already is not written over."""
    if find_spec(f"{_ROOM}.{kind}.changes") is None:
        raise LintError(f"there are no patches for {kind}: make the changes that the findings name")
    text = import_module(f"{_ROOM}.{kind}.changes").patch(path, findings)
    if not text:
        return {"patch": None}
    try:
        with target.open("x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except FileExistsError:
        raise LintError("exists already: name a new file for the patch", str(target)) from None
    return {"patch": str(target)}
