"""What the tests of DKIM share: keys, zones, and a message signed or checked in one call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from postlatch.senderauth.dkim.private import PrivateKey
from postlatch.senderauth.dkim.sign import Signer, SigningKey, generate, load_private_key, public_record
from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.results import DkimResult
from postlatch.testing.dns import FakeResolver, Zone

NOW = 1_767_225_600.0
DAY = 86_400.0
MESSAGE = (
    b"From: Alice <alice@example.com>\r\nTo: bob@example.org\r\nSubject: lunch\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nAt noon?\r\n"
)


def key(algorithm: str = "ed25519") -> SigningKey:
    """A key of example.com, the same at each call; its selector is the algorithm."""
    return SigningKey("example.com", algorithm, algorithm, _private(algorithm))


@cache
def _private(algorithm: str) -> PrivateKey:
    return load_private_key(generate(algorithm))


def zone(*keys: SigningKey, record: str | None = None) -> dict[str, dict[str, list[str]]]:
    """A zone that publishes these keys, or ``record`` in their place."""
    return {f"{one.selector}._domainkey.{one.domain}": {"TXT": [record or public_record(one)]} for one in keys}


def split(message: bytes) -> tuple[bytes, bytes]:
    """Header block and body, as the relay splits them."""
    if message.startswith(b"\r\n"):
        return b"", message[2:]
    head, empty, body = message.partition(b"\r\n\r\n")
    return (head + b"\r\n", body) if empty else (message, b"")


def sign(
    message: bytes, *keys: SigningKey, now: float = NOW, valid: float | None = 10 * DAY, identity: str | None = None
) -> bytes:
    """The message with its signatures in front."""
    block, body = split(message)
    signer = Signer(keys or (key(),), block, now=now, valid=valid, identity=identity)
    signer.feed(body)
    return signer.finish() + message


def verify(
    message: bytes, names: Zone | FakeResolver | None = None, *, now: float = NOW, max_signatures: int = 8
) -> tuple[DkimResult, ...]:
    """The results of a message, with the zone of the usual keys if no other is given."""
    resolver = names if isinstance(names, FakeResolver) else FakeResolver(names or zone(key(), key("rsa")))

    async def run() -> tuple[DkimResult, ...]:
        block, body = split(message)
        verifier = Verifier(block, now=now, max_signatures=max_signatures)
        verifier.start(resolver)
        verifier.feed(body)
        return await verifier.finish(resolver)

    return asyncio.run(run())


def one(results: Sequence[DkimResult]) -> DkimResult:
    """The only one."""
    assert len(results) == 1, results
    return results[0]


def crlf(path: Path) -> bytes:
    """A file with CRLF line ends."""
    return path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def published(testdata: Path) -> dict[str, dict[str, list[str]]]:
    """The key records of the samples, as a zone."""
    records = json.loads((testdata / "dkim" / "dns.json").read_text("utf-8"))["txt"]
    return {name: {"TXT": [text]} for name, text in records.items()}
