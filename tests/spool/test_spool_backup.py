"""A backup while mail comes and goes, and what is restored from it."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from spool_contract import LARGE, read_all
from spool_tools import BODY, Relay, deferred, delivered, held, in_loop

from postlatch.spool import admin
from postlatch.spool.queue import QueueFilter
from postlatch.store.backup import BackupReport, backup
from postlatch.store.database import StoreError, check_whole
from postlatch.store.files import body_path
from postlatch.store.restore import restore

NOW = 1_767_225_600.0


async def back_up(relay: Relay, target: Path) -> BackupReport:
    return await asyncio.to_thread(backup, relay.path, relay.bodies, target, now=NOW)


def test_a_restored_queue_holds_everything_that_was_not_final(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        archive = tmp_path / "relay.backup"
        async with Relay(tmp_path / "data") as relay:
            small, large = await relay.accept("bob@example.com", "x@elsewhere.example"), await relay.accept(body=LARGE)
            await relay.accept()
            on_hold = await relay.accept()
            claims = relay.spool.take(4)
            await relay.finish(claims[0], delivered(0))
            await relay.finish(claims[2])
            await relay.finish(claims[3], held(0))
            report = await back_up(relay, archive)
            assert report == BackupReport(messages=3, bodies=1, size=archive.stat().st_size, missing=())
            assert archive.stat().st_mode & 0o077 == 0
        restored = restore(archive, tmp_path / "restored")
        assert (restored.messages, restored.held, restored.bodies) == (3, 2, 1)
        assert restored.created_at == "2026-01-01T00:00:00Z"
        assert check_whole(tmp_path / "restored" / "postlatch.db") == []
        async with Relay(tmp_path / "restored") as relay:
            relay.clock.advance(1e6)
            assert await relay.due() == [], "nothing goes out before an operator says so"
            rows = relay.sql(
                "SELECT message, number, state, last_reply, possible_duplicate FROM recipients WHERE state = 'held'"
            )
            assert rows == [
                (small, 1, "held", "restored from backup", 1),
                (large, 0, "held", "restored from backup", 1),
                (on_hold, 0, "held", "held: the account is suspended", 0),
            ]
            await relay.do(admin.release(QueueFilter(), relay.clock.now()))
            bodies = [await read_all(relay, claim) for claim in await relay.due()]
            assert bodies == [BODY, LARGE, BODY]

    scenario()


def test_a_message_that_finishes_while_the_backup_runs_is_in_it_as_finished(tmp_path: Path) -> None:
    """The file of a message is gone when the backup comes to it: as deleted and finished, purged, or truly lost."""

    @in_loop
    async def scenario() -> None:
        archive = tmp_path / "relay.backup"
        async with Relay(tmp_path / "data") as relay:
            kept, finished, purged, lost = [await relay.accept("bob@example.com", body=LARGE) for _ in range(4)]
            claims = {claim.message.message_id: claim for claim in relay.spool.take(4)}

            async def meanwhile() -> None:
                for message in (finished, purged):
                    [path] = await relay.do(relay.spool.finish(claims[message], [delivered(0)]))
                    path.unlink()
                relay.sql("DELETE FROM messages WHERE id = ?", purged)
                relay.sql("DELETE FROM recipients WHERE message = ?", purged)
                body_path(relay.bodies, lost).unlink()

            report = await backed_up_with(relay, archive, meanwhile)
            assert report.missing == (lost,)
            assert (report.messages, report.bodies) == (2, 1)
        restored = restore(archive, tmp_path / "restored")
        assert (restored.messages, restored.held, restored.bodies) == (2, 2, 1)
        async with Relay(tmp_path / "restored") as relay:
            states = dict(relay.sql("SELECT message, state FROM recipients"))
            assert states == {kept: "held", finished: "delivered", lost: "held"}
            assert relay.sql("SELECT id FROM messages WHERE finished_at IS NOT NULL") == [(finished,)]

    scenario()


async def backed_up_with(relay: Relay, target: Path, meanwhile: Callable[[], Coroutine[Any, Any, None]]) -> BackupReport:
    """A backup with something done between its snapshot and its copy of the files."""
    loop = asyncio.get_running_loop()

    def progress(stage: str) -> None:
        if stage == "the database is copied":
            asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(10)

    return await asyncio.to_thread(backup, relay.path, relay.bodies, target, now=NOW, progress=progress)


def test_a_backup_under_load_is_whole_and_consistent(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            stop = False

            async def traffic(body: bytes) -> None:
                while not stop:
                    await relay.accept("bob@example.com", "x@elsewhere.example", body=body)
                    for claim in relay.spool.take(2):
                        await relay.finish(claim, delivered(0), delivered(1))

            for _ in range(20):
                await relay.accept(body=LARGE)
            tasks = [asyncio.create_task(traffic(body)) for body in (BODY, LARGE, LARGE, BODY)]
            reports = []
            for number in range(5):
                await asyncio.sleep(0.05)
                reports.append(await back_up(relay, tmp_path / f"{number}.backup"))
            stop = True
            await asyncio.gather(*tasks)
            assert all(report.missing == () for report in reports)
        for number in range(5):
            folder = tmp_path / f"restored{number}"
            restore(tmp_path / f"{number}.backup", folder)
            async with Relay(folder) as restored:
                assert restored.swept.held == (), "every open message has its body"
                assert restored.swept.stray == ()
                assert check_whole(restored.path) == []

    scenario()


def test_a_backup_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            await relay.accept()
            with pytest.raises(StoreError, match="could not be written"):
                await back_up(relay, tmp_path / "absent" / "relay.backup")
            (tmp_path / "folder").mkdir()
            with pytest.raises(StoreError, match="could not be written"):
                await back_up(relay, tmp_path / "folder")
            await relay.finish(relay.spool.take(1)[0], deferred(0, 1.0))

    scenario()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "folder"]


def test_a_new_backup_replaces_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        archive = tmp_path / "relay.backup"
        archive.write_bytes(b"the old one")
        async with Relay(tmp_path / "data") as relay:
            await back_up(relay, archive)
        with tarfile.open(archive) as members:
            assert members.getnames() == ["postlatch.db", "manifest.json"]

    scenario()
