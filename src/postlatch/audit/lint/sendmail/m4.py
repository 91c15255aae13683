"""The calls of a sendmail.mc, without running m4: names, arguments without quotes, lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line

_SKIPPED: Final = re.compile(r"\bdnl\b[^\n]*|#[^\n]*")
_CALL: Final = re.compile(r"\b([A-Za-z_]\w*)\(")
_MOST_CALLS: Final = 20_000
_DEEPEST: Final = 100


class Call(NamedTuple):
    """``FEATURE(`access_db')``: the name, its arguments, and where it stands."""

    name: str
    arguments: list[str]
    line: Line


def calls(text: str, file: str, budget: Budget) -> Iterator[Call]:
    """All calls that are not commented out, from the first to the last; those within arguments too."""
    text = _SKIPPED.sub("", text)
    number, counted = 1, 0
    for made, found in enumerate(_CALL.finditer(text)):
        number += text.count("\n", counted, found.start())
        counted = found.start()
        if made >= _MOST_CALLS:
            raise LintError(f"has more than {_MOST_CALLS} calls", file, number)
        arguments = _arguments(text, found.end(), budget, Line("", file, number))
        yield Call(found[1], arguments, Line(text[found.start() : found.start() + 120].split("\n")[0], file, number))


def _arguments(text: str, at: int, budget: Budget, line: Line) -> list[str]:
    parts: list[str] = [""]
    depth, quotes, start = 1, 0, at
    while at < len(text) and at - start < 10_000:
        letter = text[at]
        if letter == "`":
            quotes += 1
        elif letter == "'" and quotes:
            quotes -= 1
        elif not quotes and letter in "()":
            depth += 1 if letter == "(" else -1
        if depth == 0:
            break
        if depth > _DEEPEST or quotes > _DEEPEST:
            raise LintError("is nested too deeply", line.file, line.number)
        if letter == "," and not quotes and depth == 1:
            parts.append("")
        elif letter not in "`'" or quotes > 1:
            parts[-1] += letter
        at += 1
    budget.spend(1 + (at - start) // 16)
    return [part.strip() for part in parts]
