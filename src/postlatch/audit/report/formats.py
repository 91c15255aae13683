"""The forms of the result of an audit, by their names on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from postlatch.audit.report import table
from postlatch.audit.report.audit_junit import audit_junit
from postlatch.audit.report.audit_sarif import audit_sarif
from postlatch.audit.report.csv import audit_csv
from postlatch.audit.report.html import html
from postlatch.audit.report.sections import audit_section
from postlatch.audit.result import TargetResult, as_data

TITLE: Final = "Mail server audit"
_Results = Sequence[TargetResult]


def render(form: str, results: _Results, version: str, now: float) -> str:
    """A whole document, ending with a line end. ``version`` is Postlatch's, ``now`` in seconds since 1970."""
    return _FORMS[form](results, version, now)


def to_json(data: Any) -> str:
    """Pure printable ASCII, so that no terminal is ever commanded by it."""
    return json.dumps(data, indent=2).replace("\x7f", "\\u007f") + "\n"


def _text(results: _Results, _version: str, _now: float) -> str:
    blocks = ("\n".join(said.text for said in table.lines(as_data(result))) for result in results)
    return "\n\n".join(blocks) + "\n"


def _json(results: _Results, version: str, now: float) -> str:
    targets = [as_data(result) for result in results]
    return to_json({"schema": "postlatch.audit/1", "version": version, "made": round(now, 3), "targets": targets})


def _html(results: _Results, version: str, now: float) -> str:
    return html(TITLE, [audit_section(result) for result in results], version=version, now=now)


_FORMS: Final[dict[str, Callable[[_Results, str, float], str]]] = {
    "text": _text,
    "json": _json,
    "html": _html,
    "sarif": lambda results, version, now: to_json(audit_sarif(results, version, now)),
    "junit": lambda results, _version, _now: audit_junit(results),
    "csv": lambda results, _version, _now: audit_csv(results),
}
