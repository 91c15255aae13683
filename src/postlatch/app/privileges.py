"""Low ports are bound as root; everything else runs as the configured user."""

from __future__ import annotations

import os
import pwd
import resource
import sys
from pathlib import Path


class UserError(Exception):
    """The configured user does not exist or cannot be become."""


def find_user(name: str) -> tuple[int, int]:
    """(uid, gid) of a user of this machine."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        advice = f"make it (adduser --system --group {name}) or leave the key out"
        raise UserError(f"there is no user {name!r} on this machine; {advice}") from None
    return entry.pw_uid, entry.pw_gid


def own_directory(directory: Path, owner: tuple[int, int] | None) -> None:
    """Make the data directory, private to its user."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner is not None and os.geteuid() == 0:
        os.chown(directory, *owner)


def drop(name: str, owner: tuple[int, int]) -> None:
    """Become ``owner`` for good: groups first, since afterwards nobody may."""
    if os.geteuid() != 0:
        return
    os.initgroups(name, owner[1])
    os.setresgid(owner[1], owner[1], owner[1])
    os.setresuid(owner[0], owner[0], owner[0])
    if os.geteuid() == 0 and owner[0] != 0:
        raise UserError("could not give up root")
    if not os.access(sys.executable, os.X_OK):
        raise UserError(f"user: {name} may not run {sys.executable}: install Postlatch where every user can read it")


def raise_file_limit() -> None:
    """Take as many file descriptors as this user may have: a shell's soft limit of 1024 is a thousand connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
