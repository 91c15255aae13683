"""What is counted a day at a time and told to its domain when the day is over; and whom it was told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from postlatch.store.merging import parts
from postlatch.store.writer import Operation

_REMEMBERED: Final = 30  # days for which is known what was sent


class DailyTable(NamedTuple):
    """Two tables of one form: ``seen`` (day, domain, …, a number) and ``sent`` (day, domain, recipient, at).

    ``keys`` are the columns of ``seen`` by which entries are alike, day and domain first; ``number`` is the one that counts.
    Beyond ``rows_a_day`` only what is there already is counted on. The names are of this program, so they may stand in SQL.
    """

    seen: str
    sent: str
    keys: tuple[str, ...]
    number: str
    rows_a_day: int

    def add(self, entries: Iterable[tuple[Any, ...]]) -> Operation[int]:
        """Count rows as they stand in ``seen``; how many were left out because their day is full. Twice counts twice."""
        kept = tuple(entries)

        def run(connection: sqlite3.Connection) -> int:
            by_day: dict[int, list[tuple[Any, ...]]] = {}
            for entry in kept:
                by_day.setdefault(entry[0], []).append(entry)
            return sum(self._add_day(connection, day, entries) for day, entries in by_day.items())

        return run

    def _add_day(self, connection: sqlite3.Connection, day: int, entries: Sequence[tuple[Any, ...]]) -> int:
        number = self.number
        count = f"SELECT count(*) FROM {self.seen} WHERE day = ?"  # noqa: S608 - see the class
        rows: int = connection.execute(count, (day,)).fetchone()[0]
        if rows + len(entries) <= self.rows_a_day:
            for part in parts(entries):
                row = f"({', '.join('?' * len(part[0]))})"
                insert = f"INSERT INTO {self.seen} VALUES {', '.join([row] * len(part))} "  # noqa: S608 - see the class
                connection.execute(
                    f"{insert} ON CONFLICT DO UPDATE SET {number} = {number} + excluded.{number}",
                    list(chain.from_iterable(part)),
                )
            return 0
        alike = " AND ".join(f"{key} = ?" for key in self.keys)
        update = f"UPDATE {self.seen} SET {number} = {number} + ? WHERE {alike}"  # noqa: S608 - see the class
        keys = len(self.keys)
        return sum(not connection.execute(update, (entry[-1], *entry[:keys])).rowcount for entry in entries)

    def waiting(self, connection: sqlite3.Connection, before: int) -> list[tuple[int, str]]:
        """(day, domain) of what is to be reported of days before ``before``, the oldest first."""
        sql = f"SELECT DISTINCT day, domain FROM {self.seen} WHERE day < ? ORDER BY day, domain"  # noqa: S608 - see the class
        return [(day, domain) for day, domain in connection.execute(sql, (before,))]

    def sent_to(self, connection: sqlite3.Connection, day: int, domain: str) -> frozenset[str]:
        """Whom the report of that day about that domain has gone to."""
        sql = f"SELECT recipient FROM {self.sent} WHERE day = ? AND domain = ?"  # noqa: S608 - see the class
        return frozenset(recipient for (recipient,) in connection.execute(sql, (day, domain)))

    def note_sent(self, day: int, domain: str, recipient: str, at: float) -> Operation[None]:
        """The report is in the queue for ``recipient``: run it in the same transaction."""

        def run(connection: sqlite3.Connection) -> None:
            sql = f"INSERT OR REPLACE INTO {self.sent} VALUES (?, ?, ?, ?)"  # noqa: S608 - see the class
            connection.execute(sql, (day, domain, recipient, at))

        return run

    def forget(self, day: int, domain: str) -> Operation[None]:
        """All is reported, or nobody wants it: drop what was seen, and what was sent long ago."""

        def run(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM {self.seen} WHERE day = ? AND domain = ?", (day, domain))  # noqa: S608 - see the class
            connection.execute(f"DELETE FROM {self.sent} WHERE day < ?", (day - _REMEMBERED,))  # noqa: S608 - see the class

        return run
