"""Tells of rights that are about to end, and of those that nobody uses: once each, also over a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from postlatch.app.world import World
from postlatch.model.events import JsonValue
from postlatch.policy.reminders import UNUSED, due, permissions
from postlatch.policy.replies import rfc3339
from postlatch.store import right_life

Alert = Callable[[str, Mapping[str, JsonValue]], None]


class RightWatch:
    """Looks once a minute; what it has told is in the database before it is told."""

    def __init__(self, world: World, alert: Alert) -> None:
        self._world = world
        self._alert = alert

    async def every_minute(self) -> None:
        """Look at every right, relay domain and delegation."""
        from postlatch.app.commands.policy import used_at  # noqa: PLC0415 - the commands import what makes this

        world = self._world
        known = world.right_life
        found = due(permissions(world.policy.snapshot, used_at(world)), known, world.now())
        if not found.changed and not found.gone:
            return
        await world.submit([right_life.save(found.changed, found.gone)])
        known |= {(row.kind, row.name): row for row in found.changed}
        for key in found.gone:
            known.pop(key, None)
        for reminder in found.reminders:
            one = reminder.permission
            fields: dict[str, JsonValue] = {"kind": "right", "right": one.name, "owner": one.owner}
            if reminder.days is None:
                self._alert(f"the {one.kind} {one.name} was not used for {UNUSED} days", fields)
                continue
            ahead = "1 day" if reminder.days == 1 else f"{reminder.days} days"
            self._alert(f"the {one.kind} {one.name} ends within {ahead}, at {rfc3339(one.expires)}", fields)
