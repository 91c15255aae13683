"""The ledger of a relay that is killed again and again under load: what became of everything that it has acknowledged.

Nobody's word is taken: that a recipient was delivered must be seen in the Maildir or at the next hop, not in the relay's own
database. For the test of durability and for ``benchmarks/kill_ledger.py``.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import re
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from postlatch.model.ids import parse_id
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.recorder import RecordingSink
from postlatch.testing.running import RunningRelay

LOCAL = "bob@example.com"
FOREIGN = "someone@elsewhere.example"
MOMENTS = ("under_load", "in_delivery", "while_starting")
_LARGE = 300_000  # octets: kept in a file of its own
_SUBJECT = re.compile(rb"^Subject: (\S+)", re.MULTILINE)

_CONFIG = """\
hostname = "relay.example.com"
data_dir = "data"

[[listeners]]
name = "relay"
address = "127.0.0.1:RELAY"
role = "relay"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice", "bob"]

[[rights]]
name = "load"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
masked = "the load generator on this machine"
limits = { messages = ["100000000/day"], recipients = ["100000000/day"] }

[limits.client]
connections = 1000
commands = ["100000000/minute"]

[session]
greeting_delay = 0

[outbound.routes]
"elsewhere.example" = "smtp://127.0.0.1:SINK"

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:0"

[log]
level = "warning"
"""


class Load:
    """Clients that send one message after the other, to a mailbox and to a next hop, and come back when they are cut off.

    ``acknowledged`` maps each message's token to the id in "250 2.0.0 queued as ID"; what got no answer is not in it.
    ``troubles`` counts what ended sessions.
    """

    def __init__(self, port: int, clients: int = 4, large_every: int = 50) -> None:
        self.acknowledged: dict[str, str] = {}
        self.troubles: Counter[str] = Counter()
        self._port = port
        self._large_every = large_every
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, client: int) -> None:
        tokens = (f"{client}-{number}" for number in itertools.count())
        while not self._stop.is_set():
            try:
                self._session(tokens)
            except OSError as error:
                self.troubles[str(error)] += 1
            time.sleep(0.01)

    def _session(self, tokens: Iterator[str]) -> None:
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=20) as connection,
            connection.makefile("rwb") as stream,
        ):
            _expect(stream, b"220")
            _say(stream, b"EHLO load.example\r\n")
            _expect(stream, b"250")
            while not self._stop.is_set():
                self._send(stream, next(tokens))

    def _send(self, stream: io.BufferedRWPair, token: str) -> None:
        _say(stream, f"MAIL FROM:<app@example.com>\r\nRCPT TO:<{LOCAL}>\r\nRCPT TO:<{FOREIGN}>\r\nDATA\r\n".encode())
        for code in (b"250", b"250", b"250", b"354"):
            _expect(stream, code)
        _say(stream, self._message(token))
        reply = _expect(stream, b"250")
        self.acknowledged[token] = reply.rpartition(" ")[2]

    def _message(self, token: str) -> bytes:
        large = int(token.partition("-")[2]) % self._large_every == 0
        body = b"0123456789 abcdefghijklmnopqrstuvwxyz\r\n" * (_LARGE // 39 if large else 30)
        head = f"From: <app@example.com>\r\nSubject: {token}\r\nMessage-ID: <{token}@load.example>\r\n\r\n"
        return head.encode() + body + b".\r\n"


def _say(stream: io.BufferedRWPair, data: bytes) -> None:
    stream.write(data)
    stream.flush()


def _expect(stream: io.BufferedRWPair, code: bytes) -> str:
    """The last line of a reply; ConnectionError if it is another one or none."""
    while (line := stream.readline())[3:4] == b"-":
        pass
    if not line.startswith(code):
        raise ConnectionError(f"{line!r} in the place of {code!r}")
    return line.decode().strip()


class Recipient(NamedTuple):
    """One acknowledged recipient as the relay's database has it, and how often it was seen where it was to go."""

    message: str
    address: str
    state: str
    seen: int
    flagged: bool


@dataclass(slots=True)
class Ledger:
    """What became of every (message, recipient) that was answered 250.

    ``restarts`` are seconds until it served again, ``kills`` counts the kills by what it was about, ``dots_in_flight`` the
    deliveries that the next hop had taken at a kill and the relay had not recorded: so many may arrive twice, and no more.
    """

    recipients: list[Recipient] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    dots_in_flight: int = 0

    def count(self, state: str) -> int:
        """Recipients in one state."""
        return sum(recipient.state == state for recipient in self.recipients)

    @property
    def lost(self) -> list[Recipient]:
        """Acknowledged, and neither in the queue nor held nor bounced nor seen at its destination."""
        kept = {"queued", "deferred", "held", "bounced"}
        return [recipient for recipient in self.recipients if not recipient.seen and recipient.state not in kept]

    @property
    def duplicates(self) -> list[Recipient]:
        """Delivered more than once."""
        return [recipient for recipient in self.recipients if recipient.seen > 1]

    @property
    def good(self) -> bool:
        """Nothing lost; what arrived twice was on its way at a kill, and says so."""
        flagged = all(recipient.flagged for recipient in self.duplicates)
        return not self.lost and flagged and len(self.duplicates) <= self.dots_in_flight

    def summary(self) -> dict[str, float]:
        """The figures."""
        return {
            "cycles": self.kills.total(),
            "acknowledged": len(self.recipients),
            "delivered": sum(recipient.seen > 0 for recipient in self.recipients),
            "queued": self.count("queued") + self.count("deferred"),
            "held": self.count("held"),
            "bounced": self.count("bounced"),
            "lost": len(self.lost),
            "duplicates": len(self.duplicates),
            "duplicates_flagged": sum(recipient.flagged for recipient in self.duplicates),
            "dots_in_flight": self.dots_in_flight,
            **{f"killed_{what}": self.kills[what] for what in MOMENTS},
            "slowest_restart_seconds": round(max(self.restarts, default=0.0), 2),
        }


def run_cycles(folder: Path, cycles: int, dice: random.Random) -> Ledger:
    """Kill a relay ``cycles`` times under load (kill -9, all of it), let it come to rest, and draw up the ledger."""
    port = _steady_port(dice)
    with RecordingSink() as sink:
        config = _CONFIG.replace("RELAY", str(port)).replace("SINK", str(sink.port))
        run = _Run(RunningRelay(folder, config, certificate=False), sink, dice)
        run.relay.start()
        try:
            with Load(port) as load:
                while run.ledger.kills.total() < cycles:
                    run.cycle(load, dice.choice(MOMENTS))
            database = run.relay.data / "postlatch.db"
            with contextlib.suppress(TimeoutError):  # what still waits is in the ledger as queued
                wait_until(lambda: not _unfinished(database), 30, "the queue to empty")
        finally:
            run.relay.stop()
        run.ledger.recipients = _recipients(load.acknowledged, database, _in_maildir(run.relay), Counter(sink.subjects))
    return run.ledger


class _Run:
    """A relay that runs, and how it is killed."""

    def __init__(self, relay: RunningRelay, sink: RecordingSink, dice: random.Random) -> None:
        self.relay = relay
        self.ledger = Ledger()
        self._sink = sink
        self._dice = dice

    def cycle(self, load: Load, moment: str) -> None:
        """Kill it once, at such a moment, and start it."""
        _wait_for_mail(load)
        if moment == "under_load":
            time.sleep(self._dice.uniform(0, 0.6))
        elif moment == "in_delivery":
            before = len(self._sink.subjects)
            wait_until(lambda: len(self._sink.subjects) > before, 20, "a delivery")
        else:
            self._kill("under_load")
            self._begin_to_start()
        self._kill(moment)
        began = time.monotonic()
        self.relay.start()
        self.ledger.restarts.append(time.monotonic() - began)

    def _begin_to_start(self) -> None:
        """Start it and wait for no answer: it is somewhere between its first line and its first delivery, or just ready."""
        usual = max(self.ledger.restarts, default=2.0)
        self.relay.launch()
        time.sleep(self._dice.uniform(0, min(usual, 3.0)))

    def _kill(self, moment: str) -> None:
        self.relay.kill()
        self.ledger.kills[moment] += 1
        wait_until(self._sink.at_rest, 20, "the sink to read what was on its way")
        recorded = _delivered(self.relay.data / "postlatch.db")
        self.ledger.dots_in_flight += max(0, len(set(self._sink.subjects)) - recorded)


def _steady_port(dice: random.Random) -> int:
    """A free port that the kernel gives to no client: one that kept trying could otherwise connect to itself."""
    while True:
        port = dice.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _wait_for_mail(load: Load) -> None:
    before = len(load.acknowledged)
    wait_until(lambda: len(load.acknowledged) > before, 20, f"mail to flow: {load.troubles}")


def _unfinished(database: Path) -> bool:
    time.sleep(0.1)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        sql = "SELECT EXISTS (SELECT 1 FROM recipients WHERE state IN ('queued', 'deferred'))"
        return bool(connection.execute(sql).fetchone()[0])


def _delivered(database: Path) -> int:
    """Recipients at the next hop that are recorded as delivered."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        sql = "SELECT count(*) FROM recipients WHERE address = ? AND state = 'delivered'"
        return int(connection.execute(sql, (FOREIGN,)).fetchone()[0])


def _in_maildir(relay: RunningRelay) -> Counter[str]:
    found = Counter[str]()
    for path in relay.maildir(LOCAL):
        with path.open("rb") as file:
            match = _SUBJECT.search(file.read(4096))
        found[match[1].decode() if match else str(path)] += 1
    return found


def _recipients(acknowledged: dict[str, str], database: Path, local: Counter[str], foreign: Counter[str]) -> list[Recipient]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT message, address, state, possible_duplicate FROM recipients").fetchall()
    known = {(message, address): (state, bool(flag)) for message, address, state, flag in rows}
    found = []
    for token, message in acknowledged.items():
        for address, seen in ((LOCAL, local), (FOREIGN, foreign)):
            state, flagged = known.get((parse_id(message), address), ("missing", False))
            found.append(Recipient(message, address, state, seen[token], flagged))
    return found
