"""What was answered 250 survives: kill -9, a full disk, a disk that fails, a stop in the middle, a backup under load."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from running_support import (
    SAFE,
    Trickle,
    alive,
    client,
    events,
    eventually,
    holds,
    in_ci,
    letter,
    logged_in,
    postlatch,
    queue_id,
    reading,
    reply,
    rows,
    states,
    submit,
    told,
    untrusting,
    with_ports,
)

from postlatch.testing.ledger import run_cycles
from postlatch.testing.peers.ports import end, listens, wait_until
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay

LATE = '\n[domains."late.example"]\ndeliver = "lmtp://127.0.0.1:1"\nrecipients = ["carol"]\n'
STRANGER, BOB, CAROL = "stranger@other.example", "bob@example.com", "carol@late.example"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    """A running relay: bob has a Maildir, and what is for carol waits."""
    with RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as running:
        yield running


def pid_of(relay: RunningRelay) -> int:
    """The supervisor."""
    assert relay.process is not None
    return relay.process.pid


def assert_all_delivered(relay: RunningRelay, load: Trickle) -> None:
    """Everything that was answered 250 comes into the Maildir."""
    accepted = {token for token, text in load.replies.items() if text.startswith("250")}

    def missing() -> set[str]:
        found = b"\n".join(path.read_bytes() for path in relay.maildir(BOB))
        return {
            token
            for token in accepted
            if f"Subject: {token}\r\n".encode() not in found and f"Subject: {token}\n".encode() not in found
        }

    eventually(lambda: not missing(), f"the Maildir to hold {len(accepted)} messages")


# kill -9


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_twenty_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    ledger = run_cycles(tmp_path, 20, random.Random(int(time.time())))
    figures = ledger.summary()
    print(figures)  # noqa: T201  (shown if it fails, and with -s)
    assert ledger.lost == []
    assert figures["acknowledged"] > 200
    assert figures["acknowledged"] == figures["delivered"] + figures["queued"] + figures["held"] + figures["bounced"]
    assert all(recipient.flagged for recipient in ledger.duplicates)
    assert figures["duplicates"] < figures["acknowledged"] / 4
    assert figures["slowest_restart_seconds"] < 15


def test_a_relay_that_is_killed_alone_is_started_again_and_loses_nothing(relay: RunningRelay) -> None:
    with Trickle(relay.port("mx")) as load:
        for _ in range(3):
            load.flows()
            before = relay.children()
            os.kill(before["relay"], signal.SIGKILL)
            wait_until(lambda before=before: relay.children().get("relay") not in {None, before["relay"]}, 20, "a new relay")  # type: ignore[misc]
            load.flows()
            assert relay.children()["desk"] == before["desk"]
    assert "relay ended with status 137; starting it again" in relay.read_log()
    for listener in ("mx", "submission", "relay"):
        client(relay.port(listener)).close()
    assert_all_delivered(relay, load)
    assert len(events(relay, "relay.started")) == 4


def test_a_desk_that_is_killed_is_started_again_and_mail_does_not_notice(relay: RunningRelay) -> None:
    def healthy() -> bool:
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{relay.port('http')}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    assert healthy()
    before = relay.children()
    with Trickle(relay.port("mx")) as load:
        load.flows()
        os.kill(before["desk"], signal.SIGKILL)
        wait_until(lambda: relay.children().get("desk") not in {None, before["desk"]}, 20, "a new desk")
        eventually(healthy, "the dashboard to answer")
        load.flows()
    assert {text[:3] for text in load.replies.values()} == {"250"}
    assert relay.children()["relay"] == before["relay"]


def test_children_end_with_their_supervisor_and_the_next_start_serves(relay: RunningRelay) -> None:
    children = relay.children()
    assert set(children) == {"relay", "desk"}
    with client(relay.port("mx")) as session:
        assert submit(session, "before", STRANGER, BOB).startswith("250")
    assert relay.process is not None
    relay.process.kill()
    relay.process.wait()
    wait_until(lambda: not any(map(alive, children.values())), 15, "the children to end")
    end(relay.process)
    relay.start()
    with client(relay.port("mx")) as session:
        assert submit(session, "after", STRANGER, BOB).startswith("250")
    wait_until(lambda: holds(relay, BOB, "before") and holds(relay, BOB, "after"), 10, "both deliveries")


def test_no_second_relay_starts_while_an_orphan_finishes_its_message(relay: RunningRelay) -> None:
    """The supervisor is gone; the relay goes on until the message that is on its way has been answered."""
    orphan = relay.children()["relay"]
    with raw_session(relay.port("mx")) as stream:
        begin_data(stream, "orphan")
        assert relay.process is not None
        relay.process.kill()
        relay.process.wait()
        time.sleep(0.5)
        assert alive(orphan)
        done = postlatch(relay.config, "serve")
        assert done.returncode == 2
        assert f"{relay.data} is in use by" in done.stderr
        assert say(stream, "the rest\r\n.\r\n").startswith("250 2.0.0 ")
    wait_until(lambda: not alive(orphan), 15, "the orphan to end")
    end(relay.process)
    relay.start()
    wait_until(lambda: holds(relay, BOB, "orphan"), 10, "the delivery")


# SIGTERM


@contextlib.contextmanager
def raw_session(port: int) -> Iterator[socket.SocketIO]:
    """A connection after the greeting and EHLO."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=40) as connection,
        closing(connection.makefile("rwb", 0)) as stream,
    ):
        say(stream, "")
        assert say(stream, "EHLO client.example\r\n").startswith("250")
        yield stream


def say(stream: socket.SocketIO, text: str) -> str:
    """Send ``text`` and read one reply; its last line, empty at the end of the connection."""
    with contextlib.suppress(ConnectionError):
        stream.write(text.encode())
        while (line := stream.readline())[3:4] == b"-":
            pass
        return line.decode().strip()
    return ""


def begin_data(stream: socket.SocketIO, token: str) -> None:
    """A transaction up to the middle of its body."""
    assert say(stream, f"MAIL FROM:<{STRANGER}>\r\n").startswith("250")
    assert say(stream, f"RCPT TO:<{BOB}>\r\n").startswith("250")
    assert say(stream, "DATA\r\n").startswith("354")
    stream.write(letter(token, STRANGER, BOB).encode())


def test_a_stop_lets_a_message_finish_and_ends_idle_sessions(relay: RunningRelay) -> None:
    with raw_session(relay.port("mx")) as idle, raw_session(relay.port("mx")) as busy:
        begin_data(busy, "drained")
        os.kill(pid_of(relay), signal.SIGTERM)
        assert say(idle, "").startswith("421 4.3.2 ")
        assert idle.readline() == b""
        wait_until(lambda: not listens(relay.port("mx")), 5, "the listener to close")
        assert say(busy, "the rest\r\n.\r\n").startswith("250 2.0.0 ")
        assert say(busy, "")[:4] in {"421 ", ""}
    assert relay.process is not None
    assert relay.process.wait(20) == 0
    end(relay.process)
    relay.start()
    wait_until(lambda: holds(relay, BOB, "drained"), 10, "the delivery")
    assert events(relay, "relay.started")[-1]["clean"] is True


@pytest.mark.slow
def test_a_message_that_never_ends_does_not_hold_up_a_stop_for_ever(relay: RunningRelay) -> None:
    with raw_session(relay.port("mx")) as stalled:
        begin_data(stalled, "never")
        began = time.monotonic()
        assert relay.stop() == 0
        assert time.monotonic() - began < 40
        assert say(stalled, "the rest\r\n.\r\n")[:3] in {"", "421", "451"}
    relay.start()
    assert rows(relay) == []
    assert relay.maildir(BOB) == []


def test_a_tls_client_that_has_gone_silent_does_not_hold_up_a_stop(relay: RunningRelay) -> None:
    session = client(relay.port("submission"))
    session.starttls(context=untrusting())
    began = time.monotonic()
    assert relay.stop() == 0
    assert time.monotonic() - began < 12
    session.close()


# Limits


@pytest.mark.parametrize("end_of_run", ["stop", "kill"])
def test_a_day_s_limit_is_not_refreshed_by_a_restart(tmp_path: Path, end_of_run: str) -> None:
    config = SAFE.replace("[session]", '[limits.account]\nmessages = ["3/day"]\n\n[session]')
    relay = RunningRelay(tmp_path, with_ports(config)[0])
    relay.start()
    try:
        relay.add_account()
        with closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
            assert [submit(session, f"early-{n}", ACCOUNT, BOB)[:3] for n in range(2)] == ["250", "250"]
        if end_of_run == "kill":
            time.sleep(2.5)  # what a crash may forget is the last second
            relay.kill()
        else:
            relay.stop()
        relay.start()
        with closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
            answers = [submit(session, f"late-{n}", ACCOUNT, BOB) for n in range(2)]
        assert answers[0].startswith("250")
        assert answers[1].startswith("550 5.7.1 limit reached: account messages 3/day")
    finally:
        relay.stop()


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


@pytest.mark.parametrize("octets", [40_000, 400_000], ids=["bodies in the database", "bodies in files"])
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


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit (util-linux) is not installed")
def test_without_file_descriptors_clients_are_turned_away_and_served_later(tmp_path: Path) -> None:
    relay = RunningRelay(tmp_path, with_ports(SAFE)[0])
    relay.start(prefix=("prlimit", "--nofile=70:70"))
    try:
        with contextlib.ExitStack() as stack:
            greetings = [
                stack.enter_context(socket.create_connection(("127.0.0.1", relay.port("mx")), timeout=5)).recv(3)
                for _ in range(90)
            ]
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


# Backup


def test_a_backup_under_load_restores_into_an_empty_directory_with_the_queue_held(relay: RunningRelay, tmp_path: Path) -> None:
    backup, elsewhere = tmp_path / "backup.tar", tmp_path / "elsewhere"
    relay.add_account()
    with client(relay.port("mx")) as session:
        waiting = queue_id(submit(session, "waiting", STRANGER, CAROL))
        large = queue_id(submit(session, "large", STRANGER, CAROL, body="0123456789 abcdefghijklm\r\n" * 20_000))
    eventually(lambda: states(relay, large) == ["deferred"], "the first attempts")
    with Trickle(relay.port("mx")) as load:
        load.flows()
        report = relay.json("backup", str(backup))
        load.flows()
    assert {text[:3] for text in load.replies.values()} == {"250"}
    assert report["messages"] >= 2
    assert report["missing"] == []
    assert backup.stat().st_mode & 0o077 == 0
    assert relay.run("backup", str(backup)).returncode == 2  # never replaces a file

    refused = relay.run("restore", str(backup))  # it runs, and its directory is full
    assert refused.returncode == 2
    assert str(relay.data) in refused.stderr
    relay.stop()
    refused = relay.run("restore", str(backup))
    assert refused.returncode == 2
    assert "is not empty: restore only into a new directory" in refused.stderr
    assert_all_delivered(relay, load)

    restored = RunningRelay(elsewhere, with_ports(SAFE + LATE)[0])
    answer = restored.json("restore", str(backup))
    assert answer["held"] >= 2
    with restored:
        held = {row["message_id"] for row in rows(restored, "--state", "held")}
        assert {waiting, large} <= held
        assert rows(restored, "--state", "queued") == rows(restored, "--state", "deferred") == []
        assert restored.run("journal", "verify").returncode == 0
        with closing(logged_in(restored.port("submission"), ACCOUNT, PASSWORD)) as session:
            assert submit(session, "restored", ACCOUNT, BOB).startswith("250")
        text = restored.config.read_text("utf-8").replace("lmtp://127.0.0.1:1", "maildir:data/mail")
        restored.config.write_text(text, "utf-8")
        os.kill(pid_of(restored), signal.SIGHUP)
        eventually(lambda: restored.run("queue", "release", waiting, large).returncode == 0, "the release")
        eventually(lambda: holds(restored, CAROL, "waiting") and holds(restored, CAROL, "large"), "what was released")


def test_a_backup_that_is_damaged_or_none_restores_nothing(relay: RunningRelay, tmp_path: Path) -> None:
    backup = tmp_path / "backup.tar"
    with client(relay.port("mx")) as session:
        submit(session, "waiting", STRANGER, CAROL, body="precious-content")
    assert relay.run("backup", str(backup)).returncode == 0
    relay.stop()
    whole = backup.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "changed": whole.replace(b"precious-content", b"precious-contend"),
        "none": b"this is no backup",
        "empty": b"",
    }
    for name, content in damaged.items():
        backup.write_bytes(content)
        assert content != whole
        fresh = RunningRelay(tmp_path / name, with_ports(SAFE)[0], certificate=False)
        done = fresh.run("restore", str(backup))
        assert done.returncode == 2, name
        assert "Traceback" not in done.stderr
        assert not (fresh.data / "postlatch.db").exists()


def test_a_client_that_is_cut_off_before_its_answer_leaves_a_whole_message_or_none(relay: RunningRelay) -> None:
    for number in range(30):
        with raw_session(relay.port("mx")) as stream:
            begin_data(stream, f"cut-{number}")
            if number % 3:
                stream.write(b"the end\r\n.\r\n")
    with contextlib.suppress(smtplib.SMTPException), client(relay.port("mx")) as session:
        assert submit(session, "last", STRANGER, BOB).startswith("250")
    wait_until(lambda: holds(relay, BOB, "last"), 10, "the last one")
    for path in relay.maildir(BOB):
        content = path.read_bytes()
        assert b"Subject: last" in content or content.rstrip().endswith(b"the end")
    assert rows(relay) == []
