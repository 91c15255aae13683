from __future__ import annotations

import json
import math
import zlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_helpers import HOSTILE

from postlatch.journal import codec
from postlatch.model.events import EVENTS, Event

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = (
    texts
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
    | st.lists(texts, max_size=3)
    | st.lists(st.integers(-9, 9), max_size=3)
    | st.dictionaries(texts, texts, max_size=3)
)
names = st.sampled_from(["message", "account", "client", "sender", "recipient", "helo", "why", 'x":', "seq ", "Ω"])
events = st.builds(Event, st.sampled_from(sorted(EVENTS)), st.floats(0, 4e9), st.dictionaries(names, values, max_size=6))


def line_of(**fields: object) -> str:
    packed = codec.pack([Event("session.ended", 1.5, fields)], 1, 0.0)  # type: ignore[arg-type]
    return packed.lines.decode("ascii")


@given(st.lists(events, min_size=1, max_size=8), st.integers(1, 2**60))
def test_what_is_packed_comes_back_as_it_was(batch: list[Event], first_seq: int) -> None:
    packed = codec.pack(batch, first_seq, 0.0)
    back = codec.unpack(codec.decompress(codec.compress(packed.lines)))
    assert back == [
        {"seq": seq, "at": event.at, "event": event.name, **event.fields} for seq, event in enumerate(batch, first_seq)
    ]
    assert (packed.first_at, packed.last_at) == (min(e.at for e in batch), max(e.at for e in batch))


@given(st.lists(events, min_size=1, max_size=8))
def test_every_event_is_one_line_of_printable_ascii_that_parses_alone(batch: list[Event]) -> None:
    lines = codec.pack(batch, 7, 0.0).lines.split(b"\n")
    assert [json.loads(line)["seq"] for line in lines] == list(range(7, 7 + len(batch)))
    assert all(0x20 <= octet < 0x7F for line in lines for octet in line)


@given(st.lists(events, min_size=1, max_size=8))
def test_every_indexed_field_has_its_key_in_the_batch(batch: list[Event]) -> None:
    keys = codec.pack(batch, 1, 0.0).keys
    entries = [keys[i : i + 8] for i in range(0, len(keys), 8)]
    assert entries == sorted(set(entries))
    for event in batch:
        assert codec.key("event", event.name) in entries
        for kind in set(codec.INDEXED) & set(event.fields):
            value = event.fields[kind]
            for text in value if isinstance(value, list) else [value]:
                assert not text or not isinstance(text, str) or codec.key(kind, text) in entries


def test_a_key_is_the_same_in_upper_and_lower_case() -> None:
    assert codec.key("sender", "Alice@Example.COM") == codec.key("sender", "alice@example.com")
    assert codec.key("sender", "alice@example.com") != codec.key("recipient", "alice@example.com")


def test_hostile_text_stays_inside_its_field() -> None:
    text = line_of(helo=HOSTILE, recipient=[HOSTILE])
    assert "\n" not in text
    assert text.isprintable()
    assert json.loads(text) == {"seq": 1, "at": 1.5, "event": "session.ended", "helo": HOSTILE, "recipient": [HOSTILE]}


def test_a_nested_object_that_looks_like_the_next_event_does_not_cut_the_line() -> None:
    nested = [{"x": "1"}, {"seq": "2"}]
    lines = codec.pack([Event("session.ended", 1.0, {"a": nested})] * 2, 1, 0.0).lines  # type: ignore[dict-item]
    assert [json.loads(line)["a"] for line in lines.split(b"\n")] == [nested, nested]


def test_a_field_cannot_take_the_place_of_number_time_or_name() -> None:
    record = json.loads(line_of(seq=99, at="never", event="policy.installed", why="x"))
    assert record == {
        "seq": 1,
        "at": 1.5,
        "event": "session.ended",
        "seq_": 99,
        "at_": "never",
        "event_": "policy.installed",
        "why": "x",
    }


def test_what_json_cannot_hold_is_written_as_text_and_never_raises() -> None:
    loop: list[object] = []
    loop.append(loop)
    record = json.loads(
        line_of(a=b"\xff\n", b=math.nan, c={1: {2}}, d=ip_address("192.0.2.1"), e=loop, f=10**5000, g=(1, None))
    )
    assert record["a"] == "\\xff\n"
    assert record["b"] == "nan"
    assert record["c"] == {"1": [2]}
    assert record["d"] == "192.0.2.1"
    assert isinstance(record["e"], list)
    assert record["f"].startswith("0x")
    assert record["g"] == [1, None]


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_replaced_by_the_time_of_sealing(at: float) -> None:
    packed = codec.pack([Event("relay.started", at, {}), Event("relay.stopped", 20.0, {})], 1, 30.0)
    assert [record["at"] for record in codec.unpack(packed.lines)] == [30.0, 20.0]
    assert (packed.first_at, packed.last_at) == (20.0, 30.0)


def test_only_a_payload_that_is_worth_it_is_compressed() -> None:
    small, large = b"{" + b"x" * 100, b"{" + b"x" * codec.COMPRESS_FROM
    assert codec.compress(small) == small
    assert len(codec.compress(large)) < 200
    assert codec.decompress(codec.compress(large)) == large


@pytest.mark.parametrize(
    "payload",
    [b"", b"nonsense", zlib.compress(b"{}" * 9000)[:-1], zlib.compress(b"{}" * 9000) + b"x", b"\x00{"],
    ids=["empty", "nonsense", "cut short", "something behind it", "neither"],
)
def test_a_damaged_payload_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="payload"):
        codec.decompress(payload)


def test_a_small_stream_that_unpacks_to_too_much_is_refused() -> None:
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(b" " * 2**20) for _ in range(257)) + stream.flush()
    assert len(bomb) < 2**20
    with pytest.raises(ValueError, match="payload"):
        codec.decompress(bomb)


@pytest.mark.parametrize(
    "lines",
    [b"{", b"[1]", b"{}", b'{"seq":true,"at":1,"event":"x"}', b'{"seq":1,"at":"1","event":"x"}', b"\xff", b"[" * 200_000],
)
def test_lines_that_pack_never_wrote_are_a_value_error(lines: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(lines)
