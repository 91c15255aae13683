"""The real program beside real mail software: what an administrator would connect on the first day."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from postlatch.testing.peers.dovecot import Dovecot
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.peers.sink import CountingSink
from postlatch.testing.running import ACCOUNT, BASE, LOOPBACK_RIGHT, PASSWORD, RunningRelay

pytestmark = pytest.mark.real


def program(name: str) -> str:
    """The path of a real peer; without it the test is skipped, or under CI fails."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and under CI every peer must be")
        pytest.skip(f"{name} is not installed: run script/bootstrap dev as root")
    return path


def swaks(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("swaks"), "--server", f"127.0.0.1:{port}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sink() -> Iterator[CountingSink]:
    program("smtp-sink")
    with CountingSink() as running:
        yield running


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, sink: CountingSink) -> Iterator[RunningRelay]:
    config = BASE + LOOPBACK_RIGHT + f'\n[outbound.routes]\n"elsewhere.example" = "smtp://127.0.0.1:{sink.port}"\n'
    with RunningRelay(tmp_path_factory.mktemp("relay"), config) as running:
        running.add_account()
        yield running


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_delivers_by_login_over_starttls(relay: RunningRelay, sink: CountingSink, mechanism: str) -> None:
    before = sink.messages
    login = ["--auth", mechanism, "--auth-user", ACCOUNT, "--auth-password", PASSWORD]
    done = swaks(relay.port("submission"), "-tls", *login, "--from", ACCOUNT, "--to", "bob@elsewhere.example")
    assert done.returncode == 0, done.stdout
    assert "250 2.0.0 queued as" in done.stdout
    sink.wait_for(before + 1, 20)


def test_swaks_delivers_over_implicit_tls(relay: RunningRelay, sink: CountingSink) -> None:
    before = sink.messages
    login = ["--auth", "PLAIN", "--auth-user", ACCOUNT, "--auth-password", PASSWORD]
    done = swaks(relay.port("submissions"), "-tlsc", *login, "--from", ACCOUNT, "--to", "bob@elsewhere.example")
    assert done.returncode == 0, done.stdout
    sink.wait_for(before + 1, 20)


def test_swaks_without_a_login_is_refused_with_the_reason(relay: RunningRelay) -> None:
    mx = swaks(relay.port("mx"), "--from", "a@world.example", "--to", "bob@elsewhere.example")
    assert mx.returncode != 0
    assert "550 5.7.1 relaying denied" in mx.stdout
    submission = swaks(relay.port("submission"), "-tls", "--from", ACCOUNT, "--to", "bob@elsewhere.example")
    assert "530 5.7.0" in submission.stdout
    to = ["--from", ACCOUNT, "--to", "bob@elsewhere.example"]
    plain = swaks(relay.port("submission"), "--auth", "PLAIN", "--auth-user", ACCOUNT, "--auth-password", PASSWORD, *to)
    assert plain.returncode != 0
    assert "queued as" not in plain.stdout
    login = ["--auth", "PLAIN", "--auth-user", ACCOUNT, "--auth-password", "wrong"]
    wrong = swaks(relay.port("submission"), "-tls", *login, *to)
    assert "535 5.7.8" in wrong.stdout


def test_a_maildir_receives_what_swaks_sends_from_outside(relay: RunningRelay) -> None:
    before = len(relay.maildir("bob@example.com"))
    done = swaks(relay.port("mx"), "--from", "a@world.example", "--to", "bob@example.com", "--body", "for bob")
    assert done.returncode == 0, done.stdout
    wait_until(lambda: len(relay.maildir("bob@example.com")) > before, 20, "a message in the Maildir")
    text = relay.maildir("bob@example.com")[-1].read_text()
    assert text.startswith("Return-Path: <a@world.example>\n")
    assert "Delivered-To: bob@example.com" in text
    assert "for bob" in text
    assert "\r" not in text


def test_msmtp_logs_in_by_scram_sha_256(relay: RunningRelay, sink: CountingSink, tmp_path: Path) -> None:
    before = sink.messages
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {relay.port('submission')}\ntls on\ntls_certcheck off\n"
        f"auth scram-sha-256\nuser {ACCOUNT}\npassword {PASSWORD}\nfrom {ACCOUNT}\n"
    )
    config.chmod(0o600)
    message = f"From: {ACCOUNT}\nTo: bob@elsewhere.example\nSubject: scram\n\nbody\n"
    command = [program("msmtp"), "-C", str(config), "bob@elsewhere.example"]
    done = subprocess.run(command, input=message, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    sink.wait_for(before + 1, 20)
    bad = config.read_text().replace(PASSWORD, "wrong")
    config.write_text(bad)
    done = subprocess.run(command, input=message, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0


def test_postfix_as_client_relays_through_us_by_right(relay: RunningRelay, sink: CountingSink, tmp_path: Path) -> None:
    program("postfix")
    before = sink.messages
    with Postfix(tmp_path / "postfix", {"relayhost": f"[127.0.0.1]:{relay.port('relay')}"}) as postfix:
        done = swaks(postfix.port, "--from", "printer@example.com", "--to", "bob@elsewhere.example")
        assert done.returncode == 0, done.stdout
        sink.wait_for(before + 1, 30)


def test_postfix_as_client_is_refused_where_it_has_no_right(relay: RunningRelay, tmp_path: Path) -> None:
    program("postfix")
    with Postfix(tmp_path / "postfix", {"relayhost": f"[127.0.0.1]:{relay.port('mx')}"}) as postfix:
        swaks(postfix.port, "--from", "printer@world.example", "--to", "bob@elsewhere.example")
        log = tmp_path / "postfix" / "maillog"
        wait_until(lambda: "relaying denied" in log.read_text(), 30, "Postfix to be refused")


def test_postfix_as_next_hop_takes_our_mail(tmp_path: Path) -> None:
    program("postfix")
    with CountingSink() as end, Postfix(tmp_path / "postfix", {"relayhost": f"[127.0.0.1]:{end.port}"}) as postfix:
        config = BASE + LOOPBACK_RIGHT + f'\n[outbound]\nsmarthost = "smtp://127.0.0.1:{postfix.port}"\n'
        with RunningRelay(tmp_path / "relay", config) as relay:
            for number in range(5):
                done = swaks(relay.port("relay"), "--from", "a@example.com", "--to", f"bob{number}@elsewhere.example")
                assert done.returncode == 0, done.stdout
            end.wait_for(5, 30)
            states = relay.json("queue", "list", "--state", "delivered")["recipients"]
            assert len(states) == 5
            assert all("queued as" in row["last_reply"] for row in states)


def _has_one(dovecot: Dovecot, user: str) -> bool:
    return len(dovecot.mailbox(user)) == 1


@pytest.mark.parametrize("by", [pytest.param("tcp", marks=pytest.mark.soak), "unix"])
def test_dovecot_takes_mail_by_lmtp_and_its_refusals_are_known_by_call_out(tmp_path: Path, by: str) -> None:
    program("dovecot")
    with Dovecot(tmp_path / "dovecot", ["alice@example.com", "bob@example.com"]) as dovecot:
        route = f"lmtp://127.0.0.1:{dovecot.port}" if by == "tcp" else f"lmtp+unix://{dovecot.socket}"
        config = BASE.replace('"maildir:data/mail"', f'"{route}"').replace('["alice", "bob"]', '"callout"')
        with RunningRelay(tmp_path / "relay", config) as relay:
            both = swaks(relay.port("mx"), "--from", "a@world.example", "--to", "alice@example.com,bob@example.com")
            assert both.returncode == 0, both.stdout
            for user in ("alice@example.com", "bob@example.com"):
                wait_until(partial(_has_one, dovecot, user), 20, f"{user} to have a message")
            unknown = swaks(relay.port("mx"), "--from", "a@world.example", "--to", "nobody@example.com")
            assert "550 5.1.1" in unknown.stdout


def test_call_out_without_an_answer_defers(tmp_path: Path) -> None:
    config = BASE.replace('"maildir:data/mail"', '"lmtp://127.0.0.1:1"').replace('["alice", "bob"]', '"callout"')
    with RunningRelay(tmp_path / "relay", config) as relay:
        done = swaks(relay.port("mx"), "--from", "a@world.example", "--to", "alice@example.com")
        assert "451 4.3.0" in done.stdout


def test_nmaps_open_relay_script_finds_nothing(relay: RunningRelay) -> None:
    for listener in ("mx", "submission"):
        command = [program("nmap"), "-Pn", "-p", str(relay.port(listener)), "--script", "+smtp-open-relay", "127.0.0.1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
        # The script says "Server is an open relay (n/16 tests)" where it thinks so.
        assert "smtp-open-relay" in done.stdout, done.stdout
        assert "is an open relay" not in done.stdout


def test_a_bounce_comes_back_to_an_account_and_names_the_reason(relay: RunningRelay, tmp_path: Path) -> None:
    program("postfix")
    # This Postfix refuses everything: nothing is its own, and we are no client of its network.
    with Postfix(tmp_path / "postfix", {"mynetworks": "192.0.2.0/24"}) as postfix:
        config = BASE + f'\n[outbound]\nsmarthost = "smtp://127.0.0.1:{postfix.port}"\n'
        with RunningRelay(tmp_path / "relay", config) as bouncing:
            bouncing.add_account()
            login = ["--auth", "PLAIN", "--auth-user", ACCOUNT, "--auth-password", PASSWORD]
            done = swaks(bouncing.port("submission"), "-tls", *login, "--from", ACCOUNT, "--to", "x@elsewhere.example")
            assert done.returncode == 0, done.stdout
            wait_until(lambda: len(bouncing.maildir(ACCOUNT)) == 1, 30, "a bounce")
            text = bouncing.maildir(ACCOUNT)[0].read_text()
            assert "Return-Path: <>" in text
            assert "Content-Type: multipart/report" in text
            assert "Relay access denied" in text
            assert "Auto-Submitted: auto-replied" in text
    assert relay.process is not None
