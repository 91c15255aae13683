"""Receiving: in memory, then in a file; durable before the row; nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_contract import LARGE, read_all
from spool_tools import BODY, Parcel, Relay, in_loop

from postlatch.spool.bodies import INLINE_LIMIT
from postlatch.spool.contract import SpoolError
from postlatch.spool.draft import Draft
from postlatch.store.files import body_path
from postlatch.store.transaction import WriteFailed


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path / "data")


def files(relay: Relay) -> list[str]:
    return sorted(path.name for path in relay.bodies.rglob("*") if path.is_file())


@asynccontextmanager
async def large_draft(relay: Relay) -> AsyncIterator[tuple[Draft, Parcel]]:
    async with relay:
        draft = relay.spool.open(relay.clock.now())
        draft.write(LARGE)
        yield draft, Parcel(["bob@example.com"], relay.clock.now())


async def settle(relay: Relay) -> None:
    """Let the threads of the spool finish what they were given."""
    relay.spool.close()


def test_a_large_body_moves_to_a_file_whose_final_name_appears_when_it_is_durable(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with large_draft(relay) as (draft, parcel):
            name = body_path(relay.bodies, draft.message_id).name
            assert draft.in_file
            assert draft.size == len(LARGE)
            assert files(relay) == [f"{name}.tmp"]
            await draft.prepare()
            assert files(relay) == [name]
            assert body_path(relay.bodies, draft.message_id).read_bytes() == LARGE
            assert body_path(relay.bodies, draft.message_id).stat().st_mode & 0o077 == 0
            await relay.do(parcel.commit(draft))
            relay.spool.committed(draft)
            assert len(relay.spool.take(1)) == 1

    scenario()


def test_a_large_body_is_not_committed_before_it_is_durable(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with large_draft(relay) as (draft, parcel):
            with pytest.raises(SpoolError, match="cannot be committed now"):
                parcel.commit(draft)
            await draft.prepare()
            parcel.commit(draft)
            with pytest.raises(SpoolError, match="cannot be committed now"):
                parcel.commit(draft)

    scenario()


def test_a_small_draft_needs_no_preparation_but_bears_it(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            for prepared in (False, True):
                draft = relay.spool.open(relay.clock.now())
                draft.write(BODY)
                if prepared:
                    await draft.prepare()
                assert not draft.in_file
                await relay.do(Parcel(["bob@example.com"], relay.clock.now()).commit(draft))
                relay.spool.committed(draft)
            assert relay.spool.pending() == 2
            assert files(relay) == []

    scenario()


@pytest.mark.parametrize("stage", ["open", "prepared", "committing"])
def test_an_aborted_draft_leaves_nothing_behind(relay: Relay, stage: str) -> None:
    @in_loop
    async def scenario() -> None:
        async with large_draft(relay) as (draft, parcel):
            if stage != "open":
                await draft.prepare()
            if stage == "committing":
                parcel.commit(draft)
            for _ in range(2):
                draft.abort()
            for late in (lambda: parcel.commit(draft), lambda: relay.spool.committed(draft)):
                with pytest.raises(SpoolError):
                    late()
            await settle(relay)
            assert files(relay) == []
            assert relay.spool.pending() == 0

    scenario()


def test_a_client_that_leaves_while_its_message_is_being_synced_leaves_nothing_behind(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with large_draft(relay) as (draft, _):
            preparing = asyncio.create_task(draft.prepare())
            await asyncio.sleep(0)
            draft.abort()
            with pytest.raises((SpoolError, OSError)):
                await preparing
            await settle(relay)
            assert files(relay) == []

    scenario()


def test_a_cancelled_preparation_followed_by_an_abort_leaves_nothing_behind(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with large_draft(relay) as (draft, parcel):
            preparing = asyncio.create_task(draft.prepare())
            await asyncio.sleep(0)
            preparing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await preparing
            with pytest.raises(SpoolError, match="cannot be committed now"):
                parcel.commit(draft)
            draft.abort()
            await settle(relay)
            assert files(relay) == []

    scenario()


def test_after_a_commit_of_unknown_fate_the_file_stays_for_the_sweep(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with large_draft(relay) as (draft, parcel):
            await draft.prepare()
            parcel.commit(draft)
            draft.abort(unknown=True)
            await settle(relay)
            assert files(relay) == [body_path(relay.bodies, draft.message_id).name]
        async with Relay(relay.folder, relay.clock) as again:
            assert len(again.swept.stray) == 1

    scenario()


def test_a_failed_commit_gives_its_room_in_memory_back(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data", waiting_messages=1) as relay:
            draft = relay.spool.open(relay.clock.now())
            draft.write(BODY)
            Parcel(["bob@example.com"], relay.clock.now()).commit(draft)
            draft.abort()
            await relay.accept()
            assert relay.spool.pending() == 1

    scenario()


def test_what_a_commit_of_unknown_fate_left_in_the_database_is_found_when_the_store_recovers(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            waiting, in_hand, committing = [relay.spool.open(relay.clock.now()) for _ in range(3)]
            lost = relay.spool.open(relay.clock.now())
            claims = []
            for draft in (in_hand, waiting, committing, lost):
                draft.write(BODY)
                await relay.do(Parcel(["bob@example.com", "x@elsewhere.example"], relay.clock.now()).commit(draft))
                if draft in (in_hand, waiting):
                    relay.spool.committed(draft)
                if draft is in_hand:
                    claims += relay.spool.take(1)
            lost.abort(unknown=True)
            assert await relay.due() == []
            assert await relay.do(relay.spool.recover(claims)) == 2
            [claim] = await relay.due()
            assert claim.message.message_id == lost.message_id
            assert len(claim.recipients) == 2
            relay.spool.committed(committing)
            assert relay.spool.pending() == 2

    scenario()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "postlatch-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)


async def fill(relay: Relay) -> None:
    for _ in range(100):
        await relay.accept(body=b"x" * 100_000)


def test_a_disk_that_fills_while_a_body_arrives_costs_that_message_only(small_disk: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(small_disk / "data") as relay:
            kept = await relay.accept(body=LARGE)
            draft = relay.spool.open(relay.clock.now())
            for _ in range(40):
                draft.write(b"x" * 65536)
            assert files(relay) == [body_path(relay.bodies, kept).name], "its space was given back at once"
            with pytest.raises(OSError, match="No space") as caught:
                await draft.prepare()
            assert caught.value.errno == errno.ENOSPC
            draft.abort()
            await relay.accept(body=LARGE)
            [claim, _] = relay.spool.take(2)
            assert await read_all(relay, claim) == LARGE
            await relay.finish(claim)

    scenario()


def test_a_disk_that_is_full_at_the_commit_keeps_the_queue_and_takes_mail_again_later(small_disk: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(small_disk / "data") as relay:
            kept = await relay.accept()
            with pytest.raises(WriteFailed) as caught:
                await fill(relay)
            assert caught.value.disk_full
            accepted = [claim.message.message_id for claim in relay.spool.take(1000)]
            assert accepted[0] == kept
            assert sorted(accepted) == [row[0] for row in relay.sql("SELECT id FROM messages ORDER BY id")]
            grow(small_disk)
            await relay.accept(body=b"x" * 100_000)

    scenario()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the disk fail")
@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_body_file_that_cannot_be_synced_is_not_relied_on(tmp_path: Path, when: int) -> None:
    """The file, its folder, and the folder of folders: each must be synced before the row says that the body exists."""
    program = (
        "import sys; from pathlib import Path; from postlatch.spool.bodies import BodyWriter\n"
        "file = BodyWriter(Path(sys.argv[1]), 7); file.write(b'x' * 1000)\n"
        "try: file.finish(); print('durable')\n"
        "except OSError as error: print(error.strerror)"
    )
    fault = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", f"inject=fsync:error=EIO:when={when}"]
    done = subprocess.run([*fault, sys.executable, "-c", program, tmp_path], check=True, capture_output=True, text=True)
    assert done.stdout == "Input/output error\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 90_000)), max_size=12))
def test_any_split_of_any_body_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("split")

    @in_loop
    async def scenario() -> None:
        async with Relay(folder / "data", waiting_messages=0) as relay:
            draft = relay.spool.open(relay.clock.now())
            for octet, count in pieces:
                draft.write(bytes([octet]) * count)
            whole = b"".join(bytes([octet]) * count for octet, count in pieces)
            assert (draft.size, draft.in_file) == (len(whole), len(whole) > INLINE_LIMIT)
            await draft.prepare()
            await relay.do(Parcel(["bob@example.com"], relay.clock.now()).commit(draft))
            relay.spool.committed(draft)
            [claim] = await relay.due()
            assert await read_all(relay, claim) == whole
            assert claim.message.eight_bit is not whole.isascii()

    scenario()
