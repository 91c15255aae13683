from __future__ import annotations

import asyncio
import itertools
import mailbox
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_fakes import MAIL, NOW, MemoryBody, StreamBody, address, local, message, recipient
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.contract import Attempt, AttemptStatus, Body
from postlatch.delivery.mailbox import file_name, mailbox_path, safe_name
from postlatch.delivery.maildir import Letter, store
from postlatch.delivery.maildir_store import MaildirStore
from postlatch.spool.contract import QueuedRecipient, StoredMessage

LF_MAIL = MAIL.replace(b"\r\n", b"\n")
HEAD = b"Return-Path: <alice@example.com>\nDelivered-To: bob@example.com\n"


def deliver(
    root: Path, *recipients: QueuedRecipient, body: Body | None = None, of: StoredMessage | None = None
) -> list[Attempt]:
    async def scenario() -> list[Attempt]:
        maildir = MaildirStore("mx.example.com")
        try:
            return await maildir.deliver(str(root), of or message(), recipients, body or MemoryBody())
        finally:
            maildir.close()

    return asyncio.run(scenario())


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def new_in(box: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((box / "new").iterdir())]


def test_a_message_arrives_whole_with_its_envelope_on_top(tmp_path: Path) -> None:
    [attempt] = deliver(tmp_path, local("bob@example.com", 3))
    assert attempt == Attempt(3, AttemptStatus.DELIVERED, "250 2.0.0 delivered to the mailbox", "2.0.0", "maildir")
    assert new_in(tmp_path / "example.com" / "bob") == [HEAD + LF_MAIL]


def test_the_standard_library_reads_the_mailbox(tmp_path: Path) -> None:
    deliver(tmp_path, local("bob@example.com"))
    [mail] = mailbox.Maildir(tmp_path / "example.com" / "bob", create=False)
    assert mail["Subject"] == "hello"
    assert mail["Delivered-To"] == "bob@example.com"
    assert mail.get_payload() == "The body.\n"


def test_nothing_is_left_behind_and_nobody_else_may_look(tmp_path: Path) -> None:
    root = tmp_path / "mail"
    deliver(root, local("bob@example.com"))
    box = root / "example.com" / "bob"
    assert sorted(path.name for path in box.iterdir()) == ["cur", "new", "tmp"]
    assert list((box / "tmp").iterdir()) == []
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_the_null_sender_is_an_empty_return_path(tmp_path: Path) -> None:
    deliver(tmp_path, local("bob@example.com"), of=message(sender=None))
    assert new_in(tmp_path / "example.com" / "bob")[0].startswith(b"Return-Path: <>\n")


def test_many_recipients_get_a_file_each(tmp_path: Path) -> None:
    people = [local(f"user{number}@example.com", number) for number in range(100)]
    attempts = deliver(tmp_path, *people)
    assert [attempt.number for attempt in attempts] == list(range(100))
    assert all(attempt.status is AttemptStatus.DELIVERED for attempt in attempts)
    assert len(files(tmp_path)) == 100
    assert b"Delivered-To: user42@example.com\n" in new_in(tmp_path / "example.com" / "user42")[0]


def test_many_messages_at_once_all_arrive(tmp_path: Path) -> None:
    async def scenario() -> None:
        maildir = MaildirStore("mx.example.com")
        jobs = [
            maildir.deliver(str(tmp_path), message(number), [local("bob@example.com")], MemoryBody()) for number in range(300)
        ]
        await asyncio.gather(*jobs)
        maildir.close()

    asyncio.run(scenario())
    assert new_in(tmp_path / "example.com" / "bob") == [HEAD + LF_MAIL] * 300


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(MAIL)), max_size=8))
def test_a_streamed_message_is_the_same_however_it_is_cut(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    root = tmp_path_factory.mktemp("mail")
    edges = [0, *sorted(cuts), len(MAIL)]
    pieces = [MAIL[start:end] for start, end in itertools.pairwise(edges)]
    deliver(root, local("bob@example.com"), local("eve@example.com", 1), body=StreamBody(pieces))
    assert new_in(root / "example.com" / "bob") == [HEAD + LF_MAIL]
    assert len(files(root)) == 2


def test_a_body_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="digest"):
        deliver(tmp_path, local("bob@example.com"), local("eve@example.com", 1), body=StreamBody([MAIL], fails=True))
    assert files(tmp_path) == []


def test_a_cancelled_delivery_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        maildir = MaildirStore("mx.example.com")
        reading = asyncio.Event()
        body = StreamBody([b"x" * 100_000] * 100, reading=reading)
        task = asyncio.create_task(maildir.deliver(str(tmp_path), message(), [local("bob@example.com")], body))
        await reading.wait()
        assert files(tmp_path)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        maildir.close()

    asyncio.run(scenario())
    assert files(tmp_path) == []


def test_a_repeated_delivery_is_the_same_file(tmp_path: Path) -> None:
    once = local("bob@example.com", attempts=0)
    again = local("bob@example.com", attempts=1)
    assert [deliver(tmp_path, one)[0].status for one in (once, once, again)] == [AttemptStatus.DELIVERED] * 3
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("flags", ["", ":2,", ":2,S"])
def test_a_repeated_delivery_finds_what_was_read_meanwhile(tmp_path: Path, flags: str) -> None:
    deliver(tmp_path, local("bob@example.com"))
    box = tmp_path / "example.com" / "bob"
    [file] = (box / "new").iterdir()
    file.rename(box / "cur" / f"{file.name}{flags}")
    deliver(tmp_path, local("bob@example.com", possible_duplicate=True))
    assert new_in(box) == []
    assert len(files(tmp_path)) == 1


def test_two_recipients_of_one_message_may_be_one_mailbox(tmp_path: Path) -> None:
    deliver(tmp_path, local("bob@example.com", 0), local("BOB@example.com", 1))
    assert len(new_in(tmp_path / "example.com" / "bob")) == 2


def test_what_a_crash_left_in_tmp_never_damages_what_was_delivered(tmp_path: Path) -> None:
    deliver(tmp_path, local("bob@example.com"))
    box = tmp_path / "example.com" / "bob"
    [file] = (box / "new").iterdir()
    os.link(file, box / "tmp" / file.name)  # the crash came between link and unlink
    deliver(tmp_path, local("bob@example.com"), body=MemoryBody(b"From: x\r\n\r\nshorter\r\n"))
    assert new_in(box) == [HEAD + LF_MAIL]
    assert list((box / "tmp").iterdir()) == []


def test_half_a_file_in_tmp_is_written_anew(tmp_path: Path) -> None:
    box = tmp_path / "example.com" / "bob"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    (box / "tmp" / file_name(77, 0, NOW, "mx.example.com")).write_bytes(b"hal")
    deliver(tmp_path, local("bob@example.com"))
    assert new_in(box) == [HEAD + LF_MAIL]


def test_a_link_in_tmp_is_not_followed(tmp_path: Path) -> None:
    box = tmp_path / "example.com" / "bob"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (box / "tmp" / file_name(77, 0, NOW, "mx.example.com")).symlink_to(precious)
    deliver(tmp_path, local("bob@example.com"))
    assert precious.read_bytes() == b"precious"
    assert new_in(box) == [HEAD + LF_MAIL]


def test_one_broken_mailbox_does_not_touch_the_others(tmp_path: Path) -> None:
    (tmp_path / "example.com").mkdir()
    (tmp_path / "example.com" / "eve").write_text("this is a file")
    attempts = deliver(tmp_path, local("eve@example.com", 0), local("bob@example.com", 1))
    assert [attempt.status for attempt in attempts] == [AttemptStatus.TEMPORARY, AttemptStatus.DELIVERED]
    assert attempts[0].reply == "451 4.3.0 the mailbox cannot be written (ENOTDIR)"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(tmp_path)], check=False, capture_output=True)
    if mount.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_full_disk_is_a_temporary_failure_and_heals(small_disk: Path, streamed: bool) -> None:
    big = b"From: x\r\n\r\n" + b"x" * 70_000 + b"\r\n"
    body = StreamBody([big]) if streamed else MemoryBody(big)
    [first] = deliver(small_disk, local("bob@example.com", 0), body=body)
    [failed] = deliver(small_disk, local("eve@example.com", 1), body=body)  # not side by side: both might run out of space then
    assert (first.status, failed.status) == (AttemptStatus.DELIVERED, AttemptStatus.TEMPORARY)
    assert failed.reply == "452 4.3.1 the mail store is full"
    assert len(files(small_disk)) == 1
    Path(small_disk, files(small_disk)[0]).unlink()
    assert deliver(small_disk, local("eve@example.com", 1), body=body)[0].status is AttemptStatus.DELIVERED


def test_a_letter_keeps_the_error_and_loses_the_file(tmp_path: Path) -> None:
    box = tmp_path / "bob"
    for name in ("tmp", "cur"):
        (box / name).mkdir(parents=True)  # there is no new/
    letter = Letter(str(box), "1.x", b"", b"content")
    store([letter])
    assert isinstance(letter.error, FileNotFoundError)
    assert list((box / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("local_part", "name"),
    [
        ("alice", "alice"),
        ("Alice.B+x_y-z", "alice.b+x_y-z"),
        (".", "%2E"),
        ("..", "%2E."),
        (".ssh", "%2Essh"),
        ("a/b", "a%2Fb"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("", "%"),
        ("a\0b", "a%00b"),
        ("käse", "k%C3%A4se"),
        ("KÄSE", "k%C3%A4se"),
    ],
)
def test_a_local_part_is_a_safe_name(local_part: str, name: str) -> None:
    assert safe_name(local_part) == name


@given(st.text(max_size=64), st.text(max_size=64))
def test_names_are_safe_and_distinct(one: str, two: str) -> None:
    name = safe_name(one)
    assert name not in {"", ".", ".."}
    assert not set(name) & {"/", "\0", "\n"}
    assert not name.startswith(".")
    assert (name == safe_name(two)) == (one.lower() == two.lower())


@given(st.text(alphabet="aé /.%\\", min_size=1, max_size=30))
def test_a_mailbox_never_lies_outside_its_domain(local_part: str) -> None:
    quoted = '"' + local_part.replace("\\", "\\\\") + '"'
    path = Path(os.path.normpath(mailbox_path("/srv/mail", address(f"{quoted}@example.com"))))
    assert path.parent == Path("/srv/mail/example.com")


def test_a_file_name_is_unique_to_message_and_recipient_and_sorts_by_time() -> None:
    name = file_name(77, 3, 1_767_225_600.25, "mx.example.com")
    assert name == "1767225600.M250000Q000000000002DR3.mx.example.com"
    assert len({file_name(m, r, NOW, "h") for m in range(5) for r in range(5)}) == 25
    assert not set(file_name(1, 1, -5.0, "../evil:host/\n")) & {"/", ":", "\n"}


def test_a_foreign_character_in_an_address_is_written_as_utf8(tmp_path: Path) -> None:
    deliver(tmp_path, recipient("käse@example.com"), of=message(sender="é@example.com"))
    [mail] = new_in(tmp_path / "example.com" / "k%C3%A4se")
    assert mail.startswith("Return-Path: <é@example.com>\nDelivered-To: käse@example.com\n".encode())
