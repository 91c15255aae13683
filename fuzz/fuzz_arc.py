"""ARC chains: any header has a result, however its body is cut, and nothing put into a good chain lets another author in.

Input: 8 octets of decisions, then a message; its header also goes into a chain that passes, at a place that the decisions say.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Iterator

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.senderauth.arc.verify import ArcVerifier
    from postlatch.senderauth.dkim.canon import header
    from postlatch.senderauth.dkim.fields import split_fields
    from postlatch.senderauth.results import ArcResult, Result
    from postlatch.testing.dns import FakeResolver

DECISIONS = 8
NOW = 1_767_225_600.0
SLOW = 2.0  # seconds under instrumentation, for at most 8 KiB
MAX_KEYS = 51
_LOOP = asyncio.new_event_loop()
# A chain of one set over _BODY, sealed by arc.example with the key of this record (its private half was thrown away).
_RECORD = "v=DKIM1; k=ed25519; p=pWNzLAVobwrTxnJx5zXFDEd/LEfh3/FqmG0K6qfXp2M="
_BODY = b"Hello\r\n"
_CHAIN = (
    b"ARC-Seal: i=1; a=ed25519-sha256; cv=none; d=arc.example; s=s; b=uXvdxdrEysOfmnTEQf+hNBdFQr/1YFGIZkQn"
    b"EKocdZqAD8kfc8w1MDQSgNpcyPpyjFkv8AqE3zgrWqo2ND6kBw==\r\n"
    b"ARC-Message-Signature: i=1; a=ed25519-sha256; c=relaxed/relaxed; d=arc.example; s=s; h=from:to:subje"
    b"ct; bh=Ba3gj8+xBPQLJTahTfzW6RbWQ/XPgESxkCi2B66PSQg=; b=X5Y4Pgcpyviz3FxaDWsISYtfkKAaFSQUOXCxlrb+Xptxz"
    b"hZQJKGQpRisHIVlhNEaCeK6DAqKtZ9oWQWYAgQBDA==\r\n"
    b"ARC-Authentication-Results: i=1; arc.example; spf=pass smtp.mailfrom=example.com\r\n"
    b"From: alice@example.com\r\n"
    b"To: bob@example.org\r\n"
    b"Subject: x\r\n"
)
_ZONE = {"s._domainkey.arc.example": {"TXT": [_RECORD]}}


def one_input(data: bytes) -> None:
    """One input."""
    bits, message = Bits(data[:DECISIONS]), data[DECISIONS:]
    began = time.thread_time()
    head, empty, body = message.partition(b"\r\n\r\n")
    block = head + b"\r\n" if empty else message
    whole = verify(block, [body])
    assert whole == verify(block, pieces(body, bits))
    assert whole.result is not Result.PASS or b"arc.example" in block
    place = bits.take(12) % (len(_CHAIN) + 1)
    spoilt = _CHAIN[:place] + head + _CHAIN[place:]
    if verify(spoilt, [_BODY]).result is Result.PASS:
        authors = [header(field.raw, "relaxed") for field in split_fields(spoilt) if field.name == b"from"]
        assert authors == [b"from:alice@example.com\r\n"]
    assert time.thread_time() - began < SLOW


def verify(block: bytes, parts: list[bytes]) -> ArcResult:
    """With a DNS in which our key is the only one."""

    async def check() -> ArcResult:
        resolver = FakeResolver(_ZONE)
        verifier = ArcVerifier(block, now=NOW)
        verifier.start(resolver)
        for part in parts:
            verifier.feed(part)
        result = await verifier.finish(resolver)
        assert len(resolver.queries) <= MAX_KEYS
        return result

    result = _LOOP.run_until_complete(check())
    assert all(text.isascii() and text.isprintable() and len(text) <= 500 for text in (result.reason, result.results))
    assert bool(result.sealers) == (result.result is Result.PASS)
    return result


_BH = b64encode(b"\x01" * 32)
_MESSAGES = (
    _CHAIN + b"\r\n" + _BODY,
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.example; s=s; t=1; b=AAAA\r\n",
    b"ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/simple; d=a.example; s=s; h=from::to; bh="
    + _BH
    + b"; b=\r\n AAAA\r\n",
    b"ARC-Authentication-Results: (c) i = 1 ; mx.example; spf=pass\r\nARC-Authentication-Results: i=2;\r\n",
    b"ARC-Seal: i=51; cv=fail; h=x; b=\r\nARC-Seal: i=51\r\n\r\n",
    b"X: y\r\n",
)


def seeds() -> Iterator[bytes]:
    """Messages, cut in three ways."""
    for message in _MESSAGES:
        for decisions in (b"\x00", b"\x01", b"\x02\x11\x22\x33\xff\xff\xff\xff"):
            yield decisions.ljust(DECISIONS, b"\x30") + message


if __name__ == "__main__":
    run(one_input, seeds)
