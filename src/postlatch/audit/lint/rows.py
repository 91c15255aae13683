"""Rows that another program exported: JSON or CSV, with names in any case."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import read, shown

MOST_ROWS: Final = 20_000
_MOST_FILES: Final = 100
_MOST_FIELD: Final = 1 << 17


class Row(NamedTuple):
    """One object. ``values``: by name in small letters. ``line``: where it stands in a CSV file."""

    values: Mapping[str, object]
    file: str
    line: int | None

    def text(self, *names: str) -> str:
        """The first of these that there is, as text; lists are joined by commas."""
        for name in names:
            if (value := self.values.get(name)) is not None:
                return _text(value)
        return ""

    def flag(self, name: str) -> bool | None:
        """True, false, or None if it is not said."""
        value = self.text(name).strip().lower()
        return True if value in {"true", "1", "-1", "yes"} else False if value in {"false", "0", "no"} else None


def rows_of(path: Path) -> list[Row]:
    """The rows of a file, or of all JSON and CSV files of a folder. LintError if there are none."""
    if not path.is_dir():
        return list(_of_file(path))
    try:
        files = sorted(child for child in path.iterdir() if child.suffix.lower() in {".json", ".csv"})[:_MOST_FILES]
    except OSError as error:
        raise LintError(f"cannot be read: {error}", shown(str(path), 300)) from error
    if not files:
        raise LintError("holds no .json and no .csv file", shown(str(path), 300))
    rows = [row for file in files for row in _of_file(file)]
    if len(rows) > MOST_ROWS:
        raise LintError(f"has more than {MOST_ROWS} rows", shown(str(path), 300))
    return rows


def _of_file(path: Path) -> Iterator[Row]:
    text = read(path)
    name = shown(str(path), 300)
    start = text.lstrip()[:1]
    rows = _of_json(text, name) if start in {"{", "["} else _of_csv(text, name)
    for number, row in enumerate(rows):
        if number >= MOST_ROWS:
            raise LintError(f"has more than {MOST_ROWS} rows", name, row.line)
        yield row


def _of_json(text: str, name: str) -> Iterator[Row]:
    try:
        made = json.loads(text)
    except json.JSONDecodeError as error:
        raise LintError(f"is no JSON: {error.msg}", name, error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise LintError("is no JSON, or is nested too deeply", name) from error
    waiting: deque[tuple[object, int]] = deque([(made, 0)])
    while waiting:
        value, depth = waiting.popleft()
        if isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
        elif isinstance(value, dict):
            if _holds_rows(value) and depth < 4:
                waiting += [(item, depth + 1) for item in value.values() if isinstance(item, list | dict)]
            else:
                yield Row({str(key).lower(): item for key, item in value.items()}, name, None)


def _holds_rows(value: dict[object, object]) -> bool:
    """Whether an object only groups others: all that it holds are objects or lists of objects."""
    return bool(value) and all(
        isinstance(item, dict) or (isinstance(item, list) and all(isinstance(part, dict) for part in item)) or item is None
        for item in value.values()
    )


def _of_csv(text: str, name: str) -> Iterator[Row]:
    lines = text.split("\n")
    skipped = 1 if lines[0].startswith("#TYPE") else 0
    head = lines[skipped] if len(lines) > skipped else ""
    delimiter = max(",;\t", key=head.count)
    if head.count(delimiter) == 0:
        raise LintError("is neither JSON nor CSV with a line of names", name, skipped + 1)
    csv.field_size_limit(_MOST_FIELD)
    reader = csv.reader(lines[skipped:], delimiter=delimiter)
    names: list[str] = []
    try:
        for fields in reader:
            if not names:
                names = [field.strip().lower() for field in fields]
            elif fields:
                yield Row(dict(zip(names, fields, strict=False)), name, reader.line_num + skipped)
    except csv.Error as error:
        raise LintError(f"is no CSV: {error}", name, reader.line_num + skipped) from error


def _text(value: object, depth: int = 0) -> str:
    if depth > 8:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_text(item, depth + 1) for item in value[:10_000])
    if isinstance(value, dict):
        return _of_object(value, depth + 1)
    return "" if value is None else str(value)


def _of_object(value: Mapping[object, object], depth: int) -> str:
    """PowerShell's objects: what they are written as, a range's ends, or an identity's name."""
    for key in ("Expression", "Domain", "Name", "RawIdentity", "IPAddressToString", "value"):
        if isinstance(found := value.get(key), str | int | list):
            return _text(found, depth)
    if "LowerBound" in value and "UpperBound" in value:
        return f"{_text(value['LowerBound'], depth)}-{_text(value['UpperBound'], depth)}"
    return ""
