"""Fields as they are, and which of them an h= covers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.headers import split_headers
from postlatch.senderauth.dkim.fields import RawField, by_name, covered, split_fields

_PIECES = [b"\r\n", b"\r", b"\n", b" ", b"\t", b"a", b"B", b":", b"From:", b"\r\nTo: x\r\n", b"\xff"]
_BLOCK = st.lists(st.sampled_from(_PIECES)).map(b"".join)


def test_a_field_keeps_its_octets() -> None:
    block = b"From : a\r\nSUBJECT: x\r\n\ty \r\nno field\r\n of it\r\n: no name\r\nTo:\r\n"
    assert split_fields(block) == [
        RawField(b"from", b"From : a\r\n"),
        RawField(b"subject", b"SUBJECT: x\r\n\ty \r\n"),
        RawField(b"to", b"To:\r\n"),
    ]


def test_a_block_without_its_last_line_end_gets_it() -> None:
    assert split_fields(b"From: a") == [RawField(b"from", b"From: a\r\n")]


@given(_BLOCK)
def test_the_same_fields_as_the_policy_sees(block: bytes) -> None:
    """Else a signature could cover another From than the one that is judged."""
    policy = [field.name for field in split_headers(block) if field.name and field.name[0] not in b" \t"]
    assert [field.name for field in split_fields(block)] == policy


@given(_BLOCK)
def test_fields_are_pieces_of_the_block(block: bytes) -> None:
    place = 0
    for field in split_fields(block):
        place = (block + b"\r\n").index(field.raw, place) + len(field.raw)
        assert field.name == field.raw.replace(b"\r\n", b"").partition(b":")[0].rstrip(b" \t").lower()


def test_repeated_names_are_taken_from_the_bottom_up() -> None:
    fields = split_fields(b"A: 1\r\nB: 1\r\nA: 2\r\nA: 3\r\n")
    found = covered(fields, [b"a", b"b", b"a", b"b", b"c", b"b"])
    assert found == covered(by_name(fields), [b"a", b"b", b"a", b"b", b"c", b"b"])
    assert [field.raw for field in found] == [b"A: 3\r\n", b"B: 1\r\n", b"A: 2\r\n"]


def test_a_signature_does_not_cover_itself_by_name() -> None:
    fields = split_fields(b"S: own\r\nS: old\r\n")
    assert covered(fields, [b"s", b"s"], without=fields[0]) == [fields[1]]
