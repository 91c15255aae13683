"""YAML documents with the line of every value. Nothing is constructed, aliases are not copied, merges are looked up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, read, shown

_MOST_OCTETS: Final = 1 << 20
_MOST_DOCUMENTS: Final = 500
_MOST_ITEMS: Final = 2000
_MOST_MERGES: Final = 20
_NULL: Final = frozenset(("", "~", "null"))


class Item:
    """A value of a document, or nothing."""

    def __init__(self, node: Any, file: str, budget: Budget) -> None:
        self._node = node
        self._budget = budget
        self.file = file

    @property
    def line(self) -> int | None:
        """Where it stands, from 1."""
        return None if self._node is None else int(self._node.start_mark.line) + 1

    def __bool__(self) -> bool:
        return self._node is not None

    @property
    def text(self) -> str:
        """A plain value; "" for null and for everything else."""
        if self._node is None or self._node.id != "scalar" or (self._node.style is None and self._node.value.lower() in _NULL):
            return ""
        return str(self._node.value)

    @property
    def is_mapping(self) -> bool:
        """Whether it has keys."""
        return self._node is not None and self._node.id == "mapping"

    def get(self, *keys: str) -> Item:
        """The value under one key after another; nothing if there is none."""
        item = self
        for key in keys:
            item = next((value for name, value in item.pairs() if name == key), Item(None, self.file, self._budget))
        return item

    def pairs(self, depth: int = 0) -> Iterator[tuple[str, Item]]:
        """Keys and values; a mapping's own before merged ones."""
        if not self.is_mapping or depth > _MOST_MERGES:
            return
        merged: list[Item] = []
        for key, value in self._node.value[:_MOST_ITEMS]:
            self._budget.spend()
            if key.id != "scalar":
                continue
            if key.value == "<<":
                merged.append(self._of(value))
            else:
                yield str(key.value), self._of(value)
        for item in merged:
            for part in [item] if item.is_mapping else item.items():
                yield from part.pairs(depth + 1)

    def items(self) -> Iterator[Item]:
        """The parts of a list."""
        if self._node is not None and self._node.id == "sequence":
            for node in self._node.value[:_MOST_ITEMS]:
                self._budget.spend()
                yield self._of(node)

    def _of(self, node: Any) -> Item:
        return Item(node, self.file, self._budget)


def documents(path: Path, budget: Budget) -> list[Item]:
    """The documents of a file. LintError if it is no YAML, too large, or there is no library to read it."""
    name, text = shown(str(path), 300), read(path)
    if len(text) > _MOST_OCTETS:
        raise LintError("is larger than 1 MiB", name)
    try:
        import yaml  # noqa: PLC0415  # only this linter needs it
    except ImportError as error:
        raise LintError("YAML is read by PyYAML, which is not installed: pip install pyyaml", name) from error
    try:
        found = []
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            found.append(Item(node, name, budget))
            if len(found) > _MOST_DOCUMENTS:
                raise LintError(f"has more than {_MOST_DOCUMENTS} documents", name)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise LintError(f"is no YAML: {error.problem}", name, line) from error
    except yaml.YAMLError as error:
        raise LintError("is no YAML", name) from error
    except (RecursionError, ValueError) as error:
        raise LintError("is nested too deeply, or no YAML", name) from error
    return found
