"""``backup``: consistent, while the relay runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.world import World, bodies_of
from postlatch.model.ids import format_id
from postlatch.store.backup import backup


async def make(world: World, arguments: dict[str, Any]) -> Answer:
    """Write everything into one file."""
    target = Path(arguments["file"])
    if await asyncio.to_thread(target.exists):
        raise CommandError(f"{target} exists already: a backup never replaces a file")
    report = await asyncio.to_thread(backup, world.settings.database, bodies_of(world.settings), target, now=world.now())
    found = report._asdict() | {"missing": [format_id(message) for message in report.missing]}
    return good("backup", file=str(target), **found)
