"""Results of audits in files: ``postlatch audit compare``, and the directory that ``postlatch audit schedule`` keeps."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.audit.history.compare import compare as compare_results
from postlatch.audit.history.seen import MAX_OCTETS, SCHEMA, HistoryError, Result, read
from postlatch.audit.result import TargetResult, as_data
from postlatch.audit.values import AuditVerdict
from postlatch.store.files import sync_directory

_MAX_LOOK_BACK: Final = 100  # results of one target that are read to find its last verdict
_STAMP: Final = len("20261125T065337.250Z")
_MAX_NAME: Final = 80
_NAME_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")


def compare(arguments: dict[str, Any]) -> Answer:
    """Status 0: nothing is worse; 1: something is; 2: a file is no result; 3: there is no verdict any more."""
    read_back = []
    for name in ("before", "after"):
        path = Path(str(arguments[name]))
        try:
            read_back.append(read_file(path))
        except HistoryError as error:
            return Answer(UNUSABLE, {}, f"{path}: {error}")
        except OSError as error:
            return Answer(UNUSABLE, {}, f"{path}: {error.strerror or error}")
    found = compare_results(*read_back)
    status = BAD_NEWS if found.worse else UNDECIDED if found.undecided else GOOD
    return Answer(status, {"schema": "postlatch.audit-compare/1", **found.as_data()})


def read_file(path: Path) -> Result:
    """HistoryError, OSError. Never more than the largest result that there can be is read."""
    with path.open("rb") as file:
        return read(file.read(MAX_OCTETS + 1))


class _Entry(NamedTuple):
    """A file of the directory, by its name: ``STAMP-TARGET.json``, or ``STAMP_failed.json``. Names sort by time."""

    stamp: str
    what: str

    @property
    def file(self) -> str:
        return f"{self.stamp}{self.what}.json"


class History:
    """The directory: one file for each target and audit. To be used with ``with``, which keeps others out."""

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory = directory
        self._keep = keep
        self._lock = -1
        self.troubles: list[str] = []  # files that could not be read, since the last look

    def __enter__(self) -> Self:
        """OSError; BlockingIOError if another process has it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._lock)

    def earlier(self, targets: Sequence[str]) -> list[Result]:
        """What is needed to judge another audit of these targets, in the order in which it was made."""
        self.troubles = []
        entries = list(self._entries())
        wanted: list[tuple[str, Result]] = []
        for what in ("_failed", *dict.fromkeys(map(_what, targets))):
            wanted += self._latest([entry for entry in entries if entry.what == what])
        return [result for _, result in sorted(wanted, key=lambda pair: pair[0])]

    def _latest(self, entries: Sequence[_Entry]) -> Iterator[tuple[str, Result]]:
        """Back to the last one with a verdict."""
        for entry in sorted(entries, reverse=True)[:_MAX_LOOK_BACK]:
            try:
                result = read_file(self._directory / entry.file)
            except (HistoryError, OSError) as error:
                self.troubles.append(f"{entry.file} was passed over: {error}")
                continue
            yield entry.stamp, result
            if result.failed or any(seen.verdict is not AuditVerdict.INCONCLUSIVE for seen in result.targets.values()):
                return

    def save(self, results: Sequence[TargetResult], now: float) -> None:
        """A file for each. OSError; then what was there is still there."""
        stamp = self._next(now)
        for result in results:
            self._write(_Entry(stamp, _what(result.target)), {"schema": SCHEMA, "at": now, "targets": [as_data(result)]})
        self._prune()

    def save_failed(self, why: str, now: float) -> None:
        """An audit that could not be made. OSError."""
        self._write(_Entry(self._next(now), "_failed"), {"schema": SCHEMA, "at": now, "targets": [], "failed": why})
        self._prune()

    def _next(self, now: float) -> str:
        """A later stamp than any that there is, though the clock may have gone back: names tell what was last."""
        last = max((entry.stamp for entry in self._entries()), default="")
        while (stamp := _stamp(now)) <= last:
            now = datetime.strptime(last, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp() + 0.0015
        return stamp

    def _write(self, entry: _Entry, data: dict[str, Any]) -> None:
        """Whole or not at all: a file that is read has its name only when all of it is on the disk."""
        begun = self._directory / f".{entry.file}.new"
        descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        begun.replace(self._directory / entry.file)
        sync_directory(self._directory)

    def _prune(self) -> None:
        by_what: dict[str, list[_Entry]] = {}
        for entry in self._entries():
            by_what.setdefault(entry.what, []).append(entry)
        for entries in by_what.values():
            for entry in sorted(entries)[: -self._keep]:
                (self._directory / entry.file).unlink(missing_ok=True)

    def _entries(self) -> Iterator[_Entry]:
        """Files that are ours by their names; others are left alone."""
        with os.scandir(self._directory) as found:
            names = [one.name for one in found]
        for name in names:
            stamp, what = name[:_STAMP], name.removesuffix(".json")[_STAMP:]
            if name.endswith(".json") and what[:1] in {"-", "_"} and _is_stamp(stamp):
                yield _Entry(stamp, what)


def _what(target: str) -> str:
    """A file name for any target; two targets never share one."""
    name = "".join(letter if letter in _NAME_LETTERS else "_" for letter in target.lower())
    if name != target or len(name) > _MAX_NAME:
        name = f"{name[:_MAX_NAME]}_{sha256(target.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"
    return f"-{name}"


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def _is_stamp(text: str) -> bool:
    try:
        return _stamp(datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp() + 0.0001) == text
    except (ValueError, OverflowError):
        return False
