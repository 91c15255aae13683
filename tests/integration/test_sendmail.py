"""The sendmail command, the socket behind it, rights and delegations of a running relay; one relay for all of it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from postlatch.cli.sendmail import main
from postlatch.testing.running import BASE, PASSWORD, RunningRelay

WEB, OPS, ALICE = "web@example.com", "ops@example.com", "alice@example.com"
WEB_UID, STRANGER_UID = 33, 12_345
CONFIG = (
    BASE.replace(
        '[domains."example.com"]',
        f"""[sendmail]
socket = "run/sendmail.sock"
[sendmail.users]
{os.geteuid()} = "{OPS}"
{WEB_UID} = "{WEB}"
2 = "gone@example.com"

[domains."example.com"]
aliases = {{ root = ["bob"] }}""",
    )
    + """
[[rights]]
name = "scanner"
networks = ["127.0.0.2/32"]
listeners = ["relay"]
senders = ["@example.com"]
owner = "ops@example.com"
expires = 2099-12-31
masked = "the test's own client"
fix = ["date", "message-id", "from"]
rewrite_from = "scanner@example.com"
"""
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")


@pytest.fixture(scope="module")
def relay() -> Iterator[RunningRelay]:
    folder = Path(tempfile.mkdtemp(prefix="sendmail-"))  # not pytest's own folder: other users may not enter that
    folder.chmod(0o755)
    with RunningRelay(folder, CONFIG) as running:
        for login in (WEB, OPS, ALICE):
            running.add_account(login)
        yield running
    shutil.rmtree(folder)


def path(relay: RunningRelay) -> str:
    return str(relay.folder / "run" / "sendmail.sock")


def sendmail(relay: RunningRelay, *words: str, text: str = "", uid: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as this user, or as another one."""
    given = ["--socket", path(relay), *words]
    if uid is None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(given, io.BytesIO(text.encode()))
        return subprocess.CompletedProcess(given, status, out.getvalue(), err.getvalue())
    command = [sys.executable, "-P", "-m", "postlatch.testing.local_user", str(uid), *given]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=30)


def received(relay: RunningRelay, subject: str, user: str = "bob") -> Message:
    """The message of that subject, when it is there."""
    for _ in range(500):
        for file in relay.maildir(f"{user}@example.com"):
            message = message_from_bytes(file.read_bytes())
            if message["Subject"] == subject:
                return message
        time.sleep(0.02)
    raise AssertionError(f"{subject} did not arrive: {relay.read_log()[-3000:]}")


def last_event(relay: RunningRelay, name: str) -> dict[str, Any]:
    events: list[dict[str, Any]] = relay.json("journal", "search", "--event", name)["events"]
    return events[-1]


def wrapper(relay: RunningRelay, name: str, module: str) -> str:
    """A program to be called as /usr/sbin/sendmail would."""
    file = relay.folder / name
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m {module} --socket {path(relay)} "$@"\n')
    file.chmod(0o755)
    return str(file)


def test_cron_mails_its_output(relay: RunningRelay) -> None:
    output = "From: root (Cron Daemon)\nTo: root\nSubject: cron\n\n1 %\r100 %\r\n.\nno \0 end\n"
    done = sendmail(relay, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root", text=output)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    message = received(relay, "cron")
    assert message["From"] == f"Cron Daemon <{OPS}>"
    assert message["To"] == "root@example.com"
    assert message["Return-Path"] == f"<{OPS}>"
    assert "(local)" in message["Received"]
    assert message["Date"]
    assert message["Message-ID"]
    assert message.get_payload() == "1 %\n100 %\n.\nno  end\n"
    event = last_event(relay, "message.accepted")
    assert (event["client"], event["account"], event["listener"], event["tls"]) == ("local", OPS, "sendmail", False)
    assert event["fixed"] == ["names", "date", "message-id"]


def test_recipients_are_read_from_the_header_and_bcc_does_not_leave(relay: RunningRelay) -> None:
    text = 'To: "B, Bob" <bob>\nBcc: alice@example.com,\n bob@example.com\nSubject: blind\nResent-Note: no\n\nx\n'
    assert sendmail(relay, "-t", text=text).returncode == 0
    for user in ("bob", "alice"):
        message = received(relay, "blind", user)
        assert message["Bcc"] is None
        assert message["To"] == '"B, Bob" <bob@example.com>'
        assert message["From"] == f"<{OPS}>"


def test_a_line_with_a_single_dot_ends_the_message_unless_told_otherwise(relay: RunningRelay) -> None:
    for option, expected in ((), "one\n"), (("-oi",), "one\n.\ntwo\n"):
        subject = f"dot{len(option)}"
        assert sendmail(relay, *option, "bob", text=f"Subject: {subject}\n\none\n.\ntwo\n").returncode == 0
        assert received(relay, subject).get_payload() == expected


def test_what_is_refused_is_told_and_the_others_get_it(relay: RunningRelay) -> None:
    done = sendmail(relay, "-t", text="To: nobody-here, bob\nSubject: one of two\n\nx\n")
    assert done.returncode == 67  # EX_NOUSER
    assert done.stderr == "sendmail: nobody-here: 550 5.1.1 no such user here\n"
    received(relay, "one of two")


@pytest.mark.parametrize(
    ("words", "text", "status", "told"),
    [
        (("bob",), "From: boss@example.com\nSubject: x\n\nx\n", 77, "From field names an address"),
        (("-f", "boss@example.com", "bob"), "Subject: x\n\nx\n", 77, "does not belong to this account"),
        (("-f", "", "bob"), "Subject: x\n\nx\n", 77, "does not belong"),
        (("bob\r\nRCPT TO:<alice>",), "Subject: x\n\nx\n", 65, "line end"),
        (("a b@example.com",), "Subject: x\n\nx\n", 65, "501 5.1.3"),
        (("-t",), "Subject: x\n\nTo: bob\n", 65, "names no recipient"),
        ((), "x", 64, "no recipient"),
        (("--what", "bob"), "x", 64, "no option"),
        (("-bd",), "", 64, "not for this command"),
        (("-bp",), "", 69, "postlatch queue list"),
        (("-q",), "", 0, "runs its queue by itself"),
    ],
)
def test_each_failure_has_its_exit_status(
    relay: RunningRelay, words: tuple[str, ...], text: str, status: int, told: str
) -> None:
    done = sendmail(relay, *words, text=text)
    assert (done.returncode, told in done.stderr) == (status, True), done


def test_without_a_relay_nothing_is_lost_and_the_caller_knows(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "postlatch.cli.sendmail", "--socket", str(tmp_path / "none"), "bob"]
    done = subprocess.run(command, input="x", text=True, capture_output=True, check=False)
    assert done.returncode == 75
    assert "does not answer" in done.stderr
    assert "try again later" in done.stderr


@needs_root
def test_who_is_not_listed_may_connect_and_not_send(relay: RunningRelay) -> None:
    done = sendmail(relay, "bob", text="Subject: x\n\nx\n", uid=STRANGER_UID)
    assert done.returncode == 77
    assert "not in sendmail.users" in done.stderr
    event = last_event(relay, "connection.refused")
    assert (event["rule"], event["user"], event["client"]) == ("local user", str(STRANGER_UID), "local")


@needs_root
def test_a_user_whose_account_is_gone_may_not_send(relay: RunningRelay) -> None:
    done = sendmail(relay, "bob", text="Subject: x\n\nx\n", uid=2)
    assert done.returncode == 77
    assert "550 5.7.1" in done.stderr


@needs_root
def test_a_suspended_account_is_suspended_here_too(relay: RunningRelay) -> None:
    relay.json("account", "suspend", WEB)
    done = sendmail(relay, "x@elsewhere.example", text="Subject: x\n\nx\n", uid=WEB_UID)
    relay.json("account", "restore", WEB)
    assert done.returncode == 77
    assert "suspended" in done.stderr


def test_the_socket_speaks_smtp(relay: RunningRelay) -> None:
    command = [sys.executable, "-P", "-m", "postlatch.cli.sendmail", "--socket", path(relay), "-bs"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"220 relay.example.com")
    replies = []
    lines = ("EHLO x", "MAIL FROM:<root>", "RCPT TO:<root>", "RCPT TO:<a@b@c>", "RSET", "AUTH PLAIN AAA=", "STARTTLS", "QUIT")
    for line in lines:
        process.stdin.write(f"{line}\r\n".encode())
        process.stdin.flush()
        while (reply := process.stdout.readline())[3:4] == b"-":
            assert b"AUTH" not in reply
            assert b"STARTTLS" not in reply
        replies.append(reply[:3].decode())
    assert process.wait(10) == 0
    process.stdin.close()
    process.stdout.close()
    assert replies == ["250", "250" if os.geteuid() == 0 else "553", "250", "501", "250", "502", "502", "221"]


def test_other_clients_of_the_socket_are_the_same_account(relay: RunningRelay) -> None:
    class Local(smtplib.SMTP):
        def _get_socket(self, *_: object) -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(10)
            sock.connect(path(relay))
            return sock

    with Local("localhost", timeout=10) as client:
        client.sendmail(OPS, ["bob@example.com"], f"From: {OPS}\r\nSubject: library\r\n\r\nx\r\n")
    assert received(relay, "library")["From"] == OPS


@pytest.mark.real
def test_mailx(relay: RunningRelay) -> None:
    program = shutil.which("bsd-mailx")
    if program is None:
        pytest.skip("bsd-mailx is not installed")
    rc = relay.folder / "mailrc"
    rc.write_text(f"set sendmail={wrapper(relay, 'sendmail', 'postlatch.cli.sendmail')}\n")
    environment = {**os.environ, "MAILRC": str(rc), "HOME": str(relay.folder)}
    subprocess.run([program, "-s", "mailx", "root"], input=b"body\n.x\n", env=environment, check=True, timeout=30)
    assert received(relay, "mailx").get_payload() == "body\n.x\n"


PHP = 'var_dump(mail("bob@example.com", "php", "text\\n.\\nx", "Bcc: alice@example.com\\r\\nCc: Bob <bob>"));'


@needs_root
@pytest.mark.real
def test_php(relay: RunningRelay) -> None:
    program = shutil.which("php")
    if program is None:
        pytest.skip("php is not installed")
    called = wrapper(relay, "web", f"postlatch.testing.local_user {WEB_UID}")
    done = subprocess.run(
        [program, "-n", "-d", f"sendmail_path={called} -t -i", "-r", PHP], capture_output=True, check=True, timeout=30
    )
    assert done.stdout == b"bool(true)\n"
    assert received(relay, "php", "alice")["From"] == f"<{WEB}>"


@needs_root
def test_as_php_calls_it(relay: RunningRelay) -> None:
    text = "To: bob@example.com\nSubject: as php\nX-PHP-Originating-Script: 33:mail.php\nCc: Bob <bob>\n\ntext\n.\nx\n"
    assert sendmail(relay, "-t", "-i", text=text, uid=WEB_UID).returncode == 0
    message = received(relay, "as php")
    assert (message["From"], message["Cc"], message["Return-Path"]) == (f"<{WEB}>", "Bob <bob@example.com>", f"<{WEB}>")
    assert message.get_payload() == "text\n.\nx\n"


# Devices


def by_right(relay: RunningRelay) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", relay.port("relay"), timeout=10, source_address=("127.0.0.2", 0))


def test_a_device_gets_its_header_mended_and_its_body_left(relay: RunningRelay) -> None:
    body = b"\r\n.\r\nFrom: not a header\r\n" + bytes(range(1, 10)) + b"\x80\xff" * 50 + b"\r\n"
    with by_right(relay) as client:
        message = (
            b"From: Scanner 3 <scan@localhost>,\r\n other@localhost\r\nSender: x@localhost\r\nSubject: scan\r\n\r\n" + body
        )
        client.sendmail("scan@example.com", ["bob@example.com"], message)
    found = received(relay, "scan")
    assert found["From"] == "<scanner@example.com>"
    assert found["X-Original-From"] == "Scanner 3 <scan@localhost>,\n other@localhost"
    assert (found["Sender"], found["X-Original-Sender"]) == (None, "x@localhost")
    assert found["Date"]
    assert found["Message-ID"]
    event = last_event(relay, "message.accepted")
    assert event["fixed"] == ["from", "sender", "date", "message-id"]
    assert event["header_from"].startswith("Scanner 3 <scan@localhost>")
    raw = next(file.read_bytes() for file in relay.maildir("bob@example.com") if b"Subject: scan" in file.read_bytes())
    assert raw.replace(b"\r\n", b"\n").endswith(body.replace(b"\r\n", b"\n"))
    with by_right(relay) as client:
        client.sendmail("scan@example.com", ["bob@example.com"], "From: scan@example.com\r\nSubject: right\r\n\r\nx\r\n")
    assert received(relay, "right")["From"] == "scan@example.com"


# Rights and delegations of sessions that are open


def logged_in(relay: RunningRelay, login: str) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", relay.port("submission"), timeout=10)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.starttls(context=context)
    client.login(login, PASSWORD)
    return client


def test_a_revoked_right_reaches_the_session_that_is_open(relay: RunningRelay) -> None:
    words = ("--network", "127.0.0.3", "--listener", "relay", "--owner", OPS, "--expires", "2099-12-31", "--masked", "test")
    relay.json("right", "add", "brief", *words)
    with smtplib.SMTP("127.0.0.1", relay.port("relay"), timeout=10, source_address=("127.0.0.3", 0)) as client:
        client.ehlo()
        assert client.mail(OPS)[0] == 250
        assert client.rcpt("bob@example.com")[0] == 250
        assert client.docmd("DATA")[0] == 354
        relay.json("right", "revoke", "brief")
        client.send(f"From: {OPS}\r\nSubject: too late\r\n\r\nx\r\n.\r\n".encode())
        assert client.getreply()[0] == 451
        assert client.mail(OPS)[0] == 550
    relay.json("right", "add", "brief", *words)
    with smtplib.SMTP("127.0.0.1", relay.port("relay"), timeout=10, source_address=("127.0.0.3", 0)) as client:
        client.ehlo()
        assert client.mail(OPS)[0] == 250
        relay.json("right", "revoke", "brief")
        code, text = client.rcpt("x@elsewhere.example")
        assert (code, text) == (550, b"5.7.1 this address may not send here")


def test_a_delegation_holds_until_it_is_revoked_also_in_an_open_session(relay: RunningRelay) -> None:
    office = "office@example.com"
    with logged_in(relay, ALICE) as client:
        assert client.mail(office)[0] == 553
        added = relay.json("account", "delegate", "add", ALICE, office, "--owner", OPS, "--expires", "2099-12-31")
        assert (added["address"], added["state"]) == (office, "active")
        client.sendmail(office, ["bob@example.com"], f"From: {office}\r\nSubject: lent\r\n\r\nx\r\n")
        received(relay, "lent")
        listed = relay.json("account", "delegate", "list")["delegations"]
        assert [(one["login"], one["address"], one["owner"]) for one in listed] == [(ALICE, office, OPS)]
        assert listed[0]["last_used"] is not None
        assert client.mail(office)[0] == 250
        relay.json("account", "delegate", "revoke", ALICE, office)
        assert client.rcpt("x@elsewhere.example")[0] == 553
    names = [
        relay.json("journal", "search", "--event", f"delegation.{what}")["events"][-1]["address"]
        for what in ("added", "revoked")
    ]
    assert names == [office, office]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((ALICE, "@example.com"), "is not one address"),
        ((ALICE, "x@elsewhere.example"), "not in a domain of ours"),
        (("who@example.com", "office@example.com"), "there is no account"),
        ((ALICE, "office@example.com", "--expires", "2020-01-01"), "is over"),
        ((ALICE, "office@example.com", "--owner", ""), "owner"),
    ],
)
def test_what_cannot_be_delegated(relay: RunningRelay, words: tuple[str, ...], told: str) -> None:
    defaults = [("--owner", OPS), ("--expires", "2099-12-31")]
    more = [word for pair in defaults if pair[0] not in words for word in pair]
    done = relay.run("account", "delegate", "add", *words, *more)
    assert (done.returncode, told in done.stderr) == (2, True), done


def test_rights_show_what_is_mended_and_when_it_was_used(relay: RunningRelay) -> None:
    rows = {row["name"]: row for row in relay.json("right", "list")["rights"]}
    row = rows["scanner"]
    assert (row["fix"], row["rewrite_from"], row["unused"]) == (["date", "from", "message-id"], "scanner@example.com", False)
    assert row["last_used"] is not None


def test_headers_that_were_mended_are_counted(relay: RunningRelay) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.port('http')}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    counted = [line for line in text.splitlines() if line.startswith("postlatch_header_fixes_total")]
    assert any('listener="relay"' in line and 'fix="from"' in line and float(line.split()[-1]) == 1 for line in counted), (
        counted
    )


def test_the_command_starts_in_a_tenth_of_a_second(relay: RunningRelay) -> None:
    """By its own time on the processor: the machine may be busy with other things."""
    command = [sys.executable, "-P", "-c", "import postlatch.cli.sendmail, time; print(time.process_time())"]
    best = min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5))
    assert best < 0.1
    heavy = "import sys, postlatch.cli.sendmail; print(sorted({'asyncio','pydantic','email','dataclasses'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-P", "-c", heavy], capture_output=True, text=True, check=True).stdout
    assert found == "[]\n"
