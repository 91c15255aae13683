"""The ledger of a relay that is killed again and again under load: what became of everything that it has acknowledged.

Nobody's word is taken: that a recipient was delivered must be seen in the Maildir or at the next hop, not in the relay's own
database. For the test of durability and for ``benchmarks/kill_ledger.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import socket
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from postlatch.model.ids import parse_id
from postlatch.testing.peers.ports import free_port, wait_until
from postlatch.testing.peers.recorder import RecordingSink
from postlatch.testing.running import RunningRelay

LOCAL = "bob@example.com"
FOREIGN = "someone@elsewhere.example"
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
    """

    def __init__(self, port: int, clients: int = 4, large_every: int = 50) -> None:
        self.acknowledged: dict[str, str] = {}
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
            with contextlib.suppress(OSError):
                self._session(tokens)
            time.sleep(0.01)

    def _session(self, tokens: itertools.chain[str] | object) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=20) as connection:
            stream = connection.makefile("rb")
            with stream:
                _expect(stream, b"220")
                connection.sendall(b"EHLO load.example\r\n")
                _expect(stream, b"250")
                while not self._stop.is_set():
                    self._send(connection, stream, next(tokens))  # type: ignore[call-overload]
