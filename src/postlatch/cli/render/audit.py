"""What an audit found."""

from __future__ import annotations

from typing import Any

from postlatch.cli.text import Line, Table


def audit(data: dict[str, Any]) -> list[Line | Table]:
    """The verdicts, or a report as it is to be piped."""
    if data.get("lines") is not None:
        return [Line(str(line)) for line in data["lines"]]
    return [Line(f"{target['target']}: {target['verdict']}: {target['summary']}") for target in data.get("targets") or []]
