"""What the journal's tests share: a database with the real schema, events like those of a working day, an attacker's hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from postlatch.journal.seal import Sealer
from postlatch.model.events import Event, JsonValue
from postlatch.store import schema
from postlatch.testing.clock import FakeClock

DAY = 86_400.0
MIDNIGHT = 1_767_225_600.0  # 2026-01-01T00:00:00Z, where the FakeClock starts
HOSTILE = 'x\r\n250 OK\x1b[31m\x7f\x00\u202e"},{"seq":1,"at":0\n<script>\ud800'


def database() -> sqlite3.Connection:
    """An empty database in memory, in autocommit as the writer's is."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(connection)
    return connection


class Journal:
    """A database, its sealer and its clock. One second passes with every event."""

    def __init__(self, connection: sqlite3.Connection | None = None, writer: str = "relay") -> None:
        self.db = connection or database()
        self.clock = FakeClock()
        self.sealer = Sealer(writer, self.clock)

    def event(self, name: str = "message.accepted", **fields: JsonValue) -> Event:
        """The next event, one second later."""
        self.clock.advance(1)
        return Event(name, self.clock.now(), fields)

    def seal(self, *events: Event) -> None:
        """Commit one batch."""
        self.db.execute("BEGIN")
        self.sealer.seal(self.db, events)
        self.db.execute("COMMIT")

    def write(self, *batches: int) -> None:
        """Commit batches of so many events each, of made-up mail."""
        for size in batches:
            self.seal(*[self._mail(i) for i in range(size)])

    def _mail(self, i: int) -> Event:
        sender, recipient = f"a{i}@example.com", f"b{i}@elsewhere.example"
        return self.event(
            message=f"M{int(self.clock.now())}", client=f"198.51.100.{i % 250}", sender=sender, recipient=recipient
        )

    def next_day(self) -> None:
        """Let the clock run to ten seconds after the next midnight."""
        now = self.clock.now()
        self.clock.advance(DAY - now % DAY + 10)

    def days(self, count: int, batches: Sequence[int] = (3, 1, 2)) -> None:
        """So many days of mail; all but the last end up in closed segments."""
        for day in range(count):
            if day:
                self.next_day()
            self.write(*batches)

    def tamper(self, sql: str, *parameters: object) -> None:
        """Change rows as somebody does who owns the file: without asking the triggers, and putting them back."""
        triggers = self.db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            self.db.execute(f"DROP TRIGGER {name}")
        self.db.execute(sql, parameters)
        for _, statement in triggers:
            self.db.execute(statement)

    def on_payload(self, first_seq: int, change: Callable[[bytes], bytes]) -> None:
        """Change the payload of the batch that begins with an event."""
        (payload,) = self.db.execute("SELECT payload FROM journal_batches WHERE first_seq = ?", (first_seq,)).fetchone()
        self.tamper("UPDATE journal_batches SET payload = ? WHERE first_seq = ?", change(payload), first_seq)
