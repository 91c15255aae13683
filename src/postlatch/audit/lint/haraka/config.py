"""Haraka's configuration folder: lists, and ini files with its own rules of truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Line, is_readable_file, lines_of, shown

_TRUE: Final = frozenset(("true", "yes", "ok", "enabled", "on", "1"))
_SECTION: Final = re.compile(r"\s*+\[([^\]]*+)\]\s*+")
_ENTRY: Final = re.compile(r"\s*+([^=\s;#\[\]][^=\[\]]*+)(\[\])?\s*+(?:=(.*))?")


class Entry(NamedTuple):
    """A key of an ini file with its value."""

    section: str
    key: str
    value: str
    line: Line

    @property
    def holds(self) -> bool:
        """Whether Haraka takes the value for true."""
        return self.value.lower() in _TRUE


class Config:
    """The files of one folder."""

    def __init__(self, path: Path) -> None:
        """LintError if the folder is none of Haraka's."""
        folder = path.parent if path.is_file() else path
        self.folder = folder / "config" if is_readable_file(folder / "config" / "plugins") else folder
        if not is_readable_file(self.folder / "plugins"):
            raise LintError("holds no file named plugins, so it is no configuration of Haraka", shown(str(path), 300))
        self._inis: dict[str, list[Entry]] = {}

    def lines(self, name: str) -> list[Line]:
        """The lines of a list, without comments. None there: an empty list."""
        if not is_readable_file(self.folder / name):
            return []
        lines = (line._replace(text=line.text.strip()) for line in lines_of(self.folder / name))
        return [line for line in lines if line.text and line.text[0] not in "#;"]

    def ini(self, name: str) -> list[Entry]:
        """The entries of an ini file."""
        if name not in self._inis:
            self._inis[name] = _ini(self.lines(name))
        return self._inis[name]

    def flag(self, name: str, section: str, key: str, *, default: bool) -> Entry:
        """A truth value; what is not said has its default."""
        place = Line("", shown(str(self.folder / name), 300), 1)
        found = Entry(section, key, "true" if default else "false", place)
        return next((e for e in reversed(self.ini(name)) if e.section == section and e.key.lower() == key), found)


def _ini(lines: list[Line]) -> list[Entry]:
    entries: list[Entry] = []
    section = "main"
    for line in lines:
        if head := _SECTION.fullmatch(line.text):
            section = head[1].strip().lower()
        elif entry := _ENTRY.fullmatch(line.text):
            entries.append(Entry(section, entry[1].strip(), "true" if entry[3] is None else entry[3].strip(), line))
    return entries
