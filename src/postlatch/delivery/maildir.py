"""Delivery into Maildirs: complete or not at all, on the disk before it counts, and never twice for one attempt.

A file is written and synced under ``tmp/``, then linked into ``new/``, whose folder is synced. `os.link` never replaces a
file, which `os.rename` would. Everything here blocks and runs in threads; see `maildir_store` for the batches.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_STAGING = "tmp"
_FOLDERS = (_STAGING, "new", "cur")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class Letter:
    """One file on its way. ``content`` is None where the file was already staged piece by piece in ``tmp/``.

    ``repeated``: an earlier attempt may have delivered it, so a reader may have moved it on to ``cur/``.
    """

    mailbox: str
    name: str
    head: bytes
    content: bytes | None
    repeated: bool = False
    descriptor: int = -1
    error: OSError | None = None

    @property
    def staged(self) -> str:
        """The file while it is incomplete."""
        return f"{self.mailbox}/{_STAGING}/{self.name}"

    @property
    def delivered(self) -> str:
        """The file when it counts."""
        return f"{self.mailbox}/new/{self.name}"


def store(letters: Sequence[Letter]) -> None:
    """Deliver a batch; afterwards ``error`` of each says how it went. One failure does not touch the others."""
    _each(letters, _stage)
    _each(letters, _sync)
    _each(letters, _publish)
    _sync_folders(letters)
    for letter in letters:
        _discard(letter)


def open_staged(letter: Letter) -> None:
    """Create the file in ``tmp/`` and write ``head``; the caller appends with `append`. Raises OSError."""
    letter.descriptor = _create(letter)
    append(letter, letter.head)


def append(letter: Letter, data: bytes) -> None:
    """Write all of ``data``. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(letter.descriptor, view) :]


def abandon(letter: Letter) -> None:
    """Close and remove what was staged."""
    _discard(letter)


def _each(letters: Iterable[Letter], step: Callable[[Letter], None]) -> None:
    for letter in letters:
        if letter.error is None:
            try:
                step(letter)
            except OSError as error:
                letter.error = error


def _stage(letter: Letter) -> None:
    if letter.content is not None:
        open_staged(letter)
        append(letter, letter.content)


def _create(letter: Letter) -> int:
    try:
        return os.open(letter.staged, _FLAGS, 0o600)
    except FileNotFoundError:
        _make_mailbox(Path(letter.mailbox))
    except FileExistsError:
        # Left by a crash. It may by now be a second name of a delivered file: remove the name, never write into it.
        Path(letter.staged).unlink()
    return os.open(letter.staged, _FLAGS, 0o600)


def _make_mailbox(mailbox: Path) -> None:
    """Create the folders, each one's entry on the disk before anything is delivered into it."""
    missing = [folder for folder in (mailbox, *mailbox.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
    for name in _FOLDERS:
        (mailbox / name).mkdir(mode=0o700, exist_ok=True)
    _sync_folder(mailbox)


def _sync(letter: Letter) -> None:
    os.fsync(letter.descriptor)


def _publish(letter: Letter) -> None:
    if letter.repeated and _was_read(letter):
        return
    # A file of this name is this message, whole: an earlier attempt got here and could not say so.
    with contextlib.suppress(FileExistsError):
        os.link(letter.staged, letter.delivered)


def _was_read(letter: Letter) -> bool:
    """True if a mail program has moved the file to ``cur/``, where it bears flags (``:2,S``)."""
    with os.scandir(f"{letter.mailbox}/cur") as entries:
        return any(entry.name.partition(":")[0] == letter.name for entry in entries)


def _sync_folders(letters: Iterable[Letter]) -> None:
    for mailbox in {letter.mailbox for letter in letters if letter.error is None}:
        try:
            _sync_folder(f"{mailbox}/new")
        except OSError as error:
            for letter in letters:
                if letter.mailbox == mailbox:
                    letter.error = error


def _sync_folder(folder: str | Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(letter: Letter) -> None:
    if letter.descriptor < 0:
        return
    os.close(letter.descriptor)
    letter.descriptor = -1
    with contextlib.suppress(OSError):
        Path(letter.staged).unlink()
