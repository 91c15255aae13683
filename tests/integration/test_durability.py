"""What was answered 250 survives: kill -9 at any moment, a stop in the middle, a backup under load."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import smtplib
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from running_support import (
    BOB,
    CAROL,
    LATE,
    SAFE,
    STRANGER,
    Trickle,
    alive,
    client,
    events,
    eventually,
    holds,
    letter,
    logged_in,
    postlatch,
    queue_id,
    rows,
    states,
    submit,
    untrusting,
    with_ports,
)

from postlatch.testing.ledger import run_cycles
from postlatch.testing.peers.ports import end, listens, wait_until
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay


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
def test_kills_under_load_in_delivery_and_while_starting_lose_nothing(tmp_path: Path) -> None:
    """Whatever was answered 250 is in the mailbox or at the next hop, or waits; what may be there twice says so."""
    ledger = run_cycles(tmp_path, 8, random.Random(int(time.time())))
    figures = ledger.summary()
    print(figures)  # noqa: T201  (shown if it fails, and with -s)
    assert ledger.lost == []
    assert figures["acknowledged"] > 30
    assert figures["acknowledged"] == figures["delivered"] + figures["queued"] + figures["held"] + figures["bounced"]
    assert ledger.good  # what arrived twice is flagged, and was on its way at a kill
    assert figures["slowest_restart_seconds"] < 30


@pytest.mark.soak
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


@pytest.mark.soak
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


@pytest.mark.soak
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


@pytest.mark.parametrize("end_of_run", [pytest.param("stop", marks=pytest.mark.soak), "kill"])
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


# Backup


@pytest.mark.soak
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


@pytest.mark.soak
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
