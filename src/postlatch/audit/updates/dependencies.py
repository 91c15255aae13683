"""What Postlatch runs on: the Python packages that are installed and that it needs, directly or by another one."""

from __future__ import annotations

from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Final, NamedTuple

from postlatch.audit.printable import printable

ROOT: Final = "postlatch"
MOST: Final = 500


class Dependency(NamedTuple):
    """One installed package, by its normalised name (PEP 503)."""

    name: str
    version: str


def installed(root: str = ROOT) -> list[Dependency]:
    """All of them but the root, by name. A requirement that is not installed, or is for another system, is not here."""
    found: dict[str, str] = {}
    waiting = deque([root])
    while waiting and len(found) < MOST:
        name = waiting.popleft()
        if name in found:
            continue
        try:
            one = distribution(name)
        except (PackageNotFoundError, ValueError):
            continue
        found[name] = printable(one.version, 100)
        waiting.extend(_needs(one, extras=name == root))
    found.pop(root, None)
    return [Dependency(name, found[name]) for name in sorted(found)]


def normal(name: str) -> str:
    """PEP 503: lower case, and runs of separators are one dash."""
    text = name.lower().replace("_", "-").replace(".", "-")
    return "-".join(part for part in text.split("-") if part)


def _needs(one: Distribution, *, extras: bool) -> list[str]:
    """The names that it requires. What only an extra needs counts for the root alone, where it is taken if it is installed."""
    names = []
    for requirement in one.requires or []:
        _, _, marker = requirement.partition(";")
        if "extra" in marker and not extras:
            continue
        end = 0
        while end < len(requirement) and (requirement[end].isalnum() or requirement[end] in "._-"):
            end += 1
        names.append(normal(requirement[:end]))
    return names
