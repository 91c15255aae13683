"""Tag lists, signatures, key records and bodies: any octets have a result, the same however cut, in bounded time.

Input: 8 octets of decisions, then a message; it is also read as a tag list and as a key record, and it is signed.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Iterator

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.senderauth.dkim.canon import BodyHash, header
    from postlatch.senderauth.dkim.fields import split_fields
    from postlatch.senderauth.dkim.key import KeyRecordError, parse_key
    from postlatch.senderauth.dkim.sign import Signer, SignError, SigningKey, load_private_key, public_record
    from postlatch.senderauth.dkim.signature import read_signature, without_value
    from postlatch.senderauth.dkim.tags import TagError, parse_tags
    from postlatch.senderauth.dkim.verify import Verifier
    from postlatch.senderauth.results import DkimResult, Result
    from postlatch.testing.dns import FakeResolver

DECISIONS = 8
NOW = 1_767_225_600.0
SLOW = 2.0  # seconds under instrumentation, for at most 64 KiB
# Of no use but this one.
_SEED = bytes(range(32))
_PREFIX = bytes.fromhex("302e020100300506032b657004220420")  # PKCS #8 of Ed25519, RFC 8410 section 7
_PEM = b"-----BEGIN PRIVATE " + b"KEY-----\n" + b64encode(_PREFIX + _SEED) + b"\n-----END PRIVATE " + b"KEY-----\n"
_KEY = SigningKey("example.com", "s", "ed25519", load_private_key(_PEM))
_RECORD = public_record(_KEY)
_LOOP = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    """One input."""
    bits, message = Bits(data[:DECISIONS]), data[DECISIONS:]
    began = time.thread_time()
    tag_list(message)
    key_record(message)
    head, empty, body = message.partition(b"\r\n\r\n")
    block = head + b"\r\n" if empty else message
    cut = pieces(body, bits)
    for field in split_fields(block):
        signature(field.raw)
    for kind in ("simple", "relaxed"):
        assert body_hash([body], kind) == body_hash(cut, kind)
    results = verify(block, cut, message)
    assert all(found.result is not Result.PASS or b"b=" in block for found in results)
    sign(block, cut, message)
    assert time.thread_time() - began < SLOW


def tag_list(text: bytes) -> None:
    """A list, which says the same when it is written anew, or a TagError."""
    try:
        tags = parse_tags(text)
    except TagError:
        return
    assert parse_tags(";".join(f"{name}={value}" for name, value in tags.items())) == tags


def key_record(text: bytes) -> None:
    """A key, which no nonsense fits, or a KeyRecordError; also where the octets are the key itself."""
    for record in (text, b"p=" + b64encode(text), b"k=ed25519;p=" + b64encode(text[:32])):
        try:
            key = parse_key(record)
        except KeyRecordError:
            continue
        assert not key.verify(b"\x01" * 64, b"\x02" * 32)


def signature(raw: bytes) -> None:
    """A summary that may be printed, whatever the field is; relaxed is relaxed."""
    field = split_fields(b"DKIM-Signature:" + raw.partition(b":")[2])[0]
    summary, _ = read_signature(field, NOW)
    assert all(text.isascii() and text.isprintable() and len(text) <= 500 for text in summary)
    without_value(field.raw)
    once = header(raw, "relaxed")
    assert header(once, "relaxed") == once


def body_hash(parts: list[bytes], kind: str) -> bytes:
    """Of a body in pieces."""
    hashed = BodyHash(kind)
    for part in parts:
        hashed.feed(part)
    return hashed.digest()


def verify(block: bytes, parts: list[bytes], record: bytes) -> tuple[DkimResult, ...]:
    """With a DNS in which the octets are every key."""

    async def check() -> tuple[DkimResult, ...]:
        verifier = Verifier(block, now=NOW)
        names = {
            f"{selector}._domainkey.{domain}": {"TXT": [record.decode("utf-8", "surrogateescape")]}
            for selector, domain in verifier.wanted
        }
        resolver = FakeResolver(names)
        verifier.start(resolver)
        for part in parts:
            verifier.feed(part)
        return await verifier.finish(resolver)

    return _LOOP.run_until_complete(check())


def sign(block: bytes, parts: list[bytes], text: bytes) -> None:
    """What we sign verifies."""
    try:
        signer = Signer([_KEY], block, now=NOW, valid=60)
    except SignError:
        return
    for part in parts:
        signer.feed(part)
    field = signer.finish()
    found = verify(field + block, parts, _RECORD.encode())
    assert found[0].result is Result.PASS, (found[0].reason, text)


_TAGS = b"v=1; a=ed25519-sha256; c=relaxed/simple; d=example.com; s=s; i=a=40b@x.example.com; q=dns/txt; t=1; x=9999999999"
_MESSAGES = (
    b"DKIM-Signature: "
    + _TAGS
    + b"; h=from:to;\r\n bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nFrom: a\r\n\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s; h=from : from; l=1; z=From:a; bh="
    + b"A" * 43
    + b"=; b=\r\n AAAA\r\n\r\n",
    b"From: a@example.com\r\nSubject:  x \r\n\ty\r\n\r\nbody \r\n\r\n\t\r\n",
    _TAGS,
    _RECORD.encode(),
    b"v=DKIM1; h=sha256:sha1; k=rsa; n=note; s=email:*; t=y:s; p=AAAA",
    b"v=DKIM1; p=",
    "DKIM-Signature: d=b\u00fccher.example; s=\u00fc; i=@b\u00fccher.example\r\n\r\n".encode(),
)


def seeds() -> Iterator[bytes]:
    """Messages and records, cut in three ways."""
    for message in _MESSAGES:
        for decisions in (b"\x00", b"\x01", b"\x02\x11\x22\x33\xff\xff\xff\xff"):
            yield decisions.ljust(DECISIONS, b"\x30") + message


if __name__ == "__main__":
    run(one_input, seeds)
