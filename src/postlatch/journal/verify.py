"""Checking everything again: each batch against its hash and its neighbours, each segment against its seal, and the clock.

Failures are what no honest relay writes; findings are worth reading. A chain without a secret shows every change by somebody
who does not compute all that follows anew. Against somebody who does, and against an end that was cut off, compare heads that
were exported earlier.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from postlatch.journal.chain import START, Batch, Head, Segment, batch_hash, segment_seal
from postlatch.journal.codec import Record, unpack
from postlatch.journal.read import batches, head
from postlatch.journal.times import when
from postlatch.journal.timewatch import TimeWatch

_MAX_LISTED = 100  # failures; the rest is counted

_SEGMENTS = """
SELECT segment, day, writer, first_seq, last_seq, last_batch, first_at, last_at, closed_at, head, seal, pruned_at
FROM journal_segments ORDER BY segment
"""
_RECENT = """
SELECT min(first_seq) FROM (SELECT first_seq FROM journal_batches WHERE first_seq > ? ORDER BY first_seq DESC LIMIT ?)
"""
_HASH_BEFORE = "SELECT hash FROM journal_batches WHERE first_seq < ? ORDER BY first_seq DESC LIMIT 1"
_IS_PRUNED = "SELECT 1 FROM journal_segments WHERE segment = ? AND pruned_at IS NOT NULL"
# In a STRICT table a column holds its type and nothing else; somebody who made another table may have left anything in it.
_STRICT = "SELECT count(*) FROM pragma_table_list WHERE strict AND name IN ('journal_batches', 'journal_segments')"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome: ``ok`` means no failures. ``batches`` and ``events`` were checked; the sentences are for people."""

    ok: bool
    batches: int
    events: int
    findings: tuple[str, ...]
    failures: tuple[str, ...]
    head: Head | None
    keyed: frozenset[str] = frozenset()  # names of the keys that events say were made
    begin: float | None = None  # when the first event that was read happened

    def with_more(self, findings: Iterable[str], failures: Iterable[str]) -> VerifyReport:
        """The same, with what others found."""
        every = (*self.failures, *failures)
        return replace(self, ok=not every, findings=(*self.findings, *findings), failures=every)


def verify(
    connection: sqlite3.Connection,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    heads: Iterable[Head] = (),
) -> VerifyReport:
    """Check the whole journal, also while the relay writes; what is appended meanwhile is not looked at.

    Reads page by page: give it a connection in autocommit. ``on_progress(done, total)`` counts events. ``heads`` were exported
    earlier and must still be part of the chain. Damage in the database never raises: it is a failure in the report.
    """
    check = _Check(connection, on_progress, _by_seq(heads))
    return _finished(check, check.run)


def verify_recent(
    connection: sqlite3.Connection,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    heads: Iterable[Head] = (),
    *,
    events: int = 50_000,
    batches: int = 2000,
) -> VerifyReport:
    """Check the newest batches only, up to one of both bounds: what a relay can do every few minutes beside its work."""
    check = _Check(connection, on_progress, _by_seq(heads))
    return _finished(check, lambda: check.run_recent(events, batches))


def _by_seq(heads: Iterable[Head]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for known in heads:
        found.setdefault(known.seq, set()).add(known.hash)
    return found


def _finished(check: _Check, run: Callable[[], None]) -> VerifyReport:
    try:
        run()
    except (sqlite3.DatabaseError, TypeError, struct.error) as error:
        check.fail(f"The journal cannot be read to its end ({error}): restore a backup.")
    return check.report()


@dataclass(slots=True)
class _Check:
    """One run. ``link``, ``seq`` and ``batch`` are what the next batch must continue; no link: the batch before is missing."""

    connection: sqlite3.Connection
    on_progress: Callable[[int, int], None]
    heads: dict[int, set[str]]  # hashes that are known from elsewhere, by the event at which they end
    link: bytes | None = START
    seq: int = 0
    batch: int = 0
    batches: int = 0
    events: int = 0
    total: int = 0
    end: Head | None = None
    pruned: Segment | None = None
    pruned_by_event: int = 0  # the highest segment that a journal.pruned event names
    begin: float | None = None
    keyed: set[str] = field(default_factory=set)  # keys that journal.keyed events name
    time: TimeWatch = field(default_factory=TimeWatch)
    findings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def fail(self, sentence: str) -> None:
        self.failures.append(sentence)

    def report(self) -> VerifyReport:
        failures = [*self.failures, *self.time.end()]
        more = len(failures) - _MAX_LISTED
        listed = failures[:_MAX_LISTED] + ([f"And {more} more."] if more > 0 else [])
        findings = (*self.findings, *self.time.findings)
        return VerifyReport(
            not failures, self.batches, self.events, findings, tuple(listed), self.end, frozenset(self.keyed), self.begin
        )

    def run(self) -> None:
        segments = self._begin()
        if segments is None:
            return
        if self.end is None:
            self.findings.append("The journal is empty.")
        else:
            self.total = self.end.seq - sum(segment.events for segment in segments if segment.pruned_at is not None)
        seal = START
        for number, segment in enumerate(segments, 1):
            seal = self._segment(segment, number, seal)
        if self.end is not None and self.end.seq > self.seq:
            self.link = seal
            self._walk(self.seq + 1, self.end.seq, len(segments) + 1)
            self._missing_before(self.end.seq + 1)
        self._pruned_on_record()
        self._known_heads()

    def run_recent(self, events: int, most: int) -> None:
        segments = self._begin()
        if segments is None or self.end is None:
            return
        first_seq = self.connection.execute(_RECENT, (self.end.seq - events, most)).fetchone()[0]
        first = next(batches(self.connection, first_seq, first_seq), None) if first_seq is not None else None
        if first is None:
            return  # nothing recent: all of it is pruned
        before = [segment for segment in segments if segment.segment < first.segment]
        seal = before[-1].seal if before else START
        self.link, self.seq, self.batch = self._link_before(first, seal), first.first_seq - 1, first.batch - 1
        # Older heads belong to a part that is not looked at now.
        self.heads = {seq: hashes for seq, hashes in self.heads.items() if seq >= first.first_seq}
        self.total = self.end.seq - self.seq
        for segment in segments[len(before) :]:
            problem = self._segment_problem(segment, segment.segment, seal)
            problem = self._segment_batches(segment, self.seq + 1) or problem
            if problem:
                self.fail(f"Segment {segment.segment}, closed {when(segment.closed_at)}: {problem}")
            seal = self.link = segment.seal
        if self.end.seq > self.seq:
            self._walk(self.seq + 1, self.end.seq, len(segments) + 1)
            self._missing_before(self.end.seq + 1)
        self._known_heads()

    def _begin(self) -> list[Segment] | None:
        """Look where the chain ends; the closed segments. None if there is nothing that could be checked."""
        if self.connection.execute(_STRICT).fetchone() != (2,):
            self.fail("The tables of the journal are not those that Postlatch made.")
            return None
        # In this order: a segment that is closed between the two reads is then simply checked as closed.
        self.end = head(self.connection)
        return [Segment._make(row) for row in self.connection.execute(_SEGMENTS)]

    def _link_before(self, first: Batch, seal: bytes) -> bytes | None:
        """What ``first`` must link to: the batch before it, or the seal of the segment before its own."""
        if first.first_seq == first.segment_first_seq:
            return seal
        row = self.connection.execute(_HASH_BEFORE, (first.first_seq,)).fetchone()
        return None if row is None else bytes(row[0])

    # Segments

    def _segment(self, segment: Segment, number: int, seal_before: bytes) -> bytes:
        """Check one closed segment and its batches; its seal, to which the next one links."""
        problem = self._segment_problem(segment, number, seal_before)
        if segment.pruned_at is not None:
            self._skip(segment, problem)
        else:
            self.link = seal_before
            problem = self._segment_batches(segment) or problem
        if problem:
            self.fail(f"Segment {segment.segment}, closed {when(segment.closed_at)}: {problem}")
        return segment.seal

    def _segment_problem(self, segment: Segment, number: int, seal_before: bytes) -> str:
        if segment.segment != number:
            return f"the row of segment {number} is missing before it."
        if segment_seal(seal_before, segment) != segment.seal:
            return "its row was changed: the seal does not match."
        return ""

    def _skip(self, segment: Segment, problem: str) -> None:
        """A pruned segment: only its row is left, and the next batch links to that."""
        if not problem and self.batches:
            self.fail(f"Segment {segment.segment} is marked as pruned, but an older one is still there.")
        self.pruned = segment
        self._compare_head(segment.last_seq, segment.head)
        self.link, self.seq, self.batch = segment.seal, segment.last_seq, segment.last_batch

    def _segment_batches(self, segment: Segment, first_seq: int = 0) -> str:
        """Check a closed segment's batches, from ``first_seq`` on, against each other; what is wrong with its row, if any."""
        before = len(self.failures)
        last = self._walk(max(first_seq, segment.first_seq), segment.last_seq, segment.segment)
        self._missing_before(segment.last_seq + 1)
        if len(self.failures) > before and self.connection.execute(_IS_PRUNED, (segment.segment,)).fetchone():
            del self.failures[before:]  # it was pruned while we read it
            self.link, self.seq, self.batch = segment.seal, segment.last_seq, segment.last_batch
            return ""
        self.batch = segment.last_batch
        if last is None or last.last_seq != segment.last_seq:
            return ""  # already told: its end is missing
        extent = (last.segment_first_seq, last.segment_first_at, last.segment_last_at, last.batch)
        if extent != (segment.first_seq, segment.first_at, segment.last_at, segment.last_batch):
            return "its row does not say what its last batch says."
        return "" if last.hash == segment.head else "its head is not the hash of its last batch."

    # Batches

    def _walk(self, first_seq: int, last_seq: int, segment: int) -> Batch | None:
        """Check the batches of a range of events; the last of them."""
        batch = None
        for batch in batches(self.connection, first_seq, last_seq):
            self._batch(batch, segment)
            self.on_progress(self.events, self.total)
        return batch

    def _batch(self, batch: Batch, segment: int) -> None:
        self._missing_before(batch.first_seq)
        problem = self._batch_problem(batch, segment)
        if problem:
            self.fail(f"Batch {batch.batch} (events {batch.first_seq} to {batch.last_seq}, {when(batch.first_at)}): {problem}")
        self._compare_head(batch.last_seq, batch.hash)
        self.link, self.seq, self.batch = batch.hash, batch.last_seq, batch.batch
        self.batches += 1

    def _missing_before(self, seq: int) -> None:
        if seq > self.seq + 1:
            self.fail(f"Events {self.seq + 1} to {seq - 1} are missing.")
            self.link, self.seq = None, seq - 1

    def _batch_problem(self, batch: Batch, segment: int) -> str:
        """The first thing that is wrong with a batch. Its events are judged by time even so."""
        try:
            lines = batch.lines()
            events = unpack(lines)
        except ValueError as error:
            return f"it was changed or damaged: {error}."
        self._events(events)
        if self.link is not None and batch_hash(self.link, batch, lines) != batch.hash:
            return "it was changed or put in another place: its hash does not match."
        if len(events) != batch.events or any(event["seq"] != seq for seq, event in enumerate(events, batch.first_seq)):
            return "the events in it are not those that it names."
        if self.link is not None and batch.batch != self.batch + 1:
            return f"batch {self.batch + 1} was to come here."
        if batch.segment != segment:
            return f"it belongs to segment {batch.segment}, but segment {segment} is still open."
        return ""

    def _events(self, events: list[Record]) -> None:
        self.events += len(events)
        if self.begin is None and events:
            self.begin = events[0]["at"]
        for event in events:
            name = event["event"]
            self.time.feed(event["seq"], event["at"], name)
            if name == "journal.pruned" and type(event.get("last_segment")) is int:
                self.pruned_by_event = max(self.pruned_by_event, event["last_segment"])
            elif name == "journal.keyed":
                self.keyed.add(str(event.get("key")))

    # What lies outside the chain

    def _pruned_on_record(self) -> None:
        if self.pruned is None:
            return
        self.findings.append(f"Segments 1 to {self.pruned.segment} are pruned; their heads are kept.")
        if self.pruned.segment > self.pruned_by_event:
            self.fail(f"Segment {self.pruned.segment} is marked as pruned, but no event says that it was.")

    def _compare_head(self, seq: int, digest: bytes) -> None:
        known = self.heads.pop(seq, None)
        if known is not None and known != {digest.hex()}:
            self.fail(f"The head that was exported at event {seq} is not the hash of the batch that ends there.")

    def _known_heads(self) -> None:
        end = self.end.seq if self.end else 0
        pruned = [] if self.pruned is None else [seq for seq in self.heads if seq <= self.pruned.last_seq]
        if len(pruned) == 1:
            self.findings.append(f"The head of event {pruned[0]} cannot be compared any more: that segment is pruned.")
        elif pruned:
            self.findings.append(f"{len(pruned)} heads cannot be compared any more: their segments are pruned.")
        for seq in sorted(self.heads.keys() - set(pruned)):
            if seq > end:
                self.fail(f"The journal ends at event {end}, but a head of event {seq} was exported: its end was cut off.")
            else:
                self.fail(f"No batch ends at event {seq}, of which a head was exported.")
