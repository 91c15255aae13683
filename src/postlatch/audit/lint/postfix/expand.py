"""Parameters as a service sees them: ``-o``, main.cf, the defaults, with ``$name`` and its kin replaced (postconf(5))."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from postlatch.audit.lint.postfix.cf import Service, Setting
from postlatch.audit.lint.postfix.defaults import DEFAULTS
from postlatch.audit.lint.problem import LintError

_MOST_DEPTH: Final = 40
_MOST_STEPS: Final = 20_000
_LONGEST: Final = 1 << 20
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_OPERATORS: Final = ("==", "!=", "<=", ">=", "<", ">")
_TRUE: Final = ("yes",)
_BLANK: Final = " \t\r\n\f\v"


class Parameters:
    """The parameters of one service, or of all (``service`` None)."""

    def __init__(self, main: Mapping[str, Setting], directory: Path, service: Service | None = None) -> None:
        self._main = main
        self._options = {setting.name: setting for setting in service.settings} if service else {}
        self._built_in = {"config_directory": str(directory), "service_name": service.name if service else ""}
        self._known: dict[str, str] = {}
        self._steps = 0

    def setting(self, name: str) -> Setting | None:
        """Where it is set; None: it has its default."""
        return self._options.get(name) or self._main.get(name)

    def get(self, name: str) -> str:
        """Its value, expanded. LintError if it refers to itself or grows without end."""
        if name not in self._known:
            self._steps = 0
            self._known[name] = self._value(name, 0)
        return self._known[name]

    def flag(self, name: str) -> bool:
        """A yes/no parameter."""
        return self.get(name).strip(_BLANK).lower() in _TRUE

    def expand(self, text: str) -> str:
        """Any text with its ``$name`` replaced."""
        self._steps = 0
        return self._expand(text, 0)

    def _raw(self, name: str) -> str | None:
        if (setting := self.setting(name)) is not None:
            return setting.value
        return self._built_in.get(name, DEFAULTS.get(name))

    def _value(self, name: str, depth: int) -> str:
        raw = self._raw(name)
        return "" if raw is None else self._expand(raw, depth + 1)

    def _expand(self, text: str, depth: int) -> str:
        self._steps += 1
        if depth > _MOST_DEPTH or self._steps > _MOST_STEPS or len(text) > _LONGEST:
            raise LintError("a parameter refers to itself, or grows without end")
        made: list[str] = []
        at, size = 0, 0
        while at < len(text):
            if text[at] != "$":
                end = text.find("$", at)
                piece, at = text[at : end if end >= 0 else None], end if end >= 0 else len(text)
            else:
                piece, at = self._reference(text, at + 1, depth)
            made.append(piece)
            size += len(piece)
            if size > _LONGEST:
                raise LintError("a parameter grows without end")
        return "".join(made)

    def _reference(self, text: str, at: int, depth: int) -> tuple[str, int]:
        """What ``$...`` at this place stands for, and where the text goes on."""
        sign = text[at : at + 1]
        if sign == "$":
            return "$", at + 1
        if sign in {"{", "("}:
            end = _closing(text, at)
            return self._braced(text[at + 1 : end], depth), end + 1
        end = at
        while end < len(text) and text[end] in _NAME:
            end += 1
        return (self._value(text[at:end], depth) if end > at else "$"), end

    def _braced(self, inner: str, depth: int) -> str:
        """``name``, ``name?text``, ``name:text``, ``name?{text}:{text}``, or a comparison instead of the name."""
        inner = inner.strip(_BLANK)
        if inner.startswith("{"):
            holds, rest = self._comparison(inner, depth)
            value = ""
        else:
            end = 0
            while end < len(inner) and inner[end] in _NAME:
                end += 1
            value, rest = self._value(inner[:end], depth), inner[end:].lstrip(_BLANK)
            holds = value != ""
        if not rest:
            return value
        sign, rest = rest[0], rest[1:]
        if sign == ":":
            return value if holds else self._expand(_unbraced(rest)[0], depth + 1)
        chosen, rest = _unbraced(rest)
        rest = rest.lstrip(_BLANK)
        other = _unbraced(rest[1:])[0] if rest.startswith(":") else ""
        return self._expand(chosen if holds else other, depth + 1)

    def _comparison(self, inner: str, depth: int) -> tuple[bool, str]:
        left, rest = _unbraced(inner)
        rest = rest.lstrip(_BLANK)
        operator = next((sign for sign in _OPERATORS if rest.startswith(sign)), "")
        rest = rest[len(operator) :]
        level = rest.startswith("level")
        right, rest = _unbraced(rest.removeprefix("level").lstrip(_BLANK))
        values = self._expand(left, depth + 1), self._expand(right, depth + 1)
        return _compared(*values, operator, level=level), rest.lstrip(_BLANK)


def _compared(left: str, right: str, operator: str, *, level: bool) -> bool:
    if level:
        return _ordered(_level(left), _level(right), operator)
    if left.isascii() and right.isascii() and left.isdigit() and right.isdigit():
        return _ordered((int(left[:18]),), (int(right[:18]),), operator)
    return _ordered((left,), (right,), operator)


def _ordered(left: tuple[int | str, ...], right: tuple[int | str, ...], operator: str) -> bool:
    if operator in {"==", "!="}:
        return (left == right) == (operator == "==")
    less, equal = left < right, left == right
    return {"<": less, "<=": less or equal, ">": not less and not equal, ">=": not less}.get(operator, False)


def _level(text: str) -> tuple[int | str, ...]:
    parts = [int(part) if part.isdigit() and len(part) < 9 else 0 for part in text.strip(_BLANK).split(".")[:3]]
    return (*parts, *(0 for _ in range(3 - len(parts))))


def _closing(text: str, at: int) -> int:
    """Where the brace or parenthesis at ``at`` is closed; the end of the text if it never is."""
    opening, closing = text[at], "}" if text[at] == "{" else ")"
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == opening) - (text[place] == closing)
        if depth == 0:
            return place
    return len(text)


def _unbraced(text: str) -> tuple[str, str]:
    """``{ text }rest`` as its two parts; without braces all is text."""
    text = text.lstrip(_BLANK)
    if not text.startswith("{"):
        return text, ""
    end = _closing(text, 0)
    return text[1:end].strip(_BLANK), text[end + 1 :]
