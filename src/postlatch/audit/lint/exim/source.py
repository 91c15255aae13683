"""The lines of a configuration as Exim sees them: continued, included, with macros replaced and conditions decided.

Exim specification, chapter 6. Debian's configuration is put together as update-exim4.conf does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line, is_readable_file, lines_of, shown

_DEEPEST: Final = 20
_LONGEST: Final = 64 * 1024
_MACRO: Final = re.compile(r"([A-Z][A-Za-z0-9_]*)\s*(==?)\s*(.*)", re.DOTALL)
_BUILT_IN: Final = ("_HAVE_", "_OPT_", "_DRIVER_", "_LOOKUP_", "_EXP_", "_LIST_", "_ACL_")
_UPPER: Final = re.compile(r"[A-Z_]")


class Source:
    """Reads lines one after another and keeps the macros between them."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self.folder = folder
        self.missing: list[Line] = []
        self._budget = budget
        self._macros: dict[str, str] = {}
        self._conditions: list[tuple[bool, bool]] = []  # is this branch read, and has one been read before

    def define(self, name: str, value: str) -> None:
        """A macro from outside; what is defined already stays."""
        self._macros.setdefault(name, value)

    def logical(self, lines: Iterable[Line], depth: int = 0) -> Iterator[Line]:
        """Lines with macros replaced; without empty ones, comments and directives."""
        if depth > _DEEPEST:
            raise LintError("files include each other more than 20 deep")
        for line in _continued(lines):
            self._budget.spend()
            text = line.text.strip()
            if not text or text.startswith("#"):
                continue
            if text.startswith(".") and text[1:2].isalpha():
                yield from self._directive(Line(text, line.file, line.number), depth)
            elif self._read():
                text = self._replaced(text, line)
                macro = _MACRO.fullmatch(text)
                if macro is None:
                    yield Line(text, line.file, line.number)
                else:
                    self._assign(macro, line)

    def _read(self) -> bool:
        return all(now for now, _ in self._conditions)

    def _directive(self, line: Line, depth: int) -> Iterator[Line]:
        name, _, rest = line.text.partition(" ")
        rest = rest.strip()
        if name in {".ifdef", ".ifndef"}:
            holds = self._mentions(rest) == (name == ".ifdef")
            self._conditions.append((holds, holds))
        elif name in {".elifdef", ".elifndef", ".else", ".endif"}:
            self._branch(name, rest, line)
        elif name in {".include", ".include_if_exists"} and self._read():
            yield from self._include(self._replaced(rest, line), name.endswith("exists"), line, depth)

    def _branch(self, name: str, rest: str, line: Line) -> None:
        if not self._conditions:
            raise LintError(f"{name} without .ifdef", line.file, line.number)
        _, done = self._conditions.pop()
        if name == ".endif":
            return
        holds = not done and (name == ".else" or self._mentions(rest) == (name == ".elifdef"))
        self._conditions.append((holds, done or holds))

    def _include(self, name: str, optional: bool, line: Line, depth: int) -> Iterator[Line]:
        path = self.find(name.strip("\"'"))
        if path is None:
            if not optional:
                self.missing.append(Line(name, line.file, line.number))
            return
        yield from self.logical(lines_of(path), depth + 1)

    def find(self, name: str) -> Path | None:
        """A file that the configuration names: as it says, or of that name beside the configuration, which may be a copy."""
        if "\0" in name or not name or len(name) > 1000:
            return None
        candidates = [Path(name), self.folder / Path(name).name]
        parts = Path(name).parts
        if len(parts) > 2:
            candidates.append(self.folder.joinpath(*parts[-2:]))
        return next((path for path in candidates if path.is_absolute() and is_readable_file(path)), None) or next(
            (path for path in candidates if is_readable_file(path)), None
        )

    def _mentions(self, text: str) -> bool:
        self._budget.spend(len(self._macros) + 1)
        return any(name in text for name in self._macros) or any(word.startswith(_BUILT_IN) for word in text.split())

    def _replaced(self, text: str, line: Line) -> str:
        head = ""
        if (macro := _MACRO.fullmatch(text)) is not None:
            head, text = text[: macro.start(3)], macro.group(3)
        if _UPPER.search(text):
            self._budget.spend(1 + len(self._macros) // 8)
            for name, value in self._macros.items():
                if name in text:
                    text = text.replace(name, value)
                    self._budget.spend(1 + len(text) // 64)
                    if len(text) > _LONGEST:
                        raise LintError("macros make the line longer than 64 KiB", line.file, line.number)
        return head + text

    def _assign(self, macro: re.Match[str], line: Line) -> None:
        name, sign, value = macro.groups()
        if (name in self._macros) != (sign == "=="):
            what = "is defined twice" if sign == "=" else "is redefined and was not defined"
            raise LintError(f"macro {shown(name, 60)} {what}", line.file, line.number)
        self._macros[name] = value.strip()


def _continued(lines: Iterable[Line]) -> Iterator[Line]:
    """Joins lines that end in a backslash. Comments between them are left out; the first line's number stays."""
    parts: list[str] = []
    length = 0
    first: Line | None = None
    for line in lines:
        text = line.text.strip()
        if first is not None and text.startswith("#"):
            continue
        first = first or line
        going_on = text.endswith("\\") and not (first is line and text.startswith("#"))
        parts.append(text[:-1] if going_on else text)
        length += len(text)
        if going_on and length < _LONGEST:
            continue
        yield Line("".join(parts), first.file, first.number)
        parts, length, first = [], 0, None
    if first is not None:
        yield Line("".join(parts), first.file, first.number)
