"""Reads files of a configuration: bounded, text only, and every text that is repeated is made printable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError

MOST_OCTETS: Final = 8 << 20
MOST_LINES: Final = 200_000


class Line(NamedTuple):
    """One line of a file: its text without the end, the file, and its number from 1."""

    text: str
    file: str
    number: int


class Budget:
    """How much work one configuration may cause; a LintError says that it is more."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """LintError when all is spent."""
        self._left -= steps
        if self._left < 0:
            raise LintError("the configuration is too large or too nested to be judged")


def shown(text: str, most: int = 200) -> str:
    """``text`` in printable ASCII, at most ``most`` characters."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if " " <= c <= "~" else "?" for c in cut)


def read(path: Path) -> str:
    """The text of a file. LintError if there is none, it is too large or no text. A byte order mark decides about UTF-16."""
    name = shown(str(path), 300)
    try:
        if not path.is_file():
            raise LintError("is no file" if path.exists() else "does not exist", name)
        with path.open("rb") as file:
            data = file.read(MOST_OCTETS + 1)
    except (OSError, ValueError) as error:
        raise LintError(f"cannot be read: {error}", name) from error
    if len(data) > MOST_OCTETS:
        raise LintError(f"is larger than {MOST_OCTETS >> 20} MiB", name)
    text = _decoded(data)
    if "\0" in text:
        raise LintError("is not a text file: it holds a NUL", name, text.count("\n", 0, text.index("\0")) + 1)
    text = text.replace("\r\n", "\n")
    if text.count("\n") > MOST_LINES:
        raise LintError(f"has more than {MOST_LINES} lines", name)
    return text


def _decoded(data: bytes) -> str:
    """PowerShell writes UTF-16 with a mark; everything else is UTF-8 or some octets that are only compared."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def lines_of(path: Path) -> Iterator[Line]:
    """The lines of a file."""
    name = shown(str(path), 300)
    for number, text in enumerate(read(path).split("\n"), 1):
        yield Line(text, name, number)


def is_readable_file(path: Path) -> bool:
    """Whether there is a file; no exception for names that cannot be one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
