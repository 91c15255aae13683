"""What the tests of the running program share: a safe configuration, clients, and a look into the database."""

from __future__ import annotations

import contextlib
import json
import os
import smtplib
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from postlatch.testing.peers.ports import free_port, wait_until
from postlatch.testing.running import RunningRelay

HEADER = 'hostname = "relay.example.com"\ndata_dir = "data"\n'
TLS = '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
LISTENERS = """\
[[listeners]]
name = "mx"
address = "127.0.0.1:MX"
role = "mx"

[[listeners]]
name = "submission"
address = "127.0.0.1:SUBMISSION"
role = "submission"

[[listeners]]
name = "relay"
address = "127.0.0.1:RELAY"
role = "relay"
"""
DOMAIN = """\
[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice", "bob"]
"""
REST = """\
[session]
greeting_delay = 0
auth_failure_delay = 0

[limits.client]
connections = 1000
commands = ["1000000/minute"]

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:HTTP"
"""
SAFE = f"{HEADER}\n{TLS}\n{LISTENERS}\n{DOMAIN}\n{REST}"

LATE = '\n[domains."late.example"]\ndeliver = "lmtp://127.0.0.1:1"\nrecipients = ["carol"]\n'  # what is for carol waits
STRANGER, BOB, CAROL = "stranger@other.example", "bob@example.com", "carol@late.example"

MESSAGE = "From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {token}\r\nMessage-ID: <{token}@test.example>\r\n\r\n{body}\r\n"


def with_ports(config: str) -> tuple[str, dict[str, int]]:
    """Put free ports in the place of their names; the ports by name."""
    ports = {name: free_port() for name in ("MX", "SUBMISSION", "RELAY", "HTTP")}
    for name, port in ports.items():
        config = config.replace(f":{name}", f":{port}")
    return config, ports


def postlatch(config: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in the configuration's folder and wait for its end."""
    command = [sys.executable, "-m", "postlatch", "--config", str(config), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60, cwd=config.parent)


def letter(token: str, sender: str = "alice@example.com", recipient: str = "bob@example.com", body: str = "text") -> str:
    """A small message that can be recognised by its token."""
    return MESSAGE.format(token=token, sender=sender, recipient=recipient, body=body)


def client(port: int, host: str = "127.0.0.1", source: str = "") -> smtplib.SMTP:
    """A session after EHLO. ``source``: the client's own address."""
    origin = (source, 0) if source else None
    session = smtplib.SMTP(host, port, local_hostname="client.example", timeout=30, source_address=origin)
    session.ehlo()
    return session


def untrusting() -> ssl.SSLContext:
    """TLS towards a self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def logged_in(port: int, login: str, password: str) -> smtplib.SMTP:
    """A session on a submission listener, after STARTTLS and AUTH."""
    session = client(port)
    session.starttls(context=untrusting())
    session.ehlo()
    session.login(login, password)
    return session


def reply(answer: tuple[int, bytes]) -> str:
    """``250 2.0.0 text`` of what smtplib returned."""
    return f"{answer[0]} {answer[1].decode()}"


def submit(session: smtplib.SMTP, token: str, sender: str, recipient: str, body: str = "text") -> str:
    """Send one message; the first reply that is bad news, or the one to the final dot."""
    for command, address in ((session.mail, sender), (session.rcpt, recipient)):
        answer = command(address)
        if answer[0] >= 400:
            session.docmd("RSET")
            return reply(answer)
    try:
        return reply(session.data(letter(token, sender, recipient, body)))
    except smtplib.SMTPDataError as error:
        session.docmd("RSET")
        return f"{error.smtp_code} {error.smtp_error.decode() if isinstance(error.smtp_error, bytes) else error.smtp_error}"


def queue_id(text: str) -> str:
    """ID of ``250 2.0.0 queued as ID``."""
    assert text.startswith("250 2.0.0 queued as "), text
    return text.rpartition(" ")[2]


@contextlib.contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """The database as it is now, for looking only."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        yield connection


def events(relay: RunningRelay, name: str) -> list[dict[str, Any]]:
    """Events of one name, oldest first."""
    done = relay.run("journal", "search", "--event", name, "--limit", "1000", "--json")
    assert done.returncode in {0, 1}, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return found


def told(relay: RunningRelay, words: str) -> bool:
    """Was an alert raised that says this?"""
    return any(words in str(event) for event in events(relay, "alert.raised"))


def rows(relay: RunningRelay, *filters: str) -> list[dict[str, Any]]:
    """Recipients of the queue, by ``queue list``."""
    found: list[dict[str, Any]] = relay.json("queue", "list", "--limit", "100000", *filters)["recipients"]
    return found


def states(relay: RunningRelay, message_id: str) -> list[str]:
    """The states of one message's recipients."""
    return [row["state"] for row in relay.json("queue", "show", message_id)["messages"][0]["recipients"]]


def holds(relay: RunningRelay, user: str, token: str) -> bool:
    """Is the message in the Maildir of ``user``?"""
    return any(f"Subject: {token}".encode() in path.read_bytes() for path in relay.maildir(user))


def metric(relay: RunningRelay, name: str) -> float:
    """A metric without labels, as the dashboard's process tells it."""
    with urlopen(f"http://127.0.0.1:{relay.port('http')}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def eventually(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    """Wait for a condition that costs more than a look."""

    def patient() -> bool:
        if condition():
            return True
        time.sleep(0.1)
        return False

    wait_until(patient, seconds, what)


def alive(pid: int) -> bool:
    """Does this process run? A zombie does not."""
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def in_ci() -> bool:
    """Under CI what cannot run is a failure, not a skip."""
    return bool(os.environ.get("CI"))


class Trickle:
    """Light load on a running relay: one message after the other in a thread; what was said to each, by token."""

    def __init__(self, port: int, sender: str = "stranger@other.example", recipient: str = "bob@example.com") -> None:
        self.replies: dict[str, str] = {}
        self._port, self._sender, self._recipient = port, sender, recipient
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            token = f"trickle-{number}"
            number += 1
            try:
                with client(self._port) as session:
                    self.replies[token] = submit(session, token, self._sender, self._recipient)
            except (OSError, smtplib.SMTPException) as error:
                self.replies[token] = f"failed: {error}"

    @property
    def accepted(self) -> int:
        """How many were answered 250."""
        return sum(text.startswith("250") for text in list(self.replies.values()))

    def flows(self) -> None:
        """Wait until three more were accepted."""
        goal = self.accepted + 3
        wait_until(lambda: self.accepted >= goal, 15, "mail to flow on")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
