"""A damaged database (RELIABILITY case 8): what can be read is saved and held, and what is not is known."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from spool_contract import LARGE, read_all
from spool_tools import BODY, Relay, deferred, held, in_loop

from postlatch.spool import admin
from postlatch.spool.contract import SpoolError
from postlatch.spool.queue import QueueFilter
from postlatch.store import meta
from postlatch.store.database import StoreError, check_whole
from postlatch.store.salvage import SalvageReport, salvage

PAGE = 4096


async def fill(relay: Relay, count: int) -> list[int]:
    ids = [await relay.accept("bob@example.com", "x@elsewhere.example", body=BODY * 60) for _ in range(count)]
    ids.append(await relay.accept(body=LARGE))
    for claim in relay.spool.take(1):
        await relay.finish(claim, deferred(0, relay.clock.now()), held(1))
    await relay.do(meta.put("secret", "kept"))
    return ids


def damage(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(random.Random(page).randbytes(PAGE))


def saved(tmp_path: Path) -> tuple[Path, SalvageReport]:
    target = tmp_path / "data" / "salvaged.db"
    return target, salvage(tmp_path / "data" / "postlatch.db", target)


def test_of_a_healthy_database_everything_is_saved_and_held(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            ids = await fill(relay, 20)
        target, report = saved(tmp_path)
        assert (report.messages, report.damaged) == (21, ())
        assert report.rows["recipients"] == 41
        assert report.held == 40, "one was held before"
        assert check_whole(target) == []
        relay.path.unlink()
        target.rename(relay.path)
        async with Relay(tmp_path / "data") as relay:
            relay.clock.advance(1e6)
            assert await relay.read(lambda connection: meta.get(connection, "secret")) == "kept"
            assert await relay.due() == [], "nothing goes out before an operator says so"
            await relay.do(admin.release(QueueFilter(), relay.clock.now()))
            claims = await relay.due()
            assert [claim.message.message_id for claim in claims] == ids
            assert [await read_all(relay, claim) for claim in claims] == [BODY * 60] * 20 + [LARGE]

    scenario()


@pytest.mark.soak
def test_wherever_a_page_is_damaged_nothing_invented_comes_out_and_most_is_saved(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            ids = await fill(relay, 60)
        path = tmp_path / "data" / "postlatch.db"
        whole = path.read_bytes()
        pages = range(1, len(whole) // PAGE)
        rescued, hopeless = [], 0
        for page in pages:
            path.write_bytes(whole)
            damage(path, page)
            try:
                target, report = saved(tmp_path)
            except StoreError:  # the schema itself
                hopeless += 1
                continue
            assert check_whole(target) == []
            assert await readable(tmp_path, target, ids)
            rescued.append(report.messages)
            target.unlink()
            shutil.rmtree(report.quarantine or tmp_path / "nothing", ignore_errors=True)
        path.write_bytes(whole)
        assert hopeless < 5
        assert sum(rescued) > len(rescued) * len(ids) * 0.95

    scenario()


async def readable(tmp_path: Path, target: Path, ids: list[int]) -> bool:
    """Start a relay on a salvaged database: every message is one of ours and whole, or its body is known to be damaged."""
    relay = Relay(tmp_path / "data")
    relay.path = target
    async with relay:
        await relay.do(admin.release(QueueFilter(), relay.clock.now()))
        for claim in await relay.due():
            assert claim.message.message_id in ids
            try:
                body = await read_all(relay, claim)
            except SpoolError:
                continue
            assert body in (BODY * 60, LARGE)
        return not await relay.due()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\xff" * 8000])
def test_of_what_is_no_database_nothing_is_saved(tmp_path: Path, content: bytes) -> None:
    damaged = tmp_path / "postlatch.db"
    damaged.write_bytes(content)
    with pytest.raises(StoreError, match=r"nothing can be read|is not a database of"):
        salvage(damaged, tmp_path / "new.db")
    assert [entry.name for entry in tmp_path.iterdir()] == ["postlatch.db"]
    assert damaged.read_bytes() == content


def test_salvage_never_overwrites_and_needs_something_to_read(tmp_path: Path) -> None:
    (tmp_path / "new.db").write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        salvage(tmp_path / "absent.db", tmp_path / "new.db")
    assert (tmp_path / "new.db").read_text() == "mine"
    with pytest.raises(StoreError, match="does not exist"):
        salvage(tmp_path / "absent.db", tmp_path / "other.db")
