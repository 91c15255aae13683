"""What is wrong with a configuration, in a form for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """One fault. ``file`` as the user named it, ``key`` in TOML notation (``rights.printers.networks[0]``), ``line`` from 1.

    ``message`` says what is wrong and what would be right. ``danger``: the file is well-formed, but what it asks for would
    open the relay or lose mail (a *named danger*: exit status 1 instead of 2).
    """

    file: str
    key: str
    line: int | None
    message: str
    danger: bool = False

    def as_json(self) -> dict[str, str | int | None]:
        """The shape of ``check``'s ``errors``."""
        return {"file": self.file, "key": self.key, "line": self.line, "message": self.message}

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        return ": ".join(filter(None, (place, self.key, self.message)))


class SettingsError(Exception):
    """A configuration that cannot be used, with every problem that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line or 0, problem.key))
        super().__init__("\n".join(map(str, self.problems)))

    @property
    def exit_status(self) -> int:
        """1 if every problem is a named danger, 2 if the input itself is unusable (DESIGN section 9)."""
        return 1 if all(problem.danger for problem in self.problems) else 2
