"""What we sign, how it looks, and that it verifies whatever the message is. RFC 6376 section 5."""

from __future__ import annotations

import tracemalloc

import pytest
from dkim_support import DAY, MESSAGE, NOW, key, one, sign, split, verify
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.dkim.fields import split_fields
from postlatch.senderauth.dkim.sign import MAX_COVERED, Signer, SignError, SigningKey
from postlatch.senderauth.dkim.tags import parse_tags
from postlatch.senderauth.results import Result

_NAMES = [b"From", b"to", b"SUBJECT", b"X-Any", b"Received", b"References", b"List-ID", b"Content-Type", b"Bcc", b"From "]
_VALUES = st.lists(
    st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b":", b";", b"=", b"\xc3\xa9", b"\xff", b"word", b"\x0b"]),
    max_size=12,
).map(b"".join)
_FIELDS = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=10)
_BODY = st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"text", b".", b"\xff", b"=20", b"\r\n\r\n"])).map(
    b"".join
) | st.binary(max_size=100)


def tags(message: bytes) -> dict[str, str]:
    """Of the first signature."""
    field = next(field for field in split_fields(split(message)[0]) if field.name == b"dkim-signature")
    return parse_tags(field.raw.partition(b":")[2].removesuffix(b"\r\n"))


def signed_names(message: bytes) -> list[str]:
    return [name.strip().lower() for name in tags(message)["h"].split(":")]


@given(_FIELDS, _BODY, st.sampled_from(["ed25519", "rsa"]))
def test_what_is_signed_verifies(fields: list[tuple[bytes, bytes]], body: bytes, algorithm: str) -> None:
    block = b"From: a@example.com\r\n" + b"".join(name + b":" + value + b"\r\n" for name, value in fields)
    found = one(verify(sign(block + b"\r\n" + body, key(algorithm))))
    assert found.result is Result.PASS, found.reason


@given(_BODY, st.lists(st.integers(0, 200), max_size=6))
def test_a_body_that_comes_in_pieces_is_signed_alike(body: bytes, places: list[int]) -> None:
    block = split(MESSAGE)[0]
    ends = sorted({min(place, len(body)) for place in places})
    cut, whole = (Signer([key()], block, now=NOW, valid=DAY) for _ in range(2))
    for a, b in zip([0, *ends], [*ends, len(body)], strict=True):
        cut.feed(body[a:b])
    whole.feed(body)
    assert cut.finish() == whole.finish()


def test_each_key_signs_in_its_order() -> None:
    results = verify(sign(MESSAGE, key("ed25519"), key("rsa")))
    assert [(found.result, found.algorithm) for found in results] == [
        (Result.PASS, "ed25519-sha256"),
        (Result.PASS, "rsa-sha256"),
    ]


def test_the_tags_say_what_was_done() -> None:
    found = tags(sign(MESSAGE, identity="alice@example.com"))
    assert {name: found[name] for name in ("v", "a", "c", "d", "s", "i", "t", "x")} == {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "relaxed/relaxed",
        "d": "example.com",
        "s": "ed25519",
        "i": "alice@example.com",
        "t": "1767225600",
        "x": "1768089600",
    }
    assert "x" not in tags(sign(MESSAGE, valid=None))
    assert "i" not in tags(sign(MESSAGE))
    assert "l" not in found


def test_the_fields_of_a_person_are_covered_once_more_than_they_occur() -> None:
    names = signed_names(sign(b"Cc: x\r\nCc: y\r\n" + MESSAGE))
    counts = {name: names.count(name) for name in names}
    assert counts == {"from": 2, "to": 2, "cc": 3, "subject": 2, "date": 2, "message-id": 2, "content-type": 1}


def test_what_relays_change_is_not_covered_and_the_usual_rest_is() -> None:
    never = b"Received: x\r\nReturn-Path: <x>\r\nAuthentication-Results: x\r\nBcc: x\r\nDKIM-Signature: x\r\nX-Mine: x\r\n"
    usual = b"Reply-To: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nIn-Reply-To: <x>\r\nReferences: <x>\r\n"
    lists = b"List-ID: <x>\r\nList-Unsubscribe: <x>\r\nList-Unsubscribe-Post: x\r\n"
    lists += b"Sender: x\r\nResent-From: x\r\nResent-To: x\r\n"
    names = set(signed_names(sign(never + usual + lists + MESSAGE)))
    for field in split_fields(usual + lists):
        assert field.name.decode() in names
    for field in split_fields(never):
        assert field.name.decode() not in names


def test_lines_are_short() -> None:
    many = b"".join(b"List-Archive: x\r\n" for _ in range(40))
    for message in (sign(MESSAGE, key("rsa"), identity="alice@mail.example.com"), sign(many + MESSAGE)):
        assert max(map(len, message.split(b"\r\n"))) < 78


def test_a_long_name_is_not_broken() -> None:
    domain = ".".join(["a" * 60] * 3) + ".example"
    long_key = SigningKey(domain, "s" * 40, "ed25519", key().private)
    assert tags(sign(MESSAGE, long_key))["d"] == domain


@pytest.mark.parametrize("block", [b"", b"To: x\r\n", b"From\r\n", b"X-From: x\r\n"])
def test_without_from_nothing_is_signed(block: bytes) -> None:
    with pytest.raises(SignError, match="no From"):
        Signer([key()], block, now=NOW, valid=DAY)


@pytest.mark.parametrize("white", [b" ", b"\t"])
def test_what_would_become_a_part_of_the_signature_is_not_signed(white: bytes) -> None:
    with pytest.raises(SignError, match="folded line"):
        sign(white + b"folded\r\n" + MESSAGE)


def test_a_message_of_endless_fields_is_not_signed() -> None:
    with pytest.raises(SignError, match=f"more than {MAX_COVERED}"):
        sign(b"To: x\r\n" * 10_000 + MESSAGE)


@pytest.mark.parametrize("identity", ["alice@example.org", "alice", "@", "alice@notexample.com", "alice@exa mple.com"])
def test_an_identity_of_another_domain_is_refused(identity: str) -> None:
    with pytest.raises(SignError, match="identity"):
        sign(MESSAGE, identity=identity)


@given(st.text(max_size=20))
def test_any_local_part_is_an_identity(local: str) -> None:
    message = sign(MESSAGE, identity=f"{local}@example.com")
    assert one(verify(message)).result is Result.PASS
    assert tags(message)["i"].isascii()


def test_25_megabytes_are_signed_in_little_memory() -> None:
    chunk = (b"x" * 70 + b" \t y\r\n") * 862  # 64 KiB in which every line changes
    signer = Signer([key(), key("rsa")], split(MESSAGE)[0], now=NOW, valid=DAY)
    tracemalloc.start()
    try:
        for _ in range(400):
            signer.feed(chunk)
        signer.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
