"""Files beside the database."""

from __future__ import annotations

import os
from pathlib import Path

from postlatch.model.ids import format_id


def body_path(bodies: Path, message_id: int) -> Path:
    """Where the body file of a message is: ``bodies/<2 characters>/<id>``.

    The two characters are those of the id that change every quarter of a second, so that no folder grows large; its first
    characters stay the same for years, its last for a run of the process.
    """
    name = format_id(message_id)
    return bodies / name[6:8] / name


def sync_directory(path: Path) -> None:
    """Make names made or changed in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
