"""Why a configuration could not be judged."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 500


class LintError(ValueError):
    """The configuration cannot be read or is too large to judge; ``file`` and ``line`` (from 1) say where."""

    def __init__(self, problem: str, file: str = "", line: int | None = None) -> None:
        self.problem = "".join(c if " " <= c <= "~" else "?" for c in problem[:_LONGEST])
        self.file = file
        self.line = line
        place = "" if not file else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(place + self.problem)
