"""One relay to a data directory: an advisory lock that the kernel gives up with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from postlatch.store.database import StoreError

NAME = "postlatch.lock"


class Held(StoreError):
    """Another process has the lock; ``pid`` is its process id, 0 if it did not say."""

    def __init__(self, directory: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{directory} is in use by {who}: stop it first")
        self.pid = pid


class Lock:
    """A held lock. ``descriptor`` can be passed on to children, who then hold it too; ``close`` gives it up."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """Give the lock up. The file stays: removing it would let two processes lock two files of one name."""
        with suppress(OSError):
            os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def acquire(directory: Path, *, inheritable: bool = False) -> Lock:
    """Lock a data directory without waiting. Raises Held, or StoreError if there is no such directory."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{directory} cannot be locked ({error.strerror}): check data_dir and its permissions") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = _read_pid(descriptor)
        os.close(descriptor)
        raise Held(directory, pid) from None
    os.set_inheritable(descriptor, inheritable)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return Lock(descriptor)


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else 0
