"""Reminders of rights, as the relay gives them: told once, kept in the database, not told again by another run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from app_world import in_loop, opened

from postlatch.app.right_watch import RightWatch
from postlatch.model.events import JsonValue

TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
RIGHTS = f"""
[[listeners]]
name = "relay"
address = "127.0.0.1:0"
role = "relay"
[[rights]]
name = "soon"
networks = ["192.0.2.1"]
listeners = ["relay"]
owner = "ops@example.com"
expires = {TOMORROW}
[relay_domains."branch.example"]
route = "smtp://192.0.2.2:25"
recipients = ["dave"]
owner = "ops@example.com"
expires = 2099-01-01
"""


def _end_of(day: date) -> str:
    return datetime.combine(day + timedelta(days=1), time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@in_loop
async def test_a_right_that_ends_soon_is_told_once_over_two_runs(tmp_path: Path) -> None:
    told: list[tuple[str, Mapping[str, JsonValue]]] = []
    for _ in range(2):
        async with opened(tmp_path, RIGHTS) as world:
            watch = RightWatch(world, lambda sentence, fields: told.append((sentence, fields)))
            await watch.every_minute()
            await watch.every_minute()
    end = _end_of(TOMORROW)
    assert [sentence for sentence, _ in told] == [f"the right soon ends within 3 days, at {end}"]
    assert told[0][1]["owner"] == "ops@example.com"
