"""OpenDKIM verifies what we sign, and we verify what OpenDKIM signs."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from postlatch.senderauth.dkim.sign import Signer, SigningKey, generate, load_private_key, public_record
from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.results import DkimResult, Result
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.opendkim import OpenDkim

pytestmark = pytest.mark.real

DOMAIN = "example.com"
BLOCK = (
    b"Received: from elsewhere\r\n\tby here\r\nFrom: Alice <alice@example.com>\r\nTo: bob@example.org,\r\n  c@example.org\r\n"
    b"Subject: Gr\xc3\xbc\xc3\x9fe \t \r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
)
BODIES = {
    "usual": b"At noon?\r\n\r\n-- \r\nAlice\r\n",
    "empty": b"",
    "white space": b" a \t b\t\r\n\r\n \r\n\t\r\n\r\n",
    "eight bit": b"\xff\xfe\x80 caf\xe9\r\n",
    "large": b"line of text\r\n" * 100_000,
}


@pytest.fixture
def peer(tmp_path: Path) -> OpenDkim:
    if shutil.which("opendkim", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
        if os.environ.get("CI"):
            pytest.fail("opendkim is not installed, and under CI every peer must be")
        pytest.skip("opendkim is not installed: run script/bootstrap dev as root")
    return OpenDkim(tmp_path / "opendkim")


@pytest.fixture(scope="module")
def pems() -> dict[str, bytes]:
    return {algorithm: generate(algorithm) for algorithm in ("ed25519", "rsa")}


def keys_of(pems: dict[str, bytes]) -> list[SigningKey]:
    return [SigningKey(DOMAIN, algorithm, algorithm, load_private_key(pem)) for algorithm, pem in pems.items()]


def records_of(keys: list[SigningKey]) -> dict[str, str]:
    return {f"{key.selector}._domainkey.{key.domain}": public_record(key) for key in keys}


def signed(keys: list[SigningKey], block: bytes, body: bytes) -> bytes:
    signer = Signer(keys, block, now=time.time(), valid=86_400)
    signer.feed(body)
    return signer.finish() + block + b"\r\n" + body


def verified(message: bytes, records: dict[str, str]) -> tuple[DkimResult, ...]:
    async def run() -> tuple[DkimResult, ...]:
        head, _, body = message.partition(b"\r\n\r\n")
        resolver = FakeResolver({name: {"TXT": [record]} for name, record in records.items()})
        verifier = Verifier(head + b"\r\n", now=time.time())
        verifier.feed(body)
        return await verifier.finish(resolver)

    return asyncio.run(run())


def test_opendkim_verifies_what_we_sign(peer: OpenDkim, pems: dict[str, bytes]) -> None:
    keys = keys_of(pems)
    messages = [signed(keys, BLOCK, body) for body in BODIES.values()]
    found = peer.verify(messages, records_of(keys))
    assert dict(zip(BODIES, found, strict=True)) == {name: ["pass", "pass"] for name in BODIES}


def test_opendkim_refuses_what_was_changed_on_the_way(peer: OpenDkim, pems: dict[str, bytes]) -> None:
    keys = keys_of(pems)
    message = signed(keys, BLOCK, BODIES["usual"])
    changed = [
        message + b"more\r\n",
        message.replace(b"noon", b"nine"),
        b"Subject: another\r\n" + message,
        b"Cc: x\r\n" + message,
    ]
    assert peer.verify(changed, records_of(keys)) == [["fail", "fail"]] * len(changed)


# Ed25519 over simple headers is left out: OpenDKIM 2.11.0 itself does not verify what it signs so.
@pytest.mark.parametrize(
    ("algorithm", "canonicalisation"),
    [
        ("ed25519", "relaxed/relaxed"),
        ("ed25519", "relaxed/simple"),
        ("rsa", "relaxed/relaxed"),
        ("rsa", "relaxed/simple"),
        ("rsa", "simple/relaxed"),
        ("rsa", "simple/simple"),
    ],
)
def test_we_verify_what_opendkim_signs(peer: OpenDkim, pems: dict[str, bytes], algorithm: str, canonicalisation: str) -> None:
    records = records_of(keys_of(pems))
    messages = [BLOCK + b"\r\n" + body for body in BODIES.values()]
    fields = peer.sign(messages, DOMAIN, algorithm, pems[algorithm], algorithm, canonicalisation)
    for name, field, message in zip(BODIES, fields, messages, strict=True):
        (found,) = verified(field + message, records)
        assert (found.result, found.algorithm) == (Result.PASS, f"{algorithm}-sha256"), (name, found)
        (changed,) = verified(field + message.replace(b"Subject:", b"Subject: not"), records)
        assert changed.result is Result.FAIL, name
