"""A disk that is full, slow, failing or damaged: mail waits, nothing is lost, and people are told."""

from __future__ import annotations

import contextlib
import os
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest
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
    in_ci,
    queue_id,
    reading,
    reply,
    rows,
    states,
    submit,
    told,
    with_ports,
)

from postlatch.testing.peers.ports import end, wait_until
from postlatch.testing.running import RunningRelay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    """A running relay: bob has a Maildir, and what is for carol waits."""
    with RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as running:
        yield running


# A full disk


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A folder whose ``data`` is a file system of its own, as small as ``options`` of tmpfs say."""
    data = folder / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        if in_ci():
            pytest.fail("a tmpfs cannot be mounted here")
        pytest.skip("needs root and the right to mount a tmpfs")
    try:
        yield data
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


def takes_mail(relay: RunningRelay, token: str = "mended") -> bool:
    """Is a message for bob answered 250?"""
    with contextlib.suppress(OSError, smtplib.SMTPException), client(relay.port("mx")) as session:
        return submit(session, token, STRANGER, BOB).startswith("250")
    return False


@pytest.mark.parametrize(
    "octets",
    [pytest.param(40_000, id="bodies in the database"), pytest.param(400_000, id="bodies in files", marks=pytest.mark.soak)],
)
def test_a_full_disk_is_a_452_keeps_the_queue_and_mends_itself(tmp_path: Path, octets: int) -> None:
    with small_disk(tmp_path, "size=8m") as data, RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as relay:
        filler = data / "filler"
        filler.write_bytes(b"x" * 4_000_000)
        body = "0123456789 abcdefghijklmnopqrstuvwxyz\r\n" * (octets // 39)
        accepted: list[str] = []
        answer = ""
        while len(accepted) < 400:
            with client(relay.port("mx")) as session:
                answer = submit(session, f"full-{len(accepted)}", STRANGER, CAROL, body)
            if not answer.startswith("250"):
                break
            accepted.append(queue_id(answer))
        assert answer.startswith("452 4.3.1 ")
        assert accepted
        with client(relay.port("mx")) as session:  # and again, for a small one, once the disk was looked at
            eventually(lambda: not submit(session, "small", STRANGER, CAROL).startswith("250"), "a refusal")
            assert submit(session, "small", STRANGER, CAROL).startswith("452 4.3.1 ")
        with urlopen(f"http://127.0.0.1:{relay.port('http')}/healthz", timeout=10) as page:
            assert page.status == 200
        assert set(accepted) <= {row["message_id"] for row in rows(relay)}
        filler.unlink()
        eventually(lambda: takes_mail(relay), "mail to be taken again", 15)
        wait_until(lambda: holds(relay, BOB, "mended"), 15, "a delivery")
        relay.stop()
        relay.start()
        assert set(accepted) <= {row["message_id"] for row in rows(relay)}


def test_without_inodes_large_mail_is_a_452_and_mailboxes_wait(tmp_path: Path) -> None:
    body = "0123456789 abcdefghijklmnopqrstuvwxyz\r\n" * 10_000
    with small_disk(tmp_path, "size=64m,nr_inodes=60") as data, RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as relay:
        fillers = [data / f"filler-{number}" for number in range(60)]
        with contextlib.suppress(OSError):
            for filler in fillers:
                filler.touch()
        with client(relay.port("mx")) as session:
            assert submit(session, "large", STRANGER, CAROL, body).startswith("452 4.3.1 ")
            waiting = queue_id(submit(session, "small", STRANGER, BOB))  # it needs no file of its own yet
        eventually(lambda: states(relay, waiting) == ["deferred"], "the mailbox to be out of reach")
        for filler in fillers:
            filler.unlink(missing_ok=True)
        assert relay.run("queue", "retry", waiting).returncode == 0
        wait_until(lambda: holds(relay, BOB, "small"), 15, "the delivery")
        with client(relay.port("mx")) as session:
            assert submit(session, "large", STRANGER, CAROL, body).startswith("250")


def _greeting(stack: contextlib.ExitStack, port: int) -> bytes:
    """The first octets that a client gets; none if it is turned away, or left waiting in the kernel's backlog."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=1))
    try:
        return client.recv(3)
    except TimeoutError:
        return b""


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit (util-linux) is not installed")
def test_without_file_descriptors_clients_are_turned_away_and_served_later(tmp_path: Path) -> None:
    relay = RunningRelay(tmp_path, with_ports(SAFE)[0])
    relay.start(prefix=("prlimit", "--nofile=70:70"))
    try:
        with contextlib.ExitStack() as stack:
            greetings = [_greeting(stack, relay.port("mx")) for _ in range(90)]
        assert greetings[0] == b"220"
        assert set(greetings[-20:]) <= {b"", b"421"}
        eventually(lambda: takes_mail(relay), "mail to be taken again")
        wait_until(lambda: holds(relay, BOB, "mended"), 15, "a delivery")
        assert "Traceback" not in relay.read_log()
    finally:
        relay.stop()


# A disk that fails


@contextlib.contextmanager
def injected(pid: int, report: Path, what: str) -> Iterator[None]:
    """While this lasts, strace does ``what`` to every fsync and fdatasync of the process."""
    if shutil.which("strace") is None:
        if in_ci():
            pytest.fail("strace is not installed")
        pytest.skip("strace is not installed")
    syncs = "fsync,fdatasync"
    command = ["strace", "-f", "-p", str(pid), "-o", str(report), "-e", f"trace={syncs}", "-e", f"inject={syncs}:{what}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        if tracer.poll() is not None:
            said = tracer.stderr.read() if tracer.stderr is not None else ""
            if in_ci():
                pytest.fail(f"strace cannot attach: {said}")
            pytest.skip(f"strace cannot attach: {said.strip()}")
        yield
    finally:
        end(tracer)


def test_an_error_of_the_disk_is_a_451_and_no_connection_is_trusted_again(relay: RunningRelay, tmp_path: Path) -> None:
    report = tmp_path / "strace"
    with client(relay.port("mx")) as session:
        good = queue_id(submit(session, "good", STRANGER, CAROL))
    with injected(relay.children()["relay"], report, "error=EIO"):
        with client(relay.port("mx")) as session:
            assert submit(session, "failed", STRANGER, BOB).startswith("451 4.3.0 ")
            assert submit(session, "refused", STRANGER, BOB).startswith("451 4.3.0 ")  # at MAIL: nothing is taken
        time.sleep(2.5)
        with client(relay.port("mx")) as session:  # a second sync would have falsely succeeded
            assert reply(session.mail(STRANGER)).startswith("451 4.3.0 ")
    assert "EIO" in report.read_text()
    eventually(lambda: takes_mail(relay), "mail to be taken again", 15)
    eventually(lambda: len(events(relay, "store.recovered")) >= 1, "the event")
    assert events(relay, "store.failed")
    eventually(lambda: told(relay, "the database does not write"), "an alert")
    assert states(relay, good) == ["deferred"]
    wait_until(lambda: holds(relay, BOB, "mended"), 15, "a delivery")
    assert not holds(relay, BOB, "refused")
    relay.kill()
    relay.start()
    assert states(relay, good) == ["deferred"]


@pytest.mark.soak
def test_a_slow_disk_slows_clients_down_together_and_loses_nothing(relay: RunningRelay, tmp_path: Path) -> None:
    """Each sync takes a second; those who wait for it share it."""
    with injected(relay.children()["relay"], tmp_path / "strace", "delay_enter=1000000"):
        began = time.monotonic()
        with ThreadPoolExecutor(30) as clients:
            answers = list(clients.map(lambda number: takes_mail(relay, f"slow-{number}"), range(30)))
        assert all(answers)
        assert 1 <= time.monotonic() - began < 12
        relay.kill()
    relay.start()
    wait_until(lambda: all(holds(relay, BOB, f"slow-{number}") for number in range(30)), 20, "all thirty")


def test_a_body_that_was_changed_on_the_disk_is_held_and_told(relay: RunningRelay) -> None:
    with client(relay.port("mx")) as session:
        message = queue_id(submit(session, "intact", STRANGER, CAROL, body="precious-content"))
    relay.stop()
    database = relay.data / "postlatch.db"
    whole = database.read_bytes()
    assert whole.count(b"precious-content") == 1
    database.write_bytes(whole.replace(b"precious-content", b"precious-contend"))
    relay.start()
    relay.run("queue", "retry", message)
    eventually(lambda: states(relay, message) == ["held"], "the damaged message to be held")
    eventually(lambda: told(relay, message), "an alert that names it")
    with client(relay.port("mx")) as session:
        assert submit(session, "other", STRANGER, BOB).startswith("250")
    wait_until(lambda: holds(relay, BOB, "other"), 10, "other mail")


@pytest.mark.soak
def test_damage_that_no_start_sees_is_found_in_the_background_and_told(relay: RunningRelay) -> None:
    relay.stop()
    database = relay.data / "postlatch.db"
    with reading(database) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'known_recipients'").fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x5a" * 4096)
    relay.start()
    eventually(lambda: told(relay, "the database is damaged"), "the alert")
    wait_until(
        lambda: any(b"the database is damaged" in path.read_bytes() for path in relay.maildir("alice@example.com")), 10, "it"
    )
