"""main.cf and master.cf as their logical lines (postconf(5), master(5)): what stands where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Line, lines_of, shown

_BLANK: Final = " \t\r\f\v"
_MOST_SERVICES: Final = 500


class Logical(NamedTuple):
    """A line with its continuations; ``first`` and ``last`` number the physical lines that hold text of it."""

    text: str
    file: str
    first: int
    last: int


class Setting(NamedTuple):
    """``name = value`` in main.cf, or by ``-o`` in master.cf, as written: nothing is expanded."""

    name: str
    value: str
    file: str
    line: int
    last: int


class Service(NamedTuple):
    """A service of master.cf. ``command``: the daemon's name; ``settings``: its ``-o``, the last one of a name counts."""

    name: str
    kind: str
    command: str
    settings: tuple[Setting, ...]
    file: str
    line: int

    @property
    def place(self) -> str:
        """``smtp (master.cf:12)``."""
        return f"{shown(self.name, 80)} ({Path(self.file).name}:{self.line})"


def logical(lines: Iterable[Line]) -> Iterator[Logical]:
    """Joins what begins with white space to the line before; comments and empty lines in between do not matter."""
    parts: list[Line] = []
    for line in lines:
        text = line.text.strip(_BLANK)
        if not text or text.startswith("#"):
            continue
        if line.text[0] in _BLANK:
            if parts:
                parts.append(line)
            continue
        if parts:
            yield _joined(parts)
        parts = [line]
    if parts:
        yield _joined(parts)


def _joined(parts: list[Line]) -> Logical:
    text = " ".join(part.text.strip(_BLANK) for part in parts)
    return Logical(text, parts[0].file, parts[0].number, parts[-1].number)


def read_main(path: Path) -> dict[str, Setting]:
    """The settings of main.cf: the last of a name counts. LintError with its line for what Postfix would not start with."""
    found: dict[str, Setting] = {}
    for line in logical(lines_of(path)):
        name, sign, value = line.text.partition("=")
        name = name.strip(_BLANK)
        if not sign or not name or any(blank in name for blank in _BLANK):
            raise LintError("expected NAME = VALUE", line.file, line.first)
        found[name] = Setting(name, value.strip(_BLANK), line.file, line.first, line.last)
    return found


def read_master(path: Path) -> list[Service]:
    """The services of master.cf; of two with one name and type the last counts. LintError for lines that are none."""
    found: dict[tuple[str, str], Service] = {}
    for line in logical(lines_of(path)):
        service = _service(line)
        found[service.name, service.kind] = service
        if len(found) > _MOST_SERVICES:
            raise LintError(f"has more than {_MOST_SERVICES} services", line.file)
    return list(found.values())


def _service(line: Logical) -> Service:
    fields = line.text.split(None, 7)
    if len(fields) < 8:
        raise LintError("expected SERVICE TYPE PRIVATE UNPRIVILEGED CHROOT WAKEUP PROCESSES COMMAND", line.file, line.first)
    command, *arguments = split_list(fields[7], separators=_BLANK)
    return Service(fields[0], fields[1], Path(command).name, tuple(_options(arguments, line)), line.file, line.first)


def _options(arguments: list[str], line: Logical) -> Iterator[Setting]:
    for number, argument in enumerate(arguments):
        if argument == "-o":
            text = arguments[number + 1] if number + 1 < len(arguments) else ""
        elif argument.startswith("-o") and len(argument) > 2:
            text = argument[2:]
        else:
            continue
        if text.startswith("{") and text.endswith("}"):
            text = text[1:-1]
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise LintError(
                f"expected NAME=VALUE after -o in the service {shown(line.text.split()[0], 80)}", line.file, line.first
            )
        yield Setting(name.strip(), value.strip(), line.file, line.first, line.last)


def split_list(text: str, separators: str = _BLANK + ",\n") -> list[str]:
    """Words between separators; what stands in braces stays together (``mystrtokq``)."""
    words: list[str] = []
    word, depth = "", 0
    for character in text:
        if depth == 0 and character in separators:
            if word:
                words.append(word)
            word = ""
            continue
        depth += (character == "{") - (character == "}" and depth > 0)
        word += character
    return [*words, word] if word else words
