"""Fetching a newer file of known faults, and keeping it beside the one that came with the program.

What is fetched must be of the schema, whole and well-formed, and no older than what is held: a server, or somebody between,
cannot make faults forgotten by handing out an old file. It is written beside its place and moved there, so that a reader finds
the old one or the new one, whole.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from postlatch.audit.printable import printable
from postlatch.audit.updates.data import MOST_OCTETS, AdvisoryDataError, Data, bundled, read
from postlatch.model.fetch import Fetcher, FetchError

NAME: Final = "advisories.json"
SECONDS: Final = 30.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class RefreshError(Exception):
    """No newer file. Its text is safe to show."""


class Held(NamedTuple):
    """The newest file at hand. ``trouble``: why the one beside it is not used."""

    data: Data
    trouble: str


def held(path: Path | None) -> Held:
    """The file at ``path`` if it is there, sound and newer; else the one of this release."""
    ours = bundled()
    if path is None:
        return Held(ours, "")
    try:
        with path.open("rb") as file:
            kept = read(file.read(MOST_OCTETS + 1))
    except FileNotFoundError:
        return Held(ours, "")
    except OSError as error:
        return Held(ours, f"{path}: {error.strerror}; the data of this release is used instead.")
    except AdvisoryDataError as error:
        return Held(ours, f"{path}: {error}; the data of this release is used instead.")
    return Held(kept if kept.date > ours.date else ours, "")


async def refresh(fetcher: Fetcher, url: str, path: Path, now: Data, seconds: float = SECONDS) -> Data:
    """Fetch, check and keep. RefreshError says why nothing was changed."""
    if not _protected(url):
        raise RefreshError("the data must come by https:// (plain HTTP only from this machine itself): it has no signature")
    try:
        answer = await fetcher.get(url, timeout=seconds, limit=MOST_OCTETS, trusted=True)
    except FetchError as error:
        raise RefreshError(f"it could not be fetched: {printable(str(error), 300)}") from None
    if answer.status != 200:
        raise RefreshError(f"the server answered with {answer.status}")
    try:
        fetched = read(answer.body)
    except AdvisoryDataError as error:
        raise RefreshError(f"what was fetched is not used: {error}") from None
    if fetched.date < now.date:
        raise RefreshError(f"what was fetched is of {fetched.date}, older than the data of {now.date} that is held")
    try:
        write(path, answer.body)
    except OSError as error:
        raise RefreshError(f"{error.filename or path}: {error.strerror}") from None
    return fetched


def _protected(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        return False


def write(path: Path, octets: bytes) -> None:
    """Whole or not at all, and on the disk before it has its name."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
