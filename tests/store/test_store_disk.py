"""Real trouble with a real disk: full, and failing to sync (RELIABILITY cases 4 and 5)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from store_tools import in_loop, keys, make_writer, put

from postlatch.store.database import StoreError, check_whole, open_database
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Writer

CHILD = Path(__file__).with_name("store_child.py")


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


async def fill(writer: Writer) -> list[str]:
    """Write until the disk is full; the keys that were acknowledged."""
    written: list[str] = []
    while not writer.disk_full:
        with suppress(WriteFailed):
            written += await writer.submit([put(f"{len(written):05}", "x" * 4000)])
    return written


def test_a_full_disk_refuses_mail_keeps_what_it_has_and_recovers_by_itself(small_disk: Path) -> None:
    path, filler = small_disk / "postlatch.db", small_disk / "filler"
    filler.write_bytes(b"x" * 800_000)

    @in_loop
    async def scenario() -> None:
        writer = make_writer(path)
        written = await fill(writer)
        assert len(written) > 20
        for _ in range(3):
            with pytest.raises(WriteFailed) as caught:
                await writer.submit([put("big", "x" * 60_000)])
            assert (caught.value.disk_full, caught.value.unknown) == (True, False)
        assert (writer.disk_full, writer.healthy) == (True, True)
        filler.unlink()
        await writer.submit([put("after", "x" * 60_000)])
        assert not writer.disk_full
        await writer.close()
        assert keys(path) == [*written, "after"]
        assert check_whole(path) == []

    scenario()


def test_a_database_is_not_begun_on_a_full_disk(small_disk: Path) -> None:
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    path = small_disk / "postlatch.db"
    with pytest.raises(StoreError, match=r"postlatch\.db cannot be"):
        open_database(path, create=True)
    assert [entry.name for entry in small_disk.iterdir()] == ["filler"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the disk fail")
@pytest.mark.parametrize(("call", "when"), [("fdatasync", 4), ("pwrite64", 30)])
def test_a_disk_that_fails_once_costs_one_451_and_a_fresh_connection(tmp_path: Path, call: str, when: int) -> None:
    path = tmp_path / "postlatch.db"
    open_database(path, create=True).close()
    # Counted in each thread: this one of the writer's own is in the middle of its work.
    fault = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={when}"]
    program = [*fault, sys.executable, str(CHILD), str(path), "20"]
    done = subprocess.run(program, check=True, capture_output=True, text=True, timeout=60)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    words = [word for word, _ in lines]
    assert words.count("failed") == 1
    assert words.count("ok") == 19
    assert words.index("unhealthy") < words.index("healthy")
    failed = next(rest for word, rest in lines if word == "failed")
    assert "full=False" in failed
    acknowledged = {rest for word, rest in lines if word == "ok"}
    # What was answered 451 may be there or not; what was answered 250 is.
    assert acknowledged <= set(keys(path)) <= acknowledged | {failed[:3], "trial"}
    with closing(open_database(path, create=False)):
        assert check_whole(path) == []
