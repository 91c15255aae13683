"""What is told of one program: its version, whether a newer one is there, and what is known against it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Where a program comes from, and so who tells whether it is out of date."""

    POSTLATCH = "postlatch"  # the package index
    DEPENDENCY = "dependency"  # OSV
    PACKAGE = "package"  # the system's package manager
    SERVER = "server"  # the advisories that are held here


class State(StrEnum):
    """Worst first. ``possible``: the upstream version has a fault, but a distribution may have mended it under that number."""

    VULNERABLE = "vulnerable"
    OUTDATED = "outdated"
    POSSIBLE = "possible"
    UNKNOWN = "unknown"
    CURRENT = "current"


class Advisory(NamedTuple):
    """A fault that is known. ``fixed``: the version that mends it on this branch, or empty. ``severity`` may be "unknown".

    ``confirmed`` is False for a fact that was taken from general knowledge and not read at its source.
    """

    id: str
    severity: str
    summary: str
    source: str = ""
    fixed: str = ""
    confirmed: bool = True


class Item(NamedTuple):
    """One program. ``fix`` is the exact command, or what to do; ``note`` what stands behind the state.

    ``security``: the newer version mends something that is known as a security fault.
    """

    kind: Kind
    name: str
    installed: str
    newest: str
    state: State
    advisories: tuple[Advisory, ...] = ()
    fix: str = ""
    note: str = ""
    security: bool = False
