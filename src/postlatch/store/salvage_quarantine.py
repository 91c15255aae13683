"""Quarantine: a folder for what salvage could not put into the new database, and a report that lists it.

``report.ndjson`` has one JSON object a line: a range of keys that could not be read, or a row with the reason why it was left
out. ``bodies`` has the text of messages whose envelope is lost, for a person to read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from postlatch.store.files import sync_directory

REPORT = "report.ndjson"
_SHOWN = 512  # octets or characters of a value


class Quarantine:
    """Open while salvage runs. ``counts`` are the entries by table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        folder.mkdir(mode=0o700)
        self._bodies = folder / "bodies"
        self._bodies.mkdir(mode=0o700)
        self._file = open(os.open(folder / REPORT, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")  # noqa: PTH123, SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        sync_directory(self._bodies)
        sync_directory(self.folder)

    def gap(self, table: str, key: str, after: int | str | None, before: int | str | None, why: str) -> None:
        """Rows between two keys (exclusive; None: the beginning or the end) that could not be read."""
        self._write(table, {"unreadable": table, "key": key, "after": after, "before": before, "why": why})

    def row(self, table: str, columns: Sequence[str], row: Sequence[Any], why: str) -> None:
        """A row that was read and left out."""
        values = {column: _plain(value) for column, value in zip(columns, row, strict=False)}
        self._write(table, {"row": table, "why": why, "values": values})

    def note(self, table: str, fields: dict[str, Any], why: str) -> None:
        """Something about a row that is in the new database."""
        self._write(table, {"note": table, "why": why, **fields})

    def body(self, name: str, data: bytes) -> Path:
        """Keep the text of a message whose row is lost."""
        path = self._bodies / f"{name}.eml"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return path

    def body_file(self, name: str, source: Path) -> Path:
        """Keep a body file that no message refers to: the next start of the relay would remove its name."""
        path = self._bodies / f"{name}.eml"
        path.unlink(missing_ok=True)
        try:
            os.link(source, path)
        except OSError:  # another file system, or one without links
            with suppress(OSError):
                shutil.copyfile(source, path)
        return path

    def _write(self, table: str, entry: dict[str, Any]) -> None:
        self.counts[table] += 1
        self._file.write(json.dumps(entry).encode("ascii") + b"\n")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        shown = value[:_SHOWN].hex()
        return {"octets": len(value), "hex": shown}
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}... ({len(value)} characters)"
    if isinstance(value, float) and value != value - value + value:
        return str(value)
    return value
