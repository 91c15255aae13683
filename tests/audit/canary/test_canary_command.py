"""``postlatch audit canary``, and the canary that an audit chooses."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from canary_support import RUN, TOKEN, Client, message

from postlatch.app.audit_canary import NOBODY, canaries, place
from postlatch.app.clock import SystemClock
from postlatch.audit.canary.maildir import MaildirReader
from postlatch.audit.canary.receiver import Receiver
from postlatch.audit.canary.record import RecordReader
from postlatch.audit.canary.values import CanaryError
from postlatch.testing.peers.ports import end


def command(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    words = [sys.executable, "-m", "postlatch", "audit", "canary", *arguments]
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True)


def send(port: int, token: str) -> None:
    with Client(port) as client:
        client.begin(b"x@canary.example", b"canary@canary.example")
        assert client.say(message(token) + b".").startswith("250")


def test_the_command_tells_each_arrival_and_an_audit_elsewhere_reads_them(tmp_path: Path) -> None:
    record = tmp_path / "arrivals.ndjson"
    process = command("--listen", "127.0.0.1:0", "--domain", "canary.example", "--domain", "b.example", "--record", str(record))
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        words = process.stderr.readline()
        assert words.endswith("for canary.example, b.example\n")
        port = int(words.split()[2].rpartition(":")[2])
        reader = RecordReader(record, run=RUN)
        send(port, "of nobody's audit")
        send(port, TOKEN)
        line = json.loads(process.stdout.readline())
        assert line.pop("at") > 1.7e9
        assert line == {
            "schema": "postlatch.audit.canary/1",
            "token": TOKEN,
            "sender": "x@canary.example",
            "recipient": "canary@canary.example",
            "bounce": False,
            "received": [],
            "client": "127.0.0.1",
        }
        assert [arrival.token for arrival in asyncio.run(reader.arrivals())] == [TOKEN]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""
    finally:
        end(process)


def test_the_command_says_why_it_cannot_begin(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        running = [
            (command("--listen", used), f"The canary cannot listen on {used}: something else listens there"),
            (command("--listen", "0.0.0.0:2525"), "name its domain"),
            (command("--listen", "2525"), "write HOST:PORT"),
            (command("--listen", "127.0.0.1:0", "--record", str(tmp_path)), "cannot be written"),
        ]
        for process, text in running:
            _, told = process.communicate(timeout=30)
            assert (process.returncode, text in told) == (2, True), told


def choose(spec: str, **arguments: Any) -> tuple[str, str, str]:
    """The kinds of readers, and the user."""

    async def run() -> tuple[str, str, str]:
        async with canaries(spec, arguments, RUN, SystemClock()) as chosen:
            return type(chosen.canary).__name__, type(chosen.mailbox).__name__, chosen.user

    return asyncio.run(run())


def test_the_canary_is_what_the_arguments_say(tmp_path: Path) -> None:
    record, mail = tmp_path / "record", tmp_path / "mail"
    record.touch()
    mail.mkdir()
    maildir, receiver, none = MaildirReader.__name__, Receiver.__name__, "NoneType"
    assert choose("") == (none, none, "canary")
    assert choose("me@mine.example") == (none, none, "me")  # nobody reads it: then nothing is sent
    assert choose("listen:127.0.0.1:0") == (receiver, none, "canary")
    assert choose("listen:[::1]:0", local_maildir=str(mail)) == (receiver, maildir, "canary")
    assert choose("me@mine.example", canary_maildir=str(mail)) == (maildir, none, "me")
    assert choose("me@mine.example", canary_record=str(record)) == (RecordReader.__name__, none, "me")
    assert NOBODY == (None, None, "canary")


def test_a_receiver_that_others_reach_takes_mail_for_the_canary_domain_alone() -> None:
    async def run() -> None:
        arguments = {"canary_domain": "canary.example.net"}
        async with canaries("listen:0.0.0.0:0", arguments, RUN, SystemClock()) as chosen:
            assert isinstance(chosen.canary, Receiver)
            codes = await asyncio.to_thread(ask, chosen.canary.port)
            assert codes == ["250", "250", "550"]

    def ask(port: int) -> list[str]:
        with Client(port) as client:
            client.reply()
            client.say(b"EHLO c")
            client.say(b"MAIL FROM:<>")
            recipients = (b"u@canary.example.net", b"u@stranger.example", b"u@elsewhere.example")
            return [client.say(b"RCPT TO:<%s>" % one)[:3] for one in recipients]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("spec", "arguments", "text"),
    [
        ("", {"canary_maildir": "/x"}, "give its address, --canary ADDRESS"),
        ("listen:127.0.0.1:0", {"canary_maildir": "/x"}, "does not go with --canary listen:"),
        ("a@b.example", {"canary_maildir": "/x", "canary_record": "/y"}, "two ways to read one mailbox"),
        ("a@b.example", {"canary_imap": "imaps://u@h/INBOX"}, "--password-file"),
        ("a@b.example", {"canary_imap": "imaps://u@h/INBOX", "password_file": "/none"}, "cannot be read: No such file"),
        ("a@b.example", {"canary_imap": "imaps://u@h/INBOX", "password_file": __file__}, "the password alone, in one line"),
        ("", {"local_maildir": "/none/such"}, "There is no directory"),
        ("listen:2525", {}, "write HOST:PORT"),
        ("listen:::1:2525", {}, "without brackets"),
        ("listen:127.0.0.1:99999", {}, "write HOST:PORT"),
    ],
)
def test_a_canary_that_cannot_be_is_explained(spec: str, arguments: dict[str, str], text: str) -> None:
    with pytest.raises(CanaryError, match=text):
        choose(spec, **arguments)


def test_a_place_is_an_address_and_a_port() -> None:
    assert place("127.0.0.1:25") == ("127.0.0.1", 25)
    assert place("[::]:2525") == ("::", 2525)
