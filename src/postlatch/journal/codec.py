"""Events to bytes and back: one JSON line an event, pure ASCII, and the search keys of the batch.

ASCII is a promise to whoever prints or greps a line: a newline, an escape sequence or a right-to-left override that a client
sent is ``\\n``, ``\\u001b`` or ``\\u202e`` in it. ``pack`` never fails for what a field holds: an event that could not be
written would hold up the mail that shares its transaction.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from postlatch.model.events import Event

Record = dict[str, Any]

# Compression has a fixed price of 60 µs, and only pays once that is spread over many events: from 8 KiB on (about 33 events)
# it costs 1 to 2 µs an event and saves four fifths of the disk. A lone event would shrink by a quarter, for 60 µs.
COMPRESS_FROM: Final = 8192
# A batch is what gathered during one commit, far below this. A stream that grows past it was not written by us.
MAX_PAYLOAD: Final = 256 * 1024 * 1024

# The search keys: 8-byte hashes of "kind:value" of the fields that people ask for, sorted and joined. SQLite tests a batch with
# instr(keys, hash), and only batches that answer are unpacked: 1 million events in 20,000 batches are searched in 60 ms.
# An index row for each event costs 18 µs when written, this costs 2 µs. A false match (by chance, or across two neighbours)
# only unpacks a batch in vain, because every event is compared again; a weaker hash would let a stranger provoke that.
INDEXED: Final = ("event", "message", "account", "client", "sender", "recipient")

_MAX_DEPTH: Final = 4
RESERVED: Final = frozenset({"seq", "at", "event"})
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
_start = blake2b(digest_size=8)


class Packed(NamedTuple):
    """A packed batch: ``lines`` (JSON lines, not compressed), search ``keys``, the earliest and latest ``at``."""

    lines: bytes
    keys: bytes
    first_at: float
    last_at: float


def record(event: Event, seq: int | None = None) -> Record:
    """The event as one flat object: ``seq`` (if given), ``at``, ``event``, then its fields.

    A field that is called like one of the three gets an underscore behind it.
    """
    head: Record = {"at": event.at, "event": event.name} if seq is None else {"seq": seq, "at": event.at, "event": event.name}
    if RESERVED.isdisjoint(event.fields):
        return {**head, **event.fields}
    return head | {f"{name}_" if name in RESERVED else name: value for name, value in event.fields.items()}


def pack(events: Sequence[Event], first_seq: int, now: float) -> Packed:
    """Pack a batch whose first event is number ``first_seq``. ``now`` replaces an ``at`` that is no time at all."""
    records = _records(events, first_seq)
    try:
        lines = _lines(records)
    except (TypeError, ValueError, RecursionError):
        records = [_plain_record(item, now) for item in records]
        lines = _lines(records)
    times = [item["at"] for item in records]
    return Packed(lines.encode("ascii"), keys_of(records), min(times), max(times))


def _records(events: Sequence[Event], first_seq: int) -> list[Record]:
    """``record`` for each, in half its time: the sizes tell if any field took one of the three names."""
    records: list[Record] = [
        {"seq": seq, "at": event.at, "event": event.name, **event.fields} for seq, event in enumerate(events, first_seq)
    ]
    if sum(map(len, records)) == sum([len(event.fields) + 3 for event in events]):
        return records
    return [record(event, seq) for seq, event in enumerate(events, first_seq)]


def _lines(records: list[Record]) -> str:
    """One call of the C encoder for the whole batch, then cut: 2.1 µs an event; a call for each is 3.2 µs.

    ``},{"seq":`` cannot stand inside a string, whose quotes are escaped. If a nested value holds it, the count tells.
    """
    text = _encode(records)[1:-1]
    if text.count('},{"seq":') == len(records) - 1:
        text = text.replace('},{"seq":', '}\n{"seq":')
    else:
        text = "\n".join(map(_encode, records))
    return _without_delete(text)


def _plain_record(item: Record, now: float) -> Record:
    at = item["at"]
    usable = isinstance(at, float | int) and math.isfinite(at)
    return {str(name): plain(value) for name, value in item.items()} | {"at": at if usable else now}


def plain(value: object, depth: int = 0) -> object:
    """Whatever a mistake of ours put into a field, as something that JSON can hold."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("ascii", "backslashreplace")
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {str(name): plain(inner, depth + 1) for name, inner in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [plain(inner, depth + 1) for inner in value]
    return str(value)


def to_json(value: object) -> str:
    """One value as printable ASCII, whatever it holds."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        text = _encode(plain(value))
    return _without_delete(text)


def _without_delete(text: str) -> str:
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON leaves as it is


def unpack(lines: bytes) -> list[Record]:
    """The records of a batch; ValueError if the bytes are not what ``pack`` writes."""
    try:
        records: list[Record] = json.loads(b"[" + lines.replace(b"\n", b",") + b"]")
    except RecursionError:
        raise ValueError("a line is nested too deeply") from None
    if not all(map(_is_record, records)):
        raise ValueError("a line is not an event")
    return records


def _is_record(item: object) -> bool:
    return (
        type(item) is dict
        and type(item.get("seq")) is int
        and type(item.get("at")) in {int, float}
        and type(item.get("event")) is str
    )


def compress(lines: bytes) -> bytes:
    """What is stored: the lines, or their zlib stream where that pays."""
    if len(lines) < COMPRESS_FROM:
        return lines
    return zlib.compress(lines, 1)


def decompress(payload: bytes) -> bytes:
    """The lines of a stored payload; ValueError if it is damaged. Lines begin with ``{``, a zlib stream never does."""
    if payload[:1] == b"{":
        return payload
    stream = zlib.decompressobj()
    try:
        lines = stream.decompress(payload, MAX_PAYLOAD)
    except zlib.error as error:
        raise ValueError("the payload cannot be unpacked") from error
    if not stream.eof or stream.unused_data:
        raise ValueError("the payload is cut short or followed by something else")
    return lines


def keys_of(records: Iterable[Record]) -> bytes:
    """The search keys of a batch."""
    found: set[str] = set()
    for item in records:
        for kind in INDEXED:
            value = item.get(kind)
            if value:
                if isinstance(value, str):
                    found.add(f"{kind}:{value}")
                else:
                    found.update(f"{kind}:{inner}" for inner in _texts(value))
    digests = set()
    for text in found:
        state = _start.copy()  # `key`, written out: a call costs as much again
        state.update(text.lower().encode("utf-8", "surrogatepass"))
        digests.add(state.digest())
    return b"".join(sorted(digests))


def _texts(value: object) -> list[str]:
    """The texts in a field that holds a list of them; what is no text has no key."""
    return [inner for inner in value if isinstance(inner, str)] if isinstance(value, list) else []


def key(kind: str, value: str) -> bytes:
    """The 8-byte search key of one field's value; upper and lower case are the same."""
    # A field's text may hold lone surrogates: it came from a client.
    return blake2b(f"{kind}:{value}".lower().encode("utf-8", "surrogatepass"), digest_size=8).digest()
