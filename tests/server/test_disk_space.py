"""Room on the disk, in octets and in inodes, on a small file system of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postlatch.app.disk import DiskSpace
from postlatch.settings.load import load_text
from postlatch.testing.running import BASE

MIB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Eight MiB, and a thousand inodes of which 2 % are 20."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=1000", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def space(disk: Path, overload: str = "") -> DiskSpace:
    return DiskSpace(load_text(f"{BASE}\n[overload]\n{overload}\n", disk.parent / "postlatch.toml"))


def test_a_small_disk_keeps_two_percent_and_half_as_much_again_as_the_message(disk: Path) -> None:
    room = space(disk)
    assert room.has_room(5 * MIB)
    assert not room.has_room(6 * MIB)
    assert space(disk, 'disk_free = "0 B"').has_room(8 * MIB * 2 // 3 - 100_000)


def test_what_was_full_needs_a_margin_before_it_takes_mail_again(disk: Path) -> None:
    room = space(disk)
    kept = 8 * MIB * 2 // 100
    filler = disk / "filler"
    filler.write_bytes(b"x" * (8 * MIB - kept + 8192))
    room.refresh()
    assert not room.has_room(0)
    os.truncate(filler, 8 * MIB - kept - 8192)
    room.refresh()
    assert not room.has_room(0), "a little more than the mark is not enough"
    os.truncate(filler, 8 * MIB - 2 * kept)
    room.refresh()
    assert room.has_room(0)


def test_inodes_run_out_before_space_does_and_come_back(disk: Path) -> None:
    room = space(disk)
    files: list[Path] = []
    while os.statvfs(disk).f_favail >= 20:
        files.append(disk / f"file{len(files)}")
        files[-1].touch()
    room.refresh()
    assert not room.has_room(0)
    for path in files[:50]:
        path.unlink()
    room.refresh()
    assert room.has_room(0)


def test_a_disk_that_does_not_answer_is_full(tmp_path: Path) -> None:
    assert not space(tmp_path / "gone" / "data").has_room(0)
