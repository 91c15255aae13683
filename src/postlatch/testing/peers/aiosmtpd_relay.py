"""The program that ``peers.aiosmtpd`` runs in an environment which has aiosmtpd, and not this package.

aiosmtpd_relay.py PORT NEXT-HOP-PORT DATABASE; without deliveries if the next hop is 0.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import smtplib
import sqlite3
import sys
import threading
from typing import Any

_SENDERS = 4
_Job = tuple[int, str, list[str], bytes]


class _Store:
    """One connection, one commit a message: durable, and nothing is shared between messages."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("CREATE TABLE IF NOT EXISTS mail (id INTEGER PRIMARY KEY, sender, recipients, body)")

    def add(self, sender: str, recipients: list[str], body: bytes) -> int:
        with self._lock, self._database:
            row = (sender, ",".join(recipients), body)
            done = self._database.execute("INSERT INTO mail (sender, recipients, body) VALUES (?, ?, ?)", row)
        return int(done.lastrowid or 0)

    def drop(self, number: int) -> None:
        with self._lock, self._database:
            self._database.execute("DELETE FROM mail WHERE id = ?", (number,))


class _Handler:
    """aiosmtpd calls its methods by name."""

    def __init__(self, store: _Store, jobs: queue.SimpleQueue[_Job] | None) -> None:
        self._store, self._jobs = store, jobs

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        number = self._store.add(envelope.mail_from, envelope.rcpt_tos, envelope.content)
        if self._jobs is not None:
            self._jobs.put((number, envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return f"250 2.0.0 queued as {number}"


def _send(store: _Store, jobs: queue.SimpleQueue[_Job], port: int) -> None:
    connection = smtplib.SMTP("127.0.0.1", port)
    while True:
        number, sender, recipients, body = jobs.get()
        try:
            connection.sendmail(sender, recipients, body)
        except smtplib.SMTPServerDisconnected:
            connection = smtplib.SMTP("127.0.0.1", port)
            connection.sendmail(sender, recipients, body)
        store.drop(number)


def _main(port: int, next_hop: int, database: str) -> None:
    from aiosmtpd.controller import Controller  # type: ignore[import-not-found]  # noqa: PLC0415  (in its own environment)

    store = _Store(database)
    jobs: queue.SimpleQueue[_Job] | None = queue.SimpleQueue() if next_hop else None
    if jobs is not None:
        for _ in range(_SENDERS):
            threading.Thread(target=_send, args=(store, jobs, next_hop), daemon=True).start()
    controller = Controller(_Handler(store, jobs), hostname="127.0.0.1", port=port)
    controller.start()
    with contextlib.suppress(KeyboardInterrupt):
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    controller.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
