"""The journal's commands while events are on their way to the disk."""

from __future__ import annotations

from pathlib import Path

from app_world import in_loop, opened

from postlatch.app.commands.run import run_command
from postlatch.model.events import Event


@in_loop
async def test_what_happened_before_a_question_is_in_its_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        for number in range(20):
            world.writer.record(Event("connection.refused", world.now(), {"why": f"number {number}"}))
            searched = await run_command(world, "journal.search", {"event": "connection.refused"})
            assert len(searched.data["events"]) == number + 1
        world.writer.record(Event("connection.refused", world.now(), {"why": "the last"}))
        tailed = await run_command(world, "journal.tail", {"lines": 1})
        assert tailed.data["events"][0]["why"] == "the last"


@in_loop
async def test_a_journal_whose_store_fails_can_still_be_searched(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.submit([], Event("connection.refused", world.now(), {"why": "before"}))
        await world.writer.close()
        searched = await run_command(world, "journal.search", {"event": "connection.refused"})
        assert [event["why"] for event in searched.data["events"]] == ["before"]
