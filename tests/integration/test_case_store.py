"""A store that fails, fills, is taken away, locked, damaged or full of work: nothing is accepted that is not safe."""

from __future__ import annotations

import contextlib
import shutil
import smtplib
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from case_support import resident, tool
from recording_sink import RecordingSink
from running_support import (
    BOB,
    CAROL,
    LATE,
    SAFE,
    STRANGER,
    client,
    events,
    eventually,
    holds,
    letter,
    queue_id,
    reading,
    reply,
    rows,
    submit,
    with_ports,
)
from test_durability_disk import injected, small_disk

from postlatch.testing.peers.fault_proxy import FaultProxy
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import RunningRelay

pytestmark = pytest.mark.soak


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    """A running relay: bob has a Maildir, and what is for carol waits."""
    with RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as running:
        yield running


def answer(relay: RunningRelay, token: str, recipient: str = BOB, body: str = "text") -> str:
    """The reply to one message, or why there was none."""
    try:
        with client(relay.port("mx")) as session:
            return submit(session, token, STRANGER, recipient, body)
    except (OSError, smtplib.SMTPException) as error:
        return f"none: {error}"


def accepts(relay: RunningRelay, token: str) -> bool:
    """Is a message for bob answered 250?"""
    return answer(relay, token).startswith("250")


def page(relay: RunningRelay) -> str:
    """The status page."""
    with urlopen(f"http://127.0.0.1:{relay.port('http')}/", timeout=20) as found:
        return str(found.read().decode())


# The disk


def test_one_failed_sync_is_a_451_though_the_next_one_would_have_succeeded(relay: RunningRelay, tmp_path: Path) -> None:
    """The client hears 451 and tries again; the log and the journal say that the database failed and came back.

    A second sync of the same file would report success for octets that never reached the disk, so the connection that saw the
    error is not used again: what comes next is committed by a fresh one.
    """
    assert accepts(relay, "before")
    with injected(relay.children()["relay"], tmp_path / "strace", "error=EIO:when=1"):
        assert answer(relay, "failed").startswith("451 4.3.0 ")
        eventually(lambda: accepts(relay, "after"), "mail to be taken again", 60)
    assert "EIO" in (tmp_path / "strace").read_text()
    assert [event["event"] for event in events(relay, "store")] == ["store.failed", "store.recovered"]
    relay.kill()
    relay.start()
    assert relay.run("queue", "retry").returncode in {0, 1}  # a mailbox, too, may have met the error, and waits for minutes
    wait_until(lambda: holds(relay, BOB, "before") and holds(relay, BOB, "after"), 30, "both")


def test_a_disk_that_fills_while_a_message_arrives_is_a_452_and_the_dashboard_goes_on(tmp_path: Path) -> None:
    """The client hears 452 after its dot; the status page is there and says why; with room again, mail is taken unasked."""
    with small_disk(tmp_path, "size=12m") as data, RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as relay:
        kept = queue_id(answer(relay, "kept", CAROL))
        filler = data / "filler"
        with client(relay.port("mx")) as session:
            for command in (f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{BOB}>"):
                assert session.docmd(command)[0] == 250
            assert session.docmd("DATA")[0] == 354
            session.send(letter("half", STRANGER, BOB, "x" * 70 + "\r\n").encode() + (b"y" * 70 + b"\r\n") * 10_000)
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
            session.send((b"y" * 70 + b"\r\n") * 10_000 + b".\r\n")
            assert reply(session.getreply()).startswith("452 4.3.1 ")
        assert "Closed" in page(relay)
        with contextlib.suppress(HTTPError), urlopen(f"http://127.0.0.1:{relay.port('http')}/metrics", timeout=20) as metrics:
            assert metrics.status == 200
        eventually(lambda: answer(relay, "small").startswith("452 4.3.1 "), "a refusal at MAIL")
        filler.unlink()
        eventually(lambda: accepts(relay, "room"), "mail to be taken again", 30)
        wait_until(lambda: holds(relay, BOB, "room"), 30, "a delivery")
        assert kept in {row["message_id"] for row in rows(relay)}
        assert not holds(relay, BOB, "half")
        assert not list((data / "bodies").rglob("*.tmp"))


def test_a_slow_disk_makes_clients_wait_and_memory_stays_where_it_was(relay: RunningRelay, tmp_path: Path) -> None:
    """Each sync takes two seconds; 60 clients with 200 KB each get 250, or 451 and try again; no memory is piled up."""
    body = "0123456789 abcdefghijklmnopqrstuvwxyz\r\n" * 5000
    assert accepts(relay, "warm")
    pid = relay.children()["relay"]
    before = resident(pid)

    def persistent(number: int) -> bool:
        return any(answer(relay, f"slow-{number}", BOB, body).startswith("250") for _ in range(20))

    with injected(pid, tmp_path / "strace", "delay_enter=2s"):
        with ThreadPoolExecutor(60) as clients:
            done = list(clients.map(persistent, range(60)))
        assert all(done)
        peak = resident(pid, "VmHWM")
        relay.kill()
    assert peak - before < 100_000_000  # 60 times 200 KB, several times over
    relay.start()
    wait_until(lambda: all(holds(relay, BOB, f"slow-{number}") for number in range(60)), 60, "all sixty")


# Memory


def test_without_memory_clients_are_put_off_or_cut_off_and_what_was_taken_is_kept(tmp_path: Path) -> None:
    """While the process may have no more memory, clients hear 421, 451 or 452, or nothing; with memory again, all goes on.

    What was answered 250 is delivered. If the process does not survive, the supervisor has started another.
    """
    prlimit = tool("prlimit")
    with RunningRelay(tmp_path, with_ports(SAFE)[0]) as relay:
        assert accepts(relay, "warm")
        pid = relay.children()["relay"]
        bound = resident(pid, "VmSize") + 3_000_000
        subprocess.run([prlimit, "--pid", str(pid), f"--as={bound}:"], check=True)
        body = "0123456789 abcdefghijklmnopqrstuvwxyz\r\n" * 6000
        with ThreadPoolExecutor(40) as clients:
            answers = dict(
                zip(range(80), clients.map(lambda n: answer(relay, f"tight-{n}", BOB, body), range(80)), strict=True)
            )
        said = {text[:3] for text in answers.values() if not text.startswith("none")}
        assert said <= {"250", "421", "451", "452"}, answers
        if relay.children().get("relay") == pid:
            subprocess.run([prlimit, "--pid", str(pid), "--as=unlimited:"], check=True)
        eventually(lambda: accepts(relay, "mended"), "mail to be taken again", 60)
        assert relay.run("queue", "retry").returncode in {0, 1}  # an attempt for which there was no memory waits for minutes
        taken = [f"tight-{number}" for number, text in answers.items() if text.startswith("250")]
        wait_until(lambda: all(holds(relay, BOB, token) for token in [*taken, "mended"]), 60, "what was taken")


# The policy's store goes away


def test_a_locked_store_is_a_451_for_everybody_and_nothing_is_relayed(relay: RunningRelay) -> None:
    """Another program holds the database: mail is put off with 451 until it lets go, and then taken. Never 250, never lost."""
    assert accepts(relay, "before")
    with closing(sqlite3.connect(relay.data / "postlatch.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with client(relay.port("mx")) as session:
            session.timeout = 60
            assert reply(session.mail(STRANGER)).startswith(("250", "451"))
        locked = answer(relay, "locked")
        assert locked.startswith(("451 4.3", "none")), locked
        other.execute("ROLLBACK")
    eventually(lambda: accepts(relay, "after"), "mail to be taken again", 60)
    wait_until(lambda: holds(relay, BOB, "after"), 30, "a delivery")


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_store_that_is_taken_away_under_a_running_relay_accepts_nothing_more(relay: RunningRelay, how: str) -> None:
    """Somebody removes, moves or replaces the database's file: 451, and the log says so; put back, all goes on.

    SQLite itself would go on writing into the file that nobody can find any more, and it would be gone with the process.
    """
    kept = queue_id(answer(relay, "kept", CAROL))
    database, moved = relay.data / "postlatch.db", relay.data / "moved.db"
    moved.hardlink_to(database)
    if how == "replaced":
        copy = relay.data / "copy.db"
        shutil.copyfile(database, copy)
        copy.replace(database)
    else:
        database.unlink()
    eventually(lambda: answer(relay, "lost").startswith("451 4.3.0 "), "a refusal", 30)
    assert answer(relay, "lost again").startswith("451 4.3.0 ")
    assert f"{database} was moved, removed or replaced while it was in use" in relay.read_log()
    moved.replace(database)
    eventually(lambda: accepts(relay, "back"), "mail to be taken again", 30)
    wait_until(lambda: holds(relay, BOB, "back"), 30, "a delivery")
    assert kept in {row["message_id"] for row in rows(relay)}
    relay.kill()
    relay.start()
    assert kept in {row["message_id"] for row in rows(relay)}


# Damage


def queue_of(relay: RunningRelay, count: int) -> list[str]:
    """So many messages for carol; their ids."""
    with client(relay.port("mx")) as session:
        return [queue_id(submit(session, f"waiting-{n}", STRANGER, CAROL, f"body {n} " * 200)) for n in range(count)]


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7])
def test_a_flipped_page_anywhere_keeps_its_queue_or_does_not_start(tmp_path: Path, place: float) -> None:
    """Either the start says what is damaged (status 2), or the relay runs with its queue; never with an empty new one."""
    relay = RunningRelay(tmp_path, with_ports(SAFE + LATE)[0])
    relay.start()
    sent = queue_of(relay, 30)
    relay.stop()
    database = relay.data / "postlatch.db"
    content = bytearray(database.read_bytes())
    start = int(len(content) * place) // 4096 * 4096 + (200 if place == 0.0 else 0)
    for at in range(start, start + 64):
        content[at] ^= 0x10
    database.write_bytes(content)
    begun = len(relay.read_log())
    try:
        relay.start()
    except RuntimeError:
        assert relay.process is not None
        assert relay.process.returncode == 2, relay.read_log()[begun:]
        assert "postlatch salvage" in relay.read_log()[begun:]
        assert database.read_bytes() == bytes(content)
        return
    try:
        assert relay.run("queue", "list").returncode in {0, 1, 2}
        with reading(database) as connection, contextlib.suppress(sqlite3.DatabaseError):
            [left] = connection.execute("SELECT count(*) FROM messages").fetchone()
            assert left >= len(sent) // 2
        assert answer(relay, "next")[:3] in {"250", "451"}
        assert "Traceback" not in relay.read_log()
    finally:
        relay.stop()


# A full queue over a restart


def test_a_full_queue_survives_stop_kill_and_start_and_leaves_once(tmp_path: Path) -> None:
    """500 messages wait for a next hop that is away, over a stop and a kill; when it is back, each arrives, and once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = with_ports(SAFE + LATE.replace("lmtp://127.0.0.1:1", f"smtp://127.0.0.1:{port}"))[0]
    relay = RunningRelay(tmp_path, config)
    relay.start()
    try:
        with client(relay.port("mx")) as session:
            assert all(submit(session, f"full-{n}", STRANGER, CAROL).startswith("250") for n in range(500))
        relay.stop()
        relay.start()
        assert waiting(relay) == 500
        relay.kill()
        relay.start()
        assert waiting(relay) == 500
        with RecordingSink() as sink, FaultProxy(int(sink.url.rpartition(":")[2]), listen=("127.0.0.1", port)):
            assert relay.run("queue", "retry", "--recipient", CAROL).returncode == 0
            sink.wait_for(500)
            wait_until(lambda: waiting(relay) == 0, 60, "the queue to empty")
        assert len({taken.body for taken in sink.messages}) == len(sink.messages) == 500
    finally:
        relay.stop()


def waiting(relay: RunningRelay) -> int:
    """Recipients that are not final."""
    with reading(relay.data / "postlatch.db") as connection:
        sql = "SELECT count(*) FROM recipients WHERE state IN ('queued', 'deferred')"
        return int(connection.execute(sql).fetchone()[0])
