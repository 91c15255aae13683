"""What is hashed, in one place for the writer and the verifier, so that anybody can write a third.

::

    hash of a batch   = SHA-256(link + "postlatch.journal/1 batch\\0" + header + writer + keys + lines)
    seal of a segment = SHA-256(link + "postlatch.journal/1 segment\\0" + header + writer + head)

``link`` is 32 zero bytes at the very start, else the hash of the batch before; the first batch of a segment links to the seal
of the segment before, and a seal links to the seal before it. Headers are big-endian 64-bit integers and IEEE doubles in the
order of ``_batch_header`` and ``_segment_header``; texts are UTF-8. ``lines`` are the uncompressed JSON lines, so that they may
be compressed in another way one day without breaking the chain.

A database is written by one relay at a time, so it holds one chain; a writer with another name goes on where the last one
ended, in a segment of its own, and nothing can be cut out between the two.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from postlatch.journal.codec import decompress
from postlatch.model.digest import sha256

SCHEMA: Final = "postlatch.journal/1"
START: Final = bytes(32)
SECONDS_A_DAY: Final = 86_400

_BATCH_TAG: Final = f"{SCHEMA} batch\0".encode()
_SEGMENT_TAG: Final = f"{SCHEMA} segment\0".encode()
_pack_batch = struct.Struct(">8q4d").pack
_pack_segment = struct.Struct(">6q3d").pack


class Batch(NamedTuple):
    """One row of ``journal_batches``, columns in the table's order. Times in seconds since 1970, ``day`` in days."""

    first_seq: int
    last_seq: int
    batch: int
    segment: int
    day: int
    writer: str
    first_at: float
    last_at: float
    segment_first_seq: int
    segment_first_at: float
    segment_last_at: float
    hash: bytes
    keys: bytes
    payload: bytes

    @property
    def events(self) -> int:
        """How many events the row says it holds."""
        return self.last_seq - self.first_seq + 1

    def lines(self) -> bytes:
        """The JSON lines; ValueError if the payload is damaged."""
        return decompress(self.payload)


class Segment(NamedTuple):
    """One row of ``journal_segments``: a closed segment.

    ``head`` is the hash of its last batch, ``closed_at`` never before ``last_at``, ``pruned_at`` set once its batches may go.
    """

    segment: int
    day: int
    writer: str
    first_seq: int
    last_seq: int
    last_batch: int
    first_at: float
    last_at: float
    closed_at: float
    head: bytes
    seal: bytes
    pruned_at: float | None

    @property
    def events(self) -> int:
        """How many events it held."""
        return self.last_seq - self.first_seq + 1


class Head(NamedTuple):
    """Where the chain ends: what to export and keep elsewhere. ``hash`` in hexadecimal, ``at`` of the latest event."""

    seq: int
    hash: str
    batch: int
    segment: int
    writer: str
    at: float


def batch_hash(link: bytes, batch: Batch, lines: bytes) -> bytes:
    """The hash that ``batch`` must carry (its own ``hash`` and ``payload`` are not looked at)."""
    writer = batch.writer.encode()
    return sha256(b"".join((link, _BATCH_TAG, _batch_header(batch, len(writer)), writer, batch.keys, lines)))


def _batch_header(batch: Batch, writer_length: int) -> bytes:
    return _pack_batch(
        batch.batch,
        batch.segment,
        batch.day,
        batch.first_seq,
        batch.last_seq,
        batch.segment_first_seq,
        writer_length,
        len(batch.keys),
        batch.first_at,
        batch.last_at,
        batch.segment_first_at,
        batch.segment_last_at,
    )


def segment_seal(link: bytes, segment: Segment) -> bytes:
    """The seal that ``segment`` must carry (its own ``seal`` and ``pruned_at`` are not looked at)."""
    writer = segment.writer.encode()
    return sha256(b"".join((link, _SEGMENT_TAG, _segment_header(segment, len(writer)), writer, segment.head)))


def _segment_header(segment: Segment, writer_length: int) -> bytes:
    return _pack_segment(
        segment.segment,
        segment.day,
        segment.first_seq,
        segment.last_seq,
        segment.last_batch,
        writer_length,
        segment.first_at,
        segment.last_at,
        segment.closed_at,
    )
