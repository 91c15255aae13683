"""The journal's codec: any event is written as ASCII and read back; any octets are a batch or a ValueError. Log lines too.

Input: one octet that says what the rest is: a stored payload, or the texts of an event.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

from harness import instrumented, run

with instrumented():
    from postlatch.journal.codec import compress, decompress, key, keys_of, pack, to_json, unpack
    from postlatch.journal.logs import Style, configure, log_event
    from postlatch.model.events import Event
    from postlatch.model.ids import format_id, parse_id
    from postlatch.testing.clock import FakeClock

CLOCK = FakeClock()
STYLES: tuple[Style, ...] = ("console", "json")


def one_input(data: bytes) -> None:
    """One input."""
    if not data:
        return
    if data[0] & 1:
        stored(data[1:])
    else:
        written(data[1:])
    identifier(data[1:20])


def stored(payload: bytes) -> None:
    """Octets that claim to be a batch."""
    try:
        records = unpack(decompress(payload))
    except ValueError:
        return
    keys_of(records)
    for record in records:
        json.dumps(record)


def written(data: bytes) -> None:
    """An event whose fields a client filled in."""
    text = data.decode("utf-8", "surrogateescape")
    head, _, tail = text.partition("\n")
    value: Any = {"helo": text, "recipient": [head, tail], "nested": {head: tail}, head: tail, "seq": tail}
    event = Event("recipient.refused", CLOCK.now(), value)
    packed = pack([event, event], 7, CLOCK.now())
    assert printable(packed.lines.replace(b"\n", b""))
    assert packed.lines.count(b"\n") == 1
    for number, record in enumerate(unpack(decompress(compress(packed.lines)))):
        assert record["seq"] == 7 + number
        assert record["event"] == "recipient.refused"
        assert record["helo"] == text or head == "helo"
    if text and head not in {"recipient", "helo"}:
        assert key("recipient", head) in packed.keys or not head
    assert printable(to_json(value).encode("ascii"))
    logged(event)


def logged(event: Event) -> None:
    """One event is one line of printable ASCII in either style."""
    for style in STYLES:
        stream = io.StringIO()
        configure(style, stream, CLOCK)
        log_event(event)
        line = stream.getvalue()
        assert line.endswith("\n")
        assert printable(line[:-1].encode("ascii"))


def printable(data: bytes) -> bool:
    """Nothing that a terminal obeys."""
    return all(0x20 <= octet < 0x7F for octet in data)


def identifier(data: bytes) -> None:
    """A message id as somebody types it."""
    try:
        number = parse_id(data.decode("utf-8", "replace"))
    except ValueError:
        return
    assert parse_id(format_id(number)) == number


def seeds() -> Iterator[bytes]:
    """Batches and texts."""
    event = Event("message.accepted", CLOCK.now(), {"helo": "a", "recipient": ["b@example.com"]})
    lines = pack([event] * 3, 1, CLOCK.now()).lines
    for payload in (
        lines,
        zlib.compress(lines),
        zlib.compress(lines)[:-3],
        b"{",
        b"[]",
        b"",
        lines + b"\n",
        lines.replace(b"1", b"1e9"),
    ):
        yield b"\x01" + payload
    for text in ("plain", "a\nb", "\x1b[31m\u202e\x7f", '},{"seq":', "at\nb", "seq\nx", "helo\nx", "\u2028\ud7ff"):
        yield b"\0" + text.encode()
    yield b"\0\xff\xfe\x80"
    yield b"\x0001K3F9Q2ZB7NM"


if __name__ == "__main__":
    run(one_input, seeds)
