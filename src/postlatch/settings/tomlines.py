"""On which line of a TOML text a key stands. tomllib knows and does not tell; an error without a line costs people time.

This is a locator, not a parser: it is only trusted with what tomllib has accepted, and finds nothing where it loses its way.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Three-quoted strings first, since "" is also the start of """. Up to two quotes may stand before the closing three.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' + r"|'''.*?'''(?:'{0,2})" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class _Lost(Exception):
    """The text is not what the locator expects here."""


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every key, table and list element of ``text``. Lists are indexed from 0, ``[[tables]]`` too."""
    locator = _Locator(text)
    try:
        locator.document()
    except (_Lost, RecursionError, tomllib.TOMLDecodeError):
        return locator.lines
    return locator.lines


def find_line(text: str, key: KeyPath) -> int | None:
    """The line (from 1) on which ``key`` is first given in ``text``, None if it is not.

    ``key`` holds table and key names as tomllib gives them (unquoted) and indexes of lists: ``("listeners", 1, "role")``.
    """
    return key_lines(text).get(tuple(key))


def nearest_line(lines: dict[KeyPath, int], key: KeyPath) -> int | None:
    """The line of ``key``, else of the closest table around it: where somebody would add what is missing."""
    for length in range(len(key), 0, -1):
        if (line := lines.get(key[:length])) is not None:
            return line
    return None


class _Locator:
    """One walk over a text. ``lines`` is the result, also of a walk that lost its way."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._last_index: dict[KeyPath, int] = {}  # of each [[list of tables]], its newest element

    def document(self) -> None:
        table: KeyPath = ()
        self._take(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANK)

    def _header(self) -> KeyPath:
        start = self._at
        repeated = self._text.startswith("[[", start)
        self._at += 2 if repeated else 1
        names = self._key()
        self._expect("]]" if repeated else "]")
        table: KeyPath = ()
        for name in names[:-1]:
            table = self._newest((*table, name))
            self._record(table, start)
        table = (*table, names[-1])
        if repeated:
            self._record(table, start)
            self._last_index[table] = self._last_index.get(table, -1) + 1
        table = self._newest(table)
        self._record(table, start)
        return table

    def _newest(self, path: KeyPath) -> KeyPath:
        """A header goes into the newest element of a list of tables (TOML 1.0, "Array of Tables")."""
        return (*path, self._last_index[path]) if path in self._last_index else path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for name in self._key():
            path = (*path, name)
            self._record(path, start)
        self._expect("=")
        self._take(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        names = [self._name()]
        while self._text.startswith(".", self._at):
            self._at += 1
            names.append(self._name())
        return names

    def _name(self) -> str:
        self._take(_SPACE)
        if self._text.startswith(("'", '"'), self._at):
            name: str = tomllib.loads("name=" + self._take(_STRING))["name"]
        else:
            name = self._take(_BARE_KEY)
        self._take(_SPACE)
        return name

    def _value(self, path: KeyPath) -> None:
        match self._text[self._at : self._at + 1]:
            case "[":
                self._list(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._take(_STRING)
            case _:
                self._take(_SCALAR)

    def _list(self, path: KeyPath) -> None:
        self._at += 1
        self._take(_BLANK)
        index = 0
        while not self._text.startswith("]", self._at):
            self._record((*path, index), self._at)
            self._value((*path, index))
            self._separator("]")
            index += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._take(_BLANK)
        while not self._text.startswith("}", self._at):
            self._pair(path)
            self._separator("}")
        self._at += 1

    def _separator(self, closing: str) -> None:
        self._take(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1
            self._take(_BLANK)
        elif not self._text.startswith(closing, self._at):
            raise _Lost

    def _expect(self, text: str) -> None:
        if not self._text.startswith(text, self._at):
            raise _Lost
        self._at += len(text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Lost
        self._at = match.end()
        return match.group()

    def _record(self, path: KeyPath, position: int) -> None:
        self.lines.setdefault(path, bisect_left(self._newlines, position) + 1)
