"""Numbered changes of the schema: ``0002_*.sql`` makes version 2 of version 1. Plain SQL, without BEGIN and COMMIT.

To change the schema: change the room's file in ``schema/`` to what it shall be, and put the way there into a new file here
with the next number. The version of the schema is the highest number. A test compares what both ways lead to.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final, NamedTuple


class Migration(NamedTuple):
    """One step, to ``version`` from the one before it. ``name`` is its file's."""

    version: int
    name: str
    sql: str


@cache
def steps() -> tuple[Migration, ...]:
    """All of them, in their order."""
    files = [entry for entry in resources.files(__name__).iterdir() if entry.name.endswith(".sql")]
    found = [Migration(int(entry.name[:4]), entry.name, entry.read_text("utf-8")) for entry in files]
    return tuple(sorted(found))


LATEST: Final = max(step.version for step in steps())
