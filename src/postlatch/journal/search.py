"""Searching: everything about one message, account, address or client, newest first found, told oldest first."""

from __future__ import annotations

import ipaddress
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from postlatch.journal.chain import Batch
from postlatch.journal.codec import Record, key, to_json
from postlatch.journal.read import PAGE, lines_of, records, span
from postlatch.model.events import EVENTS

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Event numbers that one statement may walk over: a tenth of a second at most, so that no read transaction gets long.
_WINDOW = 100_000

_FLOOD = key("event", "refusals.aggregated")

_MATCHING = """
SELECT first_seq, last_seq, batch, segment, day, writer, first_at, last_at,
    segment_first_seq, segment_first_at, segment_last_at, hash, NULL, payload
FROM journal_batches
WHERE first_seq BETWEEN :low AND :high AND last_at >= :since AND first_at < :until
    AND (:event IS NULL OR instr(keys, :event))
    AND (:message IS NULL OR instr(keys, :message))
    AND (:account IS NULL OR instr(keys, :account))
    AND (:client IS NULL OR instr(keys, :client) OR instr(keys, :flood))
    AND (:sender IS NULL OR instr(keys, :sender) OR instr(keys, :recipient))
ORDER BY first_seq DESC LIMIT :page
"""


@dataclass(frozen=True)
class Query:
    """What to look for; all that is given must hold, and an empty string is not given.

    ``message`` is an id as text, ``address`` a sender or recipient, ``client`` an IP address or a network (``192.0.2.0/24``),
    ``event`` a name or a family of names (``delivery``), ``text`` a part of the record in any (ASCII) case. Times are seconds
    since 1970: ``since <= at < until``. ValueError for a client that is no address and an event that does not exist.
    """

    message: str = ""
    account: str = ""
    address: str = ""
    client: str = ""
    event: str = ""
    text: str = ""
    since: float = -math.inf
    until: float = math.inf

    def __post_init__(self) -> None:
        if self.client and self._network is None:
            raise ValueError(f"not an address or network: {self.client!a}")
        if self.event and not self._events:
            raise ValueError(f"there is no event {self.event!a}")

    @cached_property
    def _network(self) -> _Network | None:
        try:
            return ipaddress.ip_network(self.client, strict=False)
        except ValueError:
            return None

    @cached_property
    def _events(self) -> frozenset[str]:
        return frozenset(name for name in EVENTS if name == self.event or name.startswith(f"{self.event}."))

    @cached_property
    def _needle(self) -> str:
        return to_json(self.text)[1:-1].lower()

    def matches(self, record: Record) -> bool:
        """Whether one record (as ``read`` gives them) is asked for."""
        return (
            self.since <= record["at"] < self.until
            and (not self.event or record["event"] in self._events)
            and (not self.message or _has(record, self.message, "message"))
            and (not self.account or _has(record, self.account, "account"))
            and (not self.address or _has(record, self.address, "sender", "recipient"))
            and (not self.client or self._from_client(record.get("client")))
            and (not self.text or self._needle in to_json(record).lower())
        )

    def _from_client(self, client: object) -> bool:
        try:  # of a flood or a ban the event names a network
            return self._network is not None and _overlap(self._network, ipaddress.ip_network(str(client)))
        except ValueError:
            return False

    def may_be_in(self, lines: bytes) -> bool:
        """Whether ``text`` is somewhere in a batch: a look that costs a tenth of unpacking it."""
        return self._needle.encode() in lines.lower()

    def keys(self) -> dict[str, bytes | None]:
        """The search keys that a batch must hold; None where any will do."""
        network = self._network
        single = network is not None and network.num_addresses == 1
        return {
            "event": key("event", self.event) if self.event in EVENTS else None,
            "message": key("message", self.message) if self.message else None,
            "account": key("account", self.account) if self.account else None,
            "client": key("client", str(network.network_address)) if network is not None and single else None,
            "flood": _FLOOD,  # tells of clients by their network
            "sender": key("sender", self.address) if self.address else None,
            "recipient": key("recipient", self.address) if self.address else None,
        }


def _overlap(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _has(record: Record, wanted: str, *fields: str) -> bool:
    """Whether one of the fields is ``wanted`` (or a list with it), without case."""
    wanted = wanted.lower()
    for field in fields:
        value = record.get(field)
        values = value if isinstance(value, list) else (value,)
        if any(isinstance(inner, str) and inner.lower() == wanted for inner in values):
            return True
    return False


def search(connection: sqlite3.Connection, query: Query, limit: int) -> list[Record]:
    """The newest ``limit`` records that match, oldest first. JournalDamaged if a batch cannot be unpacked."""
    found: list[Record] = []
    for batch in _newest_batches(connection, query):
        if query.text and not query.may_be_in(lines_of(batch)):
            continue
        found.extend(filter(query.matches, reversed(records(batch))))
        if len(found) >= limit:
            break
    return found[:limit][::-1]


def tail(connection: sqlite3.Connection, count: int) -> list[Record]:
    """The last ``count`` records, oldest first. To follow, go on with ``read`` behind the last one's ``seq``."""
    return search(connection, Query(), count)


def _newest_batches(connection: sqlite3.Connection, query: Query) -> Iterator[Batch]:
    low, high = span(connection, query.since, query.until)
    parameters = query.keys() | {"since": query.since, "until": query.until, "page": PAGE}
    while high >= low:
        floor = max(low, high - _WINDOW + 1)
        rows = connection.execute(_MATCHING, parameters | {"low": floor, "high": high}).fetchall()
        yield from map(Batch._make, rows)
        high = rows[-1][0] - 1 if len(rows) == PAGE else floor - 1
