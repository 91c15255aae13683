"""The canary's mailbox as a Maildir on this machine: read, never changed."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from postlatch.audit.canary.tokens import MAX_MESSAGE, read_message
from postlatch.audit.canary.values import Arrival, CanaryError
from postlatch.audit.printable import printable

_FOLDERS: Final = ("new", "cur")
_MAX_ENTRIES: Final = 100_000
_MAX_ARRIVALS: Final = 10_000
_SLACK: Final = 120.0  # seconds by which the clock of whoever delivers may be behind


class MaildirReader:
    """What was delivered since ``since`` (seconds since 1970) and carries a token of ``run``. CanaryError if it is no Maildir.

    A directory that holds nothing yet is one: most programs make ``new`` at their first delivery.
    """

    def __init__(self, folder: Path, *, run: str, since: float) -> None:
        self._folder = folder
        self._run = run
        self._since = since - _SLACK
        self._seen: set[str] = set()
        self._arrivals: list[Arrival] = []
        with _readable(folder):
            names = {entry.name for entry in folder.iterdir()}
        if names and not names.intersection(_FOLDERS):
            raise CanaryError(f"{_shown(folder)} is no Maildir: name the directory in which new and cur are")

    async def arrivals(self) -> list[Arrival]:
        """As of `Canary`."""
        await asyncio.to_thread(self._look)
        return sorted(self._arrivals, key=lambda arrival: arrival.at)

    def _look(self) -> None:
        for name in _FOLDERS:
            folder = self._folder / name
            with _readable(folder):
                if folder.is_dir():
                    for entry in _files(folder):
                        self._consider(entry)

    def _consider(self, entry: os.DirEntry[str]) -> None:
        unique = entry.name.partition(":")[0]  # behind the colon are flags, which change (maildir(5))
        if unique in self._seen or len(self._arrivals) >= _MAX_ARRIVALS:
            return
        try:
            octets, at = _read(entry.path, self._since)
        except FileNotFoundError:
            return  # somebody's mail program took it to cur: it is found there
        self._seen.add(unique)
        if octets is None:
            return
        arrival = read_message(octets, at, self._run)
        if arrival.token:
            self._arrivals.append(arrival)


class _readable:  # noqa: N801 - used as a statement
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case FileNotFoundError() | NotADirectoryError():
                text = f"There is no directory {_shown(self._folder)}: name the Maildir, the directory in which new and cur are"
                raise CanaryError(text) from None
            case OSError():
                why = printable(error.strerror or str(error))
                raise CanaryError(f"{_shown(self._folder)} cannot be read ({why}): run as a user who may read it") from None


def _shown(path: Path) -> str:
    return printable(str(path), 200)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= _MAX_ENTRIES:
                return
            yield entry


def _read(path: str, since: float) -> tuple[bytes | None, float]:
    """The beginning of a regular file that is not older, and when it was written. No link is followed, and nothing waits."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        return None, 0.0
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mtime < since:
            return None, 0.0
        return _beginning(descriptor), status.st_mtime
    finally:
        os.close(descriptor)


def _beginning(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_MESSAGE)
