"""Overload of the real program: what strangers meet, what a user notices, what the metrics say."""

from __future__ import annotations

import contextlib
import re
import resource
import smtplib
import socket
import ssl
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postlatch.testing.peers.fire import Fire
from postlatch.testing.running import ACCOUNT, BASE, PASSWORD, RunningRelay

pytestmark = pytest.mark.soak

MESSAGE = b"From: alice@example.com\r\nSubject: x\r\n\r\nhello\r\n"
TROUBLE = re.compile(r"Traceback|never retrieved|exception", re.IGNORECASE)


def configured(overload: str = "", **replaced: str) -> str:
    """The test's configuration with ``[overload]`` lines, and lines of it replaced."""
    text = BASE
    for key, value in replaced.items():
        text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        assert count, key
    return f"{text}\n[overload]\n{overload}\n"


@contextlib.contextmanager
def running(folder: Path, config: str, prefix: tuple[str, ...] = ()) -> Iterator[RunningRelay]:
    """A relay with an account; no exception may be in its log at the end."""
    relay = RunningRelay(folder / "relay", config)
    relay.start(prefix=prefix)
    try:
        relay.add_account()
        yield relay
    finally:
        relay.stop()
    assert not TROUBLE.search(relay.read_log()), relay.read_log()[-3000:]


def dial(relay: RunningRelay, source: str = "127.0.0.1", listener: str = "mx") -> socket.socket:
    """A connection from any loopback address."""
    return socket.create_connection(("127.0.0.1", relay.port(listener)), timeout=10, source_address=(source, 0))


def told(sock: socket.socket) -> str:
    """Everything until the server closes, or until it has said a line and waits."""
    heard = b""
    while not heard.endswith(b"\r\n"):
        data = sock.recv(4096)
        if not data:
            break
        heard += data
    return heard.decode()


def closed(sock: socket.socket) -> bool:
    """Nothing more comes, and the end does."""
    try:
        return sock.recv(4096) == b""
    except ConnectionResetError:
        return True


def metric(relay: RunningRelay, name: str) -> float:
    """The value of one sample, labels and all; 0 if there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.port('http')}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
    return 0.0


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def send(relay: RunningRelay) -> float:
    """A user's message with its login; seconds."""
    started = time.monotonic()
    with smtplib.SMTP("127.0.0.1", relay.port("submission"), timeout=30) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login(ACCOUNT, PASSWORD)
        client.sendmail(ACCOUNT, ["bob@example.com"], MESSAGE)
    return time.monotonic() - started


def test_a_client_and_its_network_are_told_that_they_have_too_many_and_others_come_in(tmp_path: Path) -> None:
    config = BASE.replace("connections = 1000", "connections = 3\nnetwork_connections = 5")
    with running(tmp_path, config) as relay, contextlib.ExitStack() as stack:
        time.sleep(1)  # the self-probe is over
        answers = []
        for source in ("127.5.0.1",) * 4 + ("127.5.0.2",) * 3 + ("127.5.1.1",):
            sock = stack.enter_context(dial(relay, source))
            answers.append(told(sock)[:60].strip())
            if answers[-1].startswith("421"):
                assert closed(sock)
        assert [answer[:3] for answer in answers] == ["220", "220", "220", "421", "220", "220", "421", "220"]
        assert answers[3] == "421 4.7.0 too many connections, try again later"
        assert answers[6] == "421 4.7.0 too many connections from your network, try again lat"[:60].strip()
        assert metric(relay, 'postlatch_shed_total{listener="mx",reason="client"}') == 1
        assert metric(relay, 'postlatch_shed_total{listener="mx",reason="network"}') == 1
        refused = relay.json("journal", "search", "--event", "connection.refused")["events"]
        assert {event["rule"] for event in refused} == {"connection limit"}


def test_strangers_fill_their_part_make_room_when_idle_and_users_never_notice(tmp_path: Path) -> None:
    with running(tmp_path, configured("connections = 100\nreserve = 20\nidle = 3\nhandshakes = 8")) as relay:
        time.sleep(1)
        with contextlib.ExitStack() as stack:
            quiet = [stack.enter_context(dial(relay, f"127.6.{n // 50}.1")) for n in range(82)]
            answers = [told(sock) for sock in quiet]
            assert [answer[:3] for answer in answers] == ["220"] * 80 + ["421"] * 2
            assert answers[-1] == "421 4.3.2 too many connections here, try again later\r\n"
            assert send(relay) < 5
            until(lambda: metric(relay, "postlatch_stress") == 1)
            until(lambda: metric(relay, 'postlatch_shed_total{listener="mx",reason="idle"}') >= 64)
            said = told(quiet[0])
            assert said in {
                "421 4.3.2 Too many connections here and yours is idle; try again later\r\n",
                "421 4.4.2 Idle for too long; closing\r\n",
            }
            assert send(relay) < 5
        until(lambda: metric(relay, 'postlatch_in_use{what="connections"}') == 0)
        until(lambda: metric(relay, "postlatch_stress") == 0, 30)
        began = relay.json("journal", "search", "--event", "overload.began")["events"]
        ended = relay.json("journal", "search", "--event", "overload.ended")["events"]
        assert [event["why"] for event in began] == ["100% of the connections are in use"]
        assert len(ended) == 1


def test_a_user_that_is_logged_in_and_idle_keeps_its_connection_under_stress(tmp_path: Path) -> None:
    with running(tmp_path, configured("connections = 20\nreserve = 20\nidle = 2")) as relay, contextlib.ExitStack() as stack:
        time.sleep(1)
        with smtplib.SMTP("127.0.0.1", relay.port("submission"), timeout=30) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login(ACCOUNT, PASSWORD)
            idlers = [stack.enter_context(dial(relay, f"127.6.{n}.1")) for n in range(16)]
            until(lambda: metric(relay, "postlatch_stress") == 1)
            until(lambda: metric(relay, 'postlatch_connections_open{listener="mx"}') == 0)
            assert all(told(sock)[:3] == "220" for sock in idlers)
            assert client.sendmail(ACCOUNT, ["bob@example.com"], MESSAGE) == {}


@pytest.mark.slow
def test_a_users_mail_is_taken_in_less_than_a_second_while_strangers_are_slow_and_others_flood(tmp_path: Path) -> None:
    config = configured("connections = 1000", connections="100", commands='["6000/minute"]') + '\n[log]\nlevel = "warning"\n'
    with running(tmp_path, config) as relay:
        mx = relay.port("mx")
        with Fire("slow", mx, 800) as slow, Fire("flood", mx, 30) as flood:
            times = [send(relay) for _ in range(40)]
            refused, idle = flood.stop(), slow.stop()
        assert refused["550"] > 2000, refused
        assert idle["421"] > 0, idle  # beyond the caps: told, not left waiting
        assert statistics.quantiles(times, n=100, method="inclusive")[98] < 2.5, sorted(times)[-5:]  # with its login
        assert statistics.median(times) < 1
        assert len(relay.maildir("bob@example.com")) >= 1


def test_the_caps_keep_descriptors_free_and_everybody_beyond_is_told(tmp_path: Path) -> None:
    with running(tmp_path, BASE, prefix=("prlimit", "--nofile=256:256")) as relay, contextlib.ExitStack() as stack:
        time.sleep(1)
        cap = int(metric(relay, 'postlatch_cap{what="connections"}'))
        assert 50 < cap < 128
        answers = [told(stack.enter_context(dial(relay, f"127.7.{n // 50}.1"))) for n in range(cap + 20)]
        assert {answer[:3] for answer in answers} == {"220", "421"}
        assert [answer[:3] for answer in answers[-20:]] == ["421"] * 20
        send(relay)
        until(lambda: len(relay.maildir("bob@example.com")) == 1)
        descriptors = len(list(Path(f"/proc/{relay.children()['relay']}/fd").iterdir()))
        assert descriptors < 220, "some must be free for delivery and the database"


def test_without_any_descriptor_left_a_client_is_still_told_and_the_relay_recovers_alone(tmp_path: Path) -> None:
    with running(tmp_path, BASE) as relay:
        time.sleep(1)
        pid = relay.children()["relay"]
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, before[1]))
        with contextlib.ExitStack() as stack:
            answers: list[str] = []
            while "421 4.3.2 out of system resources, try again later\r\n" not in answers:
                assert len(answers) < 100, answers[-1]
                sock = stack.enter_context(dial(relay))
                answers.append(told(sock))
                assert answers[-1].startswith("220") or closed(sock)
            assert told(stack.enter_context(dial(relay))) == answers[-1], "and again: the spare one was taken back"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        with dial(relay) as sock:
            assert told(sock).startswith("220")
        assert metric(relay, 'postlatch_shed_total{listener="mx",reason="descriptors"}') >= 1


def test_a_client_that_does_not_read_its_replies_costs_a_bounded_buffer_and_is_cut_off(tmp_path: Path) -> None:
    config = configured(commands='["100000000/minute"]').replace(
        "greeting_delay = 0", "greeting_delay = 0\nidle = 3\nerrors = 1000"
    )
    with running(tmp_path, config) as relay, contextlib.closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.settimeout(10)
        deaf.connect(("127.0.0.1", relay.port("mx")))
        told(deaf)
        deaf.sendall(b"EHLO deaf.example\r\n")
        time.sleep(0.5)
        deaf.settimeout(1)
        group = b"MAIL FROM:<x@world.example>\r\n" + b"RCPT TO:<y@elsewhere.example>\r\n" * 20
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * 2**20:
                sent += deaf.send(group)
        assert sent < 16 * 2**20, "the relay must stop reading"
        until(lambda: metric(relay, 'postlatch_connections_open{listener="mx"}') == 0, 30)


def test_octets_of_a_command_do_not_prolong_the_wait_for_it(tmp_path: Path) -> None:
    with running(tmp_path, BASE.replace("greeting_delay = 0", "greeting_delay = 0\nidle = 3")) as relay, dial(relay) as sock:
        told(sock)
        started = time.monotonic()
        sock.settimeout(0.5)
        heard = b""
        while time.monotonic() - started < 15 and not heard:
            with contextlib.suppress(OSError):
                sock.send(b"E")
            with contextlib.suppress(TimeoutError):
                heard = sock.recv(4096)
        assert heard == b"421 4.4.2 Idle for too long; closing\r\n"
        assert 3 <= time.monotonic() - started < 8


def test_a_silent_crowd_before_its_tls_handshake_is_counted_and_cannot_keep_a_user_out(tmp_path: Path) -> None:
    with running(tmp_path, configured("connections = 200\nhandshakes = 4")) as relay, contextlib.ExitStack() as stack:
        for n in range(40):
            stack.enter_context(dial(relay, f"127.8.{n}.1", "submissions"))
        until(lambda: metric(relay, 'postlatch_in_use{what="connections"}') == 40)
        started = time.monotonic()
        with smtplib.SMTP_SSL(
            "127.0.0.1", relay.port("submissions"), context=ssl._create_unverified_context(), timeout=90
        ) as client:
            client.login(ACCOUNT, PASSWORD)
            assert client.sendmail(ACCOUNT, ["bob@example.com"], MESSAGE) == {}
        assert time.monotonic() - started < 75  # its turn comes: silent ones are ended
        assert metric(relay, 'postlatch_shed_total{listener="submissions",reason="handshake"}') > 0
        assert send(relay) < 30


def test_ten_thousand_pipelined_commands_of_one_client_delay_nobody(tmp_path: Path) -> None:
    config = configured(commands='["100000000/minute"]').replace("greeting_delay = 0", "greeting_delay = 0\ncommands = 1000000")
    with running(tmp_path, config) as relay, dial(relay) as flood, dial(relay) as honest:
        told(flood), told(honest)
        flood.sendall(b"EHLO flood.example\r\n")
        told(flood)
        honest.sendall(b"EHLO honest.example\r\n")
        told(honest)
        flood.sendall(b"NOOP\r\n" * 10_000)
        worst = 0.0
        for _ in range(20):
            started = time.monotonic()
            honest.sendall(b"NOOP\r\n")
            told(honest)
            worst = max(worst, time.monotonic() - started)
        assert worst < 0.5
        answers = 0
        while answers < 10_000:
            answers += flood.recv(65_536).count(b"\r\n")
        assert answers == 10_000, "nothing is lost on the way through the queue"


def test_mail_beyond_the_memory_for_it_waits_and_is_taken_when_there_is_room(tmp_path: Path) -> None:
    with running(tmp_path, configured('memory = "1 MiB"\nreserve = 20')) as relay, contextlib.ExitStack() as stack:
        bodies = []
        for n in range(3):
            sock = stack.enter_context(dial(relay, f"127.9.{n}.1"))
            for line, code in (
                (b"", "220"),
                (b"EHLO x.example\r\n", "250"),
                (b"MAIL FROM:<x@world.example> SIZE=262144\r\n", "250"),
                (b"RCPT TO:<bob@example.com>\r\n", "250"),
                (b"DATA\r\n", "354"),
            ):
                sock.sendall(line)
                assert told(sock).startswith(code)
            bodies.append(sock)
        late = stack.enter_context(dial(relay, "127.9.9.1"))
        told(late)
        late.sendall(b"EHLO x.example\r\n")
        told(late)
        late.sendall(b"MAIL FROM:<x@world.example> SIZE=262144\r\n")
        assert told(late) == "452 4.3.1 Too much mail at once; try again later\r\n"
        assert metric(relay, 'postlatch_shed_total{listener="mx",reason="memory"}') == 1
        send(relay)  # the reserve
        for sock in bodies:
            sock.sendall(b"Subject: x\r\n\r\nx\r\n.\r\n")
            assert told(sock).startswith("250")
        late.sendall(b"MAIL FROM:<x@world.example> SIZE=262144\r\n")
        assert told(late).startswith("250")
        until(lambda: metric(relay, 'postlatch_in_use{what="mail_octets"}') == 0)
