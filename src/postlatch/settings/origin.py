"""The file behind the settings: its text, its data and the lines of its keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from postlatch.model.address import AddressError, parse_domain
from postlatch.settings.kinds import quote
from postlatch.settings.problem import Problem
from postlatch.settings.tomlines import KeyPath, key_lines, nearest_line

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(r'"([^"]*)"|\[(\d+)\]|([^.\[\]"]+)')


@dataclass(frozen=True)
class Origin:
    """Compares equal to every other: two settings are the same if their values are."""

    path: Path = field(default=Path("postlatch.toml"), compare=False)
    text: str = field(default="", compare=False, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return key_lines(self.text)

    def problem(self, key: str | KeyPath, message: str, *, danger: bool = False) -> Problem:
        """A problem at ``key``, with the line of the key or of what surrounds it."""
        path = self.find(key) if isinstance(key, str) else key
        shown = key if isinstance(key, str) else self.show(path)
        return Problem(str(self.path), shown, nearest_line(self._lines, path), message, danger)

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or of what surrounds it."""
        return nearest_line(self._lines, path)

    def show(self, path: KeyPath) -> str:
        """``path`` in TOML notation; members of a list of tables by their name where they have one."""
        shown = ""
        node: Any = self.data
        for part in path:
            node = _child(node, part)
            if isinstance(part, int):
                name = node.get("name") if isinstance(node, dict) else None
                shown += f".{name}" if isinstance(name, str) and _BARE.fullmatch(name) else f"[{part}]"
            else:
                shown += "." + (part if _BARE.fullmatch(part) else quote(part))
        return shown.removeprefix(".")

    def find(self, key: str) -> KeyPath:
        """The path of a dotted text, as far as it leads. Names that hold dots need no quotes: the longest match wins."""
        parts = [quoted or index or bare for quoted, index, bare in _PART.findall(key)]
        return _follow(self.data, parts)


def _follow(node: Any, parts: Sequence[str]) -> KeyPath:
    for length in range(len(parts), 0, -1):
        step = _match(node, ".".join(parts[:length]))
        if step is not None:
            return (step, *_follow(_child(node, step), parts[length:]))
    return ()


def _match(node: Any, name: str) -> str | int | None:
    if isinstance(node, Mapping):
        return name if name in node else next((raw for raw in node if _same_domain(raw, name)), None)
    if isinstance(node, list):
        by_name = (index for index, item in enumerate(node) if isinstance(item, dict) and item.get("name") == name)
        return next(by_name, int(name) if name.isascii() and name.isdigit() and int(name) < len(node) else None)
    return None


def _same_domain(raw: str, name: str) -> bool:
    """Our own names of domains are A-labels; the file may have another spelling."""
    try:
        return parse_domain(raw) == parse_domain(name)
    except AddressError:
        return False


def _child(node: Any, part: str | int) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None
